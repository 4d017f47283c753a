"""The command line: what can be asked for, and one clear line for what cannot be done."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import safetensors.torch
import torch

from helpers.fakes import SMALL
from helpers.scenes import NETWORK, RunsCode, lively_model
from tfsasm.cli import (
    ablate,
    bench,
    chosen,
    compare,
    convert,
    datasets,
    demo,
    detect,
    detections,
    evaluate,
    export,
    forward,
    main,
    merge,
    show,
    submit,
    synth,
    train,
)
from tfsasm.cli import score as score_module
from tfsasm.cli import track as track_module
from tfsasm.errors import InputError, TruncatedInput, WeightsError
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.weights import load_model, save_model

SCRIPT = Path(sys.executable).with_name("tfsasm")
COMMANDS = {
    "track": track_module.Track, "convert": convert.Convert, "synth": synth.Synth,
    "score": score_module.Score,
    "train": train.Train, "demo": demo.Demo, "evaluate": evaluate.Evaluate,
    "datasets": datasets.Datasets,
    "merge": merge.Merge, "submit": submit.Submit, "show": show.Show, "detect": detect.Detect,
    "detections": detections.Detections, "compare": compare.Compare, "ablate": ablate.Ablate,
    "export": export.Export, "bench": bench.Bench,
}  # fmt: skip


# What can be asked for


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(tfsasm, command):
    outcome = tfsasm(command, "--help")
    assert outcome.code == 0
    assert f"Example: tfsasm {command}" in " ".join(outcome.out.replace("│", " ").split())


def example(job):
    """Words after `tfsasm`, as they stand in the help."""
    return job.__doc__.split("Example: tfsasm ")[1].split("\n\n")[0].split()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_can_be_parsed(command, monkeypatch):
    seen = []
    monkeypatch.setattr(main, "_run", lambda job, *_: seen.append(job) or 0)
    with pytest.raises(SystemExit) as left:
        main.main(example(COMMANDS[command]))
    assert left.value.code == 0
    assert [type(job) for job in seen] == [COMMANDS[command]]


@pytest.mark.slow
def test_examples_work_when_pasted_one_after_the_other(tfsasm, tmp_path, monkeypatch):
    """Those that need no video, checkpoint or download of yours."""
    monkeypatch.chdir(tmp_path)
    few = ["--sequences", "2", "--frames", "12"]
    for job, more in {
        synth.Synth: few,
        evaluate.Evaluate: (),
        score_module.Score: (),
        show.Show: (),
        merge.Merge: (),
        datasets.Datasets: (),
        detections.Detections: (),
        detections.FilterDetections: (),
        detections.RekeyDetections: (),
        detections.MergeDetections: (),
        ablate.Ablate: (),
        **({compare.Compare: ()} if find_spec("trackers") else {}),
    }.items():
        outcome = tfsasm(*example(job), *more)
        assert outcome.code == 0, outcome.err
    assert {path.name for path in tmp_path.iterdir()} >= {
        "clips", "results", "scores.json", "shown.mp4", "merged", "findings.json", "det_db.json",
        "sure.json", "moved.json", "both.json", "ablation",
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command):
    for kind in COMMANDS[command].__mro__[:-1]:  # a group of options is a base class
        source = Path(inspect.getfile(kind)).read_text()
        body = re.split(rf"class {kind.__name__}\b.*:\n", source)[1].split("\n@dataclass")[0]
        lines = body.splitlines()
        for name in vars(kind).get("__annotations__", ()):
            at = next(i for i, line in enumerate(lines) if line.startswith(f"    {name}: "))
            assert lines[at + 1].startswith('    """'), name


def test_the_commands_are_these(tfsasm):
    out = tfsasm("--help").out
    assert "Follow look-alike people through a video." in out
    for command in COMMANDS:
        assert command in out
    assert set(forward.COMMANDS) == set(COMMANDS.values())


