"""Predicted reference boxes: none by default, then constant velocity that fades."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from helpers.fakes import box
from helpers.libraries import LIBRARIES, on_arrays_of
from tfsasm.tracking import association
from tfsasm.tracking.config import MotionConfig


def f32(values):
    return np.array(values, dtype=np.float32)


OFF = MotionConfig()
ON = MotionConfig(lead=1.0, gain=0.5, fade=0.5)
BOXES = f32([[0.2, 0.3, 0.1, 0.2], [0.6, 0.5, 0.1, 0.3]])
VELOCITY = f32([[0.02, -0.01], [0.0, 0.04]])
NEVER_MISSED = np.zeros(2, dtype=int)
SEEN = np.ones(2, dtype=bool)


@pytest.fixture(scope="module", params=LIBRARIES.values(), ids=LIBRARIES)
def motion(request):
    """`predict_boxes` and `update_velocity` on arrays of either library."""
    return on_arrays_of(request.param, association, "predict_boxes", "update_velocity")


def assert_near(one, other):
    assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_by_default_a_track_is_expected_where_it_was_last_seen_and_nothing_is_learned(motion):
    assert np.array_equal(motion.predict_boxes(BOXES, VELOCITY, NEVER_MISSED, OFF), BOXES)
    velocity = motion.update_velocity(VELOCITY, BOXES, BOXES + f32(0.1), NEVER_MISSED, SEEN, OFF)
    assert np.array_equal(velocity, VELOCITY)


@pytest.mark.parametrize(("missed", "steps"), [(0, 1.0), (1, 1.5), (2, 1.75), (30, 2.0)])
def test_the_displacement_is_longer_after_a_gap_but_not_without_end(motion, missed, steps):
    found = motion.predict_boxes(BOXES, VELOCITY, np.array([missed, 0]), ON)
    assert_near(found[0, :2], BOXES[0, :2] + steps * VELOCITY[0])
    assert_near(found[1, :2], BOXES[1, :2] + VELOCITY[1])
    assert np.array_equal(found[:, 2:], BOXES[:, 2:])


def test_without_fading_the_displacement_grows_by_the_frame(motion):
    found = motion.predict_boxes(
        BOXES, VELOCITY, np.array([4, 0]), MotionConfig(lead=1.0, fade=1.0)
    )
    assert_near(found[0, :2], BOXES[0, :2] + 5 * VELOCITY[0])


def test_half_a_lead_is_half_the_displacement(motion):
    found = motion.predict_boxes(BOXES, VELOCITY, NEVER_MISSED, MotionConfig(lead=0.5))
    assert_near(found[:, :2], BOXES[:, :2] + VELOCITY / 2)


def test_a_velocity_is_the_displacement_by_the_frames_it_took(motion):
    last, now = f32([box(0.2), box(0.2)]), f32([box(0.3), box(0.5)])
    found = motion.update_velocity(
        f32(np.zeros((2, 2))), last, now, np.array([0, 2]), SEEN, ON
    )
    assert_near(found[:, 0], f32([0.05, 0.05]))  # half of 0.1 per frame


def test_a_track_that_is_not_seen_keeps_the_velocity(motion):
    seen = np.array([True, False])
    found = motion.update_velocity(VELOCITY, BOXES, BOXES, NEVER_MISSED, seen, ON)
    assert_near(found, np.stack([VELOCITY[0] / 2, VELOCITY[1]]))


def test_a_steady_walk_is_predicted_exactly_in_the_end(motion):
    velocity, here = f32([[0, 0]]), f32([box(0.1)])
    step = f32([[0.01, 0.02, 0, 0]])
    for _ in range(40):
        velocity = motion.update_velocity(
            velocity, here, here + step, np.array([0]), np.array([True]), ON
        )
        here = here + step
    assert_near(motion.predict_boxes(here, velocity, np.array([0]), ON), here + step)


def test_no_track_is_a_normal_case(motion):
    boxes, velocity, none = f32(np.zeros((0, 4))), f32(np.zeros((0, 2))), np.zeros(0, dtype=int)
    assert motion.predict_boxes(boxes, velocity, none, ON).shape == (0, 4)
    seen = none.astype(bool)
    assert motion.update_velocity(velocity, boxes, boxes, none, seen, ON).shape == (0, 2)
