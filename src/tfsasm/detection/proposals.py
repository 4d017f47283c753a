"""Detections of a frame as the trackers take them: checked, and normalised by the image's size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import supervision as sv

from tfsasm.boxes import cxcywh_to_xyxy, ltwh_to_xyxy, normalised_boxes, xyxy_to_ltwh
from tfsasm.errors import InputError
from tfsasm.tables import Array, Doubles, Table


@dataclass(frozen=True)
class Proposals(Table):
    """Where a detector believes objects to be, in NumPy; `map` brings them to another library."""

    boxes: Array
    """`[P, 4]` float32, cxcywh normalised by the original image size; may leave [0, 1]."""
    scores: Array
    """`[P]` float32 in [0, 1]."""

    @classmethod
    def empty(cls) -> Proposals:
        """A frame without a single detection, which is a normal frame."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))

    @classmethod
    def from_ltwh(
        cls, ltwh: np.ndarray | Sequence[Sequence[float]], scores: np.ndarray | Sequence[float],
        width: int, height: int,
    ) -> Proposals:
        """Pixel boxes `[P, 4]` (left, top, width, height) of a `width` x `height` image."""
        confidences = np.asarray(scores, dtype=np.float64).reshape(-1).astype(np.float32)
        return cls(normalised_boxes(ltwh, width, height), confidences)

    @classmethod
    def from_xyxy(
        cls, xyxy: np.ndarray, scores: np.ndarray, width: int, height: int
    ) -> Proposals:
        """Pixel corner boxes `[P, 4]` of a `width` x `height` image."""
        corners = np.asarray(xyxy, dtype=np.float64).reshape(-1, 4)
        return cls.from_ltwh(xyxy_to_ltwh(corners), scores, width, height)

    def in_pixels(self, width: int, height: int) -> sv.Detections:
        """The same as detections in a `width` x `height` image, doubles."""
        xyxy = cxcywh_to_xyxy(self.boxes.astype(np.float64)) * [width, height, width, height]
        return sv.Detections(xyxy=xyxy, confidence=self.scores.astype(np.float64))


def as_proposals(detections: sv.Detections | None, width: int, height: int) -> Proposals:
    """Any detector's boxes as the network takes them. Raises as `boxes_and_scores` does."""
    return Proposals.from_xyxy(*boxes_and_scores(detections), width, height)


def as_detections(boxes: Doubles) -> sv.Detections:
    """Stored boxes `[P, 5]`, left, top, width, height in pixels and score, all of one class."""
    return sv.Detections(
        xyxy=ltwh_to_xyxy(boxes[:, :4]), confidence=boxes[:, 4],
        class_id=np.zeros(len(boxes), dtype=int),
    )  # fmt: skip


def boxes_and_scores(detections: sv.Detections | None) -> tuple[Doubles, Doubles]:
    """Pixel corners `[P, 4]` and scores `[P]`, which are 1 where there are none.

    Raises `InputError` for a box with NaN, infinity or no area, naming its row.
    """
    if detections is None or len(detections) == 0:
        return np.zeros((0, 4)), np.zeros(0)
    xyxy = np.asarray(detections.xyxy, dtype=np.float64)
    given = detections.confidence
    scores = np.asarray(np.ones(len(xyxy)) if given is None else given, dtype=np.float64)
    sizes = xyxy[:, 2:] - xyxy[:, :2]
    bad = ~np.isfinite(xyxy).all(axis=1) | ~np.isfinite(scores) | ~(sizes > 0).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise InputError(
            f"detection {row} has box {xyxy[row].tolist()} and score {scores[row]}; boxes must be "
            f"finite xyxy with x2 > x1 and y2 > y1, scores finite. Drop it before tracking"
        )
    return xyxy, scores


class PixelCheck:
    """Refuses boxes of a video that look normalised, until some are in pixels for certain."""

    def __init__(self) -> None:
        self._certain = False

    def __call__(self, xyxy: np.ndarray, size: tuple[int, int] | None = None) -> None:
        """Check the corners `[P, 4]` of one frame of some width and height. Raises `InputError`."""
        if self._certain or len(xyxy) == 0 or (size and min(size) <= 2):  # they may be pixels then
            return
        if look_normalised(xyxy):
            first = [round(float(value), 4) for value in xyxy[0]]
            raise InputError(
                f"all boxes of this frame lie within 0 to 1 (the first is {first}), so they look "
                "normalised; boxes are xyxy in pixels: multiply x by the width of the image and y "
                "by its height"
            )
        self._certain = True


def look_normalised(xyxy: np.ndarray) -> bool:
    """Whether all boxes `[P, 4]` are within [0, 1] or half of that outside, and there are any."""
    return len(xyxy) > 0 and bool((np.abs(xyxy - 0.5) <= 1).all())
