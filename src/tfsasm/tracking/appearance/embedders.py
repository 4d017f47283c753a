"""Appearance embeddings: a vector per box that is alike for the same person, unlike for others.

Of colour histograms, of re-identification networks (ONNX files such as OSNet's), and of vision
models of Hugging Face.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from tfsasm.detection.huggingface import PREFIX, load_whole
from tfsasm.errors import InputError
from tfsasm.runtime.preprocess import MEAN, STD
from tfsasm.runtime.sessions import onnx_session
from tfsasm.settings import at_least_one, pairs, with_settings
from tfsasm.tables import Doubles, Floats, Image, Integers, unit

NAMES = (
    "hist (colour histograms, needs nothing), none (motion alone), osnet and reid (need an ONNX "
    f'file: --embedder-weights FILE) and {PREFIX}OWNER/NAME (needs pip install "tfsasm[hf]")'
)
"""The embedders that there are, for messages."""

_MEAN, _STD = np.array(MEAN, np.float32), np.array(STD, np.float32)

_MOST_CHANNELS = 16384
"""Embeddings have 128 to 4096 values; a map of boxes, or of features, has many more."""


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
    if name in ("osnet", "reid"):
        if weights is None:
            raise InputError(
                f"{name} needs the ONNX file of a re-identification network: --embedder-weights "
                "FILE. Without one there is --embedder hist"
            )
        return ReidEmbedder(weights, with_settings(ReidSettings(), settings))
    if weights is not None:
        raise InputError(f"{name} takes no weights; for {weights} give --embedder reid")
    if name == "none":
        return None
    if name == "hist":
        return HistogramEmbedder(with_settings(HistogramSettings(), settings))
    if name.startswith(PREFIX):
        return HuggingFaceEmbedder(name, with_settings(HuggingFaceEmbedderSettings(), settings))
    raise InputError(f"no embedder {name!r}; there are {NAMES}")


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


def _cut(image: Image, xyxy: Doubles, height: int, width: int) -> Image:
    """The boxes cut at the image border, resized bilinearly: `[P, height, width, 3]`."""
    rows, columns = image.shape[:2]
    found = np.empty((len(xyxy), height, width, 3), np.uint8)
    for box, crop in zip(xyxy, found, strict=True):
        x1, x2 = np.clip(np.round(box[[0, 2]]), [0, 1], [columns - 1, columns]).astype(int)
        y1, y2 = np.clip(np.round(box[[1, 3]]), [0, 1], [rows - 1, rows]).astype(int)
        part = image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
        cv2.resize(part, (width, height), crop, interpolation=cv2.INTER_LINEAR)
    return found


def _in_batches(run: Callable[[Image], Floats], crops: Image, size: int, channels: int) -> Floats:
    """Vectors `[P, C]` of P crops, `size` at a time; C are the `channels`."""
    parts = [run(crops[i : i + size]) for i in range(0, len(crops), size)]
    return np.concatenate([np.zeros((0, channels), np.float32), *parts])


@dataclass(frozen=True)
class ReidSettings:
    """How an ONNX file is run. What the file says itself needs no setting."""

    height: int = 256
    """Of its image, where the file leaves it open."""
    width: int = 128
    """Of its image, where the file leaves it open."""
    rgb: bool = True
    """Colours as RGB; false for BGR."""
    imagenet: bool = True
    """Divide by 255 and normalise as for ImageNet; false for the pixel values as they are."""
    batch: int = 16
    """Most boxes at once; a file may fix another number."""
    threads: int = 1
    """Threads of one inference."""

    def __post_init__(self) -> None:
        at_least_one(self, "height", "width", "batch", "threads")


class ReidEmbedder:
    """Unit vectors of an ONNX network that takes `[B, 3, H, W]` and gives `[B, C]`.

    Raises `InputError` for a file that is missing, does not run here, or takes something else.
    """

    def __init__(self, weights: Path | str, settings: ReidSettings | None = None) -> None:
        self.settings = settings or ReidSettings()
        self._weights = Path(weights)
        self._session = onnx_session(
            self._weights, user="a ReID network", threads=self.settings.threads,
            mend="give the ONNX file of a ReID network",
        )  # fmt: skip
        inputs = self._session.get_inputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3:
            taken = "; ".join(f"{e.name} [{', '.join(map(str, e.shape))}]" for e in inputs)
            raise InputError(f"{self._weights} takes {taken}; a ReID network takes [B, 3, H, W]")
        fixed = [side if isinstance(side, int) else None for side in shape]
        self._input, self._batch = inputs[0].name, fixed[0]
        self._height = fixed[2] or self.settings.height
        self._width = fixed[3] or self.settings.width
        self.channels = self._run(np.zeros((1, self._height, self._width, 3), np.uint8)).shape[1]
        if self.channels > _MOST_CHANNELS:
            raise InputError(
                f"{self._weights} gives {self.channels:,} values for an image, which is no "
                "embedding; give the ONNX file of a ReID network"
            )

    def __repr__(self) -> str:
        return f"ReidEmbedder({str(self._weights)!r}, {self.channels} values)"

    def __call__(self, image: Image, xyxy: Doubles) -> Floats:
        """Unit vectors `[P, C]`; see `Embedder`."""
        size = self._batch or self.settings.batch
        crops = _cut(image, xyxy, self._height, self._width)
        return unit(_in_batches(self._run, crops, size, self.channels))

    def _run(self, crops: Image) -> Floats:
        """`[B, C]` of crops `[B, H, W, 3]`."""
        pixels = crops[..., ::-1] if self.settings.rgb else crops
        batch: Any = pixels.astype(np.float32)
        if self.settings.imagenet:
            batch = (batch / 255 - _MEAN) / _STD
        batch = batch.transpose(0, 3, 1, 2)
        if self._batch:  # the file takes this many, no more and no fewer
            batch = np.resize(batch, (self._batch, *batch.shape[1:]))
        output: Any = self._session.run(None, {self._input: np.ascontiguousarray(batch)})[0]
        vectors = output[: len(crops)].reshape(len(crops), -1).astype(np.float32)
        if not np.isfinite(vectors).all():
            raise InputError(f"{self._weights} gives values that are not finite")
        return np.asarray(vectors)


@dataclass(frozen=True)
class HuggingFaceEmbedderSettings:
    """What a vision model gets of each box."""

    height: int = 256
    """Boxes are resized to this height, before the model's own processor takes them."""
    width: int = 128
    """And to this width."""
    batch: int = 16
    """Most boxes at once."""
    device: str = "cpu"
    """cpu, cuda, cuda:1 ..., or auto."""

    def __post_init__(self) -> None:
        at_least_one(self, "height", "width", "batch")


