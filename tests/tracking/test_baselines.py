"""The classic trackers through their public interface."""

import json
import sys

import numpy as np
import pytest

from tfsasm.errors import InputError
from tfsasm.tracking.baselines import CLASSICS, Classic, classic

try:
    import trackers
except ImportError:
    trackers = None

needs_trackers = pytest.mark.skipif(
    trackers is None, reason='needs the package trackers: pip install "tfsasm[baselines]"'
)


def walkers(number):
    """Two people who walk past each other, and one who is hardly seen."""
    return np.array([
        [10 + 2.0 * number, 20, 20, 40, 0.9], [150 - 2.0 * number, 80, 22, 44, 0.8],
        [60, 10, 10, 20, 0.02],
    ])  # fmt: skip


@needs_trackers
@pytest.mark.parametrize("name", CLASSICS)
def test_each_of_them_keeps_two_people_apart(name):
    run = classic(name).start()
    told = [run.update(walkers(number), None) for number in range(1, 31)]
    for number, frame in enumerate(told[5:], start=6):
        assert len(set(frame.ids.tolist())) == len(frame.ids) == 2
        assert set(frame.ids.tolist()) == set(told[-1].ids.tolist())
        left = frame.xyxy[np.argsort(frame.scores)[::-1]]
        wanted = walkers(number)[:2]
        np.testing.assert_allclose(
            left, np.hstack([wanted[:, :2], wanted[:, :2] + wanted[:, 2:4]]), atol=1.0
        )
    assert min(told[-1].ids) >= 1


@needs_trackers
@pytest.mark.parametrize("name", CLASSICS)
def test_frames_without_boxes_are_frames(name):
    run = classic(name).start()
    for boxes in (np.zeros((0, 5)), walkers(1), np.zeros((0, 5)), walkers(3)):
        told = run.update(boxes, None)
        assert len(told.ids) == len(told.xyxy) == len(told.scores)


@needs_trackers
def test_two_runs_share_nothing():
    first, second = classic("sort").start(), classic("sort").start()
    for number in range(1, 10):
        ours, theirs = first.update(walkers(number), None), second.update(walkers(number), None)
        assert ours.ids.tolist() == theirs.ids.tolist()


@needs_trackers
@pytest.mark.parametrize("name", CLASSICS)
def test_only_one_is_shown_the_frames(name, monkeypatch):
    seen = []
    kind = getattr(trackers, CLASSICS[name])
    real = kind.update
    monkeypatch.setattr(
        kind, "update", lambda self, found, frame: seen.append(frame) or real(self, found, frame)
    )
    image = np.zeros((60, 80, 3), np.uint8)
    classic(name).start().update(walkers(1), image)
    assert [frame is image for frame in seen] == [name == "botsort"]
    assert classic(name).looks == (name == "botsort")


@needs_trackers
@pytest.mark.parametrize("name", CLASSICS)
def test_parameters_can_be_put_into_json(name):
    told = classic(name).parameters()
    assert told["lost_track_buffer"] == 30
    assert json.loads(json.dumps(told)) == told


@needs_trackers
def test_parameters_can_be_given():
    changed = classic("ocsort", [("lost_track_buffer", "5"), ("minimum_iou_threshold", "0.25")])
    assert changed.parameters() == classic("ocsort").parameters() | {
        "lost_track_buffer": 5, "minimum_iou_threshold": 0.25,
    }  # fmt: skip
    assert changed.start()._tracker.minimum_iou_threshold == 0.25


@needs_trackers
def test_yes_and_no_are_parameters_too():
    assert classic("botsort", [("enable_cmc", "false")]).parameters()["enable_cmc"] is False


@needs_trackers
@pytest.mark.parametrize(("setting", "complaint"), [
    pytest.param(("buffer", "1"), "ocsort has no parameter 'buffer'; it has lost_track_buffer, ",
                 id="unknown"),
    pytest.param(("delta_t", "much"), "delta_t of ocsort is a whole number, not 'much'", id="text"),
    pytest.param(("iou", "GIoU"), "iou of ocsort cannot be given on the command line", id="class"),
    pytest.param(("frame_rate", "-3"), "ocsort does not take these parameters", id="impossible"),
])
def test_what_is_no_parameter_is_refused(setting, complaint):
    with pytest.raises(InputError, match=complaint):
        classic("ocsort", [setting])


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(InputError, match=r'sort needs .*: pip install "tfsasm\[baselines\]"'):
        classic("sort")
    assert Classic("sort", {}).looks is False
