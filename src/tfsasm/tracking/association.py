"""Leaning on the detector: claims of tracks on proposals, and who may be born.

What is unusual here: the released method trusts its network in everything, and all of this is off.
A small network regresses boxes less well than the detector whose proposals it is shown, and is more
easily sure of a thing twice; geometry alone settles both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from tfsasm.boxes import cxcywh_to_xyxy, iou_matrix
from tfsasm.detection.proposals import Proposals
from tfsasm.tables import Table
from tfsasm.tracking.config import NO_ID, AssociationConfig, LifecycleConfig, MotionConfig


@dataclass(frozen=True)
class Association(Table):
    """The network's answer to N queries after the detector had its say."""

    boxes: Tensor
    """`[N, 4]` normalised cxcywh."""
    scores: Tensor
    """`[N]`."""
    claims: Tensor
    """Row of the claimed proposal or -1, `[N]` int64."""
    may_be_born: Tensor
    """`[N]` bool; of no meaning for live tracks."""


def associate(
    ids: Tensor, scores: Tensor, boxes: Tensor, held: Tensor, proposals: Proposals, first: int,
    config: AssociationConfig, present: float,
) -> Association:
    """Weigh the answers to N queries against the proposals they were shown.

    `ids` `[N]`, `scores` `[N]`, the answered `boxes` `[N, 4]` and the boxes they `held` before are
    of all queries; proposal k is query `first + k`. A live track of at least the score `present`
    bars births beside it.
    """
    live = ids != NO_ID
    claims = _claims(live, scores, boxes, held, proposals, config)
    claimed = claims >= 0
    if config.snap:
        boxes = torch.where(claimed[:, None], _rows(proposals.boxes, claims), boxes)
    if config.trust:
        floor = config.trust * _rows(proposals.scores, claims)
        scores = torch.where(claimed, torch.maximum(scores, floor), scores)
    if config.required:
        scores = torch.where(live & ~claimed, 0.0, scores)
    may_be_born = _may_be_born(live, claims, scores, boxes, proposals, first, config, present)
    return Association(boxes, scores, claims, may_be_born)


def proposal_rows(queries: int, first: int, proposals: Proposals) -> Tensor:
    """Row of the proposal that each query was made of `[N]`, -1 for the others.

    Proposal k is query `first + k`.
    """
    row = torch.arange(queries, device=proposals.scores.device) - first
    return torch.where((row >= 0) & (row < len(proposals)), row, -1)


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """Rows by index, zeros where it is -1."""
    padded = torch.cat([values, values.new_zeros(1, *values.shape[1:])])
    return padded[index]


def _claims(
    live: Tensor, scores: Tensor, boxes: Tensor, held: Tensor, proposals: Proposals,
    config: AssociationConfig,
) -> Tensor:
    claims = torch.full_like(live, -1, dtype=torch.int64)
    if config.claim_iou >= 1 or not live.any() or len(proposals) == 0:
        return claims
    offered = cxcywh_to_xyxy(proposals.boxes)
    near = iou_matrix(cxcywh_to_xyxy(held), offered)
    iou = torch.lerp(iou_matrix(cxcywh_to_xyxy(boxes), offered), near, config.claim_held)
    # A sure track goes before an unsure one, a good detection before a bad one.
    worth = iou * (0.5 + scores[:, None]) * (0.5 + proposals.scores[None])
    claims = _assign(claims, torch.where((iou >= config.claim_iou) & live[:, None], worth, 0.0))
    if config.again_iou >= 1:
        return claims
    sure = proposals.scores >= config.again_score
    sure[claims[claims >= 0]] = False
    left = live & (claims < 0)
    allowed = (near >= config.again_iou) & left[:, None] & sure[None]
    return _assign(claims, torch.where(allowed, near, 0.0))


def _assign(claims: Tensor, worth: Tensor) -> Tensor:
    """`claims` `[N]` with those added that make the most of `worth` `[N, P]`; 0: not allowed."""
    tracks, columns = (worth > 0).any(1).nonzero()[:, 0], (worth > 0).any(0).nonzero()[:, 0]
    table = worth[tracks][:, columns].cpu()
    rows, chosen = (torch.as_tensor(i) for i in linear_sum_assignment(-table.numpy()))
    good = table[rows, chosen] > 0
    added = claims.clone()
    added[tracks[rows[good].to(claims.device)]] = columns[chosen[good].to(claims.device)]
    return added


