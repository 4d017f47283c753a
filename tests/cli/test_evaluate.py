"""`tfsasm evaluate`: the results of `track` for every sequence, whatever comes between."""

import functools
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from helpers.commands import FolderDetector, run_command, words_of
from helpers.scenes import HEIGHT, WIDTH, write_detections, write_images
from tfsasm.errors import InputError
from tfsasm.experiments.pool import Processes
from tfsasm.tracking import load

NAMES = ("a", "b", "c")


@pytest.fixture
def evaluate(tfsasm, clips, small_weights, tmp_path):
    """`tfsasm evaluate` with the small network; None removes an option."""

    def run(*flags, detector=None, **options):
        method = {"weights": small_weights, "preset": "paper"}
        given = {"root": clips, "output": tmp_path / "out"} | method | options
        words = ["evaluate", *words_of(given, *flags, "--quiet")]
        return run_command(*words, detector=detector) if detector else tfsasm(*words)

    return run


@pytest.fixture
def by_appearance(evaluate):
    """`tfsasm evaluate --tracker appearance`."""
    return functools.partial(evaluate, "--tracker", "appearance", weights=None, preset=None)


def results(folder):
    """Without those that are still being written, whose names begin with a dot."""
    return {path.stem: path.read_bytes() for path in sorted(folder.glob("[!.]*.txt"))}


@pytest.fixture
def again(evaluate, evaluated, tmp_path):
    """The same over what `evaluated` has done."""
    shutil.copytree(evaluated.folder, tmp_path / "out")
    return functools.partial(evaluate, root=evaluated.clips)


# Boxes of whole videos


def write_whole(clip, frames):
    lines = [f"{n},-1,{10 * n},5,20,30,0.9\n" for n in range(1, frames + 1)]
    (clip / "det/det.txt").write_text("".join(lines))


def test_boxes_of_the_whole_video_serve_its_second_half(by_appearance, clips, tmp_path):
    """Frame 1 of c is frame 6 of 8."""
    write_whole(clips / "c", 8)
    outcome = by_appearance("--second-half", "--embedder", "none", sequences="c")
    assert outcome.code == 0, outcome.err
    assert "boxes up to frame" not in outcome.err
    first = results(tmp_path / "out")["c"].decode().splitlines()[0].split(",")
    assert [float(value) for value in first[:4]] == [1, 1, 60, 5]


def test_boxes_of_more_frames_than_there_are_draw_a_warning(by_appearance, clips, caplog):
    write_whole(clips / "c", 8)
    assert by_appearance(sequences="c").code == 0
    assert "det.txt has boxes up to frame 8, and c has 3 frames" in caplog.text
    assert "--second-half" in caplog.text


# What comes out


def test_classes_of_the_ground_truth_can_be_counted(by_appearance, clips, tmp_path):
    for name in NAMES:
        file = clips / name / "gt" / "gt.txt"
        lines = [line.split(",") for line in file.read_text().splitlines()]
        file.write_text("".join(",".join([*row[:7], "2", *row[8:]]) + "\n" for row in lines))
    outcome = by_appearance("--classes", "2")
    assert outcome.code == 0, outcome.err
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())["combined"]
    assert scores["HOTA"] > 30, "without the option nothing counts"
    refused = by_appearance("--classes", "2", "--dataset", "mot17", output=tmp_path / "other")
    assert refused.code == 2
    assert "the rules of mot17 say which classes count" in refused.err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(("preset", "names"), [("released", NAMES), ("paper", ["a"])])
def test_every_sequence_is_tracked_as_by_itself(evaluate, track, clips, tmp_path, preset, names):
    outcome = evaluate("--sequences", *names, preset=preset)
    assert outcome.code == 0, outcome.err
    for name in names:
        wanted = tmp_path / f"{name}.txt"
        track(source=clips / name, detections=clips / name / "det/det.txt", preset=preset,
              mot_output=wanted)  # fmt: skip
        assert results(tmp_path / "out")[name] == wanted.read_bytes() != b""
        assert f"{name}: {3 if name == 'c' else 6} frames, " in outcome.out


