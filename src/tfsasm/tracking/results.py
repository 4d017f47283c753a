"""Result files that grow with the video and appear when it ends, however it ends.

Lines go to a partial file at once, so memory stays flat; leaving the block, also through Ctrl-C or
a damaged source, puts the finished file under its name. An error before the first frame leaves
nothing, and a file that was to be replaced as it was. Formats of annotation tools (COCO for videos,
CVAT's XML, FiftyOne's video labels) name their `source` publicly; COCO and CVAT group what comes
frame by frame, so a few numbers of every box (CVAT) or image (COCO) wait in memory for the end.
"""

from __future__ import annotations

import csv
import io
import json
import os
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TextIO
from xml.sax.saxutils import escape, quoteattr

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


class CocoFile(ResultFile):
    """COCO for videos (CocoVID): `videos`, `images` with `frame_id` from 0, `annotations` with
    `instance_id` (the public id, also as `track_id`) and `score`, `categories`."""

    head, separator = '{"annotations": [\n', ",\n"

    def __init__(self, path: Path | str, source: str, *, overwrite: bool = False) -> None:
        super().__init__(path, overwrite=overwrite)
        self._source, self._images = source, list[str]()
        self._categories = dict[str, int]()
        self._annotations = 0

    def part(self, frame: Frame, tracks: sv.Detections) -> str:
        """The annotations of one frame, a line each."""
        height, width = frame.image.shape[:2]
        image, lines = len(self._images) + 1, []
        self._images.append(json.dumps({
            "id": image, "video_id": 1, "frame_id": frame.number - 1,
            "file_name": frame.name.rpartition("/")[2], "width": width, "height": height,
        }))  # fmt: skip
        for row in rows(tracks):
            left, top, right, bottom = row.xyxy
            box = [round(value, 2) for value in (left, top, right - left, bottom - top)]
            self._annotations += 1
            lines.append(json.dumps({
                "id": self._annotations, "image_id": image, "video_id": 1,
                "category_id": self._categories.setdefault(row.kind, len(self._categories) + 1),
                "instance_id": row.id, "track_id": row.id, "bbox": box,
                "area": round(box[2] * box[3], 2), "iscrowd": 0, "score": round(row.score, 4),
            }))  # fmt: skip
        return self.separator.join(lines)

    def end(self) -> str:
        """All that is no annotation."""
        kinds = [{"id": number, "name": name} for name, number in self._categories.items()]
        video = {"id": 1, "name": self._source.rpartition("/")[2]}
        images = ",\n".join(self._images)
        return (f'\n],\n"videos": [{json.dumps(video)}],\n"categories": {json.dumps(kinds)},\n'
                f'"images": [\n{images}\n]}}\n')  # fmt: skip


class CvatFile(ResultFile):
    """The XML 1.1 of "CVAT for video": a track per identity, a box per frame in which it is seen.

    Frames count from 0. After the last box before a gap the track is `outside`, for CVAT draws a
    track between and after its boxes until that is said; so too where tracking ended before the
    `length` of the video, in frames.
    """

    head = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'

    def __init__(
        self, path: Path | str, source: str, *, length: int | None = None, overwrite: bool = False
    ) -> None:
        super().__init__(path, overwrite=overwrite)
        self._source, self._size, self._length = source, (0, 0), length or 0
        self._numbers = array("q")
        self._boxes: dict[int, array[float]] = {}  # place among the numbers and box, one by one
        self._labels = dict[int, str]()

    def part(self, frame: Frame, tracks: sv.Detections) -> str:
        """Nothing yet: tracks are written whole."""
        self._size = self._size if self._numbers else frame.image.shape[1::-1]
        for row in rows(tracks):
            kept = self._boxes.setdefault(row.id, array("d"))
            kept.extend([len(self._numbers), *row.xyxy])
            if row.kind != UNKNOWN or row.id not in self._labels:
                self._labels[row.id] = row.kind
        self._numbers.append(frame.number - 1)
        return ""

    def end(self) -> str:
        """The description of the video and all tracks."""
        width, height = self._size
        labels = dict.fromkeys(self._labels.values()) or {UNKNOWN: None}
        last = self._numbers[-1] if self._numbers else 0
        meta = [
            "  <meta>", "    <task>",
            f"      <name>{_text(self._source.rpartition('/')[2])}</name>",
            f"      <size>{last + 1}</size>", "      <mode>interpolation</mode>",
            "      <start_frame>0</start_frame>", f"      <stop_frame>{last}</stop_frame>",
            "      <labels>",
            *(f"        <label><name>{_text(name)}</name><attributes></attributes></label>"
              for name in labels),
            "      </labels>", f"      <original_size><width>{width}</width>"
            f"<height>{height}</height></original_size>", "    </task>", "  </meta>",
        ]  # fmt: skip
        if self._numbers and last + 1 < self._length:
            self._numbers.append(last + 1)
        tracks = [line for identity in sorted(self._boxes) for line in self._track(identity)]
        return "\n".join([*meta, *tracks, "</annotations>", ""])

    def _track(self, identity: int) -> Iterator[str]:
        table = np.frombuffer(self._boxes[identity]).reshape(-1, 5)
        label = quoteattr(_plain(self._labels[identity]))
        yield f'  <track id="{identity}" label={label} source="auto">'
        places = table[:, 0].astype(int).tolist()
        for place, box, after in zip(places, table[:, 1:], [*places[1:], -1], strict=True):
            yield self._box(place, box, outside=0)
            if after != place + 1 and place + 1 < len(self._numbers):
                yield self._box(place + 1, box, outside=1)
        yield "  </track>"

    def _box(self, place: int, box: np.ndarray, outside: int) -> str:
        left, top, right, bottom = box.tolist()
        corners = f'xtl="{left:.2f}" ytl="{top:.2f}" xbr="{right:.2f}" ybr="{bottom:.2f}"'
        return (f'    <box frame="{self._numbers[place]}" {corners} outside="{outside}" '
                'occluded="0" keyframe="1" z_order="0"></box>')  # fmt: skip


class FiftyOneFile(ResultFile):
    """ETA's `VideoLabels`, the JSON of FiftyOne's video labels: `frames` by number from 1, with
    `objects`: `label`, `bounding_box` in shares of the image, `confidence` and `index` (the id).

    `fiftyone.utils.eta.from_video_labels` reads it, and so does a `FiftyOneVideoLabelsDataset`.
    """

    separator, tail = ",\n", "\n}}\n"

    def __init__(self, path: Path | str, source: str, *, overwrite: bool = False) -> None:
        self.head = f'{{"filename": {json.dumps(source.rpartition("/")[2])}, "frames": {{\n'
        super().__init__(path, overwrite=overwrite)

    def part(self, frame: Frame, tracks: sv.Detections) -> str:
        """One frame on a line."""
        height, width = frame.image.shape[:2]
        objects = []
        for row in rows(tracks):
            left, top, right, bottom = row.xyxy
            objects.append({
                "label": row.kind, "index": row.id, "confidence": round(row.score, 4),
                "bounding_box": {
                    "top_left": {"x": round(left / width, 6), "y": round(top / height, 6)},
                    "bottom_right": {"x": round(right / width, 6), "y": round(bottom / height, 6)},
                },
            })  # fmt: skip
        labels = {"frame_number": frame.number, "objects": {"objects": objects}}
        return f'"{frame.number}": {json.dumps(labels)}'


def _text(text: str) -> str:
    return escape(_plain(text))


def _plain(text: str) -> str:
    """Without the characters that XML has no way to write."""
    return "".join(c if c.isprintable() else "?" for c in text)
