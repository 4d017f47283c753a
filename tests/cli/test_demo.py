"""`tfsasm demo`: real people; a dance, tracked twice and scored; files of others are left alone."""

import json
import shutil
from dataclasses import replace

import av
import pytest

from tfsasm.cli import demo as demo_module
from tfsasm.cli.demo import CLIP, CONTENT, RUNS, empty_folder
from tfsasm.motchallenge import read_tracks
from tfsasm.settings import with_settings
from tfsasm.tracking.config import default

FRAMES = 6


@pytest.fixture
def demo(tfsasm, small_weights, tmp_path):
    """The command with a small network."""
    return lambda output=tmp_path / "demo": tfsasm(
        "demo", "--synthetic", "--output", output, "--frames", FRAMES, "--seed", 3,
        "--weights", small_weights,
    )  # fmt: skip


@pytest.mark.parametrize("frames", [
    pytest.param(10, id="its first frames"), pytest.param(100, id="whole", marks=pytest.mark.slow),
])
def test_the_demo_tracks_real_people_by_the_default_command(
    tfsasm, people, tmp_path, monkeypatch, frames
):
    if frames == 10:  # the package has a shorter clip
        (tmp_path / "clips").mkdir()
        shutil.copy(people, tmp_path / "clips" / CLIP)
        monkeypatch.setattr(demo_module, "files", lambda package: tmp_path)
    outcome = tfsasm("demo", "--output", tmp_path / "demo")
    assert outcome.code == 0, outcome.err
    assert f"{frames} frames, 3 identities" in outcome.out
    names = {path.name for path in (tmp_path / "demo").iterdir()}
    kinds = ("mp4", "tracked.mp4", "mot.txt", "json", "report.html")
    assert {f"people.{kind}" for kind in kinds} == names
    assert all(f"wrote {tmp_path / 'demo' / name}" in outcome.out for name in names - {CLIP})
    assert not list(empty_folder(tmp_path / "demo").iterdir())  # an earlier demo is replaced


def test_a_demo_leaves_a_video_results_and_a_summary(demo, tmp_path):
    outcome = demo()
    assert outcome.code == 0, outcome.err
    folder = tmp_path / "demo"
    assert {path.name for path in folder.iterdir()} == CONTENT - {CLIP}
    with av.open(str(folder / "demo.mp4")) as movie:
        stream = movie.streams.video[0]
        assert sum(1 for _ in movie.decode(video=0)) == FRAMES
        assert stream.codec_context.name == "h264"
        assert stream.width > 2 * 512  # side by side, enlarged

    summary = json.loads((folder / "summary.json").read_text())
    assert summary["clip"] == {"seed": 3, "frames": FRAMES}
    assert set(summary["runs"]) == {"memory off", "memory on"}
    for scores in summary["runs"].values():
        assert {"HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW"} <= set(scores)
    for run in ("memory-off", "memory-on"):
        [file] = (folder / run).iterdir()
        assert len(read_tracks(file)) > 0
    for word in ("memory off", "memory on", "HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW",
                 "demo.mp4"):  # fmt: skip
        assert word in outcome.out


def test_the_two_runs_differ_in_the_memory_alone():
    off, on = (with_settings(default(), changes) for changes in RUNS.values())
    assert (off.memory.capacity, on.memory.capacity) == (0, default().memory.capacity)
    assert on == default()
    assert replace(off, memory=on.memory) == on


def test_an_earlier_demo_is_replaced(tmp_path):
    folder = tmp_path / "demo"
    for name in ("clip", "memory-on", "memory-off"):
        (folder / name).mkdir(parents=True)
        (folder / name / "old.txt").write_text("")
    (folder / "demo.mp4").write_text("")
    assert empty_folder(folder) == folder
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["thesis.tex", "demo.mp4.bak", ".git"])
def test_a_folder_with_anything_else_in_it_is_left_alone(demo, tmp_path, name):
    """Also when it has a folder `clip`, as many have."""
    folder = tmp_path / "work"
    (folder / "clip").mkdir(parents=True)
    (folder / name).write_text("mine")
    outcome = demo(folder)
    assert outcome.code == 2
    assert f"work holds other files ({name}); give another --output" in outcome.err
    assert (folder / name).read_text() == "mine"


@pytest.mark.parametrize(("option", "value"), [("--seed", -1), ("--weights", "missing.pth")])
def test_what_cannot_begin_leaves_an_earlier_demo(tfsasm, tmp_path, option, value):
    (tmp_path / "demo.mp4").write_text("earlier")
    outcome = tfsasm("demo", "--synthetic", "--output", tmp_path, option, value)
    assert outcome.code == 2
    assert str(value) in outcome.err
    assert (tmp_path / "demo.mp4").read_text() == "earlier"


def test_a_file_is_no_folder(demo, tmp_path):
    (tmp_path / "file").write_text("mine")
    outcome = demo(tmp_path / "file")
    assert outcome.code == 2
    assert "cannot write in" in outcome.err
    assert (tmp_path / "file").read_text() == "mine"


def test_an_empty_folder_is_fine_to_use(tmp_path):
    (tmp_path / "demo").mkdir()
    assert empty_folder(tmp_path / "demo") == tmp_path / "demo"