@pytest.mark.parametrize("flags", [
    pytest.param((), id="colours"),
    pytest.param(("--embedder", "none"), id="motion alone"),
    pytest.param(("--set", "match.hits=1", "gallery.kind=ema"), id="other settings"),
])
def test_so_it_is_with_the_appearance_tracker(by_appearance, track, clips, tmp_path, flags):
    outcome = by_appearance(*flags)
    assert outcome.code == 0, outcome.err
    for name in NAMES:
        wanted = tmp_path / f"{name}.txt"
        track("--tracker", "appearance", *flags, weights=None, preset=None,
              source=clips / name, detections=clips / name / "det/det.txt",
              mot_output=wanted)  # fmt: skip
        assert results(tmp_path / "out")[name] == wanted.read_bytes()
    assert results(tmp_path / "out")["a"]
    assert "no images" not in outcome.out


@pytest.mark.parametrize("boxes", ["beside", "det_db"])
def test_without_images_motion_decides_as_in_a_comparison(
    by_appearance, tfsasm, clips, tmp_path, boxes
):
    for name in NAMES:
        shutil.rmtree(clips / name / "img1")
    (tmp_path / "det_db.json").write_text(as_det_db(clips))
    more = ["--detections", tmp_path / "det_db.json"] if boxes == "det_db" else []
    outcome = by_appearance(*more)
    assert outcome.code == 0, outcome.err
    assert "no images of a, b, c: tracked by motion alone there" in outcome.out
    tfsasm("compare", "--root", clips, "--trackers", "motion", "--min-score", 0,
           "--output", tmp_path / "compared", "--quiet")  # fmt: skip
    assert results(tmp_path / "out") == results(tmp_path / "compared" / "motion")
    assert results(tmp_path / "out")["a"]


def write_a_pan(folder):
    """A person who stands; the camera turns so far that only the images explain it."""
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, 2 * WIDTH, 3), dtype=np.uint8)
    wide = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)
    cv2.rectangle(wide, (100, 30), (119, 69), (0, 0, 255), cv2.FILLED)
    turned = (0, 0, 0, 20, 20, 20)
    shutil.rmtree(folder / "img1")
    write_images(folder / "img1", [wide[:, x : x + WIDTH] for x in turned])
    write_detections(folder / "det/det.txt", [[f"{100 - x},30,20,40,0.9"] for x in turned])


def test_only_what_has_no_images_is_tracked_by_motion_alone(by_appearance, clips, tmp_path):
    for name in ("a", "b"):
        write_a_pan(clips / name)
    by_appearance(output=tmp_path / "wanted")
    shutil.rmtree(clips / "b" / "img1")
    outcome = by_appearance()
    assert "no images of b: tracked by motion" in outcome.out
    seen, wanted = results(tmp_path / "out"), results(tmp_path / "wanted")
    assert [name for name in NAMES if seen[name] == wanted[name]] == ["a", "c"]
    assert seen["a"] == wanted["b"] != b""
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())["settings"]
    assert record["images"] == {"a": True, "b": False, "c": True}


def test_scores_are_those_of_the_files(evaluated, tfsasm, tmp_path):
    record = evaluated.scores
    tfsasm("score", "--gt", evaluated.clips, "--results", evaluated.folder, "--dataset", "mot",
           "--json", tmp_path / "scores.json")  # fmt: skip
    wanted = json.loads((tmp_path / "scores.json").read_text())
    assert {name: record[name] for name in wanted} == wanted
    assert set(record["sequences"]) == set(NAMES)
    assert record["settings"]["preset"] == "paper"


@pytest.mark.slow
@pytest.mark.parametrize("tracker", ["appearance", "query"])
def test_two_workers_give_the_same_files(
    evaluate, by_appearance, known_weights, tmp_path, tracker
):
    """One thread each way: with another number, sums may round otherwise."""
    of_query = functools.partial(evaluate, weights=known_weights)
    run = of_query if tracker == "query" else by_appearance
    run()
    outcome = run("--workers", 2, output=tmp_path / "two")
    assert outcome.code == 0, outcome.err
    assert results(tmp_path / "two") == results(tmp_path / "out")
    assert set(results(tmp_path / "out")) == set(NAMES)


