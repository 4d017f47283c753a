"""Twin of `tfsasm.tracker` in NumPy: one frame of tracking, as a function from state to state.

What is unusual here: the network is three functions on arrays (`Network`), whoever computes them,
so nothing of this needs torch. The same numbers up to rounding, and the same identities.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from tfsasm.runtime import lifecycle, memory, motion
from tfsasm.runtime.boxes import Floats, Integers, Mask, area, cxcywh_to_xyxy, iou_matrix
from tfsasm.runtime.lifecycle import Census
from tfsasm.runtime.memory import Memory, Observation
from tfsasm.runtime.support import Proposals, lean, proposal_rows
from tfsasm.tables import Table
from tfsasm.tracking.config import NO_ID, TrackerConfig

Features = list[Floats]
"""An encoded image: `[1, h, w, C]` per level."""


@dataclass(frozen=True)
class Queries(Table):
    """What the decoder is asked."""

    content: Floats
    """`[Q, C]`."""
    boxes: Floats
    """`[Q, 4]` normalised cxcywh."""


@dataclass(frozen=True)
class Prediction(Table):
    """What the decoder answers, row by row with the queries."""

    scores: Floats
    """`[Q]`."""
    boxes: Floats
    """`[Q, 4]` normalised cxcywh, of the last layer."""
    first_boxes: Floats
    """Of the first layer."""
    embeddings: Floats
    """`[Q, C]`."""


class Network(Protocol):
    """What `step` needs of a network."""

    learned: int
    """How many learned queries come before those of the proposals."""

    def queries(self, proposals: Proposals) -> Queries:
        """New queries of a frame: the learned ones, then one per proposal (SPEC 5.1)."""
        ...

    def decode(self, features: Features, queries: Queries) -> Prediction:
        """Answer Q queries about one image."""
        ...

    def interact(self, content: Floats, boxes: Floats, embeddings: Floats) -> Floats:
        """Stored content, current boxes and embeddings of A tracks to next content `[A, C]`."""
        ...


@dataclass(frozen=True)
class Tracks(Table):
    """What lives from frame to frame; columns as in `tfsasm.tracker.Tracks`."""

    ids: Integers
    missed: Integers
    queries: Queries
    memory: Memory
    velocity: Floats


@dataclass(frozen=True)
class TrackerState:
    """Everything that survives a frame."""

    tracks: Tracks
    next_id: int = 0
    frame: int = 0


@dataclass(frozen=True)
class TrackOutput(Table):
    """What one frame says about every live track; columns as in `tfsasm.tracker.Answer`."""

    ids: Integers
    scores: Floats
    boxes: Floats
    sources: Integers


@dataclass(frozen=True)
class Report(Table):
    """The tracks of a frame that are worth telling, in pixels of the original image."""

    ids: Integers
    """`[N]`, from 0."""
    scores: Floats
    """`[N]`."""
    xyxy: Floats
    """`[N, 4]`, not clipped to the image."""
    sources: Integers
    """Row of the proposal that the track was born of just now or claims, else -1."""


def no_proposals() -> Proposals:
    """A frame without a single detection, which is a normal frame."""
    return Proposals(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def begin(network: Network, config: TrackerConfig) -> TrackerState:
    """State before the first frame: no tracks."""
    return TrackerState(_newcomers(network.queries(no_proposals())[:0], config))


def _newcomers(queries: Queries, config: TrackerConfig) -> Tracks:
    n = len(queries)
    return Tracks(
        ids=np.full(n, NO_ID, np.int64),
        missed=np.zeros(n, np.int64),
        queries=queries,
        memory=memory.empty(n, queries.content.shape[1], config.memory),
        velocity=np.zeros((n, 2), np.float32),
    )


def step(
    network: Network, state: TrackerState, features: Features, proposals: Proposals,
    config: TrackerConfig,
) -> tuple[TrackerState, TrackOutput]:
    """One frame (SPEC 6); see `tfsasm.tracker.step`."""
    asked = Tracks.cat([_newcomers(network.queries(proposals), config), state.tracks])
    content = memory.read(asked.memory, asked.queries.content)
    held = motion.expect(asked.queries.boxes, asked.velocity, asked.missed, config.motion)
    answer = network.decode(features, Queries(content, held))
    told = lean(
        asked.ids, answer.scores, answer.boxes, held, proposals, network.learned, config.support,
        config.lifecycle.miss_score,
    )  # fmt: skip
    scores = told.scores
    answer = replace(answer, boxes=told.boxes)

    census = lifecycle.advance(
        asked.ids, asked.missed, scores, state.next_id, config.lifecycle, told.may_be_born
    )
    live = census.ids != NO_ID
    seen = scores > config.refresh_score
    queries = _refresh(network, asked.queries[live], answer[live], seen[live])
    seen_now = observe(asked, answer, scores, census, config)[live]
    if config.stored == "refreshed":
        seen_now = replace(seen_now, feature=queries.content)
    remembered = memory.write(asked.memory[live], seen_now, config.memory)

    velocity = motion.learn(
        asked.velocity, asked.queries.boxes, answer.boxes, asked.missed,
        seen & (asked.ids != NO_ID), config.motion,
    )  # fmt: skip
    tracks = Tracks(census.ids[live], census.missed[live], queries, remembered, velocity[live])
    own = proposal_rows(len(asked), network.learned, proposals)
    sources = np.where(census.born, own, told.claims)
    reported = TrackOutput(census.ids, scores, answer.boxes, sources)[live]
    return TrackerState(tracks, census.next_id, state.frame + 1), reported


def _refresh(network: Network, stored: Queries, answer: Prediction, seen: Mask) -> Queries:
    """Queries of the next frame (SPEC 6.3); twin of `MOTRv2.refresh`."""
    if len(stored) == 0:
        return stored
    boxes = np.where(seen[:, None], answer.boxes, stored.boxes)
    content = network.interact(stored.content, boxes, answer.embeddings)
    return Queries(np.where(seen[:, None], content, stored.content), boxes)


def observe(
    asked: Tracks, answer: Prediction, scores: Floats, census: Census, config: TrackerConfig
) -> Observation:
    """What the memory is told about each query (SPEC 7.2, 7.3); see `tfsasm.tracker.observe`."""
    live = census.ids != NO_ID
    present = np.ones_like(live)
    if not config.present_at_birth:
        present &= ~census.born
    if not config.present_when_lost:
        present &= scores >= config.lifecycle.miss_score
    return Observation(
        feature=answer.embeddings if config.stored == "embedding" else asked.queries.content,
        travel=_travel(asked, answer, scores, config),
        overlap=_overlap(answer.boxes, live if config.overlap_with == "tracks" else None),
        score=scores,
        present=present,
    )


def _travel(asked: Tracks, answer: Prediction, scores: Floats, config: TrackerConfig) -> Floats:
    here = answer.boxes[:, :2]
    if config.travel == "layers":
        return _length(here - answer.first_boxes[:, :2])
    counts = (asked.ids != NO_ID) & (scores > config.refresh_score)
    return np.where(counts, _length(here - asked.queries.boxes[:, :2]), np.float32(0))


def _length(vectors: Floats) -> Floats:
    return np.sqrt((vectors * vectors).sum(axis=1))


def _overlap(boxes: Floats, among: Mask | None) -> Floats:
    xyxy = cxcywh_to_xyxy(boxes)
    iou = iou_matrix(xyxy, xyxy)
    np.fill_diagonal(iou, 0)
    if among is not None:
        iou = np.where(among[None], iou, np.float32(0))
    return iou.max(axis=1) if len(boxes) else iou.sum(axis=1)


def report(answer: TrackOutput, width: int, height: int, config: TrackerConfig) -> Report:
    """Confident tracks of some size, placed in a `width` x `height` image (SPEC 6.6)."""
    xyxy = cxcywh_to_xyxy(answer.boxes) * np.array([width, height, width, height], np.float32)
    keep = (answer.scores > config.report_score) & (area(xyxy) > config.report_area)
    return Report(answer.ids, answer.scores, xyxy, answer.sources)[keep]
