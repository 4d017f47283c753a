"""The sampling of deformable attention in one pass, compiled by numba when first used.

Unusual here: numba's own threads are not used. They would be a second pool beside PyTorch's, and
its portable one must not be entered twice at once. The compiled loops release the interpreter, so
plain Python threads share the work, and two trackers may run side by side.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, cast

import numba
import numpy as np
import torch
from torch import Tensor

from tfsasm.motrv2.fast.kernels import Shapes

_SMALL = 500_000  # samples, some 15 ms; PyTorch's own threads spin a while before they yield

_EXACT_ENOUGH = {"contract", "reassoc", "nsz", "arcp"}  # but NaN and infinity keep their meaning

_Kernel = Callable[..., None]


def fused(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """`sampling.sample` on a CPU, float32 or float64, with a gradient."""
    return cast(Tensor, _Fused.apply(value, shapes, locations, weights))


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        value, shapes, locations, weights = given
        value, locations, weights = (t.contiguous() for t in (value, locations, weights))
        batch, _, heads, width = value.shape
        out = value.new_empty(batch, locations.shape[1], heads * width)
        ctx.levels = _levels(shapes)
        ctx.save_for_backward(value, locations, weights)
        rows = out.view(-1, heads, width)
        forward, _ = _kernels(rows.numpy().dtype.type, width)
        _share(forward, len(rows), weights.numel(), *_arrays(
            value, locations.flatten(0, 1), weights.flatten(0, 1), rows
        ), ctx.levels)  # fmt: skip
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        value, locations, weights = ctx.saved_tensors
        grad = grads[0].contiguous().unflatten(-1, value.shape[2:])
        to_value = torch.zeros_like(value)
        to_locations, to_weights = torch.empty_like(locations), torch.empty_like(weights)
        _, backward = _kernels(grad.numpy().dtype.type, value.shape[3])
        jobs = value.shape[0] * value.shape[2]  # a head of an image: no two write the same row
        _share(backward, jobs, weights.numel(), *_arrays(
            value, locations, weights, grad, to_value, to_locations, to_weights
        ), ctx.levels)  # fmt: skip
        return to_value, None, to_locations, to_weights


def _levels(shapes: Shapes) -> np.ndarray:
    """Height, width and first token of each level, int64 `[L, 3]`."""
    sizes = np.array(shapes, dtype=np.int64)
    starts = np.cumsum(sizes.prod(axis=1)) - sizes.prod(axis=1)
    return np.column_stack([sizes, starts])


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().numpy() for tensor in tensors]


def _share(kernel: _Kernel, jobs: int, samples: int, *rest: Any) -> None:
    """Jobs `0 ... jobs - 1` of `kernel(first, last, *rest)`, by as many threads as PyTorch uses."""
    threads = min(torch.get_num_threads(), jobs) if samples >= _SMALL else 1
    if threads <= 1:
        kernel(0, jobs, *rest)
        return
    cuts = [jobs * part // threads for part in range(threads + 1)]
    pool = _pool(os.getpid(), threads - 1)  # threads do not survive a fork
    others = [pool.submit(kernel, *span, *rest) for span in pairwise(cuts[1:])]
    kernel(0, cuts[1], *rest)
    for other in others:
        other.result()


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="tfsasm-sampling")


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled when first called; the machine code is kept on disk where that can be written."""
    options: dict[str, Any] = {
        "fastmath": _EXACT_ENOUGH, "nogil": True, "error_model": "numpy"
    }  # fmt: skip
    try:
        return cast(_Kernel, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # nowhere to keep it: a read-only system without a home
        return cast(_Kernel, numba.njit(**options)(function))


@cache
def _kernels(real: Any, width: int) -> tuple[_Kernel, _Kernel]:
    """Forward and backward for a kind of number and a number of channels per head.

    Both are constants in the machine code, so that the innermost loops become a few instructions.
    """
    zero, half, one = real(0), real(0.5), real(1)
    token = np.uintp  # an index that might be negative would cost a test each time

    @_compiled
    def around(x, y, h, w, start):  # type: ignore[no-untyped-def]
        """Tokens of the four pixels around a point, and 1 for each inside the map, else 0.

        A pixel outside is replaced by one of the border. Left above, right above, left below,
        right below; then the way of the point from the first to the last, (x, y) in [0, 1).
        """
        left, top = np.floor(x), np.floor(y)
        x0, y0 = int(left), int(top)
        in_left, in_right = real(x0 >= 0), real(x0 + 1 < w)
        in_top, in_bottom = real(y0 >= 0), real(y0 + 1 < h)
        above, below = start + max(y0, 0) * w, start + min(y0 + 1, h - 1) * w
        x0, x1 = max(x0, 0), min(x0 + 1, w - 1)
        tokens = token(above + x0), token(above + x1), token(below + x0), token(below + x1)
        inside = in_left * in_top, in_right * in_top, in_left * in_bottom, in_right * in_bottom
        return tokens, inside, x - left, y - top

    @_compiled
    def forward(first, last, value, locations, weights, out, levels):  # type: ignore[no-untyped-def]
        """Rows `first` to `last` of `[B * Q]`, with which all but `value` and `levels` start."""
        for row in range(first, last):
            b = token(row // (out.shape[0] // value.shape[0]))
            for m in range(out.shape[1]):
                for d in range(width):
                    out[row, m, d] = zero
                for level in range(len(levels)):
                    h, w, start = levels[level]
                    for k in range(weights.shape[3]):
                        x = locations[row, m, level, k, 0] * real(w) - half
                        y = locations[row, m, level, k, 1] * real(h) - half
                        if not (x > -one and y > -one and x < w and y < h):
                            continue
                        (t0, t1, t2, t3), (i0, i1, i2, i3), fx, fy = around(x, y, h, w, start)
                        share = weights[row, m, level, k]
                        s3 = fx * fy * share
                        s0, s1, s2 = (one - fx - fy) * share + s3, fx * share - s3, fy * share - s3
                        s0, s1, s2, s3 = s0 * i0, s1 * i1, s2 * i2, s3 * i3
                        for d in range(width):
                            out[row, m, d] += (
                                s0 * value[b, t0, m, d] + s1 * value[b, t1, m, d]
                                + s2 * value[b, t2, m, d] + s3 * value[b, t3, m, d]
                            )

    @_compiled
    def backward(  # type: ignore[no-untyped-def]
        first, last, value, locations, weights, grad, to_value, to_locations, to_weights, levels
    ):
        """Heads `first` to `last` of `[B * M]`; `to_value` is added to, the others are written."""
        for head in range(first, last):
            b, m = token(head // value.shape[2]), token(head % value.shape[2])
            for q in range(grad.shape[1]):
                for level in range(len(levels)):
                    h, w, start = levels[level]
                    for k in range(weights.shape[4]):
                        x = locations[b, q, m, level, k, 0] * real(w) - half
                        y = locations[b, q, m, level, k, 1] * real(h) - half
                        if not (x > -one and y > -one and x < w and y < h):
                            to_locations[b, q, m, level, k, 0] = zero
                            to_locations[b, q, m, level, k, 1] = zero
                            to_weights[b, q, m, level, k] = zero
                            continue
                        (t0, t1, t2, t3), (i0, i1, i2, i3), fx, fy = around(x, y, h, w, start)
                        share = weights[b, q, m, level, k]
                        n3 = fx * fy
                        n0, n1, n2 = one - fx - fy + n3, fx - n3, fy - n3
                        n0, n1, n2, n3 = n0 * i0, n1 * i1, n2 * i2, n3 * i3
                        dot0 = dot1 = dot2 = dot3 = zero
                        for d in range(width):
                            g = grad[b, q, m, d]
                            dot0 += g * value[b, t0, m, d]
                            dot1 += g * value[b, t1, m, d]
                            dot2 += g * value[b, t2, m, d]
                            dot3 += g * value[b, t3, m, d]
                        for t, n in ((t0, n0), (t1, n1), (t2, n2), (t3, n3)):
                            for d in range(width):
                                to_value[b, t, m, d] += n * share * grad[b, q, m, d]
                        to_weights[b, q, m, level, k] = (
                            n0 * dot0 + n1 * dot1 + n2 * dot2 + n3 * dot3
                        )
                        across = (one - fy) * (dot1 * i1 - dot0 * i0) + fy * (dot3 * i3 - dot2 * i2)
                        down = (one - fx) * (dot2 * i2 - dot0 * i0) + fx * (dot3 * i3 - dot1 * i1)
                        to_locations[b, q, m, level, k, 0] = share * real(w) * across
                        to_locations[b, q, m, level, k, 1] = share * real(h) * down

    return forward, backward
