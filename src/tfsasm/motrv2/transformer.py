"""Deformable encoder, the decoder that answers queries, and sine encodings (SPEC 3.4 to 4.5).

What is unusual here: decoder queries carry their reference *box*, and its encoding is recomputed
from the refined box before every layer; there is no other position. Self-attention runs first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfsasm.motrv2.config import ModelConfig
from tfsasm.motrv2.deformable_attention import DeformableAttention, level_sizes
from tfsasm.motrv2.exact import Linear, linear, products
from tfsasm.motrv2.fast.kernels import Shapes
from tfsasm.runtime.network import Queries
from tfsasm.tables import Table

_TEMPERATURE = 10000.0  # of sine encodings


@dataclass(frozen=True)
class Features:
    """An encoded image, all levels one behind the other."""

    tokens: Tensor
    """`[B, S, C]`, S = sum of h*w over `shapes`."""
    shapes: Shapes
    """Height and width of each level."""

    def __getitem__(self, index: int) -> Features:
        """One image of the batch, still with a batch axis of 1."""
        return Features(self.tokens[index : index + 1], self.shapes)


@dataclass(frozen=True)
class Prediction(Table):
    """What one decoder layer answers, row by row with the queries."""

    logits: Tensor
    """`[Q, K]`."""
    boxes: Tensor
    """`[Q, 4]` normalised cxcywh."""
    embeddings: Tensor
    """`[Q, C]`."""


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Logit of `x` clamped to [0, 1], finite at the ends (SPEC 1)."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


class FeedForward(nn.Module):
    """linear2(relu(linear1(x))), row by row."""

    linear1: Linear
    linear2: Linear

    def feed_forward(self, x: Tensor) -> Tensor:
        """`[..., C]` to `[..., C]`."""
        return self.linear2(F.relu(self.linear1(x)))


class EncoderLayer(FeedForward):
    """Deformable self-attention among all pixels of all levels (SPEC 4.2)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.self_attn = DeformableAttention(width, config.heads, config.levels, config.points)
        self.linear1 = Linear(width, config.feedforward)
        self.linear2 = Linear(config.feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, position: Tensor, shapes: Shapes, reference: Tensor) -> Tensor:
        """`[B, S, C]` to `[B, S, C]`; the position joins the query only, never the value."""
        x = self.norm1(x + self.self_attn(x + position, x, shapes, reference))
        return self.norm2(x + self.feed_forward(x))


