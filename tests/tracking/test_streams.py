"""Several videos at once, their frames encoded together."""

import threading

import numpy as np
import pytest
import torch

from helpers.fakes import ScriptedNetwork, SureNetwork
from helpers.scenes import all_same
from tfsasm.errors import InputError, TruncatedInput
from tfsasm.tracking.config import released
from tfsasm.tracking.load import load
from tfsasm.tracking.query import QueryTracker
from tfsasm.tracking.streams import in_turn, track_videos


@pytest.fixture
def threads():
    """Sets PyTorch's, for the test; one by default, whose sums are the same in every batch."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def network(small_weights):
    return load(small_weights, device="cpu").network


@pytest.fixture
def tracker(network, threads):
    return QueryTracker(network, released())


@pytest.fixture(scope="module")
def alone(network, scene):
    """Numbers and tracks of each of the videos, one after the other."""
    tracker, (videos, detector) = QueryTracker(network, released()), parts(scene)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    found = [[(frame.number, tracks) for frame, tracks in tracker.track(video, detector)]
             for video in videos]  # fmt: skip
    torch.set_num_threads(before)
    return found


class Noting(SureNetwork):
    """A network that notes the sizes of its batches."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def input_size(self, height, width):
        return (height // 2, width // 2)

    def encode(self, images):
        self.batches.append([image.shape[0] for image in images])
        return super().encode(images)


@pytest.fixture
def noting():
    return QueryTracker(Noting(), released())


def parts(scene):
    """Videos of 6, 3, 0, 4 and 1 frames, and the boxes of a frame by its image."""
    images = scene.images
    videos = [images[:6], images[4:7], [], images[5:9], images[:1]]
    boxes = {image.tobytes(): scene.proposals(index) for index, image in enumerate(images)}
    return videos, lambda frame: boxes[frame.image.tobytes()]


def by_video(run, count):
    found = [[] for _ in range(count)]
    for number, frame, tracks in run:
        found[number].append((frame.number, tracks))
    return found


@pytest.mark.parametrize("streams", [1, 2, 3, 9])
def test_videos_together_are_tracked_as_alone(scene, tracker, alone, streams):
    videos, detector = parts(scene)
    found = by_video(track_videos(tracker, videos, detector, streams=streams), len(videos))
    for ours, wanted in zip(found, alone, strict=True):
        assert [number for number, _ in ours] == [number for number, _ in wanted]
        assert all_same([tracks for _, tracks in ours], [tracks for _, tracks in wanted])
    assert any(len(tracks) for _, tracks in found[0])


def test_with_more_threads_a_batch_only_rounds_otherwise(scene, tracker, alone, threads):
    videos, detector = parts(scene)
    threads(2)
    found = by_video(track_videos(tracker, videos, detector, streams=3), len(videos))
    for ours, theirs in zip(found, alone, strict=True):
        for (_, tracks), (_, other) in zip(ours, theirs, strict=True):
            assert tracks.tracker_id.tolist() == other.tracker_id.tolist()
            np.testing.assert_allclose(tracks.xyxy, other.xyxy, atol=0.01)


def frames(count, height=8):
    return [np.full((height, 6, 3), number, np.uint8) for number in range(count)]


def nothing(frame):
    return np.zeros((0, 5))


def test_frames_of_all_open_videos_are_one_batch(noting):
    run = track_videos(noting, [frames(20), frames(20), frames(20)], nothing, streams=2)
    assert len(list(run)) == 60
    batches = noting.network.batches
    assert max(map(len, batches)) == 2
    # while videos begin and end there are some of one
    assert sum(len(batch) == 2 for batch in batches) >= 12


def test_frames_of_one_size_inside_the_network_are_a_batch(noting):
    videos = [frames(9, 8), frames(9, 9), frames(9, 20)]  # inside it 4, 4 and 10 rows
    assert len(list(track_videos(noting, videos, nothing, streams=3))) == 27
    batches = {tuple(batch) for batch in noting.network.batches}
    assert (8, 9) in batches
    assert not [batch for batch in batches if 20 in batch and len(batch) > 1]


def test_a_long_video_runs_ahead_of_short_ones_by_few_frames(noting):
    """However many begin beside it."""
    read, tracked = [], []

    def counted():
        for image in frames(60):
            read.append(1)
            yield image

    videos = [counted(), *[frames(2) for _ in range(25)]]
    for number, _, _ in track_videos(noting, videos, nothing, streams=2):
        tracked += [1] * (number == 0)
        assert len(read) - len(tracked) <= 8
    assert len(tracked) == 60


def test_the_next_video_takes_the_place_of_one_that_ends(noting):
    videos = [frames(5), frames(2), frames(2), frames(2)]
    order = [number for number, _, _ in track_videos(noting, videos, nothing, streams=2)]
    assert order == [0, 1, 0, 1, 0, 2, 0, 2, 0, 3, 3]


def test_a_video_that_fails_costs_no_other(scene, tracker, tmp_path):
    def cut():
        yield scene.images[0]
        raise TruncatedInput("no more of it")

    videos = [scene.images[:4], tmp_path / "none.mp4", cut(), scene.images[:3]]
    found = [[] for _ in videos]
    run = track_videos(tracker, videos, nothing, streams=2)
    with pytest.raises(ExceptionGroup) as caught:
        [found[number].append(frame.number) for number, frame, _ in run]
    assert found == [[1, 2, 3, 4], [], [1], [1, 2, 3]]
    first, second = caught.value.exceptions
    assert isinstance(first, InputError)
    assert "none.mp4 does not exist" in str(first)
    assert first.__notes__ == [f"video 1: {videos[1]}"]
    assert str(second) == "no more of it"


def test_an_encoder_that_fails_is_raised():
    class Broken(ScriptedNetwork):
        def input_size(self, height, width):
            return height, width

        def encode(self, images):
            raise RuntimeError("out of memory")

    run = track_videos(QueryTracker(Broken(), released()), [frames(3), frames(3)], nothing)
    with pytest.raises(RuntimeError, match="out of memory"):
        next(run)


def test_a_detector_is_asked_by_one_thread_at_a_time(noting):
    busy = threading.Lock()

    def detector(frame):
        assert busy.acquire(blocking=False)
        threading.Event().wait(0.001)
        busy.release()
        return np.zeros((0, 5))

    videos = [frames(10) for _ in range(4)]
    assert len(list(track_videos(noting, videos, detector, streams=4))) == 40


def test_names_of_classes_come_along(noting):
    def detector(frame):
        return np.array([[0.0, 0, 6, 30, 0.9, 2]])

    detector.class_names = {2: "car"}
    for _, _, tracks in track_videos(noting, [frames(2, 40), frames(2, 40)], detector, streams=2):
        assert set(tracks.data["class_name"]) == {"car"}


def test_no_thread_outlives_a_run_that_is_left(noting):
    before = set(threading.enumerate())
    run = track_videos(noting, [frames(30), frames(30)], nothing, streams=2)
    next(run)
    assert set(threading.enumerate()) - before
    run.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
    assert not set(threading.enumerate()) - before


def test_the_tracker_that_is_given_keeps_its_state(scene, tracker):
    tracker.reset()
    tracker.update(scene.proposals(0), scene.images[0])
    list(track_videos(tracker, [scene.images[:2]] * 2, nothing))
    assert tracker.state.frame == 1


def test_no_streams_are_refused(noting):
    with pytest.raises(InputError, match="streams is 0; give 1 or more"):
        next(track_videos(noting, [frames(1)], nothing, streams=0))


@pytest.mark.parametrize(("lengths", "count", "wanted"), [
    pytest.param([2, 2], 1, "aabb", id="one after the other"),
    pytest.param([3, 1, 2], 2, "abacac", id="the third begins when the second ends"),
    pytest.param([0, 2, 0], 2, "bb", id="those that have nothing"),
    pytest.param([], 2, "", id="none"),
])
def test_generators_have_their_turns(lengths, count, wanted):
    works = (iter(letter * n) for letter, n in zip("abc", lengths, strict=False))
    assert list(in_turn(works, count)) == list(wanted)


def test_those_that_were_begun_are_closed():
    closed = []

    def work(name):
        try:
            yield from [name] * 5
        finally:
            closed.append(name)

    run = in_turn(map(work, "abc"), 2)
    assert [next(run) for _ in range(3)] == ["a", "b", "a"]
    run.close()
    assert sorted(closed) == ["a", "b"]
