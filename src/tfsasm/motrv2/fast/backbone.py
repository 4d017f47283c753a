"""A backbone for running only: batch norms, activations and sums inside the convolutions.

What is unusual here: which blocks run in bfloat16 is not a list of names. The batch norms tell how
large the inputs of a convolution are, so it is known what rounding would do to its answers. Where
that is much, the block and all before it, whose errors it would magnify, stay float32. And what the
rounded weights miss on average, the bias makes up for. For bytes the same holds; blocks that they
would spoil are bfloat16.
"""

from dataclasses import dataclass
from itertools import accumulate
from typing import Any, cast

import torch
from torch import Tensor, nn

from tfsasm.motrv2.backbone import Backbone, FrozenBatchNorm2d, MobileNetV2
from tfsasm.motrv2.fast.layers import PackedConv, QuantisedConv, max_pool
from tfsasm.motrv2.fast.precision import (
    IMAGES,
    ActivationStatistics,
    Inputs,
    Scale,
    mean_answer,
    rounded,
    rounding_noise,
)

MAX_ROUNDING_ERROR = 0.02
"""Largest error of a convolution's answers, relative to their spread, with which it may be rounded.

In bfloat16 the convolutions of ResNet-50 and MobileNetV2 come to less than 0.01, but one of
MobileNetV2 to 0.5, from which nearly all of the network's error came (docs/performance.md)."""

MAX_BYTE_ERROR = 0.05
"""The same for bytes, in which most of them come to 0.01 to 0.03."""


