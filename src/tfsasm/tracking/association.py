"""Detections assigned to tracks; births, losses and deaths; where a track is expected next.

What is unusual here: the released method trusts its network in everything, and all of this is off
but the thresholds of births and deaths. A small network regresses boxes less well than the detector
whose proposals it is shown, and more often sees an object twice; geometry alone settles
both. NumPy arrays and PyTorch tensors alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from tfsasm.boxes import cxcywh_to_xyxy, iou_matrix
from tfsasm.detection.proposals import NO_CLASS, Proposals, comparable
from tfsasm.tables import Array, Table, as_numpy, lerp, namespace
from tfsasm.tracking.config import NO_ID, AssociationConfig, LifecycleConfig, MotionConfig


@dataclass(frozen=True)
class Association(Table):
    """The network's predictions for N queries after the association with detections."""

    boxes: Array
    """`[N, 4]` normalised cxcywh."""
    scores: Array
    """`[N]`."""
    matches: Array
    """Row of the proposal that the track is matched with, or -1, `[N]` int64."""
    may_be_born: Array
    """`[N]` bool; of no meaning for live tracks."""


def associate(
    ids: Array, scores: Array, boxes: Array, reference: Array, proposals: Proposals, first: int,
    config: AssociationConfig, present: float, classes: Array | None = None,
) -> Association:
    """Match tracks with the proposals of the frame, and bar births on what is tracked already.

    `ids` `[N]`, `scores` `[N]`, the predicted `boxes` `[N, 4]` and the `reference` boxes of the
    queries before the decoder are of all queries; proposal k is query `first + k`. A live track of
    at least the score `present` bars births beside it. With `classes` `[N]` all of this is within a
    class.
    """
    library = namespace(scores)
    live = ids != NO_ID
    matches = _matches(live, scores, boxes, reference, proposals, config, classes)
    matched = matches >= 0
    if config.use_detection_box:
        boxes = library.where(matched[:, None], _rows(proposals.boxes, matches), boxes)
    if config.detection_weight:
        floor = config.detection_weight * _rows(proposals.scores, matches)
        scores = library.where(matched, library.maximum(scores, floor), scores)
    if config.match_required:
        scores = library.where(live & ~matched, 0.0, scores)
    may_be_born = _may_be_born(
        live, matches, scores, boxes, proposals, first, config, present, classes
    )
    return Association(boxes, scores, matches, may_be_born)


def proposal_rows(queries: int, first: int, proposals: Proposals) -> Array:
    """Row of the proposal that each query was made of `[N]`, -1 for the others.

    Proposal k is query `first + k`.
    """
    library = namespace(proposals.scores)
    row = library.arange(queries, device=proposals.scores.device) - first
    return library.where((row >= 0) & (row < len(proposals)), row, -1)


def updated_classes(classes: Array, rows: Array, proposals: Proposals) -> Array:
    """Classes `[N]` where those of `rows` `[N]` took that of a proposal; -1 did not."""
    library = namespace(classes)
    theirs = library.where(rows >= 0, _rows(proposals.classes, rows), NO_CLASS)
    return library.where(theirs == NO_CLASS, classes, theirs)


def _rows(values: Array, index: Array) -> Array:
    """Rows by index, zeros where it is -1."""
    library = namespace(values)
    zero = library.zeros((1, *values.shape[1:]), dtype=values.dtype, device=values.device)
    return library.concat([values, zero])[index]


def _matches(
    live: Array, scores: Array, boxes: Array, reference: Array, proposals: Proposals,
    config: AssociationConfig, classes: Array | None,
) -> Array:
    library = namespace(scores)
    matches = library.full_like(live, -1, dtype=library.int64)
    if config.match_iou >= 1 or len(proposals) == 0:
        return matches
    offered = cxcywh_to_xyxy(proposals.boxes)
    near = iou_matrix(cxcywh_to_xyxy(reference), offered)
    iou = lerp(iou_matrix(cxcywh_to_xyxy(boxes), offered), near, config.reference_weight)
    # A confident track goes before an unsure one, a good detection before a bad one.
    value = iou * (0.5 + scores[:, None]) * (0.5 + proposals.scores[None])
    candidates = live[:, None]
    if classes is not None:
        candidates = candidates & comparable(classes, proposals.classes)
    matches = _assign(library.where((iou >= config.match_iou) & candidates, value, 0.0))
    if config.second_iou >= 1:
        return matches
    columns = library.arange(len(proposals), device=matches.device)
    free = (proposals.scores >= config.second_score) & ~library.isin(columns, matches)
    unmatched = candidates & (matches < 0)[:, None]
    allowed = (near >= config.second_iou) & unmatched & free[None]
    second = _assign(library.where(allowed, near, 0.0))
    return library.where(second >= 0, second, matches)


