"""What a whole video may be given as is the same for every tracker."""

import json
from itertools import islice
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import supervision as sv

import tfsasm
from helpers.scenes import all_same
from tfsasm.cli.main import main
from tfsasm.errors import InputError
from tfsasm.tracking.appearance.tracker import AppearanceTracker
from tfsasm.tracking.config import released
from tfsasm.tracking.load import load
from tfsasm.video.source import open_video
from tfsasm.video.writer import VideoWriter

FEW = 4
"""The first frames of the scene, of which all have detections."""


@pytest.fixture(scope="module", params=["query", "appearance"])
def one_tracker(request, small_weights):
    return load(small_weights, released()) if request.param == "query" else AppearanceTracker()


@pytest.fixture
def tracker(one_tracker):
    one_tracker.reset()
    return one_tracker


@pytest.fixture(scope="module")
def wanted(one_tracker, scene):
    """The tracks of the first frames, from files."""
    run = one_tracker.track(open_video(scene.folder, end=FEW), scene.detections)
    return tuple(tracks for _, tracks in run)


@pytest.fixture
def film(scene, tmp_path):
    with VideoWriter(tmp_path / "film.mp4", 25) as movie:
        for image in scene.images:
            movie.write(image)
    return movie.path


def rows_of(scene, number):
    """The detections of a frame in pixels `[N, 6]`."""
    height, width = scene.images[0].shape[:2]
    found = scene.proposals(number - 1).in_pixels(width, height)
    return np.column_stack([found.xyxy, found.confidence, np.zeros(len(found))])


def ultralytics(rows):
    boxes = SimpleNamespace(xyxy=rows[:, :4], conf=rows[:, 4], cls=rows[:, 5])
    return SimpleNamespace(boxes=boxes, names={0: "person"})


AS = {
    "array": lambda rows: rows,
    "boxes and scores": lambda rows: rows[:, :5],
    "supervision": lambda rows: sv.Detections(
        rows[:, :4], confidence=rows[:, 4], class_id=rows[:, 5].astype(int)
    ),
    "ultralytics": ultralytics,
    "ultralytics in a list": lambda rows: [ultralytics(rows)],
    "rows": lambda rows: rows.tolist(),
}


@pytest.mark.parametrize("kind", AS)
def test_a_detector_may_return_what_update_takes(scene, tracker, wanted, kind):
    run = tracker.track(scene.images[:FEW], lambda frame: AS[kind](rows_of(scene, frame.number)))
    found = [tracks for _, tracks in run]
    assert sum(map(len, wanted))
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.tracker_id.tolist() == theirs.tracker_id.tolist()
        np.testing.assert_allclose(ours.xyxy, theirs.xyxy, atol=0.01)


def test_nothing_is_a_normal_answer_of_each_kind(scene, tracker):
    nothing = np.zeros((0, 6))
    wanted = [tracks for _, tracks in tracker.track(scene.images[:1], lambda frame: None)]
    for make in AS.values():
        run = tracker.track(scene.images[:1], lambda frame, make=make: make(nothing))
        assert all_same([tracks for _, tracks in run], wanted)


def test_names_of_classes_come_along(scene, tracker):
    run = tracker.track(
        scene.images[:FEW], lambda frame: ultralytics(rows_of(scene, frame.number))
    )
    names = {name for _, tracks in run for name in tracks.data.get("class_name", ())}
    assert names - {None} == {"person"}  # a learned query's track comes of no detection


SOURCES = {
    "list": lambda scene: scene.images[:FEW],
    "generator": lambda scene: (image for image in scene.images[:FEW]),
    "array": lambda scene: np.stack(scene.images[:FEW]),
    "frames": lambda scene: list(open_video(scene.folder, end=FEW)),
    "one after the other in the same array": lambda scene: in_place(scene.images[:FEW]),
}


def in_place(images):
    buffer = np.empty_like(images[0])
    for image in images:
        buffer[:] = image
        yield buffer


