"""`tfsasm compare`: all trackers get the same, and are scored alike."""

import csv
import json
import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from helpers.commands import run_command, words_of


class Eager:
    """Gives every detection an identity of its own row: stands for the package `trackers`."""

    seen = []

    def __init__(self, buffer=30):
        self.buffer = buffer

    def update(self, detections, image):
        self.seen.append((detections, image))
        if self.buffer == 13:
            raise RuntimeError("bad luck")
        late = 0 if self.buffer else 1
        found = detections[late:]
        return replace(found, tracker_id=np.arange(len(detections))[late:])


class Stopping(Eager):
    def update(self, detections, image):
        raise KeyboardInterrupt


class Twice(Eager):
    """With a buffer of 7, all identities of a sequence's first frame are the same, once."""

    def update(self, detections, image):
        tracks = super().update(detections, image)
        odd = self.buffer == 7 and len(Eager.seen) == 2 * 7
        return replace(tracks, tracker_id=np.zeros_like(tracks.tracker_id)) if odd else tracks


def ltwhs(detections):
    """Left, top, width, height and score `[P, 5]`."""
    xyxy = detections.xyxy
    return np.column_stack([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2], detections.confidence])


def package(kind):
    """The package `trackers`, all of it a tracker of this kind."""
    names = ("SORT", "ByteTrack", "OCSORT", "BoTSORT", "CBIoU")
    return SimpleNamespace(**{f"{name}Tracker": kind for name in names})


@pytest.fixture(autouse=True)
def fakes(compared, monkeypatch):
    Eager.seen = []
    monkeypatch.setitem(sys.modules, "trackers", package(Eager))


@pytest.fixture(scope="module")
def compared(evaluated, small_weights, tmp_path_factory):
    """A comparison with all that it can write: what it printed, and its folder."""
    folder = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "trackers", package(Eager))
        outcome = run_command(
            "compare", "--root", evaluated.clips, "--weights", small_weights, "--min-score", 0,
            "--trackers", "paper,paper:capacity=0,sort:buffer=7", "--output", folder / "out",
            "--json", folder / "c.json", "--csv", folder / "c.csv", "--plot", folder / "c.png",
            "--quiet",
        )  # fmt: skip
    assert outcome.code == 0, outcome.err
    return outcome.out, folder


@pytest.fixture
def compare_(tfsasm, clips, small_weights):
    """`tfsasm compare` with the small network and every box; None removes an option."""

    def run(*flags, **options):
        given = {"root": clips, "weights": small_weights, "min_score": 0.0,
                 "trackers": "paper,sort"} | options  # fmt: skip
        return tfsasm("compare", *words_of(given, *flags, "--quiet"))

    return run


def content(path):
    return json.loads(path.read_text())


# What comes out


def test_a_method_is_scored_as_evaluate_scores_it(compared, evaluated):
    folder = compared[1]
    found = content(folder / "c.json")["trackers"]["paper"]
    assert found["combined"] == evaluated.scores["combined"]
    assert found["sequences"] == evaluated.scores["sequences"]
    for name in "abc":
        assert (folder / "out/paper" / f"{name}.txt").read_bytes() == evaluated.files[name]


def test_another_method_is_tracked_as_evaluate_does(
    compared, tfsasm, evaluated, small_weights, tmp_path
):
    tfsasm("evaluate", "--root", evaluated.clips, "--weights", small_weights, "--preset", "paper",
           "--set", "memory.capacity=0", "--sequences", "a", "--output", tmp_path,
           "--quiet")  # fmt: skip
    found = (compared[1] / "out/paper_capacity=0/a.txt").read_bytes()
    assert found == (tmp_path / "a.txt").read_bytes()


def test_the_table_has_every_tracker_with_score_and_speed(compared):
    printed, folder = compared
    assert "3 sequences, 15 frames, boxes of score 0 and more" in printed
    assert "ms/frame" in printed
    for label, found in content(folder / "c.json")["trackers"].items():
        [row] = [x.split() for x in printed.splitlines() if x.split()[:1] == [label]][:1]
        combined = found["combined"]
        assert row[1:3] == [f"{combined['HOTA']:.1f}", f"{combined['DetA']:.1f}"]
        assert row[-1] == f"{found['ms_per_frame']:.2f}"
        assert found["ms_per_frame"] > 0


