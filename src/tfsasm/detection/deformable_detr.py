"""Deformable DETR checkpoints as a detector (`motrv2/deformable_detr.py` is the network)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfsasm.boxes import cxcywh_to_xyxy
from tfsasm.detection.class_names import CATEGORIES, COCO_NAMES, choose
from tfsasm.detection.live import Detected, LiveDetector, LiveSettings, kept
from tfsasm.errors import InputError
from tfsasm.tables import Image

NAME = "deformable-detr"
"""What the detector is called."""

_COCO = max(CATEGORIES) + 1
"""Outputs of a file that goes by COCO's own numbers."""

_MOST = 100
"""Boxes of an image at most, the best of all queries and classes, as published."""


@dataclass(frozen=True)
class DetrSettings(LiveSettings):
    """How a Deformable DETR is run and which of its boxes are kept."""

    classes: tuple[int, ...] | None = None
    """Wanted classes by number, of a file with COCO's 91 outputs those of its 80 classes; None: 0,
    which is COCO's person."""
    labels: tuple[str, ...] = ()
    """Wanted classes by COCO's names, or number; they count instead of `classes`."""
    short_side: int = 800
    """Pixels of the image's shorter side inside the network, as published."""
    max_side: int = 1333
    """Most pixels of its longer side, as published."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes is not None and (not self.classes or min(self.classes) < 0):
            raise InputError(f"classes {self.classes} must name at least one class, from 0 on")
        if not 64 <= self.short_side <= self.max_side:
            raise InputError(f"short_side {self.short_side} is not within 64 and max_side, "
                             f"{self.max_side}")


class DeformableDetrDetector(LiveDetector):
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
        outputs = self.network.config.classes
        self._numbers = _numbers(outputs)
        self.classes, self.class_names, self.note = choose(
            self.settings.labels, self.settings.classes, COCO_NAMES if outputs == _COCO else {},
            int(self._numbers.max()) + 1, str(weights),
        )  # fmt: skip

    def __repr__(self) -> str:
        wanted = ", ".join([*self.class_names.values()] or map(str, self.classes))
        return f"DeformableDetrDetector({str(self._weights)!r}, {wanted})"

    def find(self, image: Image) -> Detected:
        """See `LiveDetector.find`."""
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
        found = Detected(xyxy, scores.cpu().numpy(), self._numbers[kind])
        wanted = np.isin(found.classes, self.classes)
        found = found.rows(wanted & (found.scores > self.settings.score_threshold))
        return kept(found, self.settings, image)


def _numbers(outputs: int) -> np.ndarray:
    """The class of each output `[K]`: of 91, the published ones, COCO's class or -1."""
    classes = np.arange(outputs)
    if outputs == _COCO:
        classes[:] = -1
        classes[list(CATEGORIES)] = np.arange(len(CATEGORIES))
    return classes
