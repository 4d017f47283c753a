"""The released code's golden vectors, and the network with the weights that made them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from tfsasm.motrv2.config import full
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.weights import from_published
from tfsasm.pytorch import Undrawn

FOLDER = Path(__file__).parents[1] / "golden"


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def vectors(name: str) -> dict[str, np.ndarray]:
    return dict(np.load(FOLDER / f"{name}.npz"))


def tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(array))


def synthetic_sequence(*args: int, **settings: object) -> tuple[np.ndarray, list[list[str]]]:
    return _module("synth").make_seq(*args, **settings)


@cache
def published_state() -> dict[str, Tensor]:
    """All 616 tensors under their published names."""
    shapes = {}
    for line in (FOLDER / "state_dict.txt").read_text().splitlines():
        name, shape, _ = line.split("\t")
        shapes[name] = tuple(int(n) for n in shape.strip("()").split(",") if n.strip())
    return ruled_state(shapes)


def ruled_state(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Tensors of these shapes by the rule that made the weights of the golden vectors."""
    rule = _module("detweights").det_tensor
    return {name: torch.from_numpy(rule(name, shape)) for name, shape in shapes.items()}


@cache
def released_model() -> MOTRv2:
    with Undrawn():
        model = MOTRv2(full().model)
    model.load_state_dict(from_published(published_state(), model, "golden weights"))
    return model.eval().requires_grad_(False)
