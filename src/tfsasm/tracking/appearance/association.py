"""Detections assigned to tracks: costs and gates of the pairs, the assignment, and new tracks.

The order is ByteTrack's (arXiv 2110.06864), for one class after the other, since a rider is no
duplicate of the motorcycle: detections of high score by position and appearance, those of low score
by position for tracks that got none, then re-identification of lost tracks by appearance, then
tentative tracks.

Distances of embeddings are measured in a unit that is learned while tracking, 0 for a track's own
next view and 1 for other people, so no threshold belongs to an embedder. How far the two kinds of
distances are apart is the reliability of appearance; without it motion decides alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from tfsasm.boxes import grown, height_iou, iou_matrix, xyxy_to_cxcywh
from tfsasm.detection.proposals import NO_CLASS
from tfsasm.tables import Doubles, Flags, Integers

TINY = 1e-9
"""Least union of two boxes or heights in an IoU: those of no size overlap nothing."""


@dataclass(frozen=True)
class MatchConfig:
    """How well a detection has to fit a track. docs/appearance.md has the measurements."""

    high_score: float = 0.5
    """Detections from this score on may match any track, and get an embedding (ByteTrack has 0.6).
    """
    low_score: float = 0.1
    """Detections below it are not used at all (ByteTrack)."""
    birth_score: float = 0.7
    """An unmatched detection starts a track from this score on (ByteTrack)."""
    buffer: float = 0.1
    """Share of their size by which boxes are grown on every side, before a track and a detection of
    high score are compared (C-BIoU has 0.3). Measured: 0.2 is better on fast dancers and worse on
    pedestrians, 0 the other way round."""
    gate: float = 0.15
    """Least overlap with the predicted box, IoU times `height` power of the IoU of heights, that a
    detection of high score needs. Measured: 0.1 is 1 to 3 HOTA better on dancers and 1 worse on
    MOT17, 0.3 worse on dancers."""
    height: float = 2.0
    """How much the heights weigh in it; 0 for plain IoU. Measured: 0 is 5 HOTA worse on dancers, 1
    is 2 worse on fast ones."""
    low_gate: float = 0.4
    """Least IoU that a detection of low score needs; the track must have been matched in the last
    frame (ByteTrack has 0.5). Measured: 0.3 is 0.5 HOTA worse on dancers and 4 on PETS09-S2L1 by
    motion alone, 0.5 is 2 worse on synthetic clips with boxes dropped."""
    duplicate_iou: float = 0.5
    """A detection that overlaps a matched one by this IoU or more is a duplicate and starts no
    track. Measured: small detectors leave such duplicates."""
    last_box_weight: float = 0.7
    """A lost track is also compared with its last box. That overlap counts by this much at most,
    and by less where motion persists. Measured on DanceTrack: 0.5 and 1 are 1 to 2 HOTA worse, 0 is
    4 worse."""
    hits: int = 2
    """Detections until a tentative track is confirmed and reported; in the first frame 1
    (ByteTrack). Measured: 3 is 0.5 HOTA worse on dancers."""
    max_lost_frames: int = 30
    """Frames without a detection after which a track is no longer looked for by position, and ends
    unless appearance may still find it (ByteTrack). Measured: with 60, lost tracks that wait for
    someone else's box cost 1 to 6 HOTA where boxes are good."""


@dataclass(frozen=True)
class AppearanceWeightConfig:
    """How much appearance counts beside motion. Distances are in the learned unit, 0 to 1."""

    weight: float = 0.6
    """Share of appearance in the cost of a pair, where it is fully reliable. Measured: 0.5 to 0.8
    do alike, less is worse."""
    veto: float = 5.0
    """A pair is forbidden if the logarithm of how much likelier a rival is by appearance exceeds
    this: another track that can be there, or a lost one. Without a rival nothing is forbidden.
    Measured: without it real people swap identities (docs/appearance.md)."""
    reid_distance: float = 0.3
    """A lost track may be re-identified away from its prediction below this distance. Measured: 0.3
    to 0.6 do alike."""
    reid_frames: int = 100
    """Frames without a detection up to which a track may be re-identified. Measured: 60, 100 and
    300 do alike on real people, 3 to 11 HOTA better than 30 where people are away for longer."""
    reid_evidence: float = 3.0
    """Beyond `match.max_lost_frames`, the logarithm of how much likelier the same person must be
    than another; 3 is 20 to 1. Measured: with 4 alike, without it a new person got the identity of
    one who had left (TUD-Campus, `hist`)."""
    reid_reliability: float = 1.0
    """Reliability of appearance that re-identification takes. Measured: with 0.5 new people get the
    identities of others where boxes are good (TUD-Campus), and 0.3 HOTA more on look-alikes."""
    reid_speed: float = 0.2
    """How far from its last box a track may be re-identified, in heights of the box per frame, and
    half a height at once. Chosen by hand: faster than people run; measured, 0.1 does alike."""
    border: float = 1.0
    """A track that was lost within this share of its box's width from the left or right image
    border has left the view and is not re-identified. Measured with good boxes on PETS09-S2L1: 0.1
    is 3 HOTA worse; with a detector's all do alike."""
    min_distances: float = 30.0
    """Distances of each kind that it takes before appearance counts. Chosen by hand, not measured.
    """
    max_distances: float = 3000.0
    """Distances that are remembered; older ones fade. Chosen by hand, not measured."""
    separation_low: float = 1.0
    """Separation (d', in standard deviations) up to which the reliability of appearance is 0."""
    separation_high: float = 2.0
    """And from which on it is 1. Both chosen by hand, not measured."""
    refresh: int = 1
    """Tracks whose detection is unambiguous by position are embedded every so many frames only; 1
    for every frame. For slow embedders; docs/appearance.md has what it costs."""


