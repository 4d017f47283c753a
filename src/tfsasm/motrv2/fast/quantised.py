"""Convolutions of bytes, by oneDNN.

What is unusual here: how large the inputs of a layer are is not learned from images. The batch
norms tell it, as they tell what rounding would do (`backbone.py`), so that the same weights are
always rounded in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from tfsasm.motrv2.fast import kernels
from tfsasm.motrv2.fast.amx import TiledLinear, takes_bytes
from tfsasm.motrv2.fast.precision import ActivationStatistics, mean_answer

SPREADS = 5.0
"""Standard deviations from the mean of a channel that bytes reach to; what is beyond is cut off."""

_LAST = 255


@dataclass(frozen=True)
class Scale:
    """What bytes stand for: `step * (byte - zero)`."""

    step: float
    zero: int

    @classmethod
    def of(cls, before: ActivationStatistics, activation: str) -> Scale:
        """Of numbers that are as `before` tells, and then go through `activation`."""
        reach = SPREADS * before.variance.sqrt()
        low, high = float((before.mean - reach).min()), float((before.mean + reach).max())
        if activation != "none":
            low, high = 0.0, max(high, 0.0)
        if activation == "relu6":
            high = min(high, 6.0)
        low, high = min(low, 0.0), max(high, 0.0)  # nothing is exactly 0
        step = max(high - low, 1e-12) / _LAST
        return cls(step, round(-low / step))

    def bytes_of(self, x: Tensor) -> Tensor:
        """Numbers `[B, C, H, W]` as bytes, channels last; by compiled kernels."""
        return kernels.to_bytes(x, 1 / self.step, self.zero)

    def numbers_of(self, x: Tensor) -> Tensor:
        """Bytes as float32 numbers."""
        return (x.float() - self.zero) * self.step


@dataclass(frozen=True)
class Inputs:
    """What is known of the inputs of a layer or block without an image."""

    given: ActivationStatistics
    scale: Scale
    """As bytes."""


IMAGES = Inputs(
    ActivationStatistics.of_images(), Scale.of(ActivationStatistics.of_images(), "none")
)
"""Normalised images; what takes them is never of bytes."""


def serves() -> bool:
    """Whether this PyTorch has oneDNN's convolutions of bytes, and numbers become bytes here."""
    return kernels.library() is not None and torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.onednn, name) for name in ("qconv2d_pointwise", "qconv_prepack")
    )


class QuantisedConv(nn.Module):
    """A convolution of bytes, channels last, with what follows it: a sum, an activation."""

    def __init__(
        self, conv: nn.Conv2d, weight: Tensor, bias: Tensor, given: Scale, gives: Scale | None,
        activation: str = "none",
    ) -> None:
        """Answers are bytes as `gives` tells, or float32 where that is None."""
        super().__init__()
        self.given, self.gives, self.activation = given, gives, activation
        padding = [int(side) for side in conv.padding]
        self.how = (list(conv.stride), padding, list(conv.dilation), conv.groups)
        steps = _steps(weight)
        self.scale = steps.flatten().float()
        self.whole = (weight / steps).round().to(torch.int8)
        self.zeros = torch.zeros(len(weight), dtype=torch.int64)
        self.bias = bias.float()
        self.tiled: TiledLinear | None = None  # where it can be a product that is added to a sum
        small = {*conv.kernel_size, *conv.stride, conv.groups} == {1} and given.zero == 0
        if small and gives is not None and takes_bytes(*self.whole.shape[:2]):
            tiles = self.whole.flatten(1)
            self.tiled = TiledLinear.of(tiles, self.scale * given.step, self.bias)
        self.packed: Tensor | None = None
        self.packed_for: torch.Size | None = None

    def forward(self, x: Tensor, skip: Tensor | None = None, beside: Scale | None = None) -> Tensor:
        """Bytes `[B, C, H, W]`, and `skip`, bytes as `beside` tells, added before the activation.

        `skip` is of the shape of the answer, which is written over it.
        """
        if skip is not None and self.tiled is not None and self.activation != "relu6":
            return self._added(x, skip, cast(Scale, beside))
        step, zero = self.given.step, self.given.zero
        if x.shape != self.packed_for:  # as in `PackedConv`
            self.packed = torch.ops.onednn.qconv_prepack(
                self.whole, self.scale, step, zero, *self.how, list(x.shape)
            )
            self.packed_for = x.shape
        out = (1.0, 0, torch.float32) if self.gives is None else (
            self.gives.step, self.gives.zero, torch.uint8
        )  # fmt: skip
        given = (x, step, zero, self.packed, self.scale, self.zeros)
        name, scalars = self.activation, []
        if name == "relu6":
            name, scalars = "hardtanh", [0.0, 6.0]
        if skip is None:
            return torch.ops.onednn.qconv2d_pointwise(
                *given, self.bias, *self.how, *out, name, scalars, ""
            )
        before = cast(Scale, beside)
        return torch.ops.onednn.qconv2d_pointwise.binary(
            *given, skip, self.bias, *self.how, *out, before.step, before.zero, "sum", 1.0, name,
            scalars, "",
        )  # fmt: skip

    def _added(self, x: Tensor, skip: Tensor, beside: Scale) -> Tensor:
        """By AMX, in less time than oneDNN takes for a sum of bytes."""
        x, total = (
            t.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1) for t in (x, skip)
        )
        gives, tiled = cast(Scale, self.gives), cast(TiledLinear, self.tiled)
        kernels.add_product(
            x.flatten(0, 2), tiled.pointers(), total.flatten(0, 2), (beside.step, beside.zero),
            (gives.step, gives.zero), self.activation == "relu",
        )  # fmt: skip
        return total.permute(0, 3, 1, 2)


def rounded(weight: Tensor) -> Tensor:
    """What the bytes of a weight `[O, C, k, k]` stand for."""
    steps = _steps(weight)
    return (weight / steps).round() * steps


def byte_noise(
    weight: Tensor, given: ActivationStatistics, scale: Scale, spread: Tensor
) -> float:
    """As `precision.rounding_noise`, for bytes; their errors are spread evenly over a step."""
    square = given.variance + given.mean**2
    of_inputs = mean_answer(weight**2, _like(given, torch.full_like(square, scale.step**2)))
    of_weights = mean_answer(_steps(weight).expand_as(weight) ** 2, _like(given, square))
    return float(((of_inputs + of_weights).sum() / 12 / (spread**2).sum()).sqrt())


def _steps(weight: Tensor) -> Tensor:
    """Of the bytes of each output channel, `[O, 1, 1, 1]`."""
    return weight.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-30) / 127


def _like(given: ActivationStatistics, mean: Tensor) -> ActivationStatistics:
    return ActivationStatistics(mean, given.variance)
