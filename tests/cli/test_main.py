"""The command line: its commands, their options, and how they end."""

import dataclasses
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from tfsasm.cli import INTERRUPTED, TRUNCATED, USER_ERROR, demo, main
from tfsasm.cli import track as track_module
from tfsasm.errors import InputError, TruncatedInput, WeightsError

SCRIPT = Path(sys.executable).with_name("tfsasm")

# What the commands are


@pytest.mark.parametrize("command", main.COMMANDS)
def test_every_command_explains_itself_with_an_example(tfsasm, command):
    outcome = tfsasm(command, "--help")
    assert outcome.code == 0
    assert f"Example: tfsasm {command}" in " ".join(outcome.out.replace("│", " ").split())


def example(kind):
    """Words after `tfsasm`, as they stand in the help."""
    return kind.__doc__.split("Example: tfsasm ")[1].split("\n\n")[0].split()


@pytest.mark.parametrize("command", main.COMMANDS)
def test_every_example_can_be_parsed(command):
    kind = main.options_of(command)
    assert type(main.parse(example(kind))) is kind


@pytest.mark.slow
def test_examples_work_when_pasted_one_after_the_other(tfsasm, tmp_path, monkeypatch):
    """Those that need no video, checkpoint or download of yours."""
    monkeypatch.chdir(tmp_path)
    names = ["synth", "evaluate", "score", "show", "merge", "datasets", "ablate"]
    if find_spec("trackers"):
        names.append("compare")
    kinds = [main.options_of(name) for name in names]
    tools = get_args(get_type_hints(main.options_of("detections"))["tool"])
    kinds[6:6] = sorted(tools, key=lambda tool: "merge" in example(tool))  # what others made
    for kind in kinds:
        more = ["--sequences", "2", "--frames", "12"] if kind is kinds[0] else []
        outcome = tfsasm(*example(kind), *more)
        assert outcome.code == 0, outcome.err
    assert {path.name for path in tmp_path.iterdir()} >= {
        "clips", "results", "scores.json", "shown.mp4", "merged", "findings.json", "det_db.json",
        "sure.json", "moved.json", "both.json", "ablation",
    }


@pytest.mark.parametrize("command", main.COMMANDS)
def test_every_option_is_explained(command):
    for kind in main.options_of(command).__mro__[:-1]:  # a group of options is a base class
        source = Path(inspect.getfile(kind)).read_text()
        body = re.split(rf"class {kind.__name__}\b.*:\n", source)[1].split("\n@dataclass")[0]
        lines = body.splitlines()
        for name in vars(kind).get("__annotations__", ()):
            at = next(i for i, line in enumerate(lines) if line.startswith(f"    {name}: "))
            assert lines[at + 1].startswith('    """'), name


def test_the_commands_are_these(tfsasm):
    out = tfsasm("--help").out
    assert "Track look-alike people through a video." in out
    for command in main.COMMANDS:
        assert command in out


def test_the_list_of_commands_exists_once():
    """Every module of the folder that has a `run` is in it, and nothing else is."""
    folder = Path(main.__file__).parent
    modules = {path.stem: path.read_text() for path in folder.glob("*.py")}
    commands = {name for name, text in modules.items() if "\ndef run(" in text}
    assert len(main.COMMANDS) == len(set(main.COMMANDS))
    assert set(main.COMMANDS) == commands
    assert set(FROZEN) == commands


FROZEN = {
    "app": "output host port max_upload no_browser",
    "track": (
        "source detections detector detector_weights detector_score detector_set tracker embedder "
        "embedder_weights embedder_set weights runtime preset set short_side max_side "
        "miss_tolerance score_threshold output save mot_output json_output start end "
        "stride skip_bad_detections overwrite device precision batch_encode streams threads "
        "quiet classes reconnect show workers engine ray_address cpus_per_worker gpus_per_worker "
        "dry_run price_per_hour decoder"
    ),
    "serve": (
        "streams host port token_file max_streams max_fps max_pixels remembered workers set "
        "detector detector_weights detector_score detector_set embedder embedder_weights "
        "embedder_set"
    ),
    "evaluate": (
        "root output dataset split sequences public source detections detector detector_weights "
        "detector_score detector_set tracker embedder embedder_weights embedder_set weights preset "
        "set short_side max_side miss_tolerance score_threshold precision workers second_half "
        "skip_bad_detections overwrite device quiet classes "
        "engine ray_address cpus_per_worker gpus_per_worker"
    ),
    "datasets": "action root dataset split json overwrite quiet",
    "convert": "input output half overwrite",
    "export": "output format weights short_side max_side overwrite",
    "synth": "output sequences seed frames width height overwrite",
    "score": "gt results dataset classes json csv plot allow_missing overwrite",
    "train": (
        "output data validate config network init backbone_weights cycle steps epochs batch lr set "
        "seed precision validate_sequences validate_minutes checkpoint_minutes workers logger "
        "dry_run threads device"
    ),
    "verify": "weights root dataset detections frames variants json threads overwrite",
    "demo": "output synthetic seed frames weights",
    "merge": "results output min_gap max_gap block_from interpolate corrections overwrite",
    "view": "result source truth dataset output overwrite port no_browser",
    "submit": "dataset results output root overwrite",
    "show": "results source output gt dataset start end trail overwrite quiet",
    "detect": (
        "detector output source dataset root split sequences detector_weights detector_set score "
        "overwrite device quiet classes workers engine ray_address cpus_per_worker gpus_per_worker"
    ),
    "detections": "tool",  # those of the tools are in test_detections.py
    "compare": (
        "root trackers dataset split sequences public source no_images detections second_half "
        "min_score embedder embedder_weights embedder_set weights short_side max_side json csv "
        "plot output workers precision classes "
        "skip_bad_detections overwrite device quiet "
        "engine ray_address cpus_per_worker gpus_per_worker"
    ),
    "bench": (
        "network weights size tracks variants rounds frames detector detector_weights scaling "
        "length baseline source everyday json plot threads overwrite"
    ),
    "ablate": (
        "root output dataset split sequences public source detections detector "
        "detector_weights detector_score detector_set weights preset set short_side max_side "
        "miss_tolerance score_threshold precision workers skip_bad_detections overwrite device "
        "second_half quiet grid min_score metric against classes "
        "engine ray_address cpus_per_worker gpus_per_worker"
    ),
}


