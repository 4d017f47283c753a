"""What is remembered of how each track looks: the sparse memory, and the usual alternatives.

A gallery is three functions over a table with a row per track: `empty`, `write`, `distances`. The
sparse one is `tfsasm.memory` as it is, with appearance embeddings for features.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from tfsasm.tables import Table
from tfsasm.tracking import memory
from tfsasm.tracking.config import MemoryConfig
from tfsasm.tracking.memory import Memory, Observation

FAR = 2.0
"""The largest cosine distance: that of a track of which nothing is known."""


@dataclass(frozen=True)
class GalleryConfig:
    """How looks are remembered."""

    kind: Literal["sparse", "ema", "last", "none"] = "sparse"
    """The sparse memory; a moving average; the last views; or nothing, for motion alone."""
    read: Literal["mean", "half", "nearest"] = "mean"
    """What of the sparse memory a detection is compared with: the mean of its views, half the
    current view and half their mean (the published read), or the view that is nearest."""
    momentum: float = 0.9
    """Share of the old in the moving average (BoT-SORT, arXiv 2206.14651)."""
    views: int = 30
    """How many the gallery `last` keeps; the nearest counts."""
    memory: MemoryConfig = field(
        default_factory=lambda: MemoryConfig(
            min_travel=0.5, min_score=0.6, first_overlap=1.0, store_without_candidate=False
        )
    )
    """When the sparse memory stores. The unit of travel is the height of the box."""
    overlap: bool = True
    """Whether the sparse memory is told how much of a view others cover."""


class Gallery(Protocol):
    """Tables with a row per track, whose type is the gallery's own."""

    def empty(self, n: int, channels: int) -> Any:
        """The looks of `n` new tracks: nothing yet."""
        ...

    def write(self, state: Any, seen: Observation) -> Any:
        """The table after one frame; only rows with `seen.present` show something new."""
        ...

    def distances(self, state: Any, embeddings: Tensor) -> Tensor:
        """Cosine distances `[N, D]` of N tracks to unit vectors `[D, C]`; `FAR` if unknown."""
        ...


def gallery(config: GalleryConfig) -> Gallery:
    """The gallery that the settings ask for."""
    if config.kind == "sparse":
        return SparseGallery(config)
    if config.kind == "ema":
        return AverageGallery(config.momentum)
    return LastGallery(config.views) if config.kind == "last" else NoGallery()


@dataclass(frozen=True)
class Nothing(Table):
    """N tracks of whose looks nothing is kept."""

    known: Tensor
    """`[N]`, always False."""


@dataclass(frozen=True)
class NoGallery:
    """Remembers nothing, so that motion decides alone."""

    def empty(self, n: int, channels: int) -> Nothing:
        """See `Gallery`."""
        return Nothing(torch.zeros(n, dtype=torch.bool))

    def write(self, state: Nothing, seen: Observation) -> Nothing:
        """See `Gallery`."""
        return state

    def distances(self, state: Nothing, embeddings: Tensor) -> Tensor:
        """See `Gallery`."""
        return torch.full((len(state), len(embeddings)), FAR)


@dataclass(frozen=True)
class SparseViews(Table):
    """The sparse memory of N tracks beside their current views."""

    current: Tensor
    """The last view `[N, C]`."""
    known: Tensor
    """Whether there is any `[N]`, bool."""
    mean: Tensor
    """Mean of the stored views `[N, C]`, the current view where there are none."""
    memory: Memory


@dataclass(frozen=True)
class SparseGallery:
    """`tfsasm.memory`, unchanged. Until something is stored, the current view stands for it."""

    config: GalleryConfig

    def empty(self, n: int, channels: int) -> SparseViews:
        """See `Gallery`."""
        none = torch.zeros(n, dtype=torch.bool)
        blank = torch.zeros(n, channels)
        return SparseViews(blank, none, blank, memory.empty(n, channels, self.config.memory))

    def write(self, state: SparseViews, seen: Observation) -> SparseViews:
        """See `Gallery`."""
        if not self.config.overlap:
            seen = replace(seen, overlap=torch.zeros_like(seen.overlap))
        after, changed = _written(state.memory, seen, self.config.memory)
        current = torch.where(seen.present[:, None], seen.feature, state.current)
        stored = after.valid.any(dim=1, keepdim=True)
        mean = torch.where(stored, state.mean, current)
        mean[changed] = memory.mean_view(after[changed])
        return SparseViews(current, state.known | seen.present, mean, after)

    def distances(self, state: SparseViews, embeddings: Tensor) -> Tensor:
        """See `Gallery`."""
        if self.config.read == "mean":
            return _apart(state.mean, state.known, embeddings)
        if self.config.read == "half":
            return _apart((state.current + state.mean) / 2, state.known, embeddings)
        views = torch.cat([state.memory.features, state.current[:, None]], dim=1)
        valid = torch.cat([state.memory.valid, state.known[:, None]], dim=1)
        return _nearest(views, valid, embeddings)


