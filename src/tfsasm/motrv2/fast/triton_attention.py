"""Multi-scale deformable attention in Triton, as an operation that PyTorch knows.

What is unusual here: neither the attention weights nor the places are ever written to memory:
softmax, bilinear gather and weighted sum are one kernel. A program answers a block of queries for
one head, all channels at once; the heads of a block stand next to one another in the grid, since
they read the same lines of the cache. Sums are float32 whatever the inputs are (float64 for
float64). The operation has a gradient and a rule for shapes, so `torch.compile` and `torch.export`
carry it as one node. Importing this module needs Triton and takes a second or two.

Shapes, throughout: `value` `[B, S, M, D]`; `offsets` `[B, Q, M, L, K, 2]`; `logits`
`[B, Q, M, L, K]`; `reference` `[B, Q, L, 2]` points or `[B, Q, L, 4]` boxes; `levels` `[L, 3]`
int32, the height, the width and the first token of each. Strides are those of images and rows, and
of levels for the reference. COUNT is L * K; CHANNELS and PADDED are D and COUNT, rounded up to a
power of two; BLOCK is queries per program and SUM the type of sums.
"""

# mypy: disallow-untyped-defs=False
from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from tfsasm.motrv2.fast.kernels import Shapes
from tfsasm.pytorch import constants

ELEMENTS = 1024
"""Numbers of an answer per program: 32 queries of 32 channels, 16 bytes of bfloat16 per thread."""

_ARGUMENTS = "Tensor value, Tensor offsets, Tensor logits, Tensor reference, SymInt[] sizes"


