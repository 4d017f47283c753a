"""MOTRv2, MOTR and CO-MOT as a `Network`: frames in, predictions out, no gradients."""

from collections.abc import Callable, Sequence
from operator import call
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tfsasm.errors import InputError
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.fast.graphs import Graphs, wanted
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.transformer import Features
from tfsasm.pytorch import constants, side_queue, upload, uploads_beside, whole_float32
from tfsasm.runtime.network import Prediction, Queries, SetNetwork, in_sets, predicted
from tfsasm.runtime.preprocess import MEAN, STD, resized_rgb, resized_shape


class TorchNetwork:
    """A `MOTRv2`, a `FastMOTRv2` or a `MOTR` as a tracker calls it, in `torch.inference_mode`."""

    inference = torch.inference_mode

    def __init__(
        self, model: MOTRv2, config: NetworkConfig, *, resize_there: bool = False,
        padded: bool | None = None,
    ) -> None:
        """With `resize_there` images are resized where the model is, by rounding not as OpenCV.

        Tables are `padded` on GPUs, unless that is given.
        """
        self.model, self.config, self.resize_there = model, config, resize_there
        self.learned, self.parameters = len(model.learned_boxes), model.size
        self.classes, self.proposals = model.config.classes, config.model.kind != "motr"
        self.preset = "default" if self.proposals else "motr"
        self.padded = self.device.type == "cuda" if padded is None else padded
        self._queue = side_queue(self.device)
        self.graphs = Graphs()

    def repeat(self, function: Callable[..., Any], *given: Any) -> Any:
        """`function(*given)`, as a graph where tables are padded and graphs are wanted."""
        return (self.graphs if self.padded and wanted() else call)(function, *given)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.learned_content.device

    def asarray(self, values: np.ndarray) -> Tensor:
        """A tensor of the same values on the model's device."""
        return upload(values, self.device)

    @torch.inference_mode()
    def encode(self, images: Sequence[np.ndarray]) -> list[Features]:
        """Features of uint8 BGR images `[H, W, 3]` of one `input_size`, in one batch.

        Raises `InputError` where a GPU has no memory for so many.
        """
        try:
            return self._encoded(images)
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"{self.device} has no memory for {len(images)} frames at once; give fewer "
                "(--streams, --batch-encode), or a smaller --short-side"
            ) from error

    def _encoded(self, images: Sequence[np.ndarray]) -> list[Features]:
        sides = self.config.short_side, self.config.max_side
        if self.resize_there:
            frames = uploads_beside(images, self.device, self._queue)
            same = len({frame.shape for frame in frames}) == 1
            batches = [torch.stack(frames)] if same else [frame[None] for frame in frames]
            pixels = torch.cat([prepare_there(batch, *sides) for batch in batches])
        else:
            pixels = torch.cat([prepare(image, *sides) for image in images]).to(self.device)
        with whole_float32(self.device):
            features = self.model.encode(pixels)
        return [features] if len(images) == 1 else [features[i] for i in range(len(images))]

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width inside the network of an image of that size."""
        return resized_shape(height, width, self.config.short_side, self.config.max_side)

    @torch.inference_mode()
    def queries(self, boxes: Tensor, scores: Tensor) -> Queries:
        """New queries of a frame: the learned ones, then one per detection `[P, 4]`, `[P]`."""
        return self.model.queries(boxes, scores)

    @torch.inference_mode()
    def decode(
        self, features: Features, queries: Queries, alive: Tensor | None = None
    ) -> Prediction:
        """Predictions for Q queries in one image."""
        layers = self.model.decode(features, queries, ignoring(alive))
        first, last = layers[0], layers[-1]
        return predicted(class_scores(last.logits), last.boxes, first.boxes, last.embeddings)

    @torch.inference_mode()
    def interact(
        self, content: Tensor, boxes: Tensor, embeddings: Tensor, alive: Tensor | None = None
    ) -> Tensor:
        """Content `[A, C]` of the next frame for A tracks."""
        return self.model.interaction(content, boxes, embeddings, ignoring(alive))


def as_network(
    model: MOTRv2, config: NetworkConfig, *, resize_there: bool = False, padded: bool | None = None
) -> TorchNetwork | SetNetwork[TorchNetwork]:
    """A `MOTRv2`, a `FastMOTRv2` or a `MOTR` as a `Network`, a CO-MOT as one of sets."""
    network = TorchNetwork(model, config, resize_there=resize_there, padded=padded)
    return in_sets(network, config.model.queries_per_track)


def ignoring(alive: Tensor | None) -> Tensor | None:
    """Attention mask `[Q, Q]` by which the rows that are `alive` `[Q]` see no others.

    Each row sees itself, since a softmax over nothing is NaN, which no weight of 0 takes away.
    """
    if alive is None:
        return None
    return ~(alive | torch.eye(len(alive), dtype=torch.bool, device=alive.device))


def class_scores(logits: Tensor) -> Tensor:
    """Scores `[Q]` of the logits `[Q, 1]` of one class, or `[Q, K]` of those of several."""
    return logits[:, 0].sigmoid() if logits.shape[1] == 1 else logits.sigmoid()


def prepare(image: np.ndarray, short_side: int, max_side: int) -> Tensor:
    """BGR uint8 `[H, W, 3]` to normalised RGB float32 `[1, 3, h, w]` (SPEC 2.1)."""
    rgb = resized_rgb(image, short_side, max_side)
    return normalise(torch.from_numpy(rgb).permute(2, 0, 1)[None])


def prepare_there(frames: Tensor, short_side: int, max_side: int) -> Tensor:
    """As `prepare`, of BGR uint8 `[B, H, W, 3]` on any device: to `[B, 3, h, w]`.

    OpenCV's fixed-point weights are not imitated: of noise an eighth of the pixels differ by one of
    256.
    """
    rgb = frames.permute(0, 3, 1, 2).flip(1).float()
    sides = resized_shape(rgb.shape[2], rgb.shape[3], short_side, max_side)
    return normalise(F.interpolate(rgb, sides, mode="bilinear", align_corners=False).round())


def normalise(rgb: Tensor) -> Tensor:
    """RGB `[B, 3, h, w]` of 0 to 255 in the range that ImageNet networks expect."""
    x = rgb.contiguous().float() / 255
    mean, std = (constants(v, x)[:, None, None] for v in (MEAN, STD))
    return (x - mean) / std
