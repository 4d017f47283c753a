"""Where tracks are expected: nothing unless asked for, then constant velocity that fades."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from helpers.fakes import box
from tfsasm.tracking.association import predict_boxes, update_velocity
from tfsasm.tracking.config import MotionConfig

OFF = MotionConfig()
ON = MotionConfig(lead=1.0, gain=0.5, fade=0.5)
BOXES = torch.tensor([[0.2, 0.3, 0.1, 0.2], [0.6, 0.5, 0.1, 0.3]])
VELOCITY = torch.tensor([[0.02, -0.01], [0.0, 0.04]])
NEVER_MISSED = torch.zeros(2, dtype=torch.int64)


def test_by_default_a_track_is_expected_where_it_was_last_seen_and_nothing_is_learned():
    assert predict_boxes(BOXES, VELOCITY, NEVER_MISSED, OFF) is BOXES
    assert (
        update_velocity(VELOCITY, BOXES, BOXES + 0.1, NEVER_MISSED, torch.ones(2).bool(), OFF)
        is VELOCITY
    )


@pytest.mark.parametrize(("missed", "steps"), [(0, 1.0), (1, 1.5), (2, 1.75), (30, 2.0)])
def test_the_way_ahead_is_longer_after_a_gap_but_not_without_end(missed, steps):
    found = predict_boxes(BOXES, VELOCITY, torch.tensor([missed, 0]), ON)
    assert_close(found[0, :2], BOXES[0, :2] + steps * VELOCITY[0])
    assert_close(found[1, :2], BOXES[1, :2] + VELOCITY[1])
    assert torch.equal(found[:, 2:], BOXES[:, 2:])


def test_without_fading_the_way_grows_by_the_frame():
    found = predict_boxes(BOXES, VELOCITY, torch.tensor([4, 0]), MotionConfig(lead=1.0, fade=1.0))
    assert_close(found[0, :2], BOXES[0, :2] + 5 * VELOCITY[0])


def test_half_a_lead_goes_half_the_way():
    found = predict_boxes(BOXES, VELOCITY, NEVER_MISSED, MotionConfig(lead=0.5))
    assert_close(found[:, :2], BOXES[:, :2] + VELOCITY / 2)


def test_a_velocity_is_the_displacement_by_the_frames_it_took():
    last, now = torch.tensor([box(0.2), box(0.2)]), torch.tensor([box(0.3), box(0.5)])
    found = update_velocity(
        torch.zeros(2, 2), last, now, torch.tensor([0, 2]), torch.ones(2).bool(), ON
    )
    assert_close(found[:, 0], torch.tensor([0.05, 0.05]))  # half of 0.1 per frame


def test_who_is_not_seen_keeps_the_velocity():
    seen = torch.tensor([True, False])
    found = update_velocity(VELOCITY, BOXES, BOXES, NEVER_MISSED, seen, ON)
    assert_close(found, torch.stack([VELOCITY[0] / 2, VELOCITY[1]]))


def test_a_steady_walk_is_expected_exactly_in_the_end():
    velocity, here = torch.zeros(1, 2), torch.tensor([box(0.1)])
    step = torch.tensor([[0.01, 0.02, 0, 0]])
    for _ in range(40):
        velocity = update_velocity(
            velocity, here, here + step, torch.tensor([0]), torch.tensor([True]), ON
        )
        here = here + step
    assert_close(predict_boxes(here, velocity, torch.tensor([0]), ON), here + step)


def test_nobody_is_a_normal_case():
    none = torch.zeros(0, dtype=torch.int64)
    assert predict_boxes(torch.zeros(0, 4), torch.zeros(0, 2), none, ON).shape == (0, 4)
    found = update_velocity(
        torch.zeros(0, 2), torch.zeros(0, 4), torch.zeros(0, 4), none, none.bool(), ON
    )
    assert found.shape == (0, 2)
