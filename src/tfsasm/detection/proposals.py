"""Detector boxes of one frame, as the network takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import supervision as sv
import torch
from numpy.typing import NDArray
from torch import Tensor

from tfsasm.boxes import normalised_boxes, xyxy_to_ltwh
from tfsasm.errors import InputError
from tfsasm.motchallenge import Doubles
from tfsasm.tables import Table


@dataclass(frozen=True)
class Proposals(Table):
    """Where a detector believes objects to be.

    `boxes` `[P, 4]` are normalised cxcywh by the original image size and may leave [0, 1];
    `scores` `[P]` are in [0, 1]. Both float32.
    """

    boxes: Tensor
    scores: Tensor

    @classmethod
    def empty(cls) -> Proposals:
        """A frame without a single detection, which is a normal frame."""
        return cls(torch.zeros(0, 4), torch.zeros(0))

    @classmethod
    def from_ltwh(
        cls, ltwh: np.ndarray | Sequence[Sequence[float]], scores: np.ndarray | Sequence[float],
        width: int, height: int,
    ) -> Proposals:
        """Pixel boxes `[P, 4]` (left, top, width, height) of a `width` x `height` image."""
        boxes = normalised_boxes(ltwh, width, height)
        confidences = np.asarray(scores, dtype=np.float64).reshape(-1).astype(np.float32)
        return cls(torch.from_numpy(boxes), torch.from_numpy(confidences))

    @classmethod
    def from_xyxy(
        cls, xyxy: np.ndarray, scores: np.ndarray, width: int, height: int
    ) -> Proposals:
        """Pixel corner boxes `[P, 4]` of a `width` x `height` image."""
        return cls.from_ltwh(
            xyxy_to_ltwh(np.asarray(xyxy, dtype=np.float64).reshape(-1, 4)), scores, width, height
        )


def as_proposals(detections: sv.Detections | None, width: int, height: int) -> Proposals:
    """Any detector's boxes as the network takes them. Raises as `boxes_and_scores` does."""
    return Proposals.from_xyxy(*boxes_and_scores(detections), width, height)


def as_detections(boxes: Doubles) -> sv.Detections:
    """Stored boxes `[P, 5]`, left, top, width, height in pixels and score, all of one class."""
    return sv.Detections(
        xyxy=np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]]),
        confidence=boxes[:, 4], class_id=np.zeros(len(boxes), dtype=int),
    )  # fmt: skip


def boxes_and_scores(
    detections: sv.Detections | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel corners `[P, 4]` and scores `[P]`, which are 1 where there are none.

    Raises `InputError` for a box with NaN, infinity or no area, naming its row.
    """
    if detections is None or len(detections) == 0:
        return np.zeros((0, 4)), np.zeros(0)
    xyxy = np.asarray(detections.xyxy, dtype=np.float64)
    given = detections.confidence
    scores = np.asarray(np.ones(len(xyxy)) if given is None else given, dtype=np.float64)
    check_detections(xyxy, scores)
    return xyxy, scores


def check_detections(xyxy: np.ndarray, scores: np.ndarray) -> None:
    """Raises `InputError` naming the first row that is no finite box `[P, 4]` of some size."""
    sizes = xyxy[:, 2:] - xyxy[:, :2]
    bad = ~np.isfinite(xyxy).all(axis=1) | ~np.isfinite(scores) | ~(sizes > 0).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise InputError(
            f"detection {row} has box {xyxy[row].tolist()} and score {scores[row]}; boxes must be "
            f"finite xyxy with x2 > x1 and y2 > y1, scores finite. Drop it before tracking"
        )
