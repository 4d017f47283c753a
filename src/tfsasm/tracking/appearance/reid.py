"""Re-identification networks: ONNX files such as OSNet's, and vision models of Hugging Face."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tfsasm.errors import InputError
from tfsasm.runtime.preprocess import MEAN, STD
from tfsasm.runtime.sessions import onnx_session
from tfsasm.settings import at_least_one
from tfsasm.tables import Doubles, Floats, Image, unit

_MOST_CHANNELS = 16384
"""Embeddings have 128 to 4096 values; a map of boxes, or of features, has many more."""

_MEAN, _STD = np.array(MEAN, dtype=np.float32), np.array(STD, dtype=np.float32)


def _crop(image: Image, box: Doubles, height: int, width: int) -> Image:
    """One box (pixel corners) cut at the image border, resized bilinearly `[height, width, 3]`."""
    rows, columns = image.shape[:2]
    x1, x2 = np.clip(np.round(box[[0, 2]]), [0, 1], [columns - 1, columns]).astype(int)
    y1, y2 = np.clip(np.round(box[[1, 3]]), [0, 1], [rows - 1, rows]).astype(int)
    part = image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
    resized: Any = cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized


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
        self._batch, self._height, self._width = self._shape()
        self.channels = self._run(np.zeros((1, self._height, self._width, 3), np.uint8)).shape[1]
        if self.channels > _MOST_CHANNELS:
            raise InputError(
                f"{self._weights} gives {self.channels:,} values for an image, which is no "
                "embedding; give the ONNX file of a ReID network"
            )

    def __repr__(self) -> str:
        return f"ReidEmbedder({str(self._weights)!r}, {self.channels} values)"

    def _shape(self) -> tuple[int | None, int, int]:
        """Batch if the file fixes it, height and width."""
        inputs = self._session.get_inputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3:
            taken = "; ".join(f"{e.name} [{', '.join(map(str, e.shape))}]" for e in inputs)
            raise InputError(f"{self._weights} takes {taken}; a ReID network takes [B, 3, H, W]")
        batch, _, height, width = shape
        return (
            batch if isinstance(batch, int) else None,
            height if isinstance(height, int) else self.settings.height,
            width if isinstance(width, int) else self.settings.width,
        )

    def __call__(self, image: Image, xyxy: Doubles) -> Floats:
        """Unit vectors `[P, C]`; see `Embedder`."""
        if not len(xyxy):
            return np.zeros((0, self.channels), dtype=np.float32)
        crops = np.stack([_crop(image, box, self._height, self._width) for box in xyxy])
        size = self._batch or self.settings.batch
        runs = [self._run(crops[i : i + size]) for i in range(0, len(crops), size)]
        return unit(np.concatenate(runs))

    def _run(self, crops: Image) -> Floats:
        """`[B, C]` of crops `[B, H, W, 3]`."""
        pixels = crops[..., ::-1] if self.settings.rgb else crops
        batch: Any = pixels.astype(np.float32)
        if self.settings.imagenet:
            batch = (batch / 255 - _MEAN) / _STD
        batch = batch.transpose(0, 3, 1, 2)
        if self._batch:  # the file takes this many, no more and no fewer
            batch = np.resize(batch, (self._batch, *batch.shape[1:]))
        name = self._session.get_inputs()[0].name
        output: Any = self._session.run(None, {name: np.ascontiguousarray(batch)})[0]
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


class HuggingFaceEmbedder:
    """The pooled features of a vision model, by its name on the hub or its folder.

    Raises `InputError` when transformers is missing or for a model that cannot be had, and
    `WeightsError` for weights that are damaged or incomplete.
    """

    def __init__(self, name: str, settings: HuggingFaceEmbedderSettings | None = None) -> None:
        from tfsasm.detection.huggingface import PREFIX, load_whole
        from tfsasm.pytorch import find_device

        self.settings = settings or HuggingFaceEmbedderSettings()
        self._device = find_device(self.settings.device)
        self._processor, model = load_whole(name.removeprefix(PREFIX), "AutoModel", "image model")
        self._model = model.float().eval().requires_grad_(False).to(self._device)
        grey = np.full((self.settings.height, self.settings.width, 3), 128, np.uint8)
        self._channels = self._run([grey]).shape[1]

    def __call__(self, image: Image, xyxy: Doubles) -> Floats:
        """Vectors `[P, C]`; see `Embedder`."""
        size, height, width = self.settings.batch, self.settings.height, self.settings.width
        crops = [_crop(image, box, height, width)[..., ::-1] for box in xyxy]
        none = np.zeros((0, self._channels), np.float32)
        return np.concatenate(
            [none, *(self._run(crops[i : i + size]) for i in range(0, len(crops), size))]
        )

    def _run(self, crops: list[Image]) -> Floats:
        """`[B, C]` of RGB images of one size."""
        import torch

        images = [np.ascontiguousarray(crop) for crop in crops]
        inputs = self._processor(
            images=images, return_tensors="pt", input_data_format="channels_last"
        ).to(self._device)
        with torch.inference_mode():
            if hasattr(self._model, "get_image_features"):  # CLIP and its like: without the texts
                output = self._model.get_image_features(**inputs)
            else:
                output = self._model(**inputs)
            pooled = output if isinstance(output, torch.Tensor) else output.pooler_output
            if pooled is None:
                pooled = output.last_hidden_state.mean(dim=1)
            return np.asarray(pooled.flatten(1).cpu().numpy().astype(np.float32))