class Encoder(nn.Module):
    """A stack of `EncoderLayer`; no norm at the end."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))

    def forward(self, maps: list[Tensor], positions: list[Tensor]) -> Features:
        """Encode levels `[B, C, h, w]` with positions alike."""
        shapes = [(m.shape[-2], m.shape[-1]) for m in maps]
        x, position = flatten_levels(maps), flatten_levels(positions)
        reference = pixel_centres(shapes, x)
        for layer in self.layers:
            x = layer(x, position, shapes, reference)
        return Features(x, shapes)


def flatten_levels(maps: list[Tensor]) -> Tensor:
    """Levels `[B, C, h, w]` one behind the other, `[B, S, C]`."""
    return torch.cat([m.flatten(2).transpose(1, 2) for m in maps], dim=1)


def pixel_centres(shapes: Shapes, like: Tensor) -> Tensor:
    """Reference points `[B, S, L, 2]` of every pixel, in [0, 1] of each level."""
    centres = []
    for (h, w), extent in zip(shapes, level_sizes(shapes, like), strict=True):
        y = torch.arange(h, device=like.device, dtype=like.dtype) + 0.5
        x = torch.arange(w, device=like.device, dtype=like.dtype) + 0.5
        centres.append(torch.cartesian_prod(y, x).flip(-1)[None] / extent)
    return torch.cat(centres, dim=1)[:, :, None].expand(like.shape[0], -1, len(shapes), -1)


class DecoderLayer(FeedForward):
    """Queries attend to one another, then to the image (SPEC 4.4)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.cross_attn = DeformableAttention(width, config.heads, config.levels, config.points)
        self.self_attn = SelfAttention(width, config.heads, config.place_values)
        self.linear1 = Linear(width, config.feedforward)
        self.linear2 = Linear(config.feedforward, width)
        self.norm1 = nn.LayerNorm(width)  # of cross-attention, though it runs second (QUIRK-6)
        self.norm2 = nn.LayerNorm(width)  # of self-attention
        self.norm3 = nn.LayerNorm(width)

    def forward(
        self, content: Tensor, position: Tensor, places: Tensor, features: Features,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Content and its position `[B, Q, C]`, at points or boxes `places`, to the next content.

        `attention_mask` `[Q, Q]`: True where a row must not attend to a column.
        """
        content = self.norm2(content + self.self_attn(content, position, attention_mask))
        reference = places[:, :, None].expand(-1, -1, len(features.shapes), -1)
        query = content + position
        attended = self.cross_attn(query, features.tokens, features.shapes, reference)
        content = self.norm1(content + attended)
        return self.norm3(content + self.feed_forward(content))


class BoxHead(nn.Module):
    """Correction of a box in logit space, from an embedding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [Linear(width, width), Linear(width, width), Linear(width, 4)]
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[..., C]` to `[..., 4]`."""
        first, second, last = self.layers
        return last(F.relu(second(F.relu(first(x)))))

    @torch.no_grad()
    def reset(self, size_bias: float) -> None:
        """Start with no correction of the centre and `size_bias` as that of the size."""
        last = cast(Linear, self.layers[-1])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        last.bias[2:] = size_bias


class Decoder(nn.Module):
    """A stack of `DecoderLayer`; each layer's box head moves the reference of the next."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        layers, width = range(config.decoder_layers), config.width
        self.box_turns = config.box_turns
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in layers)
        self.box_heads = nn.ModuleList(BoxHead(width) for _ in layers)
        self.class_heads = nn.ModuleList(Linear(width, config.classes) for _ in layers)

    def forward(
        self, queries: Queries, features: Features, attention_mask: Tensor | None = None
    ) -> list[Prediction]:
        """One `Prediction` per layer, each of the length of `queries`; the last is the answer."""
        content, boxes = queries.content[None], queries.boxes[None]
        return answers(self, content, boxes, features, attention_mask, turns=self.box_turns)


def answers(
    decoder: Any, content: Tensor, places: Tensor, features: Features,
    attention_mask: Tensor | None = None, position: Tensor | None = None, *, turns: float = 1.0,
    refine: bool = True,
) -> list[Prediction]:
    """A prediction for each of the `layers` of a `decoder`, by its `box_heads` and `class_heads`.

    Queries `content` `[1, Q, C]` stand at `places`, points `[1, Q, 2]` or boxes `[1, Q, 4]`. Their
    position is given, or the encoding of their boxes. With `refine` each layer's boxes are where
    the next one looks; they keep their gradient in the prediction but not on the way there.
    """
    predictions = []
    for layer, box_head, class_head in zip(
        decoder.layers, decoder.box_heads, decoder.class_heads, strict=False
    ):
        at = position
        if at is None:
            at = embed_coordinates(places, content.shape[-1] // 4, turns)
        content = layer(content, at, places, features, attention_mask)
        logits = inverse_sigmoid(places)
        if places.shape[-1] == 2:
            logits = torch.cat([logits, torch.zeros_like(logits)], dim=-1)
        boxes = (logits + box_head(content)).sigmoid()
        predictions.append(Prediction(class_head(content)[0], boxes[0], content[0]))
        places = boxes.detach() if refine else places
    return predictions


def level_positions(shapes: Shapes, level_embed: Tensor) -> list[Tensor]:
    """Sine position plus level vector `[1, C, h, w]` for every level."""
    features = level_embed.shape[1] // 2
    grids = [embed_grid(h, w, features, level_embed.device) for h, w in shapes]
    return [grid + embed[:, None, None] for grid, embed in zip(grids, level_embed, strict=True)]


def _waves(angles: Tensor, features: int) -> Tensor:
    """`[...]` angles to `[..., features]`: sine and cosine alternate and share a wavelength."""
    index = torch.arange(features, dtype=torch.float32, device=angles.device)
    wavelength = _TEMPERATURE ** (2 * torch.div(index, 2, rounding_mode="floor") / features)
    phase = angles[..., None] / wavelength
    return torch.stack([phase[..., 0::2].sin(), phase[..., 1::2].cos()], dim=-1).flatten(-2)


def embed_coordinates(values: Tensor, features: int, turns: float = 1.0) -> Tensor:
    """Encode `[..., n]` coordinates in [0, 1] as `[..., n * features]`, one behind the other.

    The fastest wave makes `turns` full turns over the image; published: one.
    """
    return _waves(values * (2 * math.pi * turns), features).flatten(-2)


def embed_grid(height: int, width: int, features: int, device: torch.device) -> Tensor:
    """Encode the pixels of an image as `[1, 2 * features, H, W]`: rows first, then columns.

    Each spans a full turn. Made once per size; not to be changed in place.
    """
    if torch.compiler.is_compiling():  # the sizes of a traced graph are free: nothing to keep it by
        return _grid(height, width, features, device)
    return _kept_grid(height, width, features, device)


@lru_cache(maxsize=32)
def _kept_grid(height: int, width: int, features: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():  # serves training as well
        return _grid(height, width, features, device)


def _grid(height: int, width: int, features: int, device: torch.device) -> Tensor:
    counts = torch.ones(1, height, width, device=device)
    y, x = counts.cumsum(1), counts.cumsum(2)
    y = (y - 0.5) / (y[:, -1:] + 1e-6) * (2 * math.pi)
    x = (x - 0.5) / (x[:, :, -1:] + 1e-6) * (2 * math.pi)
    return torch.cat([_waves(y, features), _waves(x, features)], dim=-1).permute(0, 3, 1, 2)


class SelfAttention(nn.Module):
    """Standard multi-head attention, its parameters named as in `nn.MultiheadAttention`.

    Written out, since PyTorch's fused attention sums in another order than the released code.
    """

    def __init__(self, width: int, heads: int, place_values: bool = False) -> None:
        super().__init__()
        self.heads, self.place_values = heads, place_values
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, content: Tensor, position: Tensor, attention_mask: Tensor | None = None
    ) -> Tensor:
        """`content` and `position` `[B, Q, C]` to `[B, Q, C]`.

        Values are of the content, and of the position as well with `place_values`.
        `attention_mask` `[Q, Q]`: True where a row must not attend to a column.
        """
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        with_position = content + position
        inputs = with_position, with_position, with_position if self.place_values else content
        q, k, v = (
            linear(x, weight, bias).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x, weight, bias in zip(inputs, weights, biases, strict=True)
        )
        similarity = products(q * math.sqrt(1 / q.shape[-1]), k)
        if attention_mask is not None:
            similarity = similarity.masked_fill(attention_mask, -math.inf)
        attended = products(similarity.softmax(-1), v.transpose(-1, -2))
        return self.out_proj(attended.transpose(1, 2).flatten(2))
