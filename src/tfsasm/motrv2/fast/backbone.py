"""A backbone for running only: batch norms, activations and sums inside the convolutions.

What is unusual here: which blocks run in bfloat16 is not a list of names. The batch norms tell how
large the inputs of a convolution are, so it is known what rounding would do to its answers. Where
that is much, the block and all before it, whose errors it would magnify, stay float32. And what the
rounded weights miss on average, the bias makes up for.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from tfsasm.motrv2.backbone import Backbone, FrozenBatchNorm2d, MobileNetV2
from tfsasm.motrv2.fast.layers import PackedConv
from tfsasm.motrv2.fast.precision import ActivationStatistics, mean_answer, rounding_noise

if TYPE_CHECKING:
    from torchvision.models.mobilenetv2 import InvertedResidual
    from torchvision.models.resnet import Bottleneck

MAX_ROUNDING_ERROR = 0.02
"""Largest error of a convolution's answers, relative to their spread, with which it may be rounded.

In bfloat16 the convolutions of ResNet-50 and MobileNetV2 come to less than 0.01, but one of
MobileNetV2 to 0.5, from which nearly all of the network's error came (docs/performance.md)."""


class FusedBackbone(nn.Module):
    """A backbone in `dtype`, but for leading blocks that rounding would spoil."""

    def __init__(self, backbone: Backbone, dtype: torch.dtype) -> None:
        super().__init__()
        self.channels = backbone.channels
        blocks, self.ends = blocks_of(backbone)
        pairs, given = [], ActivationStatistics.of_images()
        for block in blocks:
            pairs.append((block, given))
            given = block.leaves(given)
        spoilt = [i for i, (block, given) in enumerate(pairs, 1) if block.spoils(given, dtype)]
        self.float32_blocks = max(spoilt, default=0)
        self.blocks = nn.ModuleList(
            _FastBlock(block, given, torch.float32 if i < self.float32_blocks else dtype)
            for i, (block, given) in enumerate(pairs)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """As the backbone's, channels last; a map is of the dtype of the block that it leaves."""
        x = x.to(memory_format=torch.channels_last)
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.ends:
                maps.append(x)
        return maps


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

    def leaves(self, beside: ActivationStatistics | None = None) -> ActivationStatistics:
        """Its answers, with what is added to them before the activation."""
        own = ActivationStatistics(
            self.norm.bias.cpu().double(), self.norm.weight.cpu().double() ** 2
        )
        return (own if beside is None else own + beside).after(self.activation)

    def packed(self, given: ActivationStatistics, dtype: torch.dtype) -> PackedConv:
        """In `dtype`, for inputs as `given`."""
        weight, bias = self.folded()
        if dtype != torch.float32:
            bias = bias + mean_answer(weight - weight.to(dtype).double(), given)
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

    def inputs(self, given: ActivationStatistics) -> list[tuple[_Layer, ActivationStatistics]]:
        """All layers with what they are given; the shortcut comes last."""
        before = [given, *(layer.leaves() for layer in self.layers[:-1])]
        pairs = list(zip(self.layers, before, strict=True))
        return pairs if self.shortcut is None else [*pairs, (self.shortcut, given)]

    def leaves(self, given: ActivationStatistics) -> ActivationStatistics:
        """Its answers; pooling is not taken into account."""
        beside = given if self.shortcut is None else self.shortcut.leaves()
        return self.layers[-1].leaves(beside if self.residual else None)

    def spoils(self, given: ActivationStatistics, dtype: torch.dtype) -> bool:
        """Whether rounding to `dtype` would change the answers of one of its layers much."""
        return dtype != torch.float32 and any(
            rounding_noise(layer.folded()[0], inputs, layer.norm.weight.cpu().double(), dtype)
            > MAX_ROUNDING_ERROR
            for layer, inputs in self.inputs(given)
        )


class _FastBlock(nn.Module):
    def __init__(self, block: _Block, given: ActivationStatistics, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.residual = dtype, block.residual
        packed = [layer.packed(inputs, dtype) for layer, inputs in block.inputs(given)]
        count = len(block.layers)
        self.layers = nn.ModuleList(packed[:count])
        self.shortcut = packed[count] if block.shortcut is not None else nn.Identity()
        self.after = nn.MaxPool2d(3, 2, 1) if block.pools else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.dtype)
        skip = self.shortcut(x) if self.residual else None
        *before, last = self.layers
        for layer in before:
            x = layer(x)
        return self.after(last(x, skip))


def blocks_of(backbone: Backbone) -> tuple[list[_Block], tuple[int, ...]]:
    """All blocks, the stem as the first, and those after which the maps are taken."""
    if isinstance(backbone, MobileNetV2):
        stem, *rest = backbone.features
        return [_Block([_relu6(stem)]), *map(_inverted, rest)], backbone.taps
    stem = cast(FrozenBatchNorm2d, backbone.bn1)
    first = _Block([_Layer(backbone.conv1, stem, "relu")], pools=True)
    stages = backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4
    return [first, *(_bottleneck(block) for stage in stages for block in stage)], (7, 13, 16)


def _inverted(block: nn.Module) -> _Block:
    whole = cast("InvertedResidual", block)
    *outer, conv, norm = whole.conv
    last = _Layer(cast(nn.Conv2d, conv), cast(FrozenBatchNorm2d, norm))
    return _Block([*map(_relu6, outer), last], residual=whole.use_res_connect)


def _bottleneck(block: nn.Module) -> _Block:
    whole = cast("Bottleneck", block)
    pairs = (whole.conv1, whole.bn1), (whole.conv2, whole.bn2), (whole.conv3, whole.bn3)
    shortcut = None
    if whole.downsample is not None:
        conv, norm = cast(nn.Sequential, whole.downsample)
        shortcut = _Layer(cast(nn.Conv2d, conv), cast(FrozenBatchNorm2d, norm))
    return _Block([_Layer(*pair, "relu") for pair in pairs], shortcut, residual=True)


def _relu6(layers: nn.Module) -> _Layer:
    conv, norm, _ = cast(nn.Sequential, layers)
    return _Layer(cast(nn.Conv2d, conv), cast(FrozenBatchNorm2d, norm), "relu6")
