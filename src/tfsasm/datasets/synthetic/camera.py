"""How the camera of a synthetic video moves."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator


@dataclass(frozen=True)
class Camera:
    """Per frame: zoom `[T]` about the image centre and shift `[T, 2]` in pixels."""

    zoom: np.ndarray
    shift: np.ndarray
    centre: np.ndarray

    def apply(self, frame: int, points: np.ndarray) -> np.ndarray:
        """Where points `[..., 2]` of the unmoved image appear in frame `frame`."""
        return self.zoom[frame] * (points - self.centre) + self.centre + self.shift[frame]

    def matrix(self, frame: int, offset: np.ndarray) -> np.ndarray:
        """The 2x3 transform of an image whose left top corner lies at `offset`."""
        moved = self.apply(frame, np.asarray(offset, dtype=float))
        zoom = self.zoom[frame]
        # Pixel centres: an image pixel i covers [i, i + 1).
        x, y = moved + zoom / 2 - 0.5
        return np.array([[zoom, 0, x], [0, zoom, y]])


def make_camera(
    rng: Generator, times: np.ndarray, size: tuple[int, int], follow: np.ndarray | None,
    liveliness: float,
) -> Camera:
    """A camera that stands, drifts, shakes, or follows image points `follow` `[T, 2]`.

    `liveliness` is the chance that it moves at all. `size` is (width, height).
    """
    frames, extent = len(times), np.array(size, dtype=float)
    zoom, shift = np.ones(frames), np.zeros((frames, 2))
    moves = rng.random() < liveliness
    waves = np.sin(times[:, None] * rng.uniform(0.2, 1.3, 3) + rng.uniform(0, 6.3, 3))
    swing = rng.uniform(0, 1, 3) * np.array([0.10, 0.12, 0.04])
    shake = np.cumsum(rng.normal(0, 1, (frames, 2)), axis=0) if frames else shift
    if moves:
        zoom = np.exp(swing[0] * waves[:, 0])
        shift = swing[1:] * waves[:, 1:] * extent
    if moves and rng.random() < 0.5 and frames:
        smooth = cv2.blur(shake, (1, 15), borderType=cv2.BORDER_REPLICATE)
        shift = shift + (shake - smooth) * rng.uniform(0, 0.003) * extent[0]
    if moves and follow is not None:
        shift = shift + np.clip((extent / 2 - follow) * [1, 0.2], -0.3 * extent, 0.3 * extent)
    return Camera(zoom, shift, extent / 2)
