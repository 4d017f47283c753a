"""Detections that were made earlier: a MOT `det.txt`, or the det_db JSON of MOTRv2 (SPEC 2.3).

A det_db names its frames by path, and seldom by the path the frames have here: another root, `./`,
no `img1`. So a frame is found in two steps. Its folder decides the sequence, by name and never by
guess where the file knows several; then its file name (for a video, its number) decides the entry.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

import numpy as np

from tfsasm.detection.det_db import Folder, Index, SequenceBoxes, components
from tfsasm.detection.json_stream import first_character
from tfsasm.detection.proposals import Proposals
from tfsasm.errors import InputError
from tfsasm.motchallenge import Doubles, Skipped, read_detections

if TYPE_CHECKING:
    from tfsasm.video.source import Frame

log = logging.getLogger(__name__)

MissingRule = Literal["empty", "error"]

_NAMED = 5  # how many frames or sequences a message names before it only counts

_KEPT = 8  # sequences whose boxes stay in memory


class MotDetections:
    """Proposals of a MOT `det.txt`, found by the frame's number.

    `first` is the file's number of the source's first frame, above 1 where the file is of a longer
    video. Raises `InputError` for a bad line (see `mot.read_detections`).
    """

    def __init__(
        self, path: Path | str, *, skip_bad: bool = False, missing: MissingRule = "empty",
        first: int = 1,
    ) -> None:
        self._frames = read_detections(path, skip_bad=skip_bad)
        self._first = first
        self._absent = _MissingFrames(path, missing)
        self._notes = [str(self._frames.skipped)] if self._frames.skipped.count else []
        scores = np.concatenate([np.zeros(0), *(rows[:, 4] for rows in self._frames.values())])
        self._notes += _score_note(path, (scores.min(), scores.max()) if len(scores) else None)

    def __call__(self, frame: Frame) -> Proposals:
        """The proposals of `frame`, in the file's order."""
        return _proposals(self.boxes(frame), frame)

    def boxes(self, frame: Frame) -> Doubles:
        """As the file has them: `[P, 5]` left, top, width, height in pixels and score."""
        return self._absent.filled(self._frames.get(frame.number - 1 + self._first), frame)

    def report(self) -> list[str]:
        """Lines left out, scores out of range and frames without a line."""
        return [*self._notes, *self._absent.report()]