def _assign(value: Array) -> Array:
    """Column `[N]` of each row in the assignment of most `value` `[N, P]`, -1 for none; 0: barred.
    """
    values = as_numpy(value)
    rows, columns = (np.flatnonzero((values > 0).any(axis=axis)) for axis in (1, 0))
    table = values[rows][:, columns]
    chosen_rows, chosen = linear_sum_assignment(-table)
    good = table[chosen_rows, chosen] > 0
    assigned = np.full(len(values), -1)
    assigned[rows[chosen_rows[good]]] = columns[chosen[good]]
    return namespace(value).asarray(assigned, device=value.device)


def _may_be_born(
    live: Array, matches: Array, scores: Array, boxes: Array, proposals: Proposals, first: int,
    config: AssociationConfig, present: float, classes: Array | None,
) -> Array:
    library = namespace(scores)
    own = proposal_rows(len(live), first, proposals)
    allowed = library.ones_like(live)
    if config.match_iou < 1:  # else none is matched
        allowed = ~(library.isin(own, matches) & (own >= 0))
    if config.birth_score > 0:
        allowed &= (own >= 0) & (_rows(proposals.scores, own) >= config.birth_score)
    if config.duplicate_iou >= 1 or len(boxes) == 0:
        return allowed
    xyxy = cxcywh_to_xyxy(boxes)
    near = iou_matrix(xyxy, xyxy) > config.duplicate_iou
    if classes is not None:
        near &= comparable(classes, classes)
    tracked = (near & (live & (scores >= present))[None]).any(1)
    rivals = allowed & ~live & (scores >= present) & ~tracked
    earlier = library.tril(library.ones_like(near), -1)  # of two with one score, the first
    better = (scores[None] > scores[:, None]) | ((scores[None] == scores[:, None]) & earlier)
    return allowed & ~tracked & ~(near & better & rivals[None]).any(1)


@dataclass(frozen=True)
class TrackStatus:
    """Identities after one frame. All `[N]`, in query order."""

    ids: Array
    """Identity or `NO_ID`, int64."""
    missed: Array
    """Consecutive frames absent, int64."""
    born: Array
    """Got its identity in this frame, bool."""
    next_id: Array
    """The first number not given away yet, `[]`."""


def update_status(
    ids: Array, missed: Array, scores: Array, next_id: Array, config: LifecycleConfig,
    *, may_be_born: Array | None = None,
) -> TrackStatus:
    """Start, keep and end tracks by the scores of one frame (SPEC 6.1).

    `ids` and `missed` `[N]` int64, `scores` `[N]`. `may_be_born` `[N]` bool bars queries from
    birth (default: all may). New identities are numbered in query order from `next_id`.
    """
    library = namespace(scores)
    confident = scores >= config.birth_score
    missed = library.where(confident, 0, missed)
    no_track = ids == NO_ID
    born = no_track & confident
    if may_be_born is not None:
        born = born & may_be_born
    absent = ~no_track & (scores < config.miss_score)

    numbers = next_id + library.cumsum(born, 0) - 1
    missed = missed + absent
    dead = absent & (missed >= config.miss_tolerance)
    ids = library.where(born, numbers, library.where(dead, NO_ID, ids))
    return TrackStatus(ids, missed, born, next_id + born.sum())


def predict_boxes(
    boxes: Array, velocity: Array, missed: Array, config: MotionConfig, longest: int | None = None
) -> Array:
    """Boxes `[N, 4]` cxcywh of the coming frame, of tracks last seen at `boxes`.

    `velocity` `[N, 2]` is per frame in the same units, `missed` `[N]` counts the frames since then,
    at most `longest`; by default that is looked up.
    """
    if not config.lead:
        return boxes
    library = namespace(boxes)
    if longest is None:
        longest = int(missed.max()) if len(missed) else 0
    steps = library.arange(longest + 1, device=boxes.device)
    shares = library.full((), config.fade, dtype=library.float32, device=boxes.device) ** steps
    # 1 + fade + fade^2 + ..., a term per frame
    distance = library.asarray(shares, dtype=library.float32).cumsum(0)[missed]
    centres = boxes[:, :2] + config.lead * distance[:, None] * velocity
    return library.concat([centres, boxes[:, 2:]], 1)


def update_velocity(
    velocity: Array, last: Array, boxes: Array, missed: Array, seen: Array, config: MotionConfig
) -> Array:
    """Velocity `[N, 2]` after a frame in which the tracks `seen` `[N]` went from `last` to `boxes`.

    Both are `[N, 4]` cxcywh; `missed` `[N]` frames lay between. The others keep theirs.
    """
    if not config.lead:
        return velocity
    library = namespace(velocity)
    frames = library.asarray(1 + missed, dtype=library.float32)
    latest = (boxes[:, :2] - last[:, :2]) / frames[:, None]
    return library.where(seen[:, None], lerp(velocity, latest, config.gain), velocity)
