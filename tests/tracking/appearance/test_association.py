"""Costs and gates of pairs, their assignment, the reliability of appearance, and births."""

import numpy as np
import pytest
import supervision as sv

from helpers.people import walk
from tfsasm import AppearanceConfig, AppearanceTracker
from tfsasm.tracking.appearance.association import (
    AppearanceReliability,
    AppearanceWeightConfig,
    Candidates,
    MatchConfig,
    RunningStatistics,
    assign,
    associate,
    births,
    by_appearance,
    by_position_and_appearance,
    patience,
    unambiguous,
)
from tfsasm.tracking.appearance.gallery import GalleryConfig

PLACE = np.array([[0.0, 0, 10, 20]])


def candidates(tracks, detections, **known):
    """Tracks that are predicted where they were last detected; appearance is not known."""
    unknown = np.full((len(tracks), len(detections)), np.nan)
    columns = {
        "predicted": tracks, "last_box": tracks, "missed": np.zeros(len(tracks), dtype=int),
        "boxes": detections, "distances": unknown, "log_ratio": unknown, "reliability": 1.0,
        "persistence": 1.0, "size": None, "match": MatchConfig(),
        "appearance": AppearanceWeightConfig(veto=5.0),
    }  # fmt: skip
    return Candidates(**columns | known)


def test_pairs_are_assigned_that_are_allowed_and_not_as_bad_as_none():
    cost = np.array([[0.1, 0.2], [0.15, 0.9]])
    rows, columns = assign(cost, np.array([[True, True], [True, False]]))
    assert list(zip(rows, columns, strict=True)) == [(0, 1), (1, 0)]
    assert len(assign(cost, np.zeros((2, 2), bool))[0]) == 0


def test_no_good_pair_is_given_up_for_two_bad_ones():
    cost = np.array([[0.1, 0.8], [0.8, 1.2]])
    rows, columns = assign(cost, np.ones((2, 2), bool))
    assert list(zip(rows, columns, strict=True)) == [(0, 0)]


@pytest.mark.parametrize(("persistence", "missed", "match"), [
    pytest.param(0.2, 5, True, id="a dancer comes back to the last box"),
    pytest.param(1.0, 5, False, id="a pedestrian does not"),
    pytest.param(0.2, 0, False, id="a track of the last frame is where it was predicted"),
])
def test_a_lost_track_is_also_compared_with_its_last_box(persistence, missed, match):
    last, predicted = np.array([[0.0, 0, 40, 100]]), np.array([[200.0, 0, 240, 100]])
    pairs = candidates(
        last, last, predicted=predicted, missed=np.array([missed]), reliability=0.0,
        persistence=persistence,
    )  # fmt: skip
    cost, allowed = by_position_and_appearance(pairs)
    assert allowed.tolist() == [[match]]
    if match:
        assert cost == pytest.approx(1 - MatchConfig().last_box_weight)


@pytest.mark.parametrize(("missed", "distance", "log_ratio", "found"), [
    pytest.param(5, 0.2, -1.0, True, id="lost a moment ago, alike"),
    pytest.param(5, 0.4, -9.0, False, id="lost a moment ago, not alike"),
    pytest.param(30, 0.2, -1.0, True, id="lost for max_lost_frames, alike"),
    pytest.param(31, 0.2, -1.0, False, id="lost for longer, alike"),
    pytest.param(60, 0.2, -3.5, True, id="away for long, surely the same"),
    pytest.param(60, 0.2, -2.5, False, id="away for long, probably the same"),
    pytest.param(60, np.nan, np.nan, False, id="no embedding"),
])
def test_what_it_takes_to_re_identify_a_track(missed, distance, log_ratio, found):
    pairs = candidates(
        PLACE, PLACE + 10, missed=np.array([missed]), distances=np.array([[distance]]),
        log_ratio=np.array([[log_ratio]]),
    )
    assert by_appearance(pairs)[1].tolist() == [[found]]


@pytest.mark.parametrize(("embedded", "longest"), [(False, 30), (True, 100)])
def test_a_track_lives_as_long_as_it_may_be_found_again(embedded, longest):
    """Without embeddings position alone finds it; an unconfirmed one lives not at all."""
    confirmed = np.array([True, False])
    lives = patience(confirmed, embedded, MatchConfig(), AppearanceWeightConfig())
    assert lives.tolist() == [longest, 0]