def test_work_that_is_sent_to_workers_gives_the_same_files(by_appearance, tmp_path, monkeypatch):
    """Without their processes, which the tests of `detect` start."""
    by_appearance()
    here, sent = Processes.__call__, []

    def send(engine, names, make):
        sent.append((engine, pickle.dumps(make)))
        return here(Processes(), names, pickle.loads(sent[-1][1]))

    monkeypatch.setattr(Processes, "__call__", send)
    outcome = by_appearance("--workers", 2, output=tmp_path / "two")
    assert outcome.code == 0, outcome.err
    assert results(tmp_path / "two") == results(tmp_path / "out")
    assert set(results(tmp_path / "out")) == set(NAMES)
    assert [engine.workers for engine, _ in sent] == [2]


def test_the_network_is_loaded_once(evaluate, monkeypatch):
    loaded = []
    usual = load.load_network
    monkeypatch.setattr(
        "tfsasm.cli.experiment.load_network",
        lambda *given, **settings: loaded.append(given) or usual(*given, **settings),
    )  # fmt: skip
    assert evaluate("--sequences", "a", "c").code == 0
    assert len(loaded) == 1


def test_some_sequences_can_be_chosen(evaluate, tmp_path):
    assert evaluate("--sequences", "a", "c").code == 0
    assert list(results(tmp_path / "out")) == ["a", "c"]


def test_settings_reach_the_tracker(evaluate, evaluated, tmp_path):
    evaluate("--set", "memory.capacity=0", "report_score=0.6", "--sequences", "a")
    assert results(tmp_path / "out")["a"] != evaluated.files["a"]


def test_without_truth_there_are_results_and_no_scores(evaluate, clips, tmp_path):
    for name in NAMES:
        shutil.rmtree(clips / name / "gt")
    outcome = evaluate("--sequences", "b", "c")
    assert outcome.code == 0
    assert "nothing to score: no finished sequence has ground truth" in outcome.out
    assert len(results(tmp_path / "out")) == 2
    assert not (tmp_path / "out" / "scores.json").exists()


def test_a_sequence_of_another_length_is_told(evaluate, clips):
    info = clips / "a" / "seqinfo.ini"
    info.write_text(info.read_text().replace("seqLength=6", "seqLength=7"))
    told = evaluate("--sequences", "a").out
    assert "note: a: 6 frames were tracked, 7 were expected" in told


# Where the boxes come from


def as_det_db(clips):
    return json.dumps({
        f"sets/{name}/img1/{number:08d}.txt": [
            ",".join(line.split(",")[2:]) + "\n"
            for line in (clips / name / "det/det.txt").read_text().splitlines()
            if int(line.split(",")[0]) == number
        ]
        for name in NAMES for number in range(1, 7)
    })  # fmt: skip


@pytest.mark.parametrize("form", ["NAME.txt", "NAME/det.txt", "NAME/det/det.txt", "det_db.json"])
def test_detections_may_lie_elsewhere(evaluate, evaluated, clips, tmp_path, form):
    other = tmp_path / "boxes"
    other.mkdir()
    (other / "det_db.json").write_text(as_det_db(clips))
    for name in NAMES:
        path = other / form.replace("NAME", name)
        if path.suffix == ".txt":
            path.parent.mkdir(parents=True, exist_ok=True)
            (clips / name / "det/det.txt").rename(path)
    given = other / form if form == "det_db.json" else other
    outcome = evaluate("--sequences", "b", "c", detections=given)
    assert outcome.code == 0, outcome.err
    assert results(tmp_path / "out") == {name: evaluated.files[name] for name in "bc"}


def test_a_video_may_lie_elsewhere(evaluate, evaluated, clips, tmp_path):
    (clips / "a" / "img1").rename(tmp_path / "frames")
    (tmp_path / "det_db.json").write_text(as_det_db(clips))
    for boxes in (None, tmp_path / "det_db.json"):
        outcome = evaluate("--sequences", "a", "--overwrite", source=tmp_path / "frames",
                           detections=boxes)  # fmt: skip
        assert outcome.code == 0, outcome.err
        assert results(tmp_path / "out") == {"a": evaluated.files["a"]}


