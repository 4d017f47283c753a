"""Detections that were made earlier: a MOT `det.txt`, or the det_db JSON of MOTRv2 (SPEC 2.3).

A det_db names its frames by path, and seldom by the path the frames have here: another root, `./`,
no `img1`. So a frame is found in two steps. Its folder decides the sequence, by name and never by
guess where the file knows several; then its file name (for a video, its number) decides the entry.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tfsasm.errors import InputError
from tfsasm.mot import Doubles, Layout, Skipped, read_detections, read_text
from tfsasm.proposals import Proposals

if TYPE_CHECKING:
    from tfsasm.video import Frame

log = logging.getLogger(__name__)

Folder = tuple[str, ...]
MissingRule = Literal["empty", "error"]

_LINE = Layout(
    names=("left", "top", "width", "height", "score"), fewest=5, checked=5,
    mend="correct the line, or leave such lines out with --skip-bad-detections",
)
_KEY_SUFFIXES = {".txt", ".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
_NAMED = 5  # how many frames or sequences a message names before it only counts


class MotDetections:
    """Proposals of a MOT `det.txt`, found by the frame's number.

    Raises `InputError` for a bad line (see `mot.read_detections`).
    """

    def __init__(
        self, path: Path | str, *, skip_bad: bool = False, missing: MissingRule = "empty"
    ) -> None:
        self._frames = read_detections(path, skip_bad=skip_bad)
        self._absent = _Absent(path, missing)
        self._notes = [str(self._frames.skipped)] if self._frames.skipped.count else []
        self._notes += _score_note(path, self._frames.values())

    def __call__(self, frame: Frame) -> Proposals:
        """The proposals of `frame`, in the file's order."""
        return _proposals(self._frames.get(frame.number), frame, self._absent)

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
        self._absent = _Absent(path, missing)
        self._source = _components(source_name) if source_name else ()
        self._keys = _index(path, _load(path))
        self._sequences: dict[Folder, _Sequence] = {}
        self._by_name: dict[Folder, Folder | None] = {}
        self._guesses: dict[str, str] = {}
        ready = [next(iter(self._keys))] if len(self._keys) == 1 else []
        if self._source and (named := self._named(())) is not None:
            ready = [named]
        for folder in ready:  # so that a bad line is found before any work
            self._sequence(folder)

    def __call__(self, frame: Frame) -> Proposals:
        """The proposals of `frame`, in the file's order."""
        where, stem = _place(frame.name)
        folder = self._folder(where, stem)
        rows = None if folder is None else self._rows(self._sequence(folder), frame, stem)
        return _proposals(rows, frame, self._absent)

    def report(self) -> list[str]:
        """Lines left out, scores out of range, guesses made and frames without an entry."""
        notes = list(self._guesses.values())
        skipped = sum((s.skipped for s in self._sequences.values()), Skipped())
        if skipped.count:
            notes.insert(0, str(skipped))
        for sequence in self._sequences.values():
            notes += _score_note(self._path, sequence.frames.values())
        return [*notes, *self._absent.report()]

    def _sequence(self, folder: Folder) -> _Sequence:
        if folder not in self._sequences:
            self._sequences[folder] = _Sequence(self._path, self._keys[folder], self._skip_bad)
        return self._sequences[folder]

    def _rows(self, sequence: _Sequence, frame: Frame, stem: str | None) -> Doubles | None:
        if stem is not None and _form(stem) in sequence.forms:
            return sequence.frames.get(stem)
        if stem is not None:
            self._guess("number", "frames are matched by their number in the source, since no key "
                        f"has a file name like {stem} (frame {frame.number})")
        return sequence.by_number.get(frame.number)

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
    """The checked entries of one folder: `frames` by file stem, `by_number` by the number in it."""

    def __init__(
        self, path: Path | str, keys: dict[str, tuple[str, list[str]]], skip_bad: bool
    ) -> None:
        self.skipped = Skipped()
        self.frames: dict[str, Doubles] = {}
        for stem, (key, lines) in keys.items():
            where = partial(_line_name, path, key)
            self.frames[stem], skipped = _LINE.table(lines, where, skip_bad=skip_bad)
            self.skipped += skipped
        if self.skipped.count:
            log.warning("%s", self.skipped)
        self.forms = {_form(stem) for stem in self.frames}
        numbers = [(_trailing_number(stem), rows) for stem, rows in self.frames.items()]
        counts = Counter(number for number, _ in numbers)
        self.by_number = {n: rows for n, rows in numbers if n is not None and counts[n] == 1}