def test_position_finds_a_track_for_max_lost_frames_alone():
    for missed, allowed in ((30, True), (31, False)):
        pairs = candidates(PLACE, PLACE, missed=np.array([missed]))
        assert by_position_and_appearance(pairs)[1].tolist() == [[allowed]]


@pytest.mark.parametrize(("log_ratio", "reliability", "vetoed"), [
    pytest.param(6.0, 1.0, True, id="surely the other person"),
    pytest.param(4.0, 1.0, False, id="appearance that changes as much by itself"),
    pytest.param(np.nan, 1.0, False, id="no embedding"),
    pytest.param(6.0, 0.0, False, id="appearance that is not reliable"),
])
def test_a_pair_that_looks_like_another_track_there_is_vetoed(log_ratio, reliability, vetoed):
    pairs = candidates(
        np.repeat(PLACE, 2, axis=0), PLACE, distances=np.array([[1.0], [0.5]]),
        log_ratio=np.array([[log_ratio], [0.0]]), reliability=reliability,
    )  # fmt: skip
    assert by_position_and_appearance(pairs)[1].tolist() == [[not vetoed], [True]]


def test_without_a_rival_nothing_is_vetoed():
    """The only other track is too far away to be one."""
    tracks = np.concatenate([PLACE, PLACE + 100])
    pairs = candidates(
        tracks, PLACE, distances=np.array([[1.5], [0.0]]), log_ratio=np.array([[99.0], [-99.0]])
    )
    assert by_position_and_appearance(pairs)[1].tolist() == [[True], [False]]


@pytest.mark.parametrize(("covered", "vetoed"), [(0.0, True), (0.5, False)])
def test_the_looks_of_a_covered_detection_count_less(covered, vetoed):
    """Of two detections side by side or in part over each other; both tracks are at the first."""
    width = PLACE[0, 2]
    boxes = np.concatenate([PLACE, PLACE + np.tile([width * (1 - covered), 0], 2)])
    pairs = candidates(
        np.repeat(PLACE, 2, axis=0), boxes, distances=np.full((2, 2), 0.5),
        log_ratio=np.array([[6.0, 0.0], [0.0, 0.0]]),
    )  # fmt: skip
    assert by_position_and_appearance(pairs)[1][0, 0] == (not vetoed)


@pytest.mark.parametrize(("log_ratio", "missed", "allowed"), [
    pytest.param(-4.0, 3, [False, True], id="much like the lost track"),
    pytest.param(-1.0, 3, [True, True], id="like the lost track, but not that much"),
    pytest.param(-4.0, 0, [False, True], id="much like a track of the last frame"),
])
def test_a_pair_that_looks_like_a_rival_is_vetoed(log_ratio, missed, allowed):
    """Two tracks in one place; for the first the detection has a logarithm of 3 against it."""
    pairs = candidates(
        np.repeat(PLACE, 2, axis=0), PLACE, missed=np.array([0, missed]),
        distances=np.array([[0.8], [0.1]]), log_ratio=np.array([[3.0], [log_ratio]]),
    )  # fmt: skip
    assert by_position_and_appearance(pairs)[1][:, 0].tolist() == allowed


def test_a_duplicate_of_a_matched_detection_or_of_a_better_one_starts_no_track():
    box = walk((100, 200), (0, 0), 1)[0]
    far = box + 300
    boxes = np.stack([box, far, far + 3, box + 3, box - 300])
    scores = np.array([0.95, 0.9, 0.85, 0.8, 0.65])
    born = births(boxes, scores, np.zeros(5), np.array([0, -1]), MatchConfig())
    assert born.tolist() == [1]
    assert births(boxes[:0], scores[:0], scores[:0], np.array([-1]), MatchConfig()).tolist() == []


@pytest.mark.parametrize(("tracks", "missed", "track"), [
    pytest.param([(100, 200)], [0], 0, id="alone"),
    pytest.param([(100, 200), (130, 200)], [0, 0], -1, id="two tracks touch it"),
    pytest.param([(400, 200)], [0], -1, id="no track touches it"),
    pytest.param([(100, 200), (160, 200)], [0, 2], -1, id="a lost track can have come there"),
    pytest.param([(100, 200), (600, 200)], [0, 2], 0, id="a lost track is too far away"),
])
def test_which_track_a_detection_unambiguously_belongs_to(tracks, missed, track):
    boxes = np.concatenate([walk(centre, (0, 0), 1) for centre in tracks])
    found = unambiguous(
        boxes, boxes, np.array(missed), walk((100, 200), (0, 0), 1), MatchConfig(),
        AppearanceWeightConfig(),
    )
    assert found.tolist() == [track]


