"""MOTChallenge text: detections, tracks and `seqinfo.ini` in, results out.

A line is `frame,id,left,top,width,height,score,...` in pixels, frames from 1. Reading is strict,
since a shifted column would be tracked without an error and give meaningless scores: a bad line is
named by file, number and field. NumPy parses many lines at once, and each alone where that fails.
"""

from __future__ import annotations

import configparser
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfsasm.errors import InputError
from tfsasm.files import read_text
from tfsasm.limits import FRAMES
from tfsasm.tables import Doubles, Integers, Table

log = logging.getLogger(__name__)

_LARGEST = 2.0**53  # beyond it a double no longer counts, and no image reaches there

Rule = tuple[tuple[str, ...], Callable[[Any], Any], str]
"""Which fields (none named: all), what is true of a good value or column, what is said of a bad."""

_RULES: tuple[Rule, ...] = (((), lambda x: abs(x) < math.inf, "is not finite"),
                            ((), lambda x: abs(x) <= _LARGEST, "is too large"))  # fmt: skip

FRAMES_FROM_0 = "its frames count from 0; 0 is taken for frame 1, and so on"

SKIP_BAD = ", or leave such lines out with --skip-bad-detections"

_PLACES = 100  # bad lines that a message names
_BLOCK = 20_000  # lines parsed at once; only a block with a bad line is read line by line


@dataclass(frozen=True)
class Skipped:
    """Bad lines that were left out: how many, what was wrong with the first, where all were (file
    and line, or key, of as many as can be read)."""

    count: int = 0
    first: str = ""
    places: tuple[str, ...] = ()

    def __add__(self, other: Skipped) -> Skipped:
        places = (*self.places, *other.places)[:_PLACES]
        return Skipped(self.count + other.count, self.first or other.first, places)

    def __str__(self) -> str:
        others = ", ".join(self.places[1:])
        more = f", and {self.count - _PLACES} more" if self.count > _PLACES else ""
        also = f"; the others: {others}{more}" if others else ""
        return f"{self.count} bad detection line(s) left out, the first: {self.first}{also}"

    def all_of(self, what: object) -> InputError:
        """What is to be said where nothing but such lines was there."""
        first = self.first.removesuffix(SKIP_BAD)
        return InputError(f"no line of {what} can be used, the first: {first}")


