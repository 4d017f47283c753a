"""Box formats, overlaps and non-maximum suppression: the only place that converts.

`boxes` are normalised `cxcywh` in [0, 1]; `xyxy` and `ltwh` are pixels or normalised. No +1/-1
pixel convention anywhere. NumPy arrays and PyTorch tensors alike, but where a signature has another
type. Conversions keep the operation order of SPEC 1, since float32 results must agree to the last
bit.
"""

from collections.abc import Sequence

import numpy as np

from tfsasm.tables import Array, Floats, Integers, namespace

_BLOCK = 64  # boxes that are compared with all others at once


def cxcywh_to_xyxy(boxes: Array) -> Array:
    """Centre and size `[..., 4]` to corners `[..., 4]`."""
    centre, half = boxes[..., :2], 0.5 * boxes[..., 2:]
    return namespace(boxes).concat([centre - half, centre + half], -1)


def ltwh_to_xyxy(ltwh: Array) -> Array:
    """Left, top, width, height `[..., 4]` to corners `[..., 4]`."""
    corner = ltwh[..., :2]
    return namespace(ltwh).concat([corner, corner + ltwh[..., 2:]], -1)


def xyxy_to_ltwh(xyxy: Array) -> Array:
    """Corners `[..., 4]` to left, top, width, height `[..., 4]`."""
    corner = xyxy[..., :2]
    return namespace(xyxy).concat([corner, xyxy[..., 2:] - corner], -1)


def xyxy_to_cxcywh(xyxy: Array) -> Array:
    """Corners `[..., 4]` to centre and size `[..., 4]`."""
    low, high = xyxy[..., :2], xyxy[..., 2:]
    return namespace(xyxy).concat([(low + high) / 2, high - low], -1)


def normalised_boxes(
    ltwh: np.ndarray | Sequence[Sequence[float]], width: int, height: int
) -> Floats:
    """Pixel boxes `[P, 4]` (left, top, width, height) as cxcywh by the size of their image.

    The arithmetic is double with one rounding to float32 (SPEC 2.4).
    """
    left, top, w, h = np.asarray(ltwh, dtype=np.float64).reshape(-1, 4).T
    columns = [(left + w / 2) / width, (top + h / 2) / height, w / width, h / height]
    return np.stack(columns, axis=1).astype(np.float32)


def look_normalised(xyxy: np.ndarray) -> bool:
    """Whether all boxes `[P, 4]` are within [0, 1] or half of that outside, and there are any."""
    return len(xyxy) > 0 and bool((np.abs(xyxy - 0.5) <= 1).all())


def clipped(xyxy: np.ndarray, width: float, height: float) -> np.ndarray:
    """Pixel corners `[N, 4]` cut at the border of a `width` x `height` image."""
    return np.clip(xyxy, 0, np.array([width, height, width, height], dtype=xyxy.dtype))


def grown(xyxy: Array, share: float) -> Array:
    """Corner boxes `[N, 4]` that are wider and higher by `share` of their size on every side.

    Those that no longer touch can then still be compared (C-BIoU, arXiv 2211.14317).
    """
    low, high = xyxy[..., :2], xyxy[..., 2:]
    margin = (high - low) * share
    return namespace(xyxy).concat([low - margin, high + margin], -1)


def area(xyxy: Array) -> Array:
    """Area `[...]` of corner boxes `[..., 4]`."""
    return (xyxy[..., 2] - xyxy[..., 0]) * (xyxy[..., 3] - xyxy[..., 1])


def iou_matrix(a: Array, b: Array, smallest_union: float | None = None) -> Array:
    """IoU `[A, B]` of corner boxes `[A, 4]` and `[B, 4]`.

    0/0 of two boxes without area is NaN, unless unions below `smallest_union` count as that much.
    """
    return iou_pairs(a[:, None], b[None], smallest_union)


def iou_pairs(a: Array, b: Array, smallest_union: float | None = None) -> Array:
    """IoU `[...]` of corner boxes `[..., 4]`, row by row; as `iou_matrix`."""
    intersection, union = _intersection_union(a, b)
    if smallest_union is not None:
        union = union.clip(smallest_union)
    with np.errstate(divide="ignore", invalid="ignore"):
        return intersection / union


def giou_matrix(a: Array, b: Array) -> Array:
    """Generalised IoU `[A, B]` of corner boxes `[A, 4]` and `[B, 4]` (arXiv 1902.09630)."""
    return giou_pairs(a[:, None], b[None])


def giou_pairs(a: Array, b: Array) -> Array:
    """Generalised IoU `[...]` of corner boxes `[..., 4]`, row by row."""
    library = namespace(a)
    intersection, union = _intersection_union(a, b)
    low, high = library.minimum(a[..., :2], b[..., :2]), library.maximum(a[..., 2:], b[..., 2:])
    sides = (high - low).clip(0)
    enclosing = sides[..., 0] * sides[..., 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return intersection / union - (enclosing - union) / enclosing


def height_iou(a: Array, b: Array, smallest_union: float) -> Array:
    """IoU `[A, B]` of the vertical extents alone (Hybrid-SORT, arXiv 2308.00783).

    Depth shows in it: of two people side by side, the nearer one is higher and stands lower.
    """
    a, b = a[:, None], b[None]
    shared = _shared(a, b, 1)
    union = (a[..., 3] - a[..., 1]) + (b[..., 3] - b[..., 1]) - shared
    return shared / union.clip(smallest_union)


def _intersection_union(a: Array, b: Array) -> tuple[Array, Array]:
    intersection = _shared(a, b, 0) * _shared(a, b, 1)
    return intersection, area(a) + area(b) - intersection


def _shared(a: Array, b: Array, axis: int) -> Array:
    """Length `[...]` that the extents along x (axis 0) or y (axis 1) have in common."""
    library = namespace(a)
    low = library.maximum(a[..., axis], b[..., axis])
    return (library.minimum(a[..., 2 + axis], b[..., 2 + axis]) - low).clip(0)


def suppress(
    xyxy: np.ndarray, scores: np.ndarray, iou: float, classes: Integers | None = None
) -> Integers:
    """Rows that greedy non-maximum suppression keeps, best first.

    A box `[P, 4]` (corners, of some area) goes if its IoU with a kept one of a higher score `[P]`,
    or of the same and listed before, is above `iou`. With `classes` `[P]` only boxes of one class
    are compared.
    """
    order, kept = np.argsort(-scores, kind="stable"), []
    threshold = np.float64(iou)  # not rounded to the boxes' float32 before it is compared
    while len(order):
        boxes, alive = xyxy[order], np.ones(len(order), dtype=bool)
        covers = np.triu(iou_matrix(boxes[:_BLOCK], boxes) > threshold, 1)
        if classes is not None:
            covers &= classes[order[:_BLOCK], None] == classes[order]
        for row in np.flatnonzero(covers.any(axis=1)):
            if alive[row]:
                alive &= ~covers[row]
        kept.append(order[:_BLOCK][alive[:_BLOCK]])
        order = order[_BLOCK:][alive[_BLOCK:]]
    return np.concatenate([order, *kept])