@dataclass(frozen=True)
class RunningStatistics:
    """Count, mean and variance of a stream of numbers in which old ones fade."""

    count: float = 0.0
    mean: float = 0.0
    variance: float = 0.0

    def updated(self, values: Doubles, most: float) -> RunningStatistics:
        """With more `values` `[K]`, of which at most `most` numbers have a weight afterwards."""
        if not len(values):
            return replace(self, count=min(self.count, most))
        more, count = len(values), self.count + len(values)
        shift = float(values.mean()) - self.mean
        total = self.variance * self.count + float(values.var()) * more
        variance = (total + shift**2 * self.count * more / count) / count
        return RunningStatistics(min(count, most), self.mean + shift * more / count, variance)


@dataclass(frozen=True)
class AppearanceReliability:
    """Cosine distances so far, of two kinds, and what follows from them."""

    same: RunningStatistics = field(default_factory=RunningStatistics)
    """Of tracks to their own next view."""
    other: RunningStatistics = field(default_factory=RunningStatistics)
    """Of tracks to the other detections of a frame."""

    def updated(self, same: Doubles, other: Doubles, most: float) -> AppearanceReliability:
        """With the distances of one more frame, `[K]` and `[L]`."""
        return AppearanceReliability(self.same.updated(same, most), self.other.updated(other, most))

    def separation(self) -> float:
        """d': standard deviations between the two kinds; negative if other people are more alike.
        """
        deviation = np.sqrt((self.same.variance + self.other.variance) / 2)
        return (self.other.mean - self.same.mean) / max(float(deviation), 1e-6)

    def value(self, config: AppearanceWeightConfig) -> float:
        """How reliable appearance is, 0 to 1: linear from `separation_low` to `separation_high`.

        It is 0 until `min_distances` of each kind are known.
        """
        if min(self.same.count, self.other.count) < config.min_distances:
            return 0.0
        low, high = config.separation_low, config.separation_high
        return float(np.clip((self.separation() - low) / max(high - low, TINY), 0.0, 1.0))

    def scaled(self, distances: Doubles) -> Doubles:
        """Distances in the learned unit: 0 for the mean of `same`, 1 for that of `other`."""
        return (distances - self.same.mean) / max(self.other.mean - self.same.mean, 1e-6)

    def log_ratio(self, scaled: Doubles) -> Doubles:
        """Logarithm of how much likelier another person is than the same, at `scaled` distances.

        Both kinds are taken as normally distributed with one variance.
        """
        return (scaled - 0.5) * self.separation() ** 2


