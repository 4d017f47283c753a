"""Tracking with an exported network: NumPy, OpenCV, and onnxruntime or OpenVINO. No PyTorch.

    tracker = tfsasm.runtime.load("exported", "onnx")
    for frame in frames:                                    # uint8 BGR [H, W, 3]
        tracks = tracker.update(xyxy, scores, frame)        # a detector's boxes, in pixels
        print(tracks.ids + 1, tracks.scores, tracks.xyxy)

The folder is made by `tfsasm export`. The presets of `tfsasm.config` are the methods here too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tfsasm.boxes import normalised_boxes, xyxy_to_ltwh
from tfsasm.detection.proposals import check_detections
from tfsasm.runtime.exported import ExportedNetwork, Runtime
from tfsasm.runtime.preprocess import as_bgr
from tfsasm.runtime.support import Proposals
from tfsasm.runtime.tracker import Report, TrackerState, begin, report, step
from tfsasm.tracking.config import TrackerConfig, default

__all__ = [
    "Answer", "ExportedNetwork", "Network", "Proposals", "Queries", "Report", "RuntimeTracker",
    "TrackerState", "begin", "load", "report", "step",
]  # fmt: skip


def load(
    folder: Path | str, runtime: Runtime = "onnx", config: TrackerConfig | None = None, *,
    threads: int = 2, device: str = "auto", short_side: int | None = None,
    max_side: int | None = None,
) -> RuntimeTracker:
    """A tracker from a folder that `tfsasm export` made.

    `config` is the method (`tfsasm.config`), by default `default()`; the rest is as in
    `ExportedNetwork`. Raises `InputError` for what is missing or does not fit.
    """
    network = ExportedNetwork(
        folder, runtime, threads=threads, device=device, short_side=short_side, max_side=max_side
    )
    return RuntimeTracker(network, config or default())


class RuntimeTracker:
    """Follows objects through one video at a time; a shell around `step`."""

    def __init__(self, network: ExportedNetwork, config: TrackerConfig) -> None:
        self.network, self.config = network, config
        self.state: TrackerState = begin(network, config)

    def reset(self) -> None:
        """Forget everything: the next frame is the first of another video."""
        self.state = begin(self.network, self.config)

    def update(self, xyxy: ArrayLike, scores: ArrayLike, frame: np.ndarray) -> Report:
        """Track one frame; call it for every frame, also when nothing was detected.

        `xyxy` `[P, 4]` in pixels of `frame` and `scores` `[P]` are any detector's; `frame` is uint8
        BGR `[H, W, 3]`. Raises `InputError` for a box with NaN, infinity or no area, naming its
        row, and for a frame that is not an image; the state is then as before.
        """
        image = as_bgr(frame)
        height, width = image.shape[:2]
        corners = np.asarray(xyxy, dtype=np.float64).reshape(-1, 4)
        sureness = np.asarray(scores, dtype=np.float64).reshape(-1)
        check_detections(corners, sureness)
        boxes = normalised_boxes(xyxy_to_ltwh(corners), width, height)
        found = Proposals(boxes, sureness.astype(np.float32))
        features = self.network.encode(image)
        self.state, answer = step(self.network, self.state, features, found, self.config)
        return report(answer, width, height, self.config)
