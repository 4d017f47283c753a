"""A backbone for running only: batch norms, activations and sums inside the convolutions.

What is unusual here: which blocks run in bfloat16 is not a list of names. The batch norms tell how
large the inputs of a convolution are, so it is known what rounding would do to its answers. Where
that is much, the block and all before it, whose errors it would magnify, stay float32. And what the
rounded weights miss on average, the bias makes up for. For bytes the same holds; blocks that they
would spoil are bfloat16.
"""

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from tfsasm.motrv2.backbone import Backbone, FrozenBatchNorm2d, MobileNetV2
from tfsasm.motrv2.fast.layers import PackedConv, max_pool
from tfsasm.motrv2.fast.precision import ActivationStatistics, mean_answer, rounding_noise
from tfsasm.motrv2.fast.quantised import IMAGES, Inputs, QuantisedConv, Scale, byte_noise, rounded

if TYPE_CHECKING:
    from torchvision.models.mobilenetv2 import InvertedResidual
    from torchvision.models.resnet import Bottleneck

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
        pairs, given = [], IMAGES
        for block in blocks:
            pairs.append((block, given))
            given = block.leaves(given)
        narrow = torch.bfloat16 if dtype == torch.int8 else dtype
        self.float32_blocks = _spoilt(pairs, narrow)
        self.whole = max(1, _spoilt(pairs, dtype)) if dtype == torch.int8 else len(pairs)
        self.blocks = nn.ModuleList(
            _FastBlock(block, given, torch.float32 if i < self.float32_blocks else narrow)
            if i < self.whole else _ByteBlock(block, given)
            for i, (block, given) in enumerate(pairs)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """As the backbone's, channels last; a map is of the dtype of the block that it leaves.

        Where that is of bytes, the `scales` tell what they stand for.
        """
        x = x.to(memory_format=torch.channels_last)
        maps = []
        for index, block in enumerate(self.blocks):
            if index == self.whole:
                x = cast(_ByteBlock, block).scale.bytes_of(x)
            x = block(x)
            if index in self.ends:
                maps.append(x)
        return maps

    @property
    def scales(self) -> list[Scale | None]:
        """Of the maps; None for one that is not of bytes."""
        ends = [self.blocks[index] for index in self.ends]
        return [block.gives if isinstance(block, _ByteBlock) else None for block in ends]


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

    def gives(self, beside: ActivationStatistics | None = None) -> Scale:
        """Bytes for its answers, with what is added to them before the activation."""
        return Scale.of(self.before(beside), self.activation)

    def leaves(self, beside: ActivationStatistics | None = None) -> ActivationStatistics:
        """Its answers, with what is added to them before the activation."""
        return self.before(beside).after(self.activation)

    def before(self, beside: ActivationStatistics | None = None) -> ActivationStatistics:
        """Its answers with what is added to them, as the activation finds them."""
        own = ActivationStatistics(
            self.norm.bias.cpu().double(), self.norm.weight.cpu().double() ** 2
        )
        return own if beside is None else own + beside

    def noise(self, inputs: Inputs, dtype: torch.dtype) -> float:
        """What rounding moves its answers by, relative to their spread."""
        weight, spread = self.folded()[0], self.norm.weight.cpu().double()
        if dtype == torch.int8:
            return byte_noise(weight, inputs.given, inputs.scale, spread)
        return rounding_noise(weight, inputs.given, spread, dtype)

    def in_bytes(self, inputs: Inputs, gives: Scale) -> QuantisedConv:
        """Of bytes, and to bytes as `gives` tells."""
        weight, bias = self.folded()
        bias = bias + mean_answer(weight - rounded(weight), inputs.given)
        return QuantisedConv(self.conv, weight, bias, inputs.scale, gives, self.activation)

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

    def inputs(self, given: Inputs) -> list[tuple[_Layer, Inputs]]:
        """All layers with what they are given; the shortcut comes last."""
        before = [given, *(Inputs(layer.leaves(), layer.gives()) for layer in self.layers[:-1])]
        pairs = list(zip(self.layers, before, strict=True))
        return pairs if self.shortcut is None else [*pairs, (self.shortcut, given)]

    def leaves(self, inputs: Inputs) -> Inputs:
        """Its answers; pooling is not taken into account."""
        skipped = inputs.given if self.shortcut is None else self.shortcut.leaves()
        beside, last = skipped if self.residual else None, self.layers[-1]
        return Inputs(last.leaves(beside), last.gives(beside))

    def spoils(self, inputs: Inputs, dtype: torch.dtype) -> bool:
        """Whether rounding to `dtype` would change the answers of one of its layers much."""
        most = MAX_BYTE_ERROR if dtype == torch.int8 else MAX_ROUNDING_ERROR
        return dtype != torch.float32 and any(
            layer.noise(given, dtype) > most for layer, given in self.inputs(inputs)
        )


def _spoilt(pairs: list[tuple[_Block, Inputs]], dtype: torch.dtype) -> int:
    """How many blocks there are up to the last that rounding to `dtype` would spoil."""
    spoilt = [i for i, (block, given) in enumerate(pairs, 1) if block.spoils(given, dtype)]
    return max(spoilt, default=0)


class _FastBlock(nn.Module):
    def __init__(self, block: _Block, inputs: Inputs, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.residual = dtype, block.residual
        packed = [layer.packed(each.given, dtype) for layer, each in block.inputs(inputs)]
        count = len(block.layers)
        self.layers = nn.ModuleList(packed[:count])
        self.shortcut = packed[count] if block.shortcut is not None else nn.Identity()
        self.pools = block.pools

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.dtype)
        skip = self.shortcut(x) if self.residual else None
        *before, last = self.layers
        for layer in before:
            x = layer(x)
        x = last(x, skip)
        return max_pool(x) if self.pools else x


class _ByteBlock(nn.Module):
    """A block of bytes, from the first layer to the sum at the end."""

    def __init__(self, block: _Block, inputs: Inputs) -> None:
        super().__init__()
        self.scale, self.gives = inputs.scale, block.leaves(inputs).scale
        self.residual = block.residual
        gives = [*(layer.gives() for layer in block.layers[:-1]), self.gives]
        pairs = zip(block.inputs(inputs), gives, strict=False)  # without the shortcut
        made = [layer.in_bytes(given, scale) for (layer, given), scale in pairs]
        self.layers, self.beside, self.shortcut = nn.ModuleList(made), self.scale, None
        if block.shortcut is not None:
            self.beside = block.shortcut.gives()
            self.shortcut = block.shortcut.in_bytes(inputs, self.beside)

    def forward(self, x: Tensor) -> Tensor:
        """Bytes as `scale` tells, which are used up, to bytes as `gives` tells."""
        skip = None
        if self.residual:
            skip = x if self.shortcut is None else self.shortcut(x)
        *before, last = self.layers
        for layer in before:
            x = layer(x)
        return last(x, skip, self.beside)


def blocks_of(backbone: Backbone) -> tuple[list[_Block], tuple[int, ...]]:
    """All blocks, the stem as the first, and those after which the maps are taken."""
    if isinstance(backbone, MobileNetV2):
        stem, *rest = backbone.features
        return [_Block([_relu6(stem)]), *map(_inverted, rest)], backbone.taps
    stem = cast(FrozenBatchNorm2d, backbone.bn1)
    first = _Block([_Layer(backbone.conv1, stem, "relu")], pools=True)
    stages = backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4
    ends = tuple(accumulate(map(len, stages)))[1:]
    return [first, *(_bottleneck(block) for stage in stages for block in stage)], ends


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
