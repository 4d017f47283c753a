"""Box formats and overlaps: the only place that converts.

`boxes` are normalised `cxcywh` in [0, 1]; `xyxy` and `ltwh` are pixels or normalised as the caller
says. No +1/-1 pixel convention anywhere. The conversions keep the operation order of SPEC 1, since
float32 results must agree to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Centre and size `[..., 4]` to corners `[..., 4]`."""
    cx, cy, w, h = boxes.unbind(-1)
    return torch.stack([cx - 0.5 * w, cy - 0.5 * h, cx + 0.5 * w, cy + 0.5 * h], dim=-1)


def area(xyxy: Tensor) -> Tensor:
    """Area `[...]` of corner boxes `[..., 4]`."""
    return (xyxy[..., 2] - xyxy[..., 0]) * (xyxy[..., 3] - xyxy[..., 1])


def iou_matrix(a: Tensor, b: Tensor) -> Tensor:
    """IoU `[A, B]` of corner boxes `[A, 4]` and `[B, 4]`; 0/0 of two empty boxes is NaN."""
    intersection, union = _intersection_union(a[:, None], b[None])
    return intersection / union


def giou_matrix(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU `[A, B]` of corner boxes (arXiv 1902.09630)."""
    return _giou(a[:, None], b[None])


def iou_pairs(a: Tensor, b: Tensor) -> Tensor:
    """IoU `[N]` of corner boxes, row by row."""
    intersection, union = _intersection_union(a, b)
    return intersection / union


def giou_pairs(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU `[N]` of corner boxes, row by row."""
    return _giou(a, b)


def _intersection_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., 2:], b[..., 2:])
    w, h = (high - low).clamp(min=0).unbind(-1)
    intersection = w * h
    return intersection, area(a) + area(b) - intersection


def _giou(a: Tensor, b: Tensor) -> Tensor:
    intersection, union = _intersection_union(a, b)
    low = torch.minimum(a[..., :2], b[..., :2])
    high = torch.maximum(a[..., 2:], b[..., 2:])
    w, h = (high - low).clamp(min=0).unbind(-1)
    enclosing = w * h
    return intersection / union - (enclosing - union) / enclosing


def normalised_boxes(
    ltwh: np.ndarray | Sequence[Sequence[float]], width: int, height: int
) -> NDArray[np.float32]:
    """Pixel boxes `[P, 4]` (left, top, width, height) as cxcywh by the size of their image.

    The arithmetic is double with one rounding to float32 (SPEC 2.4).
    """
    left, top, w, h = np.asarray(ltwh, dtype=np.float64).reshape(-1, 4).T
    columns = [(left + w / 2) / width, (top + h / 2) / height, w / width, h / height]
    return np.stack(columns, axis=1).astype(np.float32)


def ltwh_of(xyxy: np.ndarray | Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Pixel corner boxes `[P, 4]` as left, top, width, height."""
    corners = np.asarray(xyxy, dtype=np.float64).reshape(-1, 4)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