def test_everything_needed_to_repeat_it_is_in_the_json(compared):
    found = content(compared[1] / "c.json")
    assert found["trackers"]["sort:buffer=7"]["parameters"] == {"buffer": 7}
    method = found["trackers"]["paper:capacity=0"]["parameters"]
    assert (method["memory"]["capacity"], method["travel"]) == (0, "frames")
    assert (found["dataset"], found["min_score"]) == ("mot", 0.0)
    assert {name: one["frames"] for name, one in found["sequences"].items()} == {
        "a": 6, "b": 6, "c": 3,
    }  # fmt: skip
    assert {"tfsasm", "trackers", "trackeval"} <= set(found["versions"])


def test_gains_are_over_the_first(compare_, tmp_path):
    outcome = compare_(trackers="sort,sort:buffer=0", json=tmp_path / "c.json")
    gains = content(tmp_path / "c.json")["gains"]
    assert [(g["name"], g["against"], g["metric"]) for g in gains] == [
        ("sort:buffer=0", "sort", metric) for metric in ("HOTA", "AssA", "IDF1")
    ]
    assert gains[0]["mean"] < 0
    for text in (f"{gains[0]['mean']:+.2f}", f"[{gains[0]['low']:+.2f}, {gains[0]['high']:+.2f}]"):
        assert text in outcome.out


def test_the_csv_has_a_line_per_tracker_and_sequence(compared):
    rows = list(csv.DictReader((compared[1] / "c.csv").open()))
    assert [(row["tracker"], row["sequence"]) for row in rows] == [
        (tracker, sequence) for tracker in ("paper", "paper:capacity=0", "sort:buffer=7")
        for sequence in ("a", "b", "c", "combined")
    ]  # fmt: skip
    assert all(float(row["HOTA"]) >= 0 and float(row["ms_per_frame"]) > 0 for row in rows)


