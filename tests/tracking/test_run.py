"""Any tracker over a whole video."""

import threading
from pathlib import Path

import numpy as np
import pytest

from helpers.scenes import all_same
from tfsasm.detection.stored import open_detections
from tfsasm.errors import InputError, TruncatedInput
from tfsasm.tracking.appearance.tracker import AppearanceTracker
from tfsasm.tracking.config import released
from tfsasm.tracking.load import load
from tfsasm.tracking.query import QueryTracker
from tfsasm.tracking.run import is_stored, threads_of_a_part, track_video
from tfsasm.video.source import open_video


@pytest.fixture(scope="module")
def network(small_weights):
    return load(small_weights).network


@pytest.fixture
def tracker(network):
    return QueryTracker(network, released())


@pytest.fixture(scope="module")
def updated(network, scene):
    """The tracks of a tracker that is updated frame by frame."""
    return tuple(as_updated(QueryTracker(network, released()), scene))


def as_updated(tracker, scene, numbers=range(1, 13)):
    """The tracks of a fresh tracker of the same network that is updated frame by frame."""
    other = QueryTracker(tracker.network, tracker.config)
    return [other.update(scene.proposals(n - 1), scene.images[n - 1]) for n in numbers]


def test_a_video_is_tracked_frame_by_frame(scene, tracker, updated):
    given = list(tracker.track(scene.folder, scene.detections))
    assert [frame.number for frame, _ in given] == list(range(1, 13))
    assert all_same([tracks for _, tracks in given], updated)


def test_tracks_come_as_the_frames_are_read(scene, tracker):
    run = tracker.track(scene.folder, scene.detections)
    next(run)
    assert tracker.state.frame == 1
    next(run)
    assert tracker.state.frame == 2
    run.close()


@pytest.mark.parametrize("prefetch", [0, 1, 30])
def test_what_is_done_in_advance_changes_no_result(scene, tracker, updated, prefetch):
    found = list(tracker.track(scene.folder, scene.detections, prefetch=prefetch))
    assert [frame.number for frame, _ in found] == list(range(1, 13))
    assert all_same([tracks for _, tracks in found], updated)


@pytest.mark.parametrize("batch", [
    pytest.param(3, id="the last batch is short"),
    pytest.param(100, id="all at once"),
])
def test_frames_may_be_encoded_together(scene, tracker, updated, batch):
    found = list(tracker.track(scene.folder, scene.detections, batch=batch))
    for number, ((frame, ours), theirs) in enumerate(zip(found, updated, strict=True), start=1):
        assert frame.number == number
        assert ours.tracker_id.tolist() == theirs.tracker_id.tolist()
        np.testing.assert_allclose(ours.xyxy, theirs.xyxy, atol=0.01)


def test_every_video_starts_afresh(scene, tracker, updated):
    tracker.update(scene.proposals(3), scene.images[3])
    run = tracker.track(scene.images[:3], scene.detections)
    assert all_same([tracks for _, tracks in run], updated[:3])


@pytest.mark.parametrize("kind", ["name", "function"])
def test_detections_may_also_come_from_a_named_file_or_a_function(scene, tracker, updated, kind):
    given = []

    def function(frame):
        given.append(frame.number)
        return scene.proposals(frame.number - 1)

    detector = {"name": str(scene.detections), "function": function}[kind]
    run = tracker.track(open_video(scene.folder, end=4), detector)
    assert all_same([tracks for _, tracks in run], updated[:4])
    assert given == ([1, 2, 3, 4] if kind == "function" else [])


@pytest.mark.parametrize(("given", "numbers"), [
    pytest.param({"start": 9}, range(9, 13), id="start"),
    pytest.param({"end": 4}, range(1, 5), id="end"),
    pytest.param({"stride": 5}, [1, 6, 11], id="stride"),
    pytest.param({"start": 2, "end": 9, "stride": 3}, [2, 5, 8], id="all three"),
])
def test_a_part_of_a_video(scene, tracker, given, numbers):
    """Boxes stay with their frames."""
    run = list(tracker.track(open_video(scene.folder, **given), scene.detections))
    assert [frame.number for frame, _ in run] == list(numbers)
    wanted = as_updated(tracker, scene, numbers)
    assert all_same([tracks for _, tracks in run], wanted)


def test_an_open_source_is_used_as_it_is(scene, tracker):
    source = open_video(scene.folder, start=4, stride=4)
    run = list(tracker.track(source, open_detections(scene.detections)))
    assert [frame.number for frame, _ in run] == [4, 8, 12]
    assert list(source) == []  # closed


def test_a_folder_of_detections_is_told_from_the_name_of_a_detector(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("labels", "yolox-nano"):
        (tmp_path / name).mkdir()
    stored = ("labels", "./yolox-nano", Path("labels"), "det.txt", Path("det_db.json"))
    assert all(is_stored(given) for given in stored)
    assert not any(is_stored(given) for given in ("yolox-nano", "yolox-s", None, print))


def test_an_unknown_detector_is_named(scene, tracker):
    with pytest.raises(InputError, match="yolo-9000"):
        next(tracker.track(scene.folder, "yolo-9000"))


def test_what_a_tracker_refuses_is_told_with_its_frame(scene, tracker, monkeypatch):
    most = max(len(scene.proposals(k)) for k in range(12))
    first = next(k + 1 for k in range(12) if len(scene.proposals(k)) == most)
    monkeypatch.setenv("TFSASM_MAX_BOXES", str(most - 1))
    with pytest.raises(InputError, match=rf"^frame {first}: a frame has {most} boxes"):
        list(tracker.track(scene.folder, scene.detections))


def test_a_damaged_video_is_tracked_up_to_the_damage(scene, tracker, tmp_path):
    folder = tmp_path / "img1"
    folder.mkdir()
    for path in scene.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    damaged = folder / "00000004.png"
    damaged.write_bytes(damaged.read_bytes()[:500])
    got = []
    with pytest.raises(TruncatedInput, match=r"00000004.png \(frame 4 of 12\)"):
        got.extend(tracker.track(folder, scene.detections))
    assert [frame.number for frame, _ in got] == [1, 2, 3]


def test_any_tracker_will_do(scene):
    tracker, other = AppearanceTracker(), AppearanceTracker()
    tracks = [tracks for _, tracks in track_video(tracker, scene.folder, scene.detections)]
    wanted = [other.update(scene.proposals(i), image) for i, image in enumerate(scene.images)]
    assert all_same(tracks, wanted)
    assert any(len(one) for one in tracks)


@pytest.mark.parametrize(("parameters", "cores", "threads"), [
    pytest.param(3_000_000, 8, 4, id="a small network shares the cores with what works beside it"),
    pytest.param(3_000_000, 1, 1, id="of one core there is one"),
    pytest.param(42_000_000, 8, 8, id="a large one takes them all"),
])
def test_threads_of_a_part(parameters, cores, threads):
    assert threads_of_a_part(parameters, cores) == threads


@pytest.mark.parametrize(("kind", "count"), [("appearance", 2), ("query", 3)])
def test_decoding_detection_and_what_is_prepared_have_a_thread_each(scene, tracker, kind, count):
    run = track_video(
        AppearanceTracker() if kind == "appearance" else tracker, scene.folder, scene.detections
    )
    before = set(threading.enumerate())
    next(run)
    assert len(set(threading.enumerate()) - before) == count
    run.close()
