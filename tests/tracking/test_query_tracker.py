"""The tracker that users hold: `supervision.Detections` in and out, one video at a time."""

import copy
import weakref
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
import supervision as sv

from helpers.fakes import ScriptedNetwork, box, predicted
from helpers.scenes import all_same, detections_of, follow, same
from tfsasm.detection.proposals import Proposals
from tfsasm.errors import InputError
from tfsasm.motrv2.family import load_model
from tfsasm.motrv2.network import TorchNetwork
from tfsasm.settings import with_settings
from tfsasm.tracking.config import released
from tfsasm.tracking.load import load
from tfsasm.tracking.query import QueryTracker, report, step
from tfsasm.tracking.state import begin

WIDTH, HEIGHT = 200, 100
IMAGE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
A, B, C = box(0.2), box(0.5), box(0.8)


@dataclass
class Named:
    """Something that came with a detection and can be seen to be let go."""

    name: str


def scripted(*script, learned=0, **settings):
    """A tracker of that network; `memory__capacity="3"` is the setting memory.capacity."""
    config = with_settings(released(), {k.replace("__", "."): v for k, v in settings.items()})
    return QueryTracker(ScriptedNetwork(*script, learned=learned), config)


def pixels(*boxes):
    """Normalised cxcywh to pixel xyxy of the image."""
    cx, cy, w, h = np.array(boxes, dtype=float).reshape(-1, 4).T
    corners = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1)
    return corners * [WIDTH, HEIGHT, WIDTH, HEIGHT]


def found(*boxes, classes=None, **data):
    return sv.Detections(
        xyxy=pixels(*boxes),
        confidence=np.full(len(boxes), 0.9),
        class_id=None if classes is None else np.array(classes),
        data={name: np.array(values) for name, values in data.items()},
    )


FEW = range(6)
"""Frames of the scene; in the fifth there is nothing."""


@pytest.fixture(scope="module")
def network(small_weights):
    return load(small_weights).network


@pytest.fixture
def tracker(network):
    return QueryTracker(network, released())


def another(tracker):
    """A fresh tracker of the same network."""
    return QueryTracker(tracker.network, tracker.config)


# Out


def test_an_update_gives_tracks_as_detections():
    tracks = scripted(predicted([0.9, 0.2, 0.7], [A, B, C])).update(found(A, B, C), IMAGE)
    assert isinstance(tracks, sv.Detections)
    assert tracks.tracker_id.tolist() == [1, 2]
    assert tracks.confidence.tolist() == pytest.approx([0.9, 0.7])
    assert tracks.xyxy == pytest.approx(pixels(A, C), abs=1e-3)
    assert tracks.xyxy.dtype == np.float32
    assert tracks.class_id.tolist() == [0, 0]


def test_boxes_may_leave_the_image():
    edge = box(0.0)
    tracks = scripted(predicted([0.9], [edge])).update(found(edge), IMAGE)
    assert tracks.xyxy[0, 0] == pytest.approx(-10, abs=1e-3)


def test_identities_start_at_one_again_after_a_reset():
    tracker = scripted(predicted([0.9]), predicted([0.9, 0.9]), predicted([0.9, 0.9]))
    assert tracker.update(found(A), IMAGE).tracker_id.tolist() == [1]
    assert tracker.update(found(B), IMAGE).tracker_id.tolist() == [2, 1]
    tracker.reset()
    assert (tracker.state.frame, len(tracker.state.tracks)) == (0, 0)
    assert tracker.update(found(A, B), IMAGE).tracker_id.tolist() == [1, 2]


def test_a_reset_forgets_the_data_too():
    tracker = scripted(predicted([0.9]), predicted([0.9]))
    tracker.update(found(A, classes=[7], name=["ann"]), IMAGE)
    tracker.reset()
    tracks = tracker.update(found(A), IMAGE)
    assert (tracks.class_id.tolist(), tracks.data) == ([0], {})


# What came with a detection


