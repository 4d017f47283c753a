"""The query tracker `nano`: queries that see a frame through YOLOX-nano's frozen maps.

What is unusual here: no layer attends to anything. A proposal's query is a short key of what the
maps hold inside its box, a track's is the slow mean of its keys, which the sparse memory stores and
mixes as published, and a velocity. Each pair of a track and a proposal gets a weight by geometry
and likeness; then all weights are brought to agree (no proposal for two tracks, no track with two),
with room for tracks that are out of sight and for proposals that are nobody's. Of these, such may
be born as no better box explains. Keys were learned on synthetic videos (docs/results.md); the
network is of NumPy and ONNX Runtime, without PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import load_file

from tfsasm.boxes import cxcywh_to_xyxy, iou_matrix
from tfsasm.detection.yolox import PACKAGED, as_batch, letterbox, release_file
from tfsasm.runtime.network import InNumPy, Prediction, Queries
from tfsasm.runtime.sessions import onnx_session, providers_on
from tfsasm.tables import Floats, Image, unit

SIDE = 416
MAPS = {"input.67": (4, 3), "input.471": (8, 3), "input.531": (16, 3), "input.591": (32, 1)}
"""Activations of the stem's stage and the neck: stride, and parts of a box, from head to foot."""
HEAD = 4  # of a query's content: whether it is a proposal, its score or age, velocity
_ROUNDS = 12  # of agreement; more change no score by a hundredth
_FAINT = 1e-6
_USER = "the network nano"


@dataclass(frozen=True)
class Rule:
    """How pairs and births are weighed. Logits; lengths are in sizes of the box."""

    bar: float = -1.5
    """Of a pair of which nothing else is known, against both being alone."""
    overlap: float = 10.0
    """For each IoU of the proposal with the box where the track is expected."""
    distance: float = 1.3
    """Off for the squared distance of centres, large ones by their logarithm."""
    stretch: float = 3.0
    """Off for the squared log-ratio of sizes."""
    given: float = 3.0
    """For the detector's score."""
    like: float = 6.0
    """For the cosine of keys above `usual`."""
    usual: float = 0.4
    """The cosine that says nothing."""
    twin: float = 15.0
    """Off for the IoU, above a half, with a proposal of a higher score."""
    sure: float = 8.0
    """For a birth, for the detector's score above `least`."""
    least: float = 0.6
    """The score at which a birth is as likely as not."""
    explained: float = 20.0
    """Off a birth for the IoU, above `near`, with what is tracked, or with a better proposal."""
    near: float = 0.3
    """See `explained`."""
    slow: float = 0.3
    """Share of the latest move in the velocity, once there were some."""
    fresh: float = 0.1
    """Share of the latest key in a track's, where the detector's score is 1."""


class Maps(NamedTuple):
    """What YOLOX-nano makes of an image."""

    values: Sequence[Floats]
    """`[h, w, C]` of each of `MAPS`."""
    size: Floats
    """What normalised corners `[4]` are multiplied by to be pixels of its input."""


class Encoder:
    """YOLOX-nano's maps, in ONNX Runtime; the heads of the detector are not run.

    Raises `InputError` as `providers_on` does.
    """

    def __init__(self, threads: int = 1, device: str = "auto") -> None:
        self._session = onnx_session(
            release_file(PACKAGED), user=_USER, mend="install tfsasm again", threads=threads,
            providers=providers_on(device, _USER, "pip install onnxruntime-gpu in its place"),
            outputs=tuple(MAPS),
        )  # fmt: skip

    def __call__(self, image: Image) -> Maps:
        """The maps of a uint8 BGR image `[H, W, 3]`."""
        canvas, (x, y) = letterbox(image, (SIDE, SIDE))
        maps = self._session.run(list(MAPS), {"images": as_batch(canvas)})
        height, width = image.shape[:2]
        size = np.array([width * x, height * y] * 2, np.float32)
        return Maps([np.ascontiguousarray(m[0].transpose(1, 2, 0)) for m in maps], size)


