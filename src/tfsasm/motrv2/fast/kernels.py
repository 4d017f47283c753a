"""The C++ kernels of `kernels.cpp`, which are compiled when the package is built.

Unusual here: nothing needs this module. Where the package was built without a compiler, `library`
is None and PyTorch's own operations serve. The library holds every function once per level of the
processor's instructions; the highest that this machine has is used.
"""

import ctypes
import logging
import os
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from tfsasm.errors import InputError

Shapes = list[tuple[int, int]]
"""Height and width of each feature level."""

log = logging.getLogger(__name__)

ENVIRONMENT = "TFSASM_CPU"
"""Environment variable that names one of the `LEVELS`, to use a lower one than there is, or is
`none`, to use no compiled kernels."""

LEVELS = ("base", "avx2", "avx512", "amx")
"""Levels of instructions, from the lowest: what every processor has, AVX2 with FMA, AVX-512, and
AMX, of which `amx.py` makes use."""

MAX_POINTS = 64  # of a head over all levels; as in kernels.cpp

_INTERFACE = 4  # of the functions; as in kernels.cpp

_SUFFIX = {torch.float32: "f32", torch.float64: "f64", torch.bfloat16: "bf16"}


def library() -> ctypes.CDLL | None:
    """The compiled kernels; None when the package was built without them or `TFSASM_CPU=none`."""
    return None if os.environ.get(ENVIRONMENT) == "none" else _library()


@cache
def _library() -> ctypes.CDLL | None:
    path = Path(__file__).with_name("libkernels.so")
    if not path.is_file():
        return None
    try:
        found = ctypes.CDLL(str(path))
    except OSError as error:  # for another system, or no OpenMP like the compiler's in PyTorch
        log.warning("compiled kernels cannot be loaded: %s", error)
        return None
    if not hasattr(found, "interface") or found.interface() != _INTERFACE:
        log.warning("compiled kernels are of another version and are not used; "
                    "install tfsasm again, or run python hatch_build.py in a checkout")  # fmt: skip
        return None
    return found


def levels() -> tuple[str, ...]:
    """The levels that this machine can run, from the lowest; empty without kernels."""
    found = library()
    if found is None:
        return ()
    there = LEVELS[: found.highest_level() + 1]
    amx = there[-1] == "avx512" and hasattr(found, "has_amx") and found.has_amx()
    return (*there, "amx") if amx else there


def has_amx() -> bool:
    """Whether this machine has AMX, its kernels are compiled, and no lower level is asked for."""
    return library() is not None and level() == "amx"


def level() -> str:
    """The level of instructions in use, of `levels`.

    Raises `InputError` when `TFSASM_CPU` names one that this machine has not.
    """
    name, there = os.environ.get(ENVIRONMENT), levels()
    if name and name not in there:
        raise InputError(f"{ENVIRONMENT} is one of none, {', '.join(there)} here, not {name!r}")
    return name or there[-1]


def describe() -> str:
    """Which kernels are in use, in a few words for people."""
    found = library()
    if found is None:
        if os.environ.get(ENVIRONMENT) == "none":
            return f"no compiled kernels: {ENVIRONMENT} is none"
        return "no compiled kernels: tfsasm was built without a C++ compiler"
    return f"compiled kernels for {level()}" + ("" if found.has_threads() else ", one thread")


@cache
def warn_of_absence() -> None:
    """Log once that a large network would be faster with compiled kernels."""
    if _library() is None:
        log.warning("no compiled kernels: a network of this size is slower without; install a C++ "
                    "compiler such as g++, then tfsasm again from source")  # fmt: skip


def serves(value: Tensor, points: int) -> bool:
    """Whether these kernels take this value, with so many points per head."""
    return (
        value.device.type == "cpu" and value.dtype in _SUFFIX
        and points <= MAX_POINTS and value.numel() < 2**31 and library() is not None
    )  # fmt: skip