@dataclass(frozen=True)
class Candidates:
    """N tracks without detection, D detections without track, and what is known of the pairs."""

    predicted: Doubles
    """Predicted boxes of the tracks `[N, 4]`, pixel corners."""
    last_box: Doubles
    """Their last detections `[N, 4]`."""
    missed: Integers
    """Frames since then `[N]`."""
    boxes: Doubles
    """The detections `[D, 4]`."""
    distances: Doubles
    """Distances of appearance in the learned unit `[N, D]`; NaN for unknown."""
    log_ratio: Doubles
    """Logarithm of how much likelier another person is `[N, D]`; NaN for unknown."""
    reliability: float
    """Of appearance, 0 to 1."""
    persistence: float
    """Of motion, 0 to 1."""
    size: tuple[int, int] | None
    """Width and height of the image, if known."""
    match: MatchConfig
    appearance: AppearanceWeightConfig

    def of(self, rows: Integers, columns: Integers) -> Candidates:
        """Some of the tracks and some of the detections."""
        pairs = np.ix_(rows, columns)
        return replace(
            self, predicted=self.predicted[rows], last_box=self.last_box[rows],
            missed=self.missed[rows], boxes=self.boxes[columns],
            distances=self.distances[pairs], log_ratio=self.log_ratio[pairs],
        )  # fmt: skip

    def reidentified(self) -> Flags:
        """Pairs `[N, D]` that are alike enough for re-identification, and near enough."""
        rules = self.appearance
        stayed = np.ones(len(self.last_box), dtype=bool)
        if self.size:  # people leave at the left or right image border
            left, right = self.last_box[:, 0], self.last_box[:, 2]
            margin = rules.border * (right - left)
            stayed = (left >= margin) & (right <= self.size[0] - margin)
        near = _reachable(self.last_box, self.missed, self.boxes, rules.reid_speed)
        alike = np.where(np.isnan(self.distances), np.inf, self.distances) < rules.reid_distance
        sure = (self.missed <= self.match.max_lost_frames)[:, None] | (
            np.nan_to_num(self.log_ratio) <= -rules.reid_evidence)
        reliable = self.reliability >= rules.reid_reliability
        return alike & sure & near & stayed[:, None] & reliable

    def vetoed(self, possible: Flags) -> Flags:
        """Pairs `[N, D]` whose detection is far more like a rival; appearance chooses candidates.

        Rivals are the tracks that can be there, `possible` `[N, D]` by position, and lost ones that
        may be re-identified with it. Without a rival nothing is refused. The less of a
        detection is visible, the less its appearance counts.
        """
        if not self.reliability:
            return np.zeros(self.distances.shape, dtype=bool)
        log_ratio = np.nan_to_num(self.log_ratio) * _visible(self.boxes)
        lost = (self.missed > 0)[:, None]
        claims = np.where(possible | (lost & self.reidentified()), log_ratio, np.inf)
        rival = claims.min(axis=0, initial=np.inf)
        return np.asarray(log_ratio - rival > self.appearance.veto)


def associate(
    pairs: Candidates, confirmed: Flags, scores: Doubles, classes: Integers, found: Integers
) -> Integers:
    """The detection of each track `[N]`, or -1; each class by itself, as if there were no other.

    `confirmed` `[N]` are the tracks with an identity, `scores` `[D]` those of the detections,
    `classes` `[N]` those of the tracks, `found` `[D]` of the detections. What has no class, since a
    detector gives none, may be anything: a track without class is associated after those that have
    one, with what they leave, and detections without class with the tracks of all classes.
    """
    high, tracked = scores >= pairs.match.high_score, confirmed & (pairs.missed == 0)
    matches = np.full(len(confirmed), -1)
    for of_tracks, of_detections in _groups(classes, found):
        for tracks, detections, criterion in (
            (confirmed, high, by_position_and_appearance),
            (tracked, ~high, by_position),
            (confirmed, high, by_appearance),
            (~confirmed, high, by_position_and_appearance),
        ):
            free = detections & of_detections
            free[matches[matches >= 0]] = False
            rows = np.flatnonzero(tracks & of_tracks & (matches < 0))
            columns = np.flatnonzero(free)
            if len(rows) and len(columns):
                first, second = assign(*criterion(pairs.of(rows, columns)))
                matches[rows[first]] = columns[second]
    return matches


def _groups(classes: Integers, found: Integers) -> Iterator[tuple[Flags, Flags]]:
    """The tracks `[N]` and detections `[D]` that are associated one group after the other."""
    for number in np.unique(found[found != NO_CLASS]).tolist():
        yield classes == number, found == number
    none = found == NO_CLASS
    if none.any():
        yield np.ones(len(classes), dtype=bool), none
    if (classes == NO_CLASS).any():
        yield classes == NO_CLASS, ~none


def by_position_and_appearance(pairs: Candidates) -> tuple[Doubles, Flags]:
    """Cost and gate `[N, D]` of tracks at their prediction, and of lost ones at their last box."""
    rules = pairs.match
    overlap = _overlap(pairs.predicted, pairs.boxes, rules)
    lost = np.flatnonzero(pairs.missed > 0)
    last_box_weight = min(rules.last_box_weight, 1 - pairs.persistence)
    if len(lost) and last_box_weight > 0:
        at_last_box = _overlap(pairs.last_box[lost], pairs.boxes, rules) * last_box_weight
        overlap[lost] = np.maximum(overlap[lost], at_last_box)
    weight = pairs.appearance.weight * pairs.reliability
    cost = 1 - overlap
    if weight:  # at most 1, so that appearance alone leaves no pair out
        unlike = np.where(np.isnan(pairs.distances), cost, np.clip(pairs.distances, -0.5, 1.0))
        cost = (1 - weight) * cost + weight * unlike
    possible = (overlap >= rules.gate) & (pairs.missed <= rules.max_lost_frames)[:, None]
    return cost, possible & ~pairs.vetoed(possible)


def _overlap(tracks: Doubles, boxes: Doubles, rules: MatchConfig) -> Doubles:
    """How well positions agree `[N, D]`, 0 to 1."""
    overlap = iou_matrix(grown(tracks, rules.buffer), grown(boxes, rules.buffer), TINY)
    return overlap * height_iou(tracks, boxes, TINY) ** rules.height


