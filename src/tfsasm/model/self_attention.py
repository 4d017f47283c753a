"""Attention of a few queries among themselves (SPEC 4.4, 6.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tfsasm.model.linear import Linear, linear, products


class SelfAttention(nn.Module):
    """Standard multi-head attention, its parameters named as in `nn.MultiheadAttention`.

    Written out, since PyTorch's fused attention sums in another order than the released code.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, placed: Tensor, value: Tensor, forbidden: Tensor | None = None) -> Tensor:
        """Queries and keys `placed` `[B, Q, C]` and `value` alike to `[B, Q, C]`.

        `forbidden` `[Q, Q]`: row may not look at column.
        """
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (
            linear(x, weight, bias).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x, weight, bias in zip((placed, placed, value), weights, biases, strict=True)
        )
        likeness = products(q * math.sqrt(1 / q.shape[-1]), k)
        if forbidden is not None:
            likeness = likeness.masked_fill(forbidden, -math.inf)
        seen = products(likeness.softmax(-1), v.transpose(-1, -2))
        return self.out_proj(seen.transpose(1, 2).flatten(2))
