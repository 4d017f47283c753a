"""Sparse memory: a few views of each track, spread out in space rather than in time.

What is unusual here: nothing is learned. A view is stored once its object has travelled far enough
(or waited too long), and it is the least covered view since the last store; reading mixes the mean
of the stored views into the track's own feature (TF-SASM, arXiv 2407.04327; SPEC 7). What counts as
travel, overlap or presence is the caller's to say, so the memory serves query embeddings and
appearance embeddings alike, NumPy arrays and PyTorch tensors alike, and knows neither networks nor
identities.
"""

from __future__ import annotations

from dataclasses import dataclass

from tfsasm.tables import Array, Table, namespace
from tfsasm.tracking.config import MemoryConfig


@dataclass(frozen=True)
class Memory(Table):
    """What is remembered of N tracks. Valid rows are right-aligned; the last one is the newest."""

    features: Array
    """Stored views `[N, L, C]`, float32."""
    valid: Array
    """Which of them are filled `[N, L]`, bool."""
    candidate: Array
    """Least covered view since the last store `[N, C]`; zero when there is none."""
    captured: Array
    """Whether `candidate` holds a view `[N]`, bool."""
    overlap: Array
    """Overlap that a new candidate may not exceed `[N]`."""
    travel: Array
    """Travel since the last store `[N]`."""
    gap: Array
    """Frames since the last store, or since birth `[N]`, int64."""


@dataclass(frozen=True)
class Observation(Table):
    """N tracks as one frame shows them."""

    feature: Array
    """The view `[N, C]`."""
    travel: Array
    """How far the object moved `[N]`."""
    overlap: Array
    """How much of it others cover `[N]`; NaN means unknown and is never preferred."""
    score: Array
    """Confidence `[N]`."""
    present: Array
    """Whether it was seen at all `[N]`, bool; only then may its view become the candidate."""


def empty(features: Array, config: MemoryConfig) -> Memory:
    """Memory of N new tracks, in the library and on the device of their `features` `[N, C]`."""
    library = namespace(features)
    n, channels = features.shape

    def zeros(*shape: int, dtype: object = library.float32) -> Array:
        return library.zeros(shape, dtype=dtype, device=features.device)

    return Memory(
        features=zeros(n, config.capacity, channels),
        valid=zeros(n, config.capacity, dtype=library.bool),
        candidate=zeros(n, channels),
        captured=zeros(n, dtype=library.bool),
        overlap=zeros(n) + config.first_overlap,
        travel=zeros(n),
        gap=zeros(n, dtype=library.int64),
    )


def write(state: Memory, seen: Observation, config: MemoryConfig) -> Memory:
    """Show one frame to the memory and return what it remembers afterwards (SPEC 7.3, 7.4).

    Each object keeps a candidate: its least covered view since the last store. The candidate is
    stored once the object has travelled `min_travel` and is seen clearly, or after `max_gap`
    frames. Storing drops the oldest view and opens the search for the next one.
    """
    library = namespace(state.features)
    travel = state.travel + seen.travel
    gap = state.gap + 1

    bar = state.overlap * (1 + config.overlap_decay)
    clearer = seen.present & (seen.overlap <= bar)  # a tie goes to the newer view
    candidate = library.where(clearer[:, None], seen.feature, state.candidate)
    captured = state.captured | clearer
    overlap = library.where(clearer, seen.overlap, bar)

    clear, waited = seen.score > config.min_score, gap > config.max_gap
    if config.gap_needs_score:
        waited = waited & clear
    store = ((travel > config.min_travel) & clear) | waited
    if not config.store_without_candidate:
        store = store & captured

    pushed = library.concat([state.features, candidate[:, None]], 1)[:, 1:]
    pushed_valid = library.concat([state.valid, store[:, None]], 1)[:, 1:]
    return Memory(
        features=library.where(store[:, None, None], pushed, state.features),
        valid=library.where(store[:, None], pushed_valid, state.valid),
        candidate=library.where(store[:, None], 0.0, candidate),
        captured=captured & ~store,
        overlap=library.where(store, 1.0, overlap),
        travel=library.where(store, 0.0, travel),
        gap=library.where(store, 0, gap),
    )


def mean_view(state: Memory) -> Array:
    """Mean `[N, C]` of each track's stored views; zero for a track without any."""
    library = namespace(state.features)
    total = (state.features * state.valid[..., None]).sum(1)
    views = library.asarray(state.valid.sum(1)[:, None].clip(1), dtype=library.float32)
    return total / views


def read(state: Memory, default: Array) -> Array:
    """Each track's feature `[N, C]` mixed half and half with its stored mean (SPEC 7.5).

    A track with an empty memory keeps its own `default` feature exactly.
    """
    filled = state.valid.any(1)[:, None]
    return namespace(default).where(filled, (default + mean_view(state)) / 2, default)
