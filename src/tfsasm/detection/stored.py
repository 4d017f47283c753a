"""Detections that were made earlier: a MOT `det.txt`, the det_db JSON of MOTRv2 (SPEC 2.3), or a
folder of YOLO's text files.

A det_db names its frames by path, and seldom by the path the frames have here: another root, `./`,
no `img1`. So a frame is found in two steps. Its folder decides the sequence, by name and never by
guess where the file knows several; then its file name (for a video, its number) decides the entry.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from itertools import takewhile
from pathlib import Path, PurePosixPath

import numpy as np

from tfsasm.detection.det_db import DetDb, Folder, components, kind_of, read_det_db
from tfsasm.detection.entries import (
    NAMED,
    MissingRule,
    Stored,
    form_of,
    place_of,
    trailing_number,
)
from tfsasm.detection.yolo_text import YoloLabels
from tfsasm.errors import InputError, first_few
from tfsasm.motchallenge import FRAMES_FROM_0, read_detections
from tfsasm.tables import Doubles
from tfsasm.video.source import Frame

log = logging.getLogger(__name__)


class MotDetections(Stored):
    """Proposals of a MOT `det.txt`, found by the frame's number.

    `first` is the file's number of the source's first frame, above 1 where the file is of a longer
    video. Raises `InputError` for a bad line (see `motchallenge.read_detections`).
    """

    def __init__(
        self, path: Path | str, *, skip_bad: bool = False, missing: MissingRule = "empty",
        first: int = 1,
    ) -> None:
        super().__init__(path, missing)
        self._frames = read_detections(path, skip_bad=skip_bad)
        self._before = first - 1
        if self._frames.skipped.count:
            self._notes.append(str(self._frames.skipped))
        if self._frames.from_zero:
            self._guess("zero", FRAMES_FROM_0)
        self._check(np.concatenate([np.zeros((0, 5)), *self._frames.values()]))

    def _find(self, frame: Frame) -> Doubles | None:
        return self._frames.get(frame.number + self._before)


class DetectionDatabase(Stored):
    """Proposals of a det_db JSON: one object, key -> list of `"left,top,width,height,score\\n"`.

    The sequence is the one whose name is in the frame's path, or in `source_name`; a file of one
    sequence also serves a source whose path says nothing. Where names are shared (`train/a` and
    `val/a`), the longer agreement of the folders above decides. A bad line matters only when a
    frame of its sequence is requested. `read` may be a cached `read_det_db`.

    Raises `InputError` for malformed JSON, repeated keys and bad lines (named by key and number),
    for a frame that could belong to several sequences, or whose sequence is not in the file.
    """

    def __init__(
        self, path: Path | str, *, source_name: str | None = None, skip_bad: bool = False,
        missing: MissingRule = "empty", read: Callable[[Path | str], DetDb] = read_det_db,
    ) -> None:
        super().__init__(path, missing)
        self._skip_bad = skip_bad
        self._source = components(source_name) if source_name else ()
        self._file = read(path)
        self._sequence, self._named = cache(self._checked), cache(self._search)
        known = self._file.folders
        sure = next(iter(known)) if len(known) == 1 else None
        if self._source and (named := self._named(())) is not None:
            sure = named
        if sure is not None:  # so that a bad line is found before any work
            self._sequence(sure)

    def _find(self, frame: Frame) -> Doubles | None:
        where, stem = place_of(frame.name)
        folder = self._folder(where, stem)
        if folder is None:
            return None
        names = self._sequence(folder)
        if stem is not None and form_of(stem) in names.forms:
            position = names.positions.get(stem)
            if names.from_zero and trailing_number(stem) == frame.number:
                self._guess("names", "its keys begin with 0 and the images with 1; boxes are found "
                            "by name")
        else:
            if stem is not None:
                self._guess("number", "frames are matched by their number in the source, since no "
                            f"key has a file name like {stem} (frame {frame.number})")
            if names.from_zero:
                self._guess("zero", FRAMES_FROM_0)
            position = names.by_number.get(frame.number - names.from_zero)
        return None if position is None else self._file.at(position)

    def _checked(self, folder: Folder) -> _Names:
        """The frame names of a sequence, whose lines are checked."""
        skipped = self._file.skipped.get(folder)
        if skipped and not self._skip_bad:
            raise InputError(skipped.first)
        if skipped and not len(self._file.of(folder)):
            raise skipped.all_of(f"{_join(folder)} in {self._path}")
        if skipped:
            self._notes.append(str(skipped))
            log.warning("%s", skipped)
        self._check(self._file.of(folder))
        return _Names(self._file.folders[folder])

    def _folder(self, where: Folder, stem: str | None) -> Folder | None:
        """The sequence that a frame in folder `where` belongs to; None when it has no entry."""
        known = self._file.folders
        if (named := self._named(where)) is not None or not known:
            return named
        sure = filter(_is_benchmark, (where, self._source))
        name = next((_strip(path)[-1] for path in sure), None)
        having = [folder for folder, stems in known.items() if stem is None or stem in stems]
        fitting = list(known) if len(known) == 1 else having
        if len(fitting) == 1 and (name is None or not _strip(fitting[0])):
            if _strip(fitting[0]):
                self._guess("folder", f"the frames of {_join(where)} are taken to be those of "
                            f"{_join(fitting[0])}, the only ones that fit")
            return fitting[0]
        if name is None and not having:
            return None
        raise self._unknown(f"it has no sequence {name}" if name else "no name in it agrees", where)

    def _search(self, where: Folder) -> Folder | None:
        """The sequence whose name is in the path `where`, or else in the source's own path."""
        several: list[Folder] = []
        for path in (where, self._source):
            bare = (*path[:-1], PurePosixPath(path[-1]).stem) if path else ()  # a video: seq.mp4
            for candidate in (path, bare):
                ranks = {folder: _agreement(folder, candidate) for folder in self._file.folders}
                top = max(filter(None, ranks.values()), default=None)
                best = [folder for folder, rank in ranks.items() if rank and rank == top]
                if len(best) == 1:
                    return best[0]
                several = several or best
        if several:
            fit = first_few([_join(folder) for folder in several], NAMED)
            raise self._unknown(f"{fit} agree with it alike", where)
        return None

    def _unknown(self, why: str, where: Folder) -> InputError:
        known = first_few([_join(_strip(folder)) for folder in self._file.folders], NAMED)
        return InputError(
            f"{self._path} does not identify the sequence of a frame in {_join(where)}: {why}. The "
            f"frame's path must contain the sequence's name, and the file has {known}")


