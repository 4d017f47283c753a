"""`tfsasm track` as most use it: a video alone, the appearance tracker, the results' formats."""

import csv
import json
from typing import ClassVar

import numpy as np
import pytest

from helpers.commands import run_command
from helpers.scenes import FRAMES, film, write_detections, write_images
from tfsasm.cli.main import parse
from tfsasm.cli.track_one import places
from tfsasm.detection.proposals import Proposals
from tfsasm.motchallenge import read_tracks

# The appearance tracker

WALK = [
    [f"{20 + 4 * frame + 150 * person},30,24,60,0.9" for person in range(2)] for frame in range(6)
]


@pytest.fixture
def walk(tfsasm, tmp_path):
    """`tfsasm track` on two people who walk side by side."""
    images = write_images(tmp_path / "img1", [np.full((120, 320, 3), 90, np.uint8)] * 6)
    boxes = write_detections(tmp_path / "det.txt", WALK)

    def run(*flags):
        return tfsasm("track", images, "--detections", boxes, "--quiet", *flags)

    return run


@pytest.mark.parametrize(("flags", "embedder"), [
    pytest.param(["--tracker", "appearance", "--embedder", "hist"], "hist", id="hist"),
    pytest.param(["--tracker", "appearance", "--embedder", "none"], "none", id="none"),
    pytest.param(["--tracker", "motion"], "none", id="motion"),
])
def test_the_appearance_tracker_needs_no_weights(walk, tmp_path, flags, embedder):
    outcome = walk(
        *flags, "--set", "match.hits=1",
        "--mot-output", tmp_path / "o.txt", "--json-output", tmp_path / "o.json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    rows = [line.split(",") for line in (tmp_path / "o.txt").read_text().splitlines()]
    assert {row[1] for row in rows} == {"1", "2"}
    about = json.loads((tmp_path / "o.json").read_text())["about"]
    assert about["embedder"] == embedder
    assert about["method"]["match"]["hits"] == 1


def test_nano_is_a_query_tracker_that_the_command_takes_by_name(walk, tmp_path):
    outcome = walk("--weights", "nano", "--mot-output", tmp_path / "o.txt",
                   "--json-output", tmp_path / "o.json")  # fmt: skip
    assert outcome.code == 0, outcome.err
    rows = [line.split(",") for line in (tmp_path / "o.txt").read_text().splitlines()]
    assert [row[1] for row in rows] == ["1", "2"] * 6
    assert json.loads((tmp_path / "o.json").read_text())["about"]["weights"] == "nano"


@pytest.mark.parametrize(("flags", "part"), [
    pytest.param(["--tracker", "query", "--embedder", "hist"],
                 "--embedder is for --tracker appearance", id="query"),
    pytest.param(["--weights", "tiny", "--embedder", "hist"],
                 "--embedder is for --tracker appearance", id="weights ask for query"),
    pytest.param(["--tracker", "motion", "--embedder", "hist"],
                 "--embedder is for --tracker appearance, and this is motion", id="motion"),
    pytest.param(["--tracker", "appearance", "--short-side", "200"],
                 "--short-side is for --tracker query", id="appearance"),
    pytest.param(["--tracker", "appearance", "--batch-encode", "2"],
                 "--batch-encode is for --tracker query", id="an option of this command alone"),
    pytest.param(["--tracker", "appearance", "--set", "match.hots=1"], "no setting 'match.hots'",
                 id="no such setting"),
    pytest.param(["--tracker", "appearance", "--embedder", "osnet"], "--embedder-weights FILE",
                 id="no weights"),
])  # fmt: skip
def test_options_that_do_not_fit_the_tracker_are_explained(walk, tmp_path, flags, part):
    outcome = walk("--mot-output", tmp_path / "o.txt", *flags)
    assert outcome.code == 2
    assert part in " ".join(outcome.err.split())


# One word


@pytest.fixture
def clip(tmp_path):
    """A video without people, half a second long."""
    random = np.random.default_rng(0)
    still = random.integers(0, 255, (96, 128, 3), np.uint8)
    return film(tmp_path / "clip.mp4", [still] * 10)


def test_a_video_is_all_that_it_takes(tfsasm, clip, tmp_path, monkeypatch):
    """Detector and tracker are in the package; results stand beside the video."""
    outcome = tfsasm("track", clip, "--quiet")
    assert outcome.code == 0, outcome.err
    kinds = ("json", "mot.txt", "mp4", "report.html", "tracked.mp4")
    names = [f"clip.{kind}" for kind in kinds]
    assert sorted(path.name for path in clip.parent.iterdir()) == names
    assert all(f"wrote {clip.parent / name}" in outcome.out for name in names if name != clip.name)
    about = json.loads((clip.parent / "clip.json").read_text())["about"]
    assert (about["embedder"], about["source"]) == ("hist", clip.as_posix())
    assert "nothing was tracked; try --detector yolox-s" in outcome.out
    again = tfsasm("track", clip, "--quiet")
    assert again.code == 2
    monkeypatch.chdir(tmp_path)
    outcome = tfsasm("track", "clip.mp4", "--quiet", "--overwrite")
    assert "wrote clip.tracked.mp4" in outcome.out.splitlines()
    assert "clip.tracked.mp4 exists" in " ".join(again.err.split())


def test_results_have_the_name_that_their_video_is_given_by(tmp_path, monkeypatch):
    """That of a link, not of what it leads to; a folder may be called as a camera is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "0007").mkdir()
    (tmp_path / "nice.mp4").symlink_to(tmp_path / "0007")
    options = parse(["track", "0007", "--save", "mot", "--output", "2026.11"])
    names = [str(places(options, name)["mot"]) for name in ("0007", "nice.mp4", "8")]
    assert names == [f"2026.11/{name}.mot.txt" for name in ("0007", "nice.mp4", "camera-8")]


def test_a_video_is_not_overwritten_by_its_result(tfsasm, clip):
    before = clip.read_bytes()
    outcome = tfsasm("track", clip.as_uri(), "--output", clip, "--overwrite", "--quiet")
    assert "clip.mp4 is an input" in " ".join(outcome.err.split())
    assert clip.read_bytes() == before


def test_a_folder_of_videos_and_a_pattern_are_tracked_one_by_one(tfsasm, clip, tmp_path):
    film(tmp_path / "b.mkv", [np.zeros((96, 128, 3), np.uint8)] * 3)
    outcome = tfsasm("track", tmp_path, "--output", tmp_path / "out", "--save", "mot", "csv",
                     "--quiet")  # fmt: skip
    assert outcome.code == 0, outcome.err
    names = ["b.csv", "b.mot.txt", "clip.csv", "clip.mot.txt"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert f"{tmp_path / 'b.mkv'}: 3 frames" in outcome.out
    outcome = tfsasm("track", tmp_path / "c*.mp4", "--output", tmp_path / "two", "--quiet")
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [
        "clip.json", "clip.mot.txt", "clip.report.html", "clip.tracked.mp4"]  # fmt: skip
    twice = tfsasm("track", tmp_path, "--save", "video", "--output", tmp_path / "two", "--quiet")
    assert "exists" in twice.err


def test_csv_has_the_columns_of_supervision(walk, tmp_path):
    outcome = walk("--tracker", "appearance", "--save", "csv", "--output", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    head, *lines = (tmp_path / "out").glob("*.csv").__next__().read_text().splitlines()
    assert head.startswith("x_min,y_min,x_max,y_max,class_id,confidence,tracker_id,class_name")
    assert {line.split(",")[6] for line in lines} == {"1", "2"}
    assert len(lines) == 12


@pytest.mark.parametrize(("flags", "part"), [
    pytest.param(["--detections", "d.txt", "--detector", "yolox-s"], "both say where the boxes",
                 id="two sources of boxes"),
    pytest.param(["--detector-weights", "w.onnx"], "needs the name of its --detector", id="a file"),
    pytest.param(["nothing*.mp4"], "nothing*.mp4 fits no file", id="a pattern"),
    pytest.param(["1", "--mot-output", "o.txt"], "o.txt is one file, and there are 2 videos; give "
                 "a folder", id="a file for two"),
    pytest.param(["--output", "o.mp4", "--save", "csv", "mot"], "nowhere to --save csv, mot: what "
                 "is named by file is all", id="a kind without a folder"),
])  # fmt: skip
def test_what_says_too_much_or_too_little_is_refused(tfsasm, clip, flags, part):
    outcome = tfsasm("track", clip, *flags)
    assert outcome.code == 2
    assert part in " ".join(outcome.err.split())


def test_what_annotation_tools_take(track, scene, tmp_path):
    """The same boxes under the same identities in all files."""
    assert track("--save", "mot", "coco", "cvat", output=tmp_path).code == 0
    mot, coco, cvat = (next(tmp_path.glob(f"*.{end}")) for end in ("mot.txt", "json", "xml"))
    table, saved = read_tracks(mot), json.loads(coco.read_text())
    assert len(table.frame)
    assert [a["instance_id"] for a in saved["annotations"]] == table.identity.tolist()
    assert len(saved["images"]) == FRAMES
    assert cvat.read_text().count('outside="0"') == len(table.frame)


def test_a_window_that_is_closed_ends_the_video(track, tmp_path, monkeypatch):
    from tfsasm.video import window

    shown = []

    def show(self, image):
        shown.append(image)
        if len(shown) == 5:
            raise window.WindowClosed

    monkeypatch.setattr(window, "check_display", lambda: None)
    monkeypatch.setattr(window.Window, "show", show)
    outcome = track("--show", mot_output=tmp_path / "o.txt")
    assert (outcome.code, len(shown)) == (0, 5)
    assert "5 frames" in outcome.out
    assert "stopped; the files hold what was done so far" in outcome.out
    assert (tmp_path / "o.txt").is_file()


class TwoKinds:
    """A person and a car that stand, told by name."""

    class_names: ClassVar = {0: "person", 2: "car"}

    def __call__(self, frame):
        height, width = frame.image.shape[:2]
        boxes = np.array([[5, 10, 25, 60], [60, 30, 110, 60]], float)
        return Proposals.from_xyxy(boxes, np.full(2, 0.9), width, height, np.array([0, 2]))

    def report(self):
        return []


@pytest.mark.parametrize("tracker", ["appearance", "query"])
def test_classes_go_all_the_way(scene, small_weights, tmp_path, tracker):
    more = ["--weights", small_weights] if tracker == "query" else ["--embedder", "none"]
    outcome = run_command(
        "track", scene.folder, "--tracker", tracker, *more, "--output", tmp_path, "--quiet",
        "--save", "json", "mot", "csv", "coco", detector=TwoKinds(),
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    [mot] = tmp_path.glob("*.mot.txt")
    name = mot.name.removesuffix(".mot.txt")
    frames = json.loads((tmp_path / f"{name}.json").read_text())["frames"]
    kinds = {track["id"]: track["class"] for frame in frames for track in frame["tracks"]}
    assert sorted(kinds.values()) == ["car", "person"]
    table = read_tracks(mot)
    numbers = dict(zip(table.identity.tolist(), table.label.tolist(), strict=True))
    assert numbers == {one: {"person": 1, "car": 3}[kind] for one, kind in kinds.items()}
    lines = list(csv.DictReader((tmp_path / f"{name}.csv").open()))
    assert {(int(line["tracker_id"]), line["class_name"]) for line in lines} == {*kinds.items()}
    coco = json.loads((tmp_path / f"{name}.coco.json").read_text())
    assert {kind["name"] for kind in coco["categories"]} == {"person", "car"}
