"""The same network for running only: quicker, equal up to rounding, in float32 or narrower.

What is unusual here: an encoder layer goes through its tokens in parts. Only the values must be
there for all of them; everything after is row by row, so a part's intermediate results stay in the
processor's cache and the large ones (1,024 channels of 24,000 tokens) never exist at once.

With `torch.bfloat16` or `torch.float16` the convolutions and matrix products are of that kind; the
residual of the encoder, the norms, the sums of samples and all of a query's path stay float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from tfsasm.model import native
from tfsasm.model.backbone import (
    Bottleneck,
    FrozenBatchNorm2d,
    InvertedResidual,
    MobileNetV2,
    Trunk,
)
from tfsasm.model.deform_attn import DeformableAttention, locate
from tfsasm.model.motrv2 import MOTRv2
from tfsasm.model.packed import PackedConv, PackedLinear
from tfsasm.model.sampling import Shapes, sample
from tfsasm.model.transformer import (
    DecoderLayer,
    EncoderLayer,
    Features,
    level_positions,
    pixel_centres,
)

PART = 2048
"""Tokens of an encoder layer that are worked on together."""


class FastMOTRv2(MOTRv2):
    """A `MOTRv2` made of another, which is used up; it neither trains nor saves nor pads."""

    def __init__(self, model: MOTRv2, dtype: torch.dtype = torch.float32) -> None:
        nn.Module.__init__(self)
        self.config, self.dtype = model.config, dtype
        self.size = model.size
        self.backbone = FastTrunk(model.backbone, dtype)  # type: ignore[assignment]
        self.projections = nn.ModuleList(
            nn.Sequential(_conv(conv, None, dtype), norm)
            for conv, norm in map(_pair, model.projections)
        )
        self.encoder = nn.ModuleList(  # type: ignore[assignment]
            FastEncoderLayer(cast(EncoderLayer, layer), dtype) for layer in model.encoder.layers
        )
        self.decoder, self.interaction = model.decoder, model.interaction
        for layer in cast(list[DecoderLayer], self.decoder.layers):
            layer.cross_attn = FastAttention(  # type: ignore[assignment]
                layer.cross_attn, dtype, torch.float32
            )
        for name in (
            "level_embed", "learned_boxes", "learned_content", "proposal_content",
            "denoising_content",
        ):  # fmt: skip
            setattr(self, name, getattr(model, name))
        self._plans: dict[tuple[tuple[int, int], ...], _Plan] = {}
        self.eval().requires_grad_(False)

    def encode(self, images: Tensor, padding: Tensor | None = None) -> Features:
        """As `MOTRv2.encode`; the tokens are of `dtype`. Raises `ValueError` for padding."""
        if padding is not None:
            raise ValueError("a FastMOTRv2 encodes images of one size, without padding")
        maps = self._maps(images)
        shapes = [(m.shape[-2], m.shape[-1]) for m in maps]
        x = torch.cat([m.flatten(2).transpose(1, 2) for m in maps], dim=1)
        del maps
        plan = self._plan(shapes)
        for image in x:
            work = _Work.begin(image, plan, self.dtype)
            for layer in cast(Iterator[FastEncoderLayer], self.encoder):
                layer(work, shapes, plan.reference)
            image.copy_(work.tokens)
        return Features(x.to(self.dtype), shapes)

    def state_dict(self, *_: Any, **__: Any) -> Any:
        """Raises `ValueError`: the weights are rearranged for this processor."""
        raise ValueError("a FastMOTRv2 is for running only; save the network that it was made of")

    def _maps(self, images: Tensor) -> list[Tensor]:
        """The levels, float32 `[B, C, h, w]`."""
        stages = self.backbone(images)
        extra = [stages[-1]] * (self.config.levels - len(stages))
        return [
            norm(conv(stage).float())
            for (conv, norm), stage in zip(
                cast(list[nn.Sequential], self.projections), stages + extra, strict=True
            )
        ]

    def _plan(self, shapes: Shapes) -> _Plan:
        """What depends on the size of the images only."""
        key = tuple(shapes)
        if key not in self._plans:
            with torch.inference_mode(False), torch.no_grad():
                levels = level_positions(shapes, None, self.level_embed)
                position = torch.cat([p[0].flatten(1).T for p in levels])
                reference = pixel_centres(shapes, None, position[None])[0, :, 0].contiguous()
            self._plans = {key: _Plan(position, reference)}  # a video has one size
        return self._plans[key]


@dataclass(frozen=True)
class _Plan:
    position: Tensor
    """`[S, C]` float32."""
    reference: Tensor
    """Centre of each token's pixel `[S, 2]`, the same in all levels."""


