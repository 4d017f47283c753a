"""A network whose predictions come from the test, and a real one that is small."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch

from tfsasm.detection.proposals import Proposals
from tfsasm.motrv2.backbone import BACKBONES, MobileNetV2, ResNet50
from tfsasm.motrv2.config import ModelConfig
from tfsasm.runtime import network as runtime
from tfsasm.runtime.network import Prediction, Queries
from tfsasm.tables import as_numpy

CHANNELS = 4
EMBEDDED = 100.0
"""What the fake decoder adds to a content, so that an embedding shows which query it is of."""
REFRESHED = 1.0
"""What the fake interaction adds to the content of a track."""


class ShortBackbone(MobileNetV2):
    """Four blocks instead of seventeen: made, run and exported in less than half the time."""

    plan = [[1, 16, 1, 2], [1, 32, 1, 2], [1, 96, 1, 2], [1, 320, 1, 2]]
    taps = (2, 3, 4)


class ThinResNet(ResNet50):
    """One narrow block per stage, which in published files stands for the whole."""

    blocks = (1, 1, 1, 1)

    def _make_layer(self, *given: Any, **more: Any) -> Any:
        self.base_width = 4
        return super()._make_layer(*given, **more)


@contextmanager
def thin_resnet():
    """The published networks have it inside."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "resnet50", ThinResNet)
        yield


BACKBONES["short"] = ShortBackbone  # in this process alone

SMALL = ModelConfig(
    backbone="short", width=64, heads=4, feedforward=64, encoder_layers=1, decoder_layers=2,
    levels=3, points=2, learned_queries=3,
)  # fmt: skip


def box(cx: float, cy: float = 0.5, w: float = 0.1, h: float = 0.2) -> list[float]:
    return [cx, cy, w, h]


def proposals(*rows: Sequence[float], score: float = 0.9) -> Proposals:
    """Normalised cxcywh boxes, all of one score."""
    boxes = np.array(rows, dtype=np.float32).reshape(-1, 4)
    return Proposals(boxes, np.full(len(rows), score, dtype=np.float32))


def predicted(
    scores: Sequence[Any], boxes: Sequence[Sequence[float]] | None = None,
    first_boxes: Sequence[Sequence[float]] | None = None,
) -> tuple[np.ndarray, ...]:
    """What the network shall predict in a frame: a row per query, in the order of the queries.

    That order is learned queries, proposals, older tracks. `scores` are of one class `[Q]`, or of
    several `[Q, K]`. `first_boxes` are those of the first decoder layer, by default the same; boxes
    stand apart by default.
    """
    last = boxes if boxes is not None else [box(i + 0.5) for i in range(len(scores))]
    first = last if first_boxes is None else first_boxes
    rows = [np.array(some, dtype=np.float32).reshape(-1, 4) for some in (first, last)]
    return np.array(scores, dtype=np.float32), *rows


class FakeNetwork:
    """A `Network` without weights: the features of a frame are its prediction, by `predicted`.

    With `padded` tables it predicts a sure object all over the image for each row that is empty.
    """

    parameters, inference, preset = 0, nullcontext, "default"

    def __init__(
        self, library: Any = torch, learned: int = 0, classes: int = 1, padded: bool = False
    ) -> None:
        self.library, self.learned, self.proposals = library, learned, True
        self.classes, self.padded = classes, padded
        content = np.full((learned, CHANNELS), -1.0, dtype=np.float32)
        boxes = np.tile(np.array([box(0.0)], dtype=np.float32), (learned, 1))
        self._learned = Queries(self.asarray(content), self.asarray(boxes))

    def repeat(self, function: Any, *given: Any) -> Any:
        return function(*given)

    def asarray(self, values: np.ndarray) -> Any:
        return self.library.asarray(values)

    def encode(self, images: Sequence[np.ndarray]) -> list[Any]:
        raise NotImplementedError

    def queries(self, boxes: Any, scores: Any) -> Queries:
        content = self.library.concat([scores[:, None]] * CHANNELS, 1)
        return Queries.cat([self._learned, Queries(content, boxes)])

    def decode(
        self, features: tuple[np.ndarray, ...], queries: Queries, alive: Any = None
    ) -> Prediction:
        count = len(queries) if alive is None else int(alive.sum())
        if len(features[0]) != count:
            raise AssertionError(f"{len(features[0])} rows are scripted for {count} queries")
        if alive is not None:
            asked = as_numpy(alive)
            everywhere = [np.ones((len(asked), *part.shape[1:]), np.float32) for part in features]
            for rows, part in zip(everywhere, features, strict=True):
                rows[asked] = part
            features = tuple(everywhere)
        scores, first, last = (self.asarray(part) for part in features)
        return runtime.predicted(scores, last, first, queries.content + EMBEDDED)

    def interact(self, content: Any, boxes: Any, embeddings: Any, alive: Any = None) -> Any:
        return content + REFRESHED


class ScriptedNetwork(FakeNetwork):
    """A network that predicts in each image what the script has next."""

    def __init__(
        self, *script: Any, library: Any = torch, learned: int = 0, classes: int = 1
    ) -> None:
        super().__init__(library, learned, classes)
        self._script = iter(script)

    def encode(self, images: Sequence[np.ndarray]) -> list[Any]:
        return [next(self._script) for _ in images]


class SureNetwork(FakeNetwork):
    """A network that sees an object wherever it is asked, so the tracker's rules decide alone."""

    def encode(self, images: Sequence[np.ndarray]) -> list[Any]:
        return [None] * len(images)

    def decode(self, features: Any, queries: Queries, alive: Any = None) -> Prediction:
        scores = self.library.full((len(queries),), 0.9)
        return Prediction(scores, queries.boxes, queries.boxes, queries.content + EMBEDDED)
