"""Appearance embeddings: a vector per box that is alike for the same person, unlike for others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from tfsasm.detection.huggingface import PREFIX
from tfsasm.errors import InputError
from tfsasm.settings import at_least_one, pairs, with_settings
from tfsasm.tables import Doubles, Floats, Image, Integers

NAMES = (
    "hist (colour histograms, needs nothing), none (motion alone), osnet and reid (need an ONNX "
    f'file: --embedder-weights FILE) and {PREFIX}OWNER/NAME (needs pip install "tfsasm[hf]")'
)
"""The embedders that there are, for messages."""


class Embedder(Protocol):
    """Any function of a frame and some boxes in it."""

    def __call__(self, image: Image, xyxy: Doubles) -> Floats:
        """Vectors `[P, C]` of boxes `[P, 4]` (pixel corners) in a uint8 BGR image `[H, W, 3]`.

        Without boxes the answer is `[0, C]`. Boxes may leave the image.
        """
        ...


def embedder(
    name: str | None = None, weights: Path | str | None = None, changes: Sequence[str] = ()
) -> Embedder | None:
    """An embedder by its name, one of `NAMES`; None for `none`.

    Without a name it is `reid` where there are weights, else `hist`. `changes` are settings as
    NAME=VALUE. Raises `InputError` for an unknown name or setting, and for weights that are missing
    or of no use.
    """
    name = name or default_name(weights)
    settings = pairs(changes, "--embedder-set")
    reads_file = name in ("osnet", "reid")
    if reads_file and weights is None:
        raise InputError(
            f"{name} needs the ONNX file of a re-identification network: --embedder-weights FILE. "
            "Without one there is --embedder hist"
        )
    if weights is not None and not reads_file:
        raise InputError(f"{name} takes no weights; for {weights} give --embedder reid")
    if name == "hist":
        return HistogramEmbedder(with_settings(HistogramSettings(), settings))
    if name == "none":
        return None
    if not reads_file and not name.startswith(PREFIX):
        raise InputError(f"no embedder {name!r}; there are {NAMES}")
    from tfsasm.tracking.appearance import reid

    if reads_file:
        return reid.ReidEmbedder(str(weights), with_settings(reid.ReidSettings(), settings))
    return reid.HuggingFaceEmbedder(
        name, with_settings(reid.HuggingFaceEmbedderSettings(), settings)
    )


def default_name(weights: Path | str | None) -> str:
    """The embedder without a name: a network where there are weights."""
    return "hist" if weights is None else "reid"


def unit_vectors(vectors: object, boxes: int) -> Floats:
    """Embeddings of a number of `boxes` as unit vectors `[P, C]` float32.

    Raises `InputError` for what is not `[P, C]` numbers, not finite or zero.
    """
    rows = np.asarray(vectors)
    if rows.ndim != 2 or len(rows) != boxes or rows.dtype.kind not in "fiu":
        raise InputError(
            f"embeddings are numbers [{boxes}, C], a vector per detection, not {rows.dtype} "
            f"{list(rows.shape)}"
        )
    rows = rows.astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    bad = ~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0)
    if bad.any():
        row = int(bad.argmax())
        what = "zero" if lengths[row] == 0 else "not finite"
        raise InputError(f"the embedding of detection {row} is {what}; drop the box, or mend it")
    return rows / lengths


def crops(image: Image, xyxy: Doubles, height: int, width: int) -> Image:
    """The boxes resized by nearest pixel: `[P, height, width, 3]`.

    Outside the image its border is repeated.
    """
    rows = _samples(xyxy[:, 1], xyxy[:, 3], height, image.shape[0])
    columns = _samples(xyxy[:, 0], xyxy[:, 2], width, image.shape[1])
    return image[rows[:, :, None], columns[:, None, :]]


def _samples(low: Doubles, high: Doubles, count: int, limit: int) -> Integers:
    """`count` pixel numbers `[P, count]`, evenly from `low` to `high` `[P]`, below `limit`."""
    middles = (np.arange(count) + 0.5) / count
    positions = low[:, None] + (high - low)[:, None] * middles
    return np.clip(positions, 0, limit - 1).astype(np.int64)


@dataclass(frozen=True)
class HistogramSettings:
    """Sizes of the colour histogram."""

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

    def __post_init__(self) -> None:
        at_least_one(self, "height", "width", "hues", "saturations", "values")
        if not self.spread > 0:
            raise InputError(f"spread is {self.spread:g}; give a share above 0")
        ordered = all(0 <= a < b <= 1 for a, b in pairwise(self.stripes))
        if len(self.stripes) < 2 or not ordered:
            raise InputError("stripes are at least two shares from 0 to 1 that increase")


class HistogramEmbedder:
    """Square roots of colour histograms of horizontal stripes of a box.

    So a dot product of two is the Bhattacharyya coefficient.
    """

    def __init__(self, settings: HistogramSettings | None = None) -> None:
        self.settings = settings = settings or HistogramSettings()
        middle = (np.arange(settings.width) + 0.5) / settings.width - 0.5
        self._weights = np.exp(-0.5 * (middle / settings.spread) ** 2)
        rows = (np.arange(settings.height) + 0.5) / settings.height
        self._stripe = np.searchsorted(settings.stripes, rows) - 1  # -1 and the last: in none
        self._bins = settings.hues * settings.saturations * settings.values

    def __repr__(self) -> str:
        values = (len(self.settings.stripes) - 1) * self._bins
        return f"HistogramEmbedder({values} values)"

    def __call__(self, image: Image, xyxy: Doubles) -> Floats:
        """Unit vectors `[P, C]`; see `Embedder`."""
        settings, stripes = self.settings, len(self.settings.stripes) - 1
        length = stripes * self._bins
        if not len(xyxy):
            return np.zeros((0, length), dtype=np.float32)
        inside = (self._stripe >= 0) & (self._stripe < stripes)
        samples = crops(image, xyxy, settings.height, settings.width)[:, inside]
        bins = self._binned(samples) + self._stripe[inside][None, :, None] * self._bins
        bins += np.arange(len(xyxy))[:, None, None] * length
        weights = np.broadcast_to(self._weights, bins.shape)
        counts = np.bincount(bins.ravel(), weights.ravel(), minlength=len(xyxy) * length)
        shares = counts.reshape(len(xyxy), length)
        return np.sqrt(shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)

    def _binned(self, samples: Image) -> np.ndarray:
        """The bin `[P, H, W]` of every sample `[P, H, W, 3]`."""
        sizes = self.settings
        flat = samples.reshape(-1, sizes.width, 3)
        hsv = cv2.cvtColor(flat, cv2.COLOR_BGR2HSV).reshape(samples.shape)
        hue, saturation, value = (hsv[..., i].astype(np.int64) for i in range(3))
        return (
            (hue * sizes.hues // 180) * sizes.saturations
            + saturation * sizes.saturations // 256
        ) * sizes.values + value * sizes.values // 256  # fmt: skip