def pooled(maps: Maps, boxes: Floats) -> Floats:
    """Features `[P, D]` of normalised cxcywh boxes `[P, 4]`: of each map the means of the parts of
    the box, together of length 1.
    """
    xyxy = cxcywh_to_xyxy(boxes) * maps.size
    parts = []
    for values, (stride, bands) in zip(maps.values, MAPS.values(), strict=True):
        low, high = xyxy[:, :2] / stride - 0.5, xyxy[:, 2:] / stride - 0.5
        x, y = (
            low[:, axis, None] + (np.arange(n) + 0.5) / n * (high - low)[:, axis, None]
            for axis, n in ((0, 2), (1, 2 * bands))
        )
        points = _sampled(values, y[:, :, None], x[:, None])
        means = points.reshape(len(boxes), bands, 4, values.shape[2]).mean(2)
        flat = means.transpose(0, 2, 1).reshape(len(boxes), bands * values.shape[2])
        parts.append(unit(flat, _FAINT))
    return np.concatenate(parts, 1, dtype=np.float32)


def _sampled(values: Floats, y: Floats, x: Floats) -> Floats:
    """A map `[h, w, C]` between its pixels, at `y` and `x` `[...]`; 0 a pixel beyond its border."""
    height, width = values.shape[:2]
    y, x = np.broadcast_arrays(y, x)
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    y, x = y.clip(0, height - 1), x.clip(0, width - 1)
    top, left = y.astype(int), x.astype(int)
    bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, across = (y - top)[..., None], (x - left)[..., None]
    upper = values[top, left] * (1 - across) + values[top, right] * across
    lower = values[bottom, left] * (1 - across) + values[bottom, right] * across
    return (upper * (1 - down) + lower * down) * inside[..., None]


def weighed(
    rule: Rule, boxes: Floats, scores: Floats, keys: Floats, expected: Floats, kept: Floats
) -> tuple[Floats, Floats, Floats]:
    """P proposals with `keys` `[P, C]` against T tracks of keys `kept` `[T, C]` at `expected`.

    How far a proposal is the track `[T, P]`; how far a track is none of them `[T]`, which with its
    shares is 1; and how likely a proposal is somebody new `[P]`.
    """
    twins = _overlaps(boxes, boxes)
    np.fill_diagonal(twins, 0)
    twin = (twins * (scores[None] > scores[:, None])).max(1, initial=0)
    size = np.maximum(expected[:, None, 2:] + boxes[None, :, 2:], _FAINT) / 2
    offset = np.log1p(np.abs(boxes[None, :, :2] - expected[:, None, :2]) / size)
    sides = [np.log(np.maximum(b[:, 2:], _FAINT)) for b in (boxes, expected)]
    ratio = sides[0][None] - sides[1][:, None]
    weights = (
        rule.bar + rule.overlap * _overlaps(expected, boxes)
        - rule.distance * (offset**2).sum(-1) - rule.stretch * (ratio**2).sum(-1)
        + rule.like * (unit(kept, _FAINT) @ keys.T - rule.usual)
        + (rule.given * scores - rule.twin * np.maximum(twin - 0.5, 0))[None]
    )  # fmt: skip
    share, hidden, free = agreed(weights)
    taken = (twins * (1 - free)[None]).max(1, initial=0)
    born = rule.sure * (scores - rule.least)
    for other in (twin, taken):
        born = born - rule.explained * np.maximum(other - rule.near, 0)
    return share, hidden, free / (1 + np.exp(-born))


def _overlaps(a: Floats, b: Floats) -> Floats:
    return iou_matrix(cxcywh_to_xyxy(a), cxcywh_to_xyxy(b), 1e-9)


