"""Motion of the tracks: a Kalman filter over all of them at once, and how persistent motion is.

What is unusual here: centre x, centre y, width and height are four filters of their own, each of a
value and its velocity, since nothing in the model couples them. So the covariance of a track is
four times three numbers, and every step is a few lines of plain arithmetic over `[N, 4]`.

Motion persistence is learned while tracking: the displacement of each track over some frames is
compared with its displacement over the frames before. So is how noisy detections are: where the
errors of consecutive predictions hardly correlate, the filter follows noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from tfsasm.boxes import xyxy_to_cxcywh
from tfsasm.tables import Doubles, Flags, Integers, Table

_MOST_ERROR = 0.3  # chosen by hand
_ENOUGH = 50  # pairs of errors; chosen by hand
_NO_LENGTH = 1e-9  # a box that the camera's motion turned inside out has none


@dataclass(frozen=True)
class KalmanConfig:
    """Noise of the filter, as shares of a box's width (for x) and height (for y)."""

    position: float = 1 / 20
    """Standard deviation of a position, measured or per frame (DeepSORT, arXiv 1703.07402)."""
    velocity: float = 1 / 160
    """Standard deviation of a velocity's change per frame (DeepSORT), where motion does not
    persist. Measured: twice as much is 2 HOTA worse on dancers."""
    persistence_noise: float = 1.0
    """Where motion persists, velocities change by this share more per frame. Measured: 0 is up to 6
    HOTA worse on pedestrians in every 2nd or 3rd frame, and 1 on synthetic dancers."""
    score_noise: float = 2.0
    """How much a score of 0 adds to the noise of a measurement, in its own units; a score of 1 adds
    none. Measured: 0 is worse, 3 alike."""
    error_correlation: float = 0.25
    """Measurements are taken as noisier until consecutive errors of predictions correlate by this
    much: those of a filter that follows noise do not. Measured: 0.15 and 0.35 do alike."""
    smoothing: float = 3.0
    """Power of its score with which a detection counts in the box that is reported, beside that of
    the filter; 0 reports detections as they are. Measured: 0 is worse where boxes are noisy, 2 and
    4 do alike (docs/results.md)."""
    size_rate: float = 0.05
    """Share that a detection has in the mean size of its track, which is reported where motion
    persists; 1 for its own size. Measured: 0.1 does alike, 1 is worse (docs/results.md)."""


@dataclass(frozen=True)
class Motion(Table):
    """Boxes and velocities of N tracks, in pixels and pixels per frame."""

    box: Doubles
    """Centre x, centre y, width and height `[N, 4]`."""
    velocity: Doubles
    """`[N, 4]`."""
    position_variance: Doubles
    """`[N, 4]`."""
    covariance: Doubles
    """Of value and velocity `[N, 4]`."""
    velocity_variance: Doubles
    """`[N, 4]`."""
    smallest: Doubles
    """Width and height that a prediction has at least `[N, 2]`: a pixel, or those of the last
    detection if they are smaller."""
    log_size: Doubles
    """Mean of the logarithms of measured widths and heights, recent ones more `[N, 2]`."""

    @property
    def xyxy(self) -> Doubles:
        """Corners `[N, 4]`, of some size however fast a box has become smaller."""
        half = np.maximum(self.box[:, 2:], self.smallest) / 2
        return np.hstack([self.box[:, :2] - half, self.box[:, :2] + half])

    def with_rows(self, rows: Integers, new: Motion) -> Motion:
        """The same with `rows` `[K]` replaced by `new` of K tracks."""
        columns = {name: column.copy() for name, column in vars(self).items()}
        for name, column in columns.items():
            column[rows] = getattr(new, name)
        return Motion(**columns)


