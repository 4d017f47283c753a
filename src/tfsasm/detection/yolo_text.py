"""Detections that were made earlier as YOLO's text files: one for each image or frame of a video.

So Ultralytics leaves them (`save_txt`, `save_conf`), and Darknet: `class x y width height [score]`
a line, centre and size as shares of the image.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from tfsasm.detection.entries import MissingRule, Stored, form_of, place_of, trailing_number
from tfsasm.detection.live import class_numbers
from tfsasm.errors import InputError, first_few
from tfsasm.files import read_text
from tfsasm.motchallenge import FRAMES_FROM_0, SKIP_BAD, LineFormat, Skipped, numbered_lines
from tfsasm.tables import Doubles
from tfsasm.video.images import is_hidden
from tfsasm.video.source import Frame

LINE = LineFormat(
    names=("class", "x", "y", "width", "height", "score", "id"),
    fewest=5, checked=6, mend=f"correct the line{SKIP_BAD}",
    rules=(
        (("class",), lambda x: (x >= 0) & (x % 1 == 0), "is not a whole number from 0 on"),
        (("x", "y", "width", "height"), lambda x: abs(x) <= 2,
         "is not a share of the image, by whose width and height YOLO divides"),
    ),
)  # fmt: skip

NAMES = "classes.txt"
"""The names of the classes, a line each, in the folder or the one above it."""


class YoloLabels(Stored):
    """Proposals of a folder of YOLO's text files.

    An image's file has its name; that of frame n of a video ends in `_n`. A frame without a file
    has no detections, a line without a score has 1. `classes` are those wanted, by number or by the
    names in `classes.txt`; all, if none are given. Raises `InputError` naming file and line for a
    bad one, and for a folder that has no labels.
    """

    class_names: dict[int, str]
    """Of the classes that are there and wanted, where there are several."""

    def __init__(
        self, path: Path | str, *, skip_bad: bool = False, missing: MissingRule = "empty",
        classes: Sequence[str] = (),
    ) -> None:
        super().__init__(path, missing)
        folder = Path(path)
        names = _names_beside(folder)
        wanted = class_numbers(classes, names, str(path))
        self._files, skipped, there = dict[str, Doubles](), Skipped(), set[int]()
        for file in sorted(folder.glob("*.txt")):
            if file.name == NAMES or is_hidden(file.name):
                continue
            rows, bad = _read(file, skip_bad)
            skipped += bad
            rows = rows[np.isin(rows[:, 0], wanted)] if wanted else rows
            self._files[file.stem] = rows
            there.update(rows[:, 0].astype(int).tolist())
        if not self._files:
            raise InputError(f"{path} is a folder; give a det.txt or a det_db JSON, or a folder of "
                             "YOLO's text files (VIDEO_1.txt, IMAGE.txt)")
        if skipped.count:
            if not there:
                raise skipped.all_of(path)
            self._notes.append(str(skipped))
        several = len(there) > 1
        self.class_names = {n: names.get(n, f"class {n}") for n in sorted(there) if several}
        self._numbered = defaultdict[str, dict[int, Doubles]](dict)
        for stem, rows in self._files.items():
            if (number := trailing_number(stem)) is not None:
                self._numbered[form_of(stem)[0]][number] = rows

    def _find(self, frame: Frame) -> Doubles | None:
        folder, stem = place_of(frame.name)
        if stem in self._files:
            return self._in_pixels(self._files[stem], frame)
        video = f"{PurePosixPath(folder[-1]).stem}_" if stem is None and folder else None
        name = video or form_of(stem or "")[0]
        if name not in self._numbered:
            if len(self._numbered) != 1:
                if video is None:
                    return None
                known = first_few([f"{name}N.txt" for name in self._numbered], 5) or "none"
                raise InputError(f"{self._path} has no labels of {folder[-1]}, files {video}N.txt; "
                                 f"those with a number: {known}")
            name = next(iter(self._numbered))
            self._guess("number", f"frames are matched by their number with {name}N.txt")
        elif video is None:
            return None  # an image whose neighbours have files
        frames = self._numbered[name]
        if 0 in frames:
            self._guess("zero", FRAMES_FROM_0)
        rows = frames.get(frame.number - (0 in frames))
        return None if rows is None else self._in_pixels(rows, frame)

    def _in_pixels(self, rows: Doubles, frame: Frame) -> Doubles:
        """`[P, 6]` left, top, width, height, score and class; `[P, 5]` where all are of one."""
        height, width = frame.image.shape[:2]
        centre, size = rows[:, 1:3] * [width, height], rows[:, 3:5] * [width, height]
        columns = [centre - size / 2, size, rows[:, 5:6], rows[:, :1]]
        return np.concatenate(columns if self.class_names else columns[:-1], axis=1)


def _names_beside(folder: Path) -> dict[int, str]:
    for file in (folder / NAMES, folder.parent / NAMES):
        if file.is_file():
            return dict(enumerate(line.strip() for line in read_text(file).splitlines()))
    return {}


def _read(file: Path, skip_bad: bool) -> tuple[Doubles, Skipped]:
    """The boxes `[P, 6]` of a file, in its terms: class, x, y, width, height and score."""
    numbered = numbered_lines(read_text(file))
    rows, skipped = LINE.table(
        [line for _, line in numbered], lambda index: f"{file}:{numbered[index][0]}",
        skip_bad=skip_bad,
    )  # fmt: skip
    rows[:, 5] = np.where(np.isnan(rows[:, 5]), 1.0, rows[:, 5])
    return rows[:, :6], skipped
