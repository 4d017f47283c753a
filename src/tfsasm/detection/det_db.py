"""The det_db JSON of MOTRv2 (SPEC 2.3): one object, frame key -> list of boxes as text.

A file of a gigabyte is nothing unusual, so it is read and written an entry at a time. To look
frames up in it, only the places of its entries are kept, and the boxes that were asked for last.
"""

from __future__ import annotations

import json
import stat
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from tfsasm.detection.json_stream import object_entries
from tfsasm.errors import InputError
from tfsasm.files import atomic_path
from tfsasm.motchallenge import Doubles, LineFormat, Skipped

LINE = LineFormat(
    names=("left", "top", "width", "height", "score"), fewest=5, checked=5,
    mend="correct the line, or leave such lines out with --skip-bad-detections",
)

Folder = tuple[str, ...]

_KEY_SUFFIXES = {".txt", ".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}

_BLOCK = 1000  # frames parsed at once

_KEPT = 32  # blocks of a sequence whose boxes stay in memory


class Entry(NamedTuple):
    """The boxes of one frame, as the file has them."""

    key: str
    lines: list[str]
    """`"left,top,width,height,score\\n"` each, unchecked."""
    start: int
    """Place in the file, in bytes."""
    stop: int


def read_entries(path: Path | str) -> Iterator[Entry]:
    """The frames of a det_db in its order. A key that occurs twice comes out twice.

    Raises `InputError` for what is not JSON, by line and column, and for a value that is not a
    list of strings, by key.
    """
    wanted = ('one object, frame key -> list of "left,top,width,height,score" strings; of COCO '
              "results one is made by tfsasm detections convert")
    for key, lines, start, stop in object_entries(path, wanted=wanted):
        if type(lines) is not list or not {str}.issuperset(map(type, lines)):
            raise InputError(f"{path}: the value of {key!r} is not a list of strings; wanted is "
                             'a list of "left,top,width,height,score"')
        yield Entry(key, lines, start, stop)


def parse(
    path: Path | str, entries: Sequence[tuple[str, list[str]]], *, skip_bad: bool
) -> tuple[list[Doubles], Skipped]:
    """The boxes `[P, 5]` (left, top, width, height, score) of keys and their lines.

    All are parsed at once, and one by one only where a line is bad. Raises `InputError` for one,
    named by `path`, key and number; with `skip_bad` it is left out and counted.
    """
    together = [line for _, lines in entries for line in lines]
    table, bad = LINE.table(together, str, skip_bad=True)
    if not bad.count:
        stops = np.cumsum([len(lines) for _, lines in entries])
        return np.split(table, stops[:-1]) if entries else [], bad
    parsed = [
        LINE.table(lines, partial(_line_name, path, key), skip_bad=skip_bad)
        for key, lines in entries
    ]
    return [rows for rows, _ in parsed], sum((bad for _, bad in parsed), Skipped())


def write_det_db(path: Path | str, entries: Iterable[tuple[str, list[str]]]) -> int:
    """Write keys and lines as they come, atomically, as `json.dump` would. Returns their number."""
    count = 0
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write("{")
        for count, (key, lines) in enumerate(entries, start=1):
            file.write(f"{', ' * (count > 1)}{json.dumps(key)}: {json.dumps(lines)}")
        file.write("}")
    return count


def components(path: str) -> Folder:
    """The parts of a path of either system, without what changes nothing."""
    return tuple(part for part in path.replace("\\", "/").split("/") if part not in ("", ".", ".."))


def split_key(key: str) -> tuple[str, str]:
    """The folder of a key as written, and its file name without a known suffix."""
    prefix, _, name = key.replace("\\", "/").rstrip("/").rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    return prefix, stem if stem and f"{dot}{suffix}".lower() in _KEY_SUFFIXES else name


class Index:
    """Where the frames of a file are: `folders` has, by folder, each file stem's position in it.

    Raises what `read_entries` does, and `InputError` when two keys name the same frame, or later,
    when somebody wrote into the file meanwhile.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self.folders: dict[Folder, dict[str, int]] = {}
        self._places: dict[Folder, array[int]] = {}  # start and stop of each frame
        self._state = self._look()
        known: dict[str, Folder] = {}
        for key, _, start, stop in read_entries(path):
            prefix, stem = split_key(key)
            if prefix not in known:
                known[prefix] = components(prefix)
            folder = known[prefix]
            positions = self.folders.setdefault(folder, {})
            if stem in positions:
                raise self._same(folder, positions[stem], key)
            positions[sys.intern(stem)] = len(positions)  # many sequences have the same names
            self._places.setdefault(folder, array("Q")).extend((start, stop))

    def lines(self, folder: Folder, positions: range) -> list[tuple[str, list[str]]]:
        """Keys and lines of some frames of a folder, read from the file."""
        places = self._places[folder]
        with self._open() as file:
            return [self._read(file, *places[2 * at : 2 * at + 2]) for at in positions]

    def _read(self, file: BinaryIO, start: int, stop: int) -> tuple[str, list[str]]:
        file.seek(start)
        try:
            ((key, lines),) = json.loads(b"{%b}" % file.read(stop - start)).items()
        except ValueError:
            raise self._changed() from None
        return key, lines

    def _open(self) -> BinaryIO:
        if self._look() != self._state:
            raise self._changed()
        return Path(self.path).open("rb")

    def _look(self) -> tuple[int, int]:
        """What differs when somebody has written into the file."""
        try:
            about = Path(self.path).stat()
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror or error}") from error
        if not stat.S_ISREG(about.st_mode):
            raise InputError(f"{self.path} is no file that can be read twice; store it first")
        return about.st_size, about.st_mtime_ns

    def _same(self, folder: Folder, position: int, key: str) -> InputError:
        ((other, _),) = self.lines(folder, range(position, position + 1))
        if other == key:
            return InputError(f"{self.path}: the key {key!r} occurs twice; keep one")
        return InputError(f"{self.path}: the keys {other!r} and {key!r} name the same frame")

    def _changed(self) -> InputError:
        return InputError(f"{self.path} was changed while it was in use; start again")


class SequenceBoxes:
    """The boxes of one folder, checked as a whole and parsed again where they are asked for.

    `scores` are the lowest and the highest, None without boxes. Raises `InputError` for a bad line,
    named by key and number; with `skip_bad` it is left out and counted in `skipped`.
    """

    def __init__(self, index: Index, folder: Folder, *, skip_bad: bool) -> None:
        self.positions = index.folders[folder]
        self.skipped = Skipped()
        self.scores: tuple[float, float] | None = None
        self._index, self._folder, self._skip_bad = index, folder, skip_bad
        self._blocks: dict[int, list[Doubles]] = {}  # the one asked for last is the last
        for number in range(-(-len(self.positions) // _BLOCK)):
            rows, skipped = self._parse(number)
            self._keep(number, rows)
            self.skipped += skipped
            of_block = np.concatenate([frame[:, 4] for frame in rows])
            if len(of_block):
                low, high = self.scores or (np.inf, -np.inf)
                self.scores = min(low, of_block.min()), max(high, of_block.max())

    def at(self, position: int) -> Doubles:
        """The boxes `[P, 5]` (left, top, width, height, score) of the frame at that position."""
        number, place = divmod(position, _BLOCK)
        rows = self._blocks.pop(number, None)
        self._keep(number, self._parse(number)[0] if rows is None else rows)
        return self._blocks[number][place]

    def _keep(self, number: int, rows: list[Doubles]) -> None:
        if len(self._blocks) >= _KEPT:
            self._blocks.pop(next(iter(self._blocks)))
        self._blocks[number] = rows

    def _parse(self, number: int) -> tuple[list[Doubles], Skipped]:
        start = number * _BLOCK
        some = range(start, min(start + _BLOCK, len(self.positions)))
        entries = self._index.lines(self._folder, some)
        return parse(self._index.path, entries, skip_bad=self._skip_bad)


def _line_name(path: Path | str, key: str, index: int) -> str:
    return f"{path}, key {key!r}, line {index + 1}"
