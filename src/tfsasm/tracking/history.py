"""What a tracker's memory holds of each identity, and how it came to hold that.

What is unusual here: trackers record nothing for it. Their state is a value, so the memory after a
frame beside the one before shows what happened, and it costs nothing where no `History` is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np

from tfsasm.boxes import iou_matrix, xyxy_to_cxcywh
from tfsasm.tables import Doubles, Flags, Floats, Integers, Table, as_numpy, unit
from tfsasm.tracking.config import MemoryConfig
from tfsasm.tracking.memory import Memory, Observation, empty, write


@dataclass(frozen=True)
class Remembered(Table):
    """What a tracker remembers of its N identities after a frame."""

    ids: Integers
    """Public ones `[N]`, from 1."""
    current: Floats
    """The last view of each `[N, C]`; zero where there is none."""
    reference: Floats
    """What its next view is compared with `[N, C]`: the distance of a view of length 1 is 1 minus
    its product with this. Zero where nothing is known."""
    memory: Any
    """The `Memory`, or None where the tracker remembers in another way."""
    present: Flags
    """Whether it was seen in the frame `[N]`."""
    boxes: Doubles
    """Where it was last seen `[N, 4]`, pixel corners; zero where it is not needed."""
    rate: Floats
    """Logarithm of how much likelier another is than itself, per cosine distance, as the tracker
    has learned it, `[N]`; 0 while it does not know, or decides otherwise."""


class Remembers(Protocol):
    """A tracker that shows what it remembers: either of this package."""

    @property
    def remembered(self) -> Remembered | None:
        """After the last frame; None where it keeps no views."""
        ...

    @property
    def memory_config(self) -> MemoryConfig:
        """When its memory stores, or would."""
        ...


@dataclass(frozen=True)
class View:
    """A view that was stored. All numbers are those of frames."""

    seen: int | None
    """When it was seen; None for the zero view that a store without any view leaves."""
    stored: int
    why: Literal["travelled", "waited"]
    """Whether the identity had moved far enough since the last store, or `max_gap` was over."""
    covered: float
    """Others covered this much of it (IoU) at most; there was no clearer view since the last store.
    """
    dropped: int | None = None
    """When it made room for another; None while it is remembered."""


@dataclass(frozen=True)
class Match:
    """How like itself an identity looked when it was last seen. Distances are cosine, 0 to 2."""

    frame: int
    distance: float
    """From what was remembered of it."""
    second: int | None
    """Whose memory came second: of all others that lived; None if there was none."""
    second_distance: float | None
    sure: float | None
    """Likelihood of the identity against the second, 0 to 1, by the distances of this video so far;
    None where appearance does not decide, or not yet."""


@dataclass
class Past:
    """What is known of one identity."""

    views: list[View] = field(default_factory=list)
    """All that were ever stored, the oldest first."""
    candidate: int | None = None
    """The frame of the view that is stored next, unless a clearer one comes."""
    match: Match | None = None


class History:
    """The past of every identity of one video, after each frame that `update` is called for.

        history = tfsasm.History(tracker)
        for frame, tracks in tracker.track("video.mp4", "yolox-nano"):
            history.update(frame.number)
        print(history[3].views, history[3].match)

    A view from before an identity was confirmed counts as one of the frame where it was. Where the
    tracker has no sparse memory, one is kept here, beside it, of the views that it saw: `beside` is
    then true, and nothing is decided by it.
    """

    def __init__(self, tracker: Remembers) -> None:
        self._tracker = tracker
        self._before: Remembered | None = None
        self._past: dict[int, Past] = {}
        self.beside = False

    def __getitem__(self, identity: int) -> Past:
        """The past of an identity; that of one without a memory is empty."""
        return self._past.get(identity, Past())

    def update(self, frame: int) -> set[int]:
        """Look at the tracker after it has tracked the frame of that number.

        Returns the identities of which a view was stored in it.
        """
        found = self._tracker.remembered
        if found is None:
            return set()
        config = self._tracker.memory_config
        self.beside = found.memory is None
        kept = empty(found.current, config) if self.beside else found.memory
        newest = replace(kept, features=kept.features[:, -1:])  # the rest is known
        after = replace(found, memory=newest)
        before = _aligned(self._before, after, config)
        if self.beside:
            after = replace(found, memory=write(before.memory, _observed(before, found), config))
        captured, stored = compared(before.memory, after.memory)
        waited = before.memory.gap + 1 > config.max_gap
        zero = ~after.memory.features.any(axis=(1, 2))
        for row in np.flatnonzero(captured | stored).tolist():
            past = self._past.setdefault(int(after.ids[row]), Past())
            if captured[row]:
                past.candidate = frame
            if stored[row]:
                seen, past.candidate = None if zero[row] else past.candidate, None
                why: Literal["waited", "travelled"] = "waited" if waited[row] else "travelled"
                views = [*past.views, View(seen, frame, why, float(before.memory.overlap[row]))]
                if len(views) > config.capacity:
                    oldest = len(views) - config.capacity - 1
                    views[oldest] = replace(views[oldest], dropped=frame)
                past.views = views
        for identity, match in _matches(self._before, before, after, frame):
            self._past.setdefault(identity, Past()).match = match
        self._before = after
        return set(after.ids[stored].tolist())


def compared(before: Memory, after: Memory) -> tuple[Flags, Flags]:
    """What happened between two memories of the same N tracks, NumPy's, one frame apart.

    Of which `[N]` the candidate, or what was stored, is a view of this frame; and which `[N]`
    stored one.
    """
    newest, last = after.features[:, -1:], before.features[:, -1:]
    pushed = (newest != last).any(axis=(1, 2))
    pushed |= (after.valid != before.valid).any(axis=1)
    stored = (after.gap == 0) & ((before.gap > 0) | pushed) & after.valid.any(axis=1)
    old = before.captured & (newest == before.candidate[:, None]).all(axis=(1, 2))
    changed = (after.candidate != before.candidate).any(axis=1)
    kept = after.captured & (~before.captured | changed)
    return np.where(stored, ~old & newest.any(axis=(1, 2)), kept), stored


def _aligned(before: Remembered | None, after: Remembered, config: MemoryConfig) -> Remembered:
    """The rows of `before` in the order of `after`, blank ones for identities that are new."""
    blank = after.map(np.zeros_like)
    blank.memory.overlap[:] = config.first_overlap
    if before is None or before.current.shape[1] != after.current.shape[1]:
        return blank
    rows = {identity: row for row, identity in enumerate(before.ids.tolist())}
    found = np.array([rows.get(identity, -1) for identity in after.ids.tolist()], dtype=np.int64)
    return Remembered.cat([before, blank[:1]])[found] if len(blank) else blank


def _observed(before: Remembered, after: Remembered) -> Observation:
    """What a memory sees of identities in a frame; travel is in heights of the box."""
    present = after.present & after.current.any(axis=1)
    known = present & before.current.any(axis=1)
    old, new = xyxy_to_cxcywh(before.boxes), xyxy_to_cxcywh(after.boxes)
    moved = np.linalg.norm(new[:, :2] - old[:, :2], axis=1) / np.maximum(new[:, 3], 1)
    overlaps = np.where(after.present, iou_matrix(after.boxes, after.boxes, 1e-9), 0.0)
    np.fill_diagonal(overlaps, 0.0)
    return Observation(
        after.current, np.where(known, moved, 0).astype(np.float32),
        np.where(present, overlaps.max(axis=1, initial=0.0), np.nan).astype(np.float32),
        present.astype(np.float32), present,
    )  # fmt: skip


def _matches(
    past: Remembered | None, before: Remembered, after: Remembered, frame: int
) -> Iterator[tuple[int, Match]]:
    """How like what was remembered each identity is that got a new view; `before` has its row."""
    changed = (after.current != before.current).any(axis=1)
    seen = np.flatnonzero(changed & before.reference.any(axis=1))
    if past is None or not len(seen):
        return
    ids = after.ids[seen]
    alike = (unit(after.current[seen]) @ past.reference.T).astype(np.float64)
    own = ids[:, None] == past.ids
    rivals = np.where(own | ~past.reference.any(axis=1), -np.inf, alike)
    best = rivals.argmax(axis=1)
    distances, others, rates = 1 - alike[own], 1 - rivals.max(axis=1), past.rate[best]
    with np.errstate(invalid="ignore"):  # of those without a rival
        sure = 1 / (1 + np.exp(np.clip(rates * (distances - others), -50, 50)))
    columns = (ids, distances, past.ids[best], others, rates, sure)
    for identity, own_distance, rival, other, rate, p in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        if other == np.inf:
            yield identity, Match(frame, own_distance, None, None, None)
        else:
            yield identity, Match(frame, own_distance, rival, other, p if rate else None)


def remembered(
    ids: Any, current: Any, means: Sequence[Any], memory: Memory | None, present: Any,
    boxes: Doubles | None = None, rate: float = 0.0,
) -> Remembered:
    """What trackers show of themselves, as NumPy arrays.

    A view's distance is the mean of the cosine distances to `means`, each `[N, C]`.
    """
    kept = None if memory is None else memory.map(as_numpy)
    reference: Any = sum(unit(as_numpy(mean)) for mean in means) / len(means)
    return Remembered(
        as_numpy(ids), as_numpy(current), reference, kept, as_numpy(present),
        np.zeros((len(ids), 4)) if boxes is None else boxes,
        np.full(len(ids), rate, dtype=np.float32),
    )  # fmt: skip
