"""`tfsasm track`: one clear line for what cannot be done, before any work, and nothing left behind.

Every case makes its own input in `tmp` and gives it to the command.
"""

import dataclasses
import json
import pickle
from importlib.util import find_spec

import pytest
import safetensors.torch
import torch

from helpers.fakes import SMALL
from helpers.scenes import NETWORK, RunsCode, lively_model
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.weights import save_model


def refused(outcome, out, *parts):
    """One message with these parts, and nothing left behind."""
    assert outcome.code == 2, outcome
    assert outcome.err.startswith("error: ")
    assert "Traceback" not in outcome.err + outcome.out
    for part in parts:
        assert part in outcome.err
    assert not out.exists() or list(out.iterdir()) == []


def given(tmp, name, content: bytes | str):
    path = tmp / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def empty_folder(tmp):
    (tmp / "frames").mkdir()
    given(tmp / "frames", "notes.txt", "no image")
    return tmp / "frames"


SOURCES = {
    "a missing file": (lambda tmp: tmp / "lost.mp4", ["lost.mp4 does not exist", "give a video"]),
    "text as a video": (
        lambda tmp: given(tmp, "notes.txt", "hello\n" * 400),
        ["notes.txt is not a video", "no moving pictures"]),
    "text in disguise": (
        lambda tmp: given(tmp, "fake.mp4", "hello\n" * 400), ["fake.mp4 is not a video"]),
    "an empty file": (lambda tmp: given(tmp, "empty.mp4", ""), ["empty.mp4 is an empty file"]),
    "a folder without images": (empty_folder, ["holds no images", "give the folder that holds"]),
    "a camera that is not there": (lambda tmp: 63, ["camera 63"]),
}  # fmt: skip


@pytest.mark.parametrize("case", SOURCES)
def test_a_source_that_cannot_be_read_is_named(track, tmp_path, case):
    make, parts = SOURCES[case]
    outcome = track(source=make(tmp_path), mot_output=tmp_path / "out" / "o.txt")
    refused(outcome, tmp_path / "out", *parts)


RANGES = {
    "start 0": ({"start": 0}, "start is 0; frame numbers begin at 1"),
    "stride 0": ({"stride": 0}, "stride is 0; give 1 for every frame"),
    "end before start": ({"start": 5, "end": 4}, "ends at 4, before its start 5"),
    "start past the end": ({"start": 13}, "12 frames and none from 13 on; choose a start <= 12"),
}


@pytest.mark.parametrize("case", RANGES)
def test_a_range_without_frames_is_explained(track, tmp_path, case):
    options, part = RANGES[case]
    outcome = track(mot_output=tmp_path / "out" / "o.txt", **options)
    refused(outcome, tmp_path / "out", part)


GOOD = "1,-1,10,10,20,40,0.9\n"
MEND = "correct the line, or leave such lines out with --skip-bad-detections"
LINES = {
    "too few fields": ("1,-1,10,10,20\n", "too few fields: 5 where 7 to 10 are wanted"),
    "too many fields": (GOOD.strip() + ",1,2,3,4\n", "too many fields: 11"),
    "text": ("1,-1,ten,10,20,40,0.9\n", "left 'ten' is not a number"),
    "a header": ("frame,id,left,top,width,height,score\n", "frame 'frame' is not a number"),
    "NaN": ("1,-1,10,nan,20,40,0.9\n", "top 'nan' is not finite"),
    "infinity": ("1,-1,10,10,inf,40,0.9\n", "width 'inf' is not finite"),
    "a NaN score": ("1,-1,10,10,20,40,nan\n", "score 'nan' is not finite"),
    "no width": ("1,-1,10,10,0,40,0.9\n", "width '0' is not positive"),
    "negative height": ("1,-1,10,10,20,-4,0.9\n", "height '-4' is not positive"),
    "frame -1": ("-1,-1,10,10,20,40,0.9\n", "frame '-1' is below 0, the first frame"),
    "half a frame": ("1.5,-1,10,10,20,40,0.9\n", "frame '1.5' is not a whole number"),
}


