"""What makes a track and a detection a pair: place, and looks where they can tell."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from tfsasm.tracking.appearance.arrays import Doubles, Flags, Integers
from tfsasm.tracking.appearance.motion import centred


@dataclass(frozen=True)
class MatchConfig:
    """How well a detection has to fit a track. docs/appearance.md has the measurements."""

    high_score: float = 0.6
    """Detections from this score on are sure: anybody may claim them, and they are looked at
    (ByteTrack). Measured: 0.5 is as good, but on fast dancers 2 HOTA worse."""
    low_score: float = 0.1
    """Those below it are not used at all (ByteTrack)."""
    birth_score: float = 0.7
    """A sure detection that nobody claims begins a track from this score on (ByteTrack)."""
    buffer: float = 0.1
    """Share of their size by which boxes are grown on every side, before a track and a sure
    detection are compared (C-BIoU has 0.3). Measured: 0.2 is better on fast dancers and worse on
    pedestrians, 0 the other way round."""
    gate: float = 0.15
    """Least overlap with the expected box, IoU times `height` power of the IoU of the heights, that
    a sure detection needs. Measured: 0.1 is 1 to 3 HOTA better on dancers and 1 worse on
    MOT17, 0.3 worse on dancers."""
    height: float = 2.0
    """How much the heights weigh in it; 0 for plain IoU. Measured: 0 is 5 HOTA worse on dancers, 1
    is 2 worse on fast ones."""
    low_gate: float = 0.3
    """Least IoU that an unsure detection needs, and the track must have been seen in the last
    frame (ByteTrack has 0.5). Measured: no difference."""
    birth_overlap: float = 0.5
    """A detection that overlaps a claimed one by this much or more is its double and begins no
    track. Measured: small detectors leave such doubles."""
    stay: float = 0.7
    """A lost track may also be where it was last seen. The fit to that place counts by so much at
    most, and by less where people go on as they went (`pace.py`). Measured on DanceTrack: 0.5 and 1
    are 1 to 2 HOTA worse, 0 is 4 worse."""
    hits: int = 2
    """Detections until a track is reported, but in the first frame (ByteTrack). Measured: 3 is 0.5
    HOTA worse on dancers."""
    patience: int = 60
    """Frames without detection after which a track ends. Measured: 30 to 90 do alike."""


@dataclass(frozen=True)
class AppearanceWeightConfig:
    """How much looks count beside motion. The unit of distances is that of `evidence.py`."""

    weight: float = 0.6
    """Share of looks in the cost of a pair, where they can be fully trusted. Measured: 0.5 to 0.8
    do alike, less is worse."""
    veto: float = 5.0
    """A pair is none, wherever it is, if its looks speak against it: if the logarithm of how much
    likelier another person is, or one who was lost, exceeds this. Measured: from 4 on
    look-alikes keep their numbers; without it real people swap theirs (docs/appearance.md)."""
    reid: float = 0.3
    """Below it a lost track is known again where it was not expected. Measured: 0.3 to 0.6 do
    alike."""
    reid_trust: float = 0.5
    """Trust that this takes. By judgement."""
    reach: float = 0.2
    """How far from where it was lost, in heights of its box per frame, and half a height at
    once. By judgement: nobody runs faster; measured, 0.1 does alike."""
    border: float = 0.1
    """Who was lost within this share of a box's width from the left or right border has left, and
    is not known again. By judgement."""
    fewest: float = 30.0
    """Distances of each kind that have to be seen before looks count. By judgement."""
    most: float = 3000.0
    """Distances that are remembered; older ones fade. By judgement."""
    separation_low: float = 1.0
    """Standard deviations between oneself and others below which looks do not count."""
    separation_high: float = 2.0
    """And from which on they count fully. By judgement, both."""
    refresh: int = 1
    """A track whose detection is clear from place alone is looked at every so many frames only; 1
    for every frame. For slow embedders; docs/appearance.md has what it costs."""


@dataclass(frozen=True)
class Candidates:
    """Tracks that look for a detection, and detections that are free."""

    expected: Doubles
    """Where the tracks should be `[N, 4]`, pixel corners."""
    last: Doubles
    """As in `Tracks`, and so is `missed`."""
    missed: Integers
    found: Doubles
    """Where the detections are `[D, 4]`."""
    apart: Doubles
    """How unlike they look `[N, D]`, from oneself (0) to others (1); NaN for unknown."""
    against: Doubles
    """How much likelier it is to be another `[N, D]`, natural logarithm; NaN for unknown."""
    trust: float
    """How far that is to be trusted."""
    persistence: float
    """How far people go on as they went: `pace.py`."""
    size: tuple[int, int] | None
    match: MatchConfig
    looks: AppearanceWeightConfig

    def of(self, rows: Integers, columns: Integers) -> Candidates:
        """Those of some tracks and some detections."""
        return replace(
            self, expected=self.expected[rows], last=self.last[rows], missed=self.missed[rows],
            found=self.found[columns], apart=self.apart[np.ix_(rows, columns)],
            against=self.against[np.ix_(rows, columns)],
        )

    def known(self) -> Flags:
        """Who may be known again by looks `[N, D]`, and can have come there."""
        rules = self.looks
        stayed = ~_at_border(self.last, self.size, rules.border)
        near = _in_reach(self.last, self.missed, self.found, rules.reach)
        alike = np.where(np.isnan(self.apart), np.inf, self.apart) < rules.reid
        return alike & near & stayed[:, None] & (self.trust >= rules.reid_trust)

    def differ(self) -> Flags:
        """Which look like another person `[N, D]`: like anybody else, or like one who is lost."""
        if not self.trust:
            return np.zeros(self.apart.shape, dtype=bool)
        against = np.nan_to_num(self.against)
        lost = np.flatnonzero(self.missed > 0)
        if not len(lost):
            return against > self.looks.veto
        everybody = np.arange(len(self.found))
        rivals = np.where(self.of(lost, everybody).known(), against[lost], np.inf)
        best = rivals.argmin(axis=0)
        rival = np.minimum(rivals[best, everybody], 0)
        others = np.arange(len(against))[:, None] != lost[best]
        return against - np.where(others, rival, 0) > self.looks.veto


def by_place_and_looks(pairs: Candidates) -> tuple[Doubles, Flags]:
    """Cost and permission `[N, D]` where a track is expected to be."""
    rules = pairs.match
    near = _near(pairs.expected, pairs.found, rules)
    lost = np.flatnonzero(pairs.missed > 0)
    stay = min(rules.stay, 1 - pairs.persistence)
    if len(lost) and stay > 0:
        stayed = _near(pairs.last[lost], pairs.found, rules) * stay
        near[lost] = np.maximum(near[lost], stayed)
    weight = pairs.looks.weight * pairs.trust
    cost = 1 - near
    if weight:
        unlike = np.where(np.isnan(pairs.apart), cost, np.clip(pairs.apart, -0.5, 1.5))
        cost = (1 - weight) * cost + weight * unlike
    return cost, (near >= rules.gate) & ~pairs.differ()


def _near(tracks: Doubles, found: Doubles, rules: MatchConfig) -> Doubles:
    """How well places fit `[N, D]`, 0 to 1."""
    overlap = iou(grown(tracks, rules.buffer), grown(found, rules.buffer))
    return overlap * height_iou(tracks, found) ** rules.height


def by_place(pairs: Candidates) -> tuple[Doubles, Flags]:
    """The same for unsure detections, whose looks may be another's."""
    near = iou(pairs.expected, pairs.found)
    return 1 - near, near >= pairs.match.low_gate


