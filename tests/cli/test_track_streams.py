"""`tfsasm track --streams`: the frames of several videos encoded together."""

import numpy as np
import pytest
import torch

from helpers.commands import run_command
from helpers.finders import Finder, pictures
from helpers.scenes import write_images
from tfsasm.errors import InputError

LENGTHS = {"a": 6, "b": 2, "c": 5, "d": 3}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Folders of noise; the first number of each finding is that of the video."""
    folder, noise = tmp_path_factory.mktemp("videos"), np.random.default_rng(0)

    def video(name, seed):
        images = pictures(LENGTHS[name], seed)
        for image in images:
            image[1:] = noise.integers(0, 256, image[1:].shape)
        return write_images(folder / name, images)

    return [video(name, seed) for seed, name in enumerate(LENGTHS, start=1)]


@pytest.fixture(scope="module")
def track(small_weights):
    """The outcome of `tfsasm track` by a small network, whose every track is reported.

    One thread: sums are the same in every batch then.
    """
    before = torch.get_num_threads()

    def run(videos, output, *flags, finder=None):
        return run_command(
            "track", *videos, "--output", output, "--save", "mot", "json", "csv", "--quiet",
            "--weights", small_weights, "--device", "cpu", "--threads", 1,
            "--preset", "motrv2", "--set", "report_area=1", *flags, detector=finder or Finder(),
        )  # fmt: skip

    yield run
    torch.set_num_threads(before)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def alone(track, videos, tmp_path_factory):
    """The files of each video, tracked alone."""
    folder = tmp_path_factory.mktemp("alone")
    for video in videos:
        assert track([video], folder).code == 0
    return contents(folder)


@pytest.mark.parametrize("streams", [2, 8])
def test_the_files_are_those_of_each_video_alone(track, videos, alone, tmp_path, streams):
    outcome = track(videos, tmp_path / "out", "--streams", streams)
    assert outcome.code == 0, outcome
    assert contents(tmp_path / "out") == alone
    assert alone["a.mot.txt"].count(b"\n") > 6
    assert f"{videos[1]}: 2 frames, " in outcome.out
    assert "16 frames together, " in outcome.out
    assert outcome.out.count("a word of the detector") == 1


def test_a_video_that_fails_costs_no_other_and_is_tried_again(track, videos, alone, tmp_path):
    finder = Finder((3, 2), InputError("no second"))
    outcome = track(videos, tmp_path / "out", "--streams", 2, finder=finder)
    assert outcome.code == 1
    assert f"failed: {videos[2]}: no second" in outcome.out
    kept = {name: content for name, content in alone.items() if name[0] != "c"}
    assert kept.items() <= contents(tmp_path / "out").items()
    again = Finder()
    assert track(videos, tmp_path / "out", "--streams", 2, finder=again).code == 0
    assert {seed for seed, _ in again.seen} == {3}
    assert contents(tmp_path / "out") == alone


def test_a_run_that_was_stopped_goes_on(track, videos, alone, tmp_path):
    outcome = track(videos, tmp_path / "out", "--streams", 2, finder=Finder((3, 2)))
    assert outcome.code == 130
    assert "track.partial holds what is done, and the same command goes on" in outcome.out
    again = Finder()
    assert track(videos, tmp_path / "out", "--streams", 2, finder=again).code == 0
    assert {seed for seed, _ in again.seen} == {1, 3, 4}
    assert contents(tmp_path / "out") == alone


@pytest.mark.parametrize(("flags", "problem"), [
    pytest.param(["--streams", 0], "--streams 0 is not at least 1", id="none"),
    pytest.param(["--streams", 2, "--runtime", "onnx"], "an export encodes one at a time; give "
                 "--workers", id="an export"),
    pytest.param(["--streams", 2, "--workers", 2], "--streams and --workers do not", id="workers"),
    pytest.param(["--streams", 2, "--batch-encode", 4], "and --batch-encode do not", id="batches"),
    pytest.param(["--streams", 2, "--dry-run"], "and --dry-run do not", id="an estimate"),
])  # fmt: skip
def test_what_does_not_go_with_streams_is_refused(track, videos, tmp_path, flags, problem):
    with pytest.raises(InputError, match=problem):
        track(videos, tmp_path / "out", *flags)


def test_streams_are_for_the_query_tracker(videos):
    with pytest.raises(InputError, match="--streams is for --tracker query, and this is appear"):
        run_command("track", *videos, "--streams", 2, "--tracker", "appearance", detector=Finder())
