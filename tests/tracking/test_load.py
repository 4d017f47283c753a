"""The tracker that users hold: `supervision.Detections` in and out, one video at a time."""

from __future__ import annotations

import copy

import cv2
import numpy as np
import pytest
import supervision as sv
import torch

import tfsasm
from helpers.fakes import FakeModel, box, told
from helpers.scenes import NETWORK, Scene
from tfsasm.detection.proposals import Proposals
from tfsasm.detection.stored import open_detections
from tfsasm.errors import InputError, TruncatedInput, WeightsError
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.network import prepare
from tfsasm.motrv2.weights import load_model
from tfsasm.settings import with_settings
from tfsasm.tracking.config import default, released
from tfsasm.tracking.load import embedded, load
from tfsasm.tracking.query import QueryTracker, begin, report, step
from tfsasm.video.source import open_video

WIDTH, HEIGHT = 200, 100
PICTURE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
A, B, C = box(0.2), box(0.5), box(0.8)
NOTHING = told([])


class Scripted(FakeModel):
    """A network that says of each picture what the script has next."""

    def __init__(self, *script, learned=0):
        super().__init__(learned)
        self._script = iter(script)

    def encode(self, pixels):
        return next(self._script)


def scripted(*script, learned=0, **settings):
    """A tracker of that network; `memory__capacity="3"` is the setting memory.capacity."""
    config = with_settings(released(), {k.replace("__", "."): v for k, v in settings.items()})
    return QueryTracker(Scripted(*script, learned=learned), NetworkConfig(), config)


def pixels(*boxes):
    """Normalised cxcywh to pixel xyxy of the picture."""
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


@pytest.fixture
def tracker(small_weights):
    return load(small_weights, released())


def detections_of(scene: Scene, index: int) -> sv.Detections:
    rows = np.array([line.split(",") for line in scene.lines[index]], dtype=float).reshape(-1, 5)
    xyxy = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
    return sv.Detections(xyxy=xyxy, confidence=rows[:, 4])


def follow(tracker: QueryTracker, scene: Scene, frames=None):
    indices = range(len(scene.images)) if frames is None else frames
    return [tracker.update(detections_of(scene, i), scene.images[i]) for i in indices]


def same(one: sv.Detections, other: sv.Detections) -> bool:
    columns = ("xyxy", "confidence", "class_id", "tracker_id")
    return all(np.array_equal(getattr(one, c), getattr(other, c)) for c in columns)


def all_same(ones, others) -> bool:
    return all(same(*pair) for pair in zip(ones, others, strict=True))


# Out


def test_an_update_gives_tracks_as_detections():
    tracks = scripted(told([0.9, 0.2, 0.7], [A, B, C])).update(found(A, B, C), PICTURE)
    assert isinstance(tracks, sv.Detections)
    assert tracks.tracker_id.tolist() == [1, 2]
    assert tracks.confidence.tolist() == pytest.approx([0.9, 0.7])
    assert tracks.xyxy == pytest.approx(pixels(A, C), abs=1e-3)
    assert tracks.xyxy.dtype == np.float32
    assert tracks.class_id.tolist() == [0, 0]


def test_boxes_may_leave_the_image():
    edge = box(0.0)
    tracks = scripted(told([0.9], [edge])).update(found(edge), PICTURE)
    assert tracks.xyxy[0, 0] == pytest.approx(-10, abs=1e-3)


def test_identities_start_at_one_again_after_a_reset():
    tracker = scripted(told([0.9]), told([0.9, 0.9]), told([0.9, 0.9]))
    assert tracker.update(found(A), PICTURE).tracker_id.tolist() == [1]
    assert tracker.update(found(B), PICTURE).tracker_id.tolist() == [2, 1]
    tracker.reset()
    assert (tracker.state.frame, len(tracker.state.tracks)) == (0, 0)
    assert tracker.update(found(A, B), PICTURE).tracker_id.tolist() == [1, 2]


def test_a_reset_forgets_the_data_too():
    tracker = scripted(told([0.9]), told([0.9]))
    tracker.update(found(A, classes=[7], name=["ann"]), PICTURE)
    tracker.reset()
    tracks = tracker.update(found(A), PICTURE)
    assert (tracks.class_id.tolist(), tracks.data) == ([0], {})


# What came with a detection


