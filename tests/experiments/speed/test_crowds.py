"""The trackers' own work over crowds and long videos, a row for each size."""

import numpy as np
import pytest

from tfsasm.experiments.speed.crowds import by_detections, by_length, crowd
from tfsasm.tracking.appearance.tracker import AppearanceTracker


def test_there_is_a_row_for_each_number_of_detections():
    rows = by_detections(1, (5, 10, 40))
    assert [row["detections"] for row in rows] == [5, 10, 40]
    for name in ("appearance", "query"):
        ms = [row[f"{name}_ms"] for row in rows]
        assert min(ms) > 0
        assert rows[2][f"{name}_power"] == pytest.approx(np.log(ms[2] / ms[1]) / np.log(4))


def test_there_is_a_row_for_each_tenth_of_a_video():
    rows = by_length(120, 3)
    assert [row["frames"] for row in rows] == list(range(12, 121, 12))
    assert rows[-1]["identities"] > rows[0]["identities"] >= 3  # others came


@pytest.mark.parametrize("count", [0, 1, 300])
def test_a_crowd_is_tracked(count):
    """So what is timed is the usual case: each person keeps an identity while the walk lasts."""
    tracker = AppearanceTracker()
    for frame in range(6):
        found = tracker.update(crowd(count, frame))
    assert len(found) >= 0.9 * count
    assert max([0, *found.tracker_id]) <= 1.1 * count
