"""Embeddings: a vector per box that is alike for the same person and unlike for others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from tfsasm.detection.huggingface import PREFIX
from tfsasm.errors import InputError
from tfsasm.settings import pairs, with_settings
from tfsasm.tracking.appearance.arrays import Doubles

Floats = NDArray[np.float32]

Image = NDArray[np.uint8]


class Embedder(Protocol):
    """Any function of a frame and some boxes in it."""

    def __call__(self, image: Image, xyxy: Doubles) -> Floats:
        """Vectors `[P, C]` of boxes `[P, 4]` (pixel corners) in a uint8 BGR image `[H, W, 3]`.

        No box is a normal question; the answer is then `[0, C]`. Boxes may leave the image.
        """
        ...


def crops(image: Image, xyxy: Doubles, height: int, width: int) -> Image:
    """The boxes cut out and brought to one size by nearest pixel: `[P, height, width, 3]`.

    What a box has outside the image repeats the image's border.
    """
    rows = _samples(xyxy[:, 1], xyxy[:, 3], height, image.shape[0])
    columns = _samples(xyxy[:, 0], xyxy[:, 2], width, image.shape[1])
    return image[rows[:, :, None], columns[:, None, :]]


def cut_out(image: Image, box: Doubles, height: int, width: int) -> Image:
    """One box (pixel corners) cut out and smoothly brought to size `[height, width, 3]`."""
    rows, columns = image.shape[:2]
    x1, x2 = np.clip(np.round(box[[0, 2]]), [0, 1], [columns - 1, columns]).astype(int)
    y1, y2 = np.clip(np.round(box[[1, 3]]), [0, 1], [rows - 1, rows]).astype(int)
    part = image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
    sized: Any = cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)
    return sized


def _samples(low: Doubles, high: Doubles, count: int, limit: int) -> NDArray[np.int64]:
    """`count` pixel numbers `[P, count]`, evenly from `low` to `high` `[P]`, below `limit`."""
    middles = (np.arange(count) + 0.5) / count
    places = low[:, None] + (high - low)[:, None] * middles
    return np.clip(places, 0, limit - 1).astype(np.int64)


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

CHOICES = f"hist, none, osnet or reid with the file of its weights, {PREFIX}OWNER/NAME"
"""What an embedder can be called."""


def default_name(weights: Path | str | None) -> str:
    """What is meant by no name: a network where there are weights."""
    return "hist" if weights is None else "reid"


def embedder(
    name: str | None = None, weights: Path | str | None = None, changes: Iterable[str] = ()
) -> Embedder | None:
    """An embedder: one of `CHOICES`; None for `none`.

    Without a name it is `reid` where there are weights, else `hist`. `changes` are settings as
    NAME=VALUE. Raises `InputError` for an unknown name or setting, and for weights that are missing
    or not wanted.
    """
    from tfsasm.tracking.appearance.reid import (
        HuggingFaceEmbedder,
        HuggingFaceEmbedderSettings,
        ReidEmbedder,
        ReidSettings,
    )

    given = pairs(list(changes), "--embedder-set")
    name = name or default_name(weights)
    reads_file = name in ("osnet", "reid")
    if reads_file and weights is None:
        raise InputError(
            f"{name} needs the ONNX file of a re-identification network: --embedder-weights FILE. "
            "Without one there is --embedder hist"
        )
    if weights is not None and not reads_file:
        raise InputError(f"{name} takes no weights; for {weights} say --embedder reid")
    if reads_file:
        return ReidEmbedder(str(weights), with_settings(ReidSettings(), given))
    if name.startswith(PREFIX):
        settings = with_settings(HuggingFaceEmbedderSettings(), given)
        return HuggingFaceEmbedder(name, settings)
    if name == "hist":
        return HistogramEmbedder(with_settings(HistogramSettings(), given))
    if name == "none":
        return None
    raise InputError(f"no embedder {name!r}; there are {CHOICES}")
