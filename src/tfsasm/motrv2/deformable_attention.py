"""Multi-scale deformable attention (Deformable DETR, arXiv 2010.04159; SPEC 4.1).

What is unusual here: the seams for faster kernels are `sample` and, where softmax and places are
part of the kernel too, `attend`; everything before and after them is matrix products.

A kernel samples feature levels bilinearly. Of PyTorch's own operations `plain` is the reference,
`level_by_level` for exported graphs, and `gather` for running where no compiled kernel is. All take
a `value` `[B, S, M, D]` that holds all levels one behind the other, S = sum of h*w; `locations`
`[B, Q, M, L, K, 2]`, (x, y) in [0, 1] of each level, outside of which everything is zero; `weights`
`[B, Q, M, L, K]`; and return the weighted sums `[B, Q, M * D]`.
"""

import importlib.util
import logging
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
from tfsasm.pytorch import constants

log = logging.getLogger(__name__)

Kernel = Callable[[Tensor, Shapes, Tensor, Tensor], Tensor]

ENVIRONMENT = "TFSASM_SAMPLING"
"""Environment variable that names the kernel: auto (default), native, gather, plain or triton."""

_SLICE = 4096  # queries that `plain` answers at a time

_LARGE = 2_000_000  # numbers, from which on compiled kernels save much; the full network has 6 M

_FUSED = (torch.float32, torch.bfloat16, torch.float16, torch.float64)  # values for Triton


class DeformableAttention(nn.Module):
    """Each query attends to a few learned points per head and level instead of everywhere."""

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

    def forward(self, query: Tensor, source: Tensor, shapes: Shapes, reference: Tensor) -> Tensor:
        """Attend from `query` `[B, Q, C]` to `source` `[B, S, C]`; returns `[B, Q, C]`.

        `reference` is `[B, Q, L, 2]` points or `[B, Q, L, 4]` boxes (cxcywh), in [0, 1] of each
        level.
        """
        value = self.value_proj(source).unflatten(-1, (self.heads, -1))
        grid = (self.heads, self.levels, self.points)
        offsets = self.sampling_offsets(query).unflatten(-1, (*grid, 2))
        logits = self.attention_weights(query).unflatten(-1, grid)
        return self.output_proj(attend(value, shapes, offsets, logits, reference, self.sample))


def sample_by(kernel: Kernel, model: nn.Module) -> None:
    """Have all deformable attention inside `model` sample by this kernel instead of the fastest."""
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


def attend(
    value: Tensor, shapes: Shapes, offsets: Tensor, logits: Tensor, reference: Tensor,
    kernel: Kernel | None = None,
) -> Tensor:
    """Softmax, places and weighted sums `[B, Q, M * D]`, in one kernel on GPUs.

    `value` `[B, S, M, D]`; `logits` `[B, Q, M, L, K]`; `offsets` and `reference` as in
    `sampling_locations`. A `kernel` other than `sample` samples as it says.
    """
    if kernel in (None, sample) and fuses(value.device, value.dtype):
        from tfsasm.motrv2.fast import triton_attention  # a second or two

        return triton_attention.attend(value, shapes, offsets, logits, reference)
    weights = logits.flatten(-2).softmax(-1).view_as(logits)
    locations = sampling_locations(offsets, shapes, reference, offsets.shape[-2])
    return (kernel or sample)(value, shapes, locations, weights)


