"""One network under several methods: a frame is encoded once, and every method answers from it.

The backbone and the encoder need no state, and no setting of a method can change what they see. So
what differs between two methods is the method alone, and ten cost little more than one.
"""

from __future__ import annotations

import numpy as np
import torch

from tfsasm.api import Tracker
from tfsasm.model import Features
from tfsasm.model.image import prepare
from tfsasm.mot import result_line
from tfsasm.proposals import Proposals
from tfsasm.tracker import Report, TrackerConfig, begin, report, step


@torch.inference_mode()
def encode(tracker: Tracker, image: np.ndarray) -> Features:
    """What the network sees in a uint8 BGR image `[H, W, 3]`."""
    pixels = prepare(image, tracker.network.short_side, tracker.network.max_side)
    return tracker.model.encode(pixels.to(tracker.model.learned_content.device))


class Follower:
    """One method on one sequence. The state and method of `tracker` itself are not used."""

    def __init__(self, tracker: Tracker, config: TrackerConfig) -> None:
        self._model, self._config = tracker.model, config
        self._state = begin(tracker.model, config)

    def update(
        self, features: Features, proposals: Proposals, width: int, height: int
    ) -> Report:
        """The tracks of the next frame, in pixels of its `width` x `height` image, on the CPU."""
        found = proposals.to(self._model.learned_content.device)
        self._state, answer = step(self._model, self._state, features, found, self._config)
        return report(answer, width, height, self._config).to("cpu")


def result_lines(frame: int, told: Report, *, first_id: int = 1, scores: bool = True) -> list[str]:
    """The tracks of a frame as lines of a result file; see `outputs.MotFile`."""
    table = zip(told.ids.tolist(), told.xyxy.tolist(), told.scores.tolist(), strict=True)
    return [
        result_line(frame, identity + first_id, xyxy, confidence=score if scores else None)
        for identity, xyxy, score in table
    ]
