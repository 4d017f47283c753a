"""The appearance tracker on scripted scenes, by its public interface."""

from dataclasses import replace

import numpy as np
import pytest
import supervision as sv
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.people import HEIGHT, SIZE, WIDTH, detections, identities, vector, walk
from tfsasm import AppearanceConfig, AppearanceTracker, InputError
from tfsasm.tracking.appearance.association import AppearanceWeightConfig, MatchConfig
from tfsasm.tracking.appearance.gallery import GalleryConfig
from tfsasm.tracking.appearance.motion import KalmanConfig, PersistenceConfig

BLANK = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
MOTION_ALONE = AppearanceConfig(gallery=GalleryConfig(kind="none"))


def scene(*people, without=()):
    """(person, box) lists per frame; `without` are (person, first, last) frames of occlusion."""
    frames = len(people[0])
    return [
        [
            (person, boxes[frame]) for person, boxes in enumerate(people)
            if not any(p == person and low <= frame <= high for p, low, high in without)
        ]
        for frame in range(frames)
    ]  # fmt: skip


KINDS = [
    pytest.param(GalleryConfig(), id="two averages"),
    pytest.param(GalleryConfig(kind="sparse"), id="sparse, mean"),
    pytest.param(GalleryConfig(kind="sparse", read="half"), id="sparse, half"),
    pytest.param(GalleryConfig(kind="sparse", read="nearest"), id="sparse, nearest"),
    pytest.param(GalleryConfig(kind="ema"), id="moving average"),
    pytest.param(GalleryConfig(kind="last"), id="last views"),
]


def test_two_people_who_walk_past_each_other_keep_their_identities():
    ids = identities(AppearanceTracker(config=MOTION_ALONE), scene(
        walk((100, 200), (6, 0), 60), walk((460, 215), (-6, 0), 60)
    ))  # fmt: skip
    assert ids[0] == ids[-1] == {0: 1, 1: 2}


@pytest.mark.parametrize("gallery", KINDS)
def test_appearance_tells_two_people_apart_who_turn_back_where_they_meet(gallery):
    """They meet, are occluded for 8 frames, and walk back: motion alone would swap them."""
    a, b = walk((100, 200), (5, 0), 30), walk((390, 200), (-5, 0), 30)
    people = np.concatenate([a, a[::-1]]), np.concatenate([b, b[::-1]])
    visible = scene(*people, without=[(0, 26, 33), (1, 26, 33)])
    ids = identities(AppearanceTracker(config=AppearanceConfig(gallery=gallery)), visible)
    assert ids[-1] == ids[20]


def test_boxes_that_jitter_are_smoothed():
    true, dice = walk((100, 200), (4, 0), 60), np.random.default_rng(0)
    shaken = true + dice.normal(scale=4, size=true.shape)
    tracker = AppearanceTracker(config=MOTION_ALONE)
    boxes = [
        tracker.update(sv.Detections(box[None], confidence=np.array([0.75]))).xyxy[0]
        for box in shaken
    ]  # fmt: skip
    assert np.abs(boxes - true)[10:].mean() < 0.9 * np.abs(shaken - true)[10:].mean()


def test_a_reported_box_ends_where_the_frame_does():
    """The filter would go on a little where the detection is cut."""
    tracker, frame = AppearanceTracker(config=MOTION_ALONE), np.zeros((480, 200, 3), np.uint8)
    for left in range(60, 190, 5):
        tracks = tracker.update(np.array([[left, 100, min(left + 60, 200), 220, 0.9]]), frame)
        assert tracks.xyxy[0, 2] <= 200


def test_motion_finds_a_person_again_after_an_occlusion():
    boxes = walk((100, 200), (4, 0), 60)
    visible = scene(boxes, without=[(0, 20, 32)])
    ids = identities(AppearanceTracker(config=MOTION_ALONE), visible)
    assert ids[19] == ids[59] == {0: 1}
    assert ids[25] == {}  # no detection, no report


@pytest.mark.parametrize(("weight", "kept"), [(0.7, True), (0.0, False)])
def test_occluded_dancers_are_found_at_their_last_box(weight, kept):
    """Two swing from side to side; the first is occluded while she swings back. The prediction
    takes her away, and from both it was learned that motion does not persist."""
    config = replace(
        MOTION_ALONE, persistence=PersistenceConfig(min_pairs=8),
        match=MatchConfig(last_box_weight=weight, max_lost_frames=90),
    )  # fmt: skip
    a, b = (swing(x, 120) for x in (150, 450))
    ids = identities(AppearanceTracker(config=config), scene(a, b, without=[(0, 87, 103)]))
    assert (ids[-1] == ids[80]) is kept


