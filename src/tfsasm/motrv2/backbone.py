"""Image pyramid: a ResNet-50 or MobileNetV2 trunk with frozen batch norm (SPEC 3.1).

Parameter names below `body` are torchvision's, so that published checkpoints load by name.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FrozenBatchNorm2d(nn.Module):
    """Batch norm whose statistics and affine part are fixed buffers."""

    eps = 1e-5
    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Scale and shift each channel of `[B, C, H, W]`."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale[:, None, None] + shift[:, None, None]


class Bottleneck(nn.Module):
    """ResNet v1.5 block: the stride sits in the 3x3 convolution."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = FrozenBatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = FrozenBatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = FrozenBatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), FrozenBatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, 4 * width, H / stride, W / stride]`."""
        skip = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + skip)


class ResNet50(nn.Module):
    """Stages at strides 8, 16 and 32."""

    channels = (512, 1024, 2048)
    frozen = ("conv1", "layer1")  # the published recipe never trains these (SPEC 3.1)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = FrozenBatchNorm2d(64)
        self.layer1 = self._stage(64, 64, 3, stride=1)
        self.layer2 = self._stage(256, 128, 4, stride=2)
        self.layer3 = self._stage(512, 256, 6, stride=2)
        self.layer4 = self._stage(1024, 512, 3, stride=2)

    @staticmethod
    def _stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
        outputs = width * Bottleneck.expansion
        first = Bottleneck(inputs, width, stride)
        return nn.Sequential(first, *(Bottleneck(outputs, width, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised RGB `[B, 3, H, W]` to three maps of `channels` at 1/8, 1/16 and 1/32."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        c3 = self.layer2(self.layer1(x))
        c4 = self.layer3(c3)
        return [c3, c4, self.layer4(c4)]


class InvertedResidual(nn.Module):
    """MobileNetV2 block (arXiv 1801.04381): expand, depthwise 3x3, project."""

    def __init__(self, inputs: int, outputs: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = inputs * expand
        self.skips = stride == 1 and inputs == outputs
        layers: list[nn.Module] = []
        if expand != 1:
            layers.append(_conv_bn_relu6(inputs, hidden, 1))
        layers += [
            _conv_bn_relu6(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            FrozenBatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, outputs, H / stride, W / stride]`."""
        return x + self.conv(x) if self.skips else self.conv(x)


def _conv_bn_relu6(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, FrozenBatchNorm2d(outputs), nn.ReLU6(inplace=True))


class MobileNetV2(nn.Module):
    """The trunk without its last 1x1 convolution; stages at strides 8, 16 and 32."""

    channels = (32, 96, 320)
    frozen: tuple[str, ...] = ()
    _plan = (  # expansion, outputs, blocks, stride
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
        (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    )  # fmt: skip
    _taps = (6, 13, 17)

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv_bn_relu6(3, 32, 3, 2)]
        inputs = 32
        for expand, outputs, blocks, stride in self._plan:
            for block in range(blocks):
                layers.append(
                    InvertedResidual(inputs, outputs, stride if block == 0 else 1, expand)
                )
                inputs = outputs
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised RGB `[B, 3, H, W]` to three maps of `channels` at 1/8, 1/16 and 1/32."""
        maps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self._taps:
                maps.append(x)
        return maps

Trunk = ResNet50 | MobileNetV2

TRUNKS: dict[str, Callable[[], Trunk]] = {"resnet50": ResNet50, "mobilenetv2": MobileNetV2}


@torch.no_grad()
def fold_batch_norms(trunk: Trunk) -> Trunk:
    """A copy of a trunk with every frozen batch norm folded into its convolution, channels last.

    The same function up to float32 rounding, in about half the time; it has other parameters, so
    it is for running, not for saving.
    """
    folded = copy.deepcopy(trunk)
    for module in list(folded.modules()):
        names = list(module._modules.items())
        for (_, conv), (norm_name, norm) in pairwise(names):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, FrozenBatchNorm2d):
                scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
                conv.weight *= scale[:, None, None, None]
                conv.bias = nn.Parameter(norm.bias - norm.running_mean * scale, requires_grad=False)
                setattr(module, norm_name, nn.Identity())
    return folded.to(memory_format=torch.channels_last)
