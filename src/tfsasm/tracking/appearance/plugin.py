"""The appearance tracker as a tracker of the package `trackers` (Roboflow), by one changed line.

    from tfsasm.tracking.appearance.plugin import AppearanceSORT
    tracker = AppearanceSORT()                     # instead of ByteTrackTracker()

As in that package every detection comes back, with `tracker_id` -1 where it belongs to no track.
Needs the extra `baselines`; importing it registers the name `tfsasm`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import supervision as sv

from tfsasm.errors import InputError
from tfsasm.tracking.appearance.embedders import embedder
from tfsasm.tracking.appearance.tracker import EMBEDDING, AppearanceConfig, AppearanceTracker
from tfsasm.tracking.config import NO_ID

try:
    from trackers.core.base import BaseTracker
except ImportError as error:
    raise InputError('this needs `trackers`: pip install "tfsasm[baselines]"') from error


class AppearanceSORT(BaseTracker):
    """`AppearanceTracker` behind `trackers.BaseTracker`.

    `embedder_name` and `embedder_weights` are as for `embedder`; `config` is the method.
    """

    tracker_id = "tfsasm"

    def __init__(
        self, embedder_name: str = "hist", embedder_weights: str | None = None,
        config: AppearanceConfig | None = None,
    ) -> None:
        self._tracker = AppearanceTracker(embedder(embedder_name, embedder_weights), config)
        self.tracks: list[Any] = []

    def update(
        self, detections: sv.Detections, frame: np.ndarray | None = None,
        timestamp: float | None = None,
    ) -> sv.Detections:
        """All `detections` in their order, with `tracker_id`; `frame` is uint8 BGR `[H, W, 3]`.

        Every call is one frame, whatever its `timestamp`.
        """
        numbered = sv.Detections(
            xyxy=detections.xyxy, confidence=detections.confidence,
            data={k: v for k, v in detections.data.items() if k == EMBEDDING}
            | {"row": np.arange(len(detections))},
        )  # fmt: skip
        tracked = self._tracker.update(numbered, frame)
        ids = np.full(len(detections), NO_ID)
        ids[np.asarray(tracked.data["row"])] = tracked.tracker_id
        live = self._tracker.state.tracks
        self.tracks = [
            SimpleNamespace(tracker_id=number, get_state_bbox=box.copy)
            for number, box in zip(live.ids.tolist(), live.motion.xyxy, strict=True)
            if number != NO_ID
        ]
        result: Any = detections[np.arange(len(detections))]
        result.tracker_id = ids
        return result

    def reset(self) -> None:
        """Forget everything; ids start at 1."""
        self._tracker.reset()
        self.tracks = []
