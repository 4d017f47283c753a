import numpy as np
import pytest

from helpers.walks import flawed, walk
from tfsasm.evaluation.errors import SHOWN_FOR, tracking_errors
from tfsasm.evaluation.metrics import score_sequence
from tfsasm.evaluation.trajectories import Trajectories

A, B, AWAY = [0, 0, 10, 20], [100, 0, 10, 20], [300, 0, 10, 20]


@pytest.mark.parametrize("seed", range(6))
def test_there_are_as_many_errors_as_trackeval_counts(seed):
    truth = walk(60, 12, seed)
    tracks = flawed(truth, seed)
    found, scores = tracking_errors(truth, tracks), score_sequence(truth, tracks)
    counts = found.missed.sum(), found.false_positive.sum(), found.switched.sum()
    assert counts == (scores.FN, scores.FP, scores.IDSW)
    assert scores.IDSW > 0, "the case is worth comparing"


def test_misses_false_positives_and_identity_switches_are_found():
    truth = Trajectories.of([1, 1, 2, 2, 3, 4], [1, 2, 1, 2, 1, 1], [A, B, A, B, A, A])
    tracks = Trajectories.of([1, 2, 2, 4], [7, 8, 9, 8], [A, A, AWAY, A])
    found = tracking_errors(truth, tracks)
    assert np.flatnonzero(found.missed).tolist() == [1, 3, 4]
    assert np.flatnonzero(found.false_positive).tolist() == [2]
    assert np.flatnonzero(found.switched).tolist() == [1]
    assert found.before.tolist() == [-1, 7, -1, -1]


def test_a_switch_is_found_over_an_absence():
    truth = Trajectories.of([1, 5], [1, 1], [A, A])
    found = tracking_errors(truth, Trajectories.of([1, 5], [7, 8], [A, A]))
    assert found.switched.tolist() == [False, True]
    assert found.before.tolist() == [-1, 7]


def test_a_track_keeps_its_person_while_it_covers_them():
    """Track 8 covers better, but track 7 was there first and still covers half."""
    near = [3, 0, 10, 20]
    truth = Trajectories.of([1, 2], [1, 1], [A, A])
    tracks = Trajectories.of([1, 2, 2], [7, 8, 7], [A, A, near])
    found = tracking_errors(truth, tracks)
    assert found.false_positive.tolist() == [False, True, False]
    assert not found.switched.any()


def test_only_the_frame_before_counts_for_keeping():
    """In between no track covered the person, so the better box gets them."""
    near = [3, 0, 10, 20]
    truth = Trajectories.of([1, 2, 3], [1, 1, 1], [A, A, A])
    tracks = Trajectories.of([1, 2, 3, 3], [7, 7, 8, 7], [A, AWAY, A, near])
    found, scores = tracking_errors(truth, tracks), score_sequence(truth, tracks)
    assert found.switched.tolist() == [False, False, True, False]
    assert scores.IDSW == 1


@pytest.mark.parametrize(("truth", "tracks"), [
    pytest.param(Trajectories.empty(), Trajectories.empty(), id="nothing"),
    pytest.param(walk(10, 2, 1), Trajectories.empty(), id="no tracks"),
    pytest.param(Trajectories.empty(), walk(10, 2, 1), id="no people"),
])
def test_an_empty_side_is_a_normal_case(truth, tracks):
    found = tracking_errors(truth, tracks)
    assert found.missed.all()
    assert found.false_positive.all()
    assert not found.switched.any()


def test_errors_add_up_frame_by_frame():
    truth = Trajectories.of([1, 2, 3], [1, 1, 1], [A, A, A])
    tracks = Trajectories.of([1, 2, 2], [4, 5, 6], [A, A, B])
    found = tracking_errors(truth, tracks)
    first, second, third = (found.of_frame(number) for number in (1, 2, 3))
    assert len(first.tracks) == len(first.misses) == 0
    assert [(ltwh.tolist(), before) for ltwh, before in second.tracks] == [(A, 4), (B, None)]
    assert third.misses.tolist() == [A]
    assert (third.all_false_positives, third.all_switches, third.all_misses) == (1, 1, 1)


def test_a_switch_stays_recent_for_some_frames():
    numbers = [1, *range(2, 2 + SHOWN_FOR + 3)]
    truth = Trajectories.of(numbers, [1] * len(numbers), [A] * len(numbers))
    tracks = Trajectories.of(numbers, [4] + [5] * (len(numbers) - 1), [A] * len(numbers))
    found = tracking_errors(truth, tracks)
    shown = [number for number in numbers if found.of_frame(number).tracks]
    assert shown == list(range(2, 2 + SHOWN_FOR))


def test_errors_before_the_first_frame_shown_do_not_count():
    truth = Trajectories.of([1, 2, 3], [1, 1, 1], [A, A, A])
    tracks = Trajectories.of([1, 2, 3, 1], [4, 5, 5, 9], [A, A, A, B])
    found = tracking_errors(truth, tracks).of_frame(3, first=3)
    assert (found.all_false_positives, found.all_switches, found.tracks) == (0, 0, ())
