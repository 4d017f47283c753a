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
from tfsasm.proposals import Proposals
from tfsasm.rows import Rows
from tfsasm.settings import NOBODY, SupportConfig


@dataclass(frozen=True)
class Support(Rows):
    """The network's answer to N queries after the detector had its say."""

    boxes: Tensor
    """`[N, 4]` normalised cxcywh."""
    scores: Tensor
    """`[N]`."""
    claims: Tensor
    """Row of the claimed proposal or -1, `[N]` int64."""
    may_be_born: Tensor
    """`[N]` bool; of no meaning for live tracks."""


def lean(
    ids: Tensor, scores: Tensor, boxes: Tensor, held: Tensor, proposals: Proposals, first: int,
    config: SupportConfig, present: float,
) -> Support:
    """Weigh the answers to N queries against the proposals they were shown.

    `ids` `[N]`, `scores` `[N]`, the answered `boxes` `[N, 4]` and the boxes they `held` before are
    of all queries; proposal k is query `first + k`. A live track of at least the score `present`
    bars births beside it.
    """
    live = ids != NOBODY
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
    return Support(boxes, scores, claims, may_be_born)


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
    config: SupportConfig,
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
    config: SupportConfig, present: float,
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
