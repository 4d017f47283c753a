"""Linear layers and convolutions with weights packed once for oneDNN, activations fused in.

Unusual here: PyTorch calls one library for a matrix product and another for a convolution, and
asks each of them to rearrange the weights every time. On many processors oneDNN is the faster of
the two, and faster still with weights in its own order. Where its operators are missing, PyTorch's
ordinary ones do the same; not for bytes.
"""

import ctypes
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfsasm.motrv2.fast import kernels
from tfsasm.motrv2.fast.amx import TiledLinear, takes_bytes
from tfsasm.motrv2.fast.precision import Scale, byte_steps

_ROWS = 2048  # for which the order of the weights is chosen; any number works

_ACTIVATIONS = {
    "none": lambda x: x, "relu": torch.relu_, "relu6": lambda x: x.clamp_(0, 6)
}  # fmt: skip

_NAMES: dict[str, tuple[str, list[float]]] = {
    "none": ("none", []), "relu": ("relu", []), "relu6": ("hardtanh", [0.0, 6.0])
}  # fmt: skip
"""Of activations in oneDNN, with their numbers."""


def packs(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether oneDNN's own operators are there for tensors of this kind."""
    return (
        device.type == "cpu" and dtype in (torch.float32, torch.bfloat16)
        and torch.backends.mkldnn.is_available()
        and all(hasattr(torch.ops.mkldnn, name) for name in (
            "_linear_pointwise", "_reorder_linear_weight",
            "_convolution_pointwise", "_reorder_convolution_weight",
        ))
        and (dtype == torch.float32 or _packs_bfloat16())
    )  # fmt: skip


@cache
def _packs_bfloat16() -> bool:
    """Whether this processor's oneDNN has it; without AVX-512 it has not."""
    try:
        torch.ops.mkldnn._reorder_linear_weight(torch.zeros(16, 16, dtype=torch.bfloat16), 16)
    except RuntimeError:
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class PackedLinear(nn.Module):
    """A linear layer of `dtype`, for running only."""

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.packed = packs(dtype, weight.device)
        self.bias = bias.detach().to(torch.float32 if self.packed else dtype)
        self.weight = weight.detach().to(dtype).contiguous()
        if self.packed:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight, _ROWS)

    def forward(self, x: Tensor, activation: str = "none") -> Tensor:
        """`[..., K]` of this dtype to `[..., O]`; `activation` is none or relu."""
        if self.packed:
            return torch.ops.mkldnn._linear_pointwise(
                x, self.weight, self.bias, activation, [], ""
            )
        return _ACTIVATIONS[activation](F.linear(x, self.weight, self.bias))


class PackedConv(nn.Module):
    """A convolution of `dtype`, channels last, with what follows it: a sum, an activation."""

    def __init__(
        self, conv: nn.Conv2d, weight: Tensor, bias: Tensor, dtype: torch.dtype, activation: str
    ) -> None:
        super().__init__()
        self.dtype, self.activation = dtype, activation
        self.how = _sizes(conv)
        self.weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
        self.packs = packs(dtype, weight.device)
        self.bias = bias.to(torch.float32 if self.packs else dtype)
        self.packed_for: torch.Size | None = None

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """`[B, C, H, W]`, and `skip` of the shape and dtype of the answer, added before activation.

        `skip` is used up: the answer may be written over it.
        """
        x = x.to(self.dtype)
        if not self.packs:
            y = F.conv2d(x, self.weight, self.bias, *self.how)
            return _ACTIVATIONS[self.activation](y if skip is None else y.add_(skip))
        stride, padding, *others = self.how
        how = padding, stride, *others
        if x.shape != self.packed_for:  # the best order depends on it, another costs time each call
            plain = self.weight.to_dense() if self.weight.is_mkldnn else self.weight
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(plain, *how, list(x.shape))
            self.packed_for = x.shape
        name, scalars = _NAMES[self.activation]
        if skip is None:
            return torch.ops.mkldnn._convolution_pointwise(
                x, self.weight, self.bias, *how, name, scalars, ""
            )
        return torch.ops.mkldnn._convolution_pointwise_.binary(
            skip, x, self.weight, self.bias.to(x.dtype), *how, "add", 1.0,
            None if name == "none" else name, scalars, None,
        )  # fmt: skip


