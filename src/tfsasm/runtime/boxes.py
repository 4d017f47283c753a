"""Twin of `tfsasm.boxes` in NumPy: the same operations in the same order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

Integers = NDArray[np.int64]

Mask = NDArray[np.bool_]


def cxcywh_to_xyxy(boxes: Floats) -> Floats:
    """Centre and size `[N, 4]` to corners `[N, 4]`."""
    half = 0.5 * boxes[:, 2:]
    return np.concat([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def area(xyxy: Floats) -> Floats:
    """Area `[N]` of corner boxes `[N, 4]`."""
    return (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])


def lerp(start: Floats, end: Floats, share: float) -> Floats:
    """The way from `start` to `end`, rounded as `torch.lerp` does: exact at both ends."""
    way = end - start
    return start + share * way if share < 0.5 else end - (1 - share) * way


def iou_matrix(a: Floats, b: Floats) -> Floats:
    """IoU `[A, B]` of corner boxes `[A, 4]` and `[B, 4]`; 0/0 of two empty boxes is NaN."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(high - low, 0)
    intersection = sides[..., 0] * sides[..., 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return intersection / (area(a)[:, None] + area(b)[None] - intersection)