def test_class_and_data_come_from_the_detection_a_track_was_born_of():
    tracker = scripted(
        told([0.9, 0.1, 0.9], [A, B, C]),
        told([0.9, 0.9, 0.9], [B, A, C]),
    )
    first = tracker.update(
        found(A, B, C, classes=[1, 2, 3], name=["ann", "bob", "cid"], vector=np.eye(3)), PICTURE
    )
    assert first.tracker_id.tolist() == [1, 2]
    assert first.class_id.tolist() == [1, 3]
    assert first.data["name"].tolist() == ["ann", "cid"]
    assert first.data["vector"].tolist() == [[1, 0, 0], [0, 0, 1]]

    second = tracker.update(found(B, classes=[2], name=["bob"], vector=[[5, 5, 5]]), PICTURE)
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
    tracker = scripted(told([0.9]), told([0.8]), told([0.2]), told([0.8]))
    born = found(A, classes=[4], name=["ann"])
    names = [
        tracker.update(detections, PICTURE).data.get("name", np.array([])).tolist()
        for detections in (born, given, given, given)
    ]
    assert names == [["ann"], ["ann"], [], ["ann"]]


def test_a_track_that_is_reported_late_has_the_data_of_its_birth():
    """Too small at birth to be told of."""
    speck, grown = box(0.5, w=0.02, h=0.02), box(0.5)
    tracker = scripted(told([0.9], [speck]), told([0.9], [grown]))
    assert len(tracker.update(found(speck, classes=[6], name=["ann"]), PICTURE)) == 0
    tracks = tracker.update(None, PICTURE)
    assert (tracks.class_id.tolist(), tracks.data["name"].tolist()) == ([6], ["ann"])


def test_a_track_of_a_learned_query_has_no_data():
    tracker = scripted(told([0.9, 0.9], [A, B]), learned=1)
    tracks = tracker.update(found(B, classes=[3], name=["bob"]), PICTURE)
    assert tracks.class_id.tolist() == [0, 3]
    assert tracks.data["name"].tolist() == [None, "bob"]


def test_data_of_different_shapes_stays_apart():
    tracker = scripted(told([0.9]), told([0.9, 0.9], [B, A]))
    tracker.update(found(A, outline=np.zeros((1, 3, 2))), PICTURE)
    tracks = tracker.update(found(B, outline=np.zeros((1, 5, 2))), PICTURE)
    assert [outline.shape for outline in tracks.data["outline"]] == [(5, 2), (3, 2)]


def test_the_data_of_the_dead_is_let_go():
    """A camera that runs for a week must not fill the memory."""
    script = [told([0.9]), *[told([0.9, 0.1])] * 5]
    tracker = scripted(*script, lifecycle__miss_tolerance="1")
    for _ in script:
        tracker.update(found(A, classes=[2], name=["ann"]), PICTURE)
    assert tracker.state.next_id == 6
    assert len(tracker._origins._data) == len(tracker._origins._class_ids) == 1


def test_a_track_that_claims_a_detection_takes_its_data_over():
    tracker = scripted(told([0.9]), told([0.1, 0.9], [A, A]), association__match_iou="0.5")
    tracker.update(found(A, classes=[1], name=["old"]), PICTURE)
    tracks = tracker.update(found(A, classes=[2], name=["new"]), PICTURE)
    assert tracks.tracker_id.tolist() == [1]
    assert (tracks.class_id.tolist(), tracks.data["name"].tolist()) == ([2], ["new"])


# In


def test_detections_without_confidence_are_sure():
    seen = []

    class Spy(Scripted):
        def queries(self, proposals):
            seen.append(proposals)
            return super().queries(proposals)

    tracker = QueryTracker(Spy(told([0.9])), NetworkConfig(), released())
    tracker.update(sv.Detections(xyxy=pixels(A)), PICTURE)
    assert seen[-1].scores.tolist() == [1.0]
    assert seen[-1].boxes[0].tolist() == pytest.approx(A)


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
    bad.xyxy[1], bad.confidence[1] = row, score  # supervision itself looks only when it is made
    with pytest.raises(InputError) as caught:
        tracker.update(bad, scene.images[3])
    for part in ("detection 1", word, "Drop it before tracking"):
        assert part in str(caught.value)
    assert tracker.state.frame == before.frame == 3
    assert torch.equal(tracker.state.tracks.queries.content, before.tracks.queries.content)