FROZEN = {
    "track": (
        "source detections detector detector_weights detector_score detector_set tracker embedder "
        "embedder_weights embedder_set weights runtime preset set short_side max_side "
        "miss_tolerance score_threshold output mot_output json_output start end stride "
        "skip_bad_detections overwrite device precision batch_encode threads quiet"
    ),
    "evaluate": (
        "root output dataset split sequences public source detections detector detector_weights "
        "detector_score detector_set tracker embedder embedder_weights embedder_set weights preset "
        "set short_side max_side miss_tolerance score_threshold precision workers "
        "skip_bad_detections overwrite device quiet"
    ),
    "datasets": "action root dataset split json overwrite quiet",
    "convert": "input output half overwrite",
    "export": "output format weights short_side max_side overwrite",
    "synth": "output sequences seed frames width height overwrite",
    "score": "gt results dataset json csv plot allow_missing overwrite",
    "train": (
        "output network init backbone_weights cycle steps lr seed precision validate_sequences "
        "validate_minutes checkpoint_minutes workers threads device"
    ),
    "demo": "output seed frames",
    "merge": "results output min_gap max_gap block_from overwrite",
    "submit": "dataset results output root overwrite",
    "show": "results source output gt dataset start end trail overwrite quiet",
    "detect": (
        "detector output source dataset root split sequences detector_weights detector_set score "
        "overwrite device quiet"
    ),
    "detections": "tool",  # its own are in detect/test_tools.py
    "compare": (
        "root trackers dataset split sequences public source no_images detections second_half "
        "min_score embedder embedder_weights embedder_set weights short_side max_side json csv "
        "plot output workers precision "
        "skip_bad_detections overwrite device quiet"
    ),
    "bench": (
        "network weights size tracks variants rounds frames detector detector_weights scaling "
        "length baseline source json plot threads overwrite"
    ),
    "ablate": (
        "root output dataset split sequences public source detections detector "
        "detector_weights detector_score detector_set weights preset set short_side max_side "
        "miss_tolerance score_threshold precision workers skip_bad_detections overwrite device "
        "quiet grid min_score metric against"
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_options_are_a_promise(tfsasm, command):
    """Scripts depend on these names, not on their order. Adding one is fine; say so here."""
    names = FROZEN[command].split()
    assert {field.name for field in dataclasses.fields(COMMANDS[command])} == set(names)
    out = tfsasm(command, "--help").out
    positional = POSITIONAL.get(command, ())
    assert all(f"--{n.replace('_', '-')}" in out for n in names if n not in positional)


POSITIONAL = {"convert": ("input", "output"), "datasets": ("action",), "detections": ("tool",)}


def test_defaults_are_a_promise_too():
    plain = track_module.Track(source="x")
    told = {f.name: getattr(plain, f.name) for f in dataclasses.fields(plain)}
    assert {name: value for name, value in told.items() if value not in (None, False, ())} == {
        "source": "x", "detector_score": 0.1, "tracker": "query", "weights": "tiny",
        "runtime": "torch", "preset": "default", "start": 1, "stride": 1, "device": "auto",
        "precision": "auto", "batch_encode": 1,
    }  # fmt: skip


@pytest.mark.parametrize("words", [
    pytest.param(["track"], id="no source"),
    pytest.param(["fly"], id="no such command"),
    pytest.param(["track", "--source", "x", "--preset", "best"], id="no such preset"),
    pytest.param(["track", "--source", "x", "--end", "soon"], id="text for a number"),
    pytest.param(["track", "--source", "x", "--mot-ouput", "o.txt"], id="a misspelt option"),
    pytest.param([], id="nothing at all"),
])
def test_what_cannot_be_parsed_ends_with_code_2(tfsasm, words):
    outcome = tfsasm(*words)
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert outcome.err.strip()


def test_help_and_mistakes_do_not_wait_for_torch():
    """In a process of its own, where nothing is loaded yet."""
    code = (
        "import sys\nfrom tfsasm import cli\n"
        "try:\n    cli.main(['track', '--help'])\nexcept SystemExit:\n"
        "    sys.exit('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, "torch was imported for --help"


def test_the_installed_script_prints_one_line(tmp_path):
    """No traceback, nothing on the output, the code for the shell."""
    command = [SCRIPT, "track", "--source", "lost.mp4", "--detections", "d.txt",
               "--mot-output", "o.txt"]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, check=False,
        env=os.environ | {"COLUMNS": "60"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: lost.mp4 does not exist; give a video, an image folder or a camera index\n"
    )
    assert list(tmp_path.iterdir()) == []


# What cannot be done. Every case makes its own input in `tmp` and says what to track.


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
    given(tmp / "frames", "notes.txt", "no picture")
    return tmp / "frames"


SOURCES = {
    "a missing file": (lambda tmp: tmp / "lost.mp4", ["lost.mp4 does not exist", "give a video"]),
    "text as a video": (
        lambda tmp: given(tmp, "notes.txt", "hello\n" * 400),
        ["notes.txt is not a video", "no moving pictures"]),
    "text in disguise": (
        lambda tmp: given(tmp, "fake.mp4", "hello\n" * 400), ["fake.mp4 is not a video"]),
    "an empty file": (lambda tmp: given(tmp, "empty.mp4", ""), ["empty.mp4 is not a video"]),
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
    "frame 0": ("0,-1,10,10,20,40,0.9\n", "frame '0' is below 1, the first frame"),
    "half a frame": ("1.5,-1,10,10,20,40,0.9\n", "frame '1.5' is not a whole number"),
}


@pytest.mark.parametrize("case", LINES)
def test_a_bad_detection_line_is_named_and_can_be_left_out(track, tmp_path, case):
    bad, problem = LINES[case]
    path = given(tmp_path, "det.txt", GOOD + "\n" + bad + GOOD)
    outcome = track(detections=path, mot_output=tmp_path / "out" / "o.txt")
    refused(outcome, tmp_path / "out", f"{path}:3: {problem}", MEND)

    outcome = track("--skip-bad-detections", detections=path, mot_output=tmp_path / "o.txt", end=1)
    assert outcome.code == 0
    assert f"1 bad detection line(s) left out, the first: {path}:3: {problem}" in outcome.out


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
    "a picture": (lambda tmp: given(tmp, "a.txt", bytes(range(256))), ["a.txt is not text"]),
    "half a JSON": (
        lambda tmp: given(tmp, "db.json", '{"a/1.txt": ["1,1,'), ["db.json:1:", "not valid JSON"]),
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
    "missing": (lambda tmp: tmp / "lost.pth", ["no checkpoint at", "lost.pth"]),
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


QUESTIONS = {
    "no boxes": ([], {"detections": None}, "--detections FILE or --detector yolox-nano"),
    "boxes twice": (["--detector", "yolox-nano"], {}, "say where the boxes come from"),
    "a setting without a value": (["--set", "travel"], {}, "--set takes NAME=VALUE, not 'travel'"),
    "an unknown setting": (["--set", "memory.size=3"], {}, "no setting 'memory.size'"),
    "a wrong value": (["--set", "memory.capacity=x"], {}, "memory.capacity is a whole number"),
    "a negative tolerance": ([], {"miss_tolerance": -1}, "lifecycle.miss_tolerance is at least 0"),
    "a NaN threshold": ([], {"score_threshold": "nan"}, "birth_score is at least 0, not 'nan'"),
    "no pixels": ([], {"short_side": 0}, "short_side is 0; give a number of pixels"),
    "an unknown device": ([], {"device": "gpu"}, "no device 'gpu' here"),
    "a detector's file that is missing": (
        ["--detector", "yolox-nano", "--detector-weights", "lost.onnx"], {"detections": None},
        "lost.onnx"),
}  # fmt: skip


@pytest.mark.parametrize("case", QUESTIONS)
def test_a_question_that_makes_no_sense_is_explained(track, tmp_path, case):
    flags, options, part = QUESTIONS[case]
    outcome = track(*flags, mot_output=tmp_path / "out" / "o.txt", **options)
    refused(outcome, tmp_path / "out", part)


# Outputs are looked at before any work


@pytest.fixture
def no_work(monkeypatch):
    def fail(*_, **__):
        pytest.fail("work was begun")

    for module, name in ((forward, "open_source"), (forward, "open_detections"), (chosen, "load")):
        monkeypatch.setattr(module, name, fail)


KINDS = {"output": "o.mp4", "mot_output": "o.txt", "json_output": "o.json"}


@pytest.mark.parametrize("option", KINDS)
@pytest.mark.usefixtures("no_work")
def test_an_output_folder_that_cannot_be_written_is_found_first(track, tmp_path, option):
    """A file in the folder's place: what is read-only for everyone, root included."""
    given(tmp_path, "file", "")
    outcome = track(**{option: tmp_path / "file" / "results" / KINDS[option]})
    assert outcome.code == 2
    assert outcome.err.startswith("error: cannot write in ")
    assert str(tmp_path / "file" / "results") in outcome.err


@pytest.mark.parametrize("option", KINDS)
def test_the_same_output_twice_asks_for_overwrite(track, tmp_path, option, monkeypatch):
    path = tmp_path / KINDS[option]
    assert track(**{option: path}, end=2).code == 0
    first = path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(chosen, "load", lambda *_, **__: pytest.fail("load was called"))
        outcome = track(**{option: path}, end=4)
    assert outcome.code == 2
    assert f"{path} exists; give another name or --overwrite" in outcome.err
    assert path.read_bytes() == first
    assert track("--overwrite", **{option: path}, end=4).code == 0
    assert path.read_bytes() != first


@pytest.mark.usefixtures("no_work")
def test_a_folder_of_images_is_not_filled_twice(track, tmp_path):
    (tmp_path / "drawn").mkdir()
    given(tmp_path / "drawn", "00000001.jpg", "")
    outcome = track(output=tmp_path / "drawn")
    assert outcome.code == 2
    assert "00000001.jpg exists; give another folder or --overwrite" in outcome.err


@pytest.mark.parametrize(("options", "part"), [
    pytest.param({}, "nothing to write: give --output, --mot-output or --json-output", id="none"),
    pytest.param({"mot_output": "a.txt", "json_output": "./a.txt"},
                 "two outputs have the same name", id="one name for two"),
    pytest.param({"output": "a.gif"}, "a.gif ends in .gif, which is no video", id="unknown kind"),
    pytest.param({"mot_output": "."}, "is a folder; give the name of a file", id="a folder"),
])
@pytest.mark.usefixtures("no_work")
def test_outputs_that_make_no_sense_are_explained(track, tmp_path, monkeypatch, options, part):
    monkeypatch.chdir(tmp_path)
    outcome = track(**options)
    assert outcome.code == 2
    assert part in outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["source", "detections", "weights"])
@pytest.mark.usefixtures("no_work")
def test_an_input_is_never_overwritten(track, tmp_path, option):
    path = given(tmp_path, "precious", "mine")
    outcome = track("--overwrite", mot_output=path, **{option: path})
    assert outcome.code == 2
    assert f"{path} is an input; write the output elsewhere" in outcome.err
    assert path.read_text() == "mine"


def test_a_run_that_fails_leaves_older_results(track, tmp_path):
    """`--overwrite` replaces a result by a result, not by nothing."""
    path = given(tmp_path, "o.txt", "yesterday's work")
    db = given(tmp_path, "db.json", json.dumps({"dance-8/1.txt": [], "dance-9/1.txt": []}))
    assert track("--overwrite", mot_output=path, detections=db).code == 2
    assert path.read_text() == "yesterday's work"


# The other commands


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_convert_keeps_the_network(tfsasm, track, small_weights, tmp_path, suffix):
    outcome = tfsasm("convert", small_weights, tmp_path / f"net{suffix}")
    assert outcome.code == 0
    count = sum(p.numel() for p in MOTRv2(SMALL).parameters())
    assert f"{count:,} parameters, mobilenetv2" in " ".join(outcome.out.split())
    track(mot_output=tmp_path / "a.txt")
    track(mot_output=tmp_path / "b.txt", weights=tmp_path / f"net{suffix}")
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes() != b""


def test_convert_can_halve_a_file(tfsasm, small_weights, tmp_path):
    tfsasm("convert", small_weights, tmp_path / "whole.safetensors")
    tfsasm("convert", small_weights, tmp_path / "half.safetensors", "--half")
    whole, half = (tmp_path / f"{name}.safetensors" for name in ("whole", "half"))
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    model, network = load_model(half)
    assert network == NETWORK
    own = lively_model().learned_content
    torch.testing.assert_close(model.learned_content, own, rtol=1e-3, atol=1e-3)


def test_convert_refuses(tfsasm, small_weights, tmp_path):
    path = given(tmp_path, "net.safetensors", "mine")
    outcome = tfsasm("convert", small_weights, path)
    assert (outcome.code, path.read_text()) == (2, "mine")
    assert "exists; give another name or --overwrite" in outcome.err
    outcome = tfsasm("convert", small_weights, tmp_path / "net.onnx")
    assert outcome.code == 2
    assert "write .safetensors or .pth, not .onnx" in outcome.err
    outcome = tfsasm("convert", path, tmp_path / "new.safetensors")
    assert outcome.code == 2
    assert "net.safetensors is not a whole safetensors file" in outcome.err


def test_synth_writes_sequences_that_can_be_tracked_and_scored(tfsasm, small_weights, tmp_path):
    size = ("--frames", 4, "--width", 96, "--height", 64)
    outcome = tfsasm("synth", "--output", tmp_path / "clips", "--sequences", 2, "--seed", 5, *size)
    assert outcome.code == 0, outcome.err
    assert "wrote 2 sequences of 4 frames" in outcome.out
    folders = sorted(path for path in (tmp_path / "clips").iterdir())
    assert [path.name for path in folders] == ["synthetic-5-0000", "synthetic-5-0001"]
    for folder in folders:
        outcome = tfsasm(
            "track", "--source", folder, "--detections", folder / "det" / "det.txt", "--quiet",
            "--weights", small_weights, "--mot-output", tmp_path / "results" / f"{folder.name}.txt",
        )  # fmt: skip
        assert outcome.code == 0, outcome.err

    outcome = tfsasm("synth", "--output", tmp_path / "clips", "--sequences", 1, "--seed", 5, *size)
    assert outcome.code == 2
    assert "synthetic-5-0000" in outcome.err

    score = ("score", "--gt", tmp_path / "clips", "--results", tmp_path / "results")
    outcome = tfsasm(*score, "--json", tmp_path / "scores.json")
    assert outcome.code == 0, outcome.err
    for word in ("HOTA", "AssA", "IDF1", "synthetic-5-0001", "combined"):
        assert word in outcome.out
    told = json.loads((tmp_path / "scores.json").read_text())
    assert set(told["sequences"]) == {"synthetic-5-0000", "synthetic-5-0001"}

    outcome = tfsasm(*score, "--json", tmp_path / "scores.json")
    assert outcome.code == 2
    assert "scores.json exists" in outcome.err


def test_synth_refuses_an_output_that_is_a_file(tfsasm, tmp_path):
    outcome = tfsasm("synth", "--output", given(tmp_path, "file", ""), "--sequences", 1)
    assert outcome.code == 2
    assert "cannot make the folder" in outcome.err


def test_exit_codes_are_the_same_wherever_they_are_written():
    assert (
        (main.TRUNCATED, main.INTERRUPTED)
        == (track_module.TRUNCATED, track_module.INTERRUPTED)
        == (3, 130)
    )
    assert (track_module.OK, main.USER_ERROR) == (0, 2)


@pytest.mark.parametrize(("error", "code", "word"), [
    pytest.param(InputError("no such box"), 2, "error: no such box", id="your input"),
    pytest.param(WeightsError("no such net"), 2, "error: no such net", id="your checkpoint"),
    pytest.param(TruncatedInput("it ends"), 3, "error: it ends", id="cut short"),
    pytest.param(KeyboardInterrupt(), 130, "stopped", id="Ctrl-C"),
])
def test_every_command_ends_with_the_code_of_its_error(tfsasm, monkeypatch, error, code, word):
    def fail(*_):
        raise error

    monkeypatch.setitem(forward.COMMANDS, demo.Demo, fail)
    outcome = tfsasm("demo")
    assert (outcome.code, outcome.out, outcome.err.strip()) == (code, "", word)


def test_being_terminated_is_as_good_as_ctrl_c(tfsasm, monkeypatch):
    usual = signal.getsignal(signal.SIGTERM)
    monkeypatch.setitem(
        forward.COMMANDS,
        demo.Demo,
        lambda *_: [os.kill(os.getpid(), signal.SIGTERM), time.sleep(9)],
    )
    outcome = tfsasm("demo")
    assert (outcome.code, "stopped" in outcome.err) == (130, True)
    assert signal.getsignal(signal.SIGTERM) is usual


def test_a_defect_of_ours_is_not_disguised(track, tmp_path, monkeypatch):
    """Anything but our own errors keeps its traceback: it is a bug to report."""
    monkeypatch.setattr(chosen, "load", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        track(mot_output=tmp_path / "o.txt")
