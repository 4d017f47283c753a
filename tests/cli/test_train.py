"""`tfsasm train`: options become settings of a run, and what cannot be done is one clear line."""

import json
import math
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.scenes import NETWORK
from helpers.training_data import write_crowd, write_dance
from tfsasm.cli import main
from tfsasm.cli.train import Options, plan_of, stop_after_the_step
from tfsasm.motrv2.config import full, tiny
from tfsasm.motrv2.family import load_model
from tfsasm.motrv2.weights import save_model
from tfsasm.settings import full_name
from tfsasm.training import estimate
from tfsasm.training.mix import augment_of
from tfsasm.training.recipes import recipe_finetune, recipe_full, recipe_motr, recipe_tiny
from tfsasm.training.runs import Run, save_run
from tfsasm.training.sources import parse_data


def plan(**options):
    return plan_of(Options(output=Path("run"), **options))


def test_without_options_it_is_the_recipe():
    wanted = replace(recipe_tiny(), augment=augment_of(tiny()))
    assert plan() == Run(tiny(), wanted)
    assert plan(network="full") == Run(full(), recipe_full())


def test_options_change_the_recipe_and_nothing_else():
    options = {"steps": 9, "batch": 2, "lr": 0.5, "seed": 4, "precision": "bf16", "workers": 3,
               "checkpoint_minutes": 1.5, "validate_minutes": 2.5}  # fmt: skip
    changed = plan(**options, set=("denoising=0.1",)).training
    wanted = replace(plan().training, **options)
    assert changed == replace(wanted, clip=replace(wanted.clip, denoising=0.1))


def test_the_second_cycle_continues_from_weights():
    wanted = replace(recipe_tiny(2), augment=augment_of(tiny()))
    assert plan(cycle=2, init=Path("tiny")).training == wanted


def test_a_checkpoint_brings_its_network_and_data_the_recipe(small_weights):
    own = plan(init=small_weights, data=("mot:x",))
    assert (own.network, own.init) == (NETWORK, str(small_weights))
    assert own.training == replace(recipe_finetune(), augment=augment_of(NETWORK))


def test_the_first_data_set_chooses_the_recipe_of_motr():
    data = ("bdd100k:B,split=train", "mot17:M")
    assert plan(network="motr", data=data).training == recipe_motr("bdd100k")
    assert plan(network="motr", data=data[::-1]).training == recipe_motr("mot17")


def test_a_run_goes_on_from_its_file_with_changes(tmp_path):
    save_run(Run(NETWORK, replace(recipe_tiny(), lr=0.3), ("mot:x",), "mot:y"), tmp_path)
    again = plan(config=tmp_path / "config.json", steps=7, data=("mot:z",))
    assert again == Run(
        NETWORK, replace(recipe_tiny(), lr=0.3, steps=7), ("mot:z",), "mot:y"
    )  # fmt: skip


def documented():
    """The `tfsasm train` commands of docs/training.md, as words."""
    text = (Path(__file__).parents[2] / "docs/training.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```\n(.*?)```", text, re.S)).replace("\\\n", " ")
    lines = [line for line in blocks.splitlines() if re.search(r"tfsasm train ", line)]
    return [line.split("tfsasm train ")[1].replace("...", "").split() for line in lines]


@pytest.mark.parametrize("words", documented(), ids=" ".join)
def test_documented_commands_are_understood(words):
    options = main.parse(["train", *words])
    for text in options.data:
        parse_data(text)
    changed = plan_of(replace(options, init=options.init and Path("tiny"), config=None))
    assert changed.data == options.data


def test_documented_settings_exist():
    """Those of the table of the published recipe."""
    text = (Path(__file__).parents[2] / "docs/training.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+\| [^|]+\| (`[^|]*) \|$", text.split("## Data")[0], re.M)
    names = [name.partition("=")[0] for row in rows for name in re.findall(r"`([^`]+)`", row)]
    names.remove("0x2,0.5x5")
    assert len(names) > 15
    for name in names:
        full_name(name, recipe_full())


