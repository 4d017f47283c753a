"""`tfsasm train`: options become settings of a run, and what cannot be done is one clear line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tfsasm.cli.train import Options, settings_of
from tfsasm.motrv2.config import full, tiny
from tfsasm.motrv2.weights import save_model
from tfsasm.training.recipes import TrainConfig, recipe_tiny, sampling_of


def settings(**options):
    return settings_of(Options(output=Path("run"), **options))


def test_without_options_it_is_the_recipe():
    network, config, clips = settings()
    assert (network, config) == (tiny(), recipe_tiny())
    assert clips.sampling == sampling_of(config, tiny())
    network, config, _ = settings(network="full")
    assert (network, config) == (full(), TrainConfig())


def test_options_change_the_recipe_and_nothing_else():
    options = {"steps": 9, "lr": 0.5, "seed": 4, "precision": "bf16", "workers": 3,
               "checkpoint_minutes": 1.5, "validate_minutes": 2.5}  # fmt: skip
    _, config, clips = settings(**options)
    assert config == replace(recipe_tiny(), **options)
    assert clips.seed == 4


def test_the_second_cycle_continues_from_weights():
    _, config, clips = settings(cycle=2, init=Path("first.safetensors"))
    assert config == recipe_tiny(2)
    assert clips.sampling.frames == 6


@pytest.mark.parametrize(("flags", "message"), [
    pytest.param(["--device", "cuda:9"], "no device 'cuda:9' here", id="no such device"),
    pytest.param([], "--backbone-weights FILE", id="a frozen backbone without weights"),
    pytest.param(["--init", "lost.pth"], "no checkpoint at lost.pth", id="a missing start"),
    pytest.param(["--cycle", 2], "continues from --init FILE", id="a second cycle from scratch"),
])  # fmt: skip
def test_what_cannot_be_trained_is_one_clear_error(tfsasm, tmp_path, flags, message):
    outcome = tfsasm("train", "--output", tmp_path / "run", *flags)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err


def test_an_output_that_cannot_be_written_is_found_before_any_work(tfsasm, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = tfsasm("train", "--output", tmp_path / "file", "--init", "lost.pth")
    assert outcome.code == 2
    assert outcome.err.startswith("error: cannot write in ")


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
