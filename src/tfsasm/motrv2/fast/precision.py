"""The precision of each part of the network, and what rounding does to a convolution.

What is unusual here: how large the inputs of a convolution are is not learned from images. The
batch norms tell it, so the same weights are always rounded in the same way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from tfsasm.errors import InputError
from tfsasm.motrv2.fast import kernels

KINDS = {
    "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.int8
}  # fmt: skip
"""What users call them."""


@dataclass(frozen=True)
class Precision:
    """The dtype that convolutions and matrix products of each part take and give."""

    backbone: torch.dtype = torch.float32
    """Blocks that rounding would spoil stay float32; see `FusedBackbone`."""
    encoder: torch.dtype = torch.float32
    decoder: torch.dtype = torch.float32
    """The values of its tokens; its queries stay float32. Never int8, since they are few."""


_PARTS = [field.name for field in fields(Precision)]


def parse_precision(text: str, device: str = "cpu") -> Precision:
    """What `text` asks for: a kind for all parts, or `backbone=bf16,decoder=bf16`.

    `auto` is fp32, and so is a part that is not named. `int8` for all is bf16 in the decoder.
    Raises `InputError` for anything else, and for what this type of device, or this processor,
    cannot do.
    """
    known, parts = ", ".join(KINDS), dict[str, torch.dtype]()
    if text == "auto":
        return Precision()
    if "=" not in text and text not in KINDS:
        raise InputError(
            f"precision is one of auto, {known}, not {text!r}; or for single parts, such as "
            "backbone=bf16,encoder=fp32"
        )
    whole = "backbone=int8,encoder=int8,decoder=bf16" if text == "int8" else text
    pieces = whole.split(",") if "=" in whole else [f"{part}={text}" for part in _PARTS]
    for piece in pieces:
        name, _, kind = piece.strip().partition("=")
        if name not in _PARTS:
            raise InputError(f"precision has the parts {', '.join(_PARTS)}, not {name!r}")
        if name in parts:
            raise InputError(f"precision names the {name} twice: {text!r}")
        if kind not in KINDS:
            raise InputError(f"precision of the {name} is one of {known}, not {kind!r}")
        parts[name] = KINDS[kind]
    if parts.get("decoder") == torch.int8:
        raise InputError("int8 is for the backbone and the encoder; take bf16 for the decoder")
    if torch.int8 in parts.values() and (device != "cpu" or not kernels.has_amx()):
        raise InputError("int8 needs a processor with AMX, Linux and tfsasm's compiled kernels; "
                         "take bf16 or fp32")  # fmt: skip
    if torch.float16 in parts.values() and device == "cpu":
        raise InputError("fp16 is for GPUs; on a CPU take bf16 or fp32")
    if device == "mps" and {*parts.values()} - {torch.float32}:
        raise InputError("on mps nothing but fp32 is taken; nothing has run there yet")
    return Precision(**parts)


_USUAL = math.sqrt(0.75 / (3 * math.log(4)))
"""Root mean square of a rounding error, in halves of the last place of a number, over numbers whose
leading digits are spread as they usually are."""

SPREADS = 5.0
"""Standard deviations from the mean of a channel that bytes reach to; what is beyond is cut off."""


@dataclass(frozen=True)
class ActivationStatistics:
    """Mean and variance of each channel, as if channels were normal and independent."""

    mean: Tensor
    """`[C]`."""
    variance: Tensor
    """`[C]`."""

    def __add__(self, other: ActivationStatistics) -> ActivationStatistics:
        """Statistics of a sum."""
        return ActivationStatistics(self.mean + other.mean, self.variance + other.variance)

    def after(self, activation: str) -> ActivationStatistics:
        """Statistics after `none`, `relu` or `relu6`."""
        if activation == "none":
            return self
        mean, square = _above(self.mean, self.variance)
        if activation == "relu6":  # relu(x) - relu(x - 6)
            over, over_square = _above(self.mean - 6, self.variance)
            mean, square = mean - over, square - over_square - 12 * over
        return ActivationStatistics(mean, (square - mean**2).clamp(min=0))


def _above(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and mean square of a normal number's positive part."""
    spread = variance.sqrt().clamp(min=1e-12)
    share = 0.5 * (1 + torch.erf(mean / spread / math.sqrt(2)))
    density = torch.exp(-0.5 * (mean / spread) ** 2) / math.sqrt(2 * math.pi)
    first = mean * share + spread * density
    return first, (mean**2 + spread**2) * share + mean * spread * density


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
        step = max(high - low, 1e-12) / 255
        return cls(step, round(-low / step))

    def bytes_of(self, x: Tensor) -> Tensor:
        """Numbers `[B, C, H, W]` as bytes, channels last; by compiled kernels."""
        return kernels.to_bytes(x, 1 / self.step, self.zero)

    def numbers_of(self, x: Tensor) -> Tensor:
        """Bytes as float32 numbers."""
        return (x.float() - self.zero) * self.step


@dataclass(frozen=True)
class Inputs:
    """What is known of the inputs of a layer or block without an image: they come from another."""

    given: ActivationStatistics
    scale: Scale
    """As bytes."""

    @classmethod
    def of(cls, before: ActivationStatistics, activation: str = "none") -> Inputs:
        """Answers as an `activation` finds them, after it."""
        return cls(before.after(activation), Scale.of(before, activation))


IMAGES = Inputs.of(ActivationStatistics(torch.zeros(3).double(), torch.ones(3).double()))
"""Normalised images; what takes them is never of bytes."""


def rounding_noise(weight: Tensor, inputs: Inputs, spread: Tensor, dtype: torch.dtype) -> float:
    """How far rounding of weights and inputs moves the answers, relative to their `spread` `[O]`.

    Some thousandths are usual with bfloat16. It is much where large terms cancel: where inputs vary
    little about a large mean, or weights are large to make the most of next to nothing.
    """
    square = inputs.given.variance + inputs.given.mean**2
    if dtype == torch.int8:  # errors are spread evenly over a step
        of_inputs = torch.full_like(square, inputs.scale.step**2 / 12)
        of_weights = byte_steps(weight).expand_as(weight) ** 2 / 12
    else:
        error = (_USUAL * torch.finfo(dtype).eps / 2) ** 2
        of_inputs, of_weights = error * square, error * weight**2
    noise = mean_answer(weight**2, of_inputs) + mean_answer(of_weights, square)
    return float((noise.sum() / (spread**2).sum()).sqrt())


def rounded(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """What a weight `[O, C, k, k]` in `dtype` stands for, float64."""
    if dtype == torch.int8:
        steps = byte_steps(weight)
        return (weight / steps).round() * steps
    return weight.to(dtype).double()


def byte_steps(weight: Tensor) -> Tensor:
    """Of the bytes of each output channel, `[O, 1, 1, 1]`."""
    return weight.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-30) / 127


def mean_answer(weight: Tensor, mean: Tensor) -> Tensor:
    """Mean answer `[O]` of a convolution of `weight` `[O, C / groups, k, k]` without bias.

    Its inputs have a `mean` `[C]`. Of the rounding error of the weights, it is the part for which a
    bias can make up.
    """
    taps = weight.sum((2, 3))
    groups = len(mean) // taps.shape[1]
    each = mean.view(groups, 1, -1)  # of a group: all its outputs have the same inputs
    return (taps.view(groups, -1, taps.shape[1]) * each).sum(-1).flatten()
