"""The ways of computing the same network that are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfsasm.errors import InputError
from tfsasm.motrv2.config import NetworkConfig, full
from tfsasm.motrv2.deformable_attention import in_order, plain, sample_by
from tfsasm.motrv2.exact import Linear
from tfsasm.motrv2.fast.model import FastMOTRv2
from tfsasm.motrv2.fast.precision import Precision, parse_precision
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.weights import load_model
from tfsasm.runtime.exported import Runtime
from tfsasm.tracking.load import embedded


def network(name: str, weights: Path | None) -> tuple[MOTRv2, NetworkConfig]:
    """A network as it comes from its file; the published one with random weights without one."""
    if weights is not None or name == "tiny":
        return load_model(weights or embedded("tiny"))
    torch.manual_seed(0)
    config = full()
    return MOTRv2(config.model).eval().requires_grad_(False), config


def check_variants(names: Iterable[str]) -> None:
    """Raises `InputError` for a name that is no variant."""
    for name in names:
        if name not in (*_WAYS, *get_args(Runtime)):
            precision_of(name)


def as_variant(name: str, model: MOTRv2) -> MOTRv2:
    """`model` in the way called `name`; the given one is used up."""
    if name in _WAYS:
        return _WAYS[name](model)
    return FastMOTRv2(model, precision_of(name))


def precision_of(name: str) -> Precision:
    """Of a variant. Raises `InputError` when there is none of that name."""
    if name in (*_WAYS, *get_args(Runtime)):
        return Precision()
    if not name.startswith(_FAST):
        known = ", ".join((*_WAYS, *get_args(Runtime), f"{_FAST}PRECISION"))
        raise InputError(f"--variants has {known}, not {name!r}")
    return parse_precision(name.removeprefix(_FAST))


def in_plain_pytorch(model: MOTRv2) -> MOTRv2:
    """As one would write it: `nn.Linear`, `grid_sample`, batch norms of their own."""
    sample_by(plain, model)
    for module in model.modules():
        if isinstance(module, Linear):
            module.forward = partial(_linear, module)  # type: ignore[method-assign]
    return model


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    return F.linear(x, layer.weight, layer.bias)


def in_released_order(model: MOTRv2) -> MOTRv2:
    """The path of `--preset released`."""
    sample_by(in_order, model)
    return model

_FAST = "fast-"

_WAYS: dict[str, Callable[[MOTRv2], MOTRv2]] = {
    "plain": in_plain_pytorch, "exact": in_released_order
}  # fmt: skip
