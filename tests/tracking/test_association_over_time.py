"""Tracks from frame to frame: births, losses and deaths by score, and boxes that are predicted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from helpers.fakes import box
from helpers.libraries import LIBRARIES, on_arrays_of
from tfsasm.tracking import association
from tfsasm.tracking.config import NO_ID, LifecycleConfig, MotionConfig


@pytest.fixture(scope="module", params=LIBRARIES.values(), ids=LIBRARIES)
def motion(request):
    """The functions of the module on arrays of either library."""
    names = ("update_status", "predict_boxes", "update_velocity")
    return on_arrays_of(request.param, association, *names)


@pytest.fixture(scope="module")
def update_status(motion):
    return motion.update_status


def f32(values):
    return np.array(values, dtype=np.float32)


# Births, losses and deaths, on scores alone

LIFECYCLE = LifecycleConfig(miss_tolerance=3)


def judge(update_status, ids, missed, scores, next_id=7, config=LIFECYCLE, **settings):
    return update_status(
        np.array(ids, dtype=int), np.array(missed, dtype=int), np.array(scores, dtype=np.float32),
        next_id, config, **settings,
    )  # fmt: skip


JUST_BELOW = float(np.nextafter(np.float32(0.5), np.float32(0)))


@pytest.mark.parametrize(("score", "is_born"), [
    pytest.param(0.9, True, id="high"),
    pytest.param(0.5, True, id="exactly the birth score is enough (QUIRK-10)"),
    pytest.param(JUST_BELOW, False, id="just below it"),
    pytest.param(0.0, False, id="zero"),
])
def test_a_birth_is_decided_by_the_score(update_status, score, is_born):
    status = judge(update_status, [NO_ID], [0], [score])
    assert status.born.tolist() == [is_born]
    assert status.ids.tolist() == ([7] if is_born else [NO_ID])
    assert status.next_id == 7 + is_born


@pytest.mark.parametrize(("score", "missed_before", "missed", "lives"), [
    pytest.param(0.9, 2, 0, True, id="seen again: the count starts over"),
    pytest.param(0.5, 2, 0, True, id="exactly the miss score is not absent (QUIRK-10)"),
    pytest.param(JUST_BELOW, 0, 1, True, id="just below is absent"),
    pytest.param(0.1, 1, 2, True, id="absent, within the tolerance"),
    pytest.param(0.1, 2, 3, False, id="dies in the last tolerated frame itself"),
    pytest.param(0.1, 9, 10, False, id="dies beyond it"),
])
def test_absence_and_death_are_counted(update_status, score, missed_before, missed, lives):
    status = judge(update_status, [4], [missed_before], [score])
    assert status.missed.tolist() == [missed]
    assert status.ids.tolist() == ([4] if lives else [NO_ID])
    assert status.born.tolist() == [False]
    assert status.next_id == 7


@pytest.mark.parametrize(("score", "missed"), [
    pytest.param(0.80, 0, id="above both: seen"),
    pytest.param(0.55, 2, id="between them: the count stands still"),
    pytest.param(0.30, 3, id="below both: absent"),
])
def test_the_two_scores_may_differ(update_status, score, missed):
    config = LifecycleConfig(birth_score=0.6, miss_score=0.5, miss_tolerance=9)
    assert judge(update_status, [4], [2], [score], config=config).missed.tolist() == [missed]
    assert judge(update_status, [NO_ID], [0], [score], config=config).born.tolist() == [
        score >= 0.6
    ]


@pytest.mark.parametrize(("config", "scores", "ids"), [
    pytest.param(LifecycleConfig(), [0.5, 0.4], [7, NO_ID], id="published"),
    pytest.param(LifecycleConfig(birth_score=0.3), [0.5, 0.4], [7, 8], id="birth_score lower"),
    pytest.param(LifecycleConfig(birth_score=0.7), [0.5, 0.4], [NO_ID, NO_ID], id="and higher"),
])
def test_birth_score_decides_births(update_status, config, scores, ids):
    assert judge(update_status, [NO_ID, NO_ID], [0, 0], scores, config=config).ids.tolist() == ids


@pytest.mark.parametrize(("tolerance", "frames"), [(1, 1), (2, 2), (20, 20)])
def test_a_track_dies_in_its_last_tolerated_frame(update_status, tolerance, frames):
    config = LifecycleConfig(miss_tolerance=tolerance)
    ids, missed, lived = np.array([4]), np.array([0]), 0
    while ids[0] != NO_ID:
        status = update_status(ids, missed, np.array([0.1], dtype=np.float32), 7, config)
        ids, missed, lived = status.ids, status.missed, lived + 1
    assert lived == frames


def test_new_numbers_follow_the_order_of_the_queries(update_status):
    ids, missed = [NO_ID, 3, NO_ID, NO_ID, 1], [0] * 5
    status = judge(update_status, ids, missed, [0.9, 0.9, 0.2, 0.6, 0.9], next_id=4)
    assert status.ids.tolist() == [4, 3, NO_ID, 5, 1]
    assert status.born.tolist() == [True, False, False, True, False]
    assert status.next_id == 6


def test_births_and_deaths_are_decided_at_once(update_status):
    """What dies in a frame isn't reborn in it, what is born is not absent in it."""
    config = LifecycleConfig(birth_score=0.5, miss_score=0.8, miss_tolerance=1)
    status = judge(update_status, [4, NO_ID], [0, 0], [0.6, 0.6], config=config)
    assert status.ids.tolist() == [NO_ID, 7]
    assert status.missed.tolist() == [1, 0]


