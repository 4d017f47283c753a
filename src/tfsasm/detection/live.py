"""What live detectors have in common: boxes of an image, the best first, as proposals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from tfsasm.boxes import clipped, suppress
from tfsasm.detection.proposals import Proposals
from tfsasm.tables import Floats, Image, Integers

if TYPE_CHECKING:
    from tfsasm.video.source import Frame


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

    def find(self, image: Image) -> Detected:
        """The wanted boxes in a BGR `image` `[H, W, 3]`, best first."""
        raise NotImplementedError

    def report(self) -> list[str]:
        """Nothing, unless a subclass has assumed something: it has an answer for every frame."""
        return []

    def __call__(self, frame: Frame) -> Proposals:
        """The people in `frame`, best first."""
        height, width = frame.image.shape[:2]
        found = self.find(frame.image)
        return Proposals.from_xyxy(found.xyxy, found.scores, width, height, found.classes)

    def detect(self, image: Image) -> tuple[Floats, Floats]:
        """Pixel corners `[P, 4]` and scores `[P]` in a BGR `image` `[H, W, 3]`, best first."""
        found = self.find(image)
        return found.xyxy, found.scores


class Kept(Protocol):
    """The settings of a detector that say which of its boxes are kept."""

    @property
    def nms_iou(self) -> float | None:
        """Of two boxes that overlap more, the lower is dropped; None: neither."""
        ...

    @property
    def class_agnostic(self) -> bool:
        """Whether a box is also dropped for one of another class."""
        ...

    @property
    def clip(self) -> bool:
        """Whether boxes are clipped to the image."""
        ...


def kept(found: Detected, settings: Kept, image: Image) -> Detected:
    """The boxes in an `image` `[H, W, 3]` without duplicates, and clipped, as the settings say."""
    if settings.nms_iou is not None:
        found = without_duplicates(
            found, settings.nms_iou, class_agnostic=settings.class_agnostic
        )
    return clip_boxes(found, image.shape[1], image.shape[0]) if settings.clip else found


def without_duplicates(found: Detected, iou: float, *, class_agnostic: bool) -> Detected:
    """What non-maximum suppression keeps, best first. Boxes that are not finite are dropped."""
    found = found.rows(np.isfinite(found.xyxy).all(axis=1))
    classes = None if class_agnostic else found.classes
    return found.rows(suppress(found.xyxy, found.scores, iou, classes))


def clip_boxes(found: Detected, width: int, height: int) -> Detected:
    """The boxes within the image, without those that are less than a pixel wide or high there."""
    found = found._replace(xyxy=clipped(found.xyxy, width, height))
    return found.rows(((found.xyxy[:, 2:] - found.xyxy[:, :2]) >= 1).all(axis=1))