def test_class_and_data_come_from_the_detection_a_track_was_born_of():
    tracker = scripted(
        predicted([0.9, 0.1, 0.9], [A, B, C]),
        predicted([0.9, 0.9, 0.9], [B, A, C]),
    )
    first = tracker.update(
        found(A, B, C, classes=[1, 2, 3], name=["ann", "bob", "cid"], vector=np.eye(3)), IMAGE
    )
    assert first.tracker_id.tolist() == [1, 2]
    assert first.class_id.tolist() == [1, 3]
    assert first.data["name"].tolist() == ["ann", "cid"]
    assert first.data["vector"].tolist() == [[1, 0, 0], [0, 0, 1]]

    second = tracker.update(found(B, classes=[2], name=["bob"], vector=[[5, 5, 5]]), IMAGE)
    assert second.tracker_id.tolist() == [3, 1, 2]
    assert second.class_id.tolist() == [2, 1, 3]
    assert second.data["name"].tolist() == ["bob", "ann", "cid"]
    assert second.data["vector"].shape == (3, 3)


@pytest.mark.parametrize("given", [
    pytest.param(None, id="None"),
    pytest.param(sv.Detections.empty(), id="empty detections"),
    pytest.param(Proposals.empty(), id="no proposals"),
])
def test_a_track_keeps_its_data_through_frames_without_detections(given):
    tracker = scripted(predicted([0.9]), predicted([0.8]), predicted([0.2]), predicted([0.8]))
    born = found(A, classes=[4], name=["ann"])
    names = [
        tracker.update(detections, IMAGE).data.get("name", np.array([])).tolist()
        for detections in (born, given, given, given)
    ]
    assert names == [["ann"], ["ann"], [], ["ann"]]


def test_a_track_that_is_reported_late_has_the_data_of_its_birth():
    """Too small at birth to be reported."""
    speck, grown = box(0.5, w=0.02, h=0.02), box(0.5)
    tracker = scripted(predicted([0.9], [speck]), predicted([0.9], [grown]))
    assert len(tracker.update(found(speck, classes=[6], name=["ann"]), IMAGE)) == 0
    tracks = tracker.update(None, IMAGE)
    assert (tracks.class_id.tolist(), tracks.data["name"].tolist()) == ([6], ["ann"])


def test_a_track_of_a_learned_query_has_no_data():
    tracker = scripted(predicted([0.9, 0.9], [A, B]), learned=1)
    tracks = tracker.update(found(B, classes=[3], name=["bob"]), IMAGE)
    assert tracks.class_id.tolist() == [0, 3]
    assert tracks.data["name"].tolist() == [None, "bob"]


def test_data_of_different_shapes_stays_apart():
    tracker = scripted(predicted([0.9]), predicted([0.9, 0.9], [B, A]))
    tracker.update(found(A, outline=np.zeros((1, 3, 2))), IMAGE)
    tracks = tracker.update(found(B, outline=np.zeros((1, 5, 2))), IMAGE)
    assert [outline.shape for outline in tracks.data["outline"]] == [(5, 2), (3, 2)]


def test_the_data_of_dead_tracks_is_let_go():
    """A camera that runs for a week must not fill the memory."""
    script = [predicted([0.9]), *[predicted([0.9, 0.1])] * 5]
    tracker = scripted(*script, lifecycle__miss_tolerance="1")
    names = [[f"name {number}"] for number in range(6)]
    references = []
    for name in names:
        data = np.array([Named(name)], dtype=object)
        references.append(weakref.ref(data[0]))
        tracker.update(found(A, classes=[2], name=data), IMAGE)
        del data
    assert tracker.state.next_id == 6
    assert [reference() is not None for reference in references] == [False] * 5 + [True]


def test_a_matched_track_takes_the_data_of_its_detection_over():
    tracker = scripted(
        predicted([0.9]), predicted([0.1, 0.9], [A, A]), association__match_iou="0.5"
    )
    tracker.update(found(A, classes=[1], name=["old"]), IMAGE)
    tracks = tracker.update(found(A, classes=[1], name=["new"]), IMAGE)
    assert tracks.tracker_id.tolist() == [1]
    assert (tracks.class_id.tolist(), tracks.data["name"].tolist()) == ([1], ["new"])