class _Names:
    """The frames of one sequence: positions by file stem, and by the number in it if unique."""

    def __init__(self, positions: dict[str, int]) -> None:
        self.positions = positions
        self.forms = {form_of(stem) for stem in positions}
        numbers = {stem: trailing_number(stem) for stem in positions}
        counts = Counter(numbers.values())
        self.from_zero = 0 in counts
        self.by_number = {
            number: positions[stem] for stem, number in numbers.items()
            if number is not None and counts[number] == 1
        }  # fmt: skip


def _is_benchmark(folder: Folder) -> bool:
    """Whether the path names its sequence for certain, as the benchmarks do: `<sequence>/img1`."""
    return len(folder) > 1 and folder[-1] == "img1"


def _strip(folder: Folder) -> Folder:
    """The folder up to its sequence's name."""
    return folder[:-1] if folder[-1:] == ("img1",) else folder


def _agreement(folder: Folder, path: Folder) -> tuple[int, int, int, bool] | None:
    """How well the file's `folder` fits `path`; None when its sequence's name is not in there.

    The deepest place of the name counts most, then how many folders above agree too, then `img1`.
    """
    sequence, frame = _strip(folder), _strip(path)
    if not sequence or sequence[-1] not in frame:
        return None
    place = len(frame) - frame[::-1].index(sequence[-1])
    if _is_benchmark(path) and place < len(frame):
        return None
    above = _common(sequence, frame[:place])
    return place, above, _common(folder, path), len(sequence) == above


def _common(a: Folder, b: Folder) -> int:
    """How many parts two paths share at their ends."""
    pairs = zip(reversed(a), reversed(b), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _join(folder: Folder) -> str:
    return "/".join(folder) or "(no folder)"


def open_detections(
    path: Path | str, *, source_name: str | None = None, skip_bad: bool = False,
    missing: MissingRule = "empty", read: Callable[[Path | str], DetDb] = read_det_db,
    classes: Sequence[str] = (),
) -> Stored:
    """Stored detections: a MOT `det.txt`, a det_db JSON, or a folder of YOLO's text files, of which
    `classes` are taken.

    `source_name` is the video or folder the frames come from, best as a full path: it helps to
    find the sequence in a JSON when a frame's own name says too little. A frame the file does not
    know has no proposals and is counted for the report; with `missing="error"` it is an
    `InputError`. `read` is as for `DetectionDatabase`.

    Raises `InputError` naming file and line (or key) for anything that cannot be used; `skip_bad`
    leaves bad detection lines out and counts them.
    """
    if Path(path).is_dir():
        return YoloLabels(path, skip_bad=skip_bad, missing=missing, classes=classes)
    if kind_of(Path(path)) == "mot":
        return MotDetections(path, skip_bad=skip_bad, missing=missing)
    return DetectionDatabase(
        path, source_name=source_name, skip_bad=skip_bad, missing=missing, read=read
    )
