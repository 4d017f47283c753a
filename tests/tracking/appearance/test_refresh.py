"""Which detections are looked at where `looks.refresh` spares a slow embedder."""

import numpy as np

from helpers.people import HEIGHT, WIDTH, found, walk
from tfsasm import AppearanceConfig, AppearanceTracker
from tfsasm.tracking.appearance.association import AppearanceWeightConfig

BLANK = np.zeros((HEIGHT, WIDTH, 3), np.uint8)


def looked_at(refresh, frames):
    """How many boxes the embedder got in each frame, and the numbers that were told."""
    counts = []

    def embed(image, xyxy):
        counts.append(len(xyxy))
        return np.ones((len(xyxy), 4), np.float32)

    config = AppearanceConfig(looks=AppearanceWeightConfig(refresh=refresh))
    tracker = AppearanceTracker(embed, config)
    told = [tracker.update(found(boxes), BLANK).tracker_id.tolist() for boxes in frames]
    return counts, told


def test_who_walks_alone_is_looked_at_in_turn_only_and_keeps_the_number():
    frames = [[box] for box in walk((100, 200), (2, 0), 13)]
    counts, told = looked_at(4, frames)
    assert counts[0] == 1  # a newborn
    assert sum(counts[1:]) == 3
    assert told == [[1]] * 13


def test_who_touches_another_is_looked_at_in_every_frame():
    a = walk((100, 200), (2, 0), 8)
    counts, _ = looked_at(100, [[box, box + np.array([10, 0, 10, 0])] for box in a])
    assert counts == [2] * 8


def test_a_newcomer_is_looked_at_and_who_is_near_a_lost_track():
    alone, far, beside = (walk((x, 200), (2, 0), 8) for x in (100, 400, 160))
    came, _ = looked_at(100, [[a, b] if t >= 5 else [a] for t, (a, b) in pairs(alone, far)])
    assert came[4:6] == [0, 1]
    lost, _ = looked_at(100, [[a, b] if t < 5 else [a] for t, (a, b) in pairs(alone, beside)])
    assert lost[4:7] == [0, 0, 1]


def pairs(first, second):
    return enumerate(zip(first, second, strict=True))


def test_every_sure_box_is_looked_at_by_default():
    frames = [[box] for box in walk((100, 200), (2, 0), 8)]
    assert AppearanceWeightConfig().refresh == 1
    assert looked_at(1, frames)[0] == [1] * 8