@dataclass(frozen=True)
class Average(Table):
    """A moving average of N tracks."""

    mean: Tensor
    """`[N, C]`."""
    known: Tensor
    """`[N]`, bool."""


@dataclass(frozen=True)
class AverageGallery:
    """An exponential moving average of all views."""

    momentum: float

    def empty(self, n: int, channels: int) -> Average:
        """See `Gallery`."""
        return Average(torch.zeros(n, channels), torch.zeros(n, dtype=torch.bool))

    def write(self, state: Average, seen: Observation) -> Average:
        """See `Gallery`."""
        mixed = self.momentum * state.mean + (1 - self.momentum) * seen.feature
        mean = torch.where(state.known[:, None], mixed, seen.feature)
        return Average(
            torch.where(seen.present[:, None], mean, state.mean), state.known | seen.present
        )

    def distances(self, state: Average, embeddings: Tensor) -> Tensor:
        """See `Gallery`."""
        return _apart(state.mean, state.known, embeddings)


@dataclass(frozen=True)
class Recent(Table):
    """The last views of N tracks, the newest last."""

    features: Tensor
    """`[N, L, C]`."""
    valid: Tensor
    """`[N, L]`, bool."""


@dataclass(frozen=True)
class LastGallery:
    """The last views, of which the nearest counts (DeepSORT)."""

    views: int

    def empty(self, n: int, channels: int) -> Recent:
        """See `Gallery`."""
        return Recent(
            torch.zeros(n, self.views, channels), torch.zeros(n, self.views, dtype=torch.bool)
        )

    def write(self, state: Recent, seen: Observation) -> Recent:
        """See `Gallery`."""
        pushed = torch.cat([state.features[:, 1:], seen.feature[:, None]], dim=1)
        valid = torch.cat([state.valid[:, 1:], seen.present[:, None]], dim=1)
        return Recent(
            torch.where(seen.present[:, None, None], pushed, state.features),
            torch.where(seen.present[:, None], valid, state.valid),
        )

    def distances(self, state: Recent, embeddings: Tensor) -> Tensor:
        """See `Gallery`."""
        return _nearest(state.features, state.valid, embeddings)


def _written(
    state: Memory, seen: Observation, config: MemoryConfig
) -> tuple[Memory, Tensor]:
    """`memory.write`, and the rows that stored a view.

    A store is rare, and all views of all tracks are much to copy. So the rest of the memory is
    written first, for a capacity of none, and the views only where it came to a store.
    """
    slim = memory.write(
        replace(state, features=state.features[:, :0], valid=state.valid[:, :0]), seen, config
    )
    rows = (slim.gap == 0).nonzero()[:, 0]
    if not len(rows):
        return replace(slim, features=state.features, valid=state.valid), rows
    full = memory.write(state[rows], seen[rows], config)
    features, valid = state.features.clone(), state.valid.clone()
    features[rows], valid[rows] = full.features, full.valid
    return replace(slim, features=features, valid=valid), rows


def _apart(views: Tensor, known: Tensor, embeddings: Tensor) -> Tensor:
    unit = torch.nn.functional.normalize(views, dim=1)
    return torch.where(known[:, None], 1 - unit @ embeddings.T, FAR)


def _nearest(views: Tensor, valid: Tensor, embeddings: Tensor) -> Tensor:
    unit = torch.nn.functional.normalize(views, dim=2)
    alike = torch.where(valid[..., None], unit @ embeddings.T, 1 - FAR)
    return 1 - alike.amax(dim=1)