# In


def test_detections_without_confidence_have_the_score_one():
    class RecordingNetwork(ScriptedNetwork):
        def queries(self, boxes, scores):
            given.append((boxes, scores))
            return super().queries(boxes, scores)

    given = []
    tracker = QueryTracker(RecordingNetwork(predicted([0.9])), released())
    tracker.update(sv.Detections(xyxy=pixels(A)), IMAGE)
    boxes, scores = given[-1]
    assert scores.tolist() == [1.0]
    assert boxes[0].tolist() == pytest.approx(A)


@pytest.mark.parametrize(("row", "score", "word"), [
    pytest.param([0, 0, np.nan, 5], 0.9, "nan", id="NaN in the box"),
    pytest.param([0, 0, np.inf, 5], 0.9, "inf", id="infinity in the box"),
    pytest.param([0, 0, 10, 10], np.nan, "score nan", id="NaN for a score"),
    pytest.param([10, 0, 10, 5], 0.9, "[10.0, 0.0, 10.0, 5.0]", id="no width"),
    pytest.param([0, 9, 5, 3], 0.9, "y2 > y1", id="upside down"),
])
def test_a_bad_box_is_named_and_changes_nothing(scene, tracker, row, score, word):
    follow(tracker, scene, range(3))
    before = copy.deepcopy(tracker.state)
    bad = sv.Detections(xyxy=np.array([[1.0, 1, 9, 9]] * 2), confidence=np.full(2, 0.9))
    bad.xyxy[1], bad.confidence[1] = row, score  # supervision itself checks only when it is made
    with pytest.raises(InputError) as caught:
        tracker.update(bad, scene.images[3])
    for part in ("detection 1", word, "Drop it before tracking"):
        assert part in str(caught.value)
    assert tracker.state.frame == before.frame == 3
    assert np.array_equal(
        tracker.state.tracks.queries.content, before.tracks.queries.content
    )


@pytest.mark.parametrize(("frame", "word"), [
    pytest.param(IMAGE.astype(np.float32), "not float32 [100, 200, 3]", id="floats"),
    pytest.param(IMAGE[None], "not uint8 [1, 100, 200, 3]", id="a batch"),
    pytest.param(IMAGE[:, :, :2], "1, 3 or 4 channels, not 2", id="two channels"),
    pytest.param(IMAGE[:0], "(0, 200, 3) has no pixels", id="no pixels"),
    pytest.param("frame.png", "not str", id="a name"),
    pytest.param(None, "needs the image of every frame", id="nothing, as cv2.imread gives it"),
])
def test_what_is_no_frame_is_refused_and_changes_nothing(scene, tracker, frame, word):
    straight = follow(another(tracker), scene, range(3))
    got = follow(tracker, scene, range(2))
    with pytest.raises(InputError) as caught:
        tracker.update(detections_of(scene, 2), frame)
    assert word in str(caught.value)
    assert all_same([*got, *follow(tracker, scene, [2])], straight)


@pytest.mark.parametrize("convert", [
    pytest.param(lambda grey: grey, id="grey"),
    pytest.param(lambda grey: grey[:, :, None], id="grey with an axis"),
    pytest.param(lambda grey: cv2.cvtColor(grey, cv2.COLOR_GRAY2BGRA), id="BGRA"),
])
def test_grey_and_alpha_frames_are_converted(scene, tracker, convert):
    greys = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in scene.images[:4]]
    other = another(tracker)
    for index, grey in enumerate(greys):
        found_ = detections_of(scene, index)
        one = tracker.update(found_, convert(grey))
        assert same(one, other.update(found_, cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)))
        assert len(one)


def test_the_alpha_of_a_frame_is_dropped_and_its_colours_kept(scene, tracker):
    other = another(tracker)
    for index in range(4):
        found_, image = detections_of(scene, index), scene.images[index]
        with_alpha = np.dstack([image, image[:, :, :1] // 2])
        assert same(tracker.update(found_, with_alpha), other.update(found_, image))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (300, 1)])
