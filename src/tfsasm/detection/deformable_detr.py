"""Deformable DETR checkpoints as a detector (`motrv2/deformable_detr.py` is the network)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfsasm.boxes import cxcywh_to_xyxy
from tfsasm.detection.class_names import CATEGORIES
from tfsasm.detection.proposals import Proposals
from tfsasm.detection.yolox import Detected, clip_boxes, without_duplicates
from tfsasm.errors import InputError
from tfsasm.tables import Floats, Image

if TYPE_CHECKING:
    from tfsasm.video.source import Frame

NAME = "deformable-detr"
"""What the detector is called."""

_MOST = 100
"""Boxes of an image at most, the best of all queries and classes, as published."""


@dataclass(frozen=True)
class DetrSettings:
    """How a Deformable DETR is run and which of its boxes are kept."""

    score_threshold: float = 0.1
    """Keep boxes that score more."""
    classes: tuple[int, ...] = (0,)
    """Wanted classes; of a file with COCO's 91 outputs by the numbers of its 80 classes."""
    nms_iou: float | None = None
    """Of two boxes that overlap more, the lower is dropped. None: it detects each object once."""
    class_agnostic: bool = False
    """Whether a box is also dropped for one of another class."""
    clip: bool = True
    """Clip boxes to the image, and drop what is then less than a pixel wide or high."""
    short_side: int = 800
    """Pixels of the image's shorter side inside the network, as published."""
    max_side: int = 1333
    """Most pixels of its longer side, as published."""
    device: str = "cpu"
    """cpu, cuda, cuda:1 ..., or auto."""

    def __post_init__(self) -> None:
        for name in ("score_threshold", "nms_iou"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"{name} {value} is not within 0 and 1")
        if not self.classes or min(self.classes) < 0:
            raise InputError(f"classes {self.classes} must name at least one class, from 0 on")
        if not 64 <= self.short_side <= self.max_side:
            raise InputError(f"short_side {self.short_side} is not within 64 and max_side, "
                             f"{self.max_side}")


class DeformableDetrDetector:
    """A Deformable DETR checkpoint as a source of proposals.

    Raises `WeightsError` for a file that is none or does not fit (`load_detr`), `InputError` for a
    class that it doesn't have.
    """

    def __init__(self, weights: Path | str, settings: DetrSettings | None = None) -> None:
        from tfsasm.motrv2.deformable_detr import load_detr
        from tfsasm.pytorch import find_device

        self.settings = settings or DetrSettings()
        self._device = find_device(self.settings.device)
        self._weights, self.network = weights, load_detr(weights).to(self._device)
        self.classes = _numbers(self.network.config.classes)
        if lacking := sorted(set(self.settings.classes) - set(self.classes.tolist())):
            known = self.classes.max() + 1
            raise InputError(f"{weights} has {known} classes, and no {lacking[0]}")

    def __repr__(self) -> str:
        return f"DeformableDetrDetector({str(self._weights)!r}, classes {self.settings.classes})"

    def __call__(self, frame: Frame) -> Proposals:
        """The people in `frame`, best first."""
        height, width = frame.image.shape[:2]
        found = self.find(frame.image)
        return Proposals.from_xyxy(found.xyxy, found.scores, width, height, found.classes)

    def report(self) -> list[str]:
        """Nothing: a live detector has detections for every frame."""
        return []

    def detect(self, image: Image) -> tuple[Floats, Floats]:
        """Pixel corners `[P, 4]` and scores `[P]` in a BGR `image` `[H, W, 3]`, best first."""
        found = self.find(image)
        return found.xyxy, found.scores

    def find(self, image: Image) -> Detected:
        """As `detect`, with classes."""
        import torch

        from tfsasm.motrv2.network import prepare

        height, width = image.shape[:2]
        pixels = prepare(image, self.settings.short_side, self.settings.max_side)
        with torch.inference_mode():
            logits, boxes = self.network(pixels.to(self._device))
        scores, best = logits.sigmoid().flatten().topk(min(_MOST, logits.numel()))
        row, kind = (part.cpu().numpy() for part in (best // logits.shape[1],
                                                     best % logits.shape[1]))  # fmt: skip
        scale = np.array([width, height, width, height], np.float32)
        xyxy = cxcywh_to_xyxy(boxes.cpu().numpy()[row]) * scale
        found = Detected(xyxy, scores.cpu().numpy(), self.classes[kind])
        wanted = np.isin(found.classes, self.settings.classes)
        found = found.rows(wanted & (found.scores > self.settings.score_threshold))
        if self.settings.nms_iou is not None:
            found = without_duplicates(
                found, self.settings.nms_iou, class_agnostic=self.settings.class_agnostic
            )
        return clip_boxes(found, width, height) if self.settings.clip else found


def _numbers(outputs: int) -> np.ndarray:
    """The class of each output `[K]`: of 91, the published ones, COCO's class or -1."""
    classes = np.arange(outputs)
    if outputs == max(CATEGORIES) + 1:
        classes[:] = -1
        classes[list(CATEGORIES)] = np.arange(len(CATEGORIES))
    return classes
