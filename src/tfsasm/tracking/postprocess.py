"""A result file, changed afterwards: broken tracks joined, corrections by hand, gaps filled.

Joining is that of the released evaluation (SPEC 10). It uses the future: a track is continued only
when the whole video is known, so its scores are those of an offline method. Nothing else in this
package merges.

Corrections were made in the page, and are applied in their order, as the page does it: `{"merge":
[a, b]}`: b is a. `{"split": a, "frame": n, "new": b}`: from frame n on a is b. `{"delete": a}`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from tfsasm.errors import InputError
from tfsasm.files import checked, field, read_json, read_text
from tfsasm.motchallenge import numbered_lines, read_tracks, with_commas
from tfsasm.tables import Integers
from tfsasm.tracking.config import NO_ID

_IDENTITY = re.compile(r"^(\s*[^\s,;|]+\s*[,;|]?\s*)([^\s,;|]+)")
"""What stands before the second field of a line of MOT text, whatever separates them, and it."""


@dataclass(frozen=True)
class MergeConfig:
    """When a track that begins is taken for one that ended. All are frames.

    A gap counts from the last frame of one track to the first of another: 1 means no frame between.
    """

    min_gap: int = 20
    """Only longer gaps are bridged."""
    max_gap: int = 100
    """Only shorter gaps are bridged; 0: none."""
    block_from: int = 0
    """Gap from which on, and up to `max_gap`, another start or end makes a join ambiguous.

    QUIRK-43: the released 0 lets one block that itself is too near to be joined. `min_gap + 1` is
    the sane value.
    """

    def __post_init__(self) -> None:
        if not 0 <= self.min_gap < (self.max_gap or math.inf):
            raise InputError(
                f"gaps from {self.min_gap} to {self.max_gap} cannot be bridged; give a min_gap of "
                "0 or more and a larger max_gap"
            )
        if not 0 <= self.block_from <= self.min_gap + 1:
            raise InputError(
                f"block_from is {self.block_from}; give 0 to min_gap + 1 ({self.min_gap + 1}), so "
                "that no two tracks are continued by one"
            )


def merged_ids(frames: Integers, ids: Integers, config: MergeConfig) -> dict[int, int]:
    """Each id of a sequence and the one it gets, from the frames `[N]` and ids `[N]` of its boxes.

    Track j continues track i when j begins between `min_gap` and `max_gap` after the end of i, i is
    the only one that ended in the time before, and j the only one that began in the time after.
    Extents are those of the file, also for tracks that were joined already; chains form.
    """
    known, row = np.unique(ids, return_inverse=True)
    starts = np.full(len(known), np.iinfo(np.int64).max)
    ends = np.zeros(len(known), dtype=np.int64)
    np.minimum.at(starts, row, frames)
    np.maximum.at(ends, row, frames)
    ended = _within(np.sort(ends), starts - config.max_gap + 1, starts - config.block_from)
    begun = _within(np.sort(starts), ends + config.block_from, ends + config.max_gap - 1)
    root = np.arange(len(known))
    for i in np.flatnonzero(begun <= 1):
        gaps = starts - ends[i]
        fits = (gaps > config.min_gap) & (gaps < config.max_gap) & (ended <= 1)
        root[fits] = i  # at most one: it would be among the tracks that `begun` counts
    for i in np.argsort(starts):  # what a track continues began before it
        root[i] = root[root[i]]
    return dict(zip(known.tolist(), known[root].tolist(), strict=True))


def _within(numbers: Integers, first: Integers, last: Integers) -> Integers:
    """How many of the sorted `numbers` lie in each range, both ends included."""
    return np.searchsorted(numbers, last, "right") - np.searchsorted(numbers, first, "left")


def merge_text(path: Path, config: MergeConfig) -> tuple[str, int, int]:
    """A result file with the ids of joined tracks, and how many ids it had and has.

    Where all lines have a class, tracks that begin with different ones are not joined. Lines keep
    their order and all their other columns, character for character. Raises `InputError` for a file
    that is not MOT text.
    """
    table = read_tracks(path, lax=True)
    _, first, row = np.unique(table.identity, return_index=True, return_inverse=True)
    known = ((table.label >= 1) & (table.label % 1 == 0)).all()
    kinds = table.label[first][row] if known else np.zeros(len(table))
    new = dict[int, int]()
    for kind in np.unique(kinds):
        of_kind = table[kinds == kind]
        new |= merged_ids(of_kind.frame, of_kind.identity, config)
    text = renumbered(path, [new[identity] for identity in table.identity.tolist()])
    return text, len(new), len(set(new.values()))


@dataclass(frozen=True)
class Correction:
    """From `frame` on, what was the identity `old` is `new`, or none (`NO_ID`)."""

    old: int
    new: int
    frame: int = 1
    splits: bool = False
    """Whether `new` is an identity that was not there before."""


def read_corrections(path: Path) -> list[Correction]:
    """The corrections that the page saved. Raises `InputError` naming file, correction and mend."""
    saved = read_json(path)
    try:
        entries = field(saved, "corrections", list)
    except ValueError as error:
        raise InputError(f"{path}: {error}; give the file of 'Save corrections'") from error
    found = []
    for number, entry in enumerate(entries, start=1):
        try:
            found.append(_correction(entry))
        except ValueError as error:
            raise InputError(f"{path}: correction {number}: {error}") from error
    return found


def _correction(entry: Any) -> Correction:
    if not isinstance(entry, dict) or not {"merge", "split", "delete"} & entry.keys():
        raise ValueError("it is neither a merge, a split nor a delete")
    if "merge" in entry:
        pair = field(entry, "merge", list)
        if len(pair) != 2 or pair[0] == pair[1]:
            raise ValueError("a merge has two identities, [kept, gone]")
        keep, gone = (checked(value, "merge", int) for value in pair)
        return Correction(gone, keep)
    if "split" in entry:
        old, new, frame = (field(entry, key, int) for key in ("split", "new", "frame"))
        if new < 1:
            raise ValueError(f"new is {new}; identities are counted from 1")
        return Correction(old, new, frame, splits=True)
    return Correction(field(entry, "delete", int), NO_ID)


def corrected_ids(frames: Integers, ids: Integers, corrections: Sequence[Correction]) -> Integers:
    """The identity `[N]` of each box after the corrections, `NO_ID` for one that is left out.

    Where two boxes of a frame get the same identity, that of the lower number before stays. Raises
    `InputError` for a correction of an identity that is not there, or a new one that is.
    """
    new, known = ids.copy(), set(ids.tolist())
    for number, one in enumerate(corrections, start=1):
        wanted = {one.old} if one.splits or one.new == NO_ID else {one.old, one.new}
        if absent := wanted - known:
            raise InputError(f"correction {number}: there is no identity {min(absent)}")
        if one.splits and one.new in known:
            raise InputError(f"correction {number}: identity {one.new} is there already")
        new[(new == one.old) & (frames >= one.frame)] = one.new
        if one.splits:
            known.add(one.new)
        else:
            known.remove(one.old)
    order = np.lexsort((ids, new, frames))
    again = np.zeros(len(ids), dtype=bool)
    again[order[1:]] = (np.diff(frames[order]) == 0) & (np.diff(new[order]) == 0)
    return np.where(again, NO_ID, new)


def corrected_text(path: Path, corrections: Sequence[Correction]) -> tuple[str, int, int]:
    """A MOT result file after the corrections, and how many ids it had and has.

    The page counts identities from 1; a file that has an identity 0 counts from 0. Lines keep their
    order and their other columns, character for character. Raises `InputError` as `corrected_ids`,
    and for a file that is not MOT text.
    """
    table = read_tracks(path, lax=True)
    shift = int((table.identity == 0).any())
    try:
        new = corrected_ids(table.frame, table.identity + shift, corrections)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    kept = np.unique(new[new != NO_ID])
    text = renumbered(path, [None if i == NO_ID else i - shift for i in new.tolist()])
    return text, len(np.unique(table.identity)), len(kept)


def with_gaps_filled(text: str, max_gap: int) -> tuple[str, int]:
    """MOT text that `read_tracks` takes, with boxes where a track was away, and how many they are.

    Between two boxes of a track fewer than `max_gap` frames apart those on the straight line are
    added, and their scores likewise, as ByteTrack does with `max_gap` 20 (arXiv 2110.06864, 4.1;
    there only in tracks of 25 boxes and more). Lines come out sorted by frame.
    """
    lines = [with_commas(line) for _, line in numbered_lines(text)]
    rows = [(line.split(","), np.array([float(v) for v in line.split(",")[:7]])) for line in lines]
    whole = [(int(numbers[0]), line) for (_, numbers), line in zip(rows, lines, strict=True)]
    last = dict[int, int]()
    for row in sorted(range(len(rows)), key=lambda row: whole[row][0]):
        end = rows[row][1]
        before = last.get(int(end[1]), row)
        last[int(end[1])] = row
        fields, start = rows[before]
        first = whole[before][0]
        gap = whole[row][0] - first
        for step in range(1, gap if gap < max_gap else 0):
            between = start + (end - start) * step / gap
            box = [f"{v:.2f}" for v in between[2:6]]
            score = [f"{v:.4g}" for v in between[6:]]
            words = [str(first + step), fields[1], *box, *score, *fields[7:]]
            whole.append((first + step, ",".join(words)))
    whole.sort(key=itemgetter(0))
    return "".join(f"{line}\n" for _, line in whole), len(whole) - len(rows)


def renumbered(path: Path, ids: Sequence[int | None]) -> str:
    """A result file with other `ids` `[N]`, without the lines that get None."""
    parts = re.split(r"(\r\n?|\n)", read_text(path))
    rows, kept = iter(ids), []
    for line, end in zip(parts[::2], [*parts[1::2], ""], strict=True):
        if line.strip():
            if (new := next(rows)) is None:
                continue
            _, before, identity, rest = _IDENTITY.split(line, maxsplit=1)
            line = line if float(identity) == new else f"{before}{new}{rest}"
        kept.append(line + end)
    return "".join(kept)
