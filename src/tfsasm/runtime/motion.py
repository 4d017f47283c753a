"""Twin of `tfsasm.motion` in NumPy: where a track is likely to be next."""

from __future__ import annotations

import numpy as np

from tfsasm.runtime.boxes import Floats, Integers, Mask, lerp
from tfsasm.tracking.config import MotionConfig


def expect(boxes: Floats, velocity: Floats, missed: Integers, config: MotionConfig) -> Floats:
    """Boxes `[N, 4]` of the coming frame, of tracks last seen at `boxes`, `missed` frames ago."""
    if not config.lead:
        return boxes
    steps = np.arange(missed.max(initial=0) + 1)
    way = (np.float32(config.fade) ** steps).astype(np.float32).cumsum()[missed]
    return np.concat([boxes[:, :2] + config.lead * way[:, None] * velocity, boxes[:, 2:]], axis=1)


def learn(
    velocity: Floats, last: Floats, boxes: Floats, missed: Integers, seen: Mask,
    config: MotionConfig,
) -> Floats:
    """Velocity `[N, 2]` after a frame in which the tracks `seen` went from `last` to `boxes`."""
    if not config.lead:
        return velocity
    frames = (1 + missed).astype(np.float32)
    latest = (boxes[:, :2] - last[:, :2]) / frames[:, None]
    return np.where(seen[:, None], lerp(velocity, latest, config.gain), velocity)
