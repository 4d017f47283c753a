"""Box formats and overlaps: the only place that converts.

`boxes` are normalised `cxcywh` in [0, 1]; `xyxy` and `ltwh` are pixels or normalised as the caller
says. No +1/-1 pixel convention anywhere. The conversions keep the operation order of SPEC 1, since
float32 results must agree to the last bit.
"""

from __future__ import annotations

import torch
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