def test_a_query_can_be_barred_from_birth(update_status):
    allowed = np.array([True, False, False])
    status = judge(
        update_status, [NO_ID, NO_ID, 2], [0, 0, 1], [0.9, 0.9, 0.9], may_be_born=allowed
    )
    assert status.ids.tolist() == [7, NO_ID, 2]
    assert status.missed.tolist() == [0, 0, 0]
    assert status.next_id == 8


def test_a_frame_without_queries(update_status):
    status = judge(update_status, [], [], [])
    assert status.ids.shape == status.missed.shape == status.born.shape == (0,)
    assert status.next_id == 7


queries = st.lists(
    st.tuples(st.booleans(), st.integers(0, 3), st.sampled_from([0.0, JUST_BELOW, 0.5, 0.9])),
    max_size=8,
)


@settings(deadline=None)
@given(queries)
def test_an_identity_is_given_once(update_status, rows):
    ids = np.array([k if old else NO_ID for k, (old, _, _) in enumerate(rows)], dtype=int)
    missed = np.array([m for _, m, _ in rows], dtype=int)
    scores = np.array([s for _, _, s in rows], dtype=np.float32)
    status = update_status(ids, missed, scores, len(rows), LIFECYCLE)

    live = status.ids[status.ids != NO_ID].tolist()
    assert len(set(live)) == len(live)
    kept = (ids != NO_ID) & (status.ids != NO_ID)
    assert np.array_equal(status.ids[kept], ids[kept])
    assert status.ids[status.born].tolist() == list(range(len(rows), status.next_id))
    assert not (status.born & (ids != NO_ID)).any()


# Predicted reference boxes: none by default, then constant velocity that fades

STILL = MotionConfig()
AHEAD = MotionConfig(lead=1.0, gain=0.5, fade=0.5)
BOXES = f32([[0.2, 0.3, 0.1, 0.2], [0.6, 0.5, 0.1, 0.3]])
VELOCITY = f32([[0.02, -0.01], [0.0, 0.04]])
NEVER_MISSED = np.zeros(2, dtype=int)
SEEN = np.ones(2, dtype=bool)


def assert_near(one, other):
    assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_by_default_a_track_is_expected_where_it_was_last_seen_and_nothing_is_learned(motion):
    assert np.array_equal(motion.predict_boxes(BOXES, VELOCITY, NEVER_MISSED, STILL), BOXES)
    velocity = motion.update_velocity(VELOCITY, BOXES, BOXES + f32(0.1), NEVER_MISSED, SEEN, STILL)
    assert np.array_equal(velocity, VELOCITY)


@pytest.mark.parametrize(("missed", "steps"), [(0, 1.0), (1, 1.5), (2, 1.75), (30, 2.0)])
def test_the_displacement_is_longer_after_a_gap_but_not_without_end(motion, missed, steps):
    found = motion.predict_boxes(BOXES, VELOCITY, np.array([missed, 0]), AHEAD)
    assert_near(found[0, :2], BOXES[0, :2] + steps * VELOCITY[0])
    assert_near(found[1, :2], BOXES[1, :2] + VELOCITY[1])
    assert np.array_equal(found[:, 2:], BOXES[:, 2:])
    assert found.dtype == np.float32


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
        f32(np.zeros((2, 2))), last, now, np.array([0, 2]), SEEN, AHEAD
    )
    assert_near(found[:, 0], f32([0.05, 0.05]))  # half of 0.1 per frame
    assert found.dtype == np.float32


def test_a_track_that_is_not_seen_keeps_the_velocity(motion):
    seen = np.array([True, False])
    found = motion.update_velocity(VELOCITY, BOXES, BOXES, NEVER_MISSED, seen, AHEAD)
    assert_near(found, np.stack([VELOCITY[0] / 2, VELOCITY[1]]))


def test_a_steady_walk_is_predicted_exactly_in_the_end(motion):
    velocity, here = f32([[0, 0]]), f32([box(0.1)])
    step = f32([[0.01, 0.02, 0, 0]])
    for _ in range(40):
        velocity = motion.update_velocity(
            velocity, here, here + step, np.array([0]), np.array([True]), AHEAD
        )
        here = here + step
    assert_near(motion.predict_boxes(here, velocity, np.array([0]), AHEAD), here + step)


def test_no_track_is_a_normal_case(motion):
    boxes, velocity, none = f32(np.zeros((0, 4))), f32(np.zeros((0, 2))), np.zeros(0, dtype=int)
    assert motion.predict_boxes(boxes, velocity, none, AHEAD).shape == (0, 4)
    seen = none.astype(bool)
    assert motion.update_velocity(velocity, boxes, boxes, none, seen, AHEAD).shape == (0, 2)
