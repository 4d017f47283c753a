"""Where a track is likely to be next: constant velocity of its box's centre, fading while unseen.

Unusual here: it only says where the network is asked to look. The released method asks about a
track where it was last seen, and its network was trained for that; a small one finds people sooner
when the way they were going is taken into account.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tfsasm.settings import MotionConfig


def expect(boxes: Tensor, velocity: Tensor, missed: Tensor, config: MotionConfig) -> Tensor:
    """Boxes `[N, 4]` cxcywh of the coming frame, of tracks last seen at `boxes`.

    `velocity` `[N, 2]` is per frame in the same units, `missed` `[N]` counts the frames since then.
    """
    if not config.lead:
        return boxes
    steps = torch.arange(int(missed.max()) + 1 if len(missed) else 1, device=boxes.device)
    way = (config.fade**steps).cumsum(0)[missed]  # 1 + fade + fade^2 + ..., a term per frame
    return torch.cat([boxes[:, :2] + config.lead * way[:, None] * velocity, boxes[:, 2:]], dim=1)


def learn(
    velocity: Tensor, last: Tensor, boxes: Tensor, missed: Tensor, seen: Tensor,
    config: MotionConfig,
) -> Tensor:
    """Velocity `[N, 2]` after a frame in which the tracks `seen` `[N]` went from `last` to `boxes`.

    Both are `[N, 4]` cxcywh; `missed` `[N]` frames lay between. The others keep theirs.
    """
    if not config.lead:
        return velocity
    latest = (boxes[:, :2] - last[:, :2]) / (1 + missed)[:, None]
    return torch.where(seen[:, None], velocity.lerp(latest, config.gain), velocity)
