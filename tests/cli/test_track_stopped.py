"""`tfsasm track` that ends early: damaged files, Ctrl-C and errors keep what was done."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import av
import pytest
from rich.console import Console

from helpers.scenes import FRAMES, film, write_detections
from tfsasm.cli import track as command
from tfsasm.detection.stored import open_detections
from tfsasm.errors import InputError
from tfsasm.motchallenge import read_tracks


def damaged(scene, folder, number):
    """A copy of the scene whose frame `number` is cut off."""
    shutil.copytree(scene.folder, folder)
    path = folder / f"{number:08d}.png"
    path.write_bytes(path.read_bytes()[:700])
    return folder


def test_a_damaged_image_ends_the_run_with_what_was_done(track, usual, scene, tmp_path):
    folder = damaged(scene, tmp_path / "img1", 7)
    paths = {"mot_output": tmp_path / "o.txt", "json_output": tmp_path / "o.json",
             "output": tmp_path / "o.mp4"}  # fmt: skip
    outcome = track(source=folder, **paths)
    assert outcome.code == 3
    assert paths["mot_output"].read_bytes() == usual(end=6) != b""
    assert len(json.loads(paths["json_output"].read_text())["frames"]) == 6
    with av.open(str(paths["output"])) as movie:
        assert sum(1 for _ in movie.decode(video=0)) == 6
    assert "cut short: " in outcome.out
    assert "00000007.png (frame 7 of 12) is cut off" in outcome.out
    assert "6 frames" in outcome.out


def test_a_first_image_that_is_damaged_leaves_nothing_to_watch(track, scene, tmp_path):
    outcome = track(source=damaged(scene, tmp_path / "img1", 1), output=tmp_path / "o.mp4")
    assert outcome.code == 3
    assert "00000001.png (frame 1 of 12) is cut off" in outcome.out
    assert "wrote" not in outcome.out
    assert not (tmp_path / "o.mp4").exists()


def test_a_truncated_video_ends_the_run_with_what_was_done(track, scene, tmp_path):
    video = film(tmp_path / "clip.mkv", scene.images * 3)
    data = video.read_bytes()
    video.write_bytes(data[: len(data) * 2 // 3])
    outcome = track(source=video, json_output=tmp_path / "o.json")
    done = len(json.loads((tmp_path / "o.json").read_text())["frames"])
    assert outcome.code == 3
    assert 5 < done < 36
    assert f"clip.mkv ends early: the file is shorter than it says; frame {done}" in outcome.out


@pytest.fixture
def interrupted(scene, small_weights, capsys):
    """A run whose detector raises an error in a frame: its code and what it printed."""

    def run(number, error, **outputs):
        stored = open_detections(scene.detections)

        def detector(frame):
            if frame.number == number:
                raise error
            return stored(frame)

        detector.report = stored.report
        options = command.Options(
            source=(str(scene.folder),), detections=scene.detections, weights=str(small_weights),
            preset="paper", quiet=True, **outputs,
        )  # fmt: skip
        code = command.run(options, Console(), Console(stderr=True), detector=detector)
        return code, "".join(capsys.readouterr())

    return run


def test_ctrl_c_keeps_what_was_done(usual, interrupted, tmp_path):
    paths = {"mot_output": tmp_path / "o.txt", "json_output": tmp_path / "o.json",
             "output": tmp_path / "o.mp4"}  # fmt: skip
    code, printed = interrupted(6, KeyboardInterrupt(), **paths)
    assert code == 130
    assert paths["mot_output"].read_bytes() == usual(end=5) != b""
    assert len(json.loads(paths["json_output"].read_text())["frames"]) == 5
    with av.open(str(paths["output"])) as movie:
        assert sum(1 for _ in movie.decode(video=0)) == 5
    assert "stopped; the files hold what was done so far" in printed
    assert "Traceback" not in printed


def test_an_error_in_the_middle_keeps_what_was_done(usual, interrupted, tmp_path):
    with pytest.raises(InputError, match="sequence of frame 6"):
        interrupted(6, InputError("no sequence of frame 6"), mot_output=tmp_path / "o.txt")
    assert (tmp_path / "o.txt").read_bytes() == usual(end=5) != b""


def test_ctrl_c_before_the_first_frame_is_quiet(track, monkeypatch, tmp_path):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("tfsasm.tracking.load.load", stop)
    outcome = track(mot_output=tmp_path / "o.txt")
    assert (outcome.code, outcome.out, outcome.err.strip()) == (130, "", "stopped")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_on_the_real_command(scene, tmp_path):
    """A process of its own, interrupted by the real signal in the middle of a long video."""
    (tmp_path / "img1").mkdir()
    for number in range(1000):
        image = scene.folder / f"{number % FRAMES + 1:08d}.png"
        (tmp_path / "img1" / f"{number:08d}.png").symlink_to(image)
    lines = [[f"{30 + number % 9},20,24,60,0.9"] for number in range(1000)]
    command = [sys.executable, "-m", "tfsasm", "track", tmp_path / "img1",
               "--detections", write_detections(tmp_path / "det.txt", lines),
               "--mot-output", tmp_path / "o.txt"]  # fmt: skip
    with subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, encoding="utf-8", env=os.environ | {"COLUMNS": "200"},
        # A suite that runs in the background has SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        give_up = time.monotonic() + 120
        while not any(path.stat().st_size for path in tmp_path.glob(".o.partial*")):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < give_up, "no frame in a minute"
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "stopped" in out
    done = int(out.split(" frame", 1)[0])
    assert 0 < done < 1000
    assert 1 <= read_tracks(tmp_path / "o.txt").frame.max() <= done
    assert not list(tmp_path.glob(".o.*"))
