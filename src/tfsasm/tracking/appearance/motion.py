"""Where boxes are going: a Kalman filter over all tracks at once.

What is unusual here: centre x, centre y, width and height are four filters of their own, each of a
value and its velocity, since nothing in the model couples them. So the covariance of a track is
four times three numbers, and every step is a few lines of plain arithmetic over `[N, 4]`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfsasm.tracking.appearance.arrays import Arrays, Doubles, Flags, Integers


@dataclass(frozen=True)
class KalmanConfig:
    """Noise of the filter, as shares of a box's width (for x) and height (for y)."""

    position: float = 1 / 20
    """Standard deviation of a place, measured or per frame (DeepSORT, arXiv 1703.07402)."""
    velocity: float = 1 / 160
    """Standard deviation of a velocity's change per frame (DeepSORT), of people who swing back.
    Measured: twice as much is 2 HOTA worse on dancers."""
    news: float = 1.0
    """How much more it is of people who go on as they went (`pace.py`), for whom a change of way is
    news. Measured: 0 is up to 6 HOTA worse on pedestrians in every 2nd or 3rd frame, and 1 on
    synthetic dancers."""
    unsure: float = 2.0
    """How much a score of 0 adds to the noise of a measurement, in its own units; a score of 1 adds
    none. Measured: 0 is worse, 3 alike."""
    correction: float = 0.75
    """After a gap the velocity becomes this share of the mean one over the gap. OC-SORT comes to 1.
    Measured: 0.5 is up to 4 HOTA worse on pedestrians, and alike on dancers."""


@dataclass(frozen=True)
class Motion(Arrays):
    """Boxes and velocities of N tracks, in pixels and pixels per frame."""

    box: Doubles
    """Centre x, centre y, width and height `[N, 4]`."""
    velocity: Doubles
    """`[N, 4]`."""
    place_variance: Doubles
    """`[N, 4]`."""
    covariance: Doubles
    """Of value and velocity `[N, 4]`."""
    velocity_variance: Doubles
    """`[N, 4]`."""

    @property
    def xyxy(self) -> Doubles:
        """Corners `[N, 4]`; a width or height is at least a pixel."""
        half = np.maximum(self.box[:, 2:], 1.0) / 2
        return np.hstack([self.box[:, :2] - half, self.box[:, :2] + half])


def centred(xyxy: Doubles) -> Doubles:
    """Corners `[N, 4]` as centre x, centre y, width and height."""
    low, high = xyxy[:, :2], xyxy[:, 2:]
    return np.hstack([(low + high) / 2, high - low])


def begin(boxes: Doubles, config: KalmanConfig) -> Motion:
    """New tracks at centred `boxes` `[N, 4]`, at rest."""
    place, speed = _noise(boxes, config)
    none = np.zeros_like(boxes)
    return Motion(boxes, none, (2 * place) ** 2, none, (10 * speed) ** 2)  # as DeepSORT begins


def paced(config: KalmanConfig, persistence: float) -> KalmanConfig:
    """The noise where people go on as they went by so much, from 0 to 1."""
    return replace(config, velocity=config.velocity * (1 + config.news * persistence))


def predict(motion: Motion, config: KalmanConfig) -> Motion:
    """The next frame's boxes."""
    place, speed = _noise(motion.box, config)
    return Motion(
        box=motion.box + motion.velocity,
        velocity=motion.velocity,
        place_variance=(
            motion.place_variance + 2 * motion.covariance + motion.velocity_variance + place**2
        ),
        covariance=motion.covariance + motion.velocity_variance,
        velocity_variance=motion.velocity_variance + speed**2,
    )


def update(
    motion: Motion, boxes: Doubles, scores: Doubles, before: Doubles, missed: NDArray[Any],
    config: KalmanConfig,
) -> Motion:
    """Take in the detections that N predicted tracks were matched with.

    `boxes` `[N, 4]` are centred, `before` are those of the matches before, `missed` `[N]` frames
    ago and one. Where there was a gap, the velocity is that of the way from one to the other
    (the re-update of OC-SORT, arXiv 2203.14360, in its limit), since what the filter believed in
    between was its own echo.
    """
    place, _ = _noise(motion.box, config)
    noise = place * (1 + config.unsure * (1 - scores[:, None]))
    total = motion.place_variance + noise**2
    gain, speed_gain = motion.place_variance / total, motion.covariance / total
    error = boxes - motion.box
    updated = Motion(
        box=motion.box + gain * error,
        velocity=motion.velocity + speed_gain * error,
        place_variance=motion.place_variance * (1 - gain),
        covariance=motion.covariance * (1 - gain),
        velocity_variance=motion.velocity_variance - speed_gain * motion.covariance,
    )
    returned = missed[:, None] > 0
    mean = (boxes - before) / (missed[:, None] + 1) * config.correction
    return replace(
        updated, box=np.where(returned, boxes, updated.box),
        velocity=np.where(returned, mean, updated.velocity),
    )