def _line_name(path: Path | str, key: str, index: int) -> str:
    return f"{path}, key {key!r}, line {index + 1}"


class _Absent:
    """Frames that were asked for and not in the file."""

    def __init__(self, path: Path | str, rule: MissingRule) -> None:
        self._path = path
        self._rule = rule
        self._count = 0
        self._first: list[str] = []

    def note(self, frame: Frame) -> None:
        """Count `frame`, or raise `InputError` when a missing frame is an error."""
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


def _proposals(rows: Doubles | None, frame: Frame, absent: _Absent) -> Proposals:
    if rows is None:
        absent.note(frame)
        return Proposals.empty()
    height, width = frame.image.shape[:2]
    return Proposals.from_ltwh(rows[:, :4], rows[:, 4], width, height)


def _score_note(path: Path | str, frames: Iterable[Doubles]) -> list[str]:
    """A word about scores outside [0, 1], which some old detectors have."""
    scores = np.concatenate([np.zeros(0), *(rows[:, 4] for rows in frames)])
    if not len(scores) or (scores.min() >= 0 and scores.max() <= 1):
        return []
    return [f"{path} has scores from {scores.min():g} to {scores.max():g}; expected are 0 to 1"]


def _load(path: Path | str) -> dict[str, list[str]]:
    """The JSON object of the file. Raises `InputError` naming line and column, or the key."""
    try:
        data = json.loads(read_text(path), object_pairs_hook=_pairs)
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise InputError(f"{where}: not valid JSON: {error.msg}") from error
    except _RepeatedKeyError as error:
        raise InputError(f"{path}: the key {str(error)!r} occurs twice; keep one") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a detection JSON: {error}") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} is one JSON {type(data).__name__}; wanted is one object, "
                         'frame key -> list of "left,top,width,height,score" strings')
    for key, lines in data.items():
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise InputError(f"{path}: the value of {key!r} is not a list of strings; wanted is "
                             'a list of "left,top,width,height,score"')
    return data


class _RepeatedKeyError(Exception):
    """A JSON object has a key twice."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise _RepeatedKeyError(Counter(key for key, _ in pairs).most_common(1)[0][0])
    return table


def _index(
    path: Path | str, entries: dict[str, list[str]]
) -> dict[Folder, dict[str, tuple[str, list[str]]]]:
    """Folder -> file stem -> (key as written, lines)."""
    folders: dict[str, Folder] = {}
    index: dict[Folder, dict[str, tuple[str, list[str]]]] = {}
    for key, lines in entries.items():
        prefix, _, name = key.replace("\\", "/").rstrip("/").rpartition("/")
        if prefix not in folders:
            folders[prefix] = _components(prefix)
        stem, dot, suffix = name.rpartition(".")
        stem = stem if stem and f"{dot}{suffix}".lower() in _KEY_SUFFIXES else name
        keys = index.setdefault(folders[prefix], {})
        if stem in keys:
            raise InputError(f"{path}: the keys {keys[stem][0]!r} and {key!r} name the same frame")
        keys[stem] = (key, lines)
    return index


def _place(name: str) -> tuple[Folder, str | None]:
    """A frame's folder and file stem; for a frame of a video, the video's path and None."""
    if video := re.fullmatch(r"(.*)#\d+", name, flags=re.DOTALL):
        return _components(video[1]), None
    parts = _components(name)
    return (parts[:-1], PurePosixPath(parts[-1]).stem) if parts else ((), "")


def _components(path: str) -> Folder:
    """The parts of a path of either system, without what changes nothing."""
    return tuple(part for part in path.replace("\\", "/").split("/") if part not in ("", ".", ".."))


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