@dataclass(frozen=True)
class _Work:
    """The tokens of one image on their way through the encoder, changed in place."""

    tokens: Tensor
    """`[S, C]` float32."""
    narrow: Tensor
    """The same as matrix products take them; `tokens` itself where that is float32."""
    placed: Tensor
    """With the position added."""
    position: Tensor

    @classmethod
    def begin(cls, tokens: Tensor, plan: _Plan, dtype: torch.dtype) -> _Work:
        tokens = tokens.contiguous()
        placed = (tokens + plan.position).to(dtype)
        return cls(tokens, tokens.to(dtype), placed, plan.position)

    def add_norm(
        self, part: slice, y: Tensor, norm: nn.LayerNorm, *, placed: bool = False
    ) -> None:
        """Tokens of a part become `norm(tokens + y)`."""
        x, copy = self.tokens[part], self.narrow[part]
        position, goal = self.position[part], self.placed[part]
        if native.serves(y, 1) and x.dtype == torch.float32:
            twice = None if self.narrow is self.tokens else copy
            if placed:
                native.add_norm(x, y, norm, x, twice, position, goal)
            else:
                native.add_norm(x, y, norm, x, twice)
            return
        x.copy_(norm(x + y))
        if self.narrow is not self.tokens:
            copy.copy_(x)
        if placed:
            goal.copy_(x + position)


class FastEncoderLayer(nn.Module):
    """An `EncoderLayer` that goes through its tokens in parts."""

    def __init__(self, layer: EncoderLayer, dtype: torch.dtype) -> None:
        super().__init__()
        self.attention = FastAttention(layer.self_attn, dtype, dtype)
        self.first, self.second = (_linear(dtype, part) for part in (layer.linear1, layer.linear2))
        self.norm1, self.norm2 = layer.norm1, layer.norm2

    def forward(self, work: _Work, shapes: Shapes, reference: Tensor) -> None:
        """Change the tokens of one image."""
        value = self.attention.values(work.narrow)
        for first in range(0, len(work.tokens), PART):
            part = slice(first, first + PART)
            seen = self.attention.look(work.placed[part], value, shapes, reference[part])
            work.add_norm(part, seen, self.norm1)
            y = self.second(self.first(work.narrow[part], "relu"))
            work.add_norm(part, y, self.norm2, placed=True)


