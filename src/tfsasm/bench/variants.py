"""The ways of computing the same network that are compared."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfsasm.api import embedded
from tfsasm.model import MOTRv2
from tfsasm.model.deform_attn import sample_by
from tfsasm.model.fast import FastMOTRv2
from tfsasm.model.linear import Linear
from tfsasm.model.sampling import plain
from tfsasm.model.weights import NetworkConfig, full, load_model


def network(name: str, weights: Path | None) -> tuple[MOTRv2, NetworkConfig]:
    """A network as it comes from its file; the published one with random weights without one."""
    if weights is not None or name == "tiny":
        return load_model(weights or embedded("tiny"))
    torch.manual_seed(0)
    config = full()
    return MOTRv2(config.model).eval().requires_grad_(False), config


def as_variant(name: str, model: MOTRv2) -> MOTRv2:
    """`model` in the way called `name`; the given one is used up."""
    return VARIANTS[name](model)


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
    sample_by(plain, model)
    return model


VARIANTS: dict[str, Callable[[MOTRv2], MOTRv2]] = {
    "plain": in_plain_pytorch,
    "exact": in_released_order,
    "fast-fp32": partial(FastMOTRv2, dtype=torch.float32),
    "fast-bf16": partial(FastMOTRv2, dtype=torch.bfloat16),
}
