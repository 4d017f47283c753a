"""A query tracker whose queries see a frame through its proposals alone.

A proposal's query is what the frozen features say of its box; a track's is a state that a GRU
carries on. All attend to one another, biased by how their boxes lie. Then each track points at a
proposal or none, and each proposal at a track, at a birth, or at nobody: what both agree on is the
track's score, so that no proposal serves two tracks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.frozen.features import Encoder, pooled
from tfsasm.boxes import cxcywh_to_xyxy
from tfsasm.runtime.network import Prediction, Queries

DIMENSIONS = 928
WIDTH, HEADS, LAYERS = 128, 4, 3
FAR = -1e4


@dataclass(frozen=True)
class Answer:
    """Of P proposals and T tracks in each of B frames."""

    row: Tensor
    """Logits `[B, T, P + 1]` of the proposal that a track is, or none."""
    column: Tensor
    """Logits `[B, T + 2, P]` of the track that a proposal is, or a new one, or nobody."""
    likeness: Tensor
    """Logits `[B, T, P]` by appearance alone."""
    expected: Tensor
    """Boxes `[B, T, 4]` where tracks are expected."""
    tokens: Tensor
    """`[B, P + T, C]`."""


def geometry(boxes: Tensor, scores: Tensor, tracks: Tensor) -> Tensor:
    """How box j lies to box i, `[B, Q, Q, 8]`."""
    a, b = boxes[:, :, None], boxes[:, None]
    size = (a[..., 2:] + b[..., 2:]) / 2
    offset = (b[..., :2] - a[..., :2]) / size.clamp(min=1e-4)
    offset = offset.sign() * offset.abs().log1p()
    ratio = (b[..., 2:].clamp(min=1e-4) / a[..., 2:].clamp(min=1e-4)).log()
    x, y = cxcywh_to_xyxy(boxes.flatten(0, 1)).view_as(boxes).split(2, -1)
    sides = (torch.minimum(y[:, :, None], y[:, None]) - torch.maximum(x[:, :, None], x[:, None]))
    shared = sides.clamp(min=0).prod(-1)
    area = boxes[..., 2:].prod(-1)
    iou = shared / (area[:, :, None] + area[:, None] - shared).clamp(min=1e-8)
    own = [iou, scores[:, None].expand_as(iou), *(
        t.expand_as(iou) for t in (tracks[:, :, None], tracks[:, None])
    )]  # fmt: skip
    return torch.cat([offset, ratio, torch.stack(own, -1)], -1)


class Layer(nn.Module):
    """Attention with a bias for each pair, then a feed-forward part."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.feed = nn.Sequential(
            nn.Linear(WIDTH, 2 * WIDTH), nn.ReLU(), nn.Linear(2 * WIDTH, WIDTH)
        )

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, bias)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.feed(self.norm2(x))