@pytest.mark.parametrize(("frame", "word"), [
    pytest.param(PICTURE.astype(np.float32), "not float32 [100, 200, 3]", id="floats"),
    pytest.param(PICTURE[None], "not uint8 [1, 100, 200, 3]", id="a batch"),
    pytest.param(PICTURE[:, :, :2], "1, 3 or 4 channels, not 2", id="two channels"),
    pytest.param(PICTURE[:0], "(0, 200, 3) has no pixels", id="no pixels"),
    pytest.param("frame.png", "not str", id="a name"),
    pytest.param(None, "not NoneType", id="nothing, as cv2.imread gives it"),
])
def test_what_is_no_frame_is_refused_and_changes_nothing(scene, tracker, frame, word):
    straight = follow(load_like(tracker), scene, range(3))
    got = follow(tracker, scene, range(2))
    with pytest.raises(InputError) as caught:
        tracker.update(detections_of(scene, 2), frame)
    assert word in str(caught.value)
    assert all_same([*got, *follow(tracker, scene, [2])], straight)


def load_like(tracker: QueryTracker) -> QueryTracker:
    return QueryTracker(tracker.model, tracker.network, tracker.config)


@pytest.mark.parametrize("convert", [
    pytest.param(lambda grey: grey, id="grey"),
    pytest.param(lambda grey: grey[:, :, None], id="grey with an axis"),
    pytest.param(lambda grey: cv2.cvtColor(grey, cv2.COLOR_GRAY2BGRA), id="BGRA"),
])
def test_grey_and_alpha_frames_are_converted(scene, tracker, convert):
    greys = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in scene.images[:4]]
    other = load_like(tracker)
    for index, grey in enumerate(greys):
        found_ = detections_of(scene, index)
        one = tracker.update(found_, convert(grey))
        assert same(one, other.update(found_, cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)))
        assert len(one)


def test_the_alpha_of_a_frame_is_dropped_and_its_colours_kept(scene, tracker):
    other = load_like(tracker)
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


def test_colours_count_and_so_does_their_order(scene, tracker):
    other = load_like(tracker)
    straight = follow(tracker, scene, range(4))
    swapped = [other.update(detections_of(scene, i), scene.images[i][..., ::-1]) for i in range(4)]
    assert not all_same(straight, swapped)


# Runs


def test_an_update_is_the_step_on_the_prepared_frame(scene, small_weights):
    """The shell adds nothing: the same numbers as the functions that it calls."""
    model, network = load_model(small_weights)
    tracker = QueryTracker(model, network, released())
    state = begin(model, released())
    reported = 0
    for index, image in enumerate(scene.images):
        with torch.inference_mode():
            features = model.encode(prepare(image, network.short_side, network.max_side))
        state, answer = step(model, state, features, scene.proposals(index), released())
        wanted = report(answer, image.shape[1], image.shape[0], released())
        tracks = tracker.update(scene.proposals(index), image)
        assert tracks.tracker_id.tolist() == (wanted.ids + 1).tolist()
        assert np.array_equal(tracks.xyxy, wanted.xyxy.numpy())
        assert np.array_equal(tracks.confidence, wanted.scores.numpy())
        reported += len(tracks)
    assert reported > 20


def test_detections_and_proposals_are_two_ways_to_say_the_same(scene, tracker):
    other = load_like(tracker)
    ones = follow(tracker, scene)
    others = [other.update(scene.proposals(i), image) for i, image in enumerate(scene.images)]
    for one, two in zip(ones, others, strict=True):
        assert one.tracker_id.tolist() == two.tracker_id.tolist()
        assert one.xyxy == pytest.approx(two.xyxy, abs=1e-3)


def test_two_trackers_share_nothing_but_the_network(scene, tracker):
    """Turn by turn on two videos, as each on its own."""
    forwards, backwards = range(12), range(11, -1, -1)
    alone = [follow(load_like(tracker), scene, order) for order in (forwards, backwards)]
    one, other = load_like(tracker), load_like(tracker)
    pairs = [
        (follow(one, scene, [i])[0], follow(other, scene, [j])[0])
        for i, j in zip(forwards, backwards, strict=True)
    ]
    assert all_same(alone[0], [pair[0] for pair in pairs])
    assert all_same(alone[1], [pair[1] for pair in pairs])
    assert not all_same(*alone)


def test_a_run_can_be_repeated(scene, tracker):
    first = follow(tracker, scene)
    tracker.reset()
    assert all_same(first, follow(tracker, scene))


# Whole videos


