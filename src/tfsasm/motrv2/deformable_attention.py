"""Multi-scale deformable attention (Deformable DETR, arXiv 2010.04159; SPEC 4.1).

What is unusual here: the seams for faster kernels are `sample` and, where softmax and places are
part of the kernel too, `attend`; everything before and after them is matrix products.
"""

import logging
import math
from functools import cache

import torch
from torch import Tensor, nn

from tfsasm.errors import InputError
from tfsasm.motrv2.exact import Linear, in_order, is_exact
from tfsasm.motrv2.fast import kernels, triton_attention
from tfsasm.motrv2.fast.kernels import Shapes
from tfsasm.motrv2.sampling import (
    ENVIRONMENT,
    Kernel,
    gather,
    level_sizes,
    plain,
    wanted_kernel,
)

log = logging.getLogger(__name__)

_LARGE = 2_000_000  # numbers, from which on compiled kernels save much; the full network has 6 M


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
    serves = triton_attention.serves(device, dtype) and (
        torch.compiler.is_compiling() or torch.jit.is_tracing() or _is_right(device, dtype)
    )
    if wanted == "triton" and not serves:
        raise InputError(f"{ENVIRONMENT}=triton needs a GPU and Triton; {device}, {dtype} will not")
    return serves


@cache
def _is_right(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether Triton's kernel runs there and answers as `plain` does; where not, that is logged."""
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
    """Sum of bilinear samples of `value`, weighted, by the fastest kernel; see `sampling.py`."""
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
