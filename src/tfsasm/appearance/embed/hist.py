"""A colour histogram of body stripes: an embedding without weights.

A box is cut into stripes, roughly head, trunk and legs, and each gets a histogram of hue and
saturation where there is colour, and one of brightness. All boxes of a frame are counted at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tfsasm.appearance.arrays import Doubles
from tfsasm.appearance.embed import Floats, Image, crops


@dataclass(frozen=True)
class HistogramSettings:
    """Sizes of the histogram."""

    height: int = 48
    """Samples down a box."""
    width: int = 16
    """Samples across it."""
    stripes: tuple[float, ...] = (0.0, 0.2, 0.55, 0.95)
    """Where the stripes begin and the last one ends, as shares of the height."""
    hues: int = 8
    """Bins of hue."""
    saturations: int = 3
    """Bins of saturation."""
    values: int = 4
    """Bins of brightness."""
    spread: float = 0.25
    """Samples count less away from the middle column: the standard deviation of their weight, as
    a share of the width. The background is at the sides."""


class HistogramEmbedder:
    """Square roots of the histograms, so that a dot product is Bhattacharyya's coefficient."""

    def __init__(self, settings: HistogramSettings | None = None) -> None:
        self.settings = chosen = settings or HistogramSettings()
        middle = (np.arange(chosen.width) + 0.5) / chosen.width - 0.5
        self._weights = np.exp(-0.5 * (middle / chosen.spread) ** 2)
        rows = (np.arange(chosen.height) + 0.5) / chosen.height
        self._stripe = np.searchsorted(chosen.stripes, rows) - 1  # -1 and the last: in none
        self._bins = chosen.hues * chosen.saturations * chosen.values

    def __call__(self, image: Image, xyxy: Doubles) -> Floats:
        """Unit vectors `[P, C]`; see `Embedder`."""
        chosen, stripes = self.settings, len(self.settings.stripes) - 1
        length = stripes * self._bins
        if not len(xyxy):
            return np.zeros((0, length), dtype=np.float32)
        inside = (self._stripe >= 0) & (self._stripe < stripes)
        cut = crops(image, xyxy, chosen.height, chosen.width)[:, inside]
        bins = self._binned(cut) + self._stripe[inside][None, :, None] * self._bins
        bins += np.arange(len(xyxy))[:, None, None] * length
        weights = np.broadcast_to(self._weights, bins.shape)
        counts = np.bincount(bins.ravel(), weights.ravel(), minlength=len(xyxy) * length)
        shares = counts.reshape(len(xyxy), length)
        return np.sqrt(shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)

    def _binned(self, cut: Image) -> np.ndarray:
        """The bin `[P, H, W]` of every sample."""
        chosen = self.settings
        hsv = cv2.cvtColor(cut.reshape(-1, chosen.width, 3), cv2.COLOR_BGR2HSV).reshape(cut.shape)
        hue, saturation, value = (hsv[..., i].astype(np.int64) for i in range(3))
        return (
            (hue * chosen.hues // 180) * chosen.saturations
            + saturation * chosen.saturations // 256
        ) * chosen.values + value * chosen.values // 256
