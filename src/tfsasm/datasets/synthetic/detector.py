"""A detector that is as wrong as a real one, without running one.

Unusual here: all errors are correlated in time. A detector that gets nearly the same image makes
nearly the same error, so jitter, scores, misses, duplicates and false boxes are each driven by a
slow random process rather than drawn anew in every frame. The constants are fitted to YOLOX-nano on
surveillance video (`quality` 0) and YOLOX-X on dance video (`quality` 1), both after NMS at 0.7.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from tfsasm.boxes import (
    area,
    clipped,
    cxcywh_to_xyxy,
    iou_matrix,
    ltwh_to_xyxy,
    suppress,
    xyxy_to_cxcywh,
    xyxy_to_ltwh,
)

NMS_IOU = 0.7  # what the real detectors were run with

_GHOSTS = 4  # latent wrong boxes per person: duplicates, parts, merges


@dataclass(frozen=True)
class Truth:
    """What a frame really shows. Rows are all `G` people of the clip, seen or not.

    `boxes` and `visible` `[G, 4]` xyxy: whole extent, and extent of the unoccluded pixels;
    `visibility` `[G]` is 0 for people out of sight.
    """

    boxes: np.ndarray
    visible: np.ndarray
    visibility: np.ndarray


class DetectorStatistics:
    """A detector between YOLOX-nano (`quality` 0) and YOLOX-X (1), with its own peculiarities."""

    def __init__(self, rng: Generator, quality: float) -> None:
        def between(nano: float, large: float) -> float:
            return (1 - quality) * nano + quality * large

        own = rng.lognormal(0, 0.15, 4)
        # Relative errors: centre by width, centre by height, log width, log height.
        self.jitter = (1 - quality) * np.array([0.11, 0.026, 0.165, 0.045]) * own
        self.jitter = self.jitter + quality * np.array([0.017, 0.009, 0.027, 0.014])
        self.bias = (1 - quality) * rng.normal([0, 0, 0.09, 0.015], [0.01, 0.005, 0.04, 0.01])
        # Logits of scores, or what they lose.
        self.confidence = between(2.6, 3.6) + rng.normal(0, 0.2)  # of a clear, large person
        self.ceiling = between(0.88, 0.98)  # highest score
        self.spread = between(0.5, 0.6)
        self.occlusion = between(14.0, 6.0) * rng.lognormal(0, 0.2)  # per share that is covered
        self.tolerance = between(0.24, 0.5) + rng.normal(0, 0.05)  # share that costs nothing
        self.dropout = between(18.0, 5.0)  # in the rare spells of missing a person
        self.pull = between(1.0, 0.5)  # how far boxes shrink to the visible part
        self.smallness = between(1.6, 0.8)  # per octave below 32 pixels
        self.ghosts = between(-4.5, -7.4) + rng.normal(0, 0.3)  # of wrong boxes on people
        self.merges = between(4.0, 2.5)  # what overlap adds to a box around two
        self.places = between(55, 0.5) * rng.lognormal(0, 0.5)  # how many may give a false box
        self.place = between(-4.3, -4.8)  # of those


class SimulatedDetector:
    """Boxes of one clip, frame by frame. Keeps the state of the slow error processes."""

    def __init__(
        self, rng: Generator, quality: float, people: int, clutter: np.ndarray,
        size: tuple[int, int], person_height: float, min_score: float,
    ) -> None:
        """`clutter` `[K, 4]` ltwh things that look like people; `size` is (width, height)."""
        style = DetectorStatistics(rng, quality)
        self._rng, self._style, self._size, self._floor = rng, style, size, min_score
        self._error = rng.normal(0, 1, (people, 4))
        self._confidence = rng.normal(0, 1, people)
        self._dropout = rng.normal(0, 1, people)
        self._offset = rng.normal(0, 0.35, people)
        self._pull = rng.normal(0, 1, people)
        self._ghost = rng.normal(0, 1, (people, _GHOSTS))
        self._shape = self._new_shapes(people)
        self._places = _places(rng, style, clutter, size, person_height)
        count = len(self._places)
        self._place = rng.normal(0, 1, count)
        self._place_level = style.place + np.where(
            np.arange(count) < len(clutter), rng.normal(1.2, 1.5, count), 0.0
        )
        hot = rng.random(count) < min(1.0, 1.3 / max(style.places, 1)) * (style.places > 10)
        self._place_level[hot] = rng.normal(0.2, 0.8, int(hot.sum()))
        self._place_error = rng.normal(0, 1, (count, 4))

    def detect(self, truth: Truth, zoom: float, shift: np.ndarray) -> np.ndarray:
        """Boxes of the next frame, float32 `[P, 5]` (ltwh pixels, score), best first."""
        self._advance()
        rows = np.concatenate([self._people(truth), self._ghosts(truth), self._static(zoom, shift)])
        rows = rows[rows[:, 4] > self._floor]
        rows[:, :4] = clipped(rows[:, :4], *self._size)
        rows = rows[(rows[:, 2:4] - rows[:, :2] >= 2).all(axis=1)]
        rows = rows[suppress(rows[:, :4], rows[:, 4], NMS_IOU)]
        return np.column_stack([xyxy_to_ltwh(rows[:, :4]), rows[:, 4]]).astype(np.float32)

    def _advance(self) -> None:
        """Let every error drift on; 0.8 to 0.9 of it stays from one frame to the next."""
        rng = self._rng

        def drift(state: np.ndarray, keep: float) -> np.ndarray:
            return keep * state + np.sqrt(1 - keep**2) * rng.normal(0, 1, state.shape)

        self._error = drift(self._error, 0.88)
        self._confidence = drift(self._confidence, 0.85)
        self._dropout = drift(self._dropout, 0.95)
        self._pull = drift(self._pull, 0.88)
        self._ghost = drift(self._ghost, 0.86)
        self._place = drift(self._place, 0.85)
        self._place_error = drift(self._place_error, 0.8)
        renew = rng.random(self._ghost.shape) < 0.05
        if renew.any():
            self._shape[renew] = self._new_shapes(len(renew))[renew]

    def _people(self, truth: Truth) -> np.ndarray:
        style = self._style
        hidden = _covered(truth, self._size)
        tall = np.maximum(truth.boxes[:, 3] - truth.boxes[:, 1], 1)
        logit = (
            style.confidence + self._offset + style.spread * self._confidence
            - style.dropout * np.maximum(self._dropout - 1.55, 0)
            - style.occlusion * np.maximum(hidden - style.tolerance - 0.1 * self._pull, 0.0)
            - style.smallness * np.clip(np.log2(32 / tall), 0, 5)
        )  # fmt: skip
        score = style.ceiling * _sigmoid(logit)
        # A half-covered person is boxed somewhere between its whole and its visible extent.
        pull = np.clip(_sigmoid(1.5 * self._pull - 0.3) * np.minimum(hidden * 3, 1), 0, 1)[:, None]
        pull = style.pull * pull
        boxes = (1 - pull) * truth.boxes + pull * truth.visible
        boxes = _shake(boxes, self._error * style.jitter * (1 + 0.8 * hidden)[:, None], style.bias)
        seen = truth.visibility > 0.03
        return np.column_stack([boxes, score])[seen]

    def _ghosts(self, truth: Truth) -> np.ndarray:
        """Wrong boxes tied to a person: second boxes, body parts, boxes around two people."""
        seen = np.flatnonzero(truth.visibility > 0.15)
        if not len(seen):
            return np.zeros((0, 5))
        whole = truth.boxes[seen]
        size = whole[:, 2:] - whole[:, :2]
        shape = self._shape[seen]  # [N, ghosts, 4]: left top and right bottom within the person
        corners = whole[:, None, [0, 1, 0, 1]] + shape * size[:, None, [0, 1, 0, 1]]
        pairs = iou_matrix(whole, whole, 1e-9)
        np.fill_diagonal(pairs, 0)
        partner, overlap = pairs.argmax(axis=1), pairs.max(axis=1)
        level = np.full((len(seen), _GHOSTS), self._style.ghosts)
        merges, other = overlap > 0.02, whole[partner]
        corners[merges, -1, :2] = np.minimum(whole, other)[merges, :2]
        corners[merges, -1, 2:] = np.maximum(whole, other)[merges, 2:]
        level[merges, -1] += 0.25 * self._style.merges * (1 + 4 * overlap[merges])
        level[~merges, -1] -= 1.0
        score = self._style.ceiling * _sigmoid(level + 2.0 * self._ghost[seen])
        return np.column_stack([corners.reshape(-1, 4), score.reshape(-1)])

    def _static(self, zoom: float, shift: np.ndarray) -> np.ndarray:
        centre = np.array(self._size, dtype=float) / 2
        corners = self._places.reshape(-1, 2, 2)
        moved = (zoom * (corners - centre) + centre + shift).reshape(-1, 4)
        boxes = _shake(moved, self._place_error * 0.08, np.zeros(4))
        score = self._style.ceiling * _sigmoid(self._place_level + 1.5 * self._place)
        return np.column_stack([boxes, score])

    def _new_shapes(self, people: int) -> np.ndarray:
        """Corners of wrong boxes within a person's box, `[people, ghosts, 4]`."""
        rng, count = self._rng, (people, _GHOSTS)
        shape = np.zeros((*count, 4))
        shape[..., 2:] = 1.0
        kind = rng.random(count)
        cut = rng.uniform(0.35, 0.75, count)
        upper, lower = kind < 0.42, (kind >= 0.42) & (kind < 0.56)
        shape[upper, 3] = cut[upper]
        shape[lower, 1] = cut[lower]
        small = (kind >= 0.56) & (kind < 0.72)
        corner = rng.uniform(0, 0.5, (*count, 2))
        shape[small, :2] = corner[small]
        shape[small, 2:] = (corner + rng.uniform(0.25, 0.5, (*count, 2)))[small]
        second = kind >= 0.72
        shape[second] += rng.normal(0, 0.17, (*count, 4))[second]
        return shape + rng.normal(0, 0.06, shape.shape)


