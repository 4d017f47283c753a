"""Deformable DETR (arXiv 2010.04159) itself, as a detector: the three multi-scale models published.

What is unusual here: the encoder and the decoder's layers are MOTRv2's. Only where queries stand is
this model's own: a learned position with a reference point, or with two stages the encoder's best
guesses. A file's tensors say which of the models it is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from tfsasm.errors import WeightsError
from tfsasm.motrv2.config import ModelConfig
from tfsasm.motrv2.exact import Linear
from tfsasm.motrv2.model import ImageEncoder
from tfsasm.motrv2.transformer import (
    BoxHead,
    DecoderLayer,
    Features,
    answers,
    embed_coordinates,
    pixel_centres,
)
from tfsasm.motrv2.weights import built, check_size, published_name, read_checkpoint
from tfsasm.pytorch import differences, refuse

ALIASES = ("transformer.decoder.bbox_embed.", "transformer.decoder.class_embed.")
"""Names under which models with refined boxes have their heads a second time."""

_EDGE = 0.01  # guesses nearer to the edge of the image than this part of it are not taken

_GUESS_SIZE = 0.05  # of the image: a guess on the finest level; twice on the next


@dataclass(frozen=True)
class DetrConfig:
    """Sizes of a Deformable DETR, and which of the three it is."""

    model: ModelConfig
    refine: bool
    """Each layer's box is where the next one looks."""
    two_stage: bool
    """Queries stand where the encoder guesses objects, rather than where it was learned."""