def by_position(pairs: Candidates) -> tuple[Doubles, Flags]:
    """Cost and gate `[N, D]` for low scores: a covered person's embedding is partly another's."""
    overlap = iou_matrix(pairs.predicted, pairs.boxes, TINY)
    return 1 - overlap, overlap >= pairs.match.low_gate


def by_appearance(pairs: Candidates) -> tuple[Doubles, Flags]:
    """Cost and gate `[N, D]` of re-identification, away from where a track was predicted."""
    return np.nan_to_num(pairs.distances), pairs.reidentified()


def assign(cost: Doubles, allowed: Flags) -> tuple[Integers, Integers]:
    """Rows and columns of the cheapest assignment (Hungarian) in which any pair may be left out.

    What is left out costs `UNMATCHED`, so no good pair is given up for two bad ones.
    """
    allowed = allowed & (cost < UNMATCHED)
    rows, columns = linear_sum_assignment(np.where(allowed, cost, UNMATCHED))
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]


UNMATCHED = 1.0
"""The cost of a pair that is not made: that of boxes which do not overlap."""


def patience(
    confirmed: Flags, embedded: bool, match: MatchConfig, appearance: AppearanceWeightConfig
) -> Integers:
    """For how many frames without a detection each track lives `[N]`: no longer than it may be
    found again, which takes embeddings once position is given up.
    """
    longest = max(match.max_lost_frames, appearance.reid_frames if embedded else 0)
    return np.where(confirmed, longest, 0)


def births(
    boxes: Doubles, scores: Doubles, classes: Integers, matches: Integers, rules: MatchConfig
) -> Integers:
    """Detections `[B]` that start a track: unmatched, of `birth_score`, and no duplicates.

    A duplicate overlaps a matched detection of its class, or an unmatched one of higher score;
    `boxes` `[D, 4]` begin with the highest score. `matches` `[N]` are the detections of the tracks,
    or -1.
    """
    matched = matches[matches >= 0]
    free = scores >= rules.birth_score
    free[matched] = False
    new = np.flatnonzero(free)

    def overlaps(others: Integers) -> Doubles:
        iou = iou_matrix(boxes[new], boxes[others], TINY)
        return np.asarray(iou * (classes[new][:, None] == classes[others]))

    with_matched = overlaps(matched).max(axis=1, initial=0.0)
    with_better = np.tril(overlaps(new), -1).max(axis=1, initial=0.0)
    return new[np.maximum(with_matched, with_better) < rules.duplicate_iou]


def unambiguous(
    predicted: Doubles, last_box: Doubles, missed: Integers, boxes: Doubles,
    match: MatchConfig, appearance: AppearanceWeightConfig,
) -> Integers:
    """The track `[D]` to which each detection belongs by position alone, or -1 if that is open.

    It is not open if the grown boxes of the two overlap each other and no other track or detection,
    and no lost track can be there. The arguments are as in `Candidates`.
    """
    if not len(predicted) or not len(boxes):
        return np.full(len(boxes), -1)
    wide = grown(boxes, match.buffer)
    touch = iou_matrix(grown(predicted, match.buffer), wide, TINY) > 0
    crowded = (iou_matrix(wide, wide, TINY) > 0).sum(axis=1) > 1
    near = _reachable(last_box, missed, boxes, appearance.reid_speed)
    near_lost = ((missed > 0)[:, None] & (touch | near)).any(axis=0)
    track = touch.argmax(axis=0)
    alone = (touch.sum(axis=0) == 1) & (touch.sum(axis=1)[track] == 1)
    return np.where(alone & ~crowded & ~near_lost, track, -1)


def _reachable(last_box: Doubles, missed: Integers, boxes: Doubles, speed: float) -> Flags:
    """Pairs `[N, D]` whose distance a person can have covered at `speed` heights per frame."""
    moved = xyxy_to_cxcywh(boxes)[None, :, :2] - xyxy_to_cxcywh(last_box)[:, None, :2]
    most = (last_box[:, 3] - last_box[:, 1]) * (0.5 + speed * (missed + 1))
    return np.asarray(np.linalg.norm(moved, axis=2) <= most[:, None])


def _visible(boxes: Doubles) -> Doubles:
    """The share `[D]` of each detection that the one which covers most of it leaves."""
    left_top = np.maximum(boxes[:, None, :2], boxes[:, :2])
    right_bottom = np.minimum(boxes[:, None, 2:], boxes[:, 2:])
    common = np.clip(right_bottom - left_top, 0, None).prod(axis=2)
    np.fill_diagonal(common, 0.0)
    areas = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), TINY)
    return np.asarray(1 - common.max(axis=1, initial=0.0) / areas)
