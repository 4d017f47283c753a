"""An exported network: the graphs, and the little arithmetic between them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np

from tfsasm.errors import InputError
from tfsasm.runtime.boxes import Floats
from tfsasm.runtime.manifest import (
    GRAPHS,
    MANIFEST,
    Manifest,
    graph_file,
    level_names,
    names_of,
    read_manifest,
)
from tfsasm.runtime.preprocess import resized_rgb
from tfsasm.runtime.sessions import OPENERS
from tfsasm.runtime.support import Proposals
from tfsasm.runtime.tracker import Features, Prediction, Queries

Runtime = Literal["onnx", "openvino"]


class ExportedNetwork:
    """The four calls of the network, on arrays. Not thread-safe within one of them."""

    def __init__(
        self, folder: Path | str, runtime: Runtime = "onnx", *, threads: int = 1,
        device: str = "auto", short_side: int | None = None, max_side: int | None = None,
    ) -> None:
        """Open what `tfsasm export` made. `short_side` and `max_side` override its image scale.

        Raises `InputError` for a folder, a file, a device or a package that is missing or unfit.
        """
        folder = Path(folder)
        self.manifest: Manifest = read_manifest(folder)
        for name, side in (("short_side", short_side), ("max_side", max_side)):
            if side is not None and side < 1:
                raise InputError(f"{name} is {side}; give a number of pixels from 1 up")
        self.short_side = short_side or self.manifest.short_side
        self.max_side = max_side or self.manifest.max_side
        levels = self.manifest.levels
        paths = [graph_file(folder, name, runtime) for name in GRAPHS]
        opened = OPENERS[runtime](threads, device)
        self._encode, self._decode, self._interact = (
            opened(path, *names_of(name, levels)) for name, path in zip(GRAPHS, paths, strict=True)
        )
        self._levels = level_names(levels)
        self.learned = len(self.manifest.learned_boxes)
        self._probe(folder)

    def _probe(self, folder: Path) -> None:
        """Ask about nothing, so that graphs which do not fit the record show before any work.

        About several things at once: a decoder whose first question is a single query answers
        every later one wrongly in OpenVINO 2026.4.
        """
        channels = self.manifest.learned_content.shape[1]
        some = Queries(np.zeros((7, channels), np.float32), np.full((7, 4), 0.5, np.float32))
        try:
            maps = [np.zeros((1, 3, 2, channels), np.float32)] * len(self._levels)
            answer = self.decode(maps, some)
            self.interact(some.content, some.boxes, answer.embeddings)
        except Exception as error:  # the runtimes' errors share no base of their own
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"the graphs in {folder} do not fit its {MANIFEST}, which says {channels} channels "
                f"({reason}); make it again with tfsasm export"
            ) from error

    def encode(self, image: np.ndarray) -> Features:
        """Encode a uint8 BGR image `[H, W, 3]`; needs no state."""
        pixels = resized_rgb(image, self.short_side, self.max_side)
        return list(self._encode({"image": pixels}))

    def queries(self, proposals: Proposals) -> Queries:
        """New queries of a frame: the learned ones, then one per proposal (SPEC 5.1)."""
        known = self.manifest
        scores = embed_scores(proposals.scores, known.learned_content.shape[1])
        return Queries(
            content=np.concat([known.learned_content, scores + known.proposal_content]),
            boxes=np.concat([known.learned_boxes, proposals.boxes]),
        )

    def decode(self, features: Features, queries: Queries) -> Prediction:
        """Answer Q queries about one image."""
        if len(queries) == 0:
            none = queries.boxes
            return Prediction(np.zeros(0, np.float32), none, none, queries.content)
        maps = dict(zip(self._levels, features, strict=True))
        answer = self._decode({"content": queries.content, "boxes": queries.boxes} | maps)
        return Prediction(*answer)

    def interact(self, content: Floats, boxes: Floats, embeddings: Floats) -> Floats:
        """Query interaction of A tracks (SPEC 6.3): their next content `[A, C]`."""
        return self._interact({"content": content, "boxes": boxes, "embeddings": embeddings})[0]


def embed_scores(scores: Floats, features: int) -> Floats:
    """Sine encoding `[P, features]` of scores `[P]`; twin of `model.encoding.embed_coordinates`."""
    index = np.arange(features, dtype=np.float32)
    wavelength = np.float32(10000) ** (2 * (index // 2) / np.float32(features))
    phase = scores[:, None] * np.float32(2 * math.pi) / wavelength
    waves = np.stack([np.sin(phase[:, 0::2]), np.cos(phase[:, 1::2])], axis=-1)
    return waves.reshape(len(scores), features)
