"""`tfsasm track` on several videos: by processes, one that fails, and on after a stop."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.commands import run_command
from helpers.finders import Finder, pictures
from helpers.scenes import write_images
from tfsasm.cli.track_one import without_results
from tfsasm.errors import InputError

LENGTHS = {"a": 6, "b": 4, "c": 5}


@pytest.fixture
def videos(tmp_path):
    """Three folders of images; the first number of each finding is that of the video."""
    return [
        write_images(tmp_path / "videos" / name, pictures(length, seed))
        for seed, (name, length) in enumerate(LENGTHS.items(), start=1)
    ]  # fmt: skip


def track(finder, videos, output, *flags):
    """The outcome of `tfsasm track` with the boxes of `finder`; every track is reported at once."""
    return run_command(
        "track", *videos, "--output", output, "--save", "mot", "json", "csv", "--quiet",
        "--set", "match.hits=1", *flags, detector=finder,
    )  # fmt: skip


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def alone(videos, tmp_path):
    """The files of each video, tracked alone."""
    for video in videos:
        assert track(Finder(), [video], tmp_path / "alone").code == 0
    return contents(tmp_path / "alone")


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_videos_together_are_what_they_are_alone(videos, alone, tmp_path, workers):
    outcome = track(Finder(), videos, tmp_path / "out", "--workers", workers)
    assert outcome.code == 0, outcome
    assert contents(tmp_path / "out") == alone
    assert f"{videos[1]}: 4 frames, " in outcome.out
    assert outcome.out.count("a word of the detector") == 1


def test_what_a_shell_names_beside_the_videos_is_no_video(tfsasm, tmp_path, monkeypatch):
    """`clips/*` has the results of an earlier run, too."""
    monkeypatch.chdir(tmp_path)
    names = [f"one{end}" for end in (".json", ".mot.txt", ".report.html", ".tracked.mp4")]
    for name in ("one.mp4", "one.notes.txt", "track.partial", *names):
        (tmp_path / name).write_text("")
    given = ["one.mp4", *names, "./one.coco.json"]
    assert without_results([*given, "track.partial", "one.notes.txt", "0"]) == [
        "one.mp4", "one.notes.txt", "0"]  # fmt: skip
    assert without_results(["one.tracked.mp4"]) == ["one.tracked.mp4"]
    errors = tfsasm("track", "one.mp4", *names, "--save", "json").err
    assert "left out, as results of an earlier run: one.json, one.mot.txt, " in errors
    assert "one.json exists; give another name or --overwrite" in errors


def test_a_video_that_fails_costs_no_other_and_is_tried_again(videos, alone, tmp_path):
    outcome = track(Finder((2, 3), InputError("no third")), videos, tmp_path / "out")
    assert outcome.code == 1
    assert f"failed: {videos[1]}: no third" in outcome.out
    assert "1 of 3 videos failed; " in outcome.out
    kept = {name: content for name, content in alone.items() if name[0] != "b"}
    assert kept.items() <= contents(tmp_path / "out").items()
    again = Finder()
    outcome = track(again, videos, tmp_path / "out")
    assert (outcome.code, {seed for seed, _ in again.seen}) == (0, {2})
    assert "2 of 3 videos are done already" in outcome.out
    assert contents(tmp_path / "out") == alone


def test_a_run_that_was_stopped_goes_on(videos, alone, tmp_path):
    outcome = track(Finder((2, 3)), videos, tmp_path / "out")
    assert outcome.code == 130
    assert "track.partial holds what is done, and the same command goes on" in outcome.out
    again = Finder()
    assert track(again, videos, tmp_path / "out", "--workers", 1).code == 0
    assert {seed for seed, _ in again.seen} == {2, 3}
    assert contents(tmp_path / "out") == alone


def test_a_finished_video_whose_files_are_gone_is_tracked_again(videos, alone, tmp_path):
    assert track(Finder((3, 1)), videos, tmp_path / "out").code == 130
    (tmp_path / "out" / "a.csv").unlink()
    again = Finder()
    assert track(again, videos, tmp_path / "out").code == 0
    assert {seed for seed, _ in again.seen} == {1, 3}
    assert contents(tmp_path / "out") == alone


def test_a_run_of_other_settings_is_never_mixed_in(videos, tmp_path):
    assert track(Finder((2, 3)), videos, tmp_path / "out").code == 130
    with pytest.raises(InputError, match=r"track.partial is of another run .stride was 1, is 2"):
        track(Finder(), videos, tmp_path / "out", "--stride", 2)
    with pytest.raises(InputError, match=r"run .save without csv; videos without \S+/a\);"):
        track(Finder(), videos[1:], tmp_path / "out", "--save", "json", "mot")
    assert track(Finder(), videos, tmp_path / "out", "--stride", 2, "--overwrite").code == 0


def test_what_was_there_before_is_not_replaced(videos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.json").write_text("mine")
    with pytest.raises(InputError, match=r"b\.json exists"):
        track(Finder(), videos, tmp_path / "out")
    assert contents(tmp_path / "out") == {"b.json": b"mine"}


def test_several_videos_and_nothing_to_save_are_refused(videos):
    with pytest.raises(InputError, match="nothing to write: --save takes video, images, mot"):
        run_command("track", *videos, "--save", detector=Finder())


@pytest.mark.parametrize("workers", [1, 2])
def test_weights_that_are_none_leave_nothing(videos, tmp_path, workers):
    (tmp_path / "bad.onnx").write_text("no network")
    flags = ["--embedder-weights", tmp_path / "bad.onnx", "--workers", workers]
    with pytest.raises(InputError, match=r"bad\.onnx"):
        track(Finder(), videos, tmp_path / "out", *flags)
    assert contents(tmp_path / "out") == {}


@pytest.mark.parametrize(("flags", "problem"), [
    pytest.param(["--workers", 0], "workers is 0; give 1 or more", id="no workers"),
    pytest.param(["--gpus-per-worker", 0.5], "--gpus-per-worker is for --engine ray", id="no Ray"),
    pytest.param(["--engine", "ray", "--cpus-per-worker", 0], "a worker has 1 CPU or more",
                 id="no CPU"),
])  # fmt: skip
def test_an_engine_that_makes_no_sense_is_refused(videos, tmp_path, flags, problem):
    with pytest.raises(InputError, match=problem):
        track(Finder(), videos, tmp_path / "out", *flags)


KILLED = """
import sys, time
sys.path[:0] = {tests!r}
from helpers.finders import Finder
from test_track_many import track

