"""PyTorch devices by name, and PyTorch files read without running anything that is in them."""

from __future__ import annotations

import argparse
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tfsasm.errors import InputError, WeightsError


def find_device(name: str) -> torch.device:
    """The device of that name; `auto` takes a GPU where there is one.

    Raises `InputError` for a device that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(
            f"no device {name!r} here ({reason}); give cpu, or auto for what there is"
        ) from error
    return torch.device(name)


# Trainers of YOLOX store the best score as a NumPy scalar beside the tensors.
_SCALAR: Any = np.float64(0).__reduce__()[0]

_NUMPY: list[Any] = [
    _SCALAR, np.dtype, type(np.dtype(np.float64)), type(np.dtype(np.float32)),
]  # fmt: skip
if torch.__version__ >= "2.6":  # before, a name of NumPy 1 cannot be given
    _NUMPY.append((_SCALAR, "numpy.core.multiarray.scalar"))


def read_checkpoint_file(path: Path | str) -> Any:
    """What a PyTorch file holds, on the CPU: tensors, plain values and an `argparse.Namespace`.

    Raises `WeightsError` for a file that is missing, truncated, of another kind, or that would run
    code when loaded.
    """
    if not Path(path).is_file():
        raise WeightsError(f"no checkpoint at {path}")
    try:
        with torch.serialization.safe_globals([argparse.Namespace, *_NUMPY]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Torch's own text is left out: it recommends to load the file unsafely.
        culprit = re.search(r"GLOBAL ([\w.]+)", str(error))
        if culprit is None:
            raise WeightsError(f"{path} is not a PyTorch checkpoint") from error
        raise WeightsError(
            f"{path} holds {culprit[1]}, more than tensors, and could run code when loaded; "
            f"refused. Ask its author for a plain state dict or safetensors"
        ) from error
    except (
        RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError, AttributeError,
        zipfile.BadZipFile,
    ) as error:  # fmt: skip
        raise WeightsError(f"{path} is truncated or not a PyTorch checkpoint") from error


def read_state_dict(path: Path | str) -> dict[str, Tensor]:
    """The tensors by name of a PyTorch file that is a state dict, or has one under `model`.

    Raises `WeightsError` as `read_checkpoint_file` does, and for a file that holds something else.
    """
    loaded = read_checkpoint_file(path)
    state = loaded.get("model", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not state:
        raise WeightsError(f"{path} holds no state dict; expected one, or one under 'model'")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise WeightsError(f"{path} is not a state dict: {name!r} names no tensor")
    return state


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
    """Raises a `WeightsError` that lists all problems, where there are any."""
    if problems:
        count = f"{len(problems)} problem{'s' * (len(problems) > 1)}"
        raise WeightsError("\n  ".join([f"{what}, {count}:", *problems]))