class HuggingFaceEmbedder:
    """The pooled features of a vision model, by its name on the hub or its folder.

    Raises `InputError` when transformers is missing or for a model that cannot be had, and
    `WeightsError` for weights that are damaged or incomplete.
    """

    def __init__(self, name: str, settings: HuggingFaceEmbedderSettings | None = None) -> None:
        from tfsasm.pytorch import find_device

        self.settings = settings or HuggingFaceEmbedderSettings()
        self._device = find_device(self.settings.device)
        self._processor, model = load_whole(name.removeprefix(PREFIX), "AutoModel", "image model")
        self._model = model.float().eval().requires_grad_(False).to(self._device)
        grey = np.full((1, self.settings.height, self.settings.width, 3), 128, np.uint8)
        self._channels = self._run(grey).shape[1]

    def __call__(self, image: Image, xyxy: Doubles) -> Floats:
        """Vectors `[P, C]`; see `Embedder`."""
        crops = _cut(image, xyxy, self.settings.height, self.settings.width)
        return _in_batches(self._run, crops, self.settings.batch, self._channels)

    def _run(self, crops: Image) -> Floats:
        """`[B, C]` of crops `[B, H, W, 3]`."""
        import torch

        inputs = self._processor(
            images=[np.ascontiguousarray(crop[..., ::-1]) for crop in crops],
            return_tensors="pt", input_data_format="channels_last",
        ).to(self._device)  # fmt: skip
        with torch.inference_mode():
            if hasattr(self._model, "get_image_features"):  # CLIP and its like: without the texts
                output = self._model.get_image_features(**inputs)
            else:
                output = self._model(**inputs)
            pooled = output if isinstance(output, torch.Tensor) else output.pooler_output
            if pooled is None:
                pooled = output.last_hidden_state.mean(dim=1)
            return np.asarray(pooled.flatten(1).cpu().numpy().astype(np.float32))
