"""Tracks as annotation tools take them: COCO for videos, the XML of CVAT, FiftyOne's video labels.

`source` is the public name of what is tracked. COCO and CVAT group what comes frame by frame, so a
few numbers of every box (CVAT) or image (COCO) wait in memory for the end.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from tfsasm.tracking.results import UNKNOWN, ResultFile, rows

if TYPE_CHECKING:
    import supervision as sv

    from tfsasm.video.source import Frame


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
    track between and after its boxes until that is said.
    """

    head = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'

    def __init__(self, path: Path | str, source: str, *, overwrite: bool = False) -> None:
        super().__init__(path, overwrite=overwrite)
        self._source, self._size = source, (0, 0)
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
