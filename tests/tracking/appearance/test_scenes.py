"""The appearance tracker on scripted scenes, as its users hold it."""

from dataclasses import replace

import numpy as np
import pytest
import supervision as sv
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.people import HEIGHT, WIDTH, found, identities, vector, walk
from tfsasm import AppearanceConfig, AppearanceTracker, InputError
from tfsasm.tracking.appearance.association import MatchConfig
from tfsasm.tracking.appearance.gallery import GalleryConfig
from tfsasm.tracking.appearance.motion import PersistenceConfig

BLANK = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
BLIND = AppearanceConfig(gallery=GalleryConfig(kind="none"))


def scene(*people, without=()):
    """(person, box) lists per frame; `without` are (person, first, last) frames out of sight."""
    frames = len(people[0])
    return [
        [
            (person, boxes[frame]) for person, boxes in enumerate(people)
            if not any(p == person and low <= frame <= high for p, low, high in without)
        ]
        for frame in range(frames)
    ]  # fmt: skip


KINDS = [
    pytest.param(GalleryConfig(), id="sparse, mean"),
    pytest.param(GalleryConfig(read="half"), id="sparse, half"),
    pytest.param(GalleryConfig(read="nearest"), id="sparse, nearest"),
    pytest.param(GalleryConfig(kind="ema"), id="moving average"),
    pytest.param(GalleryConfig(kind="last"), id="last views"),
]


def test_two_who_walk_past_each_other_keep_their_names():
    told = identities(AppearanceTracker(config=BLIND), scene(
        walk((100, 200), (6, 0), 60), walk((460, 215), (-6, 0), 60)
    ))  # fmt: skip
    assert told[0] == told[-1] == {0: 1, 1: 2}


@pytest.mark.parametrize("gallery", KINDS)
def test_two_who_turn_back_behind_one_another_are_told_apart_by_looks(gallery):
    """They meet, hide for 8 frames, and go back where they came from: motion would swap them."""
    a, b = walk((100, 200), (5, 0), 30), walk((390, 200), (-5, 0), 30)
    people = np.concatenate([a, a[::-1]]), np.concatenate([b, b[::-1]])
    shown = scene(*people, without=[(0, 26, 33), (1, 26, 33)])
    told = identities(AppearanceTracker(config=AppearanceConfig(gallery=gallery)), shown)
    assert told[-1] == told[20]


def test_who_was_hidden_for_a_while_is_known_by_motion():
    boxes = walk((100, 200), (4, 0), 60)
    told = identities(AppearanceTracker(config=BLIND), scene(boxes, without=[(0, 20, 32)]))
    assert told[19] == told[59] == {0: 1}
    assert told[25] == {}  # no detection, no report


@pytest.mark.parametrize(("stay", "kept"), [(0.7, True), (0.0, False)])
def test_dancers_who_are_hidden_are_looked_for_where_they_were_last_seen(stay, kept):
    """Two swing from side to side; the first is hidden while she swings back. Her own motion takes
    her away, and it was learned from both that one swings back."""
    config = replace(
        BLIND, pace=PersistenceConfig(fewest=8), match=MatchConfig(stay=stay, patience=90)
    )
    a, b = (swing(x, 120) for x in (150, 450))
    told = identities(AppearanceTracker(config=config), scene(a, b, without=[(0, 87, 103)]))
    assert (told[-1] == told[80]) is kept


def swing(x, frames, period=20, reach=60):
    """Boxes of somebody who goes `reach` pixels to either side of `x` and back."""
    places = x + reach * np.sin(2 * np.pi * np.arange(frames) / period)
    return np.stack([walk((place, 200), (0, 0), 1)[0] for place in places])


def test_who_comes_back_elsewhere_is_known_by_looks_alone():
    other = walk((500, 300), (0, 1), 100)
    boxes = np.concatenate([walk((200, 200), (1, 0), 60), walk((330, 240), (1, 0), 40)])
    shown = scene(boxes, other, without=[(0, 50, 62)])
    told = identities(AppearanceTracker(), shown)
    assert told[-1] == told[40]
    blind = identities(AppearanceTracker(config=BLIND), shown)
    assert blind[-1][0] != blind[40][0]