def begin(boxes: Doubles, config: KalmanConfig) -> Motion:
    """New tracks at `boxes` `[N, 4]` (cxcywh, pixels), at rest."""
    smallest = np.minimum(boxes[:, 2:], 1.0)
    position, velocity = _noise(boxes, smallest, config)
    none = np.zeros_like(boxes)
    return Motion(  # as DeepSORT
        boxes, none, (2 * position) ** 2, none, (10 * velocity) ** 2, smallest,
        _log_size(boxes[:, 2:]),
    )  # fmt: skip


def with_persistence(config: KalmanConfig, persistence: float) -> KalmanConfig:
    """The noise for a motion persistence from 0 to 1: where motion persists, turns are news."""
    return replace(config, velocity=config.velocity * (1 + config.persistence_noise * persistence))


def predict(motion: Motion, config: KalmanConfig) -> Motion:
    """The tracks one frame later."""
    position, velocity = _noise(motion.box, motion.smallest, config)
    moved = motion.position_variance + 2 * motion.covariance + motion.velocity_variance
    return replace(
        motion, box=motion.box + motion.velocity, position_variance=moved + position**2,
        covariance=motion.covariance + motion.velocity_variance,
        velocity_variance=motion.velocity_variance + velocity**2,
    )  # fmt: skip


def update(
    motion: Motion, boxes: Doubles, scores: Doubles, config: KalmanConfig, noisier: float = 1.0
) -> Motion:
    """N predicted tracks corrected by the detections that they were matched with.

    `boxes` `[N, 4]` (cxcywh) and `scores` `[N]` are those of the detections; their noise is
    `noisier` times that of the configuration.
    """
    position, _ = _noise(motion.box, motion.smallest, config)
    size_error = _log_size(boxes[:, 2:]) - motion.log_size
    unsure = 1 - np.clip(scores, 0.0, 1.0)[:, None]  # MOT15's scores reach 138
    noise = noisier * position * (1 + config.score_noise * unsure)
    total = motion.position_variance + noise**2
    gain, velocity_gain = motion.position_variance / total, motion.covariance / total
    error = boxes - motion.box
    return Motion(
        box=motion.box + gain * error,
        velocity=motion.velocity + velocity_gain * error,
        position_variance=motion.position_variance * (1 - gain),
        covariance=motion.covariance * (1 - gain),
        velocity_variance=motion.velocity_variance - velocity_gain * motion.covariance,
        smallest=np.minimum(boxes[:, 2:], 1.0),
        log_size=motion.log_size + config.size_rate * size_error,
    )


def smoothed(
    motion: Motion, xyxy: Doubles, scores: Doubles, config: KalmanConfig, noise: MeasurementNoise,
    persistence: float, size: tuple[int, int] | None = None,
) -> Doubles:
    """Boxes `[N, 4]` to report of corrected tracks, between their detections and the filter.

    Detections jitter, and the filter lags. So a detection counts the more, the better its score,
    and the less, the noisier detections are; the filter the less, the more its errors are the same
    in frame after frame. Where motion persists people walk, and a size that swings with their
    stride gives way to its mean; a dancer's is his pose. `xyxy` `[N, 4]` and `scores` `[N]` are
    those of the detections. No box leaves an image of `size` (width, height) unless its detection
    does.
    """
    unsure = 1 - np.clip(scores / noise.factor, 0.0, 1.0) ** config.smoothing
    boxes = xyxy + unsure[:, None] * (1 - noise.correlation) * (motion.xyxy - xyxy)
    walking, own = max(0.0, 2 * persistence - 1), boxes[:, 2:] - boxes[:, :2]
    towards = walking * unsure[:, None] ** 2 * (motion.log_size - _log_size(own))
    growth = np.expm1(towards) * own / 2
    boxes += np.hstack([-growth, growth])
    if size is None:
        return boxes
    return np.clip(boxes, np.minimum(xyxy, 0), np.maximum(xyxy, [*size, *size]))