def test_no_detection_is_given_to_two_tracks():
    """An identity and a track without one are in the same place."""
    pairs = candidates(np.repeat(PLACE, 2, axis=0), PLACE)
    for confirmed in ([True, False], [False, True], [True, True], [False, False]):
        found = associate(
            pairs, np.array(confirmed), np.array([0.9]), np.zeros(2), np.zeros(1)
        )
        assert sorted(found.tolist()) == [-1, 0]
        assert found[confirmed.index(True) if True in confirmed else 0] == 0


def test_each_detection_has_a_track_of_its_own():
    tracks = np.concatenate([walk(centre, (0, 0), 1) for centre in ((100, 200), (600, 200))])
    found = unambiguous(
        tracks, tracks, np.array([0, 0]), tracks[::-1], MatchConfig(), AppearanceWeightConfig()
    )
    assert found.tolist() == [1, 0]


def test_a_class_with_a_single_track_keeps_it():
    """A person and a bicycle in one place, and a second person elsewhere."""
    config = AppearanceConfig(gallery=GalleryConfig(kind="none"))
    tracker = AppearanceTracker(config=config)
    people = [walk(centre, (4, 0), 8) for centre in ((100, 200), (104, 200), (400, 200))]
    for frame in range(8):
        boxes = np.stack([boxes[frame] for boxes in people])
        tracks = tracker.update(sv.Detections(
            boxes, confidence=np.array([0.9, 0.85, 0.8]), class_id=np.array([0, 1, 0])
        ))  # fmt: skip
    assert sorted(zip(tracks.class_id.tolist(), tracks.xyxy[:, 0].round(), strict=True)) == sorted(
        zip([0, 1, 0], boxes[:, 0].round(), strict=True)
    )
    assert sorted(tracks.tracker_id.tolist()) == [1, 2, 3]


# Reliability of appearance


def test_running_statistics_are_mean_and_variance():
    values = np.random.default_rng(0).normal(3, 2, 100)
    statistics = RunningStatistics()
    for some in (values[:30], values[30:30], values[30:]):
        statistics = statistics.updated(some, 1000)
    assert (statistics.count, statistics.mean) == (100, pytest.approx(values.mean()))
    assert statistics.variance == pytest.approx(values.var())


@pytest.mark.parametrize(("same", "other", "count", "value"), [
    pytest.param(0.1, 0.5, 50, 1.0, id="far apart"),
    pytest.param(0.3, 0.3, 50, 0.0, id="look-alikes"),
    pytest.param(0.1, 0.5, 5, 0.0, id="too few distances"),
])
def test_appearance_is_as_reliable_as_its_distances_are_far_apart(same, other, count, value):
    noise = np.random.default_rng(0).normal(0, 0.05, (2, count))
    reliability = AppearanceReliability().updated(same + noise[0], other + noise[1], 1000)
    config = AppearanceWeightConfig(min_distances=30, separation_low=0.5, separation_high=2.0)
    assert reliability.value(config) == pytest.approx(value, abs=0.05)
    if value:
        np.testing.assert_allclose(reliability.scaled(np.array([same, other])), [0, 1], atol=0.05)


def test_bounds_of_separation_that_are_one_are_a_step():
    reliability = AppearanceReliability().updated(
        np.tile([0.1, 0.3], 20), np.tile([0.6, 0.8], 20), 1000
    )
    assert reliability.separation() == pytest.approx(5)
    for bound, value in ((4.0, 1.0), (6.0, 0.0)):
        config = AppearanceWeightConfig(separation_low=bound, separation_high=bound)
        assert reliability.value(config) == value


def test_the_log_ratio_is_that_of_two_normal_distributions():
    """One person at 0.2 +- 0.1, others at 0.7 +- 0.1: five standard deviations apart."""
    reliability = AppearanceReliability().updated(
        np.array([0.1, 0.3]), np.array([0.6, 0.8]), 1000
    )
    assert reliability.separation() == pytest.approx(5)
    distances = np.array([0.2, 0.45, 0.5, 0.7])
    expected = ((distances - 0.2) ** 2 - (distances - 0.7) ** 2) / (2 * 0.1**2)
    assert reliability.log_ratio(reliability.scaled(distances)) == pytest.approx(expected)
