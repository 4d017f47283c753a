"""`tfsasm detect`: boxes of a video or a data set into files, and on after a kill."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from helpers.commands import run_command, words_of
from helpers.finders import HEIGHT, WIDTH, Finder, pictures
from helpers.scenes import write_images
from tfsasm.cli.detect import Options
from tfsasm.detection.stored import open_detections
from tfsasm.errors import InputError
from tfsasm.video.source import open_video


@pytest.fixture
def finder():
    return Finder()


@pytest.fixture
def dance(tmp_path):
    """A small DanceTrack: two sequences of 6 and 4 frames."""
    for seed, (name, count) in enumerate([("dancetrack0001", 6), ("dancetrack0002", 4)], start=1):
        folder = tmp_path / "DanceTrack" / "train" / name
        write_images(folder / "img1", pictures(count, seed))
        (folder / "seqinfo.ini").write_text(
            f"[Sequence]\nname={name}\nimDir=img1\nframeRate=20\nseqLength={count}\n"
            f"imWidth={WIDTH}\nimHeight={HEIGHT}\nimExt=.png\n")
    return tmp_path / "DanceTrack"


def detect(finder, *words, output, **options):
    """The outcome of `tfsasm detect` with the boxes of `finder`."""
    return run_command("detect", "--detector", "yolox-nano", "--output", output,
                       *words_of(options, *words), detector=finder)


def test_a_data_set_becomes_a_det_db_with_the_official_keys(finder, dance, tmp_path):
    options = {"dataset": "dancetrack", "root": dance, "split": "train"}
    outcome = detect(finder, output=tmp_path / "db.json", **options)
    assert outcome.code == 0, outcome
    assert "wrote 18 boxes of 10 frames" in outcome.out
    assert "a word of the detector" in outcome.out
    table = json.loads((tmp_path / "db.json").read_text())
    assert next(iter(table)) == "DanceTrack/train/dancetrack0001/img1/00000001.txt"
    assert len(table) == 10
    assert table["DanceTrack/train/dancetrack0002/img1/00000003.txt"] == [
        "2.00,3.00,10.25,20.00,0.5000\n", "1.00,2.00,30.00,4.50,0.0300\n"]
    assert table["DanceTrack/train/dancetrack0001/img1/00000005.txt"] == []
    assert not (tmp_path / "db.json.partial").exists()


def test_what_was_stored_is_what_the_detector_found(finder, dance, tmp_path):
    for output in ("db.json", "a.txt"):
        source = dance / "train" / "dancetrack0001"
        assert detect(finder, output=tmp_path / output, source=source).code == 0
        stored = open_detections(tmp_path / output)
        for frame in open_video(source):
            wanted, got = finder(frame), stored(frame)
            np.testing.assert_allclose(got.boxes, wanted.boxes, atol=1e-3, rtol=0)
            np.testing.assert_allclose(got.scores, wanted.scores, atol=1e-4, rtol=0)


def test_a_data_set_becomes_a_folder_of_text(finder, dance, tmp_path):
    assert detect(finder, output=tmp_path / "out", dataset="dancetrack", root=dance).code == 0
    assert {path.name: len(path.read_text().splitlines()) for path in (tmp_path / "out").iterdir()
            } == {"dancetrack0001.txt": 10, "dancetrack0002.txt": 8}
    assert (tmp_path / "out" / "dancetrack0002.txt").read_text().startswith(
        "1,-1,2.00,1.00,10.25,20.00,0.5000,-1,-1,-1\n")


def test_a_video_gets_keys_that_are_found_again(finder, tmp_path):
    from tfsasm.video.writer import VideoWriter

    with VideoWriter(tmp_path / "clip.mp4", 10) as video:
        for number, image in enumerate(pictures(6, 1)):
            video.write(image, number / 10)
    outcome = detect(finder, output=tmp_path / "db.json", source=tmp_path / "clip.mp4")
    assert outcome.code == 0, outcome
    assert list(json.loads((tmp_path / "db.json").read_text()))[:1] == ["clip/img1/00000001.txt"]
    stored = open_detections(tmp_path / "db.json", source_name=str(tmp_path / "clip.mp4"))
    assert [len(stored(frame)) > 0 for frame in open_video(tmp_path / "clip.mp4")] == [
        len(finder(frame)) > 0 for frame in open_video(tmp_path / "clip.mp4")]
    assert stored.report() == []


@pytest.mark.parametrize("at", [(1, 1), (1, 2), (1, 6), (2, 1), (2, 3)], ids=str)
@pytest.mark.parametrize("output", ["db.json", "out"])
def test_a_stopped_run_goes_on_to_the_same_end(
    finder, dance, tmp_path, at, output
):
    options = {"dataset": "dancetrack", "root": dance}
    assert detect(finder, output=tmp_path / "whole" / output, **options).code == 0
    stopped = Finder(stop_at=at)
    (tmp_path / "parts").mkdir()
    target = tmp_path / "parts" / output
    outcome = detect(stopped, output=target, **options)
    assert outcome.code == 130
    assert f"{target}.partial holds what is done" in outcome.err
    assert not target.is_file()

    rest = Finder()
    assert detect(rest, output=target, **options).code == 0
    assert len(stopped.seen) + len(rest.seen) <= 11, "at most one frame is done again"
    for path in (tmp_path / "whole").rglob("*.*"):
        again = tmp_path / "parts" / path.relative_to(tmp_path / "whole")
        assert again.read_bytes() == path.read_bytes()
    assert not Path(f"{target}.partial").exists()


@pytest.mark.parametrize(("output", "begun"), [
    pytest.param("out", (1, 3), id="after a stop"),
    pytest.param("db.json", None, id="at once", marks=pytest.mark.slow),
])
def test_several_processes_write_what_one_does(finder, dance, tmp_path, begun, output):
    """The second sequence, which is shorter, ends first."""
    options = {"dataset": "dancetrack", "root": dance}
    (tmp_path / "many").mkdir()
    assert detect(finder, output=tmp_path / "one" / output, **options).code == 0
    if begun:
        assert detect(Finder(begun), output=tmp_path / "many" / output, **options).code == 130
    outcome = detect(finder, output=tmp_path / "many" / output, **options, workers=2)
    assert outcome.code == 0, outcome
    assert outcome.out.count("a word of the detector") == 1
    for path in (tmp_path / "one").rglob("*.*"):
        again = tmp_path / "many" / path.relative_to(tmp_path / "one")
        assert again.read_bytes() == path.read_bytes()
    assert not Path(f"{tmp_path / 'many' / output}.partial").exists()


@pytest.mark.slow
def test_a_video_that_fails_in_a_process_costs_no_other(finder, dance, tmp_path):
    options = {"dataset": "dancetrack", "root": dance, "output": tmp_path / "db.json"}
    outcome = detect(Finder((1, 3), InputError("no third")), **options, workers=2)
    assert outcome.code == 1
    assert "failed: dancetrack0001: no third" in outcome.out
    assert not (tmp_path / "db.json").exists()
    assert detect(finder, **options).code == 0
    assert {seed for seed, _ in finder.seen} == {1}
    assert len(json.loads((tmp_path / "db.json").read_text())) == 10


def test_another_run_does_not_go_on_with_it(finder, dance, tmp_path):
    finder.stop_at = (1, 3)
    options = {"dataset": "dancetrack", "root": dance, "output": tmp_path / "db.json"}
    assert detect(finder, **options).code == 130
    about = json.loads((tmp_path / "db.json.partial").read_text().splitlines()[0])
    assert about["detector"] == "yolox-nano"
    assert about["settings"]["score_threshold"] == 0.1
    with pytest.raises(InputError, match=r"db.json.partial is of another run \(settings was"):
        detect(finder, **options, score=0.5)
    finder.stop_at = None
    assert detect(finder, "--overwrite", **options, score=0.5).code == 0


def test_a_damaged_picture_ends_its_sequence_and_the_rest_goes_on(finder, dance, tmp_path):
    (dance / "train" / "dancetrack0001" / "img1" / "00000004.png").write_bytes(b"\x89PNG")
    outcome = detect(finder, output=tmp_path / "db.json", dataset="dancetrack", root=dance)
    assert outcome.code == 3
    assert "cut short: " in outcome.out
    assert "00000004.png" in outcome.out
    assert len(json.loads((tmp_path / "db.json").read_text())) == 3 + 4


@pytest.mark.parametrize(("options", "problem"), [
    pytest.param({"output": "o.json"}, "give what to detect in", id="no input"),
    pytest.param({"output": "o.json", "source": "x", "dataset": "mot"}, "give what to detect in",
                 id="two inputs"),
    pytest.param({"output": "o.json", "dataset": "mot"}, "give the folder of mot: --root",
                 id="no root"),
    pytest.param({"output": "o.json", "source": "lost.mp4"}, "lost.mp4 does not exist", id="lost"),
    pytest.param({"output": "o.json", "source": "rtsp://x/y"}, "streams are for tfsasm track",
                 id="a stream"),
    pytest.param({"output": "o.csv", "source": "DanceTrack/train/dancetrack0001"},
                 "give a .json, a .txt or a folder", id="another suffix"),
    pytest.param({"output": "o.txt", "dataset": "dancetrack", "root": "DanceTrack"},
                 "can hold one sequence", id="one text for many"),
    pytest.param({"output": "old.json", "dataset": "dancetrack", "root": "DanceTrack"},
                 "old.json exists", id="an output that is there"),
    pytest.param({"output": "old", "dataset": "dancetrack", "root": "DanceTrack"},
                 "dancetrack0002.txt exists", id="a text that is there"),
    pytest.param({"output": "o.json", "dataset": "dancetrack", "root": "blind"},
                 "1 sequence(s) have no images: dancetrack0003", id="no images"),
])
def test_what_cannot_be_done_is_found_before_any_work(
    finder, dance, tmp_path, monkeypatch, options, problem
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.json").write_text("{}")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "dancetrack0002.txt").write_text("")
    blind = tmp_path / "blind" / "dancetrack" / "val" / "dancetrack0003"
    (blind / "det").mkdir(parents=True)
    (blind / "det" / "det.txt").write_text("1,-1,1,1,2,2,1\n")
    with pytest.raises(InputError, match=re.escape(problem)):
        detect(finder, **options)
    assert not finder.seen


def test_an_unknown_detector_is_named_with_the_known_ones(tfsasm, dance, tmp_path):
    outcome = tfsasm("detect", "--detector", "yolov9", "--source", dance / "train/dancetrack0001",
                     "--output", tmp_path / "o.json")
    assert outcome.code == 2
    assert "no detector 'yolov9'; there are yolox-nano" in outcome.err


KILLED = """
import sys, time
sys.path[:0] = {tests!r}
from test_detect import Finder, detect
class Slow(Finder):
    def __call__(self, frame):
        time.sleep(0.05)
        return super().__call__(frame)
detect(Slow(), dataset="dancetrack", root={root!r}, output={output!r})
"""


@pytest.mark.slow
def test_killing_it_at_random_points_changes_nothing(finder, dance, tmp_path):
    """SIGKILL, until it gets to its end."""
    whole, output = tmp_path / "whole.json", tmp_path / "killed.json"
    assert detect(finder, output=whole, dataset="dancetrack", root=dance).code == 0
    folders = [str(folder) for folder in Path(__file__).parents[:2]]
    code = KILLED.format(tests=folders, root=str(dance), output=str(output))
    kills = 0
    partial = Path(f"{output}.partial")
    while not output.exists():
        before = partial.stat().st_size if partial.exists() else 0
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL) as running:
            while running.poll() is None and (
                not partial.exists() or partial.stat().st_size <= before + 150 * (kills % 3)
            ):
                time.sleep(0.01)
            if running.poll() is None and kills < 10:
                os.kill(running.pid, signal.SIGKILL)
                kills += 1
    assert kills > 2
    assert output.read_bytes() == whole.read_bytes()


def test_detect_is_described(tfsasm):
    assert "Example: tfsasm detect --source video.mp4" in Options.__doc__