@dataclass(frozen=True)
class LineFormat:
    """What a line must hold: `fewest` to `len(names)` numbers (`with_commas` has what separates).

    The first `checked` must also be finite and of a sane size, with `whole` are `frame` and `id`
    whole, `frame` is at least `first`, with `positive` are `width` and `height`, and `rules` hold.
    """

    names: tuple[str, ...]
    fewest: int
    checked: int
    mend: str
    first: int = 1
    positive: bool = True
    whole: bool = True
    rules: tuple[Rule, ...] = ()

    def parse(self, line: str) -> list[float]:
        """The numbers of one line. Raises `ValueError` naming the field and the mend."""
        fields = with_commas(line).split(",")
        if not self.fewest <= len(fields) <= len(self.names):
            few = "too few fields" if len(fields) < self.fewest else "too many fields"
            raise ValueError(f"{few}: {len(fields)} where {self._wanted()}; {self.mend}")
        values = []
        for name, rules, field in zip(self.names, self._rules, fields, strict=False):
            value = _number(field)
            if value is None:
                raise ValueError(f"{name} {field.strip()!r} is not a number; {self.mend}")
            for good, problem in rules:
                if not good(value):
                    raise ValueError(f"{name} {field.strip()!r} {problem}; {self.mend}")
            values.append(value)
        return values

    def table(
        self, lines: Sequence[str], where: Callable[[int], str], *, skip_bad: bool
    ) -> tuple[Doubles, Skipped]:
        """The numbers of all lines `[N, len(names)]`, NaN where a field is absent.

        `where(index)` names a line in the `InputError` that a bad one raises; with `skip_bad` it
        is left out and counted.
        """
        table, skipped, count = np.full((len(lines), len(self.names)), np.nan), Skipped(), 0
        for start in range(0, len(lines), _BLOCK):
            part = [with_commas(line) for line in lines[start : start + _BLOCK]]
            block = self._parse_all(part)
            if block is not None:
                table[count : count + len(part), : block.shape[1]] = block
                count += len(part)
                continue
            for index, line in enumerate(part, start=start):
                try:
                    values = self.parse(line)
                except ValueError as error:
                    bad = Skipped(1, f"{where(index)}: {error}", (where(index),))
                    if not skip_bad:
                        raise InputError(bad.first) from error
                    skipped += bad
                else:
                    table[count, : len(values)] = values
                    count += 1
        return table[:count], skipped

    def _parse_all(self, lines: Sequence[str]) -> Doubles | None:
        """The same as `parse` of every line, or None when any of them is not as it must be."""
        counts = np.array([line.count(",") + 1 for line in lines])
        most = counts.max()
        if counts.min() < self.fewest or most > len(self.names):
            return None
        if counts.min() < most:
            lines = [line + ",nan" * (most - line.count(",") - 1) for line in lines]
        try:
            block = np.loadtxt(lines, delimiter=",", comments=None, ndmin=2)
        except ValueError:
            return None
        if block.shape != (len(lines), most):
            return None
        for index, rules in enumerate(self._rules[:most]):
            column = block[counts > index, index]
            if not all(good(column).all() for good, _ in rules):
                return None
        return block

    @cached_property
    def _rules(self) -> list[list[tuple[Callable[[Any], Any], str]]]:
        """What is true of a good value of each field, and what is said of a bad one."""
        moved = " (if the file counts from 0, add 1 to all its frames)" * (self.first == 1)
        below = f"is below {self.first}, the first frame{moved}"
        rules = [*_RULES, *self.rules, (("frame",), lambda x: x >= self.first, below)]
        if self.whole:
            rules.append((("frame", "id"), lambda x: x % 1 == 0, "is not a whole number"))
        if self.positive:
            rules.append((("width", "height"), lambda x: x > 0, "is not positive"))
        return [
            [(good, bad) for of, good, bad in rules if i < self.checked and (not of or name in of)]
            for i, name in enumerate(self.names)
        ]

    def _wanted(self) -> str:
        most = len(self.names)
        if self.fewest == most:
            return f"{most} are wanted ({','.join(self.names)})"
        return f"{self.fewest} to {most} are wanted ({','.join(self.names[: self.fewest])},...)"

DETECTION = LineFormat(
    names=("frame", "id", "left", "top", "width", "height", "score",
           "field 8", "field 9", "field 10"),
    fewest=7, checked=7, first=0, mend=f"correct the line{SKIP_BAD}",
)

TRACK = LineFormat(
    names=("frame", "id", "left", "top", "width", "height",
           "confidence", "class", "visibility", "field 10"),
    fewest=6, checked=9, mend="correct the line",
)

LAX_TRACK = replace(
    TRACK, checked=6, positive=False, whole=False,
    names=(*TRACK.names, *(f"field {n}" for n in range(11, 31))),
)  # fmt: skip
"""What TrackEval takes of a result."""


class DetectionsByFrame(dict[int, Doubles]):
    """Frame number -> `[P, 5]` doubles (left, top, width, height, score) in the file's order.

    Frames without a line have no entry. `classes` are those of the boxes `[P]`, NaN for none,
    `skipped` the lines left out. `from_zero`: the file counts frames from 0; here they are from 1.
    """

    def __init__(
        self, frames: Mapping[int, Doubles], skipped: Skipped, *,
        classes: Mapping[int, Doubles] = {}, from_zero: bool = False,
    ) -> None:
        super().__init__(frames)
        self.classes, self.skipped, self.from_zero = classes, skipped, from_zero


@dataclass(frozen=True)
class TrackRows(Table):
    """The boxes of a ground-truth or result file, one row per line, in the file's order.

    `frame` `[N]` from 1 and `identity` `[N]` are int64; `ltwh` `[N, 4]` is double, pixels (left,
    top, width, height). `confidence` `[N]` is the seventh column (ground truth: the mark, 0 = not
    to be scored; 1 where absent), `label` and `visibility` `[N]` the eighth and ninth (-1 where
    absent). All as written: old files keep other things in the last three.
    """

    frame: Integers
    identity: Integers
    ltwh: Doubles
    confidence: Doubles
    label: Doubles
    visibility: Doubles


