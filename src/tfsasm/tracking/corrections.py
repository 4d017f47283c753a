"""Corrections that were made by hand in the page, applied to a result file.

A list that is applied in its order, as the page does it: `{"merge": [a, b]}`: b is a. `{"split": a,
"frame": n, "new": b}`: from frame n on a is b. `{"delete": a}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfsasm.errors import InputError
from tfsasm.files import checked, field, read_json
from tfsasm.motchallenge import read_tracks
from tfsasm.tables import Integers
from tfsasm.tracking.config import NO_ID
from tfsasm.tracking.postprocess import renumbered


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
    try:
        entries = field(read_json(path), "corrections", list)
    except InputError:
        raise
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


def corrected_ids(
    frames: Integers, ids: Integers, corrections: Sequence[Correction]
) -> Integers:
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
        known |= {one.new} if one.splits else set()
        known -= set() if one.splits else {one.old}
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
