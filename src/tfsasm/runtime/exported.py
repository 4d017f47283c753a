"""An exported network as a `Network`: the graphs, and the little arithmetic between them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from tfsasm.errors import InputError
from tfsasm.runtime.manifest import (
    GRAPHS,
    MANIFEST,
    Manifest,
    graph_file,
    level_names,
    names_of,
    read_manifest,
)
from tfsasm.runtime.network import InNumPy, Prediction, Queries, predicted
from tfsasm.runtime.preprocess import resized_rgb, resized_shape
from tfsasm.runtime.sessions import OPENERS
from tfsasm.tables import Floats

Runtime = Literal["onnx", "openvino"]

Features = list[Floats]
"""An encoded image: `[1, h, w, C]` per level."""


class ExportedNetwork(InNumPy):
    """A `Network` on NumPy arrays. Not thread-safe within one of its calls.

    Its queries are single; `in_sets` makes those of `manifest.queries_per_track` of them.
    """

    def __init__(
        self, folder: Path | str, runtime: Runtime = "onnx", *, threads: int = 1,
        device: str = "auto", short_side: int | None = None, max_side: int | None = None,
    ) -> None:
        """Open what `tfsasm export` made. `short_side` and `max_side` override its image scale.

        Raises `InputError` for a folder, a file, a device or a package that is missing or unfit.
        """
        folder = Path(folder)
        self.manifest: Manifest = read_manifest(folder)
        self.short_side = short_side or self.manifest.short_side
        self.max_side = max_side or self.manifest.max_side
        levels = self.manifest.levels
        paths = [graph_file(folder, name, runtime) for name in GRAPHS]
        opened = OPENERS[runtime](threads, device)
        self._encode, self._decode, self._interact = (
            opened(path, *names_of(name, levels)) for name, path in zip(GRAPHS, paths, strict=True)
        )
        self._levels = level_names(levels)
        self.proposals = self.manifest.kind == "motrv2"
        self.preset = "default" if self.proposals else "motr"
        self.learned, self.parameters = len(self.manifest.learned_boxes), self.manifest.parameters
        self._probe(folder)

    def _probe(self, folder: Path) -> None:
        """Run the graphs on nothing, so that a misfit to the record shows before any work.

        With several queries at once: a decoder whose first call has a single query answers every
        later one wrongly in OpenVINO 2026.4.
        """
        channels, width = self.manifest.learned_content.shape[1], self.manifest.width
        queries = Queries(np.zeros((7, channels), np.float32), np.full((7, 4), 0.5, np.float32))
        try:
            maps = [np.zeros((1, 3, 2, width), np.float32)] * len(self._levels)
            prediction = self.decode(maps, queries)
            self.interact(queries.content, queries.boxes, prediction.embeddings)
            self.classes = prediction.class_scores.shape[1]
        except Exception as error:  # the runtimes' errors share no base of their own
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"the graphs in {folder} do not fit its {MANIFEST}, which has {channels} channels "
                f"({reason}); make it again with tfsasm export"
            ) from error

    def encode(self, images: Sequence[np.ndarray]) -> list[Features]:
        """Features of uint8 BGR images `[H, W, 3]`, one after the other."""
        sizes = self.short_side, self.max_side
        return [list(self._encode({"image": resized_rgb(image, *sizes)})) for image in images]

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width inside the network of an image of that size."""
        return resized_shape(height, width, self.short_side, self.max_side)

    def queries(self, boxes: Floats, scores: Floats) -> Queries:
        """New queries of a frame: the learned ones, then one per detection `[P, 4]`, `[P]`."""
        known = self.manifest
        if not self.proposals:
            return Queries(known.learned_content, known.learned_boxes)
        content = embed_scores(scores, known.learned_content.shape[1]) + known.proposal_content
        return Queries(
            content=np.concat([known.learned_content, content]),
            boxes=np.concat([known.learned_boxes, boxes]),
        )

    def decode(self, features: Features, queries: Queries, alive: None = None) -> Prediction:
        """Predictions for Q queries in one image."""
        if len(queries) == 0:
            none = queries.boxes
            scores = np.zeros((0, self.classes) if self.classes > 1 else 0, np.float32)
            embeddings = np.zeros((0, self.manifest.width), np.float32)
            return predicted(scores, none, none, embeddings)
        maps = dict(zip(self._levels, features, strict=True))
        return predicted(
            *self._decode({"content": queries.content, "boxes": queries.boxes} | maps)
        )

    def interact(
        self, content: Floats, boxes: Floats, embeddings: Floats, alive: None = None
    ) -> Floats:
        """Content `[A, C]` of the next frame for A tracks."""
        return self._interact({"content": content, "boxes": boxes, "embeddings": embeddings})[0]


def embed_scores(scores: Floats, features: int) -> Floats:
    """Sine encoding `[P, features]` of scores `[P]`, as `embed_coordinates` in PyTorch (SPEC 5.1).
    """
    index = np.arange(features, dtype=np.float32)
    wavelength = np.float32(10000) ** (2 * (index // 2) / np.float32(features))
    phase = scores[:, None] * np.float32(2 * math.pi) / wavelength
    waves = np.stack([np.sin(phase[:, 0::2]), np.cos(phase[:, 1::2])], axis=-1)
    return waves.reshape(len(scores), features)