def errors(motion: Motion, boxes: Doubles) -> Doubles:
    """How far the centres of `boxes` `[N, 4]` (cxcywh) are from the predicted ones `[N, 2]`.

    In widths and heights of the predicted box, and no more than `_MOST_ERROR`, so that few jumps
    do not outweigh all else.
    """
    size = np.maximum(motion.box[:, 2:], motion.smallest)
    off = (boxes[:, :2] - motion.box[:, :2]) / np.maximum(size, _NO_LENGTH)
    return np.asarray(np.clip(off, -_MOST_ERROR, _MOST_ERROR))


def compensate(motion: Motion, warp: Doubles) -> Motion:
    """The tracks in the image of the moved camera. `warp` `[2, 3]` maps old pixels to new ones."""
    turn, scale = _turn_and_scale(warp)
    positions = motion.box[:, :2] @ turn.T + warp[:, 2]
    return replace(
        motion, box=np.hstack([positions, motion.box[:, 2:] * scale]),
        velocity=np.hstack([motion.velocity[:, :2] @ turn.T, motion.velocity[:, 2:] * scale]),
        position_variance=motion.position_variance * scale**2,
        covariance=motion.covariance * scale**2,
        velocity_variance=motion.velocity_variance * scale**2,
        log_size=motion.log_size + np.log(max(scale, _NO_LENGTH)),
    )  # fmt: skip


def compensate_boxes(xyxy: Doubles, warp: Doubles) -> Doubles:
    """As `compensate`, for corners `[N, 4]`."""
    return (xyxy.reshape(-1, 2, 2) @ warp[:, :2].T + warp[:, 2]).reshape(-1, 4)


def _turn_and_scale(warp: Doubles) -> tuple[Doubles, float]:
    return warp[:, :2], np.sqrt(abs(np.linalg.det(warp[:, :2])))


def _log_size(size: Doubles) -> Doubles:
    return np.asarray(np.log(np.maximum(size, _NO_LENGTH)))


def _noise(boxes: Doubles, smallest: Doubles, config: KalmanConfig) -> tuple[Doubles, Doubles]:
    """Standard deviations of positions and velocities `[N, 4]` of cxcywh boxes."""
    size = np.maximum(boxes[:, [2, 3, 2, 3]], smallest[:, [0, 1, 0, 1]])
    return config.position * size, config.velocity * size


@dataclass(frozen=True)
class PersistenceConfig:
    """How motion persistence is learned."""

    frames: int = 10
    """Displacements are taken over this many frames. Chosen by hand: gaps are about that long."""
    min_pairs: float = 20.0
    """Pairs of displacements that it takes; until then motion is assumed to persist. Chosen by
    hand, not measured."""
    max_pairs: float = 1000.0
    """Pairs that are remembered; older ones fade. Chosen by hand, not measured."""


@dataclass(frozen=True)
class Displacements(Table):
    """Displacements of N tracks, over `PersistenceConfig.frames` frames each."""

    start: Doubles
    """Centres at the beginning of the current displacement `[N, 2]`, pixels."""
    previous: Doubles
    """The displacement before the current one, in lengths of the box `[N, 2]`; NaN for none."""
    age: Integers
    """Frames since `start` `[N]`."""


@dataclass(frozen=True)
class Persistence:
    """Sums over pairs of consecutive displacements: a regression through the origin."""

    count: float = 0.0
    products: float = 0.0
    """Sum of the dot products of the two."""
    squares: float = 0.0
    """Sum of the squared lengths of the first."""

    def share(self, min_pairs: float, unknown: float = 1.0) -> float:
        """The share of the first that the second repeats, from 0 to 1; `unknown` until `min_pairs`
        are known.
        """
        if self.count < min_pairs or self.squares <= 0:
            return unknown
        return float(np.clip(self.products / self.squares, 0.0, 1.0))

    def updated(self, first: Doubles, second: Doubles, max_pairs: float) -> Persistence:
        """With more pairs of displacements, `[K, 2]` each."""
        fade = min(1.0, max_pairs / max(self.count, 1.0))
        return Persistence(
            self.count * fade + len(first),
            self.products * fade + float((first * second).sum()),
            self.squares * fade + float((first**2).sum()),
        )