def agreed(weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Shares `[T, P]` of pairs, what is left of tracks `[T]` and of proposals `[P]`.

    `weights` `[T, P]` are logits of a pair against both being alone. Each side's room is found in
    turns: nearly the marginals of all ways to pair each with at most one.
    """
    odds: Floats = np.exp(np.clip(weights, -60, 20)).astype(np.float32)
    free: Floats = np.ones(odds.shape[1], np.float32)
    for _ in range(_ROUNDS):
        free = np.reciprocal(1 + np.reciprocal(1 + odds @ free) @ odds)
    alone = np.reciprocal(1 + odds @ free)
    return odds * alone[:, None] * free[None], alone, free


class NanoNetwork(InNumPy):
    """As a tracker calls it: a `Network` in NumPy."""

    learned, proposals, classes, preset = 0, True, 1, "motrv2"

    def __init__(
        self, look: Floats, bias: Floats, rule: Rule, encoder: Callable[[Image], Maps]
    ) -> None:
        """`look` `[C, D]` and `bias` `[C]` make keys of features."""
        self.look, self.bias, self.rule = look, bias, rule
        self.parameters = look.size + bias.size + len(fields(Rule))
        self._encoder = encoder

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """The same for every image."""
        return SIDE, SIDE

    def encode(self, images: Sequence[Image]) -> list[Maps]:
        """Maps of each image."""
        return [self._encoder(image) for image in images]

    def keys(self, features: Maps, boxes: Floats) -> Floats:
        """`[P, C]` of normalised boxes `[P, 4]`, of length 1."""
        return unit(pooled(features, boxes) @ self.look.T + self.bias, _FAINT)

    def queries(self, boxes: Floats, scores: Floats) -> Queries:
        """One query per detection."""
        content = np.zeros((len(boxes), HEAD + len(self.bias)), np.float32)
        content[:, 0], content[:, 1] = 1, scores
        return Queries(content, boxes)

    def decode(self, features: Maps, queries: Queries, alive: Any = None) -> Prediction:
        """See `Network.decode`. A track's first box is where it was expected, its box that of its
        proposal; its embedding says that it moved, how sure the detector was, the move, the key.
        """
        given = queries.content[:, 0] > 0.75  # a memory mixes at most a half of it into a track
        boxes, old = queries.boxes[given], queries.boxes[~given]
        scores, content = queries.content[given, 1], queries.content[~given]
        centres = old[:, :2] + content[:, 2:4] * old[:, 2:]
        expected = np.concatenate([centres, old[:, 2:]], 1)
        keys = self.keys(features, boxes)
        share, hidden, born = weighed(
            self.rule, boxes, scores, keys, expected, content[:, HEAD:]
        )
        result = Prediction(
            np.zeros(len(given), np.float32), queries.boxes.copy(), queries.boxes.copy(),
            np.zeros_like(queries.content),
        )  # fmt: skip
        result.scores[given], result.embeddings[given, HEAD:] = born, keys
        result.boxes[~given] = result.first_boxes[~given] = expected
        if len(boxes) and len(old):
            result.scores[~given] = 1 - hidden
            best = share.argmax(1)
            move = (boxes[best, :2] - old[:, :2]) / np.maximum(old[:, 2:], _FAINT)
            result.embeddings[~given] = np.concatenate(
                [np.ones((len(old), 1)), scores[best, None], move.clip(-2, 2), keys[best]], 1
            )
            result.boxes[~given] = np.where(hidden[:, None] < 0.8, boxes[best], expected)
        return result

    def interact(
        self, content: Floats, boxes: Floats, embeddings: Floats, alive: Any = None
    ) -> Floats:
        """See `Network.interact`: means of moves and keys, quick at first."""
        fresh = content[:, :1] > 0.75
        age = np.where(fresh, 0, content[:, 1:2])
        slower = np.maximum(1 / (1 + age), self.rule.slow)
        speed = content[:, 2:4] + slower * (embeddings[:, 2:4] - content[:, 2:4])
        trust = np.where(fresh, 1, self.rule.fresh * embeddings[:, 1:2])
        key = content[:, HEAD:] + trust * (embeddings[:, HEAD:] - content[:, HEAD:])
        speed = np.where(fresh, 0, speed)
        return np.concatenate([0 * age, age + embeddings[:, :1], speed, key], 1, dtype=np.float32)


def read_weights(path: Path) -> tuple[Floats, Floats, Rule]:
    """`look`, `bias` and the rule of a file that `benchmarks/frozen/fit.py` wrote."""
    tensors = load_file(path)
    look, bias = (tensors[name].astype(np.float32) for name in ("look", "bias"))
    return look, bias, Rule(**{field.name: float(tensors[field.name]) for field in fields(Rule)})
