"""The same network for running only: faster, equal up to rounding, in float32 or bfloat16.

What is unusual here: an encoder layer goes through its tokens in parts. Only the values must be
there for all of them; everything after is row by row, so a part's intermediate results stay in the
processor's cache and the large ones (1,024 channels of 24,000 tokens) never exist at once.

Where a part is bfloat16, float16 or int8, its convolutions and matrix products are of that kind;
the residual of the encoder, the norms, the sums of samples and all of a query's path stay float32.
With AMX a kernel of its own does all of the encoder (`amx.py`).
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfsasm.errors import InputError
from tfsasm.motrv2.deformable_attention import DeformableAttention, attend, fuses
from tfsasm.motrv2.fast import amx, kernels
from tfsasm.motrv2.fast.amx import TiledEncoder
from tfsasm.motrv2.fast.backbone import FusedBackbone
from tfsasm.motrv2.fast.kernels import Shapes
from tfsasm.motrv2.fast.layers import PackedConv, PackedLinear, QuantisedConv
from tfsasm.motrv2.fast.precision import Precision, Scale
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.transformer import (
    DecoderLayer,
    EncoderLayer,
    Features,
    SelfAttention,
    flatten_levels,
    level_positions,
    pixel_centres,
)

CHUNK = 2048
"""Tokens of an encoder layer that a CPU works on together; a GPU takes all at once."""

_WHOLE = Precision()


class FastMOTRv2(MOTRv2):
    """A `MOTRv2` made of another, which is used up; it neither trains nor saves."""

    def __init__(self, model: MOTRv2, precision: Precision = _WHOLE) -> None:
        vars(self).update(vars(model))
        self.precision = precision
        self.backbone = FusedBackbone(  # type: ignore[assignment]
            model.backbone, precision.backbone
        )
        *others, last = self.backbone.scales
        scales = [*others, *[last] * (len(model.projections) - len(others))]  # as in `stages`
        self.projections = nn.ModuleList(
            nn.Sequential(_projection(conv, precision.backbone, scale), norm)
            for (conv, norm), scale in zip(
                cast(list[nn.Sequential], model.projections), scales, strict=True
            )
        )
        self.encoder = _encoder(model, precision.encoder)  # type: ignore[assignment]
        for layer in cast(list[DecoderLayer], self.decoder.layers):
            layer.cross_attn = FastAttention(  # type: ignore[assignment]
                layer.cross_attn, precision.decoder, torch.float32
            )
        for part in (self.decoder, self.interaction):
            _pack_linears(part)
        self._plans: dict[tuple[tuple[int, int], ...], tuple[Tensor, Tensor]] = {}
        self.eval().requires_grad_(False)

    def encode(self, images: Tensor) -> Features:
        """As `MOTRv2.encode`, with tokens of the decoder's kind."""
        maps = [
            norm(conv(stage).float())
            for (conv, norm), stage in zip(
                cast(list[nn.Sequential], self.projections), self.stages(images), strict=True
            )
        ]
        shapes = [(m.shape[-2], m.shape[-1]) for m in maps]
        x = flatten_levels(maps).contiguous()
        del maps
        position, reference = self._plan(shapes)
        for image in x:
            self.encoder(image, position, shapes, reference)
        return Features(x.to(self.precision.decoder), shapes)

    def state_dict(self, *_: Any, **__: Any) -> Any:
        """Raises `ValueError`: the weights are rearranged for this processor."""
        raise ValueError("a FastMOTRv2 is for running only; save the network that it was made of")

    def _plan(self, shapes: Shapes) -> tuple[Tensor, Tensor]:
        """What depends on the size of the images only: the position `[S, C]` float32, and the
        centre of each token's pixel `[S, 2]`, the same in all levels."""
        key = tuple(shapes)
        if key not in self._plans:
            with torch.inference_mode(False), torch.no_grad():
                position = flatten_levels(level_positions(shapes, self.level_embed))[0]
                reference = pixel_centres(shapes, position[None])[0, :, 0].contiguous()
            self._plans = {key: (position, reference)}  # a video has one size
        return self._plans[key]


