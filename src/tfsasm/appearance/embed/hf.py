"""Vision models of Hugging Face `transformers` (DINOv2, CLIP, ViT, ResNet ...) as embedders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tfsasm.appearance.arrays import Doubles
from tfsasm.appearance.embed import Floats, Image, cut_out
from tfsasm.detect.hf import PREFIX, load_whole
from tfsasm.devices import find_device


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