def swing(x, frames, period=20, reach=60):
    """Boxes of a person who goes `reach` pixels to either side of `x` and back."""
    places = x + reach * np.sin(2 * np.pi * np.arange(frames) / period)
    return np.stack([walk((place, 200), (0, 0), 1)[0] for place in places])


def test_a_person_who_comes_back_elsewhere_is_re_identified():
    other = walk((500, 300), (0, 1), 100)
    boxes = np.concatenate([walk((200, 200), (1, 0), 60), walk((330, 240), (1, 0), 40)])
    visible = scene(boxes, other, without=[(0, 50, 62)])
    ids = identities(AppearanceTracker(), visible)
    assert ids[-1] == ids[40]
    by_motion = identities(AppearanceTracker(config=MOTION_ALONE), visible)
    assert by_motion[-1][0] != by_motion[40][0]


@pytest.mark.parametrize(("away", "frames", "found"), [
    pytest.param(40, 50, True, id="for less than reid_frames"),
    pytest.param(60, 50, False, id="for longer"),
    pytest.param(40, 0, False, id="with position's patience alone"),
])
def test_a_person_who_was_away_for_long_is_known_by_appearance(away, frames, found):
    other = walk((500, 300), (0, 0.3), 60 + away)
    boxes = np.concatenate([walk((200, 200), (1, 0), 40), walk((330, 240), (1, 0), 20 + away)])
    visible = scene(boxes, other, without=[(0, 40, 39 + away)])
    config = AppearanceConfig(appearance=AppearanceWeightConfig(reid_frames=frames))
    ids = identities(AppearanceTracker(config=config), visible)
    assert (ids[-1] == ids[39]) is found


def test_somebody_new_where_another_was_long_ago_gets_an_identity_of_his_own():
    other = walk((500, 300), (0, 0.3), 95)
    first, second = walk((200, 200), (0, 0), 95), walk((205, 200), (0, 0), 95)
    visible = scene(first, other, second, without=[(0, 40, 94), (2, 0, 79)])
    ids = identities(AppearanceTracker(), visible)
    assert ids[39] == {0: 1, 1: 2}
    assert ids[-1] == {1: 2, 2: 3}


def test_a_person_who_left_by_the_image_border_is_not_re_identified():
    other = walk((300, 300), (0, 0.5), 100)
    boxes = np.concatenate([walk((220, 200), (-4, 0), 51), walk((30, 240), (3, 0), 49)])
    visible = scene(boxes, other, without=[(0, 51, 60)])
    ids = identities(AppearanceTracker(), visible, BLANK)
    assert ids[-1][0] != ids[40][0]


def test_look_alikes_are_tracked_by_motion():
    """All have the same embedding; the result is that of motion alone."""
    walks = walk((100, 200), (6, 0), 60), walk((460, 230), (-6, 0), 60), walk((300, 90), (0, 4), 60)
    frames = [[walks[p][f] for p in range(3)] for f in range(60)]
    alike, by_motion = AppearanceTracker(), AppearanceTracker(config=MOTION_ALONE)
    for boxes in frames:
        a = alike.update(detections(boxes, [0, 0, 0]))
        b = by_motion.update(detections(boxes))
        assert a.tracker_id.tolist() == b.tracker_id.tolist()
    assert alike.state.reliability.same.count > 100


def test_the_noise_of_shaken_boxes_is_smoothed_away():
    """Whoever never takes detections for noisier follows each of them."""
    truth = walk((100, 200), (2, 0), 150)
    shaken = truth + np.tile(np.random.default_rng(0).normal(0, 4, (150, 2)), 2)
    errors = {}
    for correlation in (KalmanConfig().error_correlation, -1.0):
        kalman = KalmanConfig(error_correlation=correlation)
        tracker = AppearanceTracker(config=AppearanceConfig(kalman=kalman))
        off = []
        for box, right in zip(shaken, truth, strict=True):
            tracker.update(detections([box]))
            off.append(np.abs(tracker.state.tracks.motion.xyxy[0] - right).mean())
        errors[correlation] = np.mean(off[100:])
    assert errors.pop(-1.0) > 1.05 * min(errors.values())


