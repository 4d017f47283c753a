"""The classic trackers through their public interface."""

import json
import sys

import numpy as np
import pytest

from tfsasm.detection.proposals import Proposals, as_detections
from tfsasm.errors import InputError
from tfsasm.tracking.baselines import CLASSICS, ClassicTracker, parse
from tfsasm.tracking.named import parse_trackers

try:
    import trackers
except ImportError:
    trackers = None

needs_trackers = pytest.mark.skipif(
    trackers is None, reason='needs the package trackers: pip install "tfsasm[baselines]"'
)


def walkers(number):
    """Two people who walk past each other, and a detection of low score."""
    return np.array([
        [10 + 2.0 * number, 20, 20, 40, 0.9], [150 - 2.0 * number, 80, 22, 44, 0.8],
        [60, 10, 10, 20, 0.02],
    ])  # fmt: skip


@needs_trackers
@pytest.mark.parametrize("name", CLASSICS)
def test_each_of_them_keeps_two_people_apart(name):
    tracker = ClassicTracker(name)
    frames = [tracker.update(as_detections(walkers(number))) for number in range(1, 31)]
    for number, tracks in enumerate(frames[5:], start=6):
        assert len(set(tracks.tracker_id.tolist())) == len(tracks) == 2
        assert set(tracks.tracker_id.tolist()) == set(frames[-1].tracker_id.tolist())
        boxes = tracks.xyxy[np.argsort(tracks.confidence)[::-1]]
        wanted = walkers(number)[:2]
        np.testing.assert_allclose(
            boxes, np.hstack([wanted[:, :2], wanted[:, :2] + wanted[:, 2:4]]), atol=1.0
        )
    assert min(frames[-1].tracker_id) >= 1


@needs_trackers
@pytest.mark.parametrize("name", CLASSICS)
def test_frames_without_detections_are_frames(name):
    tracker = ClassicTracker(name)
    for boxes in (np.zeros((0, 5)), walkers(1), np.zeros((0, 5)), walkers(3)):
        tracks = tracker.update(as_detections(boxes))
        assert len(tracks.tracker_id) == len(tracks.confidence) == len(tracks)
    assert len(tracker.update(None)) >= 0


@needs_trackers
def test_two_trackers_share_nothing_and_a_reset_starts_anew():
    first, second = ClassicTracker("sort"), ClassicTracker("sort")
    videos = []
    for tracker in (first, second, first):
        tracker.reset()
        videos.append([
            tracker.update(as_detections(walkers(number))).tracker_id.tolist()
            for number in range(1, 10)
        ])
    assert videos[0] == videos[1] == videos[2]
    assert videos[0][-1] == [1, 2]


@needs_trackers
@pytest.mark.parametrize("name", CLASSICS)
def test_only_one_is_given_the_frames(name, monkeypatch):
    seen = []
    kind = getattr(trackers, CLASSICS[name])
    real = kind.update
    monkeypatch.setattr(
        kind, "update", lambda self, found, frame: seen.append(frame) or real(self, found, frame)
    )
    image = np.zeros((60, 80, 3), np.uint8)
    ClassicTracker(name).update(as_detections(walkers(1)), image)
    assert [frame is image for frame in seen] == [name == "botsort"]


@needs_trackers
@pytest.mark.parametrize("shape", [(60, 80), (60, 80, 1), (60, 80, 4)])
def test_a_frame_may_be_grey_or_have_an_alpha_channel(shape):
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    tracker = ClassicTracker("botsort")
    for _ in range(3):
        tracks = tracker.update(as_detections(walkers(1)), image)
    assert tracks.tracker_id.tolist() == [1, 2]
    with pytest.raises(InputError, match="a frame is a uint8 array"):
        tracker.update(as_detections(walkers(1)), image.astype(float))


@needs_trackers
def test_proposals_need_the_size_of_the_image():
    boxes = walkers(1)
    proposals = Proposals.from_ltwh(boxes[:, :4], boxes[:, 4], 200, 200)
    tracker, image = ClassicTracker("sort"), np.zeros((200, 200, 3), np.uint8)
    with pytest.raises(InputError, match="give the frame"):
        tracker.update(proposals)
    for _ in range(4):
        tracks = tracker.update(proposals, image)
    np.testing.assert_allclose(tracks.xyxy[0], [12, 20, 32, 60], atol=1.0)


@needs_trackers
@pytest.mark.parametrize("name", CLASSICS)
def test_parameters_can_be_put_into_json(name):
    parameters = parse_trackers([name])[name].parameters()
    assert parameters["lost_track_buffer"] == 30
    assert json.loads(json.dumps(parameters)) == parameters


@needs_trackers
def test_parameters_can_be_given():
    settings = {"lost_track_buffer": "5", "minimum_iou_threshold": "0.25"}
    assert parse("ocsort", settings) == {"lost_track_buffer": 5, "minimum_iou_threshold": 0.25}
    assert parse("botsort", {"enable_cmc": "false"}) == {"enable_cmc": False}


@needs_trackers
@pytest.mark.parametrize(("setting", "message"), [
    pytest.param(("buffer", "1"), "ocsort has no parameter 'buffer'; it has lost_track_buffer, ",
                 id="unknown"),
    pytest.param(("delta_t", "much"), "delta_t of ocsort is a whole number, not 'much'", id="text"),
    pytest.param(("iou", "GIoU"), "iou of ocsort cannot be given on the command line", id="class"),
    pytest.param(("frame_rate", "-3"), "ocsort does not take these parameters", id="impossible"),
])
def test_what_is_no_parameter_is_refused(setting, message):
    with pytest.raises(InputError, match=message):
        parse("ocsort", dict([setting]))


def test_without_the_package_the_message_has_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(InputError, match=r'sort needs .*: pip install "tfsasm\[baselines\]"'):
        ClassicTracker("sort")