@pytest.mark.parametrize(("flags", "message"), [
    pytest.param(["--device", "cuda:9"], "no device 'cuda:9' here", id="no such device"),
    pytest.param([], "--backbone-weights FILE", id="a frozen backbone without weights"),
    pytest.param(["--init", "lost.pth"], "no checkpoint at lost.pth", id="a missing start"),
    pytest.param(["--cycle", 2], "continues from --init FILE", id="a second cycle from scratch"),
    pytest.param(["--data", "mot:lost"], "lost is not a folder", id="missing data"),
    pytest.param(["--validate", "crowdhuman:x"], "takes videos with identities", id="no videos"),
    pytest.param(["--set", "lrr=1"], "no setting 'lrr'", id="a setting that does not exist"),
    pytest.param(["--epochs", 2], "--epochs are those of --data", id="epochs of nothing"),
    pytest.param(["--epochs", 2, "--steps", 2], "not both", id="two lengths"),
    pytest.param(["--network", "huge"], "no network 'huge'", id="an unknown network"),
    pytest.param(["--epochs", "nan", "--data", "mot:x"], "--epochs nan", id="epochs no number"),
    pytest.param(["--epochs", 0, "--data", "mot:x"], "--epochs 0.0 is not above 0", id="none"),
    pytest.param(["--lr=-1"], "lr is at least 0", id="a rate below 0"),
    pytest.param(["--lr", "inf"], "lr is inf", id="a rate without end"),
    pytest.param(["--workers=-1"], "workers", id="fewer than no workers"),
    pytest.param(["--checkpoint-minutes", "nan"], "--checkpoint-minutes nan is not a number",
                 id="never"),
    pytest.param(["--validate-sequences=-1"], "give 0 for none", id="fewer than no sequences"),
])  # fmt: skip
def test_what_cannot_be_trained_is_one_clear_error(tfsasm, tmp_path, flags, message):
    outcome = tfsasm("train", "--output", tmp_path / "run", *flags)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err


def test_an_output_that_cannot_be_written_is_found_before_any_work(tfsasm, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = tfsasm("train", "--output", tmp_path / "file", "--init", "tiny")
    assert outcome.code == 2
    assert outcome.err.startswith("error: cannot write in ")


@pytest.fixture
def mixed(tmp_path):
    """Options for a mix of two data sets that take no time."""
    dance, crowd = write_dance(tmp_path / "DanceTrack"), write_crowd(tmp_path / "CrowdHuman")
    return [
        "--data", f"dancetrack:{dance}",
        "--data", f"crowdhuman:{crowd},detections={crowd / 'boxes.json'}",
        "--validate", f"dancetrack:{dance}", "--validate-sequences", 1,
        "--set", "lengths=0x2", "--workers", 0, "--device", "cpu",
    ]  # fmt: skip


def test_a_mix_is_trained_on_validated_and_repeated_from_its_file(
    tfsasm, small_weights, mixed, tmp_path
):
    output = tmp_path / "run"
    outcome = tfsasm("train", "--output", output, "--init", small_weights, *mixed, "--steps", 3)
    assert outcome.code == 0, outcome.err
    told = " ".join(outcome.out.split())
    assert "2 videos, 16 frames, 32 boxes" in told
    assert "3 frames, 6 boxes" in told
    assert "val/HOTA" in told
    assert load_model(output / "best.safetensors")[1] == NETWORK
    log = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    again = tmp_path / "again"
    outcome = tfsasm("train", "--output", again, "--config", output / "config.json",
                     "--validate-sequences", 0, "--workers", 0)  # fmt: skip
    assert outcome.code == 0, outcome.err
    [line] = [json.loads(line) for line in (again / "log.jsonl").read_text().splitlines()]
    assert line["loss"] == log[0]["loss"]


def test_a_dry_run_says_what_it_takes_and_leaves_nothing(
    tfsasm, small_weights, mixed, tmp_path, monkeypatch
):
    monkeypatch.setattr(estimate, "STEPS", ((2, math.inf),))  # enough for what is said here
    outcome = tfsasm("train", "--output", tmp_path / "run", "--init", small_weights, *mixed,
                     "--epochs", 2, "--batch", 2, "--workers", 0, "--dry-run")  # fmt: skip
    assert outcome.code == 0, outcome.err
    lines = {line.split()[0]: line for line in outcome.out.splitlines() if line.strip()}
    # 14 clips of two frames in videos and 3 images: 2 x 17 / 2
    assert lines["steps"].split()[1:5] == ["17", "of", "2", "clips,"]
    assert " hours, " in lines["time"]
    assert " GB of this process" in lines["memory"]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_one_ends(number):
    usual = signal.signal(number, signal.default_int_handler)
    try:
        with stop_after_the_step() as stopped:
            assert not stopped()
            os.kill(os.getpid(), number)
            assert stopped()
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
        assert signal.getsignal(number) == signal.default_int_handler
        signal.signal(number, signal.SIG_IGN)
        with stop_after_the_step() as stopped:
            os.kill(os.getpid(), number)
            assert not stopped(), "who started it has the signal ignored"
    finally:
        signal.signal(number, usual)


@pytest.mark.slow
def test_a_run_of_one_step_leaves_a_network(tfsasm, tmp_path):
    from tfsasm.motrv2.model import MOTRv2

    save_model(tmp_path / "start.safetensors", MOTRv2(tiny().model), tiny())
    outcome = tfsasm(
        "train", "--output", tmp_path / "run", "--init", tmp_path / "start.safetensors",
        "--steps", 1, "--workers", 0, "--validate-sequences", 0, "--device", "cpu",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "started from all of" in " ".join(outcome.out.split())
    assert (tmp_path / "run" / "model.safetensors").is_file()
