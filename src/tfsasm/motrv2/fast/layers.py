"""Linear layers and convolutions with weights packed once for oneDNN, activations fused in.

Unusual here: PyTorch calls one library for a matrix product and another for a convolution, and
asks each of them to rearrange the weights every time. On many processors oneDNN is the faster of
the two, and faster still with weights in its own order. Where its operators are missing, PyTorch's
ordinary ones do the same.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfsasm.motrv2.fast import kernels

_ROWS = 2048  # for which the order of the weights is chosen; any number works

_ACTIVATIONS = {
    "none": lambda x: x, "relu": torch.relu_, "relu6": lambda x: x.clamp_(0, 6)
}  # fmt: skip


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
        self.padding = [int(side) for side in conv.padding]
        self.stride, self.dilation = list(conv.stride), list(conv.dilation)
        self.groups = conv.groups
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
            y = F.conv2d(
                x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
            )
            return _ACTIVATIONS[self.activation](y if skip is None else y.add_(skip))
        how = (self.padding, self.stride, self.dilation, self.groups)
        if x.shape != self.packed_for:  # the best order depends on it, another costs time each call
            plain = self.weight.to_dense() if self.weight.is_mkldnn else self.weight
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(plain, *how, list(x.shape))
            self.packed_for = x.shape
        name: str | None = self.activation
        scalars: list[float] = []
        if name == "relu6":
            name, scalars = "hardtanh", [0.0, 6.0]
        if skip is None:
            return torch.ops.mkldnn._convolution_pointwise(
                x, self.weight, self.bias, *how, name, scalars, ""
            )
        return torch.ops.mkldnn._convolution_pointwise_.binary(
            skip, x, self.weight, self.bias.to(x.dtype), *how, "add", 1.0,
            None if name == "none" else name, scalars, None,
        )  # fmt: skip


def max_pool(x: Tensor) -> Tensor:
    """The largest of 3 x 3 pixels around every second one of each line, `[B, C, H, W]`."""
    if kernels.serves(x, 1) and x.dtype != torch.float64:
        return kernels.max_pool(x)
    return F.max_pool2d(x, 3, 2, 1)