@pytest.mark.parametrize(("flags", "message"), [
    pytest.param(["--workers", 0], "workers is 0; give 1 or more", id="no workers"),
    pytest.param(["--sequences", "z"], "no sequence z; there is a, b, c", id="no such sequence"),
    pytest.param(["--split", "val"], "holds sequences, but no split 'val'", id="no such split"),
    pytest.param(["--source", "x.mp4"], "--source is for one sequence, and there are 3",
                 id="one video for all"),
    pytest.param(["--detections", "nowhere"], "nowhere does not exist", id="no detections"),
    pytest.param(["--detections", "."], "no detections of a in .: wanted a.txt", id="none here"),
    pytest.param(["--detections", "{clips}/a/det/det.txt"], "is of one sequence, and there are 3",
                 id="one det.txt for all"),
    pytest.param(["--detections", ".", "--detector", "yolox-nano"], "not both", id="two sources"),
    pytest.param(["--weights", "no.pth"], "no.pth", id="no weights"),
    pytest.param(["--set", "memory.capacity"], "--set takes NAME=VALUE", id="half a setting"),
    pytest.param(["--tracker", "appearance"], "--weights is for --tracker query",
                 id="weights of the other tracker"),
    pytest.param(["--embedder", "hist"], "--embedder is for --tracker appearance",
                 id="embedder of the other tracker"),
])  # fmt: skip
def test_what_cannot_be_done_is_refused_before_any_work(
    evaluate, clips, tmp_path, monkeypatch, flags, message
):
    monkeypatch.chdir(tmp_path)
    outcome = evaluate(*(str(flag).format(clips=clips) for flag in flags))
    assert outcome.code == 2
    assert message in outcome.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("part", "message"), [
    pytest.param("img1", "no images of b; choose others by --sequences, or", id="images"),
    pytest.param("det", "b has no det/det.txt beside it; give where", id="detections"),
])
def test_what_a_sequence_lacks_is_refused_before_any_work(evaluate, clips, tmp_path, part, message):
    shutil.rmtree(clips / "b" / part)
    outcome = evaluate()
    assert outcome.code == 2
    assert message in outcome.err
    assert not (tmp_path / "out").exists()


# What comes between


def test_a_failure_costs_one_sequence_until_it_is_mended(evaluate, evaluated, clips, tmp_path):
    image = clips / "b" / "img1" / "00000005.png"
    whole = image.read_bytes()
    image.write_bytes(whole[:500])
    broken = evaluate()
    assert broken.code == 1
    assert "failed: b: " in broken.out
    assert "00000005.png (frame 5 of 6) is cut off" in broken.out
    assert "b: it was not tracked: " in broken.out
    record = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert (set(record["sequences"]), set(record["left_out"])) == ({"a", "c"}, {"b"})
    assert list(results(tmp_path / "out")) == ["a", "c"]
    assert not [path for path in (tmp_path / "out").iterdir() if "partial" in path.name]

    image.write_bytes(whole)
    mended = evaluate()
    assert mended.code == 0
    assert "2 of 3 sequences are done already" in mended.out
    assert results(tmp_path / "out") == evaluated.files


def test_a_bad_detection_line_costs_one_sequence_or_nothing(evaluate, clips, tmp_path):
    path = clips / "b" / "det/det.txt"
    path.write_text(path.read_text() + "4,-1,nan,2,3,4,0.5\n")
    assert evaluate("--sequences", "b", "c").code == 1
    assert list(results(tmp_path / "out")) == ["c"]
    outcome = evaluate("--skip-bad-detections", "--sequences", "b", output=tmp_path / "other")
    assert outcome.code == 0
    assert "note: b: 1 bad detection line(s) left out, the first: " in outcome.out


def test_finished_sequences_are_not_tracked_again(again, evaluated, tmp_path):
    (tmp_path / "out" / "b.txt").unlink()
    detector = FolderDetector()
    assert again(detector=detector).code == 0
    assert set(detector.names) == {"b"}
    assert results(tmp_path / "out") == evaluated.files


def test_other_settings_need_another_folder(again, evaluated, tmp_path):
    refused = again("--set", "memory.capacity=3")
    assert refused.code == 2
    assert "by other settings: method.memory.capacity was 10, not 3. Give those" in refused.err
    assert results(tmp_path / "out") == evaluated.files
    anew = again("--set", "memory.capacity=3", "--overwrite", "--sequences", "a")
    assert anew.code == 0
    assert list(results(tmp_path / "out")) == ["a"]


