"""Boxes as detectors, other packages and hand-written files have them, given to every tracker."""

from __future__ import annotations

import numpy as np
import pytest
import supervision as sv

from helpers.fakes import SureNetwork
from tfsasm.detection.det_db import write_det_db
from tfsasm.detection.proposals import Proposals
from tfsasm.detection.stored import open_detections
from tfsasm.errors import InputError
from tfsasm.tracking.appearance import AppearanceTracker
from tfsasm.tracking.baselines import ClassicTracker
from tfsasm.tracking.config import default
from tfsasm.tracking.query import QueryTracker

WIDTH, HEIGHT = 640, 480
IMAGE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
NORMALISED = np.array([[0.1, 0.2, 0.2, 0.5], [0.6, 0.3, 0.7, 0.8]])
PIXELS = NORMALISED * [WIDTH, HEIGHT, WIDTH, HEIGHT]


def query_tracker():
    return QueryTracker(SureNetwork(), default())


def classic_tracker():
    pytest.importorskip("trackers")
    return ClassicTracker("bytetrack")


TRACKERS = pytest.mark.parametrize("make", [
    pytest.param(query_tracker, id="query"),
    pytest.param(AppearanceTracker, id="appearance"),
    pytest.param(classic_tracker, id="classic"),
])


def found(xyxy, **more):
    return sv.Detections(xyxy=np.asarray(xyxy), confidence=np.full(len(xyxy), 0.9), **more)


# Normalised boxes, of YOLO's `xyxyn` or a Hugging Face model without its target sizes:
# adipandas/multi-object-tracker#31, FoundationVision/ByteTrack#69


@TRACKERS
def test_boxes_from_0_to_1_are_said_to_look_normalised(make):
    with pytest.raises(InputError, match=r"look normalised.*in pixels.*width of the image"):
        make().update(found(NORMALISED), IMAGE)


@TRACKERS
def test_normalised_boxes_may_leave_the_image_a_little(make):
    leaving = NORMALISED + np.array([[-0.12, 0.0, 0.0, 0.0], [0.35, 0.0, 0.35, 0.25]])
    with pytest.raises(InputError, match="look normalised"):
        make().update(found(leaving), IMAGE)


@TRACKERS
def test_the_first_boxes_of_a_video_tell_when_they_come_late(make):
    tracker = make()
    tracker.update(None, IMAGE)
    with pytest.raises(InputError, match="look normalised"):
        tracker.update(found(NORMALISED), IMAGE)


@TRACKERS
def test_a_tracker_that_refused_normalised_boxes_takes_pixels_then(make):
    tracker = make()
    with pytest.raises(InputError, match="look normalised"):
        tracker.update(found(NORMALISED), IMAGE)
    for _ in range(5):
        tracks = tracker.update(found(PIXELS), IMAGE)
    assert len(tracks) == 2


@TRACKERS
def test_a_sliver_in_the_corner_of_a_video_in_pixels_is_a_box(make):
    """What is left of someone who leaves, alone in a frame."""
    tracker = make()
    tracker.update(found(PIXELS), IMAGE)
    tracker.update(found([[0.0, 0.0, 0.7, 0.9]]), IMAGE)
    tracker.reset()
    with pytest.raises(InputError, match="look normalised"):
        tracker.update(found(NORMALISED), IMAGE)


@TRACKERS
def test_a_detector_of_ones_own_that_takes_shares_for_pixels_is_told_so(make):
    taken_twice = Proposals.from_xyxy(NORMALISED, np.array([0.9, 0.9]), WIDTH, HEIGHT)
    with pytest.raises(InputError, match="look normalised"):
        make().update(taken_twice, IMAGE)


def test_a_det_txt_of_normalised_boxes_is_named(tmp_path):
    path = tmp_path / "det.txt"
    path.write_text("1,-1,0.1,0.2,0.1,0.3,0.9\n2,-1,0.6,0.3,0.1,0.5,0.9\n")
    with pytest.raises(InputError, match=r"all 2 boxes in .*det\.txt .*0\.1,0\.2,0\.1,0\.3.*pixel"):
        open_detections(path)


def test_a_det_db_of_normalised_boxes_is_named(tmp_path):
    path = tmp_path / "det_db.json"
    write_det_db(path, [("a/img1/00000001.txt", ["0.1,0.2,0.1,0.3,0.9\n"])])
    with pytest.raises(InputError, match=r"all 1 boxes in .*det_db\.json .*look normalised"):
        open_detections(path)


# Small boxes: a floor of a pixel made them too large to overlap themselves


@pytest.mark.parametrize("size", [0.01, 0.3, 0.9, 2.0])
def test_boxes_smaller_than_a_pixel_keep_their_identity(size):
    """Far away, or in a unit that is not pixels: metres of a floor plan."""
    tracker = AppearanceTracker()
    ids = []
    for number in range(30):
        left = 10 + 0.05 * size * number
        boxes = [[left, 5, left + size, 5 + 2 * size], [20, 5, 20 + size, 5 + 2 * size]]
        ids.append(tracker.update(found(boxes)).tracker_id.tolist())
    assert ids == [[1, 2]] * 30


def test_a_box_that_shrinks_below_a_pixel_is_followed():
    tracker = AppearanceTracker()
    sizes = 8 * 0.9 ** np.arange(50)  # down to a twentieth of a pixel
    ids = [tracker.update(found([[50, 50, 50 + s, 50 + 2 * s]])).tracker_id.tolist() for s in sizes]
    assert ids == [[1]] * 50


def test_the_query_tracker_says_that_it_leaves_small_boxes_out(caplog):
    tracker = query_tracker()
    for _ in range(3):
        tracks = tracker.update(found([[10, 10, 18, 20], [100, 100, 140, 200]]), IMAGE)
    assert (len(tracks), tracker.too_small) == (1, 3)
    assert [record.getMessage() for record in caplog.records] == [
        "tracks of 100 square pixels or less are not reported (report_area)"
    ]
    tracker.reset()
    assert tracker.too_small == 0
