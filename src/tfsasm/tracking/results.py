"""Result files that grow with the video and appear when it ends, however it ends.

Lines go to a partial file at once, so memory stays flat; leaving the block, also through Ctrl-C or
a damaged source, puts the finished file under its name. An error before the first frame leaves
nothing, and a file that was to be replaced as it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TextIO

import numpy as np
import supervision as sv

from tfsasm.files import check_output, writing
from tfsasm.motchallenge import result_line
from tfsasm.video.source import Frame


class Row(NamedTuple):
    """One track of one frame, as plain numbers."""

    id: int
    """From 1."""
    xyxy: list[float]
    """Pixels, exactly the float32 values."""
    score: float


def rows(tracks: sv.Detections) -> list[Row]:
    """The tracks that `Tracker.update` returned, one by one."""
    ids, scores = np.asarray(tracks.tracker_id), np.asarray(tracks.confidence)
    return [
        Row(int(identity), [float(v) for v in xyxy], float(score))
        for identity, xyxy, score in zip(ids, tracks.xyxy, scores, strict=True)
    ]


class ResultFile:
    """A text file with one part per frame."""

    head, separator, tail = "", "", ""
    may_be_empty = True
    """Whether there is a file when there was no frame."""

    def __init__(self, path: Path | str, *, overwrite: bool = False) -> None:
        self.path = check_output(path, overwrite=overwrite)
        self._partial = self.path.with_name(f".{self.path.name}.partial-{os.getpid()}")
        self._file: TextIO = self._partial.open("w", 1, encoding="utf-8", newline="\n")
        self._file.write(self.head)
        self._parts, self._begun = 0, False

    def write(self, frame: Frame, tracks: sv.Detections) -> None:
        """Add one frame's tracks."""
        part = self.part(frame, tracks)
        with writing(self.path):
            self._file.write(self.separator + part if part and self._begun else part)
        self._begun = self._begun or bool(part)
        self._parts += 1

    def part(self, frame: Frame, tracks: sv.Detections) -> str:
        """The text of one frame."""
        raise NotImplementedError

    def end(self) -> str:
        """The text after that of all frames."""
        return self.tail

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            with writing(self.path), self._file:
                self._file.write(self.end())
            if self._parts or (kind is None and self.may_be_empty):
                os.replace(self._partial, self.path)
        finally:
            self._partial.unlink(missing_ok=True)


class MotFile(ResultFile):
    """MOTChallenge result lines.

    `first_id` is the number of the first identity. Without `scores` the confidence column is the
    literal 1 of the released code, which makes the file equal to its output byte for byte.
    """

    def __init__(
        self, path: Path | str, *, first_id: int = 1, scores: bool = True, overwrite: bool = False
    ) -> None:
        super().__init__(path, overwrite=overwrite)
        self.first_id, self.scores = first_id, scores

    def part(self, frame: Frame, tracks: sv.Detections) -> str:
        """The lines of one frame, in the order of its tracks."""
        lines = []
        for row in rows(tracks):
            confidence = row.score if self.scores else None
            number = row.id - 1 + self.first_id
            lines.append(result_line(frame.number, number, row.xyxy, confidence=confidence) + "\n")
        return "".join(lines)


class JsonFile(ResultFile):
    """`{"about": {...}, "frames": [{"frame", "time", "tracks": [{"id", "xyxy", "score"}]}]}`."""

    separator, tail = ",\n", "\n]}\n"

    def __init__(
        self, path: Path | str, about: Mapping[str, Any], *, overwrite: bool = False
    ) -> None:
        self.head = '{"about": ' + json.dumps(about) + ',\n"frames": [\n'
        super().__init__(path, overwrite=overwrite)

    def part(self, frame: Frame, tracks: sv.Detections) -> str:
        """One frame as a JSON object on a line."""
        listing = [
            {"id": row.id, "xyxy": [round(v, 2) for v in row.xyxy], "score": round(row.score, 4)}
            for row in rows(tracks)
        ]
        return json.dumps({"frame": frame.number, "time": frame.time, "tracks": listing})


class CsvFile(ResultFile):
    """A line per track, with the columns of `supervision.CSVSink`, the frame and its time."""

    head = "x_min,y_min,x_max,y_max,class_id,confidence,tracker_id,frame_number,time\n"

    def part(self, frame: Frame, tracks: sv.Detections) -> str:
        """The lines of one frame."""
        kinds = [""] * len(tracks) if tracks.class_id is None else tracks.class_id.tolist()
        time = "" if frame.time is None else f"{frame.time:.6g}"
        return "".join(
            f"{','.join(f'{v:.2f}' for v in row.xyxy)},{kind},{row.score:.4f},{row.id},"
            f"{frame.number},{time}\n"
            for row, kind in zip(rows(tracks), kinds, strict=True)
        )