@dataclass(frozen=True)
class MeasurementNoise:
    """How much noisier detections are than `KalmanConfig` says, learned from prediction errors.

    The errors of a filter that knows its noises are white; where it trusts measurements too much,
    they alternate (Mehra, On the identification of variances and adaptive Kalman filtering, 1970).
    Chosen by hand, with hardly any influence: how many pairs are needed and remembered, how quickly
    the noise follows, and how much it may become.
    """

    pairs: Persistence = field(default_factory=Persistence)
    """Errors of consecutive frames."""
    log_factor: float = 0.0

    @property
    def factor(self) -> float:
        """What the noise of a measurement is multiplied by, from 1."""
        return float(np.exp(self.log_factor))

    @property
    def correlation(self) -> float:
        """Of the errors of consecutive frames, 0 to 1; a half until enough are known."""
        return self.pairs.share(_ENOUGH, unknown=0.5)

    def updated(self, before: Doubles, now: Doubles, config: KalmanConfig) -> MeasurementNoise:
        """With the `errors` of N tracks in the last frame and in this one `[N, 2]`, NaN for none.
        """
        both = ~np.isnan(before[:, 0]) & ~np.isnan(now[:, 0])
        pairs = self.pairs.updated(before[both], now[both], max_pairs=500)
        if pairs.count <= _ENOUGH or pairs.squares <= 0:
            return replace(self, pairs=pairs)
        missing = config.error_correlation - np.clip(pairs.products / pairs.squares, -1, 1)
        log_factor = np.clip(self.log_factor + 0.02 * missing, 0, np.log(4))
        return MeasurementNoise(pairs, float(log_factor))


def begin_displacements(centres: Doubles) -> Displacements:
    """New tracks at `centres` `[N, 2]`."""
    n = len(centres)
    return Displacements(centres, np.full_like(centres, np.nan), np.zeros(n, dtype=np.int64))


def advance(
    displacements: Displacements, xyxy: Doubles, present: Flags, persistence: Persistence,
    config: PersistenceConfig,
) -> tuple[Displacements, Persistence]:
    """One frame later, with boxes `xyxy` `[N, 4]` for those tracks that are `present` `[N]`.

    A displacement is complete when its track is present after `frames` or more, and counts by what
    it was in `frames`; one that took twice as long says nothing, as what lies in a gap is not
    known. Returns the displacements, and what those that were completed say of persistence.
    """
    boxes = xyxy_to_cxcywh(xyxy)
    age = displacements.age + 1
    over = present & (age >= config.frames)
    complete = over & (age < 2 * config.frames)
    rate = (config.frames / np.maximum(age, 1))[:, None]
    # in lengths of the box, at most 1: one that the border cuts flat does not outweigh all others
    lengths = np.maximum(boxes[:, 2:].max(axis=1, keepdims=True), _NO_LENGTH)
    displacement = (boxes[:, :2] - displacements.start) / lengths
    moved = np.linalg.norm(displacement, axis=1, keepdims=True)
    displacement = displacement / np.maximum(moved, 1.0) * rate
    paired = complete & ~np.isnan(displacements.previous[:, 0])
    persistence = persistence.updated(
        displacements.previous[paired], displacement[paired], config.max_pairs
    )
    previous = np.where(
        complete[:, None], displacement, np.where(over[:, None], np.nan, displacements.previous)
    )
    start = np.where(over[:, None], boxes[:, :2], displacements.start)
    return Displacements(start, previous, np.where(over, 0, age)), persistence


def compensate_displacements(displacements: Displacements, warp: Doubles) -> Displacements:
    """As `compensate`, for displacements."""
    turn, scale = _turn_and_scale(warp)
    return replace(
        displacements, start=displacements.start @ turn.T + warp[:, 2],
        previous=displacements.previous @ (turn / scale).T,
    )  # fmt: skip