@pytest.mark.parametrize("command", main.COMMANDS)
def test_names_of_options_are_fixed(tfsasm, command):
    """Scripts depend on these names, not on their order. Adding one is fine; say so here."""
    names = FROZEN[command].split()
    assert {field.name for field in dataclasses.fields(main.options_of(command))} == set(names)
    out = tfsasm(command, "--help").out
    positional = POSITIONAL.get(command, ())
    assert all(f"--{n.replace('_', '-')}" in out for n in names if n not in positional)


POSITIONAL = {
    "convert": ("input", "output"), "datasets": ("action",), "detections": ("tool",),
    "track": ("source",), "serve": ("streams",), "view": ("result",),
}


def test_a_package_that_is_not_installed_is_named(tfsasm, monkeypatch):
    def run(*_):
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")

    monkeypatch.setattr(track_module, "run", run)
    outcome = tfsasm("track", "x.mp4")
    assert outcome.code == USER_ERROR
    assert "this needs the package torch, which is not here: pip install torch" in outcome.err


def test_defaults_are_fixed():
    plain = track_module.Options(source=("x",))
    values = {f.name: getattr(plain, f.name) for f in dataclasses.fields(plain)}
    assert {name: value for name, value in values.items() if value not in (None, False, ())} == {
        "source": ("x",), "detector_score": 0.1, "tracker": "auto", "weights": "",
        "save": ("video", "mot", "json", "report"), "runtime": "torch", "preset": "default",
        "start": 1, "stride": 1, "device": "auto",
        "precision": "auto", "batch_encode": 1, "streams": 1, "engine": "processes",
        "decoder": "auto",
        "cpus_per_worker": 1,
    }  # fmt: skip


@pytest.mark.parametrize("words", [
    pytest.param(["track"], id="no source"),
    pytest.param(["fly"], id="no such command"),
    pytest.param(["track", "x", "--preset", "best"], id="no such preset"),
    pytest.param(["track", "x", "--end", "soon"], id="text for a number"),
    pytest.param(["track", "x", "--mot-ouput", "o.txt"], id="a misspelt option"),
    pytest.param([], id="nothing at all"),
])
def test_what_cannot_be_parsed_ends_with_code_2(tfsasm, words):
    outcome = tfsasm(*words)
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert outcome.err.strip()


@pytest.mark.parametrize(("word", "answer"), [
    pytest.param("trak", "error: no command 'trak'; did you mean track?", id="misspelt"),
    pytest.param("fly", "error: no command 'fly'; there are track, ", id="like no other"),
])
def test_a_command_that_does_not_exist_is_answered_with_those_that_do(tfsasm, word, answer):
    outcome = tfsasm(word)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(answer)


def test_the_version_is_that_of_the_package(tfsasm):
    assert tfsasm("--version").out == f"tfsasm {version('tfsasm')}\n"


LOADED = """
import json, sys
import tfsasm
loaded = {"import": [*sys.modules]}
from tfsasm.cli import main
for words in sys.argv[1:]:
    try:
        main.main(words.split())
    except SystemExit:
        loaded[words] = [*sys.modules]
print(json.dumps(loaded))
"""


