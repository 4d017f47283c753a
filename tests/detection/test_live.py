"""What live detectors have in common: which boxes are kept, and where."""

import numpy as np
import pytest

from tfsasm.detection.live import Detected, LiveSettings, without_duplicates

SURE = [10.0, 10, 30, 50]
MOVED = [12.0, 10, 32, 50]  # IoU 0.82 with it
ELSEWHERE = [60.0, 10, 80, 50]


def found(*boxes, scores, classes=None):
    return Detected(
        np.array(boxes, np.float32), np.array(scores, np.float32),
        np.array(classes or [0] * len(boxes)),
    )  # fmt: skip


def test_a_box_becomes_the_mean_of_what_is_dropped_for_it():
    kept = without_duplicates(
        found(MOVED, SURE, ELSEWHERE, scores=[0.3, 0.9, 0.5]), 0.7, LiveSettings()
    )
    np.testing.assert_allclose(kept.scores, [0.9, 0.5])
    np.testing.assert_allclose(kept.xyxy, [[10.5, 10, 30.5, 50], ELSEWHERE], rtol=1e-6)


def test_boxes_of_the_detector_itself_can_be_asked_for():
    kept = without_duplicates(
        found(SURE, MOVED, scores=[0.9, 0.3]), 0.7, LiveSettings(merge=False)
    )
    np.testing.assert_array_equal(kept.xyxy, [SURE])


@pytest.mark.parametrize(("agnostic", "left"), [(False, 10.0), (True, 10.5)])
def test_boxes_of_other_classes_have_no_part_in_it_unless_classes_do_not_count(agnostic, left):
    kept = without_duplicates(
        found(SURE, MOVED, ELSEWHERE, ELSEWHERE, scores=[0.9, 0.3, 0.2, 0.1], classes=[0, 1, 0, 0]),
        0.7, LiveSettings(class_agnostic=agnostic),
    )  # fmt: skip
    np.testing.assert_allclose(kept.xyxy[0], [left, 10, left + 20, 50], rtol=1e-6)


def test_boxes_without_area_stay_where_they_are():
    flat = [5.0, 5, 5, 5]
    kept = without_duplicates(found(SURE, MOVED, flat, scores=[0.9, 0.3, 0.2]), 0.7, LiveSettings())
    np.testing.assert_array_equal(kept.xyxy[1], flat)
