"""Summation in the order of the released code: matrix products to the last bit.

What is unusual here: the order of summation is part of the work. The golden vectors were made with
MKL on an Intel processor with AVX-512 and two threads. PyTorch takes MKL for matrix products, which
is slow on other processors. oneDNN sums each block of columns in the same order on any processor
with AVX-512, so with MKL's blocks the products of 16 rows and more agree to the last bit. Fewer
rows, and whatever oneDNN cannot do, are left to PyTorch.
"""

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_BLOCK = 384  # columns that MKL sums at a time

_FEW, _MANY = 16, 192  # rows from and up to which two threads take a half of the columns each

_SMALL_BLOCK = 256  # columns that they then sum at a time


class Linear(nn.Linear):
    """`nn.Linear`, by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """`[..., C]` to `[..., D]`."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`x` `[..., C]` times `weight` `[D, C]` transposed, plus `bias` `[D]`."""
    if not _serves(x, weight):
        return F.linear(x, weight, bias)
    rows, columns = x.numel() // x.shape[-1], x.shape[-1]
    if columns <= _BLOCK:
        return _product(x, weight, bias)
    if rows < _MANY:
        first, second = columns // 2, columns - columns // 2
        left = _blocks(x[..., :first], weight[:, :first], _SMALL_BLOCK)
        right = _blocks(x[..., -second:], weight[:, -second:], _SMALL_BLOCK)
        return reduce(torch.add, left, bias) + reduce(torch.add, right)
    return reduce(torch.add, _blocks(x, weight, _BLOCK), bias)


def products(x: Tensor, y: Tensor) -> Tensor:
    """`x` `[..., Q, C]` times `y` `[..., K, C]` transposed, matrix by matrix: `[..., Q, K]`."""
    if not x.numel() or not _serves(x.flatten(0, -3)[0], y):
        return x @ y.transpose(-1, -2)
    pairs = zip(x.flatten(0, -3), y.flatten(0, -3), strict=True)
    found = torch.stack([_product(a.contiguous(), b.contiguous(), None) for a, b in pairs])
    return found.unflatten(0, x.shape[:-2])


def _serves(x: Tensor, weight: Tensor) -> bool:
    if torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False  # before any look at sizes, which may be free
    plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_grad_enabled()
    several = x.numel() >= _FEW * x.shape[-1] and weight.shape[-2] > 1
    return plain and several and torch.backends.mkldnn.is_available()


def _blocks(x: Tensor, weight: Tensor, size: int) -> list[Tensor]:
    return [
        _product(part.contiguous(), columns.contiguous(), None)
        for part, columns in zip(x.split(size, -1), weight.split(size, 1), strict=True)
    ]


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