@pytest.mark.parametrize("case", LINES)
def test_a_bad_detection_line_is_named(track, tmp_path, case):
    bad, problem = LINES[case]
    path = given(tmp_path, "det.txt", GOOD + "\n" + bad + GOOD)
    outcome = track(detections=path, mot_output=tmp_path / "out" / "o.txt")
    refused(outcome, tmp_path / "out", f"{path}:3: {problem}", MEND)


def test_bad_detection_lines_can_be_left_out(track, tmp_path):
    bad = "".join(line for line, _ in LINES.values())
    path = given(tmp_path, "det.txt", f"{GOOD}\n{bad}{GOOD}")
    outcome = track("--skip-bad-detections", detections=path, mot_output=tmp_path / "o.txt", end=1)
    assert outcome.code == 0
    problem = LINES["too few fields"][1]
    assert f"11 bad detection line(s) left out, the first: {path}:3: {problem}" in outcome.out


@pytest.mark.parametrize("case", [case for case in LINES if "frame" not in case])
def test_a_bad_line_in_a_det_db_is_named_by_its_key(track, tmp_path, case):
    bad, problem = LINES[case]
    cut = ",".join(bad.strip().split(",")[2:])
    entries = {"dance-7/img1/00000001.txt": ["1,1,9,9,0.9\n", cut]}
    path = given(tmp_path, "det_db.json", json.dumps(entries))
    outcome = track(detections=path, mot_output=tmp_path / "out" / "o.txt")
    problem = problem.partition(":")[0] if "few" in problem or "many" in problem else problem
    if case == "a header":
        problem = "left 'left' is not a number"
    where = f"{path}, key 'dance-7/img1/00000001.txt', line 2"
    refused(outcome, tmp_path / "out", where, problem, MEND)


DETECTIONS = {
    "a missing file": (lambda tmp: tmp / "lost.txt", ["cannot read", "lost.txt"]),
    "a folder": (lambda tmp: tmp, ["is a folder; give a det.txt or a det_db JSON"]),
    "an image": (lambda tmp: given(tmp, "a.txt", bytes(range(256))), ["a.txt is not text"]),
    "half a JSON": (
        lambda tmp: given(tmp, "db.json", '{"a/1.txt": ["1,1,'), ["db.json is not valid JSON"]),
    "a JSON list": (lambda tmp: given(tmp, "db.json", "[1]"), ["db.json", "wanted is one object"]),
    "another video": (
        lambda tmp: given(tmp, "db.json", json.dumps(
            {f"val/dance-{n}/img1/00000001.txt": [] for n in (8, 9)})),
        ["db.json", "no sequence dance-7", "the file has val/dance-8, val/dance-9"]),
}  # fmt: skip


@pytest.mark.parametrize("case", DETECTIONS)
def test_detections_that_cannot_be_read_are_named(track, tmp_path, case):
    make, parts = DETECTIONS[case]
    outcome = track(detections=make(tmp_path), mot_output=tmp_path / "out" / "o.txt")
    refused(outcome, tmp_path / "out", *parts)


def saved(tmp, name, content):
    torch.save(content, tmp / name)
    return tmp / name


def published(tmp, change=lambda state: state):
    """A published-style .pth of the small network with its configuration beside it."""
    save_model(tmp / "net.pth", lively_model(), NETWORK)
    state = torch.load(tmp / "net.pth", weights_only=True)["model"]
    return saved(tmp, "net.pth", {"model": change(state)})


