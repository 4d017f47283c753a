"""Twin of `tfsasm.memory` in NumPy: `empty`, `write` and `read` (SPEC 7).

Why each line is as it is stands there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfsasm.runtime.boxes import Floats, Integers, Mask
from tfsasm.tables import Table
from tfsasm.tracking.config import MemoryConfig


@dataclass(frozen=True)
class Memory(Table):
    """What is remembered of N tracks; columns as in `tfsasm.memory.Memory`."""

    features: Floats
    """`[N, L, C]`, right-aligned."""
    valid: Mask
    """`[N, L]`."""
    candidate: Floats
    """`[N, C]`."""
    captured: Mask
    """`[N]`."""
    overlap: Floats
    """`[N]`."""
    travel: Floats
    """`[N]`."""
    gap: Integers
    """`[N]`."""


@dataclass(frozen=True)
class Observation(Table):
    """One frame's look at N tracks; columns as in `tfsasm.memory.Observation`."""

    feature: Floats
    """`[N, C]`."""
    travel: Floats
    """`[N]`."""
    overlap: Floats
    """`[N]`; NaN means unknown."""
    score: Floats
    """`[N]`."""
    present: Mask
    """`[N]`."""


def empty(n: int, channels: int, config: MemoryConfig) -> Memory:
    """Memory of `n` new tracks with features of `channels` values."""
    return Memory(
        features=np.zeros((n, config.capacity, channels), np.float32),
        valid=np.zeros((n, config.capacity), bool),
        candidate=np.zeros((n, channels), np.float32),
        captured=np.zeros(n, bool),
        overlap=np.full(n, config.first_overlap, np.float32),
        travel=np.zeros(n, np.float32),
        gap=np.zeros(n, np.int64),
    )


def write(state: Memory, seen: Observation, config: MemoryConfig) -> Memory:
    """Show one frame to the memory and return what it remembers afterwards."""
    travel = state.travel + seen.travel
    gap = state.gap + 1

    bar = state.overlap * (1 + config.overlap_decay)
    clearer = seen.present & (seen.overlap <= bar)
    candidate = np.where(clearer[:, None], seen.feature, state.candidate)
    captured = state.captured | clearer
    overlap = np.where(clearer, seen.overlap, bar)

    clear, waited = seen.score > config.min_score, gap > config.max_gap
    store = (travel > config.min_travel) & clear
    store |= waited & clear if config.gap_needs_score else waited
    if not config.store_without_candidate:
        store &= captured

    pushed = np.concat([state.features, candidate[:, None]], axis=1)[:, 1:]
    pushed_valid = np.concat([state.valid, store[:, None]], axis=1)[:, 1:]
    nothing = np.float32(0)
    return Memory(
        features=np.where(store[:, None, None], pushed, state.features),
        valid=np.where(store[:, None], pushed_valid, state.valid),
        candidate=np.where(store[:, None], nothing, candidate),
        captured=captured & ~store,
        overlap=np.where(store, np.float32(1), overlap),
        travel=np.where(store, nothing, travel),
        gap=np.where(store, 0, gap),
    )


def read(state: Memory, default: Floats) -> Floats:
    """Each track's feature `[N, C]` mixed half and half with the mean of its stored views."""
    weight = state.valid.astype(np.float32)
    total = (state.features * weight[..., None]).sum(axis=1)
    mean = total / np.maximum(weight.sum(axis=1, keepdims=True), 1)
    return np.where(state.valid.any(axis=1, keepdims=True), (default + mean) / 2, default)
