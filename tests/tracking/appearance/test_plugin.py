"""The tracker behind the interface of the package `trackers`."""

import numpy as np
import pytest

from helpers.people import detections, walk


def test_all_detections_come_back_and_the_interface_is_kept():
    base = pytest.importorskip("trackers.core.base")
    from tfsasm.tracking.appearance.plugin import AppearanceSORT

    tracker = AppearanceSORT()
    assert isinstance(tracker, base.BaseTracker)
    assert base.BaseTracker._lookup_tracker("tfsasm").tracker_class is AppearanceSORT
    image = np.zeros((480, 640, 3), np.uint8)
    for box in walk((100, 200), (2, 0), 4):
        tracks = tracker.update(detections([box + 200, box, box + 300]), image)
    assert len(set(tracks.tracker_id.tolist())) == 3
    boxes = [box, [500, 10, 520, 40]]
    tracks = tracker.update(detections(boxes, n=np.array([7, 8])), image)
    assert tracks.tracker_id.tolist() == [1, -1]
    assert tracks.data["n"].tolist() == [7, 8]
    live = tracker.tracked_objects  # the two without a detection in this frame, too
    assert sorted(live.tracker_id.tolist()) == [1, 2, 3]
    assert tracker.update(detections([]), image).tracker_id.tolist() == []
    tracker.reset()
    assert tracker.update(detections([box]), image).tracker_id.tolist() == [1]
