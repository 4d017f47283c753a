"""MOTR (arXiv 2105.03247; SPEC 11): what MOTRv2 came from. It finds objects itself, without boxes.

What is unusual here: the content of a query is two vectors one behind the other, where it stands
and what it is `[Q, 2C]`, and only the centre of its box is a reference.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from tfsasm.errors import WeightsError
from tfsasm.motrv2.config import ModelConfig, NetworkConfig
from tfsasm.motrv2.deformable_detr import ALIASES, DeformableDETR, DetrConfig, fill, recognise
from tfsasm.motrv2.model import Interaction, MOTRv2, initial_heads, initialise
from tfsasm.motrv2.transformer import (
    DecoderLayer,
    Features,
    Prediction,
    SelfAttention,
    answers,
    inverse_sigmoid,
)
from tfsasm.motrv2.weights import built, check_size
from tfsasm.runtime.network import Queries

_FIRST_TRACK = 300  # queries from here on attend among themselves, whatever came before (QUIRK-44)


class TrackAttentionLayer(DecoderLayer):
    """A decoder layer before which tracks attend to one another (SPEC 11.2)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.update_attn = SelfAttention(config.width, config.heads)
        self.norm4 = nn.LayerNorm(config.width)

    def forward(
        self, content: Tensor, position: Tensor, places: Tensor, features: Features,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """See `DecoderLayer`."""
        # A mask rather than a part: then an exported graph serves any number of tracks.
        tracks = torch.arange(content.shape[1], device=content.device) >= _FIRST_TRACK
        others = tracks[:, None] != tracks
        if attention_mask is not None:
            others = others | attention_mask
        updated = self.update_attn(content, position, others)
        content = torch.where(tracks[:, None], self.norm4(content + updated), content)
        return super().forward(content, position, places, features, attention_mask)


class MOTR(DeformableDETR):
    """Deformable DETR whose queries live on as tracks: the calls of `MOTRv2`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(DetrConfig(config, refine=True, two_stage=False))
        if config.track_attention:
            layers = range(config.decoder_layers)
            self.layers = nn.ModuleList(TrackAttentionLayer(config) for _ in layers)
        self.interaction = Interaction(config)
        self.size = sum(p.numel() for p in self.parameters())
        initialise(self, (self.encoder, self.layers, self.reference, self.interaction))
        nn.init.zeros_(self.reference.bias)
        self.class_heads, self.box_heads = initial_heads(config)

    @property
    def learned_content(self) -> Tensor:
        """`[N, 2C]`."""
        return self.learned

    @property
    def learned_boxes(self) -> Tensor:
        """Where the learned queries look, as boxes `[N, 4]` without a size."""
        with torch.autocast(self.learned.device.type, enabled=False):  # half precision blurs places
            places = self.reference(self.learned.chunk(2, dim=-1)[0]).sigmoid()
        return torch.cat([places, torch.zeros_like(places)], dim=-1)

    def queries(self, boxes: Tensor, scores: Tensor) -> Queries:
        """New queries of a frame: the learned ones. Detections are not asked for."""
        return Queries(self.learned_content, self.learned_boxes)

    def decode(
        self, features: Features, queries: Queries, attention_mask: Tensor | None = None
    ) -> list[Prediction]:
        """Answer Q queries about one image: one `Prediction` of length Q per layer."""
        position, content = queries.content[None].chunk(2, dim=-1)
        places = inverse_sigmoid(queries.boxes[None, :, :2]).sigmoid()
        return answers(self, content, places, features, attention_mask, position)

    refresh = MOTRv2.refresh
    """Of the box only the centre counts."""


def is_motr(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has published names that only MOTR has."""
    return "transformer.reference_points.weight" in state and any(
        name.startswith("track_embed.") for name in state
    )


def make_motr(
    state: Mapping[str, Tensor], path: Path | str, config: NetworkConfig | None
) -> tuple[MOTR, NetworkConfig]:
    """The network of a published MOTR checkpoint, ready to track, and its configuration.

    Raises `WeightsError` for one that was trained with a memory bank or without the update of
    positions, and for one that does not fit.
    """
    if any(name.startswith("memory_bank.") for name in state):
        raise WeightsError(f"{path} is a MOTR with a memory bank, which is not supported")
    if "track_embed.linear_pos1.weight" not in state:
        raise WeightsError(f"{path} is a MOTR whose query interaction keeps positions; only the "
                           "published kind, which updates them, is supported")  # fmt: skip
    config = config or NetworkConfig(motr_sizes(state, path))
    check_size(config.model, state, path)
    network = built(partial(MOTR, config.model), config.model, path)
    fill(network, state, f"{path} does not fit MOTR",
         unused=("track_embed.norm3.weight", "track_embed.norm3.bias"))  # fmt: skip
    return network, config


def motr_sizes(state: Mapping[str, Tensor], path: Path | str) -> ModelConfig:
    """What the tensors of a MOTR say of it. Raises `WeightsError` for those of another network."""
    sizes = recognise({**state, f"{ALIASES[0]}0": torch.empty(0)}, path).model
    attention = any(".update_attn." in name for name in state)
    return replace(sizes, kind="motr", track_attention=attention)