def test_a_video_is_tracked_frame_by_frame(scene, tracker):
    given = list(tracker.track(scene.folder, detections=scene.detections))
    assert [frame.number for frame, _ in given] == list(range(1, 13))
    other = load_like(tracker)
    wanted = [other.update(scene.proposals(i), image) for i, image in enumerate(scene.images)]
    assert all_same([tracks for _, tracks in given], wanted)


def test_tracks_come_as_the_frames_are_read(scene, tracker):
    run = tracker.track(scene.folder, detections=scene.detections)
    next(run)
    assert tracker.state.frame == 1
    next(run)
    assert tracker.state.frame == 2
    run.close()


@pytest.mark.parametrize("in_advance", [0, 1, 30])
def test_what_is_done_in_advance_changes_no_result(scene, tracker, in_advance):
    wanted = list(tracker.track(scene.folder, detections=scene.detections))
    run = tracker.track(scene.folder, detections=scene.detections, in_advance=in_advance)
    found = list(run)
    assert [frame.number for frame, _ in found] == [frame.number for frame, _ in wanted]
    assert all_same([tracks for _, tracks in found], [tracks for _, tracks in wanted])


@pytest.mark.parametrize("batch", [
    pytest.param(3, id="the last batch is short"),
    pytest.param(100, id="all at once"),
])
def test_frames_may_be_encoded_together(scene, tracker, batch):
    wanted = list(tracker.track(scene.folder, detections=scene.detections))
    found = list(tracker.track(scene.folder, detections=scene.detections, batch=batch))
    for (frame, ours), (at, theirs) in zip(found, wanted, strict=True):
        assert frame.number == at.number
        assert ours.tracker_id.tolist() == theirs.tracker_id.tolist()
        np.testing.assert_allclose(ours.xyxy, theirs.xyxy, atol=0.01)


@pytest.mark.parametrize(("settings", "said"), [
    pytest.param({"precision": "fp16"}, "take bf16 or fp32", id="float16 on a CPU"),
    pytest.param({"precision": "fp8"}, "precision is one of auto, fp32", id="an unknown kind"),
    pytest.param({"precision": "neck=bf16"}, "has the parts backbone", id="an unknown part"),
    pytest.param({"precision": "bf16", "exact": True}, "another order", id="narrow and exact"),
])
def test_a_precision_that_cannot_be_is_refused(small_weights, settings, said):
    with pytest.raises(InputError, match=said):
        load(small_weights, device="cpu", **settings)


def test_every_video_starts_afresh(scene, tracker):
    first = [tracks for _, tracks in tracker.track(scene.folder, detections=scene.detections)]
    again = [tracks for _, tracks in tracker.track(scene.folder, detections=scene.detections)]
    assert all_same(first, again)


@pytest.mark.parametrize("kind", ["det.txt path", "its name", "a function", "as a detector"])
def test_boxes_may_come_from_a_file_or_a_function(scene, tracker, kind):
    asked = []

    def function(frame):
        asked.append(frame.number)
        return scene.proposals(frame.number - 1)

    given = {
        "det.txt path": {"detections": scene.detections},
        "its name": {"detections": str(scene.detections)},
        "a function": {"detections": function},
        "as a detector": {"detector": function},
    }[kind]
    got = [tracks for _, tracks in tracker.track(scene.folder, **given)]
    other = load_like(tracker)
    wanted = [other.update(scene.proposals(i), image) for i, image in enumerate(scene.images)]
    assert all_same(got, wanted)
    assert asked == (list(range(1, 13)) if function in given.values() else [])


@pytest.mark.parametrize(("given", "numbers"), [
    pytest.param({"start": 3}, range(3, 13), id="start"),
    pytest.param({"end": 4}, range(1, 5), id="end"),
    pytest.param({"stride": 5}, [1, 6, 11], id="stride"),
    pytest.param({"start": 2, "end": 9, "stride": 3}, [2, 5, 8], id="all three"),
])
def test_a_part_of_a_video(scene, tracker, given, numbers):
    """Boxes stay with their frames."""
    run = list(tracker.track(scene.folder, detections=scene.detections, **given))
    assert [frame.number for frame, _ in run] == list(numbers)
    other = load_like(tracker)
    wanted = [other.update(scene.proposals(n - 1), scene.images[n - 1]) for n in numbers]
    assert all_same([tracks for _, tracks in run], wanted)


