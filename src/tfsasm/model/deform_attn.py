"""Multi-scale deformable attention (Deformable DETR, arXiv 2010.04159; SPEC 4.1).

What is unusual here: it is plain PyTorch, so it runs, exports and differentiates anywhere. The one
seam for a faster kernel is `sample`: everything before and after it is matrix products.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Shapes = list[tuple[int, int]]
"""Height and width of each feature level."""


def sample(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples: the seam for a faster kernel.

    `value` `[B, S, M, D]` holds all levels one behind the other, S = sum of h*w; `locations`
    `[B, Q, M, L, K, 2]` are (x, y) in [0, 1] of each level, outside counts as zero; `weights`
    `[B, Q, M, L, K]`. Returns `[B, Q, M * D]`.
    """
    batch, _, heads, width = value.shape
    queries = locations.shape[1]
    grids = 2 * locations - 1
    levels = value.split([h * w for h, w in shapes], dim=1)
    total = value.new_zeros(())
    for level, (flat, (h, w)) in enumerate(zip(levels, shapes, strict=True)):
        maps = flat.permute(0, 2, 3, 1).reshape(batch * heads, width, h, w)
        grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)  # [B*M, Q, K, 2]
        share = weights[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]  # [B*M, 1, Q, K]
        seen = F.grid_sample(maps, grid, padding_mode="zeros", align_corners=False)
        total = total + (seen * share).sum(-1)  # level by level, for a quarter of the memory
    return total.view(batch, heads * width, queries).transpose(1, 2)


def gather(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """The same function as `sample`, up to rounding, as a weighted sum of rows per query and head.

    On a CPU it takes half the time, without a gradient.
    """
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


class DeformableAttention(nn.Module):
    """Each query looks at a few learned points per head and level instead of everywhere.

    With `quick`, and where no gradient is asked for, points are sampled by `gather`.
    """

    quick = False

    def __init__(self, width: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
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
        locations = self._locations(offsets, shapes, reference)
        kernel = gather if self.quick and not torch.is_grad_enabled() else sample
        return self.output_proj(kernel(value, shapes, locations, weights.unflatten(-1, grid[1:])))

    def _locations(self, offsets: Tensor, shapes: Shapes, reference: Tensor) -> Tensor:
        anchor = reference[:, :, None, :, None, :]
        if reference.shape[-1] == 2:
            size = offsets.new_tensor([(w, h) for h, w in shapes])
            return anchor + offsets / size[:, None]
        return anchor[..., :2] + offsets / self.points * anchor[..., 2:] * 0.5