def read_detections(path: Path | str, *, skip_bad: bool = False) -> DetectionsByFrame:
    """The boxes a detector left in a MOT `det.txt`, per frame, exactly as written.

    Lines have 7 to 10 fields, `frame,id,left,top,width,height,score,...`. The eighth is a class if
    it is a whole number from 0, the score at most 1 and what follows -1, no position. A file that
    has a frame 0 counts from 0, and its frames move by one. Raises `InputError` naming file, line,
    field and mend; with `skip_bad` such lines are left out, counted and logged, unless all are.
    """
    table, skipped = _read_table(path, DETECTION, skip_bad)
    if skipped.count:
        if not len(table):
            raise skipped.all_of(path)
        log.warning("%s", skipped)
    frames = table[:, 0].astype(np.int64)
    from_zero = bool((frames == 0).any())
    frames += from_zero
    order = np.argsort(frames, kind="stable")
    numbers, starts = np.unique(frames[order], return_index=True)
    boxes, kinds, rest = table[order, 2:7], table[order, 7], table[order, 8:]
    good = (kinds >= 0) & (kinds <= _LARGEST) & (np.floor(kinds) == kinds)
    good &= (boxes[:, 4] >= 0) & (boxes[:, 4] <= 1) & (np.isnan(rest) | (rest == -1)).all(axis=1)
    kinds[~good] = np.nan
    parts = (np.split(part, starts[1:]) for part in (boxes, kinds))
    by_frame, classes = (dict(zip(numbers.tolist(), part, strict=False)) for part in parts)
    return DetectionsByFrame(by_frame, skipped, classes=classes, from_zero=from_zero)


def read_tracks(path: Path | str, *, lax: bool = False) -> TrackRows:
    """The boxes of a `gt.txt` or result file of 6 to 10 columns.

    With `lax` whatever TrackEval scores is taken: boxes of no or negative size and frames and ids
    that are not whole, of which it cuts what follows the point, both with a warning; more columns,
    a confidence that is not finite. Raises `InputError` naming file, line, field and mend.
    """
    table, _ = _read_table(path, LAX_TRACK if lax else TRACK, skip_bad=False)
    for bad, what in (
        (table[:, 4:6] <= 0, "box(es) of no or negative size; they are taken as they are"),
        (table[:, :2] % 1 != 0,
         "line(s) whose frame or id is not a whole number; what follows the point is cut"),
    ):  # fmt: skip
        if count := int(bad.any(axis=1).sum()):
            log.warning("%s has %d %s", path, count, what)
    absent = np.isnan(table)
    return TrackRows(
        frame=table[:, 0].astype(np.int64),
        identity=table[:, 1].astype(np.int64),
        ltwh=table[:, 2:6],
        confidence=np.where(absent[:, 6], 1.0, table[:, 6]),
        label=np.where(absent[:, 7], -1.0, table[:, 7]),
        visibility=np.where(absent[:, 8], -1.0, table[:, 8]),
    )


def result_line(
    frame: int, identity: int, xyxy: ArrayLike, *, confidence: float | None = None,
    category: int = -1,
) -> str:
    """One line of a result file, without its line end: the released format (SPEC 6.6).

    `xyxy` `[4]` are float32 pixels, not clipped; width and height are their differences in double.
    The released confidence column is a literal 1; with `confidence` it is that score instead.
    `category` is the class, from 1; -1 for none.
    """
    x1, y1, x2, y2 = np.asarray(xyxy, dtype=np.float32).tolist()
    score = "1" if confidence is None else f"{confidence:.4f}"
    box = f"{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f}"
    return f"{frame},{identity},{box},{score},{category},-1,-1"


def _read_table(path: Path | str, layout: LineFormat, skip_bad: bool) -> tuple[Doubles, Skipped]:
    """All lines `[N, 10]`, and the bad ones that were left out."""
    numbered = numbered_lines(read_text(path))
    lines = [line for _, line in numbered]
    return layout.table(lines, lambda index: f"{path}:{numbered[index][0]}", skip_bad=skip_bad)


