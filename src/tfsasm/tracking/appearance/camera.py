"""Camera motion compensation: how the image moved since the last frame, from what is no detection.

Corners are tracked from one small grey image to the next (Lucas and Kanade), and the motion that
most of them share is the camera's: a shift, a rotation and a zoom. Most cameras stand still, which
one step of Lucas and Kanade on small squares shows for a tenth of the work; then the view stays the
one to compare with, so that no slow drift is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from tfsasm.tables import Doubles, Image

_PATCH = 7  # pixels of a side of the squares around corners


@dataclass(frozen=True)
class CameraConfig:
    """How the camera's motion is estimated."""

    enabled: bool = True
    """Whether it is estimated at all, where there are frames."""
    width: int = 320
    """The grey images are at most this wide, and no less than a pixel high."""
    max_corners: int = 200
    """Corners that are tracked."""
    corner_distance: float = 8.0
    """Least distance of two corners, in pixels of the small image."""
    min_inliers: int = 12
    """With fewer corners that agree the camera is taken to stand still."""
    min_inlier_share: float = 0.4
    """The share of corners that has to agree, too."""
    tolerance: float = 1.5
    """How far a corner may be from the shared motion, in pixels of the small image."""
    min_motion: float = 0.2
    """A median motion of the corners below this is noise of a camera that stands still; in pixels
    of the small image."""


@dataclass(frozen=True)
class View:
    """What is kept of a frame to compare the next one with it."""

    grey: np.ndarray
    corners: np.ndarray
    """Corners outside of detections `[K, 1, 2]` float32, in pixels of `grey`."""
    scale: float
    """Pixels of `grey` per pixel of the frame."""

    @cached_property
    def squares(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What is around the corners `[K, 7, 7]`, its slopes across and down, and the inverse of
        their products `[K, 2, 2]`: made once, for all frames that are compared with this one.
        """
        wide = _patches(self.grey, self.corners, _PATCH + 2)
        across = (wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2]) / 2
        down = (wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1]) / 2
        both = np.stack([across, down], axis=1).reshape(len(wide), 2, -1)
        products = both @ both.transpose(0, 2, 1) + np.eye(2, dtype=np.float32)
        return wide[:, 1:-1, 1:-1], across, down, np.linalg.inv(products)


class CameraMotion:
    """The camera's motion from each frame to the next; it remembers the last frame."""

    def __init__(self, config: CameraConfig) -> None:
        self.config = config
        self._last: View | None = None

    def update(self, image: Image, xyxy: Doubles) -> Doubles | None:
        """The warp `[2, 3]` from pixels of the last frame to those of this one, None for no motion.

        `image` is uint8 BGR `[H, W, 3]`; corners on the boxes `xyxy` `[P, 4]` do not count.
        """
        scale = min(1.0, self.config.width / image.shape[1])
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)  # first: a third of the work to make small
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        last = self._last
        if last and (
            last.grey.shape != grey.shape or len(last.corners) < self.config.min_inliers
        ):
            last = None
        if last and self._stands(last, grey):
            return None
        self._last = self._view(grey, scale, xyxy)
        return self._warp(last, self._last) if last else None

    def _stands(self, last: View, grey: np.ndarray) -> bool:
        """Whether most corners of the last view moved less than noise does, by one step from there.
        """
        before, across, down, inverse = last.squares
        change = _patches(grey, last.corners, _PATCH) - before
        pull = np.stack([(slope * change).sum(axis=(1, 2)) for slope in (across, down)], axis=1)
        moved = np.linalg.norm((inverse @ pull[..., None])[..., 0], axis=1)
        return bool(np.median(moved) < self.config.min_motion)

    def _view(self, grey: np.ndarray, scale: float, xyxy: Doubles) -> View:
        free = np.full(grey.shape, 255, np.uint8)
        for x1, y1, x2, y2 in np.clip(xyxy * scale, 0, 1e6).astype(int).tolist():
            free[y1 : y2 + 1, x1 : x2 + 1] = 0
        corners = cv2.goodFeaturesToTrack(
            grey, self.config.max_corners, 0.01, self.config.corner_distance, mask=free
        )
        return View(grey, np.zeros((0, 1, 2), np.float32) if corners is None else corners, scale)

    def _warp(self, last: View, view: View) -> Doubles | None:
        rules = self.config
        moved, tracked, _ = cv2.calcOpticalFlowPyrLK(
            last.grey, view.grey, last.corners, None  # type: ignore[call-overload]
        )
        kept = tracked.ravel() == 1
        start, end = last.corners[kept, 0], moved[kept, 0]
        if len(start) < rules.min_inliers:
            return None
        if np.median(np.linalg.norm(end - start, axis=1)) < rules.min_motion:
            return None
        warp, inliers = cv2.estimateAffinePartial2D(
            start, end, method=cv2.RANSAC, ransacReprojThreshold=rules.tolerance
        )
        if warp is None or inliers.sum() < rules.min_inliers:
            return None
        if inliers.mean() < rules.min_inlier_share:
            return None
        warp = warp.astype(np.float64)
        warp[:, 2] /= view.scale
        return warp


def _patches(grey: np.ndarray, corners: np.ndarray, side: int) -> np.ndarray:
    """The squares around corners `[K, side, side]`; pixels outside are those of the border."""
    around = np.arange(side) - side // 2
    x, y = (corners[:, 0, axis].round().astype(int)[:, None] + around for axis in (0, 1))
    x, y = x.clip(0, grey.shape[1] - 1), y.clip(0, grey.shape[0] - 1)
    return grey[y[:, :, None], x[:, None, :]].astype(np.float32)
