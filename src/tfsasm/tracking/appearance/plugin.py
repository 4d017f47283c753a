"""The appearance tracker as a tracker of the package `trackers` (Roboflow), by one changed line.

    from tfsasm.tracking.appearance.plugin import AppearanceSORT
    tracker = AppearanceSORT()                     # instead of ByteTrackTracker()

As in that package every detection comes back, with `tracker_id` -1 where it belongs to no track.
Needs the extra `baselines`; importing it registers the name `tfsasm`.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import supervision as sv

from tfsasm.detection.proposals import Given, as_detections_in_pixels, usable
from tfsasm.errors import InputError
from tfsasm.tracking.appearance.embedders import embedder
from tfsasm.tracking.appearance.tracker import EMBEDDING, AppearanceConfig, AppearanceTracker
from tfsasm.tracking.config import NO_ID

try:
    from trackers.core.base import BaseTracker
except ImportError as error:
    raise InputError('this needs `trackers`: pip install "tfsasm[baselines]"') from error


log = logging.getLogger(__name__)


class AppearanceSORT(BaseTracker):
    """`AppearanceTracker` behind `trackers.BaseTracker`.

    `embedder_name` and `embedder_weights` are as for `embedder`; `config` is the method. As with
    the trackers of that package, boxes of no use get no track and stop nothing: `dropped` counts
    those without area, with a number that is not finite, or with an embedding of zeros.
    """

    tracker_id = "tfsasm"

    def __init__(
        self, embedder_name: str = "hist", embedder_weights: str | None = None,
        config: AppearanceConfig | None = None,
    ) -> None:
        self._tracker = AppearanceTracker(embedder(embedder_name, embedder_weights), config)
        self.reset()

    def reset(self) -> None:
        """Forget everything; ids start at 1."""
        self._tracker.reset()
        self.tracks: list[Any] = []
        self.dropped = 0

    def update(
        self, detections: Given, frame: np.ndarray | None = None, timestamp: float | None = None
    ) -> sv.Detections:
        """All `detections` in their order, with `tracker_id`; `frame` is uint8 BGR `[H, W, 3]`.

        Every call is one frame, whatever its `timestamp`.
        """
        if not isinstance(detections, sv.Detections):
            size = None if frame is None else (frame.shape[1], frame.shape[0])
            detections = as_detections_in_pixels(detections, size)
        tracked = self._tracker.update(self._numbered(detections), frame)
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

    def _numbered(self, detections: sv.Detections) -> sv.Detections:
        """The usable `detections` with their rows; others are counted, the first is reported."""
        xyxy, scores = detections.xyxy, detections.confidence
        good = usable(xyxy, np.ones(len(xyxy)) if scores is None else scores)
        vectors = np.asarray(detections.data.get(EMBEDDING, np.zeros((0, 0))))
        if vectors.ndim == 2 and len(vectors) == len(good) and vectors.dtype.kind in "fiu":
            lengths = np.linalg.norm(vectors, axis=1)
            good &= np.isfinite(lengths) & (lengths > 0)
        if not good.all() and not self.dropped:
            row = int(good.argmin())
            log.warning("boxes of no area, and those with a box, score or embedding that is not "
                        "finite (or an embedding of zeros), get no track; the first is %s in row "
                        "%d", xyxy[row].tolist(), row)
        self.dropped += int((~good).sum())
        kept: Any = detections[good]
        return replace(kept, data={**kept.data, "row": np.flatnonzero(good)})
