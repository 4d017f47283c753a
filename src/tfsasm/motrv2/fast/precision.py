"""The precision of each part of the network, and what rounding does to a convolution."""

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


@dataclass(frozen=True)
class ActivationStatistics:
    """Mean and variance of each channel, as if channels were normal and independent."""

    mean: Tensor
    """`[C]`."""
    variance: Tensor
    """`[C]`."""

    @classmethod
    def of_images(cls) -> ActivationStatistics:
        """Statistics of normalised RGB images."""
        return cls(torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64))

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


def mean_answer(weight: Tensor, given: ActivationStatistics) -> Tensor:
    """Mean answer `[O]` of a convolution of `weight` `[O, C / groups, k, k]` without bias.

    Of the rounding error of the weights, it is the part for which a bias can make up.
    """
    return _by_channel(weight, given.mean)


def rounding_noise(
    weight: Tensor, given: ActivationStatistics, spread: Tensor, dtype: torch.dtype
) -> float:
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
