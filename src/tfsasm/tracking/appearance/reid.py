"""Re-identification networks as ONNX files, such as OSNet's, through onnxruntime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tfsasm.detection.huggingface import PREFIX, load_whole
from tfsasm.errors import InputError
from tfsasm.pytorch import find_device
from tfsasm.runtime.sessions import onnx_session
from tfsasm.tracking.appearance.arrays import Doubles
from tfsasm.tracking.appearance.embedders import Floats, Image, cut_out

_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)

_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)


@dataclass(frozen=True)
class ReidSettings:
    """How a ReID file is run. What a file says itself needs no setting."""

    height: int = 256
    """Of its image, where the file leaves it open."""
    width: int = 128
    """Of its image, where the file leaves it open."""
    rgb: bool = True
    """Colours as RGB; false for BGR."""
    imagenet: bool = True
    """Divide by 255 and normalise as for ImageNet; false for plain 0 to 255."""
    batch: int = 16
    """Most boxes at once; a file may fix another number."""
    threads: int = 1
    """Threads of one inference."""


class ReidEmbedder:
    """Unit vectors of an ONNX network that takes `[B, 3, H, W]` and gives `[B, C]`."""

    def __init__(self, weights: Path | str, settings: ReidSettings | None = None) -> None:
        self.settings = chosen = settings or ReidSettings()
        self._weights = Path(weights)
        self._session = onnx_session(
            self._weights, user="a ReID network", threads=chosen.threads,
            mend="give the ONNX file of a ReID network",
        )  # fmt: skip
        self._batch, self._height, self._width = self._shape()
        self.channels = self._run(np.zeros((1, self._height, self._width, 3), np.uint8)).shape[1]

    def _shape(self) -> tuple[int | None, int, int]:
        """Batch if the file fixes it, height and width."""
        given = self._session.get_inputs()
        shape = given[0].shape
        if len(given) != 1 or len(shape) != 4 or shape[1] != 3:
            told = [(one.name, one.shape) for one in given]
            raise InputError(f"{self._weights} takes {told}; a ReID network takes [B, 3, H, W]")
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
        cut = np.stack([cut_out(image, box, self._height, self._width) for box in xyxy])
        size = self._batch or self.settings.batch
        found = np.concatenate([self._run(cut[i : i + size]) for i in range(0, len(cut), size)])
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)

    def _run(self, cut: Image) -> Floats:
        pixels = cut[..., ::-1] if self.settings.rgb else cut
        batch: Any = pixels.astype(np.float32)
        if self.settings.imagenet:
            batch = (batch / 255 - _MEAN) / _STD
        batch = batch.transpose(0, 3, 1, 2)
        if self._batch:  # the file takes this many, no more and no fewer
            batch = np.resize(batch, (self._batch, *batch.shape[1:]))
        name = self._session.get_inputs()[0].name
        found: Any = self._session.run(None, {name: np.ascontiguousarray(batch)})[0]
        found = found[: len(cut)].reshape(len(cut), -1).astype(np.float32)
        if not np.isfinite(found).all():
            raise InputError(f"{self._weights} gives values that are not finite")
        return found


@dataclass(frozen=True)
class HuggingFaceEmbedderSettings:
    """How a vision model looks at boxes."""

    height: int = 256
    """Boxes are brought to this height, before the model's own processor sees them."""
    width: int = 128
    """And to this width."""
    batch: int = 16
    """Most boxes at once."""
    device: str = "cpu"
    """cpu, cuda, cuda:1 ..., or auto."""


class HuggingFaceEmbedder:
    """The pooled features of a model, by its name on the hub or its folder.

    Raises `InputError` when transformers is missing or for a model that cannot be had, and
    `WeightsError` for weights that are damaged or not whole.
    """

    def __init__(self, name: str, settings: HuggingFaceEmbedderSettings | None = None) -> None:
        self.settings = settings or HuggingFaceEmbedderSettings()
        self._device = find_device(self.settings.device)
        self._processor, model = load_whole(name.removeprefix(PREFIX), "AutoModel", "image model")
        self._model = model.float().eval().requires_grad_(False).to(self._device)
        grey = np.full((self.settings.height, self.settings.width, 3), 128, np.uint8)
        self._channels = self._run([grey]).shape[1]

    def __call__(self, image: Image, xyxy: Doubles) -> Floats:
        """Vectors `[P, C]`; see `Embedder`."""
        size, found = self.settings.batch, [np.zeros((0, self._channels), np.float32)]
        cut = [
            cut_out(image, box, self.settings.height, self.settings.width)[..., ::-1]
            for box in xyxy
        ]
        found += [self._run(cut[i : i + size]) for i in range(0, len(cut), size)]
        return np.concatenate(found)

    @torch.inference_mode()
    def _run(self, cut: list[Image]) -> Floats:
        """`[B, C]` of RGB images of one size."""
        pictures = [np.ascontiguousarray(one) for one in cut]
        given = self._processor(
            images=pictures, return_tensors="pt", input_data_format="channels_last"
        ).to(self._device)
        if hasattr(self._model, "get_image_features"):  # CLIP and its like, whose texts are no use
            answer = self._model.get_image_features(**given)
        else:
            answer = self._model(**given)
        pooled = answer if isinstance(answer, torch.Tensor) else answer.pooler_output
        if pooled is None:
            pooled = answer.last_hidden_state.mean(dim=1)
        return pooled.flatten(1).cpu().numpy().astype(np.float32)