@triton.jit
def _rows(queries, HEADS: tl.constexpr, BLOCK: tl.constexpr):
    """Image, head and rows `[BLOCK]` of a program, and which rows are new: the last one repeats."""
    program = tl.program_id(0)
    row = (program // HEADS) * BLOCK + tl.arange(0, BLOCK)
    image = tl.program_id(1).to(tl.int64)
    return image, program % HEADS, tl.minimum(row, queries - 1).to(tl.int64), row < queries


@triton.jit
def _softmax(logit, COUNT: tl.constexpr, PADDED: tl.constexpr, SUM: tl.constexpr):
    """The largest logit of each row, the sum of exponentials below it `[BLOCK]`, and the weights
    `[BLOCK, PADDED]`.
    """
    column = tl.arange(0, PADDED)[None, :]
    given = tl.load(logit[:, None] + column, mask=column < COUNT, other=float("-inf")).to(SUM)
    largest = tl.max(given, 1)
    powers = tl.exp(given - largest[:, None])
    total = tl.sum(powers, 1)
    return largest, total, powers / total[:, None]


@triton.jit
def _pixel(
    anchor, offset, size, SIDE: tl.constexpr, POINTS: tl.constexpr, BOXES: tl.constexpr,
    SUM: tl.constexpr,
):  # fmt: skip
    """Coordinate `[BLOCK]` in pixels of a level of this `size`: x for SIDE 0, y for SIDE 1.

    What is far outside comes no nearer than two pixels, where all its neighbours are outside too.
    """
    place = tl.load(anchor + SIDE).to(SUM)
    moved = tl.load(offset + SIDE).to(SUM)
    if BOXES:
        pixel = (place + moved / POINTS * tl.load(anchor + 2 + SIDE).to(SUM) * 0.5) * size - 0.5
    else:
        pixel = place * size + moved - 0.5
    return tl.minimum(tl.maximum(pixel, -2.0), size + 1.0)


@triton.jit
def _corner(x, y, first, height, width, CORNER: tl.constexpr):
    """One of the four pixels about a place: its nearness by x and by y, its token, and whether it
    is inside; all `[BLOCK]`.
    """
    left, top = tl.floor(x), tl.floor(y)
    right_share, bottom_share = x - left, y - top
    near_x = right_share if CORNER % 2 else 1 - right_share
    near_y = bottom_share if CORNER // 2 else 1 - bottom_share
    column = left.to(tl.int32) + CORNER % 2
    row = top.to(tl.int32) + CORNER // 2
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return near_x, near_y, tl.where(inside, first + row * width + column, 0), inside


@triton.jit
def forward(
    value, offsets, logits, reference, levels, out, tokens, queries,
    offset_image, offset_row, logit_image, logit_row, anchor_image, anchor_row, anchor_level,
    HEADS: tl.constexpr, WIDTH: tl.constexpr, LEVELS: tl.constexpr, POINTS: tl.constexpr,
    BOXES: tl.constexpr, BLOCK: tl.constexpr, CHANNELS: tl.constexpr, PADDED: tl.constexpr,
    SUM: tl.constexpr,
):  # fmt: skip
    """Write the answers `out` `[B, Q, M, D]`."""
    COUNT: tl.constexpr = LEVELS * POINTS
    STRIDE: tl.constexpr = HEADS * WIDTH
    image, head, row, new = _rows(queries, HEADS, BLOCK)
    channel = tl.arange(0, CHANNELS)[None, :]
    value += image * tokens * STRIDE + head * WIDTH
    logit = logits + image * logit_image + row * logit_row + head * COUNT
    offset = offsets + image * offset_image + row * offset_row + head * (2 * COUNT)
    anchor = reference + image * anchor_image + row * anchor_row
    largest, total, _ = _softmax(logit, COUNT, PADDED, SUM)
    answer = tl.zeros([BLOCK, CHANNELS], SUM)
    for level in range(LEVELS):
        height = tl.load(levels + 3 * level)
        width = tl.load(levels + 3 * level + 1)
        first = tl.load(levels + 3 * level + 2)
        for _point in tl.static_range(POINTS):
            x = _pixel(anchor, offset, width, 0, POINTS, BOXES, SUM)
            y = _pixel(anchor, offset, height, 1, POINTS, BOXES, SUM)
            share = tl.exp(tl.load(logit).to(SUM) - largest) / total
            for corner in tl.static_range(4):
                near_x, near_y, token, inside = _corner(x, y, first, height, width, corner)
                seen = tl.load(
                    value + token[:, None] * STRIDE + channel,
                    mask=inside[:, None] & (channel < WIDTH), other=0,
                ).to(SUM)  # fmt: skip
                answer += (share * near_x * near_y)[:, None] * seen
            logit += 1
            offset += 2
        anchor += anchor_level
    goal = ((image * queries + row) * HEADS + head)[:, None] * WIDTH + channel
    tl.store(
        out + goal, answer.to(out.dtype.element_ty), mask=new[:, None] & (channel < WIDTH)
    )


@triton.jit
def backward(
    value, offsets, logits, reference, levels, grad, to_value, to_places, to_logits,
    tokens, queries,
    offset_image, offset_row, logit_image, logit_row, anchor_image, anchor_row, anchor_level,
    HEADS: tl.constexpr, WIDTH: tl.constexpr, LEVELS: tl.constexpr, POINTS: tl.constexpr,
    BOXES: tl.constexpr, BLOCK: tl.constexpr, CHANNELS: tl.constexpr, PADDED: tl.constexpr,
    SUM: tl.constexpr,
):  # fmt: skip
    """Add to `to_value` `[B, S, M, D]`, by atomics, since many queries see one pixel; write
    `to_places` `[B, Q, M, L, K, 2]`, of places in [0, 1] of each level, and `to_logits`.

    `grad` is that of `out`. All three results are of type SUM.
    """
    COUNT: tl.constexpr = LEVELS * POINTS
    STRIDE: tl.constexpr = HEADS * WIDTH
    image, head, row, new = _rows(queries, HEADS, BLOCK)
    channel = tl.arange(0, CHANNELS)[None, :]
    value += image * tokens * STRIDE + head * WIDTH
    to_value += image * tokens * STRIDE + head * WIDTH
    logit = logits + image * logit_image + row * logit_row + head * COUNT
    offset = offsets + image * offset_image + row * offset_row + head * (2 * COUNT)
    anchor = reference + image * anchor_image + row * anchor_row
    answered = (image * queries + row) * HEADS + head
    goal = answered[:, None] * WIDTH + channel
    wanted = new[:, None] & (channel < WIDTH)
    given = tl.load(grad + goal, mask=wanted, other=0).to(SUM)
    to_place = to_places + answered * (2 * COUNT)
    largest, total, weights = _softmax(logit, COUNT, PADDED, SUM)
    column = tl.arange(0, PADDED)[None, :]
    to_weights = tl.zeros([BLOCK, PADDED], SUM)
    for level in range(LEVELS):
        height = tl.load(levels + 3 * level)
        width = tl.load(levels + 3 * level + 1)
        first = tl.load(levels + 3 * level + 2)
        for point in tl.static_range(POINTS):
            x = _pixel(anchor, offset, width, 0, POINTS, BOXES, SUM)
            y = _pixel(anchor, offset, height, 1, POINTS, BOXES, SUM)
            share = tl.exp(tl.load(logit).to(SUM) - largest) / total
            to_share = tl.zeros([BLOCK], SUM)
            to_x = tl.zeros([BLOCK], SUM)
            to_y = tl.zeros([BLOCK], SUM)
            for corner in tl.static_range(4):
                near_x, near_y, token, inside = _corner(x, y, first, height, width, corner)
                pixel = token[:, None] * STRIDE + channel
                there = wanted & inside[:, None]
                seen = tl.sum(given * tl.load(value + pixel, mask=there, other=0).to(SUM), 1)
                to_share += near_x * near_y * seen
                to_x += (near_y if corner % 2 else -near_y) * seen
                to_y += (near_x if corner // 2 else -near_x) * seen
                tl.atomic_add(
                    to_value + pixel, (share * near_x * near_y)[:, None] * given, mask=there,
                    sem="relaxed",
                )  # fmt: skip
            here = column == level * POINTS + point
            to_weights = tl.where(here, to_share[:, None], to_weights)
            tl.store(to_place, share * to_x * width, mask=new)
            tl.store(to_place + 1, share * to_y * height, mask=new)
            logit += 1
            offset += 2
            to_place += 2
        anchor += anchor_level
    mean = tl.sum(weights * to_weights, 1)[:, None]
    tl.store(
        to_logits + answered[:, None] * COUNT + column, weights * (to_weights - mean),
        mask=new[:, None] & (column < COUNT),
    )  # fmt: skip


def attend(
    value: Tensor, shapes: Shapes, offsets: Tensor, logits: Tensor, reference: Tensor
) -> Tensor:
    """Softmax, sampling and weighted sum `[B, Q, M * D]`, of the dtype of `offsets`.

    As `deformable_attention.attend`, S = sum of h*w over `shapes`.
    """
    sizes = [side for shape in shapes for side in shape]
    return _attend(value, offsets, logits, reference, sizes)


@torch.library.custom_op(
    "tfsasm::deformable_attention", mutates_args=(), schema=f"({_ARGUMENTS}) -> Tensor"
)
def _attend(
    value: Tensor, offsets: Tensor, logits: Tensor, reference: Tensor, sizes: Sequence[int]
) -> Tensor:
    out = offsets.new_empty(*offsets.shape[:2], value.shape[2] * value.shape[3])
    _launch(forward, value, offsets, logits, reference, sizes, out)
    return out


@_attend.register_fake
def _(
    value: Tensor, offsets: Tensor, logits: Tensor, reference: Tensor, sizes: Sequence[int]
) -> Tensor:
    return offsets.new_empty(*offsets.shape[:2], value.shape[2] * value.shape[3])


@torch.library.custom_op(
    "tfsasm::deformable_attention_backward", mutates_args=(),
    schema=f"({_ARGUMENTS}, Tensor grad) -> (Tensor, Tensor, Tensor)",
)  # fmt: skip
def _gradients(
    value: Tensor, offsets: Tensor, logits: Tensor, reference: Tensor, sizes: Sequence[int],
    grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `value`, of places in [0, 1] `[B, Q, M, L, K, 2]`, and of `logits`."""
    results = _empty_gradients(value, offsets, logits)
    results[0].zero_()
    given = value, offsets, logits, reference
    _launch(backward, *given, sizes, grad.contiguous(), *results)
    return results


@_gradients.register_fake
def _(
    value: Tensor, offsets: Tensor, logits: Tensor, reference: Tensor, sizes: Sequence[int],
    grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    return _empty_gradients(value, offsets, logits)


def _empty_gradients(
    value: Tensor, offsets: Tensor, logits: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    first, second, third = (
        t.new_empty(t.shape, dtype=_type_of_sums(value)) for t in (value, offsets, logits)
    )
    return first, second, third


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, sizes = inputs
    ctx.sizes = sizes
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    given = ctx.saved_tensors
    _, offsets, _, reference = given
    to_value, to_places, to_logits = _gradients(*given, ctx.sizes, grad)
    to_reference = to_places.sum((2, 4))  # of all heads and points
    if reference.shape[-1] == 2:
        to_offsets = to_places / constants(ctx.sizes, to_places).view(-1, 1, 2).flip(-1)
    else:
        share = 0.5 / offsets.shape[4]
        to_offsets = to_places * share * reference[:, :, None, :, None, 2:]
        to_sides = share * (to_places * offsets).sum((2, 4))
        to_reference = torch.cat([to_reference, to_sides], -1)
    found = (to_value, to_offsets, to_logits, to_reference)
    return *(grad.to(t.dtype) for grad, t in zip(found, given, strict=True)), None


_attend.register_autograd(_backward, setup_context=_setup)


def _type_of_sums(value: Tensor) -> torch.dtype:
    return torch.float64 if value.dtype == torch.float64 else torch.float32


def _launch(
    kernel: Any, value: Tensor, offsets: Tensor, logits: Tensor, reference: Tensor,
    sizes: Sequence[int], *others: Tensor,
) -> None:
    """Run `forward` or `backward` on contiguous `others`, which it writes or reads."""
    batch, tokens, heads, width = value.shape
    queries, levels, points = offsets.shape[1], offsets.shape[3], offsets.shape[4]
    if not batch * queries:
        return
    offsets, logits, reference = (
        table if table.stride(-1) == 1 else table.contiguous()  # rows may be parts of longer ones
        for table in (offsets.flatten(2), logits.flatten(2), reference)
    )
    channels = triton.next_power_of_2(width)
    block = max(1, ELEMENTS // channels)
    table = _levels(tuple(sizes), value.device)
    with torch.cuda.device_of(value):
        kernel[triton.cdiv(queries, block) * heads, batch](
            value.contiguous(), offsets, logits, reference, table, *others,
            tokens, queries, *offsets.stride()[:2], *logits.stride()[:2], *reference.stride()[:3],
            HEADS=heads, WIDTH=width, LEVELS=levels, POINTS=points, BOXES=reference.shape[-1] == 4,
            BLOCK=block, CHANNELS=channels, PADDED=triton.next_power_of_2(levels * points),
            SUM=tl.float64 if _type_of_sums(value) == torch.float64 else tl.float32,
        )  # fmt: skip


@lru_cache(maxsize=64)
def _levels(sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """Height, width and first token of each level `[L, 3]` int32."""
    rows, first = list[int](), 0
    for height, width in zip(sizes[::2], sizes[1::2], strict=True):
        rows += [height, width, first]
        first += height * width
    return constants(rows, torch.empty(0, device=device), torch.int32)