def by_looks(pairs: Candidates) -> tuple[Doubles, Flags]:
    """The same for people who are known again, though not where they were expected."""
    return np.nan_to_num(pairs.apart), pairs.known()


def clear(
    expected: Doubles, last: Doubles, missed: Integers, found: Doubles,
    match: MatchConfig, looks: AppearanceWeightConfig,
) -> Integers:
    """The track `[D]` that each sure detection clearly belongs to without a look at it, or -1.

    It is clear if the grown boxes of the two overlap each other and no other track or sure
    detection, the track was seen in the last frame, and no lost track can have come there. The
    arguments are as in `Pairs`.
    """
    if not len(expected) or not len(found):
        return np.full(len(found), -1)
    boxes = grown(found, match.buffer)
    touch = iou(grown(expected, match.buffer), boxes) > 0
    crowded = (iou(boxes, boxes) > 0).sum(axis=1) > 1
    lost = (missed > 0)[:, None]
    haunted = (lost & (touch | _in_reach(last, missed, found, looks.reach))).any(axis=0)
    track = touch.argmax(axis=0)
    alone = (touch.sum(axis=0) == 1) & (touch.sum(axis=1)[track] == 1)
    return np.where(alone & ~crowded & ~haunted, track, -1)


def _in_reach(last: Doubles, missed: Integers, found: Doubles, reach: float) -> Flags:
    """Which detections are no further from where a track was seen than it can have gone `[N, D]`.
    """
    way = centred(found)[None, :, :2] - centred(last)[:, None, :2]
    most = (last[:, 3] - last[:, 1]) * (0.5 + reach * (missed + 1))
    return np.asarray(np.linalg.norm(way, axis=2) <= most[:, None])


def _at_border(xyxy: Doubles, size: tuple[int, int] | None, border: float) -> Flags:
    """Which boxes `[N]` touch the image's left or right border: who leaves there is gone."""
    if size is None:
        return np.zeros(len(xyxy), dtype=bool)
    margin = border * (xyxy[:, 2] - xyxy[:, 0])
    return (xyxy[:, 0] < margin) | (xyxy[:, 2] > size[0] - margin)