class QuantisedConv(nn.Module):
    """As `PackedConv`, of bytes."""

    def __init__(
        self, conv: nn.Conv2d, weight: Tensor, bias: Tensor, given: Scale, gives: Scale | None,
        activation: str = "none", beside: Scale | None = None,
    ) -> None:
        """Answers are bytes as `gives` tells, or float32 where that is None.

        What is added to them is bytes as `beside` tells.
        """
        super().__init__()
        self.given, self.gives, self.beside, self.activation = given, gives, beside, activation
        self.how = _sizes(conv)
        steps = byte_steps(weight)
        self.scale = steps.flatten().float()
        self.whole = (weight / steps).round().to(torch.int8)
        self.zeros = torch.zeros(len(weight), dtype=torch.int64)
        self.bias = bias.float()
        self.tiled: TiledLinear | None = None  # where it can be a product that is added to a sum
        small = {*conv.kernel_size, *conv.stride, conv.groups} == {1} and given.zero == 0
        if small and activation != "relu6" and takes_bytes(*self.whole.shape[:2]):
            tiles = self.whole.flatten(1)
            self.tiled = TiledLinear.of(tiles, self.scale * given.step, self.bias)
        self.packed: Tensor | None = None
        self.packed_for: torch.Size | None = None

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """Bytes `[B, C, H, W]`, and `skip`, bytes of the shape of the answer, added before
        activation. The answer is written over it.
        """
        gives, beside = self.gives, self.beside
        if skip is not None and gives and beside and self.tiled:
            return _added(x, self.tiled, skip, beside, gives, self.activation)
        step, zero = self.given.step, self.given.zero
        if x.shape != self.packed_for:  # as in `PackedConv`
            self.packed = torch.ops.onednn.qconv_prepack(
                self.whole, self.scale, step, zero, *self.how, list(x.shape)
            )
            self.packed_for = x.shape
        out = (gives.step, gives.zero, torch.uint8) if gives else (1.0, 0, torch.float32)
        given = (x, step, zero, self.packed, self.scale, self.zeros)
        after = *_NAMES[self.activation], ""
        if skip is None or beside is None:
            return torch.ops.onednn.qconv2d_pointwise(*given, self.bias, *self.how, *out, *after)
        return torch.ops.onednn.qconv2d_pointwise.binary(
            *given, skip, self.bias, *self.how, *out, beside.step, beside.zero, "sum", 1.0, *after
        )


def _added(
    x: Tensor, layer: TiledLinear, skip: Tensor, beside: Scale, gives: Scale, activation: str
) -> Tensor:
    """A product of bytes added to those of `skip`, by AMX: in less time than oneDNN takes."""
    x, total = (
        t.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1) for t in (x, skip)
    )
    rows, sums = x.flatten(0, 2), total.flatten(0, 2)
    kernels.run(
        "add_product", rows, ctypes.byref(layer.pointers()), sums, *rows.shape, sums.shape[1],
        beside.step, float(beside.zero), 1 / gives.step, float(gives.zero), activation == "relu",
        amx=True,
    )  # fmt: skip
    return total.permute(0, 3, 1, 2)


def _sizes(conv: nn.Conv2d) -> tuple[list[int], list[int], list[int], int]:
    """Stride, padding, dilation and groups."""
    padding = [int(side) for side in conv.padding]
    return list(conv.stride), padding, list(conv.dilation), conv.groups


def max_pool(x: Tensor) -> Tensor:
    """The largest of 3 x 3 pixels around every second one of each line, `[B, C, H, W]`."""
    if kernels.serves(x, 1) and x.dtype != torch.float64:
        return kernels.max_pool(x)
    return F.max_pool2d(x, 3, 2, 1)