class FastEncoder(nn.Module):
    """The layers of an `Encoder`, for one image that goes through each in parts.

    Products are of `dtype`. The layers are used up.
    """

    def __init__(self, layers: list[Any], dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.layers = dtype, nn.ModuleList(layers)
        for layer in layers:
            layer.self_attn = FastAttention(layer.self_attn, dtype, dtype)
            layer.linear1 = _linear(dtype, layer.linear1)
            layer.linear2 = _linear(dtype, layer.linear2)

    def forward(self, tokens: Tensor, position: Tensor, shapes: Shapes, reference: Tensor) -> None:
        """Change the tokens `[S, C]`, float32; `position` alike, `reference` `[S, 2]`."""
        given = tokens.to(self.dtype)  # for products; `tokens` itself where they are of float32
        query = (tokens + position).to(self.dtype)
        on_cpu = tokens.device.type == "cpu"
        together = CHUNK if on_cpu else max(1, len(tokens))
        for layer in cast(list[Any], self.layers):
            value = layer.self_attn.values(given)
            if on_cpu:  # with heads apart: one fits the cache, and all of its sets
                value = value.transpose(0, 1).contiguous().transpose(0, 1)
            for first in range(0, len(tokens), together):
                part = slice(first, first + together)
                x, copy = tokens[part], None if given is tokens else given[part]
                attended = layer.self_attn.attend(query[part], value, shapes, reference[part])
                _add_norm(x, attended, layer.norm1, copy)
                y = layer.linear2(layer.linear1(given[part], "relu"))
                _add_norm(x, y, layer.norm2, copy, position[part], query[part])


def _add_norm(
    x: Tensor, y: Tensor, norm: nn.LayerNorm, copy: Tensor | None,
    position: Tensor | None = None, with_position: Tensor | None = None,
) -> None:
    """See `kernels.add_norm`, which does it where it can."""
    if kernels.serves(y, 1) and x.dtype == torch.float32:
        kernels.add_norm(x, y, norm, copy, position, with_position)
        return
    x.copy_(norm(x + y))
    if copy is not None:
        copy.copy_(x)
    if position is not None and with_position is not None:
        with_position.copy_(x + position)


class FastAttention(nn.Module):
    """A `DeformableAttention` whose offsets and weights come from one matrix product.

    Its values are of `dtype`, its queries and answers of `query_dtype`.
    """

    def __init__(
        self, attention: DeformableAttention, dtype: torch.dtype, query_dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.heads, self.levels, self.points = attention.heads, attention.levels, attention.points
        self.value_proj = _linear(dtype, attention.value_proj)
        self.offsets_and_weights = _linear(
            query_dtype, attention.sampling_offsets, attention.attention_weights
        )
        self.output = _linear(query_dtype, attention.output_proj)

    def forward(self, query: Tensor, source: Tensor, shapes: Shapes, reference: Tensor) -> Tensor:
        """As `DeformableAttention`, of one image."""
        value = self.values(source[0])
        return self.attend(query[0], value, shapes, reference[0, :, 0])[None]

    def values(self, source: Tensor) -> Tensor:
        """Values `[S, M, D]` of `[S, C]`."""
        return self.value_proj(source.to(self.value_proj.dtype)).unflatten(-1, (self.heads, -1))

    def attend(self, query: Tensor, value: Tensor, shapes: Shapes, reference: Tensor) -> Tensor:
        """Answers `[Q, C]` to `query` `[Q, C]`."""
        projected = self.offsets_and_weights(query)
        fused, kind = fuses(value.device, value.dtype), projected.dtype
        if (
            not fused and kernels.serves(value, self.levels * self.points)
            and value.dtype in (torch.float32, torch.bfloat16)
        ):  # fmt: skip
            return self.output(kernels.attend(value, shapes, projected, reference, self.points))
        if not fused:
            value, projected = value.float(), projected.float()
        grid = (self.heads, self.levels, self.points)
        third = projected.shape[-1] // 3
        offsets, logits = projected.split((2 * third, third), -1)
        anchors = reference[None, :, None].expand(-1, -1, self.levels, -1)
        attended = attend(
            value[None], shapes, offsets.unflatten(-1, (*grid, 2))[None],
            logits.unflatten(-1, grid)[None], anchors,
        )  # fmt: skip
        return self.output(attended[0].to(kind))


class FastSelfAttention(nn.Module):
    """A `SelfAttention` in few calls: its matrix products are small, and a call costs as much."""

    def __init__(self, attention: SelfAttention) -> None:
        super().__init__()
        self.heads, self.place_values = attention.heads, attention.place_values
        weight, bias = attention.in_proj_weight, attention.in_proj_bias
        count = len(weight) if self.place_values else 2 * len(weight) // 3
        self.project = PackedLinear(weight[:count], bias[:count], torch.float32)
        if not self.place_values:
            self.value = PackedLinear(weight[count:], bias[count:], torch.float32)
        self.out_proj = _linear(torch.float32, attention.out_proj)

    def forward(
        self, content: Tensor, position: Tensor, attention_mask: Tensor | None = None
    ) -> Tensor:
        """As `SelfAttention`."""
        projected = self.project(content + position)
        if not self.place_values:
            projected = torch.cat([projected, self.value(content)], -1)
        q, k, v = projected.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        allowed = None if attention_mask is None else ~attention_mask
        attended = F.scaled_dot_product_attention(q, k, v, allowed)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


def _encoder(model: MOTRv2, dtype: torch.dtype) -> FastEncoder | TiledEncoder:
    """The quickest that this machine has for the encoder of `model`."""
    layers = cast(list[EncoderLayer], list(model.encoder.layers))
    if amx.serves(model.config, dtype, model.level_embed.device):
        return TiledEncoder(layers, model.config, dtype)
    if dtype == torch.int8:
        raise InputError("no int8 for an encoder of these sizes: width and feed-forward are to be "
                         "multiples of 64, heads of 16 channels; take bf16 or fp32")  # fmt: skip
    return FastEncoder(layers, dtype)


def _pack_linears(part: nn.Module) -> None:
    """Replace self-attention and linear layers inside `part`, in place."""
    for module in list(part.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, SelfAttention):
                setattr(module, name, FastSelfAttention(layer))
            elif isinstance(layer, nn.Linear):
                setattr(module, name, _linear(torch.float32, layer))


def _projection(
    layer: nn.Module, dtype: torch.dtype, scale: Scale | None
) -> PackedConv | QuantisedConv:
    """Of a map of `dtype`, or of bytes where there is a scale."""
    conv = cast(nn.Conv2d, layer)
    weight, bias = conv.weight.detach(), cast(Tensor, conv.bias).detach()
    if scale is not None:
        return QuantisedConv(conv, weight, bias, scale, None)
    dtype = torch.bfloat16 if dtype == torch.int8 else dtype
    return PackedConv(conv, weight, bias, dtype, "none")


def _linear(dtype: torch.dtype, *layers: nn.Linear) -> PackedLinear:
    """Linear layers of one input as a single one, their answers side by side."""
    return PackedLinear(
        torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers]),
        dtype,
    )  # fmt: skip
