"""Deformable attention on GPUs, by the Triton kernels, as an operation that PyTorch knows.

What is unusual here: nothing needs this module, and Triton is imported when a kernel first runs.
The operation has a gradient and a rule for shapes, so `torch.compile` and `torch.export` carry it
as one node. Before a device is trusted with it, it must answer a small case as PyTorch does.
"""

import importlib.util
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from tfsasm.motrv2.fast.kernels import Shapes
from tfsasm.pytorch import constants

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
"""Of the values."""

_INSTALLED = importlib.util.find_spec("triton") is not None

ELEMENTS = 1024
"""Numbers of an answer per program: 32 queries of 32 channels, 16 bytes of bfloat16 per thread."""

_ARGUMENTS = "Tensor value, Tensor offsets, Tensor logits, Tensor reference, SymInt[] sizes"


def serves(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernels take such values: on a GPU, or anywhere by Triton's interpreter."""
    return (
        dtype in DTYPES and _INSTALLED
        and (device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1")
    )  # fmt: skip


def attend(
    value: Tensor, shapes: Shapes, offsets: Tensor, logits: Tensor, reference: Tensor
) -> Tensor:
    """Softmax, sampling and weighted sum `[B, Q, M * D]`, of the dtype of `offsets`.

    `value` `[B, S, M, D]`, S = sum of h*w over `shapes`; `offsets` `[B, Q, M, L, K, 2]` are in
    pixels about a `reference` point `[B, Q, L, 2]`, in half boxes shared among the K points about a
    reference box `[B, Q, L, 4]`; `logits` are `[B, Q, M, L, K]`.
    """
    sizes = [side for shape in shapes for side in shape]
    return _attend(value, offsets, logits, reference, sizes)


@torch.library.custom_op(
    "tfsasm::deformable_attention", mutates_args=(), schema=f"({_ARGUMENTS}) -> Tensor"
)
def _attend(
    value: Tensor, offsets: Tensor, logits: Tensor, reference: Tensor, sizes: Sequence[int]
) -> Tensor:
    from tfsasm.motrv2.fast import triton_kernels

    out = offsets.new_empty(*offsets.shape[:2], value.shape[2] * value.shape[3])
    _launch(triton_kernels.forward, value, offsets, logits, reference, sizes, out)
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
    from tfsasm.motrv2.fast import triton_kernels

    results = _empty_gradients(value, offsets, logits)
    results[0].zero_()
    given = value, offsets, logits, reference
    _launch(triton_kernels.backward, *given, sizes, grad.contiguous(), *results)
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
    """Run a kernel of `triton_kernels` on contiguous `others`, which it writes or reads."""
    import triton
    import triton.language as tl

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