UNKNOWN = f"detect --detector lost --source {Path(__file__).parent} --output o.json"
MERGE = "merge --results results --output merged"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Names of the modules that a process of its own has loaded after one command and the next."""
    place = tmp_path_factory.mktemp("loaded")
    (place / "results").mkdir()
    (place / "results" / "a.txt").write_text("1,1,5,5,10,20,1,-1,-1,-1\n")
    words = ["--version", "fly", "synth --help", "track --help", "track lost", "--help", UNKNOWN,
             MERGE]  # fmt: skip
    command = [sys.executable, "-c", LOADED, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=place)
    assert done.returncode == 0, done.stderr
    assert (place / "merged" / "a.txt").exists()
    return {key: {*names} for key, names in json.loads(done.stdout.splitlines()[-1]).items()}


def test_importing_the_package_loads_nothing_but_names(loaded):
    assert {name for name in loaded["import"] if name.startswith("tfsasm")} == {"tfsasm"}


def test_help_and_mistakes_wait_for_nothing_large(loaded):
    heavy = {"numpy", "torch", "cv2", "av", "supervision", "scipy", "onnxruntime", "matplotlib"}
    assert not loaded["track --help"] & heavy
    assert loaded["track lost"] & heavy <= {"numpy", "cv2", "av"}, "to look for the video"
    assert loaded["--help"] & heavy == loaded["track lost"] & heavy
    assert "tfsasm.detection.live" in loaded[UNKNOWN]
    assert loaded[UNKNOWN] & heavy <= {"numpy", "cv2", "av"}, "a detector need not know of tracks"


def test_merging_text_loads_neither_pytorch_nor_what_only_scores_need(loaded):
    assert not loaded[MERGE] & {"torch", "onnxruntime", "trackeval", "matplotlib"}


def test_a_command_loads_no_other(loaded):
    assert "tfsasm.cli.synth" in loaded["synth --help"]
    others = {"tfsasm.cli.track", "tfsasm.cli.train", "tfsasm.cli.bench"}
    assert not loaded["synth --help"] & others


def test_the_installed_script_prints_one_line(tmp_path):
    """No traceback, nothing on the output, the code for the shell."""
    command = [SCRIPT, "track", "lost.mp4", "--detections", "d.txt",
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


def test_a_command_ends_without_a_look_through_all_objects():
    """It took a second of each that loads PyTorch."""
    code = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 10_000)); "
    code += "from tfsasm.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True)
    assert done.stdout.splitlines()[1:] == ["True"], done.stderr


# Commands together


def test_synthetic_sequences_can_be_tracked_and_scored(tfsasm, small_weights, tmp_path):
    size = ("--frames", 4, "--width", 96, "--height", 64)
    outcome = tfsasm("synth", "--output", tmp_path / "clips", "--sequences", 2, "--seed", 5, *size)
    assert outcome.code == 0, outcome.err
    for folder in (tmp_path / "clips").iterdir():
        outcome = tfsasm(
            "track", folder, "--detections", folder / "det" / "det.txt", "--quiet",
            "--weights", small_weights, "--mot-output", tmp_path / "results" / f"{folder.name}.txt",
        )  # fmt: skip
        assert outcome.code == 0, outcome.err
    outcome = tfsasm("score", "--gt", tmp_path / "clips", "--results", tmp_path / "results",
                     "--json", tmp_path / "scores.json")  # fmt: skip
    assert outcome.code == 0, outcome.err
    for word in ("HOTA", "AssA", "IDF1", "synthetic-5-0001", "combined"):
        assert word in outcome.out
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert set(scores["sequences"]) == {"synthetic-5-0000", "synthetic-5-0001"}


# How a command ends


def test_exit_codes_are_fixed():
    assert (USER_ERROR, TRUNCATED, INTERRUPTED) == (2, 3, 130)


@pytest.mark.parametrize(("error", "code", "word"), [
    pytest.param(InputError("no such box"), 2, "error: no such box", id="your input"),
    pytest.param(WeightsError("no such net"), 2, "error: no such net", id="your checkpoint"),
    pytest.param(TruncatedInput("it ends"), 3, "error: it ends", id="cut short"),
    pytest.param(KeyboardInterrupt(), 130, "stopped", id="Ctrl-C"),
])
def test_every_command_ends_with_the_code_of_its_error(tfsasm, monkeypatch, error, code, word):
    def fail(*_):
        raise error

    monkeypatch.setattr(demo, "run", fail)
    outcome = tfsasm("demo")
    assert (outcome.code, outcome.out, outcome.err.strip()) == (code, "", word)


@pytest.mark.parametrize("words", [["track", "--help"], ["--version"]])
def test_a_reader_of_help_may_stop_reading(words):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tfsasm", *words], stdout=writing, stderr=subprocess.PIPE
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def test_being_terminated_is_as_good_as_ctrl_c(tfsasm, monkeypatch):
    usual = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(
        demo, "run", lambda *_: [os.kill(os.getpid(), signal.SIGTERM), time.sleep(9)]
    )
    outcome = tfsasm("demo")
    assert (outcome.code, "stopped" in outcome.err) == (143, True)
    assert signal.getsignal(signal.SIGTERM) is usual


def test_a_signal_that_is_passed_on_twice_does_not_end_the_end(tfsasm, monkeypatch):
    """As of Ctrl-C where a wrapper sends it on to a process that has it from the terminal, too."""
    ended = []

    def run(*_):  # by SIGTERM: a suite that runs in the background has SIGINT ignored
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            ended.append("whole")

    monkeypatch.setattr(demo, "run", run)
    assert (tfsasm("demo").code, ended) == (143, ["whole"])


def test_a_defect_of_ours_is_not_disguised(monkeypatch):
    """Anything but our own errors keeps its traceback: it is a bug to report."""
    monkeypatch.setattr(demo, "run", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main.main(["demo"])
