"""What a convolution is likely to be given, as the batch norms before it tell.

A frozen batch norm knows the mean and the spread of what leaves it, for it sets them. So it is
known without a single picture how large the inputs of the next convolution are, and from that what
rounding its weights and inputs does to its answers (after arXiv 1906.04721).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_USUAL = math.sqrt(0.75 / (3 * math.log(4)))
"""Root mean square of a rounding error, in halves of the last place of a number, over numbers whose
leading digits are spread as they usually are."""


@dataclass(frozen=True)
class Moments:
    """Of each channel, as if it were normal and channels knew nothing of one another."""

    mean: Tensor
    """`[C]`."""
    variance: Tensor
    """`[C]`."""

    @classmethod
    def of_images(cls) -> Moments:
        """Of normalised RGB."""
        return cls(torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64))

    def __add__(self, other: Moments) -> Moments:
        """Of a sum."""
        return Moments(self.mean + other.mean, self.variance + other.variance)

    def after(self, activation: str) -> Moments:
        """Behind `none`, `relu` or `relu6`."""
        if activation == "none":
            return self
        mean, square = _above(self.mean, self.variance)
        if activation == "relu6":  # relu(x) - relu(x - 6)
            over, over_square = _above(self.mean - 6, self.variance)
            mean, square = mean - over, square - over_square - 12 * over
        return Moments(mean, (square - mean**2).clamp(min=0))


def _above(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and mean square of a normal number's positive part."""
    spread = variance.sqrt().clamp(min=1e-12)
    share = 0.5 * (1 + torch.erf(mean / spread / math.sqrt(2)))
    density = torch.exp(-0.5 * (mean / spread) ** 2) / math.sqrt(2 * math.pi)
    first = mean * share + spread * density
    return first, (mean**2 + spread**2) * share + mean * spread * density


def mean_answer(weight: Tensor, given: Moments) -> Tensor:
    """Mean answer `[O]` of a convolution of `weight` `[O, C / groups, k, k]` without bias.

    Of a rounding error of the weights it is what a bias can take back.
    """
    return _by_channel(weight, given.mean)


def rounding_noise(weight: Tensor, given: Moments, spread: Tensor, dtype: torch.dtype) -> float:
    """How far rounding of weights and inputs moves the answers, relative to their `spread` `[O]`.

    Some thousandths are usual with bfloat16. It is much where large terms cancel: where inputs vary
    little about a large mean, or weights are large to make the most of next to nothing.
    """
    square = given.variance + given.mean**2
    error = _USUAL * torch.finfo(dtype).eps / 2
    noise = 2 * error**2 * _by_channel(weight**2, square).sum()
    return float((noise / (spread**2).sum()).sqrt())


def _by_channel(weight: Tensor, inputs: Tensor) -> Tensor:
    """Sums `[O]` of each output channel's weights times its inputs `[C]`, the same everywhere."""
    taps = weight.sum((2, 3))
    groups = len(inputs) // taps.shape[1]
    each = inputs.view(groups, 1, -1)  # of a group: all its outputs have the same inputs
    return (taps.view(groups, -1, taps.shape[1]) * each).sum(-1).flatten()
