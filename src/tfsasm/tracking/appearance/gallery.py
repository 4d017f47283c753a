"""Appearance of each track: two averages, the sparse memory, and the usual alternatives.

A gallery is a table with a row per track that knows what it is after one more frame (`written`) and
how far its tracks are from new embeddings (`distances`). The sparse one is
`tfsasm.tracking.memory` as it is, with appearance embeddings for features.

The default is two averages, a fast and a slow one: the fast one follows people as they turn and as
the light changes, the slow one distinguishes those who look alike (docs/memory.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from tfsasm.boxes import iou_matrix, xyxy_to_cxcywh
from tfsasm.errors import InputError
from tfsasm.tables import Doubles, Flags, Floats, Integers, Table, unit
from tfsasm.tracking import memory
from tfsasm.tracking.appearance.association import TINY
from tfsasm.tracking.config import MOST_VIEWS, MemoryConfig
from tfsasm.tracking.memory import Memory, Observation

FAR = np.float32(2)
"""The largest cosine distance: that of a track without embeddings."""


@dataclass(frozen=True)
class GalleryConfig:
    """How the appearance of a track is remembered."""

    kind: Literal["two", "sparse", "ema", "last", "none"] = "two"
    """Two averages, a fast and a slow one; the sparse memory; a moving average; the last
    embeddings; or nothing, for motion alone. docs/memory.md has them side by side."""
    read: Literal["mean", "half", "nearest"] = "mean"
    """What of the sparse memory a detection is compared with: the mean of its views, half the
    current view and half their mean (the published read), or the nearest view."""
    momentum: float = 0.9
    """Share of the old in the moving average, and in the fast one of `two` (BoT-SORT, arXiv
    2206.14651). Measured: 0.8 does alike on real people, and is worse on look-alikes."""
    slow_momentum: float = 0.98
    """And in the slow one."""
    views: int = 30
    """How many the gallery `last` keeps; the nearest counts."""
    memory: MemoryConfig = field(
        default_factory=lambda: MemoryConfig(
            min_travel=0.5, min_score=0.6, first_overlap=1.0, store_without_candidate=False
        )
    )
    """When the sparse memory stores. The unit of travel is the height of the box."""
    overlap: bool = True
    """Whether the sparse memory prefers views that other detections overlap less."""

    def __post_init__(self) -> None:
        if self.views > MOST_VIEWS:
            raise InputError(f"gallery.views is {self.views}; at most {MOST_VIEWS:,} fit")


def observe(
    last_box: Doubles, matches: Integers, boxes: Doubles, scores: Doubles, embeddings: Floats
) -> Observation:
    """What the gallery learns of N tracks in a frame.

    `last_box` `[N, 4]` are their detections before, `matches` `[N]` those of this frame (-1 for
    none), among `boxes` `[D, 4]` (pixel corners), `scores` `[D]` and `embeddings` `[D, C]`, where
    zeros are no embedding. Travel is in heights of the box, overlap the largest IoU with another
    detection, NaN without a detection.
    """
    n = len(last_box)
    rows = np.flatnonzero(matches >= 0)
    own = matches[rows]
    travel, overlap, score = (np.full(n, value, np.float32) for value in (0, np.nan, 0))
    before, now = xyxy_to_cxcywh(last_box[rows]), xyxy_to_cxcywh(boxes[own])
    travel[rows] = np.linalg.norm(now[:, :2] - before[:, :2], axis=1) / now[:, 3]
    overlaps = iou_matrix(boxes, boxes, TINY)
    np.fill_diagonal(overlaps, 0.0)
    overlap[rows] = overlaps.max(axis=1, initial=0.0)[own]
    score[rows] = scores[own]
    view = np.zeros((n, embeddings.shape[1]), np.float32)
    view[rows] = embeddings[own]
    return Observation(view, travel, overlap, score, np.asarray(view.any(axis=1)))


_LEAST_VISIBLE = 1e-3  # so that a first view which others hide is a view


@dataclass(frozen=True)
class Averages(Table):
    """An exponential moving average of all views; with the kind `two` beside a slower one, of views
    that count the less, the more they are covered.

    The slow one begins as a plain mean, so the first view is no more than another. A detection's
    distance is the mean of those to both.
    """

    fast: Floats
    """`[N, C]`."""
    slow: Floats
    """Weighted sum of the views `[N, C]`; only its direction counts."""
    current: Floats
    """The last view `[N, C]`, for who asks."""
    known: Flags
    """Whether there is any `[N]`."""
    memory: ClassVar[None] = None

    @property
    def means(self) -> list[Floats]:
        """What detections are compared with, `[N, C]` each."""
        return [self.fast, self.slow]

    def written(self, seen: Observation, config: GalleryConfig) -> Averages:
        """After one frame; only rows that are `present` have an embedding in it."""
        share, present = config.momentum, seen.present[:, None]
        mixed = share * self.fast + (1 - share) * seen.feature
        fast = np.where(self.known[:, None], mixed, seen.feature)
        visible = np.maximum(1 - seen.overlap, _LEAST_VISIBLE)[:, None]
        slow = config.slow_momentum * self.slow + visible * seen.feature
        return Averages(
            np.where(present, fast, self.fast), np.where(present, slow, self.slow),
            np.where(present, seen.feature, self.current), self.known | seen.present,
        )  # fmt: skip

    def distances(self, embeddings: Floats, config: GalleryConfig) -> Floats:
        """Cosine distances `[N, D]` to unit vectors `[D, C]`; `FAR` for tracks without any."""
        fast = _distances(self.fast, self.known, embeddings)
        if config.kind == "ema":
            return fast
        return np.asarray((fast + _distances(self.slow, self.known, embeddings)) / 2)


@dataclass(frozen=True)
class SparseViews(Table):
    """The sparse memory of N tracks. Until something is stored, the current view takes its place.
    """

    current: Floats
    """The last view `[N, C]`."""
    known: Flags
    """Whether there is any `[N]`."""
    mean: Floats
    """Mean of the stored views `[N, C]`, the current view where there are none."""
    memory: Memory

    @property
    def means(self) -> list[Floats]:
        """As those of `Averages`."""
        return [self.mean]

    def written(self, seen: Observation, config: GalleryConfig) -> SparseViews:
        """As that of `Averages`."""
        if not config.overlap:
            seen = replace(seen, overlap=np.zeros_like(seen.overlap))
        after, changed = _written(self.memory, seen, config.memory)
        current = np.where(seen.present[:, None], seen.feature, self.current)
        mean = np.where(after.valid.any(axis=1, keepdims=True), self.mean, current)
        mean[changed] = memory.mean_view(after[changed])
        return SparseViews(current, self.known | seen.present, mean, after)

    def distances(self, embeddings: Floats, config: GalleryConfig) -> Floats:
        """As those of `Averages`."""
        if config.read == "mean":
            return _distances(self.mean, self.known, embeddings)
        if config.read == "half":
            return _distances((self.current + self.mean) / 2, self.known, embeddings)
        views = np.concat([self.memory.features, self.current[:, None]], axis=1)
        valid = np.concat([self.memory.valid, self.known[:, None]], axis=1)
        return _nearest(views, valid, embeddings)


@dataclass(frozen=True)
class LastViews(Table):
    """The last views of N tracks, the newest last, of which the nearest counts (DeepSORT); with
    room for none nothing is known."""

    features: Floats
    """`[N, L, C]`."""
    valid: Flags
    """`[N, L]`."""

    def written(self, seen: Observation, config: GalleryConfig) -> LastViews:
        """As that of `Averages`."""
        present = seen.present[:, None]
        pushed = np.concat([self.features[:, 1:], seen.feature[:, None]], axis=1)
        valid = np.concat([self.valid[:, 1:], present], axis=1)
        return LastViews(
            np.where(present[..., None], pushed, self.features),
            np.where(present, valid, self.valid),
        )

    def distances(self, embeddings: Floats, config: GalleryConfig) -> Floats:
        """As those of `Averages`."""
        return _nearest(self.features, self.valid, embeddings)


Gallery = Averages | SparseViews | LastViews


def gallery(config: GalleryConfig, n: int, channels: int) -> Gallery:
    """That of `n` new tracks, for embeddings of `channels` values: nothing yet."""
    none, blank = np.zeros(n, bool), np.zeros((n, channels), np.float32)
    if config.kind in ("two", "ema"):
        return Averages(blank, blank, blank, none)
    if config.kind == "sparse":
        return SparseViews(blank, none, blank, memory.empty(blank, config.memory))
    views = config.views if config.kind == "last" else 0
    return LastViews(np.zeros((n, views, channels), np.float32), np.zeros((n, views), bool))


def _written(state: Memory, seen: Observation, config: MemoryConfig) -> tuple[Memory, Integers]:
    """`memory.write`, and the rows that stored a view.

    A store is rare, and all views of all tracks are much to copy. So the rest of the memory is
    written first, for a capacity of none, and the views only where it came to a store.
    """
    slim = replace(state, features=state.features[:, :0], valid=state.valid[:, :0])
    slim = memory.write(slim, seen, config)
    rows = np.flatnonzero(slim.gap == 0)
    features, valid = state.features, state.valid
    if len(rows):
        full = memory.write(state[rows], seen[rows], config)
        features, valid = features.copy(), valid.copy()
        features[rows], valid[rows] = full.features, full.valid
    return replace(slim, features=features, valid=valid), rows


def _distances(views: Any, known: Flags, embeddings: Floats) -> Floats:
    return np.where(known[:, None], 1 - unit(views) @ embeddings.T, FAR)


def _nearest(views: Floats, valid: Flags, embeddings: Floats) -> Floats:
    alike = np.where(valid[..., None], unit(views) @ embeddings.T, 1 - FAR)
    return np.asarray(1 - alike.max(axis=1, initial=1 - FAR))