def _covered(truth: Truth, size: tuple[int, int]) -> np.ndarray:
    """Share of each body that is hidden, where the image border hides less than other people do."""
    inside = area(clipped(truth.boxes, *size)) / np.maximum(area(truth.boxes), 1e-6)
    uncovered = np.minimum(truth.visibility / np.maximum(inside, 0.02), 1)
    return np.clip(1 - uncovered + 0.2 * (1 - inside), 0, 1)


def _places(
    rng: Generator, style: DetectorStatistics, clutter: np.ndarray, size: tuple[int, int],
    person_height: float,
) -> np.ndarray:
    """Where the background fools the detector, xyxy `[K, 4]`: the clutter first, then anywhere."""
    count = int(rng.poisson(style.places))
    kept = clutter[: min(len(clutter), 1 + count // 3)]
    height = person_height * np.exp(rng.normal(-1.05, 0.6, count))
    width = height * np.exp(rng.normal(-0.6, 0.4, count))
    centre = rng.uniform(-0.1, 1.1, (count, 2)) * np.array(size)
    anywhere = cxcywh_to_xyxy(np.column_stack([centre, width, height]))
    return np.concatenate([ltwh_to_xyxy(kept), anywhere])


def _shake(boxes: np.ndarray, error: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Move and stretch xyxy boxes by relative errors (centre x and y, log width, log height)."""
    error = error + bias
    centre, size = np.split(xyxy_to_cxcywh(boxes), 2, axis=1)
    size = np.maximum(size, 1e-3)
    centre = centre + error[:, :2] * size
    return cxcywh_to_xyxy(np.concatenate([centre, size * np.exp(error[:, 2:])], axis=1))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
