"""`tfsasm track --dry-run`: what videos will take."""

import json

import pytest

from helpers.commands import run_command
from helpers.finders import Finder, pictures
from tfsasm.cli.estimate import in_hours, measured
from tfsasm.cli.track_one import Step, Tracked
from tfsasm.errors import InputError
from tfsasm.video.writer import VideoWriter

HOUR = {"videos": 2, "frames": 72_000, "hours": 1.0, "first": "a.mp4", "not_counted": []}


def test_hours_and_cost_follow_from_the_rate():
    """An hour of 20 frames per second, at 10 frames per second."""
    found, lines = in_hours(HOUR, 100, 10.0, 0.5)
    assert found["worker_hours"] == 2
    assert found["worker_hours_per_1000_hours"] == 2000
    assert found["cost_per_1000_hours"] == 1000
    assert "1,000 hours of video cost 1,000.00, at 0.5 an hour of a worker" in lines


@pytest.fixture
def videos(tmp_path):
    """Two videos of 12 frames at 10 frames per second, and one that is none."""
    (tmp_path / "videos").mkdir()
    for seed, name in enumerate(("a.mp4", "b.mp4"), start=1):
        with VideoWriter(tmp_path / "videos" / name, 10) as video:
            for number, image in enumerate(pictures(12, seed)):
                video.write(image, number / 10)
    (tmp_path / "videos" / "c.mp4").write_text("no video")
    return tmp_path / "videos"


def dry_run(videos, *flags):
    return run_command("track", videos, "--dry-run", *flags, detector=Finder())


def test_nothing_is_written_but_what_is_asked_for(videos, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    path = tmp_path / "estimate.json"
    outcome = dry_run(videos, "--price-per-hour", 2, "--json-output", path)
    assert outcome.code == 0, outcome
    assert sorted(tmp_path.rglob("*")) == sorted([*before, path])
    found = json.loads(path.read_text())
    assert (found["lengths"]["videos"], found["lengths"]["frames"]) == (2, 24)
    assert found["lengths"]["hours"] == pytest.approx(2.4 / 3600)
    assert found["worker_hours"] == pytest.approx(24 / found["frames_per_second"] / 3600)
    assert found["cost_per_1000_hours"] == pytest.approx(
        2 * 1000 * found["worker_hours"] / found["lengths"]["hours"]
    )
    assert found["measured_frames"] == 12 - 5
    assert "2 videos, 24 frames, " in outcome.out
    assert "not counted: " in outcome.out
    assert "c.mp4" in outcome.out


def test_a_range_of_frames_counts_alone(videos):
    assert "2 videos, 16 frames, " in dry_run(videos, "--start", 3, "--end", 10).out


def test_no_video_at_all_is_refused(videos):
    with pytest.raises(InputError, match="no video can be counted: "):
        dry_run(videos / "c.mp4")


@pytest.mark.parametrize(("frames", "counted"), [(1, 1), (4, 2), (30, 25), (500, 200)])
def test_a_measurement_begins_when_it_is_warm_and_ends_in_time(frames, counted):
    steps = [*(Step(n, frames) for n in range(frames + 1)), Tracked(0, ())]
    assert measured(iter(steps))[0] == counted


def test_no_frame_to_measure_by_is_refused():
    with pytest.raises(InputError, match="no frames to measure by"):
        measured(iter([Step(0, None), Tracked(0, ())]))