def halved(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def without_a_name(state):
    name = next(iter(state))
    return {key: value for key, value in state.items() if key != name} | {"extra.bias": state[name]}


def of_another_size(tmp):
    save_model(tmp / "net.safetensors", lively_model(), NETWORK)
    state = safetensors.torch.load_file(tmp / "net.safetensors")
    wider = NetworkConfig(dataclasses.replace(SMALL, feedforward=128))
    safetensors.torch.save_file(state, tmp / "net.safetensors", {"config": wider.to_json()})
    return tmp / "net.safetensors"


def truncated_safetensors(tmp):
    save_model(tmp / "net.safetensors", lively_model(), NETWORK)
    return halved(tmp / "net.safetensors")


def hidden_code(tmp):
    return saved(tmp, "evil.pth", {"model": {}, "args": RunsCode(tmp / "out-of-the-cage")})


WEIGHTS = {
    "missing": (lambda tmp: tmp / "lost.pth", ["no checkpoint at", "in the package are tiny"]),
    "a folder": (lambda tmp: tmp, ["no checkpoint at"]),
    "text": (lambda tmp: given(tmp, "net.pth", "hello"), ["net.pth", "not a PyTorch checkpoint"]),
    "text as safetensors": (
        lambda tmp: given(tmp, "net.safetensors", "hello"), ["is not a whole safetensors file"]),
    "empty": (lambda tmp: given(tmp, "net.pth", ""), ["net.pth is", "not a PyTorch checkpoint"]),
    "truncated": (lambda tmp: halved(published(tmp)), ["net.pth is truncated"]),
    "truncated safetensors": (truncated_safetensors, ["is not a whole safetensors file"]),
    "a list": (lambda tmp: saved(tmp, "net.pth", [1]), ["net.pth holds no state dict"]),
    "no tensors": (
        lambda tmp: saved(tmp, "net.pth", {"a": 1}), ["net.pth is not a state dict: 'a'"]),
    "another network": (
        lambda tmp: published(tmp, without_a_name),
        ["net.pth does not fit the network, 2 problems", "missing: ", "surplus: extra.bias"]),
    "another size": (of_another_size, ["does not fit the network", "wrong shape: "]),
    "a pickle that runs code": (hidden_code, ["evil.pth", "could run code", "refused"]),
    "plain pickle that runs code": (
        lambda tmp: given(tmp, "evil.pth", pickle.dumps(RunsCode(tmp / "out-of-the-cage"), 2)),
        ["evil.pth"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WEIGHTS)
def test_a_checkpoint_that_does_not_fit_is_named(track, tmp_path, case):
    make, parts = WEIGHTS[case]
    outcome = track(weights=make(tmp_path), mot_output=tmp_path / "out" / "o.txt")
    refused(outcome, tmp_path / "out", *parts)
    assert not (tmp_path / "out-of-the-cage").exists(), "code of a checkpoint was run"


def test_the_trap_would_spring(tmp_path):
    """Free unpickling does run it; so the test above can fail."""
    path = hidden_code(tmp_path)
    torch.load(path, weights_only=False)
    assert (tmp_path / "out-of-the-cage").exists()


OPTIONS = {
    "boxes twice": (["--detector", "yolox-nano"], {}, "both say where the boxes come from"),
    "a setting without a value": (["--set", "travel"], {}, "--set takes NAME=VALUE, not 'travel'"),
    "an unknown setting": (["--set", "memory.size=3"], {}, "no setting 'memory.size'"),
    "a wrong value": (["--set", "memory.capacity=x"], {}, "memory.capacity is a whole number"),
    "a negative tolerance": ([], {"miss_tolerance": -1}, "lifecycle.miss_tolerance is at least 0"),
    "a NaN threshold": ([], {"score_threshold": "nan"}, "--score-threshold nan is not a number"),
    "no pixels": ([], {"short_side": 0}, "short_side is 0; give a number of pixels"),
    "an unknown device": ([], {"device": "gpu"}, "no device 'gpu' here"),
    "a detector's file that is missing": (
        ["--detector", "yolox-nano", "--detector-weights", "lost.onnx"], {"detections": None},
        "lost.onnx"),
}  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_make_no_sense_are_explained(track, tmp_path, case):
    flags, options, part = OPTIONS[case]
    outcome = track(*flags, mot_output=tmp_path / "out" / "o.txt", **options)
    refused(outcome, tmp_path / "out", part)


# Outputs are looked at before any work


NO_WORK = {"source": "63", "detections": "lost.txt", "weights": "lost.pth"}
"""Inputs of which the first to be opened would be the message."""


KINDS = {"output": "o.mp4", "mot_output": "o.txt", "json_output": "o.json"}


@pytest.mark.parametrize("option", KINDS)
def test_an_output_folder_that_cannot_be_written_is_found_first(track, tmp_path, option):
    """A file in the folder's place: what is read-only for everyone, root included."""
    given(tmp_path, "file", "")
    outcome = track(**NO_WORK | {option: tmp_path / "file" / "results" / KINDS[option]})
    assert outcome.code == 2
    assert outcome.err.startswith("error: cannot write in ")
    assert str(tmp_path / "file" / "results") in outcome.err


def test_the_same_output_twice_asks_for_overwrite(track, tmp_path):
    paths = {option: tmp_path / name for option, name in KINDS.items()}
    assert track(**paths, end=2).code == 0
    first = {option: path.read_bytes() for option, path in paths.items()}
    for option, path in paths.items():
        outcome = track(**NO_WORK | {option: path}, end=4)
        assert outcome.code == 2
        assert f"{path} exists; give another name or --overwrite" in outcome.err
    assert first == {option: path.read_bytes() for option, path in paths.items()}
    assert track("--overwrite", **paths, end=4).code == 0
    assert all(path.read_bytes() != first[option] for option, path in paths.items())


def test_a_folder_of_images_is_not_filled_twice(track, tmp_path):
    (tmp_path / "drawn" / "camera-63.tracked").mkdir(parents=True)
    given(tmp_path / "drawn" / "camera-63.tracked", "00000001.jpg", "")
    outcome = track("--save", "images", output=tmp_path / "drawn", **NO_WORK)
    assert outcome.code == 2
    assert "00000001.jpg exists; give another folder or --overwrite" in outcome.err


@pytest.mark.parametrize(("options", "part"), [
    pytest.param({"mot_output": "a.txt", "json_output": "./a.txt"},
                 "two outputs have the same name", id="one name for two"),
    pytest.param({"output": "a.gif"}, "a.gif ends in .gif, which is no video", id="unknown kind"),
    pytest.param({"mot_output": "."}, "is a folder; give the name of a file", id="a folder"),
])
def test_outputs_that_make_no_sense_are_explained(track, tmp_path, monkeypatch, options, part):
    monkeypatch.chdir(tmp_path)
    outcome = track(**NO_WORK, **options)
    assert outcome.code == 2
    assert part in outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["source", "detections", "weights"])
def test_an_input_is_never_overwritten(track, tmp_path, option):
    path = given(tmp_path, "precious", "mine")
    outcome = track("--overwrite", mot_output=path, **NO_WORK | {option: path})
    assert outcome.code == 2
    assert f"{path} is an input; write the output elsewhere" in outcome.err
    assert path.read_text() == "mine"


def test_a_run_that_fails_leaves_older_results(track, tmp_path):
    """`--overwrite` replaces a result by a result, not by nothing."""
    path = given(tmp_path, "o.txt", "yesterday's work")
    db = given(tmp_path, "db.json", json.dumps({"dance-8/1.txt": [], "dance-9/1.txt": []}))
    assert track("--overwrite", mot_output=path, detections=db).code == 2
    assert path.read_text() == "yesterday's work"


@pytest.mark.skipif(find_spec("torchcodec") is not None, reason="torchcodec is installed")
def test_a_decoder_that_is_not_installed_is_named(track, tmp_path):
    outcome = track("--decoder", "torchcodec", mot_output=tmp_path / "out" / "o.txt")
    refused(outcome, tmp_path / "out", "torchcodec cannot be used", "pip install torchcodec, and")


def test_no_threads_are_refused(tfsasm, scene, tmp_path):
    outcome = tfsasm(
        "track", scene.folder, "--detections", scene.detections,
        "--mot-output", tmp_path / "out.txt", "--threads", 0,
    )  # fmt: skip
    assert outcome.code == 2
    assert "--threads 0 is not between 1 and 1024" in outcome.err
