"""Objects of several classes: a rider on a motorcycle, a car where a person was.

mikel-brostrom/boxmot#982: a track goes on as another class. Of two classes at one place one is
suppressed: zylo117/Yet-Another-EfficientDet-Pytorch#270. GeekAlexis/FastMOT#75 is the other side: a
detector that changes its mind about a class.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import supervision as sv
import torch

from helpers.fakes import SureNetwork
from tfsasm.boxes import suppress
from tfsasm.detection.live import Detected, LiveSettings, without_duplicates
from tfsasm.detection.proposals import Proposals
from tfsasm.tracking.appearance import AppearanceConfig, AppearanceTracker
from tfsasm.tracking.appearance.association import AppearanceWeightConfig
from tfsasm.tracking.appearance.motion import KalmanConfig
from tfsasm.tracking.config import NO_ID, default, released
from tfsasm.tracking.query import QueryTracker

PERSON, RIDER, CAR, MOTORCYCLE = 0, 1, 2, 6
SIZE = np.array([60.0, 90.0])
WIDTH, HEIGHT = 640, 480
IMAGE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)


def at(x, y=100.0, size=SIZE):
    return [x, y, x + size[0], y + size[1]]


def found(*rows, score=0.9, **data):
    """Detections of (class, box); a class of None for all is no class."""
    classes, boxes = zip(*rows, strict=True) if rows else ((), np.zeros((0, 4)))
    return sv.Detections(
        xyxy=np.array(boxes, float).reshape(-1, 4), confidence=np.full(len(rows), score),
        class_id=None if None in classes else np.array(classes, dtype=int),
        data={name: np.array(values) for name, values in data.items()},
    )


def appearance(class_agnostic=False):
    return AppearanceTracker(config=AppearanceConfig(class_agnostic=class_agnostic))


def query(class_agnostic=False, library=torch, method=default):
    """On a network that is sure of whatever it is asked."""
    config = replace(method(), class_agnostic=class_agnostic)
    return QueryTracker(SureNetwork(library), config)


BOTH = pytest.mark.parametrize("make", [
    pytest.param(appearance, id="appearance"),
    pytest.param(query, id="query"),
    pytest.param(partial(query, library=np), id="query, numpy"),
])


def identities(tracks):
    """Class -> id."""
    return dict(zip(tracks.class_id.tolist(), tracks.tracker_id.tolist(), strict=True))


def rider_and_motorcycle(number):
    """At an IoU of 0.8, the motorcycle a little less sure."""
    x = 20.0 + 5 * number
    both = found((RIDER, at(x)), (MOTORCYCLE, at(x + 60 / 9)))
    both.confidence = np.array([0.9, 0.85])
    return both


@BOTH
def test_a_rider_and_the_motorcycle_have_an_identity_each(make):
    tracker = make()
    for number in range(60):
        tracks = tracker.update(rider_and_motorcycle(number), IMAGE)
        assert identities(tracks) == {RIDER: 1, MOTORCYCLE: 2}


def test_the_drop_in_for_trackers_keeps_classes_apart_too():
    pytest.importorskip("trackers")
    from tfsasm.tracking.appearance.plugin import AppearanceSORT

    tracker, other = AppearanceSORT(), AppearanceSORT(config=AppearanceConfig(class_agnostic=True))
    for number in range(10):
        ids = [t.update(rider_and_motorcycle(number)).tracker_id for t in (tracker, other)]
    assert [row.tolist() for row in ids] == [[1, 2], [1, -1]]


@BOTH
def test_class_agnostic_is_the_way_to_one_identity_for_both(make):
    tracker = make(class_agnostic=True)
    tracks = [tracker.update(rider_and_motorcycle(number), IMAGE) for number in range(60)]
    assert all(len(frame) == 1 for frame in tracks)


@BOTH
@pytest.mark.parametrize("other", [PERSON, MOTORCYCLE, -1])
def test_one_that_comes_later_on_top_of_another_class_is_born(make, other):
    tracker = make()
    for _ in range(5):
        tracker.update(found((RIDER, at(50))), IMAGE)
    for _ in range(3):
        tracks = tracker.update(found((RIDER, at(50)), (other, at(50))), IMAGE)
    assert identities(tracks) == {RIDER: 1, other: 2}


@pytest.mark.parametrize("library", [np, torch])
def test_a_car_does_not_take_over_a_person_of_the_query_tracker(library):
    tracker = query(library=library)
    seen = [identities(tracker.update(found((PERSON, at(50))), IMAGE)) for _ in range(5)]
    seen += [identities(tracker.update(found((CAR, at(50))), IMAGE)) for _ in range(5)]
    assert seen == [{PERSON: 1}] * 5 + [{CAR: 2}] * 5
    both = tracker.update(found((PERSON, at(50)), (CAR, at(50))), IMAGE)
    assert identities(both) == {PERSON: 1, CAR: 2}


def test_the_second_association_of_the_query_tracker_is_within_a_class_too():
    tracker = query()
    tracker.update(found((PERSON, at(50))), IMAGE)
    far = at(80)  # an IoU of a third
    assert identities(tracker.update(found((CAR, far)), IMAGE)) == {CAR: 2}
    assert identities(tracker.update(found((PERSON, far)), IMAGE)) == {PERSON: 1}


def test_a_track_of_the_published_method_keeps_the_class_that_it_was_born_with():
    """The network alone decides there, and knows no classes."""
    tracker = query(method=released)
    tracker.update(found((PERSON, at(50))), IMAGE)
    tracks = tracker.update(found((CAR, at(50))), IMAGE)
    assert dict(zip(tracks.tracker_id.tolist(), tracks.class_id.tolist(), strict=True)) == {
        1: PERSON, 2: CAR
    }  # fmt: skip


def test_proposals_bring_classes_to_the_query_tracker():
    tracker = query()
    boxes = np.array([at(50), at(55)])
    given = Proposals.from_xyxy(
        boxes, np.array([0.9, 0.8]), WIDTH, HEIGHT, np.array([RIDER, MOTORCYCLE])
    )
    for _ in range(3):
        tracks = tracker.update(given, IMAGE)
    assert identities(tracks) == {RIDER: 1, MOTORCYCLE: 2}


def test_a_car_does_not_take_over_the_identity_of_a_person():
    tracker = AppearanceTracker()
    seen = [identities(tracker.update(found((PERSON, at(50))))) for _ in range(10)]
    seen += [identities(tracker.update(found((CAR, at(50))))) for _ in range(10)]
    assert seen == [{PERSON: 1}] * 10 + [{}] + [{CAR: 2}] * 9
    assert identities(tracker.update(found((PERSON, at(50)), (CAR, at(50))))) == {PERSON: 1, CAR: 2}


@BOTH
def test_class_agnostic_keeps_the_identity_of_a_truck_that_is_taken_for_a_car(make):
    tracker = make(class_agnostic=True)
    seen = []
    for number in range(20):
        given = found((CAR + number % 2, at(50 + number)))
        seen.append(identities(tracker.update(given, IMAGE)))
    assert seen == [{CAR: 1}, {CAR + 1: 1}] * 10


def test_a_detection_of_low_score_goes_to_its_own_class():
    tracker = AppearanceTracker()
    for _ in range(3):
        tracker.update(found((RIDER, at(50)), (MOTORCYCLE, at(55))))
    tracks = tracker.update(found((MOTORCYCLE, at(50)), score=0.3))
    assert identities(tracks) == {MOTORCYCLE: 2}


def test_one_who_looks_the_same_is_not_found_again_as_another_class():
    """Re-identification, away from where the track was last seen."""

    def lifetime(returned_as):
        tracker = AppearanceTracker()
        vectors = np.eye(4, dtype=np.float32)
        for number in range(40):
            tracker.update(found(
                (PERSON, at(200 + number)), (PERSON, at(20 + 2 * number, 300)),
                embedding=vectors[:2],
            ))  # fmt: skip
        for _ in range(20):
            tracker.update(found((PERSON, at(100, 300)), embedding=vectors[1:2]))
        for _ in range(3):
            tracks = tracker.update(found(
                (returned_as, at(420)), (PERSON, at(100, 300)), embedding=vectors[:2]
            ))  # fmt: skip
        return tracks.tracker_id.tolist()[0]

    assert lifetime(PERSON) == 2
    assert lifetime(CAR) == 3


def test_every_class_is_tracked_as_if_there_were_no_other():
    """Boxes that jump and cross; ids differ, their runs do not. How boxes are smoothed depends on
    how all move."""
    config = AppearanceConfig(kalman=KalmanConfig(smoothing=0))
    rng = np.random.default_rng(0)
    walks = rng.uniform(50, 400, (6, 1, 2)) + np.cumsum(rng.normal(0, 8, (6, 80, 2)), axis=1)
    classes = np.array([0, 0, 1, 1, 2, 2])
    together, *alone = (AppearanceTracker(config=config) for _ in range(4))
    pairs = set()
    for number in range(80):
        there = rng.random(6) < 0.8
        boxes = [(int(c), at(*walks[w, number])) for w, c in enumerate(classes) if there[w]]
        tracks = together.update(found(*boxes))
        for kind, tracker in enumerate(alone):
            own = tracker.update(found(*[row for row in boxes if row[0] == kind]))
            rows = tracks.class_id == kind
            assert np.array_equal(tracks.xyxy[rows], own.xyxy)
            pairs |= {
                (kind, a, b) for a, b in
                zip(tracks.tracker_id[rows].tolist(), own.tracker_id.tolist(), strict=True)
            }  # fmt: skip
    assert len(pairs) == len({a for _, a, _ in pairs}) == len({(kind, b) for kind, _, b in pairs})


@BOTH
@pytest.mark.parametrize("kind", [0, 7, -1, None])
def test_with_one_class_classes_change_nothing(make, kind):
    rng = np.random.default_rng(1)
    trackers = make(), make(class_agnostic=True)
    for _ in range(15):
        boxes = [at(*place) for place in rng.uniform(0, 200, (5, 2))]
        one, other = (
            t.update(found(*[(kind, box) for box in boxes]), IMAGE) for t in trackers
        )
        assert one.tracker_id.tolist() == other.tracker_id.tolist()


def test_the_order_of_two_classes_in_one_box_does_not_matter():
    ids = []
    for rows in ([RIDER, MOTORCYCLE], [MOTORCYCLE, RIDER]):
        tracker = AppearanceTracker()
        ids.append(identities(tracker.update(found(*[(kind, at(50)) for kind in rows]))))
    assert ids[0] == ids[1] == {RIDER: 1, MOTORCYCLE: 2}


@BOTH
def test_frames_without_classes_continue_tracks_of_any_class(make):
    """A second, cheaper detector in between."""
    tracker, both = make(), found((RIDER, at(50)), (CAR, at(300)))
    for _ in range(3):
        tracker.update(both, IMAGE)
    unknown = tracker.update(found((None, at(50)), (None, at(300))), IMAGE)
    assert sorted(unknown.tracker_id.tolist()) == [1, 2]
    assert identities(tracker.update(both, IMAGE)) == {RIDER: 1, CAR: 2}


@BOTH
def test_a_track_without_class_takes_the_first_one_that_it_is_given(make):
    tracker = make()
    tracker.update(found((None, at(50))), IMAGE)
    assert identities(tracker.update(found((CAR, at(50))), IMAGE)) == {CAR: 1}
    assert 1 not in tracker.update(found((PERSON, at(50))), IMAGE).tracker_id


def test_what_appearance_is_worth_is_learned_within_a_class():
    """That a car looks unlike a person says nothing about people."""
    tracker = AppearanceTracker()
    vectors = np.eye(4, dtype=np.float32)
    for number in range(60):
        rows = (PERSON, at(50 + number)), (CAR, at(300 - number, 300))
        tracker.update(found(*rows, embedding=vectors[:2]))
    assert tracker.state.reliability.other.count == 0


def test_embeddings_are_saved_only_where_the_class_agrees():
    image, asked = np.zeros((480, 640, 3), np.uint8), []

    def embed(image, boxes):
        asked.append(len(boxes))
        return np.ones((len(boxes), 3), np.float32)

    config = AppearanceConfig(appearance=AppearanceWeightConfig(refresh=100))
    tracker = AppearanceTracker(embed, config)
    for _ in range(6):
        tracker.update(found((PERSON, at(50))), image)
    assert asked[-1] == 0
    tracker.update(found((CAR, at(50))), image)
    assert asked[-1] == 1
    assert NO_ID in tracker.state.tracks.ids


# Non-maximum suppression of a detector


def test_suppression_is_within_a_class_where_classes_are_given():
    rng = np.random.default_rng(2)
    low = rng.uniform(0, 60, (300, 2))
    boxes, scores = np.hstack([low, low + rng.uniform(10, 40, (300, 2))]), rng.random(300)
    classes = rng.integers(0, 4, 300)
    wanted = set()
    for kind in range(4):
        rows = np.flatnonzero(classes == kind)
        wanted |= set(rows[suppress(boxes[rows], scores[rows], 0.5)].tolist())
    kept = suppress(boxes, scores, 0.5, classes)
    assert set(kept.tolist()) == wanted
    assert (np.diff(scores[kept]) <= 0).all()
    same = suppress(boxes, scores, 0.5, np.full(300, 7))
    assert same.tolist() == suppress(boxes, scores, 0.5).tolist()


def test_a_detector_keeps_the_motorcycle_under_its_rider():
    boxes = np.array([at(50), at(52), at(51)], np.float32)
    found = Detected(boxes, np.float32([0.9, 0.8, 0.7]), np.array([RIDER, MOTORCYCLE, RIDER]))
    within = without_duplicates(found, 0.7, LiveSettings(merge=False))
    assert within.classes.tolist() == [RIDER, MOTORCYCLE]
    across = without_duplicates(found, 0.7, LiveSettings(class_agnostic=True, merge=False))
    assert across.classes.tolist() == [RIDER]
