"""How the camera moved since the last frame, seen in what is not a detection.

Corners are followed from one small grey image to the next (Lucas and Kanade), and the motion most
of them share is the camera's: a shift, a turn and a zoom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from tfsasm.tracking.appearance.arrays import Doubles, Flags
from tfsasm.tracking.appearance.embedders import Image

STILL = np.eye(2, 3)
"""The warp `[2, 3]` of a camera that did not move."""


@dataclass(frozen=True)
class CameraConfig:
    """How the camera's motion is found."""

    on: bool = True
    """Whether the camera is watched at all, where there are frames."""
    width: int = 320
    """The grey images are at most this wide."""
    corners: int = 200
    """Corners that are followed."""
    spread: float = 8.0
    """Least distance of two corners, in pixels of the small image."""
    fewest: int = 12
    """Fewer corners that agree are no evidence, and the camera is taken to stand still."""
    agree: float = 0.4
    """The share of corners that has to agree, too."""
    tolerance: float = 1.5
    """How far a corner may be from the shared motion, in pixels of the small image."""
    still: float = 0.2
    """Less motion than this, at the corners' median, is noise of a camera that stands still; in
    pixels of the small image."""


@dataclass(frozen=True)
class View:
    """What has to be kept of a frame to compare the next one with it."""

    grey: Image
    points: np.ndarray
    """Corners outside of detections `[K, 1, 2]` float32, in pixels of `grey`."""
    scale: float
    """Pixels of `grey` per pixel of the frame."""


def look(image: Image, xyxy: Doubles, config: CameraConfig) -> View:
    """A frame (uint8 BGR `[H, W, 3]`) ready to be compared; corners on the boxes do not count."""
    scale = min(1.0, config.width / image.shape[1])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey: Any = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    free = np.full(grey.shape, 255, np.uint8)
    for x1, y1, x2, y2 in np.clip(xyxy * scale, 0, 1e6).astype(int).tolist():
        free[y1 : y2 + 1, x1 : x2 + 1] = 0
    points = cv2.goodFeaturesToTrack(grey, config.corners, 0.01, config.spread, mask=free)
    return View(grey, np.zeros((0, 1, 2), np.float32) if points is None else points, scale)


def moved(before: View | None, now: View, config: CameraConfig) -> Doubles:
    """The warp `[2, 3]` from pixels of the frame before to pixels of this one."""
    if before is None or before.grey.shape != now.grey.shape or len(before.points) < config.fewest:
        return STILL
    after, found, _ = cv2.calcOpticalFlowPyrLK(
        before.grey, now.grey, before.points, None  # type: ignore[call-overload]
    )
    followed = found.ravel() == 1
    start, end = before.points[followed, 0], after[followed, 0]
    if len(start) < config.fewest:
        return STILL
    if np.median(np.linalg.norm(end - start, axis=1)) < config.still:
        return STILL
    warp, inliers = cv2.estimateAffinePartial2D(
        start, end, method=cv2.RANSAC, ransacReprojThreshold=config.tolerance
    )
    if warp is None or not _enough(inliers.ravel() == 1, config):
        return STILL
    warp = warp.astype(np.float64)
    warp[:, 2] /= now.scale
    return warp


def _enough(agree: Flags, config: CameraConfig) -> bool:
    return bool(agree.sum() >= config.fewest and agree.mean() >= config.agree)