class DetectionDatabase:
    """Proposals of a det_db JSON: one object, key -> list of `"left,top,width,height,score\\n"`.

    The sequence is the one whose name is in the frame's path, or in `source_name`; a file of one
    sequence also serves a source whose path says nothing. Where names are shared (`train/a` and
    `val/a`), the longer agreement of the folders above decides. A sequence is checked as a whole
    when its first frame is asked for.

    Raises `InputError` for malformed JSON, repeated keys and bad lines (named by key and number),
    for a frame that could belong to several sequences, or whose sequence is not in the file.
    """

    def __init__(
        self, path: Path | str, *, source_name: str | None = None, skip_bad: bool = False,
        missing: MissingRule = "empty",
    ) -> None:
        self._path = path
        self._skip_bad = skip_bad
        self._absent = _MissingFrames(path, missing)
        self._source = components(source_name) if source_name else ()
        self._index = Index(path)
        self._keys = self._index.folders
        self._sequences: dict[Folder, _Sequence] = {}  # the last one asked for is the last
        self._checked: dict[Folder, tuple[Skipped, list[str]]] = {}
        self._by_name: dict[Folder, Folder | None] = {}
        self._guesses: dict[str, str] = {}
        ready = [next(iter(self._keys))] if len(self._keys) == 1 else []
        if self._source and (named := self._named(())) is not None:
            ready = [named]
        for folder in ready:  # so that a bad line is found before any work
            self._sequence(folder)

    def __call__(self, frame: Frame) -> Proposals:
        """The proposals of `frame`, in the file's order."""
        return _proposals(self.boxes(frame), frame)

    def boxes(self, frame: Frame) -> Doubles:
        """As the file has them: `[P, 5]` left, top, width, height in pixels and score."""
        where, stem = _place(frame.name)
        folder = self._folder(where, stem)
        rows = None if folder is None else self._rows(self._sequence(folder), frame, stem)
        return self._absent.filled(rows, frame)

    def report(self) -> list[str]:
        """Lines left out, scores out of range, guesses made and frames without an entry."""
        notes = list(self._guesses.values())
        skipped = sum((skipped for skipped, _ in self._checked.values()), Skipped())
        if skipped.count:
            notes.insert(0, str(skipped))
        notes += [note for _, of_scores in self._checked.values() for note in of_scores]
        return [*notes, *self._absent.report()]

    def _sequence(self, folder: Folder) -> _Sequence:
        sequence = self._sequences.pop(folder, None)
        if sequence is None:
            sequence = _Sequence(SequenceBoxes(self._index, folder, skip_bad=self._skip_bad))
            while len(self._sequences) >= _KEPT:
                self._sequences.pop(next(iter(self._sequences)))
        if folder not in self._checked:
            boxes = sequence.boxes
            self._checked[folder] = boxes.skipped, _score_note(self._path, boxes.scores)
            if boxes.skipped.count:
                log.warning("%s", boxes.skipped)
        self._sequences[folder] = sequence
        return sequence

    def _rows(self, sequence: _Sequence, frame: Frame, stem: str | None) -> Doubles | None:
        if stem is not None and _form(stem) in sequence.forms:
            return sequence.by_stem(stem)
        if stem is not None:
            self._guess("number", "frames are matched by their number in the source, since no key "
                        f"has a file name like {stem} (frame {frame.number})")
        return sequence.by_number(frame.number)

    def _folder(self, where: Folder, stem: str | None) -> Folder | None:
        """The sequence that a frame in folder `where` belongs to; None when it has no entry."""
        if (named := self._named(where)) is not None or not self._keys:
            return named
        told = next((_strip(h)[-1] for h in (where, self._source) if _is_benchmark(h)), None)
        having = [folder for folder, keys in self._keys.items() if stem is None or stem in keys]
        only = list(self._keys) if len(self._keys) == 1 else having
        if len(only) == 1 and (told is None or not _strip(only[0])):
            if _strip(only[0]):
                self._guess("folder", f"the frames of {_join(where)} are taken to be those of "
                            f"{_join(only[0])}, the only ones that fit")
            return only[0]
        if told is None and not having:
            return None
        raise self._unknown(f"it has no sequence {told}" if told else "no name in it agrees", where)

    def _named(self, where: Folder) -> Folder | None:
        """The sequence whose name is in the path `where`, or else in the source's own path."""
        if where not in self._by_name:
            self._by_name[where] = self._find(where)
        return self._by_name[where]

    def _find(self, where: Folder) -> Folder | None:
        alike: list[Folder] = []
        for path in (where, self._source):
            bare = (*path[:-1], PurePosixPath(path[-1]).stem) if path else ()  # a video: seq.mp4
            for candidate in (path, bare):
                best = _best(self._keys, candidate)
                if len(best) == 1:
                    return best[0]
                alike = alike or best
        if alike:
            fit = _some([_join(folder) for folder in alike])
            raise self._unknown(f"{fit} agree with it alike", where)
        return None

    def _unknown(self, why: str, where: Folder) -> InputError:
        known = _some([_join(_strip(folder)) for folder in self._keys])
        return InputError(
            f"{self._path} does not tell the sequence of a frame in {_join(where)}: {why}. The "
            f"frame's path must contain the sequence's name, and the file has {known}")

    def _guess(self, kind: str, what: str) -> None:
        """Say once what was assumed."""
        if kind not in self._guesses:
            self._guesses[kind] = f"{self._path}: {what}"
            log.warning("%s", self._guesses[kind])


class _Sequence:
    """The checked entries of one folder, by file stem and by the number in it."""

    def __init__(self, boxes: SequenceBoxes) -> None:
        self.boxes = boxes
        self.forms = {_form(stem) for stem in boxes.positions}

    def by_stem(self, stem: str) -> Doubles | None:
        position = self.boxes.positions.get(stem)
        return None if position is None else self.boxes.at(position)

    def by_number(self, number: int) -> Doubles | None:
        """The only frame with that number in its name."""
        position = self._numbers.get(number)
        return None if position is None else self.boxes.at(position)

    @cached_property
    def _numbers(self) -> dict[int, int]:
        numbers = [_trailing_number(stem) for stem in self.boxes.positions]
        counts = Counter(numbers)
        return {n: at for at, n in enumerate(numbers) if n is not None and counts[n] == 1}


