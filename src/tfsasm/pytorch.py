"""PyTorch devices by name, and PyTorch files read without running anything that is in them."""

import argparse
import logging
import os
import pickle
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tfsasm.errors import InputError, WeightsError, first_few
from tfsasm.files import atomic_path
from tfsasm.limits import GROWTH, check_archive, file_stand_in

log = logging.getLogger(__name__)


def find_device(name: str) -> torch.device:
    """The device of that name; `auto` takes a GPU where there is one.

    Raises `InputError` for a device that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).cpu()  # which `meta` has no numbers for
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(
            f"no device {name!r} here ({reason}); give cpu, or auto for what there is"
        ) from error
    return torch.device(name)


@contextmanager
def whole_float32(device: torch.device) -> Iterator[None]:
    """On NVIDIA's GPUs convolutions of float32 take whole inputs, not TF32's ten bits, inside."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = before and device.type != "cuda"
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextmanager
def without_compiler() -> Iterator[None]:
    """What is imported inside does not load what `torch.compile` needs, a second of every start.

    torchvision imports it for one question, which none but its `roi_align` asks. Asked, it loads
    then what it needs.
    """
    names = ("torch._dynamo", "torch._dynamo.utils")
    if names[0] in sys.modules:
        yield
        return
    package, utilities = map(ModuleType, names)
    vars(utilities)["is_compile_supported"] = _is_compile_supported
    sys.modules |= zip(names, (package, utilities), strict=True)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def _is_compile_supported(device_type: str) -> bool:
    from torch._dynamo.utils import is_compile_supported

    return is_compile_supported(device_type)


