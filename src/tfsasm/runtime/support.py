"""Twin of `tfsasm.support` in NumPy: claims of tracks on proposals, and who may be born."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfsasm.runtime.boxes import Floats, Integers, Mask, cxcywh_to_xyxy, iou_matrix, lerp
from tfsasm.tables import Table
from tfsasm.tracking.config import NO_ID, AssociationConfig


@dataclass(frozen=True)
class Proposals(Table):
    """Detector boxes of one frame; twin of `tfsasm.proposals.Proposals`."""

    boxes: Floats
    """`[P, 4]` normalised cxcywh."""
    scores: Floats
    """`[P]`."""


@dataclass(frozen=True)
class Support(Table):
    """The network's answer to N queries after the detector had its say."""

    boxes: Floats
    scores: Floats
    claims: Integers
    may_be_born: Mask


def lean(
    ids: Integers, scores: Floats, boxes: Floats, held: Floats, proposals: Proposals, first: int,
    config: AssociationConfig, present: float,
) -> Support:
    """Weigh the answers to N queries against the proposals they were shown."""
    live = ids != NO_ID
    claims = _claims(live, scores, boxes, held, proposals, config)
    claimed = claims >= 0
    if config.snap:
        boxes = np.where(claimed[:, None], _rows(proposals.boxes, claims), boxes)
    if config.trust:
        floor = config.trust * _rows(proposals.scores, claims)
        scores = np.where(claimed, np.maximum(scores, floor), scores)
    if config.required:
        scores = np.where(live & ~claimed, np.float32(0), scores)
    may_be_born = _may_be_born(live, claims, scores, boxes, proposals, first, config, present)
    return Support(boxes, scores, claims, may_be_born)


def proposal_rows(queries: int, first: int, proposals: Proposals) -> Integers:
    """Row of the proposal that each query was made of `[N]`, -1 for the others."""
    row = np.arange(queries) - first
    return np.where((row >= 0) & (row < len(proposals)), row, -1)


def _rows(values: Floats, index: Integers) -> Floats:
    """Rows by index, zeros where it is -1."""
    return np.concat([values, np.zeros_like(values, shape=(1, *values.shape[1:]))])[index]


def _claims(
    live: Mask, scores: Floats, boxes: Floats, held: Floats, proposals: Proposals,
    config: AssociationConfig,
) -> Integers:
    claims = np.full(len(live), -1)
    if config.claim_iou >= 1 or not live.any() or len(proposals) == 0:
        return claims
    offered = cxcywh_to_xyxy(proposals.boxes)
    near = iou_matrix(cxcywh_to_xyxy(held), offered)
    iou = lerp(iou_matrix(cxcywh_to_xyxy(boxes), offered), near, config.claim_held)
    worth = iou * (0.5 + scores[:, None]) * (0.5 + proposals.scores[None])
    nothing = np.float32(0)
    claims = _assign(claims, np.where((iou >= config.claim_iou) & live[:, None], worth, nothing))
    if config.again_iou >= 1:
        return claims
    sure = proposals.scores >= config.again_score
    sure[claims[claims >= 0]] = False
    left = live & (claims < 0)
    allowed = (near >= config.again_iou) & left[:, None] & sure[None]
    return _assign(claims, np.where(allowed, near, nothing))


def _assign(claims: Integers, worth: Floats) -> Integers:
    """`claims` `[N]` with those added that make the most of `worth` `[N, P]`; 0: not allowed."""
    from scipy.optimize import linear_sum_assignment

    tracks, columns = (np.flatnonzero((worth > 0).any(axis=axis)) for axis in (1, 0))
    table = worth[tracks][:, columns]
    rows, chosen = linear_sum_assignment(-table)
    good = table[rows, chosen] > 0
    added = claims.copy()
    added[tracks[rows[good]]] = columns[chosen[good]]
    return added


def _may_be_born(
    live: Mask, claims: Integers, scores: Floats, boxes: Floats, proposals: Proposals, first: int,
    config: AssociationConfig, present: float,
) -> Mask:
    own = proposal_rows(len(live), first, proposals)
    allowed = ~np.isin(own, claims[claims >= 0])
    if config.birth_score > 0:
        allowed &= (own >= 0) & (_rows(proposals.scores, own) >= config.birth_score)
    if config.birth_overlap >= 1 or len(boxes) == 0:
        return allowed
    xyxy = cxcywh_to_xyxy(boxes)
    near = iou_matrix(xyxy, xyxy) > config.birth_overlap
    beaten = (near & (live & (scores >= present))[None]).any(axis=1)
    rivals = allowed & ~live & (scores >= present) & ~beaten
    earlier = np.tri(len(boxes), k=-1, dtype=bool)
    better = (scores[None] > scores[:, None]) | ((scores[None] == scores[:, None]) & earlier)
    return allowed & ~beaten & ~(near & better & rivals[None]).any(axis=1)