class FastAttention(nn.Module):
    """A `DeformableAttention` whose queries ask for places and weights by one matrix product.

    Its values are of `dtype`, its queries and answers of `asking`.
    """

    def __init__(
        self, attention: DeformableAttention, dtype: torch.dtype, asking: torch.dtype
    ) -> None:
        super().__init__()
        self.heads, self.levels, self.points = attention.heads, attention.levels, attention.points
        self.value_proj = _linear(dtype, attention.value_proj)
        self.ask = _linear(asking, attention.sampling_offsets, attention.attention_weights)
        self.output = _linear(asking, attention.output_proj)

    def forward(
        self, query: Tensor, source: Tensor, shapes: Shapes, reference: Tensor,
        padding: Tensor | None = None,
    ) -> Tensor:
        """As `DeformableAttention`, of one image."""
        value = self.values(source[0])
        return self.look(query[0], value, shapes, reference[0, :, 0])[None]

    def values(self, source: Tensor) -> Tensor:
        """Values `[S, M, D]` of `[S, C]`."""
        return self.value_proj(source.to(self.value_proj.dtype)).unflatten(-1, (self.heads, -1))

    def look(self, query: Tensor, value: Tensor, shapes: Shapes, reference: Tensor) -> Tensor:
        """Answers `[Q, C]` to `query` `[Q, C]`."""
        return self.output(self._sample(value, shapes, self.ask(query), reference))

    def _sample(self, value: Tensor, shapes: Shapes, asked: Tensor, reference: Tensor) -> Tensor:
        if (
            native.serves(value, self.levels * self.points)
            and value.dtype in (torch.float32, torch.bfloat16)
            and value.shape[-1] <= native.MOST_CHANNELS
        ):
            return native.attend(value, shapes, asked, reference, self.points)
        grid = (self.heads, self.levels, self.points)
        offsets, logits = asked.float().split((2 * asked.shape[-1] // 3, asked.shape[-1] // 3), -1)
        weights = logits.unflatten(-1, (self.heads, -1)).softmax(-1).unflatten(-1, grid[1:])
        reference = reference[:, None].expand(-1, self.levels, -1)
        places = locate(offsets.unflatten(-1, (*grid, 2)), shapes, reference, self.points)
        seen = sample(value[None].float(), shapes, places[None], weights[None])[0]
        return seen.to(asked.dtype)


class FastTrunk(nn.Module):
    """A trunk with its batch norms, activations and sums inside the convolutions."""

    def __init__(self, trunk: Trunk, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.channels = dtype, trunk.channels
        if isinstance(trunk, MobileNetV2):
            stem, *blocks = trunk.features
            ends = trunk._taps
            self.stem = nn.Sequential(_conv(*_pair(stem), dtype, "relu6"))
        else:
            stages = trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4
            blocks = [block for stage in stages for block in stage]
            ends = (7, 13, 16)
            self.stem = nn.Sequential(
                _conv(trunk.conv1, trunk.bn1, dtype, "relu"), nn.MaxPool2d(3, 2, 1)
            )
        self.ends = ends
        self.blocks = nn.ModuleList(_block(block, dtype) for block in blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        """As the trunk's, of `dtype`, channels last."""
        x = self.stem(x.to(self.dtype, memory_format=torch.channels_last))
        maps = []
        for index, block in enumerate(self.blocks, start=1):
            x = block(x)
            if index in self.ends:
                maps.append(x)
        return maps


class _Residual(nn.Module):
    """Convolutions one after the other, the last with the way round them added."""

    def __init__(self, layers: list[PackedConv], way_round: nn.Module | None) -> None:
        super().__init__()
        self.layers, self.way_round = nn.ModuleList(layers), way_round

    def forward(self, x: Tensor) -> Tensor:
        skip = None if self.way_round is None else self.way_round(x)
        *before, last = self.layers
        for layer in before:
            x = layer(x)
        return last(x, skip)


def _block(block: nn.Module, dtype: torch.dtype) -> _Residual:
    if isinstance(block, InvertedResidual):
        *outer, conv, norm = block.conv
        layers = [_conv(*_pair(part), dtype, "relu6") for part in outer]
        last = _conv(cast(nn.Conv2d, conv), norm, dtype)
        return _Residual([*layers, last], nn.Identity() if block.skips else None)
    block = cast(Bottleneck, block)
    layers = [
        _conv(conv, norm, dtype, "relu")
        for conv, norm in (
            (block.conv1, block.bn1), (block.conv2, block.bn2), (block.conv3, block.bn3)
        )
    ]  # fmt: skip
    if block.downsample is None:
        return _Residual(layers, nn.Identity())
    return _Residual(layers, _conv(*_pair(block.downsample), dtype))


def _pair(layers: nn.Module) -> tuple[nn.Conv2d, nn.Module]:
    conv, norm, *_ = cast(nn.Sequential, layers)
    return cast(nn.Conv2d, conv), norm


@torch.no_grad()
def _conv(
    conv: nn.Conv2d, norm: nn.Module | None, dtype: torch.dtype, activation: str = "none"
) -> PackedConv:
    """A convolution with the batch norm behind it folded in, in float64."""
    weight = conv.weight.double()
    bias = weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.double()
    if norm is not None:
        norm = cast(FrozenBatchNorm2d, norm)
        scale = norm.weight.double() * (norm.running_var.double() + norm.eps).rsqrt()
        weight = weight * scale[:, None, None, None]
        bias = norm.bias.double() + (bias - norm.running_mean.double()) * scale
    return PackedConv(conv, weight, bias, dtype, activation)


def _linear(dtype: torch.dtype, *layers: nn.Linear) -> PackedLinear:
    """Linear layers of one input as a single one, their answers side by side."""
    return PackedLinear(
        torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers]),
        dtype,
    )  # fmt: skip