def test_who_left_by_the_side_of_the_picture_does_not_come_back_as_himself():
    other = walk((300, 300), (0, 0.5), 100)
    boxes = np.concatenate([walk((220, 200), (-4, 0), 51), walk((30, 240), (3, 0), 49)])
    shown = scene(boxes, other, without=[(0, 51, 60)])
    told = identities(AppearanceTracker(), shown, BLANK)
    assert told[-1][0] != told[40][0]


def test_look_alikes_are_left_to_motion():
    """Everybody has the same vector; the answer is that of motion alone."""
    walks = walk((100, 200), (6, 0), 60), walk((460, 230), (-6, 0), 60), walk((300, 90), (0, 4), 60)
    frames = [[walks[p][f] for p in range(3)] for f in range(60)]
    alike, blind = AppearanceTracker(), AppearanceTracker(config=BLIND)
    for boxes in frames:
        a = alike.update(found(boxes, [0, 0, 0]))
        b = blind.update(found(boxes))
        assert a.tracker_id.tolist() == b.tracker_id.tolist()
    assert alike.state.evidence.same.count > 100


def test_a_panning_camera_is_noticed():
    """A jerk of 60 pixels: without its pictures the tracks are lost, with them they are not."""
    rng = np.random.default_rng(0)
    wide = np.kron(rng.integers(0, 255, (60, 120, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    at = [0] * 8 + [60] * 8
    boxes = [walk((300 - x, 200), (0, 0), 1)[0] for x in at]
    told = {}
    for label, on in (("on", True), ("off", False)):
        config = AppearanceConfig(gallery=GalleryConfig(kind="none"))
        config = replace(config, camera=replace(config.camera, on=on))
        tracker = AppearanceTracker(config=config)
        told[label] = [
            tracker.update(found([box]), np.ascontiguousarray(wide[:, x : x + WIDTH])).tracker_id
            for box, x in zip(boxes, at, strict=True)
        ]
    assert [ids.tolist() for ids in told["on"]] == [[1]] * 16
    assert told["off"][8].tolist() == []


def test_an_unsure_detection_keeps_a_track_alive_and_begins_none():
    tracker = AppearanceTracker()
    for box in walk((100, 200), (2, 0), 5):
        tracker.update(found([box]))
    kept = tracker.update(found([walk((110, 200), (0, 0), 1)[0]], score=0.2))
    assert kept.tracker_id.tolist() == [1]
    assert kept.confidence.tolist() == [0.2]
    for _ in range(5):
        tracks = tracker.update(found(walk((400, 200), (0, 0), 1), score=0.4))
        assert len(tracks) == 0


def test_a_new_person_is_reported_at_the_second_sight_and_a_double_never():
    tracker = AppearanceTracker()
    tracker.update(None)
    box = walk((100, 200), (0, 0), 1)[0]
    told = [tracker.update(found([box, box + 3])).tracker_id.tolist() for _ in range(5)]
    assert told == [[], [1], [1], [1], [1]]


def test_a_track_ends_after_its_patience():
    tracker = AppearanceTracker()
    tracker.update(found(walk((100, 200), (0, 0), 1)))
    for frame in range(61):
        assert len(tracker.state.tracks) == (1 if frame <= 60 else 0)
        tracker.update(None)
    assert len(tracker.state.tracks) == 0


@pytest.mark.parametrize("count", [0, 1, 500])
def test_any_number_of_objects(count):
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 4000, (count, 2))
    boxes = np.hstack([low, low + SIZE]) if count else np.zeros((0, 4))
    tracker = AppearanceTracker()
    given = found(boxes, [0] * count)
    tracks = tracker.update(given, BLANK)
    assert 0.4 * count <= len(tracks) <= count
    assert len(set(tracks.tracker_id.tolist())) == len(tracks)
    assert len(tracker.update(given, BLANK)) == len(tracks)


SIZE = np.array([40.0, 100.0])


# What comes back


def test_the_callers_own_detections_come_back_in_their_order():
    boxes = np.array([walk((x, 200), (0, 0), 1)[0] for x in (500, 100, 300)])
    given = sv.Detections(
        xyxy=boxes, class_id=np.array([3, 4, 5]), confidence=np.array([0.8, 0.95, 0.9]),
        mask=np.zeros((3, 4, 4), bool), data={"name": ["a", "b", "c"], "n": np.arange(3)},
    )  # fmt: skip
    tracks = AppearanceTracker().update(given)
    assert tracks.tracker_id.tolist() == [3, 1, 2]  # the surest first
    assert tracks.class_id.tolist() == [3, 4, 5]
    assert tracks.data["name"] == ["a", "b", "c"]
    assert tracks.mask.shape == (3, 4, 4)
    np.testing.assert_array_equal(tracks.xyxy, boxes)


def test_without_scores_or_classes_there_are_ones_and_zeros():
    tracks = AppearanceTracker().update(sv.Detections(xyxy=walk((100, 200), (0, 0), 1)))
    assert (tracks.confidence.tolist(), tracks.class_id.tolist()) == ([1.0], [0])


boxes_of_a_frame = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 8), st.integers(0, 7)),
    max_size=8, unique_by=lambda one: one[:2],
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(boxes_of_a_frame, min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_detections_does_not_matter(frames, dice):
    here, there = AppearanceTracker(), AppearanceTracker()
    for shown in frames:
        boxes = np.array([[50 * x, 50 * y, 50 * x + 40, 50 * y + 80] for x, y, _ in shown], float)
        people = [p for *_, p in shown]
        order = list(range(len(shown)))
        dice.shuffle(order)
        a = here.update(found(boxes, people, row=np.arange(len(shown))))
        b = there.update(
            found(boxes.reshape(-1, 4)[order], [people[i] for i in order], row=np.array(order))
        )
        ids = [
            dict(zip(t.data["row"].tolist(), t.tracker_id.tolist(), strict=True)) if len(t) else {}
            for t in (a, b)
        ]
        assert ids[0] == ids[1]


def test_two_trackers_share_nothing_and_a_state_is_a_value():
    one, other = AppearanceTracker(), AppearanceTracker()
    boxes = walk((100, 200), (3, 0), 6)
    for box in boxes[:3]:
        one.update(found([box], [0]))
    before = one.state
    copy = [column.copy() for column in (before.tracks.ids, before.tracks.last)]
    one.update(found([boxes[3]], [0]))
    assert [c.tolist() for c in copy] == [before.tracks.ids.tolist(), before.tracks.last.tolist()]
    assert other.update(found([boxes[4]], [0])).tracker_id.tolist() == [1]
    one.reset()
    assert one.update(found([boxes[5]], [1])).tracker_id.tolist() == [1]


# What is refused


ONE = walk((100, 200), (0, 0), 1)
BAD = {
    "NaN in a vector": ({"embedding": np.full((1, 8), np.nan)}, "of detection 0 is not finite"),
    "a zero vector": ({"embedding": np.zeros((1, 8))}, "of detection 0 is zero"),
    "another length": ({"embedding": np.ones((1, 9))}, "9 values came after vectors of 8"),
    "flat": ({"embedding": np.ones(1)}, "a vector per detection"),
    "words": ({"embedding": np.array([["a"]])}, "embeddings are numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_vectors_that_cannot_be_used_are_explained(case):
    data, part = BAD[case]
    tracker = AppearanceTracker()
    tracker.update(found(ONE, [0]))
    before = tracker.state
    with pytest.raises(InputError, match=part):
        tracker.update(found(ONE, **data))
    assert tracker.state is before


@pytest.mark.parametrize(("boxes", "frame", "part"), [
    pytest.param([[9, 9, 9, 20]], None, "detection 0 has box", id="a box without area"),
    pytest.param(ONE, np.zeros((4, 4, 3)), "uint8 array", id="a frame of floats"),
])
def test_boxes_and_frames_that_cannot_be_used_are_explained(boxes, frame, part):
    with pytest.raises(InputError, match=part):
        AppearanceTracker().update(found(boxes), frame)


def test_vectors_are_for_directions_not_lengths():
    tracker = AppearanceTracker()
    for scale in (1, 5, 0.1, 100):
        tracks = tracker.update(found(ONE, embedding=scale * vector(2)[None]))
    assert tracks.tracker_id.tolist() == [1]