def test_a_picture_is_drawn(compared):
    printed, folder = compared
    assert f"wrote {folder / 'c.png'}" in printed
    assert (folder / "c.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow  # the same engine as in `evaluate`
def test_two_workers_give_the_same_scores(compare_, known_weights, tmp_path):
    for workers in (1, 2):
        outcome = compare_(trackers="paper,motrv2", workers=workers, weights=known_weights,
                           json=tmp_path / f"{workers}.json")  # fmt: skip
        assert outcome.code == 0, outcome.err
    one, two = (content(tmp_path / f"{workers}.json")["trackers"] for workers in (1, 2))
    assert [one[name]["sequences"] for name in one] == [two[name]["sequences"] for name in one]


# What every tracker gets


def test_detections_of_low_score_are_left_out_for_all(compare_, clips):
    compare_(trackers="sort", min_score=0.5)
    rows = np.loadtxt(clips / "a/det/det.txt", delimiter=",")
    wanted = rows[(rows[:, 0] == 1) & (rows[:, 6] >= 0.5), 2:7]
    assert 0 < len(wanted) < (rows[:, 0] == 1).sum()
    np.testing.assert_allclose(ltwhs(Eager.seen[0][0]), wanted, rtol=1e-12)
    assert len(Eager.seen) == 15


def test_images_are_read_only_for_trackers_that_use_them(compare_, clips):
    compare_(trackers="sort")
    assert {image is None for _, image in Eager.seen} == {True}
    Eager.seen.clear()
    compare_(trackers="botsort")
    assert {image.shape for _, image in Eager.seen} == {(96, 128, 3)}
    Eager.seen.clear()
    compare_("--no-images", trackers="botsort")
    assert {image is None for _, image in Eager.seen} == {True}


@pytest.mark.parametrize("given", ["boxes.txt in each", "a folder", "a det_db"])
def test_detections_may_be_others(compare_, clips, tmp_path, given):
    compare_(trackers="sort")
    wanted = [ltwhs(found) for found, _ in Eager.seen]
    Eager.seen.clear()
    database = {}
    (tmp_path / "boxes").mkdir()
    for name in "abc":
        lines = (clips / name / "det/det.txt").read_text().splitlines()
        (clips / name / "det/det.txt").unlink()
        text = "".join(f"{line}\n" for line in lines)
        (clips / name / "det/boxes.txt").write_text(text)
        (tmp_path / "boxes" / f"{name}.txt").write_text(text)
        for number in range(1, 7):
            found = [line.split(",") for line in lines]
            database[f"sets/{name}/img1/{number:08d}.txt"] = [
                ",".join(parts[2:7]) + "\n" for parts in found if int(parts[0]) == number
            ]
    (tmp_path / "db.json").write_text(json.dumps(database))
    detections = {
        "boxes.txt in each": "det/boxes.txt", "a folder": tmp_path / "boxes",
        "a det_db": tmp_path / "db.json",
    }[given]  # fmt: skip
    outcome = compare_(trackers="sort", detections=detections)
    assert outcome.code == 0, outcome.err
    for (found, _), boxes in zip(Eager.seen, wanted, strict=True):
        np.testing.assert_array_equal(ltwhs(found), boxes)


@pytest.mark.parametrize("whole", [7, 8])
def test_boxes_may_be_of_the_whole_video(compare_, clips, whole):
    """The second half of 7 frames is 5 to 7, and that of 8 frames is 6 to 8."""
    lines = [f"{n},-1,{10 * n},5,20,30,0.9\n" for n in range(1, whole + 1)]
    (clips / "c/det/det.txt").write_text("".join(lines))
    outcome = compare_("--sequences", "c", "--second-half", trackers="sort")
    assert outcome.code == 0, outcome.err
    left = [found.xyxy[0, 0] for found, _ in Eager.seen]
    assert left == [10 * n for n in range(whole - 2, whole + 1)]


def test_boxes_of_another_whole_are_refused(compare_, clips):
    outcome = compare_("--second-half", trackers="sort")
    assert outcome.code == 2
    assert "det.txt ends with frame 6, so its second half has 2 frames; a has 6" in outcome.err


# Which trackers take part


def test_without_images_only_trackers_run_that_need_none(compare_, clips, tmp_path):
    for name in "abc":
        shutil.rmtree(clips / name / "img1")
    outcome = compare_(trackers="tfsasm,motrv2,botsort,sort", json=tmp_path / "c.json")
    assert outcome.code == 0, outcome.err
    assert "not run: tfsasm: it needs images: there are none of a, b, c" in outcome.out
    assert "botsort had no images of a, b, c, so no camera motion" in outcome.out
    found = content(tmp_path / "c.json")
    assert set(found["trackers"]) == {"botsort", "sort"}
    assert set(found["skipped"]) == {"tfsasm", "motrv2"}


def test_a_video_may_replace_the_images(compare_, evaluated, clips, tmp_path):
    (clips / "a/img1").rename(tmp_path / "frames")
    outcome = compare_("--sequences", "a", source=tmp_path / "frames", output=tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "out/paper/a.txt").read_bytes() == evaluated.files["a"]


@pytest.mark.parametrize(("flags", "message"), [
    pytest.param(["--no-images"], "no tracker can run: paper: it needs images", id="no images"),
    pytest.param(["--source", "x.mp4"], "--source is for one sequence, and there are 3", id="one"),
    pytest.param(["--workers", 0], "workers is 0", id="no workers"),
    pytest.param(["--precision", "fp16", "--device", "cpu"], "fp16 is for GPUs", id="precision"),
    pytest.param(["--trackers", "fast"], "no tracker 'fast'", id="unknown tracker"),
    pytest.param(["--plot", "c.txt"], "is not an image file", id="no plot"),
    pytest.param(["--json", "x", "--csv", "x"], "two outputs have the same name", id="one name"),
    pytest.param(["--detections", "a.json"], "a.json does not exist, neither by itself nor in",
                 id="no boxes"),
    pytest.param(["--trackers", "paper", "paper:capacity=1", "paper_capacity=1"], "no tracker",
                 id="a name with no colon"),
])  # fmt: skip
def test_what_cannot_be_done_is_refused_before_any_work(
    compare_, tmp_path, monkeypatch, flags, message
):
    monkeypatch.chdir(tmp_path)
    outcome = compare_(*flags, trackers=None if "--trackers" in flags else "paper")
    assert outcome.code == 2
    assert message in outcome.err
    assert not Eager.seen


def test_without_truth_there_is_nothing_to_compare(compare_, clips):
    shutil.rmtree(clips / "b/gt")
    outcome = compare_()
    assert outcome.code == 2
    assert "no ground truth of b; choose others by --sequences" in outcome.err


def test_nothing_is_replaced_without_overwrite(compare_, tmp_path):
    names = {"json": "c.json", "csv": "c.csv", "plot": "c.png", "output": "out"}
    places = {option: tmp_path / name for option, name in names.items()}
    assert compare_(trackers="sort", **places).code == 0
    for option, place in places.items():
        refused = compare_(trackers="sort", **{option: place})
        assert refused.code == 2
        assert "--overwrite" in refused.err
    assert compare_("--overwrite", trackers="sort", **places).code == 0


# What goes wrong on the way


def test_a_sequence_that_fails_is_left_out_for_all(compare_, clips, tmp_path):
    image = clips / "b/img1/00000005.png"
    image.write_bytes(image.read_bytes()[:500])
    outcome = compare_(trackers="botsort,sort", json=tmp_path / "c.json")
    assert outcome.code == 1
    assert "left out: b: " in outcome.out
    found = content(tmp_path / "c.json")
    assert all(set(one["sequences"]) == {"a", "c"} for one in found["trackers"].values())
    assert "00000005.png (frame 5 of 6) is cut off" in found["left_out"]["b"]


def test_an_invalid_result_is_left_out_for_all(compare_, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "trackers", package(Twice))
    outcome = compare_(trackers="sort,sort:buffer=7", json=tmp_path / "c.json")
    found = content(tmp_path / "c.json")
    assert all(set(one["sequences"]) == {"a", "c"} for one in found["trackers"].values())
    assert "has id 1 twice in frame 1" in outcome.out


def test_a_sequence_of_another_length_is_left_out(compare_, clips):
    info = clips / "a/seqinfo.ini"
    info.write_text(info.read_text().replace("seqLength=6", "seqLength=7"))
    outcome = compare_(trackers="botsort")
    assert outcome.code == 1
    assert "left out: a: " in outcome.out
    assert "has 6 frames, and the sequence 7" in outcome.out


def test_when_everything_fails_it_is_an_error(compare_):
    outcome = compare_(trackers="sort:buffer=13")
    assert outcome.code == 2
    assert "no sequence could be tracked: RuntimeError: bad luck" in outcome.err


def test_ctrl_c_ends_it_without_a_table(compare_, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "trackers", package(Stopping))
    outcome = compare_(trackers="sort", json=tmp_path / "c.json")
    assert outcome.code == 130
    assert "stopped; nothing is scored" in outcome.out
    assert not (tmp_path / "c.json").exists()


def test_missing_detections_are_noted(compare_, clips):
    outcome = compare_(trackers="sort")
    assert "det.txt has no entry for 1 frame(s), taken as empty: 5 (" in outcome.out


# The appearance tracker


def test_appearance_and_motion_take_part_with_images_and_without(compare_, tmp_path):
    trackers = "appearance,motion,appearance:kind=ema,appearance:min_travel=0.2"
    outcome = compare_(trackers=trackers, json=tmp_path / "c.json")
    assert outcome.code == 0, outcome.err
    found = content(tmp_path / "c.json")["trackers"]
    assert list(found) == trackers.split(",")
    assert found["motion"]["parameters"]["gallery"]["kind"] == "none"
    assert found["appearance:kind=ema"]["parameters"]["gallery"]["kind"] == "ema"
    outcome = compare_("--no-images", trackers="appearance,motion")
    assert outcome.code == 0, outcome.err
    assert "appearance had no images" in outcome.out
    rows = [line.split()[1:8] for line in outcome.out.splitlines()
            if line.split()[:1] in (["appearance"], ["motion"])]  # fmt: skip
    assert rows[0][:6] == rows[1][:6]  # without images it is motion alone