@dataclass(frozen=True)
class RunningStatistics:
    """Count, mean and variance of a stream of numbers, of which the old ones fade."""

    count: float = 0.0
    mean: float = 0.0
    variance: float = 0.0

    def __add__(self, values: Doubles) -> RunningStatistics:
        """With `values` `[K]` more."""
        if not len(values):
            return self
        more, count = len(values), self.count + len(values)
        shift = float(values.mean()) - self.mean
        total = self.variance * self.count + float(values.var()) * more
        return RunningStatistics(
            count, self.mean + shift * more / count,
            (total + shift**2 * self.count * more / count) / count,
        )

    def faded(self, most: float) -> RunningStatistics:
        """The same, with the weight of at most so many numbers."""
        return replace(self, count=min(self.count, most))


@dataclass(frozen=True)
class AppearanceReliability:
    """Distances seen so far."""

    same: RunningStatistics = field(default_factory=RunningStatistics)
    """Of tracks to their own next view."""
    other: RunningStatistics = field(default_factory=RunningStatistics)
    """Of tracks to the other people of a frame."""

    def learn(self, same: Doubles, other: Doubles, most: float) -> AppearanceReliability:
        """With the distances of one more frame."""
        return AppearanceReliability(
            (self.same + same).faded(most), (self.other + other).faded(most)
        )

    def separation(self) -> float:
        """How many standard deviations lie between oneself and others; negative if others are
        more alike."""
        deviation = np.sqrt((self.same.variance + self.other.variance) / 2)
        return (self.other.mean - self.same.mean) / max(float(deviation), 1e-6)

    def trust(self, fewest: float, low: float, high: float) -> float:
        """How far looks can be trusted, from 0 to 1: it rises from separation `low` to `high`.

        It is 0 until `fewest` distances of each kind were seen.
        """
        if min(self.same.count, self.other.count) < fewest:
            return 0.0
        return float(np.clip((self.separation() - low) / (high - low), 0.0, 1.0))

    def against(self, scaled: Doubles) -> Doubles:
        """How much likelier another person is than the same one, at distances as of `scaled`.

        The natural logarithm of the ratio, were both normally distributed and as wide.
        """
        return (scaled - 0.5) * self.separation() ** 2

    def scaled(self, distances: Doubles) -> Doubles:
        """Distances on the scale from oneself (0) to others (1)."""
        return (distances - self.same.mean) / self._unit()

    def _unit(self) -> float:
        return max(self.other.mean - self.same.mean, 1e-6)

_NEVER = 1e6  # cost of a forbidden pair: more than any sum of allowed ones


def grown(xyxy: Doubles, buffer: float) -> Doubles:
    """Boxes `[N, 4]` that are wider and higher by `buffer` of their size on every side.

    Those that no longer touch can then still be compared (C-BIoU, arXiv 2211.14317).
    """
    margin = (xyxy[:, 2:] - xyxy[:, :2]) * buffer
    return np.hstack([xyxy[:, :2] - margin, xyxy[:, 2:] + margin])


def iou(tracks: Doubles, detections: Doubles) -> Doubles:
    """Intersection over union."""
    wide = _shared(tracks[:, 0], tracks[:, 2], detections[:, 0], detections[:, 2])
    high = _shared(tracks[:, 1], tracks[:, 3], detections[:, 1], detections[:, 3])
    shared = wide * high
    return shared / np.maximum(np.add.outer(_area(tracks), _area(detections)) - shared, 1e-9)


def height_iou(tracks: Doubles, detections: Doubles) -> Doubles:
    """Overlap of the vertical extents alone (Hybrid-SORT, arXiv 2308.00783).

    Depth shows in it: of two people side by side, the nearer one is higher and stands lower.
    """
    shared = _shared(tracks[:, 1], tracks[:, 3], detections[:, 1], detections[:, 3])
    heights = np.add.outer(tracks[:, 3] - tracks[:, 1], detections[:, 3] - detections[:, 1])
    return shared / np.maximum(heights - shared, 1e-9)


def assign(cost: Doubles, allowed: Flags) -> tuple[Integers, Integers]:
    """The pairs (rows, columns) of most allowed matches, and of those of least cost."""
    rows, columns = linear_sum_assignment(np.where(allowed, cost, _NEVER))
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]


def _shared(low: Doubles, high: Doubles, others_low: Doubles, others_high: Doubles) -> Doubles:
    """Length `[N, D]` that intervals `[N]` and `[D]` have in common."""
    ends = np.minimum.outer(high, others_high)
    ends -= np.maximum.outer(low, others_low)
    return np.maximum(ends, 0, out=ends)


def _area(xyxy: Doubles) -> Doubles:
    return (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