class DeformableDETR(ImageEncoder):
    """One image `[1, 3, H, W]` to logits `[Q, K]` and boxes `[Q, 4]` of the last layer."""

    def __init__(self, config: DetrConfig) -> None:
        super().__init__(config.model)
        self.variant, model = config, config.model
        width, heads = model.width, model.decoder_layers + config.two_stage
        self.layers = nn.ModuleList(DecoderLayer(model) for _ in range(model.decoder_layers))
        self.class_heads = nn.ModuleList(Linear(width, model.classes) for _ in range(heads))
        self.box_heads = nn.ModuleList(BoxHead(width) for _ in range(heads))
        if config.two_stage:
            self.guess, self.guess_norm = Linear(width, width), nn.LayerNorm(width)
            self.place, self.place_norm = Linear(2 * width, 2 * width), nn.LayerNorm(2 * width)
        else:
            self.learned = nn.Parameter(torch.empty(model.learned_queries, 2 * width))
            self.reference = Linear(width, 2)
            nn.init.normal_(self.learned)
        nn.init.normal_(self.level_embed)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised RGB in; boxes are normalised cxcywh."""
        features = self.encode(images)
        position, content, places = self._queries(features)
        last = answers(
            self, content, places, features, position=position, refine=self.variant.refine
        )[-1]
        return last.logits, last.boxes

    def _queries(self, features: Features) -> tuple[Tensor, Tensor, Tensor]:
        """Position and content `[1, Q, C]` of the queries, and their points or boxes."""
        if self.variant.two_stage:
            places = self._guesses(features)
            features_of_a_side = self.config.width // 2
            queries = self.place_norm(self.place(embed_coordinates(places, features_of_a_side)))
            position, content = queries.chunk(2, dim=-1)
            return position, content, places
        position, content = self.learned[None].chunk(2, dim=-1)
        return position, content, self.reference(position).sigmoid()

    def _guesses(self, features: Features) -> Tensor:
        """The boxes `[1, Q, 4]` of the pixels that most look like an object of the first class."""
        # A box about each pixel of each level, larger on coarser ones.
        centres = pixel_centres(features.shapes, features.tokens)[:, :, 0]
        sizes = [
            centres.new_full((1, height * width, 2), _GUESS_SIZE * 2**level)
            for level, (height, width) in enumerate(features.shapes)
        ]
        boxes = torch.cat([centres, torch.cat(sizes, dim=1)], dim=-1)
        inside = ((boxes > _EDGE) & (boxes < 1 - _EDGE)).all(-1, keepdim=True)
        tokens = self.guess_norm(self.guess(features.tokens.masked_fill(~inside, 0.0)))
        # Outside, a box is so far off that its logit is infinite.
        logits = torch.log(boxes / (1 - boxes)).masked_fill(~inside, torch.inf)
        found = (self.box_heads[-1](tokens) + logits).sigmoid()
        scores = self.class_heads[-1](tokens)[0, :, 0]
        return found[:, scores.topk(min(self.config.learned_queries, len(scores))).indices]


def load_detr(path: Path | str) -> DeformableDETR:
    """A Deformable DETR by its published names, ready to detect.

    Raises `WeightsError` for a file that is none, is of another kind (a single feature level, no
    ResNet-50) or does not fit, listing what is missing, surplus and misshapen.
    """
    state, _ = read_checkpoint(path)
    config = recognise(state, path)
    network = built(partial(DeformableDETR, config), config.model, path)
    fill(network, state, f"{path} does not fit a Deformable DETR")
    return network


def fill(
    network: DeformableDETR, state: Mapping[str, Tensor], what: str, unused: tuple[str, ...] = ()
) -> None:
    """Give the network a file's tensors, for inference; those that end in `unused` are left out.

    Raises a `WeightsError` that begins with `what` and lists what is missing, surplus or misshapen.
    """
    state = {
        name: tensor for name, tensor in state.items()
        if not name.startswith(ALIASES) and not name.endswith(("num_batches_tracked", *unused))
    }  # fmt: skip
    expected = {published_name(name): tensor for name, tensor in network.state_dict().items()}
    refuse(differences(expected, state), what)
    network.load_state_dict(
        {name: state[published_name(name)].float() for name in network.state_dict()}
    )
    network.eval().requires_grad_(False)


def recognise(state: Mapping[str, Tensor], path: Path | str) -> DetrConfig:
    """What a file's tensors say of its network. Raises `WeightsError` for those of another one."""
    needed = {
        "transformer.level_embed": 2, "class_embed.0.bias": 1, "input_proj.0.0.weight": 4,
        "transformer.encoder.layers.0.linear1.weight": 2,
        "transformer.encoder.layers.0.self_attn.attention_weights.bias": 1,
    }  # fmt: skip
    if lacking := [name for name in needed if name not in state]:
        raise WeightsError(f"{path} is not a Deformable DETR: it lacks {lacking[0]}")
    for name, axes in needed.items():
        if state[name].ndim != axes or not state[name].numel():
            shape = list(state[name].shape)
            raise WeightsError(f"{path} is not a Deformable DETR: {name} is of shape {shape}")
    levels, width = state["transformer.level_embed"].shape
    if levels == 1:
        raise WeightsError(f"{path} is a Deformable DETR of one feature level; those of four "
                           "levels are supported")  # fmt: skip
    heads = ModelConfig.heads
    two_stage = "transformer.enc_output.weight" in state
    learned = state.get("query_embed.weight", torch.empty(0))
    queries = 300 if two_stage else learned.shape[:1].numel()
    model = ModelConfig(
        width=width, levels=levels, heads=heads, learned_queries=queries,
        feedforward=len(state["transformer.encoder.layers.0.linear1.weight"]),
        points=len(state["transformer.encoder.layers.0.self_attn.attention_weights.bias"])
        // (heads * levels),
        encoder_layers=_count(state, r"transformer\.encoder\.layers\.(\d{1,6})\."),
        decoder_layers=_count(state, r"transformer\.decoder\.layers\.(\d{1,6})\."),
        classes=len(state["class_embed.0.bias"]),
    )  # fmt: skip
    check_size(model, state, path)
    refine = any(name.startswith(ALIASES) for name in state)
    return DetrConfig(model, refine=refine, two_stage=two_stage)


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    found = (re.match(pattern, name) for name in state)
    return 1 + max((int(match[1]) for match in found if match), default=-1)
