"""The MOTRv2 network (arXiv 2211.09791; SPEC 3 to 6): four calls, no identities, no targets.

`encode` an image once; make `queries` of a frame's proposals; `decode` them together with the
tracks carried from before; `refresh` the content of the tracks that live on.
"""

import copy
import math
from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfsasm.motrv2.backbone import BACKBONES
from tfsasm.motrv2.config import ModelConfig
from tfsasm.motrv2.deformable_attention import DeformableAttention
from tfsasm.motrv2.exact import Linear
from tfsasm.motrv2.transformer import (
    BoxHead,
    Decoder,
    Encoder,
    Features,
    FeedForward,
    Prediction,
    Queries,
    SelfAttention,
    embed_coordinates,
    level_positions,
)


class Interaction(FeedForward):
    """Query interaction: tracks attend to one another and take this frame in (QIMv2, SPEC 6.3).

    In MOTR the content has two parts that do, where a query stands and what it is (SPEC 11.4).
    """

    norm1: nn.LayerNorm
    norm2: nn.LayerNorm

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.box_turns, width, hidden = config.box_turns, config.width, config.feedforward
        motr = config.kind == "motr"
        self.parts = ("_pos", "_feat") if motr else ("_feat",)
        self.self_attn = SelfAttention(width, config.heads, config.place_values and not motr)
        for part in ("", *self.parts):
            setattr(self, f"linear{part}1", Linear(width, hidden))
            setattr(self, f"linear{part}2", Linear(hidden, width))
        for part in ("1", "2", *self.parts):
            setattr(self, f"norm{part}", nn.LayerNorm(width))

    def forward(
        self, content: Tensor, boxes: Tensor, embeddings: Tensor,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Stored content, current boxes and embeddings of A tracks to next content `[A, C]`.

        `attention_mask` `[A, A]`: True where a row must not attend to a column.
        """
        stored = content.chunk(len(self.parts), dim=-1)
        position = stored[0] if len(stored) > 1 else embed_coordinates(
            boxes, content.shape[-1] // 4, self.box_turns
        )
        attended = self.self_attn(embeddings[None], position[None], attention_mask)[0]
        x = self.norm1(embeddings + attended)
        x = self.norm2(x + self.feed_forward(x))
        taken = [self._taken(name, part, x) for name, part in zip(self.parts, stored, strict=True)]
        return torch.cat(taken, dim=-1) if len(taken) > 1 else taken[0]

    def _taken(self, name: str, part: Tensor, x: Tensor) -> Tensor:
        first, second, norm = (
            self.get_submodule(f"{kind}{name}{number}")
            for kind, number in (("linear", 1), ("linear", 2), ("norm", ""))
        )
        return norm(part + second(F.relu(first(x))))


class ImageEncoder(nn.Module):
    """The half that Deformable DETR and MOTRv2 share: an image to features of several levels."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = BACKBONES[config.backbone]()
        self.projections = _projections(self.backbone.channels, config.width, config.levels)
        self.level_embed = nn.Parameter(torch.empty(config.levels, config.width))
        self.encoder = Encoder(config)

    def encode(self, images: Tensor) -> Features:
        """Encode normalised RGB images `[B, 3, H, W]`; needs no state, so frames may share a batch.
        """
        stages = self.stages(images)
        maps = [project(x) for project, x in zip(self.projections, stages, strict=True)]
        shapes = [(m.shape[-2], m.shape[-1]) for m in maps]
        return self.encoder(maps, level_positions(shapes, self.level_embed))

    def stages(self, images: Tensor) -> list[Tensor]:
        """What each level is made of: the backbone's maps, the last one twice for four levels."""
        maps = self.backbone(images)
        return maps + maps[-1:] * (self.config.levels - len(maps))


class MOTRv2(ImageEncoder):
    """Deformable DETR whose queries are proposals and tracks."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        width, queries = config.width, config.learned_queries
        self.decoder = Decoder(config)
        self.learned_boxes = nn.Parameter(torch.empty(queries, 4))
        self.learned_content = nn.Parameter(torch.empty(queries, width))
        self.proposal_content = nn.Parameter(torch.empty(1, width))
        self.denoising_content = nn.Parameter(torch.empty(1, width))
        self.interaction = Interaction(config)
        self.size = sum(p.numel() for p in self.parameters())  # what it costs, roughly
        initialise(self, (self.encoder, self.decoder, self.interaction))
        nn.init.uniform_(self.learned_boxes)
        for content in (self.learned_content, self.proposal_content, self.denoising_content):
            nn.init.normal_(content)
        self.decoder.class_heads, self.decoder.box_heads = initial_heads(config)

    def queries(self, boxes: Tensor, scores: Tensor) -> Queries:
        """New queries of a frame: the learned ones, then one per proposal (SPEC 5.1).

        `boxes` `[P, 4]` are normalised cxcywh, `scores` `[P]` the detector's.
        """
        content = embed_coordinates(scores[:, None], self.config.width) + self.proposal_content
        return Queries(
            content=torch.cat([self.learned_content, content]),
            boxes=torch.cat([self.learned_boxes, boxes]),
        )

    def denoising_queries(self, boxes: Tensor) -> Queries:
        """Training queries about noised ground-truth boxes `[G, 4]` (SPEC 5.2)."""
        return Queries(self.denoising_content.expand(len(boxes), -1), boxes)

    def decode(
        self, features: Features, queries: Queries, attention_mask: Tensor | None = None
    ) -> list[Prediction]:
        """Answer Q queries about one image: one `Prediction` of length Q per layer."""
        return self.decoder(queries, features, attention_mask)

    def refresh(self, stored: Queries, answer: Prediction, seen: Tensor) -> Queries:
        """Queries of the next frame for A tracks (SPEC 6.3).

        `stored` is what the tracks carried into this frame (before any memory was mixed in) and
        `seen` `[A]` bool says whose answer is trusted. The others stay frozen, content and box.
        """
        if len(stored) == 0:
            return stored
        chosen = seen[:, None]
        boxes = torch.where(chosen, answer.boxes.detach(), stored.boxes)
        content = self.interaction(stored.content, boxes, answer.embeddings)
        return Queries(torch.where(chosen, content, stored.content), boxes)


def denoising_mask(normal: int, denoising: int, device: torch.device | str = "cpu") -> Tensor:
    """Normal queries must not attend to denoising ones, which attend to all (SPEC 4.7)."""
    total = normal + denoising
    attention_mask = torch.zeros(total, total, dtype=torch.bool, device=device)
    attention_mask[:normal, normal:] = True
    return attention_mask


def _projections(channels: tuple[int, ...], width: int, levels: int) -> nn.ModuleList:
    if not len(channels) <= levels <= len(channels) + 1:
        raise ValueError(f"levels must be {len(channels)} or {len(channels) + 1}, not {levels}")
    layers = [nn.Conv2d(c, width, 1) for c in channels]
    if levels > len(channels):  # stride 64, made of the last stage itself (SPEC 3.2)
        layers.append(nn.Conv2d(channels[-1], width, 3, stride=2, padding=1))
    return nn.ModuleList(nn.Sequential(layer, nn.GroupNorm(32, width)) for layer in layers)


def initialise(model: ImageEncoder, parts: Iterable[nn.Module]) -> None:
    """Initial values of the published recipe (SPEC 4.8, 3.2) of all but heads and queries."""
    for part in parts:
        for tensor in part.parameters():
            if tensor.dim() > 1:
                nn.init.xavier_uniform_(tensor)
    for module in model.modules():
        if isinstance(module, DeformableAttention):
            module.reset_parameters()
    for module in model.projections.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(cast(Tensor, module.bias))
    nn.init.normal_(model.level_embed)


def initial_heads(config: ModelConfig) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Class and box heads. All start as copies of one; only the first box head with small boxes.
    """
    class_head = Linear(config.width, config.classes)
    nn.init.constant_(class_head.bias, -math.log(99.0))
    box_head = BoxHead(config.width)
    box_head.reset(size_bias=0.0)
    layers = range(config.decoder_layers)
    class_heads = nn.ModuleList(copy.deepcopy(class_head) for _ in layers)
    box_heads = nn.ModuleList(copy.deepcopy(box_head) for _ in layers)
    cast(BoxHead, box_heads[0]).reset(size_bias=-2.0)
    return class_heads, box_heads
