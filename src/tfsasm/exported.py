"""The users' tracker over an exported network: same sources, same `supervision.Detections`.

What is unusual here: only the two halves of a frame are other ones. Detectors are PyTorch's as
before; who wants none of it takes `tfsasm.runtime` itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from tfsasm.api import Origins, Tracker
from tfsasm.config import default
from tfsasm.proposals import Proposals
from tfsasm.runtime.network import ExportedNetwork, Runtime
from tfsasm.runtime.support import Proposals as Arrays
from tfsasm.runtime.tracker import TrackerState, begin, report, step
from tfsasm.settings import TrackerConfig


def load_exported(
    folder: Path | str, runtime: Runtime = "onnx", config: TrackerConfig | None = None, *,
    threads: int = 2, device: str = "auto", short_side: int | None = None,
    max_side: int | None = None,
) -> ExportedTracker:
    """A tracker from a folder that `tfsasm export` made; `tfsasm.load` for such folders.

    `threads` are those of each graph. Raises `InputError` for what is missing or does not fit.
    """
    network = ExportedNetwork(
        folder, runtime, threads=threads, device=device, short_side=short_side, max_side=max_side
    )
    return ExportedTracker(network, config or default())


class ExportedTracker(Tracker):
    """A `Tracker` whose network is an exported one."""

    state: TrackerState  # type: ignore[assignment]

    def __init__(self, network: ExportedNetwork, config: TrackerConfig) -> None:
        self.exported, self.config = network, config
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is the first of another video, ids start at 1."""
        self.state = begin(self.exported, self.config)
        self._origins = Origins()

    def _encode_all(self, images: list[np.ndarray]) -> list[Any]:
        return [self.exported.encode(image) for image in images]

    def _conclude(
        self, features: Any, proposals: Proposals, detections: sv.Detections | None,
        width: int, height: int,
    ) -> sv.Detections:
        found = Arrays(proposals.boxes.numpy(), proposals.scores.numpy())
        self.state, answer = step(self.exported, self.state, features, found, self.config)
        self._origins.learn(answer, detections, self.state.tracks.ids)
        return self._origins.attach(report(answer, width, height, self.config))
