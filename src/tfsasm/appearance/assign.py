"""Who is who: similarities of all tracks with all detections, and the best assignment.

All functions take corners in pixels: tracks `[N, 4]`, detections `[D, 4]`, and answer `[N, D]`.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from tfsasm.appearance.arrays import Doubles, Flags, Integers

_NEVER = 1e6  # cost of a forbidden pair: more than any sum of allowed ones


def grown(xyxy: Doubles, buffer: float) -> Doubles:
    """Boxes `[N, 4]` that are wider and higher by `buffer` of their size on every side.

    Those that no longer touch can then still be compared (C-BIoU, arXiv 2211.14317).
    """
    margin = (xyxy[:, 2:] - xyxy[:, :2]) * buffer
    return np.hstack([xyxy[:, :2] - margin, xyxy[:, 2:] + margin])


def iou(tracks: Doubles, detections: Doubles) -> Doubles:
    """Intersection over union."""
    wide = _shared(tracks[:, 0], tracks[:, 2], detections[:, 0], detections[:, 2])
    high = _shared(tracks[:, 1], tracks[:, 3], detections[:, 1], detections[:, 3])
    shared = wide * high
    return shared / np.maximum(np.add.outer(_area(tracks), _area(detections)) - shared, 1e-9)


def height_iou(tracks: Doubles, detections: Doubles) -> Doubles:
    """Overlap of the vertical extents alone (Hybrid-SORT, arXiv 2308.00783).

    Depth shows in it: of two people side by side, the nearer one is higher and stands lower.
    """
    shared = _shared(tracks[:, 1], tracks[:, 3], detections[:, 1], detections[:, 3])
    heights = np.add.outer(tracks[:, 3] - tracks[:, 1], detections[:, 3] - detections[:, 1])
    return shared / np.maximum(heights - shared, 1e-9)


def assign(cost: Doubles, allowed: Flags) -> tuple[Integers, Integers]:
    """The pairs (rows, columns) of most allowed matches, and of those of least cost."""
    rows, columns = linear_sum_assignment(np.where(allowed, cost, _NEVER))
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]


def _shared(low: Doubles, high: Doubles, others_low: Doubles, others_high: Doubles) -> Doubles:
    """Length `[N, D]` that intervals `[N]` and `[D]` have in common."""
    ends = np.minimum.outer(high, others_high)
    ends -= np.maximum.outer(low, others_low)
    return np.maximum(ends, 0, out=ends)


def _area(xyxy: Doubles) -> Doubles:
    return (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
