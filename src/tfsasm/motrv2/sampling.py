"""Bilinear sampling of feature levels, in PyTorch's own operations (SPEC 4.1).

`plain` is the reference; `level_by_level` is for exported graphs; `gather` is for running where no
compiled kernel is. All take a `value` `[B, S, M, D]` that holds all levels one behind the other,
S = sum of h*w; `locations` `[B, Q, M, L, K, 2]`, (x, y) in [0, 1] of each level, outside of which
everything is zero; `weights` `[B, Q, M, L, K]`; and return the weighted sums `[B, Q, M * D]`.
"""

import os
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from tfsasm.errors import InputError
from tfsasm.motrv2.fast import kernels
from tfsasm.motrv2.fast.kernels import Shapes
from tfsasm.pytorch import constants

Kernel = Callable[[Tensor, Shapes, Tensor, Tensor], Tensor]

ENVIRONMENT = "TFSASM_SAMPLING"
"""Environment variable that names the kernel: auto (default), native, gather, plain or triton."""

_SLICE = 4096  # queries that `plain` answers at a time


def wanted_kernel() -> str:
    """What `TFSASM_SAMPLING` says. Raises `InputError` for what is unknown or not there."""
    wanted = os.environ.get(ENVIRONMENT, "auto")
    if wanted not in ("auto", "native", "gather", "plain", "triton"):
        raise InputError(f"{ENVIRONMENT} is auto, native, gather, plain or triton, not {wanted!r}")
    if wanted == "native" and kernels.library() is None:
        raise InputError(f"{ENVIRONMENT}=native needs tfsasm built where a C++ compiler is")
    return wanted


def level_sizes(shapes: Shapes, like: Tensor) -> Tensor:
    """Width and height of each level `[L, 2]`."""
    return constants([side for h, w in shapes for side in (w, h)], like).view(-1, 2)


def plain(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """By `grid_sample`; the products of a query are summed all at once.

    So does the released code, to the last bit. Queries go by in slices, for the memory.
    """
    batch, _, heads, width = value.shape
    maps = [
        flat.permute(0, 2, 3, 1).reshape(batch * heads, width, h, w)
        for flat, (h, w) in zip(value.split([h * w for h, w in shapes], 1), shapes, strict=True)
    ]
    parts = [
        _plain_slice(maps, *part)
        for part in zip(locations.split(_SLICE, 1), weights.split(_SLICE, 1), strict=True)
    ]
    return torch.cat(parts, -1).unflatten(0, (batch, heads)).flatten(1, 2).transpose(1, 2)


def _plain_slice(maps: list[Tensor], locations: Tensor, weights: Tensor) -> Tensor:
    """Sums `[B * M, D, Q]` from the `maps` `[B * M, D, h, w]` of the levels."""
    grids = (2 * locations - 1).transpose(1, 2).flatten(0, 1)  # [B*M, Q, L, K, 2]
    seen = [
        F.grid_sample(level, grids[:, :, i], padding_mode="zeros", align_corners=False)
        for i, level in enumerate(maps)
    ]
    share = weights.transpose(1, 2).flatten(0, 1).flatten(2)[:, None]  # [B*M, 1, Q, L*K]
    return (torch.stack(seen, -2).flatten(-2) * share).sum(-1)


def level_by_level(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """For graphs, where sizes are free: `plain` without slices, which would be fixed."""
    batch, _, heads, width = value.shape
    grids = 2 * locations - 1
    levels = value.split([h * w for h, w in shapes], dim=1)
    total = value.new_zeros(())
    for level, (flat, (h, w)) in enumerate(zip(levels, shapes, strict=True)):
        maps = flat.permute(0, 2, 3, 1).reshape(batch * heads, width, h, w)
        grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)  # [B*M, Q, K, 2]
        share = weights[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]  # [B*M, 1, Q, K]
        seen = F.grid_sample(maps, grid, padding_mode="zeros", align_corners=False)
        total = total + (seen * share).sum(-1)
    return total.view(batch, heads * width, -1).transpose(1, 2)


def gather(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """As a weighted sum of rows per query and head: half the time, without a gradient."""
    batch, tokens, heads, width = value.shape
    head = torch.arange(heads, device=value.device)[:, None]
    offset = (torch.arange(batch, device=value.device) * tokens).view(-1, 1, 1, 1)
    rows, shares, start = [], [], 0
    for level, (h, w) in enumerate(shapes):
        x, y = (locations[:, :, :, level] * value.new_tensor([w, h]) - 0.5).unbind(-1)
        left, top = x.floor(), y.floor()
        for column, near_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            for row, near_y in ((top, 1 - (y - top)), (top + 1, y - top)):
                inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
                share = near_x * near_y * weights[:, :, :, level]
                place = (row.clamp(0, h - 1) * w + column.clamp(0, w - 1)).long()
                rows.append((place + start + offset) * heads + head)
                shares.append(torch.where(inside, share, 0.0))
        start += h * w
    queries = locations.shape[1]
    total = F.embedding_bag(
        torch.cat(rows, -1).flatten(0, 2), value.reshape(-1, width), mode="sum",
        per_sample_weights=torch.cat(shares, -1).flatten(0, 2),
    )  # fmt: skip
    return total.view(batch, queries, heads * width)
