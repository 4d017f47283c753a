"""Embeddings: a vector per box that is alike for the same person and unlike for others."""

from __future__ import annotations

from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from tfsasm.appearance.arrays import Doubles

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]


class Embedder(Protocol):
    """Any function of a frame and some boxes in it."""

    def __call__(self, image: Image, xyxy: Doubles) -> Floats:
        """Vectors `[P, C]` of boxes `[P, 4]` (pixel corners) in a uint8 BGR image `[H, W, 3]`.

        No box is a normal question; the answer is then `[0, C]`. Boxes may leave the image.
        """
        ...


def crops(image: Image, xyxy: Doubles, height: int, width: int) -> Image:
    """The boxes cut out and brought to one size by nearest pixel: `[P, height, width, 3]`.

    What a box has outside the image repeats the image's border.
    """
    rows = _samples(xyxy[:, 1], xyxy[:, 3], height, image.shape[0])
    columns = _samples(xyxy[:, 0], xyxy[:, 2], width, image.shape[1])
    return image[rows[:, :, None], columns[:, None, :]]


def cut_out(image: Image, box: Doubles, height: int, width: int) -> Image:
    """One box (pixel corners) cut out and smoothly brought to size `[height, width, 3]`."""
    rows, columns = image.shape[:2]
    x1, x2 = np.clip(np.round(box[[0, 2]]), [0, 1], [columns - 1, columns]).astype(int)
    y1, y2 = np.clip(np.round(box[[1, 3]]), [0, 1], [rows - 1, rows]).astype(int)
    part = image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
    sized: Any = cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)
    return sized


def _samples(low: Doubles, high: Doubles, count: int, limit: int) -> NDArray[np.int64]:
    """`count` pixel numbers `[P, count]`, evenly from `low` to `high` `[P]`, below `limit`."""
    middles = (np.arange(count) + 0.5) / count
    places = low[:, None] + (high - low)[:, None] * middles
    return np.clip(places, 0, limit - 1).astype(np.int64)
