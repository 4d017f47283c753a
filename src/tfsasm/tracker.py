"""One frame of tracking, as a function from state to state.

What is unusual here: `step` is all there is. Nothing is kept outside `TrackerState`, so a video can
be tracked twice from the middle, two at once, or under ten settings from one encoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tfsasm import lifecycle, memory, motion
from tfsasm.boxes import area, cxcywh_to_xyxy, iou_matrix
from tfsasm.lifecycle import Census
from tfsasm.memory import Memory, Observation
from tfsasm.model import Features, MOTRv2, Prediction, Queries
from tfsasm.proposals import Proposals
from tfsasm.rows import Rows
from tfsasm.settings import NOBODY, TrackerConfig
from tfsasm.support import lean, proposal_rows


@dataclass(frozen=True)
class Tracks(Rows):
    """What lives from frame to frame."""

    ids: Tensor
    """`[N]` int64, from 0."""
    missed: Tensor
    """Consecutive frames absent, `[N]` int64."""
    queries: Queries
    """Content of the next frame, and the box in which the track was last seen."""
    memory: Memory
    velocity: Tensor
    """Of the box's centre per frame, in normalised units, `[N, 2]`; 0 while nothing asks for it."""


@dataclass(frozen=True)
class TrackerState:
    """Everything that survives a frame."""

    tracks: Tracks
    next_id: int = 0
    frame: int = 0
    """Frames seen so far."""


@dataclass(frozen=True)
class Answer(Rows):
    """What one frame says about every live track, absent ones included."""

    ids: Tensor
    """`[N]` int64, from 0."""
    scores: Tensor
    """`[N]`."""
    boxes: Tensor
    """`[N, 4]` normalised cxcywh, not clipped to the image (QUIRK-14)."""
    sources: Tensor
    """Row of the proposal that the track was born of just now or claims (`support`), else -1."""


def begin(model: MOTRv2, config: TrackerConfig) -> TrackerState:
    """State before the first frame: no tracks."""
    device = model.learned_content.device
    return TrackerState(_newcomers(model.queries(Proposals.empty().to(device))[:0], config))


def _newcomers(queries: Queries, config: TrackerConfig) -> Tracks:
    n, device = len(queries), queries.boxes.device
    return Tracks(
        ids=torch.full((n,), NOBODY, dtype=torch.int64, device=device),
        missed=torch.zeros(n, dtype=torch.int64, device=device),
        queries=queries,
        memory=memory.empty(n, queries.content.shape[1], config.memory, device=device),
        velocity=torch.zeros(n, 2, device=device),
    )


@torch.inference_mode()
def step(
    model: MOTRv2, state: TrackerState, features: Features, proposals: Proposals,
    config: TrackerConfig,
) -> tuple[TrackerState, Answer]:
    """One frame (SPEC 6): ask about proposals and tracks, judge, remember, make the next queries.

    `features` come from `model.encode` of one image. The order of the tracks is that of the
    released code: new ones first (QUIRK-12).
    """
    asked = Tracks.cat([_newcomers(model.queries(proposals), config), state.tracks])
    content = memory.read(asked.memory, asked.queries.content)
    held = motion.expect(asked.queries.boxes, asked.velocity, asked.missed, config.motion)
    predictions = model.decode(features, Queries(content, held))
    first = len(model.learned_boxes)
    told = lean(
        asked.ids, predictions[-1].logits[:, 0].sigmoid(), predictions[-1].boxes, held, proposals,
        first, config.support, config.lifecycle.miss_score,
    )  # fmt: skip
    scores = told.scores
    answer = replace(predictions[-1], boxes=told.boxes)

    census = lifecycle.advance(
        asked.ids, asked.missed, scores, state.next_id, config.lifecycle,
        may_be_born=told.may_be_born,
    )  # fmt: skip
    live = census.ids != NOBODY
    seen = scores > config.refresh_score
    queries = model.refresh(asked.queries[live], answer[live], seen[live])
    seen_now = observe(asked, [*predictions[:-1], answer], scores, census, config)[live]
    if config.stored == "refreshed":
        seen_now = replace(seen_now, feature=queries.content)
    remembered = memory.write(asked.memory[live], seen_now, config.memory)

    velocity = motion.learn(
        asked.velocity, asked.queries.boxes, answer.boxes, asked.missed,
        seen & (asked.ids != NOBODY), config.motion,
    )  # fmt: skip
    tracks = Tracks(census.ids[live], census.missed[live], queries, remembered, velocity[live])
    own = proposal_rows(len(asked), first, proposals)
    sources = torch.where(census.born, own, told.claims)
    reported = Answer(census.ids, scores, answer.boxes, sources)[live]
    return TrackerState(tracks, census.next_id, state.frame + 1), reported


def observe(
    asked: Tracks, predictions: Sequence[Prediction], scores: Tensor, census: Census,
    config: TrackerConfig,
) -> Observation:
    """What the memory is told about each query: the one place that decides it (SPEC 7.2, 7.3)."""
    answer = predictions[-1]
    live = census.ids != NOBODY
    present = torch.ones_like(live)
    if not config.present_at_birth:
        present &= ~census.born
    if not config.present_when_lost:
        present &= scores >= config.lifecycle.miss_score
    return Observation(
        feature=answer.embeddings if config.stored == "embedding" else asked.queries.content,
        travel=_travel(asked, predictions, scores, census, config),
        overlap=_overlap(answer.boxes, live if config.overlap_with == "tracks" else None),
        score=scores,
        present=present,
    )


def _travel(
    asked: Tracks, predictions: Sequence[Prediction], scores: Tensor, census: Census,
    config: TrackerConfig,
) -> Tensor:
    """Distance `[N]` in normalised units: x by the width, y by the height (QUIRK-16)."""
    here = predictions[-1].boxes[:, :2]
    if config.travel == "layers":
        return torch.linalg.vector_norm(here - predictions[0].boxes[:, :2], dim=1)
    # The reference box is where the track was last seen, so a gap counts when it ends.
    moved = torch.linalg.vector_norm(here - asked.queries.boxes[:, :2], dim=1)
    counts = (asked.ids != NOBODY) & (scores > config.refresh_score)
    return torch.where(counts, moved, 0.0)


def _overlap(boxes: Tensor, among: Tensor | None) -> Tensor:
    """Largest IoU `[N]` of each box with another one, of `among` `[N]` if given; 0 if alone."""
    xyxy = cxcywh_to_xyxy(boxes)
    iou = iou_matrix(xyxy, xyxy).fill_diagonal_(0.0)
    if among is not None:
        iou = torch.where(among[None], iou, 0.0)
    return iou.amax(dim=1) if len(boxes) else boxes.new_zeros(0)


@dataclass(frozen=True)
class Report(Rows):
    """The tracks of a frame that are worth telling, in pixels of the original image."""

    ids: Tensor
    """`[N]` int64, from 0."""
    scores: Tensor
    """`[N]`."""
    xyxy: Tensor
    """`[N, 4]` float32, not clipped to the image."""
    sources: Tensor
    """As in `Answer`."""


def report(answer: Answer, width: int, height: int, config: TrackerConfig) -> Report:
    """Confident tracks of some size, placed in a `width` x `height` image (SPEC 6.6)."""
    xyxy = cxcywh_to_xyxy(answer.boxes) * answer.boxes.new_tensor([width, height, width, height])
    keep = (answer.scores > config.report_score) & (area(xyxy) > config.report_area)
    return Report(answer.ids, answer.scores, xyxy, answer.sources)[keep]