def _may_be_born(
    live: Tensor, claims: Tensor, scores: Tensor, boxes: Tensor, proposals: Proposals, first: int,
    config: AssociationConfig, present: float,
) -> Tensor:
    allowed = torch.ones_like(live)
    own = proposal_rows(len(live), first, proposals)
    allowed &= ~torch.isin(own, claims[claims >= 0])
    if config.birth_score > 0:
        allowed &= (own >= 0) & (_rows(proposals.scores, own) >= config.birth_score)
    if config.birth_overlap >= 1 or len(boxes) == 0:
        return allowed
    xyxy = cxcywh_to_xyxy(boxes)
    near = iou_matrix(xyxy, xyxy) > config.birth_overlap
    beaten = (near & (live & (scores >= present))[None]).any(1)
    rivals = allowed & ~live & (scores >= present) & ~beaten
    earlier = torch.ones_like(near).tril(-1)  # of two alike, the first
    better = (scores[None] > scores[:, None]) | ((scores[None] == scores[:, None]) & earlier)
    better &= rivals[None]
    return allowed & ~beaten & ~(near & better).any(1)


@dataclass(frozen=True)
class TrackStatus:
    """Who is who after one frame. All `[N]`, in query order."""

    ids: Tensor
    """Identity or `NOBODY`, int64."""
    missed: Tensor
    """Consecutive frames absent, int64."""
    born: Tensor
    """Got its identity in this frame, bool."""
    next_id: int
    """The first number not given away yet."""


def update_status(
    ids: Tensor, missed: Tensor, scores: Tensor, next_id: int, config: LifecycleConfig,
    *, may_be_born: Tensor | None = None,
) -> TrackStatus:
    """Judge all queries of one frame.

    `ids` and `missed` `[N]` int64, `scores` `[N]`. `may_be_born` `[N]` bool bars queries from
    birth (default: all may). New identities are numbered in query order from `next_id`.
    """
    confident = scores >= config.birth_score
    missed = torch.where(confident, 0, missed)
    nobody = ids == NO_ID
    born = nobody & confident if may_be_born is None else nobody & confident & may_be_born
    absent = ~nobody & (scores < config.miss_score)

    numbers = next_id + born.long().cumsum(0) - 1
    missed = missed + absent.long()
    dead = absent & (missed >= config.miss_tolerance)
    ids = torch.where(born, numbers, torch.where(dead, NO_ID, ids))
    return TrackStatus(ids, missed, born, next_id + int(born.sum()))


def predict_boxes(boxes: Tensor, velocity: Tensor, missed: Tensor, config: MotionConfig) -> Tensor:
    """Boxes `[N, 4]` cxcywh of the coming frame, of tracks last seen at `boxes`.

    `velocity` `[N, 2]` is per frame in the same units, `missed` `[N]` counts the frames since then.
    """
    if not config.lead:
        return boxes
    steps = torch.arange(int(missed.max()) + 1 if len(missed) else 1, device=boxes.device)
    way = (config.fade**steps).cumsum(0)[missed]  # 1 + fade + fade^2 + ..., a term per frame
    return torch.cat([boxes[:, :2] + config.lead * way[:, None] * velocity, boxes[:, 2:]], dim=1)


def update_velocity(
    velocity: Tensor, last: Tensor, boxes: Tensor, missed: Tensor, seen: Tensor,
    config: MotionConfig,
) -> Tensor:
    """Velocity `[N, 2]` after a frame in which the tracks `seen` `[N]` went from `last` to `boxes`.

    Both are `[N, 4]` cxcywh; `missed` `[N]` frames lay between. The others keep theirs.
    """
    if not config.lead:
        return velocity
    latest = (boxes[:, :2] - last[:, :2]) / (1 + missed)[:, None]
    return torch.where(seen[:, None], velocity.lerp(latest, config.gain), velocity)
