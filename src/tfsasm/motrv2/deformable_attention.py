"""Multi-scale deformable attention (Deformable DETR, arXiv 2010.04159; SPEC 4.1).

What is unusual here: the one seam for a faster kernel is `sampling.sample`; everything before and
after it is matrix products.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfsasm.errors import InputError
from tfsasm.motrv2.exact import Linear
from tfsasm.motrv2.fast import kernels
from tfsasm.motrv2.fast.kernels import Shapes


class DeformableAttention(nn.Module):
    """Each query looks at a few learned points per head and level instead of everywhere."""

    def __init__(self, width: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = Linear(width, heads * levels * points * 2)
        self.attention_weights = Linear(width, heads * levels * points)
        self.value_proj = Linear(width, width)
        self.output_proj = Linear(width, width)
        self.sample: Kernel = sample
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Points start on a star around the reference, equally weighted (SPEC 4.1)."""
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        star = torch.stack([angle.cos(), angle.sin()], dim=-1)
        star = star / star.abs().amax(dim=-1, keepdim=True)
        reach = torch.arange(1, self.points + 1).view(1, 1, -1, 1)
        bias = star[:, None, None] * reach.expand(1, self.levels, -1, 1)
        nn.init.zeros_(self.sampling_offsets.weight)
        self.sampling_offsets.bias.copy_(bias.reshape(-1))
        for part in (self.attention_weights.weight, self.attention_weights.bias):
            nn.init.zeros_(part)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, query: Tensor, source: Tensor, shapes: Shapes, reference: Tensor,
        padding: Tensor | None = None,
    ) -> Tensor:
        """Attend from `query` `[B, Q, C]` to `source` `[B, S, C]`; returns `[B, Q, C]`.

        `reference` is `[B, Q, L, 2]` points or `[B, Q, L, 4]` boxes (cxcywh), in [0, 1] of each
        level. `padding` `[B, S]` is True where the source is to be ignored.
        """
        value = self.project_value(source, padding)
        return self.attend(query, value, shapes, reference)

    def project_value(self, source: Tensor, padding: Tensor | None = None) -> Tensor:
        """Values `[B, S, M, D]` of `source` `[B, S, C]`, zero where padded."""
        value = self.value_proj(source)
        if padding is not None:
            value = value.masked_fill(padding[..., None], 0.0)
        return value.unflatten(-1, (self.heads, -1))

    def attend(self, query: Tensor, value: Tensor, shapes: Shapes, reference: Tensor) -> Tensor:
        """The part that depends on the query; `value` comes from `project_value`."""
        grid = (self.heads, self.levels, self.points)
        offsets = self.sampling_offsets(query).unflatten(-1, (*grid, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.heads, -1)).softmax(-1)
        locations = sampling_locations(offsets, shapes, reference, self.points)
        weights = weights.unflatten(-1, grid[1:])
        return self.output_proj(self.sample(value, shapes, locations, weights))


def sample_by(kernel: Kernel, model: nn.Module) -> None:
    """Have all deformable attention inside `model` sample by this kernel, whatever is quickest."""
    for module in model.modules():
        if isinstance(module, DeformableAttention):
            module.sample = kernel


def sampling_locations(offsets: Tensor, shapes: Shapes, reference: Tensor, points: int) -> Tensor:
    """Places `[..., Q, M, L, K, 2]` in [0, 1] of each level, of which `points` = K.

    `offsets` are of that shape: in pixels of the level about a reference point `[..., Q, L, 2]`, in
    half boxes shared among the points about a reference box `[..., Q, L, 4]`.
    """
    anchor = reference[..., None, :, None, :]
    if reference.shape[-1] == 2:
        return anchor + offsets / level_sizes(shapes, offsets)[:, None]
    return anchor[..., :2] + offsets / points * anchor[..., 2:] * 0.5

_SLICE = 4096  # queries that `plain` answers at a time

_LARGE = 10_000  # tokens from which on compiled kernels save much; the published network has 23,674

Kernel = Callable[[Tensor, Shapes, Tensor, Tensor], Tensor]

ENVIRONMENT = "TFSASM_SAMPLING"
"""Environment variable that names the kernel: auto (default), native, fused, gather or plain."""


