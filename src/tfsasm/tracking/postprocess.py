"""Broken tracks joined after the fact, as the released evaluation did (SPEC 10).

This uses the future: a track is continued only when the whole video is known, so its scores are
those of an offline method. Nothing else in this package merges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfsasm.errors import InputError
from tfsasm.files import read_text
from tfsasm.motchallenge import read_tracks, with_commas


@dataclass(frozen=True)
class MergeConfig:
    """When a track that begins is taken for one that ended. All are frames.

    A gap counts from the last frame of one track to the first of another: 1 means no frame between.
    """

    min_gap: int = 20
    """Only longer gaps are bridged."""
    max_gap: int = 100
    """Only shorter gaps are bridged."""
    block_from: int = 0
    """Gap from which on, and up to `max_gap`, another start or end makes a join ambiguous.

    QUIRK-43: the released 0 lets one block that itself is too near to be joined. `min_gap + 1` is
    the sane value.
    """

    def __post_init__(self) -> None:
        if not 0 <= self.min_gap < self.max_gap:
            raise InputError(
                f"gaps from {self.min_gap} to {self.max_gap} cannot be bridged; give a min_gap of "
                "0 or more and a larger max_gap"
            )
        if not 0 <= self.block_from <= self.min_gap + 1:
            raise InputError(
                f"block_from is {self.block_from}; give 0 to min_gap + 1 ({self.min_gap + 1}), so "
                "that no two tracks are continued by one"
            )


def merged_ids(
    frames: NDArray[np.int64], ids: NDArray[np.int64], config: MergeConfig
) -> dict[int, int]:
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


def merge_text(path: Path, config: MergeConfig) -> tuple[str, int, int]:
    """A result file with the ids of joined tracks, and how many ids it had and has.

    Lines keep their order and all their other columns, character for character. Raises
    `InputError` for a file that is not MOT text.
    """
    table = read_tracks(path, lax=True)
    new = merged_ids(table.frame, table.identity, config)
    text = renumbered(path, [new[identity] for identity in table.identity.tolist()])
    return text, len(new), len(set(new.values()))


def renumbered(path: Path, ids: Sequence[int | None]) -> str:
    """A result file with other `ids` `[N]`, without the lines that get None."""
    lines = read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    rows = iter(ids)
    renamed = (_renamed(line, next(rows)) if line.strip() else line for line in lines)
    return "\n".join(line for line in renamed if line is not None)


def _within(
    numbers: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many of the sorted `numbers` lie in each range, both ends included."""
    return np.searchsorted(numbers, last, "right") - np.searchsorted(numbers, first, "left")


def _renamed(line: str, new: int | None) -> str | None:
    if new is None:
        return None
    frame, identity, rest = with_commas(line).split(",", 2)
    return line if float(identity) == new else f"{frame},{new},{rest}"
