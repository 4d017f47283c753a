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
AMX, which the encoder alone makes use of (`encode`)."""

MAX_POINTS = 64  # of a head over all levels; as in kernels.cpp

_INTERFACE = 3  # of the functions; as in kernels.cpp

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
        grad = grads[0].contiguous()
        to_value = torch.zeros_like(value)
        to_locations, to_weights = torch.empty_like(locations), torch.empty_like(weights)
        _run(
            f"backward_{_SUFFIX[value.dtype]}", value, locations, weights, grad, to_value,
            to_locations, to_weights, *_sizes(value, ctx.shapes, locations),
        )  # fmt: skip
        return to_value, None, to_locations, to_weights


def _forward(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    value, locations, weights = (t.contiguous() for t in (value, locations, weights))
    out = locations.new_empty(*locations.shape[:2], value.shape[2:].numel())
    sizes = _sizes(value, shapes, locations)
    _run(f"sample_{_SUFFIX[value.dtype]}", value, locations, weights, out, *sizes)
    return out


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
    _run(
        f"attend_{kind}", value, *value.stride()[:2], given, reference.contiguous(), out,
        queries, heads, width, len(shapes), points, _table(tuple(shapes)), ctypes.c_int(size == 4),
    )  # fmt: skip
    return out


def add_norm(
    x: Tensor, y: Tensor, norm: torch.nn.LayerNorm, out: Tensor, copy: Tensor | None = None,
    position: Tensor | None = None, with_position: Tensor | None = None,
) -> None:
    """Write `norm(x + y)` `[N, C]` to `out`, float32 as `x`, which it may be.

    Where given, `copy` gets the same and `with_position` the same plus `position`, of the dtype of
    `y`.
    """
    rows, width = x.shape
    _run(
        f"add_norm_{_SUFFIX[y.dtype]}", x, y, norm.weight, norm.bias, ctypes.c_float(norm.eps), out,
        copy, position, with_position, rows, width,
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
    _run(f"max_pool_{_SUFFIX[x.dtype]}", x, out, batch, height, width, channels)
    return out


def to_bytes(x: Tensor, steps: float, zero: int) -> Tensor:
    """`steps * x + zero` of float32 or bfloat16 as bytes, cut off at both ends; channels last."""
    x = x.contiguous(memory_format=torch.channels_last)
    out = torch.empty_like(x, dtype=torch.uint8)
    _run(
        f"to_bytes_{_SUFFIX[x.dtype]}", x, out, x.numel(), ctypes.c_float(steps),
        ctypes.c_float(zero),
    )  # fmt: skip
    return out


def encode(
    kind: str, tokens: Tensor, position: Tensor, reference: Tensor, values: Tensor, spare: Tensor,
    layer: ctypes.Structure | None, after: ctypes.Structure | None, sizes: ctypes.Structure,
    shapes: Shapes,
) -> None:
    """Change `tokens` `[S, C]` by an encoder layer, and make the values of the one `after` it.

    `kind` is bf16 or int8. `values` and `spare` are bfloat16 `[M, S, D]`: what `layer` samples, and
    what is written for `after`. Without `layer` tokens stay, without `after` no value is made.
    """
    _run(
        f"encode_{kind}", tokens, position, reference, values, spare,
        *(None if one is None else ctypes.byref(one) for one in (layer, after, sizes)),
        _table(tuple(shapes)), level="amx",
    )  # fmt: skip


def add_product(
    x: Tensor, layer: ctypes.Structure, total: Tensor, beside: tuple[float, int],
    gives: tuple[float, int], relu: bool,
) -> None:
    """Add a matrix product of bytes `x` `[N, K]` to the bytes of `total` `[N, O]`, by AMX.

    `beside` and `gives` are step and zero of the bytes of `total`, before and after.
    """
    numbers = (beside[0], beside[1], 1 / gives[0], gives[1])
    _run(
        "add_product", x, ctypes.byref(layer), total, *x.shape, total.shape[1],
        *map(ctypes.c_float, numbers), ctypes.c_int(relu), level="amx",
    )  # fmt: skip


def _sizes(value: Tensor, shapes: Shapes, locations: Tensor) -> tuple[Any, ...]:
    batch, tokens, heads, width = value.shape
    _, queries, _, levels, points, _ = locations.shape
    return batch, tokens, queries, heads, width, levels, points, _table(tuple(shapes))


@lru_cache(maxsize=64)
def _table(shapes: tuple[tuple[int, int], ...]) -> Any:
    flat = [side for shape in shapes for side in shape]
    return (ctypes.c_int64 * len(flat))(*flat)


def _run(name: str, *given: Any, level: str = "") -> None:
    """Call a kernel with tensors as pointers, whole numbers as int64, and PyTorch's threads."""
    arguments = [
        ctypes.c_void_p(value.data_ptr()) if isinstance(value, Tensor)
        else ctypes.c_int64(value) if isinstance(value, int)
        else value
        for value in given
    ]  # fmt: skip
    kernel = getattr(library(), f"{name}_{level or _ordinary()}")
    kernel(*arguments, ctypes.c_int(torch.get_num_threads()))


def _ordinary() -> str:
    """The level of the kernels that exist at every level but AMX's."""
    return "avx512" if level() == "amx" else level()