def level_sizes(shapes: Shapes, like: Tensor) -> Tensor:
    """Width and height of each level `[L, 2]`. Sizes that are free in an exported graph stay so."""
    sides = [like.new_full((), side) for h, w in shapes for side in (w, h)]
    return torch.stack(sides).view(-1, 2)


def sample(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Sum of bilinear samples of `value`, weighted.

    `value` `[B, S, M, D]` holds all levels one behind the other, S = sum of h*w; `locations`
    `[B, Q, M, L, K, 2]` are (x, y) in [0, 1] of each level, outside counts as zero; `weights`
    `[B, Q, M, L, K]`. Returns `[B, Q, M * D]`.
    """
    points = weights.shape[3] * weights.shape[4]
    return _kernel(value, points)(value, shapes, locations, weights)


def _kernel(value: Tensor, points: int) -> Kernel:
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or value.device.type != "cpu":
        return plain
    asked = _asked()
    if asked == "plain":
        return plain
    if asked in ("auto", "native") and kernels.serves(value, points):
        running = not torch.is_grad_enabled() and _has_order(value, points)
        return in_order if running else kernels.native
    if asked == "auto" and value.shape[1] > _LARGE:
        kernels.warn_of_absence()
    whole = value.dtype in (torch.float32, torch.float64)
    if asked in ("auto", "fused") and whole and _has_numba():
        from tfsasm.motrv2.fused import fused

        return fused
    return plain if torch.is_grad_enabled() else gather


def _asked() -> str:
    asked = os.environ.get(ENVIRONMENT, "auto")
    if asked not in ("auto", "native", "fused", "gather", "plain"):
        raise InputError(f"{ENVIRONMENT} is auto, native, fused, gather or plain, not {asked!r}")
    if asked == "native" and kernels.library() is None:
        raise InputError(f"{ENVIRONMENT}=native needs tfsasm built where a C++ compiler is")
    if asked == "fused" and not _has_numba():
        raise InputError(f'{ENVIRONMENT}=fused needs numba: pip install "tfsasm[fast]"')
    return asked


@cache
def _has_numba() -> bool:
    return importlib.util.find_spec("numba") is not None


def plain(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """`sample` by PyTorch's own `grid_sample`; the products of a query are summed all at once.

    So does the released code, to the last bit. Queries go by in slices, for the memory.
    """
    batch, _, heads, width = value.shape
    maps = [
        flat.permute(0, 2, 3, 1).reshape(batch * heads, width, h, w)
        for flat, (h, w) in zip(value.split([h * w for h, w in shapes], 1), shapes, strict=True)
    ]
    parts = [
        _plain_slice(maps, *some)
        for some in zip(locations.split(_SLICE, 1), weights.split(_SLICE, 1), strict=True)
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


def in_order(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """`plain` to the last bit, by the compiled kernel where that is so; for running only.

    It lies in memory as `plain`'s does too, since matrix products of a few rows depend on that.
    """
    points = weights.shape[3] * weights.shape[4]
    if _asked() not in ("auto", "native") or not _has_order(value, points):
        return plain(value, shapes, locations, weights)
    found = kernels.native(value, shapes, locations, weights)
    return found.transpose(1, 2).contiguous().transpose(1, 2)


def _has_order(value: Tensor, points: int) -> bool:
    return value.dtype == torch.float32 and kernels.serves(value, points) and _is_plain(points)


@cache
def _is_plain(points: int) -> bool:
    """Whether, of so many points, this machine's compiled kernel gives what its PyTorch gives."""
    g = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        value = torch.randn(1, 35, 2, 37, generator=g)
        places = 1.4 * torch.rand(1, 50, 2, 1, points, 2, generator=g) - 0.2
        weights = torch.rand(places.shape[:-1], generator=g)
        given = value, [(7, 5)], places, weights
        return torch.equal(kernels.native(*given), plain(*given))


def level_by_level(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """`sample` for graphs, where sizes are free: `plain` without slices, which would be fixed."""
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
    """`sample` as a weighted sum of rows per query and head: half the time, without a gradient."""
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
