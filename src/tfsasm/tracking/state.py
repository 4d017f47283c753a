"""What survives a frame of the query tracker, as tables.

What is unusual here: a table has a row for each track that lives, or, for a network that is
`padded`, some rows that stand empty as well, without an identity. Then a frame is the same
operations on arrays of the same sizes, whoever is born or dies, and no one waits for a GPU to count
them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import supervision as sv

from tfsasm.detection.proposals import Proposals, no_classes
from tfsasm.runtime.network import Network, Queries
from tfsasm.tables import Array, Table, namespace
from tfsasm.tracking import memory
from tfsasm.tracking.config import NO_ID, TrackerConfig
from tfsasm.tracking.memory import Memory

_FEWEST = 16  # rows of a padded table

T = TypeVar("T", bound=Table)


@dataclass(frozen=True)
class Tracks(Table):
    """What lives from frame to frame."""

    ids: Array
    """`[N]` int64, from 0; `NO_ID` for a row that stands empty."""
    missed: Array
    """Consecutive frames absent, `[N]` int64."""
    queries: Queries
    """Content of the next frame, and the box in which the track was last seen."""
    memory: Memory
    velocity: Array
    """Of the box's centre per frame, in normalised units, `[N, 2]`; 0 while motion is off."""
    classes: Array
    """Of the detection that each was born of or last matched with, `[N]` int64, or `NO_CLASS`; with
    a network of several classes, what the track was when it was last seen."""


@dataclass(frozen=True)
class TrackerState:
    """Everything that survives a frame."""

    tracks: Tracks
    next_id: Array = 0
    """An int, or where tables are padded an array `[]`, which nobody need wait for."""
    frame: int = 0
    """Frames seen so far."""
    live: int | None = None
    """At most so many tracks live; None: as many as there are rows."""

    @property
    def living(self) -> Tracks:
        """The tracks without the rows that stand empty."""
        return self.tracks if self.live is None else self.tracks[self.tracks.ids != NO_ID]


@dataclass(frozen=True)
class TrackOutput(Table):
    """Every live track after a frame, absent ones included."""

    ids: Array
    """`[N]` int64, from 0; `NO_ID` for a row that stands empty."""
    scores: Array
    """`[N]`."""
    boxes: Array
    """`[N, 4]` normalised cxcywh, not clipped to the image (QUIRK-14)."""
    sources: Array
    """Row of the proposal that the track was born of in this frame or is matched with, else -1."""
    classes: Array
    """As in `Tracks`."""


def begin(network: Network, config: TrackerConfig) -> TrackerState:
    """State before the first frame: no tracks."""
    nothing = Proposals.empty().map(network.asarray)
    tracks = new_tracks(network.queries(nothing.boxes, nothing.scores)[:0], config)
    if not network.padded:
        return TrackerState(tracks)
    return TrackerState(tracks, namespace(tracks.ids).zeros_like(tracks.ids.sum()), live=0)


def new_tracks(queries: Queries, config: TrackerConfig) -> Tracks:
    """Rows without an identity, of N queries."""
    library, device, n = namespace(queries.boxes), queries.boxes.device, len(queries)
    ids = library.full((n,), NO_ID, dtype=library.int64, device=device)
    return Tracks(
        ids=ids, classes=no_classes(ids),
        missed=library.zeros((n,), dtype=library.int64, device=device),
        queries=queries,
        memory=memory.empty(queries.content, config.memory),
        velocity=library.zeros((n, 2), dtype=library.float32, device=device),
    )


def with_room(state: TrackerState, new: int, config: TrackerConfig) -> TrackerState:
    """The same state with a row for each track that lives and for `new` ones, whoever is born.

    So no birth is ever lost. The number of rows doubles and never falls.
    """
    rows = len(state.tracks)
    most = (rows if state.live is None else state.live) + new
    more = _size(most) - rows
    if more <= 0:
        return replace(state, live=most)
    empty = new_tracks(_zeros(state.tracks.queries, more), config)
    return replace(state, tracks=Tracks.cat([state.tracks, empty]), live=most)


def with_empty_rows(proposals: Proposals) -> Proposals:
    """Proposals in NumPy in a table of one of few sizes, with rows behind that are none."""
    more = _size(len(proposals)) - len(proposals)
    return Proposals.cat([proposals, _zeros(proposals, more)])


def _size(rows: int) -> int:
    """Of a table for so many."""
    return max(_FEWEST, 1 << (rows - 1).bit_length())


def _zeros(like: T, rows: int) -> T:
    def zeros(column: Array) -> Array:
        shape = (rows, *column.shape[1:])
        return namespace(column).zeros(shape, dtype=column.dtype, device=column.device)

    return like.map(zeros)


def settled(state: TrackerState, output: TrackOutput) -> tuple[TrackerState, TrackOutput]:
    """The output in NumPy, of live tracks alone, and the state with their number.

    Where there is a GPU this is the only time in a frame that the host waits.
    """
    found = output.on_host()
    if state.live is None:
        return state, found
    found = found[found.ids != NO_ID]
    return replace(state, live=len(found)), found


def asked_rows(ids: Array, new: Array) -> Array:
    """Which rows `[N]` of a padded table are queries: the first `new` `[]`, and those of tracks."""
    library = namespace(ids)
    return (library.arange(len(ids), device=ids.device) < new) | (ids != NO_ID)


def live_rows(ids: Array, room: int | None) -> Array:
    """Rows of all that live, in order; with a `room`, so many, of which the last stand empty."""
    library, empty = namespace(ids), ids == NO_ID
    if room is None:
        return library.where(~empty)[0]  # not a mask, which would be counted for each column
    return library.argsort(empty * 1, stable=True)[:room]


class Origins:
    """What came with the detection that each live track was born of."""

    def __init__(self) -> None:
        self._data: dict[int, dict[str, Any]] = {}

    def learn(self, ids: Array, sources: Array, detections: sv.Detections | None) -> None:
        """Take over the data of tracks that are born, reported or not; forget those that died.

        `ids` and `sources` `[N]` are those of `TrackOutput`, of all that live.
        """
        if detections is not None:
            for identity, source in zip(ids.tolist(), sources.tolist(), strict=True):
                if source >= 0:
                    self._data[identity] = {k: v[source] for k, v in detections.data.items()}
        alive = set(ids.tolist())
        self._data = {i: value for i, value in self._data.items() if i in alive}

    def attach(self, tracks: sv.Detections) -> sv.Detections:
        """The tracks of `report` with what is known of each."""
        ids = (np.asarray(tracks.tracker_id) - 1).tolist()
        keys = {key for identity in ids for key in self._data.get(identity, {})}
        return replace(tracks, data={key: self._column(key, ids) for key in sorted(keys)})

    def _column(self, key: str, ids: list[int]) -> np.ndarray:
        """One row per track; as objects where a track has none (None) or shapes differ."""
        values: list[Any] = [self._data.get(identity, {}).get(key) for identity in ids]
        if all(value is not None for value in values) and len({np.shape(v) for v in values}) == 1:
            return np.asarray(values)
        column = np.empty(len(values), dtype=object)
        for row, value in enumerate(values):
            column[row] = value
        return column
