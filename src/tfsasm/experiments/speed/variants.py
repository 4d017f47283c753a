"""Variants of the same network that are compared: in PyTorch, and exported."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import get_args

import torch
import torch.nn.functional as F

from tfsasm.errors import InputError
from tfsasm.motrv2.config import NetworkConfig, full
from tfsasm.motrv2.deformable_attention import in_order, plain, sample_by
from tfsasm.motrv2.exact import Linear
from tfsasm.motrv2.export import check_packages
from tfsasm.motrv2.family import load_model
from tfsasm.motrv2.fast.model import FastMOTRv2
from tfsasm.motrv2.fast.precision import Precision, parse_precision
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.network import TorchNetwork, as_network
from tfsasm.runtime.exported import ExportedNetwork, Runtime
from tfsasm.runtime.network import Network, in_sets
from tfsasm.runtime.sessions import OPENERS
from tfsasm.tracking.load import embedded

RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
"""The variants that run an exported network."""


def load_network(name: str, weights: Path | None) -> tuple[MOTRv2, NetworkConfig]:
    """A network as it comes from its file; without one, the published one with random weights."""
    if weights is not None or name == "tiny":
        return load_model(weights or embedded("tiny"))
    torch.manual_seed(0)
    config = full()
    return MOTRv2(config.model).eval().requires_grad_(False), config


def fast_network(name: str, weights: Path | None) -> TorchNetwork:
    """The variant that `tfsasm track` runs by default, in float32."""
    model, config = load_network(name, weights)
    return TorchNetwork(FastMOTRv2(model), config)


def check_variants(names: Iterable[str]) -> None:
    """Raises `InputError` for a name that is no variant, and for a package that one needs."""
    for name in names:
        precision_of(name)
    for runtime in set(RUNTIMES).intersection(names):
        OPENERS[runtime](1, "auto")
        check_packages("onnx")


def precision_of(name: str) -> Precision:
    """The precision of a variant. Raises `InputError` when there is none of that name."""
    if name in (*_SLOW, *RUNTIMES):
        return Precision()
    if not name.startswith(_FAST):
        known = ", ".join((*_SLOW, *RUNTIMES, f"{_FAST}PRECISION"))
        raise InputError(f"--variants has {known}, not {name!r}")
    return parse_precision(name.removeprefix(_FAST))


def make_variant(name: str, model: MOTRv2, config: NetworkConfig, exported: Path) -> Network:
    """The network as the variant `name`, for a tracker; `model` is used up.

    `exported` is the folder of its ONNX export, which OpenVINO opens too; it has as many threads as
    PyTorch. Raises `InputError` for the fast variants of a MOTR.
    """
    if config.model.kind == "motr" and name.startswith(_FAST):
        raise InputError(f"a MOTR is run in {', '.join((*_SLOW, *RUNTIMES))}, not in {name}")
    for runtime in RUNTIMES:
        if runtime == name:
            opened = ExportedNetwork(exported, runtime, threads=torch.get_num_threads())
            return in_sets(opened, config.model.queries_per_track)
    made = _SLOW[name](model) if name in _SLOW else FastMOTRv2(model, precision_of(name))
    return as_network(made, config)


def in_plain_pytorch(model: MOTRv2) -> MOTRv2:
    """As one would write it: `nn.Linear`, `grid_sample`, batch norms that are not folded."""
    sample_by(plain, model)
    for module in model.modules():
        if isinstance(module, Linear):
            module.forward = partial(  # type: ignore[method-assign]
                F.linear, weight=module.weight, bias=module.bias
            )
    return model


def in_released_order(model: MOTRv2) -> MOTRv2:
    """What `--preset released` runs: the order of summation of the released code."""
    sample_by(in_order, model)
    return model


_FAST = "fast-"

_SLOW: dict[str, Callable[[MOTRv2], MOTRv2]] = {
    "plain": in_plain_pytorch, "exact": in_released_order
}  # fmt: skip
