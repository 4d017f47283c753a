"""Boxes with identities over a sequence, and their overlaps: what every score starts from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from tfsasm.boxes import iou_matrix, ltwh_to_xyxy, xyxy_to_ltwh
from tfsasm.errors import InputError
from tfsasm.limits import FRAMES
from tfsasm.tables import Doubles, Integers, Table


@dataclass(frozen=True)
class Trajectories(Table):
    """Boxes with identities over one sequence, one row per box and frame, in any order.

    `frames` `[N]` and `ids` `[N]` are int64, frames counted from 1; `ltwh` `[N, 4]` is float64:
    left, top, width and height in pixels. An id means the same object wherever it occurs.
    """

    frames: Integers
    ids: Integers
    ltwh: Doubles

    @classmethod
    def of(cls, frames: ArrayLike, ids: ArrayLike, ltwh: ArrayLike) -> Self:
        """The table from anything NumPy can read. Raises `InputError` when the lengths differ."""
        table = cls(
            np.asarray(frames, dtype=np.int64).reshape(-1),
            np.asarray(ids, dtype=np.int64).reshape(-1),
            np.asarray(ltwh, dtype=np.float64).reshape(-1, 4),
        )
        lengths = len(table.frames), len(table.ids), len(table.ltwh)
        if len(set(lengths)) > 1:
            raise InputError(f"frames, ids and boxes must be equally many, not {lengths}")
        return table

    @classmethod
    def from_frames(cls, frames: Iterable[tuple[ArrayLike, ArrayLike]]) -> Self:
        """From the `(ids [K], xyxy [K, 4])` of consecutive frames, the first being frame 1."""
        none = np.zeros(0, dtype=np.int64)
        numbers, ids, boxes = [none], [none], [np.zeros((0, 4))]
        for number, (identities, corners) in enumerate(frames, start=1):
            xyxy = np.asarray(corners, dtype=np.float64).reshape(-1, 4)
            boxes.append(xyxy_to_ltwh(xyxy))
            ids.append(np.asarray(identities).reshape(-1))
            numbers.append(np.full(len(xyxy), number))
        return cls.of(np.concatenate(numbers), np.concatenate(ids), np.concatenate(boxes))

    @classmethod
    def empty(cls) -> Self:
        """A sequence in which nothing was found."""
        return cls.of([], [], [])


def last_frame(*tables: Trajectories) -> int:
    """The last frame in which any of the tables has a box; 0 when none has."""
    return max((int(table.frames.max()) for table in tables if len(table)), default=0)


def check(table: Trajectories, frames: int, where: str) -> None:
    """Refuse what has no meaning: `InputError` naming `where` and the frame.

    That is a frame outside 1 to `frames`, more of these than the limit `FRAMES`, an id twice in a
    frame, and a box that is not finite.
    """
    FRAMES.check(frames, where)
    outside = (table.frames < 1) | (table.frames > frames)
    if outside.any():
        frame = table.frames[outside][0]
        raise InputError(f"{where} has frame {frame}, but the frames are 1 to {frames}")
    broken = ~np.isfinite(table.ltwh).all(axis=1)
    if broken.any():
        raise InputError(f"{where} has a box that is not finite in frame {table.frames[broken][0]}")
    keys = np.stack([table.frames, table.ids], axis=1)
    unique, counts = np.unique(keys, axis=0, return_counts=True)
    if (counts > 1).any():
        frame, identity = unique[counts > 1][0]
        raise InputError(f"{where} has id {identity} twice in frame {frame}")


def rows_by_frame(frames: Integers) -> dict[int, Integers]:
    """Frame -> the indices of its rows, in their order; frames without a row have no entry."""
    order = np.argsort(frames, kind="stable")
    numbers, starts = np.unique(frames[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=False))


def in_both(a: Integers, b: Integers) -> Iterator[tuple[Integers, Integers]]:
    """Row indices of both tables for each frame that both have, by the frames of their rows."""
    others = rows_by_frame(b)
    for frame, rows in rows_by_frame(a).items():
        if frame in others:
            yield rows, others[frame]


def overlaps(a: Doubles, b: Doubles) -> Doubles:
    """IoU `[A, B]` of ltwh boxes; a box without area overlaps nothing."""
    return np.nan_to_num(iou_matrix(ltwh_to_xyxy(a), ltwh_to_xyxy(b)), nan=0.0)