def fuses(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a `value` of this kind is attended to by Triton's kernel: on GPUs, unless asked not.

    Raises `InputError` where `TFSASM_SAMPLING=triton` asks for what cannot be.
    """
    wanted = wanted_kernel()
    if wanted != "triton" and (wanted != "auto" or device.type != "cuda"):
        return False
    serves = (
        dtype in _FUSED and importlib.util.find_spec("triton") is not None
        and (device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1")
        and (torch.compiler.is_compiling() or torch.jit.is_tracing() or _is_right(device, dtype))
    )  # fmt: skip
    if wanted == "triton" and not serves:
        raise InputError(f"{ENVIRONMENT}=triton needs a GPU and Triton; {device}, {dtype} will not")
    return serves


@cache
def _is_right(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether Triton's kernel runs there and answers as `plain` does; where not, that is logged."""
    from tfsasm.motrv2.fast import triton_attention

    g = torch.Generator().manual_seed(0)
    shapes, grid = [(5, 7), (2, 3)], (2, 2, 4)
    value, offsets, logits = (
        torch.randn(1, *sides, generator=g).to(dtype)
        for sides in ((41, 2, 24), (9, *grid, 2), (9, *grid))
    )
    reference = torch.rand(1, 9, 2, 4, generator=g)
    given = value.double(), offsets.double(), logits.double(), reference.double()
    with torch.inference_mode():
        wanted = attend(given[0], shapes, *given[1:], kernel=plain)
        try:
            placed = [t.to(device) for t in (value, offsets, logits, reference)]
            found = triton_attention.attend(placed[0], shapes, *placed[1:]).cpu().double()
        except Exception as error:  # of its compilers and drivers, which share no base
            log.warning("Triton's kernel does not run on %s (%s); PyTorch serves", device, error)
            return False
    wrong = float((found - wanted).abs().max())
    if not wrong < 8 * torch.finfo(dtype).eps + 1e-5:  # of numbers about 1, places rounded too
        log.warning("Triton's kernel is wrong by %.2g on %s; PyTorch serves", wrong, device)
        return False
    return True


def sample(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Sum of bilinear samples of `value`, weighted, by the fastest kernel."""
    points = weights.shape[3] * weights.shape[4]
    return kernel_for(value, points)(value, shapes, locations, weights)


def kernel_for(value: Tensor, points: int) -> Kernel:
    """The fastest kernel that serves a `value`, with so many points per head."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or value.device.type != "cpu":
        return plain
    wanted = wanted_kernel()
    if wanted == "plain":
        return plain
    if wanted in ("auto", "native") and kernels.serves(value, points):
        exact = not torch.is_grad_enabled() and is_exact(value, points)
        return in_order if exact else kernels.native
    if wanted == "auto" and value.numel() > _LARGE:
        kernels.warn_of_absence()
    return plain if torch.is_grad_enabled() else gather


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
    maps = _maps(value, shapes)
    parts = [
        _plain_slice(maps, *part)
        for part in zip(locations.split(_SLICE, 1), weights.split(_SLICE, 1), strict=True)
    ]
    sums = torch.cat(parts, -1).unflatten(0, (len(value), value.shape[2]))
    return sums.flatten(1, 2).transpose(1, 2)


def _maps(value: Tensor, shapes: Shapes) -> list[Tensor]:
    """The levels as `[B * M, D, h, w]`."""
    batch, _, heads, width = value.shape
    levels = value.split([h * w for h, w in shapes], 1)
    return [
        level.permute(0, 2, 3, 1).reshape(batch * heads, width, h, w)
        for level, (h, w) in zip(levels, shapes, strict=True)
    ]


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
    total = value.new_zeros(())
    for level, maps in enumerate(_maps(value, shapes)):
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


def in_order(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """`plain` to the last bit, by the compiled kernel where that holds; for running only.

    Its memory layout is that of `plain` too, since matrix products of a few rows depend on it.
    """
    points = weights.shape[3] * weights.shape[4]
    if wanted_kernel() not in ("auto", "native") or not is_exact(value, points):
        return plain(value, shapes, locations, weights)
    found = kernels.native(value, shapes, locations, weights)
    return found.transpose(1, 2).contiguous().transpose(1, 2)


def is_exact(value: Tensor, points: int) -> bool:
    """Whether the compiled kernel gives the bits of `plain` for such a value, here."""
    return (
        value.dtype == torch.float32 and kernels.serves(value, points)
        and _is_plain(points, kernels.level())
    )  # fmt: skip


@cache
def _is_plain(points: int, level: str) -> bool:
    """Whether, of so many points, the kernel of this `level` gives what PyTorch gives, on noise."""
    g = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        value = torch.randn(1, 35, 2, 37, generator=g)
        places = 1.4 * torch.rand(1, 50, 2, 1, points, 2, generator=g) - 0.2
        weights = torch.rand(places.shape[:-1], generator=g)
        given = value, [(7, 5)], places, weights
        return torch.equal(kernels.native(*given), plain(*given))
