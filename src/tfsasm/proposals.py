"""Detector boxes of one frame, as the network takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tfsasm.pixels import ltwh_of, normalised_boxes
from tfsasm.rows import Rows


@dataclass(frozen=True)
class Proposals(Rows):
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
        return cls.from_ltwh(ltwh_of(xyxy), scores, width, height)