@pytest.mark.parametrize("kind", SOURCES)
def test_frames_may_come_from_anywhere(scene, tracker, wanted, kind):
    run = list(tracker.track(SOURCES[kind](scene), scene.detections))
    assert [frame.number for frame, _ in run] == list(range(1, FEW + 1))
    assert all_same([tracks for _, tracks in run], wanted)


def test_a_capture_of_opencv(scene, tracker, film):
    capture = cv2.VideoCapture(str(film))
    run = list(tracker.track(capture, scene.detections))
    assert [(frame.number, frame.time) for frame, _ in run] == [(n, (n - 1) / 25)
                                                               for n in range(1, 13)]  # fmt: skip
    assert capture.isOpened()  # it belongs to its maker
    np.testing.assert_allclose(run[-1][0].image.astype(int), scene.images[-1].astype(int), atol=60)


@pytest.mark.parametrize(("source", "wanted"), [
    pytest.param(np.zeros((4, 4, 3), np.uint8), "an array .4, 4, 3. is no video", id="an image"),
    pytest.param([np.zeros((4, 4, 3))], "frame 1 of the frames given.*float64", id="no uint8"),
    pytest.param(["a.jpg"], "frame 1 of the frames given.*not str", id="names"),
    pytest.param(1.5, "float is no video", id="a number"),
    pytest.param(cv2.VideoCapture("absent.mp4"), "VideoCapture is not open", id="closed"),
])  # fmt: skip
def test_what_is_no_video(tracker, source, wanted):
    with pytest.raises(InputError, match=wanted):
        next(tracker.track(source, lambda frame: None))


@pytest.mark.parametrize(("detector", "wanted"), [
    pytest.param(7, "int is no detector", id="a number"),
    pytest.param(lambda frame: "none", "detections are", id="text"),
    pytest.param(lambda frame: SimpleNamespace(boxes=None), "no upright boxes", id="no boxes"),
])
def test_what_is_no_detector(scene, tracker, detector, wanted):
    with pytest.raises(InputError, match=wanted):
        next(tracker.track(scene.images, detector))


def test_tracks_tell_those_that_are_lost(scene, tracker):
    assert tracker.tracks == []
    for number, image in enumerate(scene.images[:6], start=1):
        seen = tracker.update(rows_of(scene, number), image)
    present = {track.id: track for track in tracker.tracks}
    assert set(seen.tracker_id.tolist()) <= set(present)
    for identity, box in zip(seen.tracker_id.tolist(), seen.xyxy, strict=True):
        assert present[identity].lost == 0
        np.testing.assert_allclose(present[identity].xyxy, box, atol=0.01)
    if isinstance(tracker, AppearanceTracker):
        for _ in range(3):
            assert len(tracker.update(None, scene.images[5])) == 0  # the camera stands still
        lost = {track.id: track for track in tracker.tracks}
        assert set(lost) == set(present)
        assert all(lost[i].lost == present[i].lost + 3 for i in lost)
        moved = [abs(lost[i].xyxy - present[i].xyxy).max() for i in lost]
        assert max(moved) == 0
    tracker.reset()
    assert tracker.tracks == []


def test_one_line_gives_what_the_command_gives(scene, film, tmp_path):
    with pytest.raises(SystemExit, match="0"):
        main(["track", str(film), "--detections", str(scene.detections), "--save", "json",
              "--output", str(tmp_path), "--quiet"])  # fmt: skip
    frames = json.loads((tmp_path / "film.json").read_text())["frames"]
    run = list(tfsasm.track(film, scene.detections))
    assert sum(len(tracks) for _, tracks in run)
    assert [[row["id"] for row in frame["tracks"]] for frame in frames] == [
        tracks.tracker_id.tolist() for _, tracks in run
    ]


def test_one_line_finds_people_itself(film):
    frames = [frame.number for frame, _ in islice(tfsasm.track(film), 3)]
    assert frames == [1, 2, 3]
