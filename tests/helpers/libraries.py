"""Functions that compute on NumPy arrays and PyTorch tensors, called with NumPy for both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch

from tfsasm.tables import as_numpy

LIBRARIES = {"numpy": np, "torch": torch}


def on_arrays_of(library: ModuleType, module: ModuleType, *names: str) -> SimpleNamespace:
    """The named functions of a module, on arrays of a library, from and to NumPy."""
    functions = {name: partial(_call, library, getattr(module, name)) for name in names}
    return SimpleNamespace(library=library, **functions)


def _call(library: ModuleType, function: Callable[..., Any], *args: Any, **settings: Any) -> Any:
    def into(value: Any) -> Any:
        return library.asarray(value.copy()) if isinstance(value, np.ndarray) else value

    given = [_mapped(value, into) for value in args]
    named = {name: _mapped(value, into) for name, value in settings.items()}
    return _mapped(function(*given, **named), _out)


def _out(value: Any) -> Any:
    return as_numpy(value) if isinstance(value, np.ndarray | torch.Tensor) else value


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """`value` with every array changed, also inside a dataclass."""
    if not is_dataclass(value):
        return change(value)
    columns = {field.name: getattr(value, field.name) for field in fields(value)}
    return replace(value, **{name: _mapped(column, change) for name, column in columns.items()})
