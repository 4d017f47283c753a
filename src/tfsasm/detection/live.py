"""What live detectors have in common: boxes of an image, the best first, as proposals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tfsasm.boxes import clipped, iou_matrix, suppress
from tfsasm.detection.proposals import Proposals
from tfsasm.errors import InputError
from tfsasm.tables import Floats, Image, Integers
from tfsasm.video.source import Frame


@dataclass(frozen=True)
class LiveSettings:
    """Which boxes of a live detector are kept."""

    score_threshold: float = 0.1
    """Keep boxes that score more."""
    nms_iou: float | None = None
    """Of two boxes that overlap more, the lower is dropped. None for models that detect each object
    once, as DETR and its descendants do."""
    class_agnostic: bool = False
    """Whether a box is also dropped for one of another class."""
    merge: bool = True
    """Whether a box that is kept becomes the mean of itself and those that were dropped for it,
    weighted by score (box voting, arXiv 1505.01749). Off for the boxes of the detector itself."""
    clip: bool = True
    """Clip boxes to the image, and drop what is then less than a pixel wide or high."""
    device: str = "cpu"
    """Where it runs: cpu, cuda, cuda:1 ..., or auto."""

    def __post_init__(self) -> None:
        for name in ("score_threshold", "nms_iou"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"{name} {value} is not within 0 and 1")


class Detected(NamedTuple):
    """Boxes of one image."""

    xyxy: Floats
    """Pixel corners `[P, 4]`."""
    scores: Floats
    """`[P]`."""
    classes: Integers
    """`[P]`, the detector's own numbers."""

    def rows(self, index: Any) -> Detected:
        """Some of them, by a mask or numbers."""
        return Detected(self.xyxy[index], self.scores[index], self.classes[index])


class LiveDetector:
    """A network as a source of proposals; subclasses `find` boxes in an image."""

    note = ""
    """What was assumed of its file, for the user."""

    def find(self, image: Image) -> Detected:
        """The wanted boxes in a BGR `image` `[H, W, 3]`, best first."""
        raise NotImplementedError

    def report(self) -> list[str]:
        """What was assumed, such as the classes of its file; it has an answer for every frame."""
        return [self.note] if self.note else []

    def __call__(self, frame: Frame) -> Proposals:
        """The people in `frame`, best first."""
        height, width = frame.image.shape[:2]
        found = self.find(frame.image)
        return Proposals.from_xyxy(found.xyxy, found.scores, width, height, found.classes)

    def detect(self, image: Image) -> tuple[Floats, Floats]:
        """Pixel corners `[P, 4]` and scores `[P]` in a BGR `image` `[H, W, 3]`, best first."""
        found = self.find(image)
        return found.xyxy, found.scores


def kept(found: Detected, settings: LiveSettings, image: Image) -> Detected:
    """The boxes in an `image` `[H, W, 3]` without duplicates, and clipped, as the settings say."""
    if settings.nms_iou is not None:
        found = without_duplicates(found, settings.nms_iou, settings)
    if not settings.clip:
        return found
    found = found._replace(xyxy=clipped(found.xyxy, image.shape[1], image.shape[0]))
    return found.rows(((found.xyxy[:, 2:] - found.xyxy[:, :2]) >= 1).all(axis=1))


def without_duplicates(found: Detected, iou: float, settings: LiveSettings) -> Detected:
    """What non-maximum suppression keeps, best first. Boxes that are not finite are dropped."""
    found = found.rows(np.isfinite(found.xyxy).all(axis=1))
    classes = None if settings.class_agnostic else found.classes
    best = suppress(found.xyxy, found.scores, iou, classes)
    chosen = found.rows(best)
    if not settings.merge or len(best) == len(found.scores):
        return chosen
    votes = (iou_matrix(chosen.xyxy, found.xyxy) > np.float64(iou)) * found.scores
    if classes is not None:
        votes *= chosen.classes[:, None] == found.classes
    votes[np.arange(len(best)), best] = chosen.scores  # a box of no area has no IoU with itself
    return chosen._replace(xyxy=votes @ found.xyxy / votes.sum(axis=1, keepdims=True))