class Slow(Finder):
    def __call__(self, frame):
        time.sleep(0.1)
        return super().__call__(frame)

if __name__ == "__main__":
    track(Slow(), {videos!r}, {output!r}, *{flags!r})
"""


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on(videos, alone, tmp_path):
    """SIGKILL when one video is done; its workers end by themselves."""
    kill_and_go_on(videos, alone, tmp_path, "--workers", "2")


@pytest.mark.ray
def test_a_run_on_ray_that_was_killed_goes_on(ray_cluster, videos, alone, tmp_path):
    kill_and_go_on(videos, alone, tmp_path, "--engine", "ray", "--ray-address", ray_cluster.address)


@pytest.mark.ray
def test_videos_on_a_ray_cluster_are_what_they_are_alone(ray_cluster, videos, alone, tmp_path):
    outcome = track(Finder(), videos, tmp_path / "out", "--engine", "ray")
    assert outcome.code == 0, outcome
    assert contents(tmp_path / "out") == alone


def kill_and_go_on(videos, alone, tmp_path, *flags):
    code = KILLED.format(
        tests=[str(folder) for folder in Path(__file__).parents[:2]], flags=flags,
        videos=[str(video) for video in videos], output=str(tmp_path / "out"),
    )  # fmt: skip
    (tmp_path / "run.py").write_text(code)
    journal = tmp_path / "out" / "track.partial"
    with subprocess.Popen([sys.executable, tmp_path / "run.py"]) as running:
        end = time.monotonic() + 120
        while not (journal.exists() and b'"done"' in journal.read_bytes()):
            assert running.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        os.kill(running.pid, signal.SIGKILL)
    again = Finder()
    assert track(again, videos, tmp_path / "out").code == 0
    assert 1 <= len({seed for seed, _ in again.seen}) <= 2
    whole = {name: data for name, data in contents(tmp_path / "out").items() if name[0] != "."}
    assert whole == alone  # a hidden file may be there until its process ends, or the next run


# Results at an address


@pytest.fixture(params=["memory", "file"])
def address(request, tmp_path):
    """A folder of fsspec that is empty, as `--output` takes it."""
    fsspec = pytest.importorskip("fsspec")
    place = f"memory://{tmp_path.name}/out" if request.param == "memory" else f"file://{tmp_path}/r"
    yield place
    fsspec.filesystem("memory").store.clear()


def at(address):
    """The contents of the files there."""
    import fsspec

    system, folder = fsspec.core.url_to_fs(address)
    return {path.rpartition("/")[2]: system.cat_file(path) for path in system.find(folder)}


def test_results_may_go_to_an_address(videos, alone, address):
    outcome = track(Finder(), videos, address)
    assert outcome.code == 0, outcome
    assert at(address) == alone
    assert f"wrote {address}/a.csv" in outcome.out


def test_a_run_to_an_address_that_was_stopped_goes_on(videos, alone, address):
    assert track(Finder((2, 3)), videos, address).code == 130
    assert {name[0] for name in at(address)} == {"a", "t"}  # and track.partial
    with pytest.raises(InputError, match=r"track\.partial is of another run"):
        track(Finder(), videos, address, "--stride", 2)
    again = Finder()
    assert track(again, videos, address).code == 0
    assert {seed for seed, _ in again.seen} == {2, 3}
    assert at(address) == alone


def test_what_is_at_an_address_is_not_replaced_unless_it_may_be(videos, alone, address):
    assert track(Finder(), videos, address, "--stride", 2).code == 0
    with pytest.raises(InputError, match="exists; give another --output or --overwrite"):
        track(Finder(), videos, address)
    assert track(Finder(), videos, address, "--overwrite").code == 0
    assert at(address) == alone


def test_a_password_in_an_address_is_neither_printed_nor_stored(videos):
    fsspec = pytest.importorskip("fsspec")
    outcome = track(Finder((2, 3)), videos, "memory://me:secret@there/out")
    [journal] = (v for k, v in at("memory://me:secret@there/out").items() if "partial" in k)
    fsspec.filesystem("memory").store.clear()
    assert "wrote memory://there/out/a.csv" in outcome.out
    assert "secret" not in outcome.out + outcome.err + journal.decode()


@pytest.mark.parametrize(("output", "problem"), [
    pytest.param("nowhere://a/b", "to nowhere://a/b: Protocol not known", id="unknown"),
    pytest.param("file:///proc/no/folder", "to file:///proc/no/folder", id="no room"),
])  # fmt: skip
def test_an_address_that_cannot_be_written_is_refused(videos, output, problem):
    with pytest.raises(InputError, match=f"cannot write {problem}"):
        track(Finder(), videos, output)
