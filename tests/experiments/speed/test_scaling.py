"""How time and memory grow: a row for each size."""

import numpy as np
import pytest

from tfsasm.experiments.speed import scaling
from tfsasm.experiments.speed.variants import fast_network
from tfsasm.tracking.appearance.tracker import AppearanceTracker


@pytest.fixture(scope="module")
def network(small_weights):
    return fast_network("tiny", small_weights)


@pytest.mark.parametrize(("grow", "first"), [
    pytest.param(lambda n: scaling.by_tracks(n, 1, (0, 3)), [0, 3], id="tracks"),
    pytest.param(lambda n: scaling.by_size(n, 1, (32, 64), 3), [32, 64], id="size of images"),
    pytest.param(lambda n: scaling.by_capacity(n, 1, (0, 2)), [0, 2], id="capacity of the memory"),
    pytest.param(lambda n: scaling.by_length(n, 20, 3), range(2, 21, 2), id="length of a video"),
])  # fmt: skip
def test_there_is_a_row_for_each_size(network, grow, first):
    rows = grow(network)
    assert [next(iter(row.values())) for row in rows] == list(first)
    assert all(value >= 0 for row in rows for value in row.values())


def test_more_views_take_more_memory(network):
    few, many = scaling.by_capacity(network, 1, (1, 10))
    assert many["state_mb"] > few["state_mb"]


def test_there_is_a_row_for_each_number_of_detections():
    rows = scaling.by_detections(1, (5, 10, 40))
    assert [row["detections"] for row in rows] == [5, 10, 40]
    for name in ("appearance", "query"):
        ms = [row[f"{name}_ms"] for row in rows]
        assert min(ms) > 0
        assert rows[2][f"{name}_power"] == pytest.approx(np.log(ms[2] / ms[1]) / np.log(4))


def test_there_is_a_row_for_each_tenth_of_a_video_of_the_appearance_tracker():
    rows = scaling.appearance_by_length(60, 3)
    assert [row["frames"] for row in rows] == list(range(6, 61, 6))
    assert rows[-1]["identities"] > rows[0]["identities"] >= 3  # others came


@pytest.mark.parametrize("count", [0, 1, 300])
def test_a_crowd_is_tracked(count):
    """So what is timed is the usual case: each person keeps an identity while the walk lasts."""
    tracker = AppearanceTracker()
    for frame in range(6):
        found = tracker.update(scaling.crowd(count, frame))
    assert len(found) >= 0.9 * count
    assert max([0, *found.tracker_id]) <= 1.1 * count