def with_commas(line: str) -> str:
    """A line whose fields are between semicolons, bars, tabs or spaces, with commas instead.
    Between semicolons a comma is a decimal one, as spreadsheets in many languages write it."""
    if "," in line and ";" not in line:
        return line
    line = line.replace(",", ".")
    return ",".join(line.split(next((mark for mark in ";|" if mark in line), None)))


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """Lines that are not blank with their numbers from 1; any line end, no trailing commas."""
    numbered = enumerate(re.split(r"\r\n?|\n", text), start=1)
    return [(number, line.strip().rstrip(", \t")) for number, line in numbered if line.strip()]


def _number(field: str) -> float | None:
    """The number a field spells, or None. Stricter than `float`: no `1_000`, no foreign digits."""
    text = field.strip()
    try:
        return float(text) if text.isascii() and "_" not in text else None
    except ValueError:
        return None


NUMBERS = {
    "seqLength": "600", "imWidth": "1920", "imHeight": "1080", "frameRate": "30 or 30000/1001",
}  # fmt: skip
"""The keys of `seqinfo.ini` that are numbers, and a good value; all but the rate are whole."""

# What `Fraction` reads but for a division by 0 and exponents: 1e999999999 would get all digits.
_PLAIN_NUMBER = re.compile(r"\+?(\d{1,30}(\.\d{0,30})?|\.\d{1,30}|\d{1,30}/0{0,9}[1-9]\d{0,20})")


@dataclass(frozen=True)
class SeqInfo:
    """What a `seqinfo.ini` declares; None is what it leaves open."""

    name: str = ""
    """As the file calls the sequence."""
    images: str = "img1"
    """The folder of images, from that of the file."""
    length: int | None = None
    """Frames."""
    width: int | None = None
    height: int | None = None
    rate: Fraction | None = None
    """Frames per second."""


def read_seqinfo(path: Path, *keys: str) -> SeqInfo:
    """The section `[Sequence]`; of the `NUMBERS` only `keys`, or all without them.

    So who needs one is not kept from it by a bad value of another. `imDir` may be a path of another
    machine: its longest end that is a folder here counts. Raises `InputError` naming the mend.
    """
    section = _section(path)
    found = {
        key: _seqinfo_number(section[key].strip(), path, key)
        for key in keys or NUMBERS if section.get(key, "").strip()
    }  # fmt: skip
    length, width, height = (
        int(found[key]) if key in found else None for key in ("seqLength", "imWidth", "imHeight")
    )
    FRAMES.check(length or 0, path)
    parts = [part for part in re.split(r"[/\\]", section.get("imDir", "")) if part.strip(" .")]
    ends = ["/".join(parts[at:]).strip() for at in range(len(parts))] or ["img1"]
    folder = next((end for end in ends if (path.parent / end).is_dir()), ends[-1])
    return SeqInfo(
        section.get("name", "").strip(), folder, length, width, height, found.get("frameRate")
    )


def _seqinfo_number(text: str, path: Path, key: str) -> Fraction:
    value = Fraction(text) if text.isascii() and _PLAIN_NUMBER.fullmatch(text) else Fraction(0)
    if not 0 < value < 10**9 or (key != "frameRate" and value.denominator > 1):
        raise InputError(f"{path}: {key}={text} is not a number such as {NUMBERS[key]}")
    return value


def _section(path: Path) -> Mapping[str, str]:
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";", "#"))
    try:
        parser.read_string(read_text(path))
    except configparser.MissingSectionHeaderError as error:
        where = f"line {error.lineno} stands before any section"
        raise InputError(f"{path} cannot be used: {where}; begin with [Sequence]") from error
    except (configparser.DuplicateOptionError, configparser.DuplicateSectionError) as error:
        what = getattr(error, "option", error.section)
        twice = f"{what} in line {error.lineno} is there twice"
        raise InputError(f"{path} cannot be used: {twice}") from error
    except configparser.ParsingError as error:
        line = error.errors[0][0] if error.errors else 1
        raise InputError(f"{path} cannot be used: line {line} is not KEY=VALUE") from error
    name = next((name for name in parser.sections() if name.lower() == "sequence"), None)
    if name is None:
        raise InputError(f"{path} cannot be used: it has no section [Sequence]")
    return parser[name]
