"""The C++ of `kernels.cpp`, compiled by this machine's compiler when first used.

Unusual here: nothing is built when the package is installed, and nothing needs this module. The
library lands in the cache folder under a name made of the source, the compiler's flags and the
processor, so that a home shared by several machines has one for each. Where there is no compiler,
or no OpenMP as PyTorch's, `library` is None and other kernels do the work.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from tfsasm.files import cache_folder

Shapes = list[tuple[int, int]]
"""Height and width of each feature level."""

log = logging.getLogger(__name__)

ENVIRONMENT = "TFSASM_CXX"
"""Environment variable that names the C++ compiler; empty for none at all."""

MOST_POINTS = 64  # of a head over all levels; MOST in kernels.cpp

MOST_CHANNELS = 256  # of a head, in `attend`

_FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC")

_PATIENCE = 120.0  # seconds for a compiler

_SUFFIX = {torch.float32: "f32", torch.float64: "f64", torch.bfloat16: "bf16"}


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None when there can be none here."""
    compiler = _compiler()
    if compiler is None or os.name != "posix":
        return None
    try:
        path = _built(compiler)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:
        log.debug("no compiled kernels: %s", error)
        return None


def _compiler() -> list[str] | None:
    asked = os.environ.get(ENVIRONMENT)
    if asked is not None:
        return shlex.split(asked) or None
    found = next((path for name in ("c++", "g++", "clang++") if (path := shutil.which(name))), None)
    return [found] if found else None


def _built(compiler: list[str]) -> Path:
    """Path of the library; compiled unless it is there. Raises when that fails."""
    source = files("tfsasm.motrv2.fast").joinpath("kernels.cpp").read_bytes()
    flags = [*_FLAGS, *_machine_flags()]
    about = "\n".join([*compiler, *flags, _processor(), torch.__version__]).encode()
    name = f"kernels-{hashlib.sha256(source + about).hexdigest()[:16]}.so"
    target = cache_folder() / "kernels" / name
    if target.is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = target.parent
    except OSError:  # nowhere to keep it: a read-only system without a home
        folder = Path(_temporary().name)
        target = folder / name
    with tempfile.TemporaryDirectory(dir=folder) as work:
        text, thing, made = (Path(work) / f"kernels.{end}" for end in ("cpp", "o", "so"))
        text.write_bytes(source)
        for command in ([*flags, "-c", text, "-o", thing], ["-shared", thing, "-o", made]):
            subprocess.run(
                [*compiler, *map(str, command)], check=True, capture_output=True, timeout=_PATIENCE
            )
        os.replace(made, target)  # whole or not at all, also when two processes compile
    return target


@cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="tfsasm-kernels-")


def _machine_flags() -> list[str]:
    if platform.machine().lower() in ("x86_64", "amd64"):
        return ["-march=native", "-mprefer-vector-width=512"]
    return ["-mcpu=native"]


def _processor() -> str:
    """What the machine code depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    kinds = ("flags", "model name", "Features")
    told = sorted({line for line in lines if line.startswith(kinds)})
    return "\n".join([platform.machine(), sys.platform, *told])


def serves(value: Tensor, points: int) -> bool:
    """Whether these kernels can work on this value, with so many points a head."""
    return (
        value.device.type == "cpu" and value.dtype in _SUFFIX
        and points <= MOST_POINTS and library() is not None
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
        _call(
            "backward", value.dtype, value, locations, weights, grad, to_value, to_locations,
            to_weights, *_sizes(value, ctx.shapes, locations),
        )  # fmt: skip
        return to_value, None, to_locations, to_weights


def _forward(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    value, locations, weights = (t.contiguous() for t in (value, locations, weights))
    heads, width = value.shape[2:]
    out = locations.new_empty(*locations.shape[:2], heads * width)
    _call(
        "sample", value.dtype, value, locations, weights, out, *_sizes(value, shapes, locations)
    )  # fmt: skip
    return out


def attend(
    value: Tensor, shapes: Shapes, asked: Tensor, reference: Tensor, points: int,
    out: Tensor | None = None,
) -> Tensor:
    """Softmax, sampling points and weighted sums of one image in one pass; no gradient.

    `value` `[S, M, D]`; `asked` `[Q, 3 * M * L * K]` are the offsets `[M, L, K, 2]` and then the
    logits `[M, L, K]` of each query, K = `points` a level; `reference` float32 are points `[Q, 2]`
    or boxes `[Q, 4]`. Returns `[Q, M * D]`, of the kind of `asked`: float32 with either value, or
    bfloat16 with its own.
    """
    queries, size = reference.shape
    heads, width = value.shape[1:]
    if out is None:
        out = asked.new_empty(queries, heads * width)
    kind = "mixed" if value.dtype != asked.dtype else _SUFFIX[value.dtype]
    _run(
        f"attend_{kind}", value.contiguous(), asked.contiguous(), reference.contiguous(), out,
        queries, heads, width, len(shapes), points, _table(tuple(shapes)), ctypes.c_int(size == 4),
    )  # fmt: skip
    return out


def add_norm(
    x: Tensor, y: Tensor, norm: torch.nn.LayerNorm, out: Tensor, copy: Tensor | None = None,
    position: Tensor | None = None, placed: Tensor | None = None,
) -> None:
    """Write `norm(x + y)` `[N, C]` to `out`, float32 as `x`, which it may be.

    Where given, `copy` gets the same and `placed` the same plus `position`, of the kind of `y`.
    """
    rows, width = x.shape
    _run(
        f"add_norm_{_SUFFIX[y.dtype]}", x, y, norm.weight, norm.bias, ctypes.c_float(norm.eps), out,
        copy, position, placed, rows, width,
    )  # fmt: skip


def _sizes(value: Tensor, shapes: Shapes, locations: Tensor) -> tuple[Any, ...]:
    batch, tokens, heads, width = value.shape
    _, queries, _, levels, points, _ = locations.shape
    return batch, tokens, queries, heads, width, levels, points, _table(tuple(shapes))


@lru_cache(maxsize=64)
def _table(shapes: tuple[tuple[int, int], ...]) -> Any:
    flat = [side for shape in shapes for side in shape]
    return (ctypes.c_int64 * len(flat))(*flat)


def _call(name: str, dtype: torch.dtype, *given: Any) -> None:
    _run(f"{name}_{_SUFFIX[dtype]}", *given)


def _run(name: str, *given: Any) -> None:
    """Call a kernel with tensors as pointers, whole numbers as int64, and PyTorch's threads."""
    arguments = [
        ctypes.c_void_p(thing.data_ptr()) if isinstance(thing, Tensor)
        else ctypes.c_int64(thing) if isinstance(thing, int)
        else thing
        for thing in given
    ]  # fmt: skip
    getattr(library(), name)(*arguments, ctypes.c_int(torch.get_num_threads()))
