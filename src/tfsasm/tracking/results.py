"""Result files that grow with the video and appear when it ends, however it ends.

Lines go to a partial file at once, so memory stays flat; leaving the block, also through Ctrl-C or
a damaged source, puts the finished file under its name. An error before the first frame leaves
nothing, and a file that was to be replaced as it was.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TextIO

import numpy as np
import supervision as sv
from supervision.config import CLASS_NAME_DATA_FIELD

from tfsasm.files import check_output, partial_path, writing
from tfsasm.motchallenge import result_line
from tfsasm.video.source import Frame

UNKNOWN = "object"
"""The class of what has none."""


class Row(NamedTuple):
    """One track of one frame, as plain numbers."""

    id: int
    """From 1."""
    xyxy: list[float]
    """Pixels, exactly the float32 values."""
    score: float
    class_id: int = -1
    """The detector's number of its class; -1 where there is none."""
    class_name: str = ""
    """Empty where it is not known."""

    @property
    def kind(self) -> str:
        """The name of its class: that of its detector, else `class 3`; `object` for none."""
        return self.class_name or (f"class {self.class_id}" if self.class_id > 0 else UNKNOWN)


def rows(tracks: sv.Detections) -> list[Row]:
    """The tracks that `Tracker.update` returned, one by one."""
    ids, scores = np.asarray(tracks.tracker_id), np.asarray(tracks.confidence)
    kinds = [-1] * len(tracks) if tracks.class_id is None else tracks.class_id.tolist()
    names = tracks.data.get(CLASS_NAME_DATA_FIELD, [None] * len(tracks))
    return [
        Row(int(identity), [float(v) for v in xyxy], float(score), kind,
            "" if name is None else str(name))
        for identity, xyxy, score, kind, name in zip(
            ids, tracks.xyxy, scores, kinds, names, strict=True
        )
    ]  # fmt: skip


class ResultFile:
    """A text file with one part per frame."""

    head, separator, tail = "", "", ""
    may_be_empty = True
    """Whether there is a file when there was no frame."""

    def __init__(self, path: Path | str, *, overwrite: bool = False) -> None:
        self.path = check_output(path, overwrite=overwrite)
        self._partial = partial_path(self.path)
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
    literal 1 of the released code, which makes the file equal to its output byte for byte. With
    `classes` the eighth column is the class, counted from 1 as MOTChallenge does.
    """

    def __init__(
        self, path: Path | str, *, first_id: int = 1, scores: bool = True, classes: bool = False,
        overwrite: bool = False,
    ) -> None:
        super().__init__(path, overwrite=overwrite)
        self.first_id, self.scores, self.classes = first_id, scores, classes

    def part(self, frame: Frame, tracks: sv.Detections) -> str:
        """The lines of one frame, in the order of its tracks."""
        lines = []
        for row in rows(tracks):
            confidence = row.score if self.scores else None
            number = row.id - 1 + self.first_id
            kind = row.class_id + 1 if self.classes and row.class_id >= 0 else -1
            line = result_line(frame.number, number, row.xyxy, confidence=confidence, category=kind)
            lines.append(line + "\n")
        return "".join(lines)


class JsonFile(ResultFile):
    """`{"about": {...}, "frames": [{"frame", "time", "tracks": [{"id", "xyxy", "score"}]}]}`.

    A track whose class has a name has this as `class`, too.
    """

    separator, tail = ",\n", "\n]}\n"

    def __init__(
        self, path: Path | str, about: Mapping[str, Any], *, overwrite: bool = False
    ) -> None:
        self.head = '{"about": ' + json.dumps(about) + ',\n"frames": [\n'
        super().__init__(path, overwrite=overwrite)

    def part(self, frame: Frame, tracks: sv.Detections) -> str:
        """One frame as a JSON object on a line."""
        listing = [
            {"id": row.id, "xyxy": [round(v, 2) for v in row.xyxy], "score": round(row.score, 4),
             **({"class": row.class_name} if row.class_name else {})}
            for row in rows(tracks)
        ]  # fmt: skip
        return json.dumps({"frame": frame.number, "time": frame.time, "tracks": listing})


class CsvFile(ResultFile):
    """A line per track, with the columns of `supervision.CSVSink`, the frame and its time."""

    head = (
        "x_min,y_min,x_max,y_max,class_id,confidence,tracker_id,class_name,frame_number,time\n"
    )

    def part(self, frame: Frame, tracks: sv.Detections) -> str:
        """The lines of one frame."""
        time = "" if frame.time is None else f"{frame.time:.6g}"
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(
            (*(f"{v:.2f}" for v in row.xyxy), "" if row.class_id < 0 else row.class_id,
             f"{row.score:.4f}", row.id, row.class_name, frame.number, time)
            for row in rows(tracks)
        )  # fmt: skip
        return text.getvalue()