def test_tracks_move_with_a_panning_camera():
    """A jerk of 60 pixels: without compensation the tracks are lost, with it they are not."""
    rng = np.random.default_rng(0)
    wide = np.kron(rng.integers(0, 255, (60, 120, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    at = [0] * 8 + [60] * 8
    boxes = [walk((300 - x, 200), (0, 0), 1)[0] for x in at]
    ids = {}
    for enabled in (True, False):
        camera = replace(MOTION_ALONE.camera, enabled=enabled)
        tracker = AppearanceTracker(config=replace(MOTION_ALONE, camera=camera))
        ids[enabled] = [
            tracker.update(detections([box]), wide[:, x : x + WIDTH].copy()).tracker_id
            for box, x in zip(boxes, at, strict=True)
        ]
    assert [frame.tolist() for frame in ids[True]] == [[1]] * 16
    assert ids[False][8].tolist() == []


def test_a_lost_track_is_where_the_camera_moved_it():
    rng = np.random.default_rng(0)
    wide = np.kron(rng.integers(0, 255, (60, 120, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    tracker, box = AppearanceTracker(config=MOTION_ALONE), walk((300, 200), (0, 0), 1)[0]
    for _ in range(3):
        tracker.update(detections([box]), wide[:, :WIDTH].copy())
    tracker.update(sv.Detections.empty(), wide[:, 60 : 60 + WIDTH].copy())
    [lost] = tracker.tracks
    assert lost.lost == 1
    np.testing.assert_allclose(lost.xyxy, box - [60, 0, 60, 0], atol=1)


def test_a_detection_of_low_score_continues_a_track_and_starts_none():
    tracker = AppearanceTracker()
    for box in walk((100, 200), (2, 0), 5):
        tracker.update(detections([box]))
    kept = tracker.update(detections([walk((110, 200), (0, 0), 1)[0]], score=0.2))
    assert kept.tracker_id.tolist() == [1]
    assert kept.confidence.tolist() == [0.2]
    for _ in range(5):
        tracks = tracker.update(detections(walk((400, 200), (0, 0), 1), score=0.4))
        assert len(tracks) == 0


def test_a_tentative_track_is_reported_from_its_second_detection_and_a_duplicate_never():
    tracker = AppearanceTracker()
    tracker.update(None)
    box = walk((100, 200), (0, 0), 1)[0]
    ids = [tracker.update(detections([box, box + 3])).tracker_id.tolist() for _ in range(5)]
    assert ids == [[], [1], [1], [1], [1]]


def test_a_track_without_appearance_ends_after_max_lost_frames():
    tracker = AppearanceTracker()
    tracker.update(detections(walk((100, 200), (0, 0), 1)))
    for frame in range(31):
        assert len(tracker.state.tracks) == (1 if frame <= 30 else 0)
        tracker.update(None)
    assert len(tracker.state.tracks) == 0


@pytest.mark.parametrize("count", [0, 1, 500])
def test_any_number_of_objects(count):
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 4000, (count, 2))
    boxes = np.hstack([low, low + SIZE]) if count else np.zeros((0, 4))
    tracker = AppearanceTracker()
    given = detections(boxes, [0] * count)
    tracks = tracker.update(given, BLANK)
    assert 0.4 * count <= len(tracks) <= count
    assert len(set(tracks.tracker_id.tolist())) == len(tracks)
    assert len(tracker.update(given, BLANK)) == len(tracks)


# Results


def test_the_callers_own_detections_come_back_in_their_order():
    boxes = np.array([walk((x, 200), (0, 0), 1)[0] for x in (500, 100, 300)])
    given = sv.Detections(
        xyxy=boxes, class_id=np.array([3, 4, 5]), confidence=np.array([0.8, 0.95, 0.9]),
        mask=np.zeros((3, 4, 4), bool), data={"name": ["a", "b", "c"], "n": np.arange(3)},
    )  # fmt: skip
    tracks = AppearanceTracker().update(given)
    assert tracks.tracker_id.tolist() == [3, 1, 2]  # the highest score first
    assert tracks.class_id.tolist() == [3, 4, 5]
    assert tracks.data["name"] == ["a", "b", "c"]
    assert tracks.mask.shape == (3, 4, 4)
    np.testing.assert_array_equal(tracks.xyxy, boxes)


def test_without_scores_or_classes_there_are_ones_and_zeros():
    tracks = AppearanceTracker().update(sv.Detections(xyxy=walk((100, 200), (0, 0), 1)))
    assert (tracks.confidence.tolist(), tracks.class_id.tolist()) == ([1.0], [0])


boxes_of_a_frame = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 8), st.integers(0, 7)),
    max_size=8, unique_by=lambda person: person[:2],
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.lists(boxes_of_a_frame, min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_detections_does_not_matter(frames, dice):
    plain, shuffled = AppearanceTracker(), AppearanceTracker()
    for people in frames:
        boxes = np.array([[50 * x, 50 * y, 50 * x + 40, 50 * y + 80] for x, y, _ in people], float)
        people = [person for *_, person in people]
        order = list(range(len(people)))
        dice.shuffle(order)
        a = plain.update(detections(boxes, people, row=np.arange(len(people))))
        b = shuffled.update(
            detections(boxes.reshape(-1, 4)[order], [people[i] for i in order], row=np.array(order))
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
        one.update(detections([box], [0]))
    before = one.state
    copy = [column.copy() for column in (before.tracks.ids, before.tracks.last_box)]
    one.update(detections([boxes[3]], [0]))
    assert [c.tolist() for c in copy] == [
        before.tracks.ids.tolist(), before.tracks.last_box.tolist()
    ]
    assert other.update(detections([boxes[4]], [0])).tracker_id.tolist() == [1]
    one.reset()
    assert one.update(detections([boxes[5]], [1])).tracker_id.tolist() == [1]


# Refused input


ONE = walk((100, 200), (0, 0), 1)
BAD = {
    "NaN in an embedding": ({"embedding": np.full((1, 8), np.nan)}, "of detection 0 is not finite"),
    "zeros": ({"embedding": np.zeros((1, 8))}, "of detection 0 is zero"),
    "another length": ({"embedding": np.ones((1, 9))}, "9 values came after embeddings of 8"),
    "one axis": ({"embedding": np.ones(1)}, "a vector per detection"),
    "text": ({"embedding": np.array([["a"]])}, "embeddings are numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_embeddings_that_cannot_be_used_are_explained(case):
    data, message = BAD[case]
    tracker = AppearanceTracker()
    tracker.update(detections(ONE, [0]))
    before = tracker.state
    with pytest.raises(InputError, match=message):
        tracker.update(detections(ONE, **data))
    assert tracker.state is before


@pytest.mark.parametrize(("boxes", "frame", "message"), [
    pytest.param([[9, 9, 9, 20]], None, "detection 0 has box", id="a box without area"),
    pytest.param(ONE, np.zeros((4, 4, 3)), "uint8 array", id="a frame of floats"),
])
def test_boxes_and_frames_that_cannot_be_used_are_explained(boxes, frame, message):
    with pytest.raises(InputError, match=message):
        AppearanceTracker().update(detections(boxes), frame)


def test_embeddings_count_by_direction_not_length():
    tracker = AppearanceTracker()
    for scale in (1, 5, 0.1, 100):
        tracks = tracker.update(detections(ONE, embedding=scale * vector(2)[None]))
    assert tracks.tracker_id.tolist() == [1]


# Which detections are embedded


def embedded(refresh, frames):
    """How many boxes the embedder got in each frame, and the ids that were reported."""
    counts = []

    def embed(image, xyxy):
        counts.append(len(xyxy))
        return np.ones((len(xyxy), 4), np.float32)

    config = AppearanceConfig(appearance=AppearanceWeightConfig(refresh=refresh))
    tracker = AppearanceTracker(embed, config)
    ids = [tracker.update(detections(boxes), BLANK).tracker_id.tolist() for boxes in frames]
    return counts, ids


def together(first, second):
    return enumerate(zip(first, second, strict=True))


def test_all_detections_of_high_score_are_embedded_by_default():
    frames = [[box] for box in walk((100, 200), (2, 0), 8)]
    assert AppearanceWeightConfig().refresh == 1
    assert embedded(1, frames)[0] == [1] * 8


def test_with_refresh_a_person_alone_is_embedded_in_turn_only_and_keeps_the_identity():
    frames = [[box] for box in walk((100, 200), (2, 0), 13)]
    counts, ids = embedded(4, frames)
    assert counts[0] == 1  # a new track
    assert sum(counts[1:]) == 3
    assert ids == [[1]] * 13


def test_with_refresh_people_who_touch_are_embedded_in_every_frame():
    a = walk((100, 200), (2, 0), 8)
    counts, _ = embedded(100, [[box, box + np.array([10, 0, 10, 0])] for box in a])
    assert counts == [2] * 8


def test_with_refresh_new_people_are_embedded_and_those_near_a_lost_track():
    alone, far, beside = (walk((x, 200), (2, 0), 8) for x in (100, 400, 160))
    new, _ = embedded(100, [[a, b] if t >= 5 else [a] for t, (a, b) in together(alone, far)])
    assert new[4:6] == [0, 1]
    lost, _ = embedded(100, [[a, b] if t < 5 else [a] for t, (a, b) in together(alone, beside)])
    assert lost[4:7] == [0, 0, 1]