def native(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """`sampling.sample` on a CPU, with a gradient; float32, float64, or a bfloat16 value.

    A bfloat16 value is multiplied and added up in float32, and so is the answer, without gradient.
    """
    if value.dtype == torch.bfloat16:
        return _forward(value, shapes, locations.float(), weights.float())
    return cast(Tensor, _Native.apply(value, shapes, locations, weights))


class _Native(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        value, shapes, locations, weights = given
        value, locations, weights = (t.contiguous() for t in (value, locations, weights))
        ctx.shapes = shapes
        ctx.save_for_backward(value, locations, weights)
        return _forward(value, shapes, locations, weights)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        value, locations, weights = ctx.saved_tensors
        to_value = torch.zeros_like(value)
        to_locations, to_weights = torch.empty_like(locations), torch.empty_like(weights)
        run(
            f"backward_{_SUFFIX[value.dtype]}", value, locations, weights, grads[0].contiguous(),
            to_value, to_locations, to_weights, *_sizes(value, ctx.shapes, locations),
        )  # fmt: skip
        return to_value, None, to_locations, to_weights


def _forward(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    value, locations, weights = (t.contiguous() for t in (value, locations, weights))
    out = locations.new_empty(*locations.shape[:2], value.shape[2:].numel())
    sizes = _sizes(value, shapes, locations)
    run(f"sample_{_SUFFIX[value.dtype]}", value, locations, weights, out, *sizes)
    return out


def _sizes(value: Tensor, shapes: Shapes, locations: Tensor) -> tuple[Any, ...]:
    batch, tokens, heads, width = value.shape
    _, queries, _, levels, points, _ = locations.shape
    return batch, tokens, queries, heads, width, levels, points, table(tuple(shapes))


def attend(
    value: Tensor, shapes: Shapes, offsets_and_weights: Tensor, reference: Tensor, points: int
) -> Tensor:
    """Softmax, sampling points and weighted sums of one image in one pass; no gradient.

    `value` `[S, M, D]`, fastest where each head lies together; `offsets_and_weights`
    `[Q, 3 * M * L * K]` are the offsets `[M, L, K, 2]` and then the logits `[M, L, K]` of each
    query, K = `points` per level; `reference` float32 are points `[Q, 2]` or boxes `[Q, 4]`.
    Returns `[Q, M * D]`, of the dtype of `offsets_and_weights`: float32 with either value, or
    bfloat16 with a bfloat16 value.
    """
    given = offsets_and_weights.contiguous()
    value = value if value.stride(-1) == 1 else value.contiguous()
    queries, size = reference.shape
    heads, width = value.shape[1:]
    out = given.new_empty(queries, heads * width)
    kind = "mixed" if value.dtype != given.dtype else _SUFFIX[value.dtype]
    run(
        f"attend_{kind}", value, *value.stride()[:2], given, reference.contiguous(), out,
        queries, heads, width, len(shapes), points, table(tuple(shapes)), size == 4,
    )  # fmt: skip
    return out


def add_norm(
    x: Tensor, y: Tensor, norm: torch.nn.LayerNorm, copy: Tensor | None,
    position: Tensor | None, with_position: Tensor | None,
) -> None:
    """Float32 `x` `[N, C]` becomes `norm(x + y)`.

    Where given, `copy` gets the same and `with_position` the same plus `position`, of the dtype of
    `y`.
    """
    run(
        f"add_norm_{_SUFFIX[y.dtype]}", x, y, norm.weight, norm.bias, norm.eps, x, copy, position,
        with_position, *x.shape,
    )  # fmt: skip


def max_pool(x: Tensor) -> Tensor:
    """The largest of 3 x 3 pixels around every second one of each line, `[B, C, H, W]`.

    float32 or bfloat16, channels last; the same as PyTorch's, in a quarter of its time.
    """
    batch, channels, height, width = x.shape
    x = x.contiguous(memory_format=torch.channels_last)
    out = torch.empty(
        batch, channels, (height + 1) // 2, (width + 1) // 2, dtype=x.dtype,
        memory_format=torch.channels_last,
    )  # fmt: skip
    run(f"max_pool_{_SUFFIX[x.dtype]}", x, out, batch, height, width, channels)
    return out


def to_bytes(x: Tensor, steps: float, zero: int) -> Tensor:
    """`steps * x + zero` of float32 or bfloat16 as bytes, cut off at both ends; channels last."""
    x = x.contiguous(memory_format=torch.channels_last)
    out = torch.empty_like(x, dtype=torch.uint8)
    run(f"to_bytes_{_SUFFIX[x.dtype]}", x, out, x.numel(), steps, float(zero))
    return out


@lru_cache(maxsize=64)
def table(shapes: tuple[tuple[int, int], ...]) -> Any:
    """Height and width of each level, as kernels take them."""
    flat = [side for shape in shapes for side in shape]
    return (ctypes.c_int64 * len(flat))(*flat)


_C_TYPES = {bool: ctypes.c_int, int: ctypes.c_int64, float: ctypes.c_float}


def run(name: str, *given: Any, amx: bool = False) -> None:
    """Call a kernel with tensors as pointers, numbers of C's types, and PyTorch's threads.

    One of AMX is there at that level alone, all others at every level but that.
    """
    arguments = [
        ctypes.c_void_p(value.data_ptr()) if isinstance(value, Tensor)
        else _C_TYPES[type(value)](value) if type(value) in _C_TYPES
        else value
        for value in given
    ]  # fmt: skip
    at = "amx" if amx else level().replace("amx", "avx512")
    _kernel(f"{name}_{at}")(*arguments, ctypes.c_int(torch.get_num_threads()))


@cache
def _kernel(name: str) -> Any:
    address = ctypes.c_void_p.in_dll(cast(ctypes.CDLL, _library()), name).value
    return ctypes.CFUNCTYPE(None)(cast(int, address))