@pytest.mark.parametrize(("before", "after", "change"), [
    pytest.param((), ("--tracker", "query"), "tracker was appearance, not query", id="tracker"),
    pytest.param((), ("--embedder", "none"), "embedder was hist, not none", id="embedder"),
    pytest.param((), ("--set", "match.hits=1"), "method.match.hits was 2, not 1", id="setting"),
    pytest.param((), ("--embedder-set", "hues=9"), 'embedder_set was [], not ["hues=9"]',
                 id="setting of the embedder"),
    pytest.param(("--tracker", "query"), ("--tracker", "query", "--precision", "bf16"),
                 "precision was auto, not bf16", id="precision"),
])  # fmt: skip
def test_a_folder_holds_one_tracker(
    by_appearance, small_weights, tmp_path, before, after, change
):
    def of(flags):
        return small_weights if "query" in flags else None

    assert by_appearance("--sequences", "a", *before, weights=of(before)).code == 0
    refused = by_appearance(*after, weights=of(after))
    assert refused.code == 2
    assert change in " ".join(refused.err.split())
    assert list(results(tmp_path / "out")) == ["a"]


def test_images_that_came_later_need_another_folder(by_appearance, clips, tmp_path):
    (clips / "a" / "img1").rename(tmp_path / "away")
    assert by_appearance("--sequences", "a").code == 0
    (tmp_path / "away").rename(clips / "a" / "img1")
    refused = by_appearance("--sequences", "a", "b")
    assert refused.code == 2
    assert "other settings: images.a was false, not true. Give" in " ".join(refused.err.split())
    assert by_appearance("--sequences", "b").code == 0


def test_a_folder_of_detections_is_known_by_its_content(by_appearance, clips, tmp_path):
    folder = tmp_path / "boxes"
    folder.mkdir()
    for name in NAMES:
        shutil.copy(clips / name / "det" / "det.txt", folder / f"{name}.txt")
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert by_appearance("--sequences", "a", detections=folder).code == 0
    (moved / "b.txt").write_text("1,-1,1,1,9,9,0.9\n")
    assert "1 of 2 sequences" in by_appearance("--sequences", "a", "b", detections=moved).out
    (moved / "a.txt").write_text("1,-1,1,1,9,9,0.9\n")
    refused = by_appearance("--sequences", "a", detections=moved)
    assert "other settings: detections.a was sha256:" in " ".join(refused.err.split())


def test_which_sequences_are_named_does_not_count(by_appearance, clips, tmp_path):
    shutil.rmtree(clips / "b" / "img1")
    for names in (["a"], ["b"], NAMES, ["c", "a"]):
        outcome = by_appearance("--sequences", *names)
        assert outcome.code == 0, outcome.err
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())["settings"]
    assert record["images"] == {"a": True, "b": False, "c": True}


@pytest.mark.parametrize(("flags", "message"), [
    pytest.param(("--tracker", "query", "--precision", "fp8"), "not 'fp8'", id="precision"),
    pytest.param(("--tracker", "query", "--short-side", 0), "short_side is 0", id="size"),
    pytest.param(("--embedder", "osnet"), "needs the ONNX file", id="weights of the embedder"),
    pytest.param(("--embedder-set", "colours=9"), "no setting 'colours'", id="embedder"),
    pytest.param(("--detector", "yolox-nano", "--detector-set", "size=9"), "no setting 'size'",
                 id="detector"),
])  # fmt: skip
def test_what_cannot_begin_removes_nothing(by_appearance, tmp_path, flags, message):
    assert by_appearance("--sequences", "a").code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    refused = by_appearance(*flags, "--overwrite")
    assert refused.code == 2
    assert message in " ".join(refused.err.split())
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert by_appearance(*flags, output=tmp_path / "new").code == 2
    assert not (tmp_path / "new").exists()