class Frozen(nn.Module):
    """The part that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Sequential(nn.Linear(DIMENSIONS, WIDTH), nn.LayerNorm(WIDTH))
        self.about = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, WIDTH))
        self.recall = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH))
        self.motion = nn.Linear(WIDTH, 4)
        self.pairs = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, HEADS * LAYERS + 1))
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.seen_key, self.kept_key = nn.Linear(DIMENSIONS, 64), nn.Linear(WIDTH, 64)
        self.query, self.key = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.none, self.birth = nn.Linear(WIDTH, 1), nn.Linear(WIDTH, 2)
        self.sharpness = nn.Parameter(torch.tensor(8.0))
        self.trust = nn.Parameter(torch.tensor(0.5))
        self.embed = nn.Linear(2 * WIDTH + 5, WIDTH)
        self.carry = nn.GRUCell(WIDTH, WIDTH)
        self.closeness = nn.Parameter(torch.tensor(10.0))
        self.sureness = nn.Parameter(torch.tensor(4.0))
        self._begin_by_overlap()

    @torch.no_grad()
    def _begin_by_overlap(self) -> None:
        """Start as a tracker by IoU and score, so that only what goes beyond it is to be learned."""
        for layer in (self.motion, self.key, self.none, self.birth):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.none.bias.fill_(2.5)
        self.birth.bias.copy_(torch.tensor([0.0, 1.2]))
        nn.init.zeros_(self.pairs[-1].weight)
        nn.init.zeros_(self.pairs[-1].bias)

    def forward(
        self, features: Tensor, found: Tensor, states: Tensor, references: Tensor,
        missing: Tensor | None = None,
    ) -> Answer:
        """`features` `[B, P, D]` and `found` `[B, P, 5]` against `states` `[B, T, C]`, boxes
        `references` `[B, T, 4]`; `missing` `[B, P + T]` are rows of padding.
        """
        count, tracks = found.shape[1], states.shape[1]
        boxes, scores = found[..., :4], found[..., 4:]
        about = torch.cat([scores, boxes[..., 2:].clamp(min=1e-4).log()], -1)
        expected = moved(references, self.motion(F.layer_norm(states, (WIDTH,))))
        x = torch.cat([self.look(features) + self.about(about), self.recall(states)], 1)
        both = torch.cat([boxes, expected], 1)
        kinds = torch.cat([scores.new_zeros(scores.shape[:2]), states.new_ones(states.shape[:2])], 1)
        sure = torch.cat([scores[..., 0], states.new_ones(states.shape[:2])], 1)
        geometric = geometry(both, sure, kinds)
        lies = self.pairs(geometric)
        masked = lies.new_zeros(lies.shape[:2]) if missing is None else missing * FAR
        for index, layer in enumerate(self.layers):
            bias = lies[..., index * HEADS : (index + 1) * HEADS].permute(0, 3, 1, 2)
            x = layer(x, bias + masked[:, None, None])
        x = self.norm(x)
        like = F.normalize(self.kept_key(F.layer_norm(states, (WIDTH,))), dim=-1) @ F.normalize(
            self.seen_key(features), dim=-1
        ).transpose(1, 2) * self.sharpness
        near, far = x[:, :count], x[:, count:]
        pair = self.query(far) @ self.key(near).transpose(1, 2) / WIDTH**0.5
        pair = pair + lies[:, count:, :count, -1] + self.trust * like
        pair = pair + self.closeness * geometric[:, count:, :count, 4]
        births = self.birth(near) + torch.cat([self.sureness * scores, 0 * scores], -1)
        hidden = masked[:, None, :count]
        row = torch.cat([pair + hidden, self.none(far)], -1)
        column = torch.cat([pair + masked[:, count:, None], births.transpose(1, 2)], 1)
        return Answer(row, column, like + hidden, expected, x)

    def embedding(self, own: Tensor, other: Tensor, moves: Tensor, scores: Tensor) -> Tensor:
        """What this frame says of queries `[..., C]` whose proposals are `other`."""
        return self.embed(torch.cat([own, other, moves, scores[..., None]], -1))


def moved(boxes: Tensor, by: Tensor) -> Tensor:
    """Boxes moved by shares of their size, and scaled by exponents."""
    size = boxes[..., 2:]
    scaled = size * by[..., 2:].clamp(-1, 1).exp()
    return torch.cat([boxes[..., :2] + by[..., :2] * size, scaled], -1)


def moves(before: Tensor, after: Tensor) -> Tensor:
    """What `moved` takes `before` to `after`, clipped."""
    size = before[..., 2:].clamp(min=1e-4)
    shift = (after[..., :2] - before[..., :2]) / size
    return torch.cat([shift, (after[..., 2:].clamp(min=1e-4) / size).log()], -1).clamp(-3, 3)


def agreed(answer: Answer) -> Tensor:
    """How far track and proposal point at one another `[B, T, P]`, at most 1 per proposal."""
    row, column = answer.row.softmax(-1)[..., :-1], answer.column.softmax(-2)[:, :-2]
    return torch.minimum(row, column)


class FrozenNetwork:
    """As a tracker calls it. Content is whether it is a proposal, its score, then the state."""

    inference = torch.inference_mode
    learned, proposals, classes = 0, True, 1

    def __init__(self, model: Frozen, threads: int = 1) -> None:
        self.model, self.encoder = model.eval(), Encoder(threads)
        self.parameters = sum(p.numel() for p in model.parameters())

    def asarray(self, values: np.ndarray) -> Tensor:
        """A tensor of the same values."""
        return torch.from_numpy(np.ascontiguousarray(values))

    def encode(self, images: Sequence[np.ndarray]) -> list[Any]:
        """Maps of the images."""
        return [self.encoder(image) for image in images]

    def queries(self, boxes: Tensor, scores: Tensor) -> Queries:
        """One query per detection."""
        content = boxes.new_zeros(len(boxes), WIDTH + 2)
        content[:, 0], content[:, 1] = 1, scores
        return Queries(content, boxes)

    def decode(self, features: Any, queries: Queries) -> Prediction:
        """See `Network.decode`. A track's first box is where it was expected."""
        given = queries.content[:, 0] > 0.75  # a memory mixes at most a half of it into a track
        boxes, old = queries.boxes[given], queries.boxes[~given]
        scores = queries.content[given, 1]
        states = queries.content[~given, 2:]
        found = torch.cat([boxes, scores[:, None]], 1)
        answer = self.model(pooled(*features, boxes)[None], found[None], states[None], old[None])
        tokens, count = answer.tokens[0], len(boxes)
        near, far = tokens[:count], tokens[count:]
        result = Prediction(
            queries.boxes.new_zeros(len(given)), queries.boxes.clone(), queries.boxes.clone(),
            queries.content.new_zeros(len(given), WIDTH),
        )  # fmt: skip
        embedding = self.model.embedding
        result.scores[given] = answer.column[0].softmax(0)[-2]
        result.embeddings[given] = embedding(near, near, near.new_zeros(count, 4), scores)
        result.boxes[~given] = result.first_boxes[~given] = answer.expected[0]
        if count and len(old):
            value, index = agreed(answer)[0].max(1)
            result.scores[~given] = value
            chosen = boxes[index]
            result.embeddings[~given] = embedding(
                far, near[index], moves(old, chosen), scores[index]
            )
            result.boxes[~given] = torch.where(value[:, None] > 0.2, chosen, answer.expected[0])
        return result

    def interact(self, content: Tensor, boxes: Tensor, embeddings: Tensor) -> Tensor:
        """See `Network.interact`."""
        state = self.model.carry(embeddings, content[:, 2:])
        return torch.cat([state.new_zeros(len(state), 2), state], 1)
