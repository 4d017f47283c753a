"""The det_db JSON of MOTRv2 (SPEC 2.3): one object, frame key -> list of boxes as text.

A file of a gigabyte is nothing unusual, so JSON is read and written an entry at a time, and what
stays in memory of a whole det_db are its boxes as one array.
"""

import codecs
import json
import sys
import unicodedata
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import ijson
import numpy as np
from numpy.typing import NDArray

from tfsasm.errors import InputError
from tfsasm.files import atomic_path, reading
from tfsasm.limits import open_to_read, stand_in
from tfsasm.motchallenge import SKIP_BAD, LineFormat, Skipped
from tfsasm.tables import Doubles

LINE = LineFormat(
    names=("left", "top", "width", "height", "score", "class"), fewest=5, checked=5,
    mend=f"correct the line{SKIP_BAD}",
)

Folder = tuple[str, ...]

Kind = Literal["mot", "det_db", "coco"]

JsonEvents = Iterator[tuple[str, Any]]

_KEY_SUFFIXES = {".txt", ".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}

_BLOCK = 1000  # frames parsed at once

_BUFFER = 1 << 18  # bytes read at once


@contextmanager
def json_events(path: Path | str) -> Iterator[JsonEvents]:
    """What a JSON file consists of, in its order (`ijson.basic_parse`), in constant memory.

    Raises `InputError` for a file that cannot be read, is not UTF-8 or not JSON, with the text
    around the damage. NaN, and numbers beyond 64 bits, are not JSON here.
    """
    with reading(path), open_to_read(path) as file:
        start = file.peek(64)
        if what := stand_in(start, text=True):
            raise InputError(f"{path} is {what}")
        if start.startswith(codecs.BOM_UTF8):
            file.read(3)
        elif start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise InputError(f"{path} is not text (byte 0 is not UTF-8); save it as UTF-8")
        try:
            yield ijson.basic_parse(file, use_float=True, buf_size=_BUFFER)
        except (ijson.JSONError, UnicodeDecodeError) as error:
            reason = error.args[0]  # several lines: the kind, and the text around its place
            text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(error)
            why, *place = (line.strip().rstrip(".") for line in text.splitlines())
            if near := place[0].partition("(right here)")[0].strip() if place else "":
                why = f"{why} near {near}"
            raise InputError(f"{path} is not valid JSON: {why}; make it again") from error


def kind_of(path: Path) -> Kind:
    """What a file of detections is, by its first character; a folder holds MOT text.

    Raises `InputError` for a file that cannot be read, or but once: a pipe.
    """
    with reading(path):
        if path.is_dir():
            return "mot"
        with open_to_read(path) as file:
            start = file.read(256).removeprefix(codecs.BOM_UTF8).lstrip()
    if start.startswith(b"["):
        return "coco"
    return "det_db" if start.startswith(b"{") or path.suffix.lower() == ".json" else "mot"


def read_entries(path: Path | str) -> Iterator[tuple[str, list[str]]]:
    """Keys of a det_db and their lines, in its order. A key that occurs twice comes out twice.

    Raises `InputError` as `json_events` does, and for a value that is not a list of strings, by
    its key.
    """
    key = ""
    lines: list[str] | None = None
    with json_events(path) as events:
        if next(events) != ("start_map", None):
            raise InputError(
                f"{path} is not a det_db; wanted is one object, frame key -> list of "
                '"left,top,width,height,score" strings; of COCO results one is made by '
                "tfsasm detections convert"
            )
        for event, value in events:
            if event == "string" and lines is not None:
                lines.append(value)
            elif event == "map_key" and lines is None:
                key = value
            elif event == "start_array" and lines is None:
                lines = []
            elif event == "end_array" and lines is not None:
                yield key, lines
                lines = None
            elif event != "end_map" or lines is not None:
                raise InputError(f"{path}: the value of {key!r} is not a list of strings; wanted "
                                 'is a list of "left,top,width,height,score"')


def parsed_entries(path: Path | str) -> Iterator[tuple[str, list[str], Doubles, Skipped]]:
    """Key, lines, boxes `[P, 6]` (left, top, width, height, score, class) and bad lines of each
    entry; the class is NaN where there is none.

    Many entries are parsed at once, and one by one only where a line is bad. Bad lines have no box,
    and are named by `path`, key and number. Raises as `read_entries` does.
    """
    entries = read_entries(path)
    while block := list(islice(entries, _BLOCK)):
        table, bad = LINE.table([line for _, lines in block for line in lines], str, skip_bad=True)
        more = ~np.isnan(table[:, 5])
        if more.any() and not ((table[more, 4] >= 0) & (table[more, 4] <= 1)).all():
            raise InputError(
                f"{path} has lines of six fields whose fifth is no score from 0 to 1; wanted are "
                "left,top,width,height,score and perhaps a class"
            )
        stops = np.cumsum([len(lines) for _, lines in block], dtype=np.int64)
        parts = iter(np.split(table, stops[:-1]))
        for key, lines in block:
            if bad.count:
                names = [f"{path}, key {key!r}, line {n}" for n in range(1, len(lines) + 1)]
                own, skipped = LINE.table(lines, names.__getitem__, skip_bad=True)
                yield key, lines, own, skipped
            else:
                yield key, lines, next(parts), bad


@dataclass(frozen=True)
class DetDb:
    """All boxes of a det_db.

    `folders` has, by folder, the position of each frame by its file stem; `skipped` the bad lines
    of a folder that has some. The frame at position `n` has rows `starts[n]` to `starts[n + 1]` of
    `boxes` `[N, 5]` (left, top, width, height, score).
    """

    folders: dict[Folder, dict[str, int]]
    skipped: dict[Folder, Skipped]
    starts: NDArray[np.int64]
    boxes: Doubles

    def at(self, position: int) -> Doubles:
        """The boxes `[P, 5]` of a frame."""
        return self.boxes[self.starts[position] : self.starts[position + 1]]

    def of(self, folder: Folder) -> Doubles:
        """All boxes `[N, 5]` of a folder."""
        positions = self.folders[folder].values()
        return np.concatenate([self.at(position) for position in positions])


def read_det_db(path: Path | str) -> DetDb:
    """A whole det_db. Raises as `read_entries` does, and for two keys of one frame."""
    folders: dict[Folder, dict[str, int]] = {}
    skipped: dict[Folder, Skipped] = {}
    starts, values = array("q", [0]), array("d")
    by_prefix: dict[str, Folder] = {}
    for key, _, boxes, bad in parsed_entries(path):
        prefix, stem = split_key(key)
        folder = by_prefix.get(prefix) or by_prefix.setdefault(prefix, components(prefix))
        positions = folders.setdefault(folder, {})
        if stem in positions:
            raise InputError(f"{path}: the key {key!r} names a frame that has an entry already; "
                             "keep one of them")
        positions[sys.intern(stem)] = len(starts) - 1  # many sequences have the same names
        values.frombytes(boxes[:, :5].tobytes())
        starts.append(starts[-1] + len(boxes))
        if bad.count:
            skipped[folder] = skipped.get(folder, Skipped()) + bad
    return DetDb(folders, skipped, np.asarray(starts), np.asarray(values).reshape(-1, 5))


def write_det_db(path: Path | str, entries: Iterable[tuple[str, list[str]]]) -> int:
    """Write keys and lines as they come, atomically, as `json.dump` would. Returns their number."""
    parts = (f"{json.dumps(key)}: {json.dumps(lines)}" for key, lines in entries)
    return write_parts(path, parts, "{", ", ", "}")


def write_parts(path: Path | str, parts: Iterable[str], begin: str, between: str, end: str) -> int:
    """Write a text as its parts come, atomically. Returns the number of parts."""
    count = 0
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write(begin)
        for count, part in enumerate(parts, start=1):
            file.write(between * (count > 1) + part)
        file.write(end)
    return count


def components(path: str) -> Folder:
    """The parts of a path of either system, without what changes nothing.

    An accent may be written as a sign of its own, as macOS does; it is none here (NFC).
    """
    path = unicodedata.normalize("NFC", path).replace("\\", "/")
    return tuple(part for part in path.split("/") if part not in ("", ".", ".."))


def split_key(key: str) -> tuple[str, str]:
    """The folder of a key as written, and its file name without a known suffix."""
    prefix, _, name = key.replace("\\", "/").rstrip("/").rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    return prefix, stem if stem and f"{dot}{suffix}".lower() in _KEY_SUFFIXES else name
