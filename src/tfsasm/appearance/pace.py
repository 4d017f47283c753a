"""How people move here: learned while tracking, from tracks that were seen all along.

What is unusual here: nothing says beforehand whether people walk or dance. The way of each track
over some frames is compared with its way over as many frames before. Pedestrians go on as they
went; dancers swing back. So a track that was lost is expected where it was going or where it was
last seen, as far as this video has shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tfsasm.appearance.arrays import Arrays, Doubles, Flags, Integers


@dataclass(frozen=True)
class PaceConfig:
    """How persistence is learned."""

    frames: int = 10
    """Over so many frames ways are compared. By judgement: gaps are about that long."""
    fewest: float = 20.0
    """Pairs of ways that must have been seen; before, everybody goes on as he went. By judgement.
    """
    most: float = 1000.0
    """Pairs that are remembered; older ones fade. By judgement."""


@dataclass(frozen=True)
class Ways(Arrays):
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


def begin(centres: Doubles) -> Ways:
    """Tracks that begin at `centres` `[N, 2]`."""
    return Ways(centres, np.full_like(centres, np.nan), np.zeros(len(centres), dtype=np.int64))


def advance(
    ways: Ways, boxes: Doubles, present: Flags, returned: Flags, learned: Persistence,
    config: PaceConfig,
) -> tuple[Ways, Persistence]:
    """One frame more, with the centred `boxes` `[N, 4]` of those tracks that are `present`.

    Whoever was missed begins a new way when he has `returned`.
    """
    age = ways.age + 1
    done = present & ~returned & (age >= config.frames)
    way = _way(ways.start, boxes)
    told = done & ~np.isnan(ways.before[:, 0])
    learned = learned.learn(ways.before[told], way[told], config.most)
    anew = done | returned
    start = np.where(anew[:, None], boxes[:, :2], ways.start)
    before = np.where(done[:, None], way, np.where(present[:, None], ways.before, np.nan))
    after = Ways(start, before, np.where(anew, 0, age))
    return after, learned


def move(ways: Ways, warp: Doubles) -> Ways:
    """As the moved camera sees them. `warp` `[2, 3]` maps old pixels to new ones."""
    turn, scale = warp[:, :2], np.sqrt(abs(np.linalg.det(warp[:, :2])))
    return replace(
        ways, start=ways.start @ turn.T + warp[:, 2], before=ways.before @ (turn / scale).T
    )


def _way(start: Doubles, boxes: Doubles) -> Doubles:
    """From `start` to the centres of `boxes`, in lengths of the box, cut at one `[N, 2]`.

    So one box that the border of the image cuts flat does not outweigh everybody.
    """
    way = (boxes[:, :2] - start) / np.maximum(boxes[:, 2:].max(axis=1, keepdims=True), 1.0)
    return way / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1.0)
