"""Sparse memory: a few views of each track, spread out in space rather than in time.

What is unusual here: nothing is learned. A view is stored once its object has travelled far enough
(or waited too long), and it is the least covered view since the last store; reading mixes the mean
of the stored views into the track's own feature (TF-SASM, arXiv 2407.04327; SPEC 7). What counts as
travel, overlap or presence is the caller's to say, so the memory serves query embeddings and
appearance embeddings alike, and knows neither networks nor identities.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tfsasm.tables import Table
from tfsasm.tracking.config import MemoryConfig


@dataclass(frozen=True)
class Memory(Table):
    """What is remembered of N tracks. Valid rows are right-aligned; the last one is the newest."""

    features: Tensor
    """Stored views `[N, L, C]`."""
    valid: Tensor
    """Which of them are filled `[N, L]`, bool."""
    candidate: Tensor
    """Least covered view since the last store `[N, C]`; zero when there is none."""
    captured: Tensor
    """Whether `candidate` holds a view `[N]`, bool."""
    overlap: Tensor
    """Overlap that a new candidate may not exceed `[N]`."""
    travel: Tensor
    """Travel since the last store `[N]`."""
    gap: Tensor
    """Frames since the last store, or since birth `[N]`, int64."""


@dataclass(frozen=True)
class Observation(Table):
    """One frame's look at N tracks."""

    feature: Tensor
    """The view `[N, C]`."""
    travel: Tensor
    """How far the object moved `[N]`."""
    overlap: Tensor
    """How much of it others cover `[N]`; NaN means unknown and is never preferred."""
    score: Tensor
    """Confidence `[N]`."""
    present: Tensor
    """Whether it was seen at all `[N]`, bool; only then may its view become the candidate."""


def empty(
    n: int, channels: int, config: MemoryConfig, *, device: str | torch.device = "cpu"
) -> Memory:
    """Memory of `n` new tracks with features of `channels` values."""
    return Memory(
        features=torch.zeros(n, config.capacity, channels, device=device),
        valid=torch.zeros(n, config.capacity, dtype=torch.bool, device=device),
        candidate=torch.zeros(n, channels, device=device),
        captured=torch.zeros(n, dtype=torch.bool, device=device),
        overlap=torch.full((n,), config.first_overlap, device=device),
        travel=torch.zeros(n, device=device),
        gap=torch.zeros(n, dtype=torch.int64, device=device),
    )


@torch.no_grad()
def write(state: Memory, seen: Observation, config: MemoryConfig) -> Memory:
    """Show one frame to the memory and return what it remembers afterwards (SPEC 7.3, 7.4).

    Each object keeps a candidate: its least covered view since the last store. The candidate is
    stored once the object has travelled `min_travel` and is seen clearly, or after `max_gap`
    frames. Storing drops the oldest view and opens the search for the next one.
    """
    travel = state.travel + seen.travel
    gap = state.gap + 1

    bar = state.overlap * (1 + config.overlap_decay)
    clearer = seen.present & (seen.overlap <= bar)  # a tie goes to the newer view
    candidate = torch.where(clearer[:, None], seen.feature, state.candidate)
    captured = state.captured | clearer
    overlap = torch.where(clearer, seen.overlap, bar)

    store = _due(travel, gap, seen.score, config)
    if not config.store_without_candidate:
        store = store & captured

    pushed = torch.cat([state.features, candidate[:, None]], dim=1)[:, 1:]
    pushed_valid = torch.cat([state.valid, store[:, None]], dim=1)[:, 1:]
    return Memory(
        features=torch.where(store[:, None, None], pushed, state.features),
        valid=torch.where(store[:, None], pushed_valid, state.valid),
        candidate=torch.where(store[:, None], 0.0, candidate),
        captured=captured & ~store,
        overlap=torch.where(store, 1.0, overlap),
        travel=torch.where(store, 0.0, travel),
        gap=torch.where(store, 0, gap),
    )


def _due(travel: Tensor, gap: Tensor, score: Tensor, config: MemoryConfig) -> Tensor:
    clear = score > config.min_score
    moved = (travel > config.min_travel) & clear
    waited = gap > config.max_gap
    return moved | (waited & clear if config.gap_needs_score else waited)


def mean_view(state: Memory) -> Tensor:
    """Mean `[N, C]` of each track's stored views; zero for a track without any."""
    weight = state.valid.to(state.features.dtype)
    total = (state.features * weight[..., None]).sum(dim=1)
    return total / weight.sum(dim=1, keepdim=True).clamp(min=1)


def read(state: Memory, default: Tensor) -> Tensor:
    """Each track's feature `[N, C]` mixed half and half with its stored mean (SPEC 7.5).

    A track with an empty memory keeps its own `default` feature exactly.
    """
    filled = state.valid.any(dim=1, keepdim=True)
    return torch.where(filled, (default + mean_view(state)) / 2, default)