class _MissingFrames:
    """Frames that were asked for and not in the file."""

    def __init__(self, path: Path | str, rule: MissingRule) -> None:
        self._path = path
        self._rule = rule
        self._count = 0
        self._first: list[str] = []

    def filled(self, rows: Doubles | None, frame: Frame) -> Doubles:
        """The boxes of `frame`; none, and counted, when it is not in the file.

        Raises `InputError` when a missing frame is an error.
        """
        if rows is not None:
            return rows
        self._note(frame)
        return np.zeros((0, 5))

    def _note(self, frame: Frame) -> None:
        label = f"{frame.number} ({frame.name})"
        if self._rule == "error":
            raise InputError(f"{self._path} has no entry for frame {label}; add it, or let missing "
                             "frames count as frames without detections")
        self._count += 1
        if len(self._first) < _NAMED:
            self._first.append(label)

    def report(self) -> list[str]:
        if not self._count:
            return []
        more = ", ..." if self._count > len(self._first) else ""
        return [f"{self._path} has no entry for {self._count} frame(s), taken as empty: "
                f"{', '.join(self._first)}{more}"]


def _proposals(rows: Doubles, frame: Frame) -> Proposals:
    height, width = frame.image.shape[:2]
    return Proposals.from_ltwh(rows[:, :4], rows[:, 4], width, height)


def _score_note(path: Path | str, scores: tuple[float, float] | None) -> list[str]:
    """A word about scores outside [0, 1], which some old detectors have."""
    if scores is None or (scores[0] >= 0 and scores[1] <= 1):
        return []
    return [f"{path} has scores from {scores[0]:g} to {scores[1]:g}; expected are 0 to 1"]


def _place(name: str) -> tuple[Folder, str | None]:
    """A frame's folder and file stem; for a frame of a video, the video's path and None."""
    if video := re.fullmatch(r"(.*)#\d+", name, flags=re.DOTALL):
        return components(video[1]), None
    parts = components(name)
    return (parts[:-1], PurePosixPath(parts[-1]).stem) if parts else ((), "")


def _is_benchmark(folder: Folder) -> bool:
    """Whether the path names its sequence for certain, as the benchmarks do: `<sequence>/img1`."""
    return len(folder) > 1 and folder[-1] == "img1"


def _strip(folder: Folder) -> Folder:
    """The folder up to its sequence's name."""
    return folder[:-1] if folder[-1:] == ("img1",) else folder


def _best(folders: Iterable[Folder], path: Folder) -> list[Folder]:
    """The folders that agree best with `path`: none, one, or several alike."""
    ranks = {folder: rank for folder in folders if (rank := _agreement(folder, path))}
    return [folder for folder, rank in ranks.items() if rank == max(ranks.values())]


def _agreement(folder: Folder, path: Folder) -> tuple[int, int, int, bool] | None:
    """How well the file's `folder` fits `path`; None when its sequence's name is not in there.

    The deepest place of the name counts most, then how many folders above agree too, then `img1`.
    """
    wanted, have = _strip(folder), _strip(path)
    if not wanted or wanted[-1] not in have:
        return None
    place = len(have) - have[::-1].index(wanted[-1])
    if _is_benchmark(path) and place < len(have):
        return None
    above = _common(wanted, have[:place])
    return place, above, _common(folder, path), len(wanted) == above


def _common(a: Folder, b: Folder) -> int:
    """How many parts two paths share at their ends."""
    pairs = zip(reversed(a), reversed(b), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _form(stem: str) -> tuple[str, int]:
    """What is alike in the file names of one sequence: what precedes the number, and its width."""
    before = stem.rstrip("0123456789")
    return before, len(stem) - len(before)


def _trailing_number(stem: str) -> int | None:
    before, width = _form(stem)
    return int(stem[len(before):]) if 0 < width <= 18 else None


def _join(folder: Folder) -> str:
    return "/".join(folder) or "(no folder)"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def open_detections(
    path: Path | str, *, source_name: str | None = None, skip_bad: bool = False,
    missing: Literal["empty", "error"] = "empty",
) -> MotDetections | DetectionDatabase:
    """Stored detections: a MOT `det.txt` or a det_db JSON, by suffix and first character.

    `source_name` is the video or folder the frames come from, best as a full path: it helps to
    find the sequence in a JSON when a frame's own name says too little. A frame the file does not
    know has no proposals and is counted for the report; with `missing="error"` it is an
    `InputError`.

    Raises `InputError` naming file and line (or key) for anything that cannot be used; `skip_bad`
    leaves bad detection lines out and counts them.
    """
    if Path(path).is_dir():
        raise InputError(f"{path} is a folder; give a det.txt or a det_db JSON")
    if Path(path).suffix.lower() == ".json" or first_character(path) in ("{", "["):
        return DetectionDatabase(path, source_name=source_name, skip_bad=skip_bad, missing=missing)
    return MotDetections(path, skip_bad=skip_bad, missing=missing)