class FusedBackbone(nn.Module):
    """A backbone in `dtype`, but for leading blocks that rounding would spoil."""

    def __init__(self, backbone: Backbone, dtype: torch.dtype) -> None:
        super().__init__()
        self.channels = backbone.channels
        blocks, self.ends = blocks_of(backbone)
        given = accumulate(blocks, lambda given, block: block.answers(given), initial=IMAGES)
        pairs = list(zip(blocks, given, strict=False))
        narrow = torch.bfloat16 if dtype == torch.int8 else dtype
        self.float32_blocks = _spoilt(pairs, narrow)
        self.whole = max(1, _spoilt(pairs, dtype)) if dtype == torch.int8 else len(pairs)
        kinds = [torch.float32] * self.float32_blocks
        kinds += [narrow] * (self.whole - len(kinds)) + [dtype] * (len(pairs) - self.whole)
        self.blocks = nn.ModuleList(
            _FastBlock(block, given, kind)
            for (block, given), kind in zip(pairs, kinds, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """As the backbone's, channels last; a map is of the dtype of the block that it leaves.

        Where that is of bytes, the `scales` tell what they stand for.
        """
        x = x.to(memory_format=torch.channels_last)
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.ends:
                maps.append(x)
        return maps

    @property
    def scales(self) -> list[Scale | None]:
        """Of the maps; None for one that is not of bytes."""
        ends = [cast(_FastBlock, self.blocks[index]) for index in self.ends]
        return [block.gives if block.dtype == torch.int8 else None for block in ends]


@dataclass(frozen=True)
class _Layer:
    """A convolution and what follows it."""

    conv: nn.Conv2d
    norm: FrozenBatchNorm2d
    activation: str = "none"

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias with the batch norm in them, float64 on the CPU."""
        norm = self.norm
        gain, bias, mean, variance, weight = (
            tensor.detach().cpu().double()
            for tensor in (
                norm.weight, norm.bias, norm.running_mean, norm.running_var, self.conv.weight
            )
        )
        scale = gain * (variance + norm.eps).rsqrt()
        return weight * scale[:, None, None, None], bias - mean * scale

    def answers(self, beside: ActivationStatistics | None = None) -> Inputs:
        """What is known of its answers, with what is added to them before the activation."""
        own = ActivationStatistics(
            self.norm.bias.cpu().double(), self.norm.weight.cpu().double() ** 2
        )
        return Inputs.of(own if beside is None else own + beside, self.activation)

    def noise(self, inputs: Inputs, dtype: torch.dtype) -> float:
        """What rounding moves its answers by, relative to their spread."""
        return rounding_noise(self.folded()[0], inputs, self.norm.weight.cpu().double(), dtype)

    def made(
        self, inputs: Inputs, dtype: torch.dtype, gives: Scale | None = None,
        beside: Scale | None = None,
    ) -> PackedConv | QuantisedConv:
        """In `dtype`; of bytes as `inputs` tell and with bytes `beside`, to bytes as `gives` tells.
        """
        weight, bias = self.folded()
        if dtype != torch.float32:
            bias = bias + mean_answer(weight - rounded(weight, dtype), inputs.given.mean)
        if dtype == torch.int8:
            return QuantisedConv(
                self.conv, weight, bias, inputs.scale, gives, self.activation, beside
            )
        device = self.conv.weight.device
        return PackedConv(self.conv, weight.to(device), bias.to(device), dtype, self.activation)


@dataclass(frozen=True)
class _Block:
    """Layers one after the other, and a shortcut past them."""

    layers: list[_Layer]
    shortcut: _Layer | None = None
    residual: bool = False
    """The input is added at the end; through `shortcut` where there is one."""
    pools: bool = False

    def inputs(self, given: Inputs) -> list[tuple[_Layer, Inputs]]:
        """All layers with what they are given; the shortcut comes last."""
        before = [given, *(layer.answers() for layer in self.layers[:-1])]
        pairs = list(zip(self.layers, before, strict=True))
        return pairs if self.shortcut is None else [*pairs, (self.shortcut, given)]

    def skipped(self, given: Inputs) -> Inputs:
        """What is added at the end of a residual block."""
        return given if self.shortcut is None else self.shortcut.answers()

    def answers(self, given: Inputs) -> Inputs:
        """What is known of its answers; pooling is not taken into account."""
        return self.layers[-1].answers(self.skipped(given).given if self.residual else None)


def _spoilt(pairs: list[tuple[_Block, Inputs]], dtype: torch.dtype) -> int:
    """How many blocks there are up to the last with a layer that `dtype` would change much."""
    most = MAX_BYTE_ERROR if dtype == torch.int8 else MAX_ROUNDING_ERROR
    spoilt = [
        i for i, (block, given) in enumerate(pairs, 1) if dtype != torch.float32
        and any(layer.noise(before, dtype) > most for layer, before in block.inputs(given))
    ]
    return max(spoilt, default=0)


class _FastBlock(nn.Module):
    def __init__(self, block: _Block, inputs: Inputs, dtype: torch.dtype) -> None:
        """Of bytes, it takes those of `inputs` and gives those that `gives` tells."""
        super().__init__()
        self.dtype, self.residual, self.pools = dtype, block.residual, block.pools
        self.takes, self.gives = inputs.scale, block.answers(inputs).scale
        beside, pairs = block.skipped(inputs).scale, block.inputs(inputs)
        scales = [*(given.scale for _, given in pairs[1:len(block.layers)]), self.gives, beside]
        made = [
            layer.made(given, dtype, scale, beside)
            for (layer, given), scale in zip(pairs, scales, strict=False)  # maybe no shortcut
        ]
        self.layers = nn.ModuleList(made[:len(block.layers)])
        self.shortcut = nn.Identity() if block.shortcut is None else made[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Numbers of any kind, or bytes as it takes them, which may be used up."""
        if self.dtype != torch.int8:
            x = x.to(self.dtype)
        elif x.dtype != torch.uint8:
            x = self.takes.bytes_of(x)
        skip = self.shortcut(x) if self.residual else None
        *before, last = self.layers
        for layer in before:
            x = layer(x)
        x = last(x, skip)
        return max_pool(x) if self.pools else x


def blocks_of(backbone: Backbone) -> tuple[list[_Block], tuple[int, ...]]:
    """All blocks, the stem as the first, and those after which the maps are taken."""
    if isinstance(backbone, MobileNetV2):
        stem, *rest = backbone.features
        return [_Block([_layer(stem)]), *map(_inverted, rest)], backbone.taps
    norm = cast(FrozenBatchNorm2d, backbone.bn1)
    first = _Block([_Layer(backbone.conv1, norm, "relu")], pools=True)
    stages = backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4
    ends = tuple(accumulate(map(len, stages)))[1:]
    return [first, *(_bottleneck(block) for stage in stages for block in stage)], ends


def _inverted(block: Any) -> _Block:
    *outer, conv, norm = block.conv
    return _Block([*map(_layer, outer), _layer((conv, norm))], residual=block.use_res_connect)


def _bottleneck(block: Any) -> _Block:
    pairs = (block.conv1, block.bn1), (block.conv2, block.bn2), (block.conv3, block.bn3)
    shortcut = None if block.downsample is None else _layer(block.downsample)
    return _Block([_Layer(*pair, "relu") for pair in pairs], shortcut, residual=True)


def _layer(parts: Any) -> _Layer:
    """Of a convolution, its norm and, where there is a third part, ReLU6."""
    conv, norm, *after = parts
    return _Layer(conv, norm, "relu6" if after else "none")
