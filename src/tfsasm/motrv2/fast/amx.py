"""The encoder on processors with AMX: a block of tokens goes through a whole layer at once.

What is unusual here: in int8 nothing is calibrated. Weights are rounded by a scale for each of
their rows, and so are inputs, token by token, by the largest number that is there (`encoder.cpp`).
"""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int64, c_void_p
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfsasm.motrv2.config import ModelConfig
from tfsasm.motrv2.fast import kernels
from tfsasm.motrv2.fast.kernels import Shapes
from tfsasm.motrv2.transformer import EncoderLayer

_KINDS = {torch.bfloat16: "bf16", torch.int8: "int8"}

_CPU = torch.device("cpu")

_TILE = 64  # bytes of a row of a tile, which has 16
_TOGETHER = 32  # answers of two tiles


def takes_bytes(outputs: int, inputs: int) -> bool:
    """Whether the kernel `add_product` takes a layer of these sizes, here."""
    return kernels.has_amx() and inputs % _TILE == outputs % _TOGETHER == 0


def serves(config: ModelConfig, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether `TiledEncoder` takes an encoder of these sizes, here."""
    return (
        device.type == "cpu" and dtype in _KINDS and kernels.has_amx()
        and config.levels * config.points <= kernels.MAX_POINTS
        and config.width % 64 == config.feedforward % 64 == config.width // config.heads % 16 == 0
    )  # fmt: skip


class TiledEncoder(nn.Module):
    """All layers of an encoder in bfloat16 or int8; residuals and norms stay float32."""

    def __init__(self, layers: list[EncoderLayer], config: ModelConfig, dtype: torch.dtype) -> None:
        """Raises `ValueError` where it does not serve."""
        super().__init__()
        if not serves(config, dtype, layers[0].norm1.weight.device if layers else _CPU):
            raise ValueError(f"no AMX here for an encoder in {dtype} of {config}")
        self.config, self.kind = config, _KINDS[dtype]
        self.layers = [_Layer(layer, dtype) for layer in layers]

    def forward(self, tokens: Tensor, position: Tensor, shapes: Shapes, reference: Tensor) -> None:
        """Change the tokens `[S, C]` of one image; `position` alike, `reference` `[S, 2]`.

        A call does a layer, without the first, and makes the values `[M, S, D]` that the next one
        samples.
        """
        config = self.config
        sizes = (c_int64 * 6)(  # as in encoder.cpp
            len(tokens), config.heads, config.width, config.feedforward, len(shapes), config.points
        )
        values, spare = tokens.new_empty(2, *tokens.shape, dtype=torch.bfloat16)
        for layer, after in pairwise([None, *self.layers, None]):
            kernels.run(
                f"encode_{self.kind}", tokens, position, reference, values, spare,
                None if layer is None else ctypes.byref(layer.pointers()),
                None if after is None else ctypes.byref(after.values.pointers()),
                sizes, kernels.table(tuple(shapes)), amx=True,
            )  # fmt: skip
            values, spare = spare, values


@dataclass(frozen=True)
class TiledLinear:
    """A linear layer whose weights lie as AMX's tiles take them."""

    tiles: Tensor
    scale: Tensor
    """Of each answer; of no use to bfloat16."""
    bias: Tensor

    @classmethod
    def tiled(cls, dtype: torch.dtype, *layers: nn.Linear) -> TiledLinear:
        """Layers of one input, their answers side by side and filled up with zeros."""
        weight, bias = (
            torch.cat([part.detach().float() for part in parts])
            for parts in ([x.weight for x in layers], [x.bias for x in layers])
        )
        missing = -len(bias) % _TOGETHER
        weight, bias = F.pad(weight, (0, 0, 0, missing)), F.pad(bias, (0, missing))
        scale = torch.ones_like(bias)
        if dtype == torch.int8:
            scale = weight.abs().amax(1).clamp(min=1e-30) / 127
            weight = (weight / scale[:, None]).round()
        return cls.of(weight.to(dtype), scale, bias)

    @classmethod
    def of(cls, weight: Tensor, scale: Tensor, bias: Tensor) -> TiledLinear:
        """A layer of bfloat16 or int8 `weight` `[O, K]`; float32 `scale` and `bias` `[O]`."""
        size = weight.dtype.itemsize
        tiles = weight.view(-1, 16, weight.shape[1] * size // _TILE, 16, 4 // size)
        return cls(tiles.permute(0, 2, 3, 1, 4).contiguous(), scale, bias)

    def pointers(self) -> ctypes.Structure:
        """For the kernels; good while this lives."""
        return _LINEAR(*(part.data_ptr() for part in (self.tiles, self.scale, self.bias)))


class _Layer:
    def __init__(self, layer: EncoderLayer, dtype: torch.dtype) -> None:
        attention = layer.self_attn
        groups = (
            (attention.value_proj,), (attention.sampling_offsets, attention.attention_weights),
            (attention.output_proj,), (layer.linear1,), (layer.linear2,),
        )  # fmt: skip
        self.values, *self.others = (TiledLinear.tiled(dtype, *group) for group in groups)
        self.norms = layer.norm1, layer.norm2

    def pointers(self) -> ctypes.Structure:
        norms = (_NORM(n.weight.data_ptr(), n.bias.data_ptr(), n.eps) for n in self.norms)
        return _LAYER(*(linear.pointers() for linear in self.others), *norms)


# As in encoder.cpp.


class _LINEAR(ctypes.Structure):
    _fields_ = [("tiles", c_void_p), ("scale", c_void_p), ("bias", c_void_p)]


class _NORM(ctypes.Structure):
    _fields_ = [("gain", c_void_p), ("bias", c_void_p), ("eps", c_float)]


class _LAYER(ctypes.Structure):
    _fields_ = [
        *((name, _LINEAR) for name in ("queries", "output", "first", "second")),
        ("norm1", _NORM), ("norm2", _NORM),
    ]  # fmt: skip