def test_any_size_of_image_will_do(tracker, height, width):
    image = np.full((height, width, 3), 90, np.uint8)
    detections = sv.Detections(xyxy=np.array([[0.0, 0.0, width, height]]))
    for _ in range(3):
        tracker.update(detections, image)
    assert tracker.state.frame == 3


def test_the_order_of_colours_matters(scene, tracker):
    other = another(tracker)
    straight = follow(tracker, scene, range(4))
    swapped = [other.update(detections_of(scene, i), scene.images[i][..., ::-1]) for i in range(4)]
    assert not all_same(straight, swapped)


# Runs


def test_an_update_is_the_step_on_the_prepared_frame(scene, small_weights):
    """The class adds nothing: the same numbers as the functions that it calls."""
    network, config = TorchNetwork(*load_model(small_weights)), released()
    tracker, state = QueryTracker(network, config), begin(network, config)
    reported = 0
    for index, image in enumerate(scene.images[: len(FEW)]):
        features = network.encode([image])[0]
        proposals = scene.proposals(index).map(network.asarray)
        state, output = step(network, state, features, proposals, config)
        wanted = report(output, image.shape[1], image.shape[0], config)
        tracks = tracker.update(scene.proposals(index), image)
        assert np.array_equal(tracks.tracker_id, wanted.tracker_id)
        assert np.array_equal(tracks.xyxy, wanted.xyxy)
        assert np.array_equal(tracks.confidence, wanted.confidence)
        reported += len(tracks)
    assert reported > 10


def test_frames_may_be_prepared_together_and_for_several_trackers(scene, tracker):
    images = scene.images[:4]
    trackers = tracker, another(tracker)
    for index, (image, features) in enumerate(zip(images, tracker.prepare(images), strict=True)):
        ones = [one.update(scene.proposals(index), image, features) for one in trackers]
        assert same(*ones)
    wanted = follow(another(tracker), scene, range(4))
    assert ones[0].tracker_id.tolist() == wanted[-1].tracker_id.tolist()
    np.testing.assert_allclose(ones[0].xyxy, wanted[-1].xyxy, atol=0.01)


def test_detections_and_proposals_give_the_same_tracks(scene, tracker):
    other = another(tracker)
    ones = follow(tracker, scene, FEW)
    others = [other.update(scene.proposals(i), scene.images[i]) for i in FEW]
    for one, two in zip(ones, others, strict=True):
        assert one.tracker_id.tolist() == two.tracker_id.tolist()
        assert one.xyxy == pytest.approx(two.xyxy, abs=1e-3)


def test_two_trackers_share_nothing_but_the_network(scene, tracker):
    """Turn by turn on two videos, as each on its own."""
    forwards, backwards = FEW, FEW[::-1]
    alone = [follow(another(tracker), scene, order) for order in (forwards, backwards)]
    one, other = another(tracker), another(tracker)
    pairs = [
        (follow(one, scene, [i])[0], follow(other, scene, [j])[0])
        for i, j in zip(forwards, backwards, strict=True)
    ]
    assert all_same(alone[0], [pair[0] for pair in pairs])
    assert all_same(alone[1], [pair[1] for pair in pairs])
    assert not all_same(*alone)


def test_a_run_can_be_repeated(scene, tracker):
    first = follow(tracker, scene, FEW)
    tracker.reset()
    assert all_same(first, follow(tracker, scene, FEW))


@pytest.mark.parametrize("kind", ["detections", "proposals"])
def test_a_frame_of_too_many_boxes_is_refused(kind, monkeypatch):
    monkeypatch.setenv("TFSASM_MAX_BOXES", "2")
    boxes, tracker = found(A, B, C), scripted(predicted(A, B, C))
    if kind == "proposals":
        boxes = Proposals.from_xyxy(boxes.xyxy, boxes.confidence, WIDTH, HEIGHT)
    with pytest.raises(InputError, match=r"a frame has 3 boxes, more than .* 2.*TFSASM_MAX_BOXES"):
        tracker.update(boxes, IMAGE)
