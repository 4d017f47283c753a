"""Image pyramid: torchvision's ResNet-50 or MobileNetV2 with frozen batch norm (SPEC 3.1).

Parameter names below `body` are torchvision's, so that published checkpoints load by name.
"""

import copy
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from tfsasm.pytorch import without_compiler

with without_compiler():
    from torchvision.models import mobilenetv2, resnet
    from torchvision.ops import FrozenBatchNorm2d


class ResNet50(resnet.ResNet):
    """Stages at strides 8, 16 and 32."""

    channels = (512, 1024, 2048)
    frozen = ("conv1", "layer1")  # the published recipe never trains these (SPEC 3.1)
    blocks = (3, 4, 6, 3)
    """Of each stage."""

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            super().__init__(resnet.Bottleneck, list(self.blocks), norm_layer=FrozenBatchNorm2d)
        del self.avgpool, self.fc
        _reset_convolutions(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised RGB `[B, 3, H, W]` to three maps of `channels` at 1/8, 1/16 and 1/32."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        c3 = self.layer2(self.layer1(x))
        c4 = self.layer3(c3)
        return [c3, c4, self.layer4(c4)]


class MobileNetV2(mobilenetv2.MobileNetV2):
    """Without its last 1x1 convolution; stages at strides 8, 16 and 32."""

    channels = (32, 96, 320)
    frozen: tuple[str, ...] = ()
    features: nn.Sequential
    taps = (6, 13, 17)
    """Blocks after which the maps are taken."""
    plan: list[list[int]] | None = None
    """Expansion, channels, blocks and stride of each group of blocks; None for the published."""

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            super().__init__(inverted_residual_setting=self.plan, norm_layer=FrozenBatchNorm2d)
        self.features = nn.Sequential(*self.features[: self.taps[-1] + 1])
        del self.classifier
        _reset_convolutions(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised RGB `[B, 3, H, W]` to three maps of `channels` at 1/8, 1/16 and 1/32."""
        maps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                maps.append(x)
        return maps


def _reset_convolutions(backbone: nn.Module) -> None:
    """PyTorch's own initial values, so that a seed means the same network in every version."""
    for part in backbone.modules():
        if isinstance(part, nn.Conv2d):
            part.reset_parameters()


Backbone = ResNet50 | MobileNetV2

BACKBONES: dict[str, Callable[[], Backbone]] = {"resnet50": ResNet50, "mobilenetv2": MobileNetV2}


@torch.no_grad()
def fold_batch_norms(backbone: Backbone) -> Backbone:
    """A copy of a backbone with every batch norm folded into its convolution, channels last.

    The same function up to float32 rounding, in about half the time; it has other parameters, so
    it is for running, not for saving.
    """
    folded = copy.deepcopy(backbone)
    for module in list(folded.modules()):
        for (_, conv), (norm_name, norm) in pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, FrozenBatchNorm2d):
                scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
                conv.weight *= scale[:, None, None, None]
                conv.bias = nn.Parameter(norm.bias - norm.running_mean * scale, requires_grad=False)
                setattr(module, norm_name, nn.Identity())
    return folded.to(memory_format=torch.channels_last)
