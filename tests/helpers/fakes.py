"""A network that reads its answers from the test, and a real one that is small."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tfsasm.detection.proposals import Proposals
from tfsasm.motrv2.config import ModelConfig
from tfsasm.motrv2.transformer import Prediction, Queries

CHANNELS = 4
EMBEDDED = 100.0
"""What the fake decoder adds to a content, so that an embedding tells which content was asked."""
REFRESHED = 1.0
"""What the fake refresh adds to the stored content of a track that was seen."""

SMALL = ModelConfig(
    backbone="mobilenetv2", width=64, heads=4, feedforward=64, encoder_layers=1, decoder_layers=2,
    levels=3, points=2, learned_queries=3,
)  # fmt: skip


def box(cx: float, cy: float = 0.5, w: float = 0.1, h: float = 0.2) -> list[float]:
    return [cx, cy, w, h]


def proposals(*rows: Sequence[float], score: float = 0.9) -> Proposals:
    """Normalised cxcywh boxes, all of one score."""
    return Proposals(torch.tensor(rows).reshape(-1, 4), torch.full((len(rows),), score))


def told(
    scores: Sequence[float], boxes: Sequence[Sequence[float]] | None = None,
    first_boxes: Sequence[Sequence[float]] | None = None,
) -> tuple[Tensor, ...]:
    """What the network shall say about a frame: one row per query, in the order it is asked.

    That order is learned queries, proposals, older tracks. `first_boxes` are those of the first
    decoder layer, by default the same; boxes stand apart by default.
    """
    n = len(scores)
    last = torch.tensor(boxes if boxes is not None else [box(i + 0.5) for i in range(n)])
    first = last if first_boxes is None else torch.tensor(first_boxes)
    logits = torch.tensor(scores, dtype=torch.float64).logit().float()
    return logits.reshape(n, 1), first.reshape(n, 4), last.reshape(n, 4)


class FakeModel:
    """Stateless stand-in for `MOTRv2`: the features of a frame are its answer, made by `told`."""

    def __init__(self, learned: int = 0) -> None:
        self.learned_content = torch.full((learned, CHANNELS), -1.0)
        self.learned_boxes = torch.tensor([box(0.0)]).repeat(learned, 1)

    def queries(self, found: Proposals) -> Queries:
        content = found.scores[:, None].expand(-1, CHANNELS)
        return Queries(
            torch.cat([self.learned_content, content]), torch.cat([self.learned_boxes, found.boxes])
        )

    def decode(self, features: tuple[Tensor, ...], queries: Queries) -> list[Prediction]:
        logits, first, last = features
        if len(logits) != len(queries):
            raise AssertionError(f"{len(logits)} answers are scripted for {len(queries)} queries")
        embeddings = queries.content + EMBEDDED
        return [Prediction(logits, boxes, embeddings) for boxes in (first, last)]

    def refresh(self, stored: Queries, answer: Prediction, seen: Tensor) -> Queries:
        chosen = seen[:, None]
        return Queries(
            torch.where(chosen, stored.content + REFRESHED, stored.content),
            torch.where(chosen, answer.boxes, stored.boxes),
        )