def test_a_folder_of_a_detector_is_known_by_its_content(by_appearance, tmp_path):
    first, other = tmp_path / "first", tmp_path / "other"
    write_model(first)
    shutil.copytree(first, other)
    (other / "README.md").write_text("moved")

    def evaluate(folder):
        return by_appearance("--sequences", "a", "--detector", f"hf:{folder}",
                             detector=FolderDetector())  # fmt: skip

    assert evaluate(first).code == 0
    assert "1 of 1 sequences are done already" in evaluate(other).out
    (other / "model.safetensors").write_bytes(b"2")
    with pytest.raises(InputError) as refused:
        evaluate(other)
    assert "other settings: detector.weights.model.safetensors was sha256:" in str(refused.value)
    assert "config" not in str(refused.value)


def write_model(folder):
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"1")


def test_a_precision_reaches_the_network(evaluate, evaluated, tmp_path):
    for precision in ("bf16", "fp32"):
        evaluate("--precision", precision, "--sequences", "a", output=tmp_path / precision)
    assert results(tmp_path / "bf16")["a"] != evaluated.files["a"]
    assert results(tmp_path / "fp32")["a"] == evaluated.files["a"]
    refused = evaluate("--precision", "fp16", "--device", "cpu", output=tmp_path / "fp16")
    assert (refused.code, results(tmp_path / "fp16")) == (2, {})
    assert "fp16 is for GPUs" in refused.err


def test_what_does_not_change_results_may_change(again, small_weights, tmp_path):
    shutil.copy(small_weights, tmp_path / "same.safetensors")
    outcome = again(weights=tmp_path / "same.safetensors")
    assert outcome.code == 0
    assert "3 of 3 sequences are done already" in outcome.out


def test_ctrl_c_keeps_what_is_finished(evaluate, evaluated, tmp_path):
    outcome = evaluate(detector=FolderDetector(stop="b"))
    assert outcome.code == 130
    assert "stopped; what is finished is kept" in outcome.out
    assert list(results(tmp_path / "out")) == ["a"]
    assert evaluate().code == 0
    assert results(tmp_path / "out") == evaluated.files


# A kill


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "tracker"), [(1, "query"), (2, "query"), (1, "appearance")])
def test_ten_kills_leave_no_trace_in_the_results(clips, known_weights, tmp_path, workers, tracker):
    """SIGKILL at random moments of the tracking, ten times over; then the run is left alone."""
    for name, original in zip("defgh", "abcab", strict=True):
        shutil.copytree(clips / original, clips / name)

    network = ["--weights", known_weights, "--preset", "paper"] if tracker == "query" else []

    def start(output):
        return subprocess.Popen(
            [sys.executable, "-m", "tfsasm", "evaluate", "--root", clips, "--output", output,
             "--tracker", tracker, *network, "--workers", str(workers), "--quiet"],
            env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    assert start(tmp_path / "wanted").wait() == 0
    ends = [path.stat().st_mtime for path in (tmp_path / "wanted").glob("*.txt")]
    pace = (max(ends) - min(ends)) / len(ends)
    dice, kept = random.Random(workers), []
    for _ in range(10):
        run = start(tmp_path / "out")
        wait_for_results(run, tmp_path / "out", more=dice.randint(0, 3))
        time.sleep(dice.uniform(0, 2) * pace)
        run.send_signal(signal.SIGKILL)
        run.wait()
        kept.append(len(results(tmp_path / "out")))
        if kept[-1] == len(ends):  # all was done already; begin once more
            shutil.rmtree(tmp_path / "out")
    assert start(tmp_path / "out").wait() == 0
    assert any(0 < count < len(ends) for count in kept), kept
    for path in (tmp_path / "wanted").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    with_tracks = NAMES if tracker == "query" else ("a", "b")  # no track in c is long enough
    assert all((tmp_path / "out" / f"{name}.txt").read_bytes() for name in with_tracks)
    assert len(list((tmp_path / "out").iterdir())) == len(ends) + 2


def wait_for_results(run, output, more):
    """Until that many sequences more are finished and one is begun, or the run has ended."""
    def begun():
        return {path.name for path in output.glob(".*partial-*")}

    goal, old = len(results(output)) + more, begun()
    while run.poll() is None and (len(results(output)) < goal or not begun() - old):
        time.sleep(0.005)
