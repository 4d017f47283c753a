"""The tracker behind the interface of the package `trackers`."""

import numpy as np
import pytest

from helpers.people import found, walk


def test_every_detection_comes_back_and_the_interface_is_kept():
    base = pytest.importorskip("trackers.core.base")
    from tfsasm.tracking.appearance.plugin import AppearanceSORT

    tracker = AppearanceSORT()
    assert isinstance(tracker, base.BaseTracker)
    assert base.BaseTracker._lookup_tracker("tfsasm").tracker_class is AppearanceSORT
    picture = np.zeros((480, 640, 3), np.uint8)
    for box in walk((100, 200), (2, 0), 4):
        told = tracker.update(found([box + 200, box, box + 300], score=0.9), picture)
    assert len(set(told.tracker_id.tolist())) == 3
    told = tracker.update(found([box, [500, 10, 520, 40]], n=np.array([7, 8])), picture)
    assert told.tracker_id.tolist() == [1, -1]
    assert told.data["n"].tolist() == [7, 8]
    alive = tracker.tracked_objects  # the two that were not seen this time, too
    assert sorted(alive.tracker_id.tolist()) == [1, 2, 3]
    assert tracker.update(found([]), picture).tracker_id.tolist() == []
    tracker.reset()
    assert tracker.update(found([box]), picture).tracker_id.tolist() == [1]
