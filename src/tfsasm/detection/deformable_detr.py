"""Deformable DETR checkpoints as a detector (`motrv2/deformable_detr.py` is the network)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfsasm.boxes import cxcywh_to_xyxy
from tfsasm.detection.live import COCO_NAMES, ClassSettings, Detected, LiveDetector, choose
from tfsasm.errors import InputError
from tfsasm.tables import Image

NAME = "deformable-detr"
"""What the detector is called."""

CATEGORIES = tuple(
    number for number in range(1, 91) if number not in {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
)
"""COCO's own numbers of its 80 classes, in their order; models with 91 outputs go by them."""

_COCO = max(CATEGORIES) + 1
"""Outputs of a file that goes by COCO's own numbers."""

_MOST = 100
"""Boxes of an image at most, the best of all queries and classes, as published."""


@dataclass(frozen=True)
class DetrSettings(ClassSettings):
    """How a Deformable DETR is run and which of its boxes are kept."""

    short_side: int = 800
    """Pixels of the image's shorter side inside the network, as published."""
    max_side: int = 1333
    """Most pixels of its longer side, as published."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 64 <= self.short_side <= self.max_side:
            raise InputError(f"short_side {self.short_side} is not within 64 and max_side, "
                             f"{self.max_side}")


class DeformableDetrDetector(LiveDetector):
    """A Deformable DETR checkpoint as a source of proposals.

    Raises `WeightsError` for a file that is none or does not fit (`load_detr`), `InputError` for a
    class that it doesn't have.
    """

    settings: DetrSettings

    def __init__(self, weights: Path | str, settings: DetrSettings | None = None) -> None:
        from tfsasm.motrv2.deformable_detr import load_detr
        from tfsasm.pytorch import find_device

        self.settings = settings or DetrSettings()
        self._device = find_device(self.settings.device)
        self.weights, self.network = weights, load_detr(weights).to(self._device)
        outputs = self.network.config.classes
        self._numbers = np.arange(outputs)  # the class of each output, -1 for none
        if outputs == _COCO:
            self._numbers = np.full(outputs, -1)
            self._numbers[list(CATEGORIES)] = np.arange(len(CATEGORIES))
        self.classes, self.class_names, self.notes = choose(
            self.settings.labels, self.settings.classes, COCO_NAMES if outputs == _COCO else {},
            int(self._numbers.max()) + 1, str(weights),
        )  # fmt: skip

    def candidates(self, image: Image) -> Detected:
        """See `LiveDetector.candidates`."""
        import torch

        from tfsasm.motrv2.network import prepare

        height, width = image.shape[:2]
        pixels = prepare(image, self.settings.short_side, self.settings.max_side)
        with torch.inference_mode():
            logits, boxes = self.network(pixels.to(self._device))
        scores, best = logits.sigmoid().flatten().topk(min(_MOST, logits.numel()))
        row, kind = np.divmod(best.cpu().numpy(), logits.shape[1])
        scale = np.array([width, height, width, height], np.float32)
        xyxy = cxcywh_to_xyxy(boxes.cpu().numpy()[row]) * scale
        found = Detected(xyxy, scores.cpu().numpy(), self._numbers[kind])
        wanted = np.isin(found.classes, self.classes)
        return found[wanted & (found.scores > self.settings.score_threshold)]
