"""How much looks can tell here: learned while tracking, from pairs that motion is sure of.

What is unusual here: no threshold belongs to an embedder. Distances of tracks to their own next
view, and to the other people in the same frame, are collected as they come. Where the two differ
the looks count, on a scale from 0 (as like as oneself) to 1 (as unlike as the others); where they
do not, in front of look-alikes or with an embedding that is no good, they are left out, and motion
decides alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from tfsasm.appearance.arrays import Doubles


@dataclass(frozen=True)
class Spread:
    """Count, mean and variance of a stream of numbers, of which the old ones fade."""

    count: float = 0.0
    mean: float = 0.0
    variance: float = 0.0

    def __add__(self, values: Doubles) -> Spread:
        """With `values` `[K]` more."""
        if not len(values):
            return self
        more, count = len(values), self.count + len(values)
        shift = float(values.mean()) - self.mean
        total = self.variance * self.count + float(values.var()) * more
        return Spread(
            count, self.mean + shift * more / count,
            (total + shift**2 * self.count * more / count) / count,
        )

    def faded(self, most: float) -> Spread:
        """The same, with the weight of at most so many numbers."""
        return replace(self, count=min(self.count, most))


@dataclass(frozen=True)
class Evidence:
    """Distances seen so far."""

    same: Spread = field(default_factory=Spread)
    """Of tracks to their own next view."""
    other: Spread = field(default_factory=Spread)
    """Of tracks to the other people of a frame."""

    def learn(self, same: Doubles, other: Doubles, most: float) -> Evidence:
        """With the distances of one more frame."""
        return Evidence((self.same + same).faded(most), (self.other + other).faded(most))

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