def constants(values: Sequence[float], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The values `[N]` beside `like`, of its dtype by default.

    Made there: a GPU makes the host wait while it copies. What is free in a traced graph stays so.
    """
    return torch.stack([like.new_full((), value, dtype=dtype or like.dtype) for value in values])


def upload(values: np.ndarray, device: torch.device) -> Tensor:
    """A tensor of the same values on a device; for a GPU the host does not wait for the copy."""
    tensor = torch.from_numpy(values)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def side_queue(device: torch.device) -> torch.cuda.Stream | None:
    """Another queue of work on a GPU, which does not wait for what a network computes there."""
    return torch.cuda.Stream(device) if device.type == "cuda" else None


def beside(queue: torch.cuda.Stream | None) -> AbstractContextManager[object]:
    """Inside, what this thread begins on the GPU is put into `queue`; None is no GPU."""
    return nullcontext() if queue is None else torch.cuda.stream(queue)


def uploads_beside(
    frames: Sequence[np.ndarray], device: torch.device, queue: torch.cuda.Stream | None
) -> list[Tensor]:
    """As `upload` of each, in `queue`: the copies wait for nothing that is computed before them.
    """
    with beside(queue):
        tensors = [upload(np.ascontiguousarray(frame), device) for frame in frames]
    if queue is not None:
        usual = torch.cuda.current_stream(device)
        usual.wait_stream(queue)
        for tensor in tensors:
            tensor.record_stream(usual)  # its memory is no other's until that is done
    return tensors


def download(tensor: Tensor) -> np.ndarray:
    """The values of a tensor; of one on a GPU when the present queue has them, in pinned memory."""
    if tensor.device.type != "cuda":
        return tensor.numpy()
    values = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    values.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensor.device).synchronize()
    return values.numpy()


# Trainers of YOLOX store the best score as a NumPy scalar beside the tensors.
_SCALAR: Any = np.float64(0).__reduce__()[0]

_NUMPY: list[Any] = [
    _SCALAR, np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)),
]  # fmt: skip
# Options beside the weights hold paths, of any system and any Python; pure ones open nothing.
_PATHS: list[Any] = []
if torch.__version__ >= "2.6":  # before, names of other versions cannot be given
    _NUMPY.append((_SCALAR, "numpy.core.multiarray.scalar"))
    _PATHS = [
        (kind, f"{module}.{pure}{kind.__name__.removeprefix('Pure')}")
        for module in ("pathlib", "pathlib._local")
        for kind in (PurePosixPath, PureWindowsPath) for pure in ("", "Pure")
    ]  # fmt: skip


def read_checkpoint_file(path: Path | str, *, numbers: bool = True) -> Any:
    """What a PyTorch file holds, on the CPU: tensors, plain values, paths, an `argparse.Namespace`.

    Without `numbers` tensors have shapes alone (on `meta`), which is quick. Raises `WeightsError`
    for a file that is missing, truncated, of another kind, or that would run code when loaded, and
    `InputError` for one that unpacks to many times its size.
    """
    if not Path(path).is_file():
        raise WeightsError(f"no checkpoint at {path}")
    if what := file_stand_in(path):
        raise WeightsError(f"{path} is {what}")
    check_archive(path)
    try:
        with (
            torch.serialization.safe_globals([argparse.Namespace, *_NUMPY, *_PATHS]),
            warnings.catch_warnings(action="ignore"),  # about files that are refused anyway
        ):
            return torch.load(path, map_location="cpu" if numbers else "meta", weights_only=True)
    except pickle.UnpicklingError as error:
        # Torch's own text is left out: it recommends to load the file unsafely.
        culprit = re.search(r"GLOBAL ([\w.]+)", str(error))
        if culprit is None:
            raise WeightsError(f"{path} is not a PyTorch checkpoint") from error
        raise WeightsError(
            f"{path} holds {culprit[1]}, more than tensors, and could run code when loaded; "
            f"refused. Ask its author for a plain state dict or safetensors"
        ) from error
    except Exception as error:  # of any kind, where bytes are hostile
        raise WeightsError(f"{path} is truncated or not a PyTorch checkpoint") from error


@contextmanager
def tensors_path(path: Path | str) -> Iterator[Path]:
    """`atomic_path` for PyTorch, whose own errors name no file.

    Raises `InputError` where it could not write all of it.
    """
    try:
        with atomic_path(path) as partial:
            yield partial
    except RuntimeError as error:
        if "inline_container" not in str(error):
            raise
        raise InputError(f"cannot write {path}; its disk may be full") from error


WRAPPERS = ("model", "state_dict", "model_state_dict", "network", "net", "weights")
"""Keys under which trainers keep the state dict beside other things."""

_LAYERS = 10
"""Wrappers in one another that are looked into: a dictionary may hold itself."""

PREFIXES = ("module.", "model.", "network.", "net.", "_orig_mod.")
"""What `DataParallel`, Lightning and `torch.compile` put before every name."""


def read_state_dict(path: Path | str, *, numbers: bool = True) -> dict[str, Tensor]:
    """The tensors by name of a PyTorch file that is a state dict, or holds one (`WRAPPERS`).

    Prefixes that every name has are left out, with a warning (`without_prefixes`). `numbers` is
    that of `read_checkpoint_file`. Raises `WeightsError` as that does, and for a file that holds
    something else.
    """
    level = logging.WARNING if numbers else logging.DEBUG  # said once, when all of it is read
    state = _unwrapped(read_checkpoint_file(path, numbers=numbers), path, level)
    if not isinstance(state, dict) or not state:
        known = ", ".join(WRAPPERS)
        raise WeightsError(f"{path} holds no state dict; expected one, or one under {known}")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise WeightsError(f"{path} is not a state dict: {name!r} names no tensor")
    if numbers:
        check_tensors(state, path)
    return without_prefixes(state, path, level)


def _unwrapped(content: Any, origin: Path | str, level: int) -> Any:
    """The state dict in a dictionary that has one: by a name of `WRAPPERS`, or the only one."""
    for _ in range(_LAYERS):
        if not isinstance(content, dict):
            break
        inner = {key: value for key, value in content.items() if isinstance(value, dict)}
        key = next((key for key in WRAPPERS if key in inner), None)
        if key is None:
            found = [key for key, value in inner.items()
                     if value and all(isinstance(one, Tensor) for one in value.values())]
            if len(found) > 1:
                several = first_few([str(key) for key in found], 5)
                raise WeightsError(f"{origin} holds state dicts under {several}; save one alone")
            if not found:
                return content
            key = found[0]
            log.log(level, "%s: the tensors are those under %s", origin, key)
        content = content[key]
    return content


def check_tensors(state: Mapping[str, Tensor], path: Path | str) -> None:
    """That the tensors of a file are plain tables of numbers.

    Raises `WeightsError` for those of another kind, and for values that are no numbers, as a
    training that diverged leaves; `InputError` for views that repeat a few values a billion times.
    """
    for name, tensor in state.items():
        if (
            tensor.layout is not torch.strided or tensor.device.type != "cpu"
            or tensor.is_nested or tensor.is_quantized or tensor.is_complex()
        ):  # fmt: skip
            raise WeightsError(f"{path}: {name} is no plain table of numbers; save it as one")
    size = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    GROWTH.check(size // os.path.getsize(path), path)
    if bad := [name for name, tensor in state.items() if torch.isnan(tensor).any()]:
        raise WeightsError(
            f"{path} has values that are no numbers (NaN) in {len(bad)} of {len(state)} tensors, "
            f"such as {bad[0]}: its training diverged; take an earlier checkpoint"
        )


def without_prefixes(
    state: dict[str, Tensor], origin: Path | str, level: int = logging.WARNING
) -> dict[str, Tensor]:
    """The same tensors without the `PREFIXES` that all names have, which is logged at `level`."""
    left_out = ""
    while prefix := next(
        (p for p in PREFIXES if state and all(name.startswith(p) for name in state)), ""
    ):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
        left_out += prefix
    if left_out:
        log.log(level, "%s: every name begins with %s; it was left out", origin, left_out)
    return state


class Undrawn(TorchFunctionMode):
    """In this context networks are made without drawing initial values; all must be filled in.

    To draw them takes as long as to read a file.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func.__name__.endswith(("uniform_", "normal_")):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Every name of a state dict that is missing or surplus, and every shape that is wrong."""
    problems = [f"missing: {name}" for name in expected if name not in found]
    problems += [f"surplus: {name}" for name in found if name not in expected]
    for name, tensor in expected.items():
        if name in found and found[name].shape != tensor.shape:
            shapes = f"{list(found[name].shape)} instead of {list(tensor.shape)}"
            problems.append(f"wrong shape: {name} is {shapes}")
    return problems


def refuse(problems: list[str], what: str) -> None:
    """Raises a `WeightsError` with the first few problems of each kind, where there are any."""
    if problems:
        kinds: dict[str, list[str]] = {}
        for kind, _, name in (problem.partition(": ") for problem in problems):
            kinds.setdefault(kind, []).append(name)
        lines = [f"{kind}: {first_few(names, 5)}" for kind, names in kinds.items()]
        count = f"{len(problems)} problem{'s' * (len(problems) > 1)}"
        raise WeightsError(f"{what}, {count}:\n  " + first_few(lines, 5, "\n  "))