def test_an_open_source_is_used_as_it_is(scene, tracker):
    source = open_video(scene.folder, start=4, stride=4)
    run = list(tracker.track(source, detections=open_detections(scene.detections)))
    assert [frame.number for frame, _ in run] == [4, 8, 12]
    assert list(source) == []  # closed


@pytest.mark.parametrize("given", [{"start": 2}, {"end": 3}, {"stride": 2}, {"order": "name"}])
def test_the_range_of_an_open_source_is_its_own(scene, tracker, given):
    with pytest.raises(InputError, match="open already; give the range and order to open_source"):
        next(tracker.track(open_video(scene.folder), detections=scene.detections, **given))


@pytest.mark.parametrize("both", [True, False])
def test_boxes_come_from_exactly_one_place(scene, tracker, both):
    given = {"detections": scene.detections, "detector": "yolox-nano"} if both else {}
    with pytest.raises(InputError, match=r"give either detections .* or a detector"):
        next(tracker.track(scene.folder, **given))


def test_an_unknown_detector_is_named(scene, tracker):
    with pytest.raises(InputError, match="yolo-9000"):
        next(tracker.track(scene.folder, detector="yolo-9000"))


def test_a_damaged_video_is_tracked_up_to_the_damage(scene, tracker, tmp_path):
    folder = tmp_path / "img1"
    folder.mkdir()
    for path in scene.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    damaged = folder / "00000004.png"
    damaged.write_bytes(damaged.read_bytes()[:500])
    got = []
    with pytest.raises(TruncatedInput, match=r"00000004.png \(frame 4 of 12\)"):
        got.extend(tracker.track(folder, detections=scene.detections))
    assert [frame.number for frame, _ in got] == [1, 2, 3]


# Loading


def test_loading_takes_the_scale_from_the_file_or_from_the_caller(small_weights):
    assert (load(small_weights).network, load(small_weights).config) == (NETWORK, default())
    other = load(small_weights, released(), short_side=96).network
    assert (other.short_side, other.max_side) == (96, NETWORK.max_side)
    other = load(str(small_weights), max_side=64).network
    assert (other.short_side, other.max_side) == (NETWORK.short_side, 64)


def test_the_scale_matters(scene, small_weights):
    one = load(small_weights, released())
    other = load(small_weights, released(), short_side=96, max_side=200)
    assert not all_same(follow(one, scene, range(3)), follow(other, scene, range(3)))


def test_a_loaded_network_tracks_as_the_saved_one(scene, small_weights):
    """Batch norms are folded on loading: the same tracks within rounding."""
    model, network = load_model(small_weights)
    ones = follow(QueryTracker(model, network, released()), scene)
    for one, other in zip(ones, follow(load(small_weights, released()), scene), strict=True):
        assert one.tracker_id.tolist() == other.tracker_id.tolist()
        assert one.xyxy == pytest.approx(other.xyxy, abs=0.05)


@pytest.mark.parametrize(("given", "word"), [
    pytest.param({"short_side": 0}, "short_side is 0", id="no pixels"),
    pytest.param({"max_side": -5}, "max_side is -5", id="less than none"),
    pytest.param({"device": "gpu"}, "'gpu'", id="a device that does not exist"),
    pytest.param({"device": "cuda:99"}, "'cuda:99'", id="a device that is not here"),
])
def test_loading_refuses_what_cannot_be(small_weights, given, word):
    with pytest.raises(InputError) as caught:
        load(small_weights, **given)
    assert word in str(caught.value)
    assert "give" in str(caught.value)


def test_weights_that_are_not_there_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"no checkpoint at .*lost.pth"):
        load(tmp_path / "lost.pth")


def test_the_embedded_network_is_in_the_package_and_small():
    path = embedded("tiny")
    assert path.is_file(), f"{path.name} is missing from the package"
    assert path.stat().st_size <= 20e6


def test_the_embedded_network_is_what_is_loaded(scene):
    tracker = tfsasm.load()
    assert tracker.model.size > 1e6
    tracks = follow(tracker, scene, range(4))
    assert tracker.state.frame == len(tracks) == 4
    tracker.reset()
    assert all_same(tracks, follow(tracker, scene, range(4)))


# Names


@pytest.mark.parametrize("name", tfsasm.__all__)
def test_every_public_name_is_there_with_a_docstring(name):
    assert name in dir(tfsasm)
    value = getattr(tfsasm, name)
    assert name == "__version__" or value.__doc__


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no attribute 'trakcer'"):
        tfsasm.trakcer  # noqa: B018