def move(motion: Motion, warp: Doubles) -> Motion:
    """The tracks as the moved camera sees them. `warp` `[2, 3]` maps old pixels to new ones."""
    turn, scale = warp[:, :2], np.sqrt(abs(np.linalg.det(warp[:, :2])))
    places = motion.box[:, :2] @ turn.T + warp[:, 2]
    return Motion(
        box=np.hstack([places, motion.box[:, 2:] * scale]),
        velocity=np.hstack([motion.velocity[:, :2] @ turn.T, motion.velocity[:, 2:] * scale]),
        place_variance=motion.place_variance * scale**2,
        covariance=motion.covariance * scale**2,
        velocity_variance=motion.velocity_variance * scale**2,
    )


def _noise(boxes: Doubles, config: KalmanConfig) -> tuple[Doubles, Doubles]:
    """Standard deviations of places and velocities `[N, 4]` of centred boxes."""
    size = np.maximum(boxes[:, [2, 3, 2, 3]], 1.0)
    return config.position * size, config.velocity * size


@dataclass(frozen=True)
class PersistenceConfig:
    """How persistence is learned."""

    frames: int = 10
    """Over so many frames ways are compared. By judgement: gaps are about that long."""
    fewest: float = 20.0
    """Pairs of ways that must have been seen; before, everybody goes on as he went. By judgement.
    """
    most: float = 1000.0
    """Pairs that are remembered; older ones fade. By judgement."""


@dataclass(frozen=True)
class Displacements(Arrays):
    """Where N tracks came from."""

    start: Doubles
    """Centres where the way began that is under way `[N, 2]`, pixels."""
    before: Doubles
    """The way before that one, in lengths of the box `[N, 2]`; NaN for none."""
    age: Integers
    """Frames since it began `[N]`."""


@dataclass(frozen=True)
class Persistence:
    """Sums over pairs of ways that followed each other."""

    count: float = 0.0
    along: float = 0.0
    """Of the products of the two."""
    square: float = 0.0
    """Of the squares of the first."""

    def share(self, fewest: float) -> float:
        """The part of a way that is gone once more, from 0 to 1: a regression through the origin.

        It is 1 until `fewest` pairs were seen.
        """
        if self.count < fewest or self.square <= 0:
            return 1.0
        return float(np.clip(self.along / self.square, 0.0, 1.0))

    def learn(self, first: Doubles, second: Doubles, most: float) -> Persistence:
        """With pairs of ways `[K, 2]` more."""
        fade = min(1.0, most / max(self.count, 1.0))
        return Persistence(
            self.count * fade + len(first), self.along * fade + float((first * second).sum()),
            self.square * fade + float((first**2).sum()),
        )


def begin_displacements(centres: Doubles) -> Displacements:
    """Tracks that begin at `centres` `[N, 2]`."""
    return Displacements(
        centres, np.full_like(centres, np.nan), np.zeros(len(centres), dtype=np.int64)
    )


def advance(
    ways: Displacements, boxes: Doubles, present: Flags, returned: Flags, learned: Persistence,
    config: PersistenceConfig,
) -> tuple[Displacements, Persistence]:
    """One frame more, with the centred `boxes` `[N, 4]` of those tracks that are `present`.

    Whoever was missed begins a new way when he has `returned`.
    """
    age = ways.age + 1
    done = present & ~returned & (age >= config.frames)
    way = _displacement(ways.start, boxes)
    told = done & ~np.isnan(ways.before[:, 0])
    learned = learned.learn(ways.before[told], way[told], config.most)
    anew = done | returned
    start = np.where(anew[:, None], boxes[:, :2], ways.start)
    before = np.where(done[:, None], way, np.where(present[:, None], ways.before, np.nan))
    after = Displacements(start, before, np.where(anew, 0, age))
    return after, learned


def move_displacements(ways: Displacements, warp: Doubles) -> Displacements:
    """As the moved camera sees them. `warp` `[2, 3]` maps old pixels to new ones."""
    turn, scale = warp[:, :2], np.sqrt(abs(np.linalg.det(warp[:, :2])))
    return replace(
        ways, start=ways.start @ turn.T + warp[:, 2], before=ways.before @ (turn / scale).T
    )


def _displacement(start: Doubles, boxes: Doubles) -> Doubles:
    """From `start` to the centres of `boxes`, in lengths of the box, cut at one `[N, 2]`.

    So one box that the border of the image cuts flat does not outweigh everybody.
    """
    way = (boxes[:, :2] - start) / np.maximum(boxes[:, 2:].max(axis=1, keepdims=True), 1.0)
    return way / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1.0)
