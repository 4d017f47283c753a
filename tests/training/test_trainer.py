"""Steps of training: rates, gradients, averages, frozen parts."""

from __future__ import annotations

import json
import math
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.fakes import SMALL, thin_resnet
from helpers.scenes import drawn_blocks, drawn_clip
from helpers.trainer import CONFIG, NETWORK, equal, new_run, trainable
from tfsasm.errors import InputError, TfsasmError
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.model import MOTRv2
from tfsasm.training import trainer
from tfsasm.training.checkpoints import averaged, resume, save, state_of
from tfsasm.training.clip import ClipConfig
from tfsasm.training.data import to_clip
from tfsasm.training.recipes import TrainConfig
from tfsasm.training.trainer import (
    clip_length,
    fit,
    noise,
    schedule,
    start,
    train_step,
)

# Rates


@pytest.mark.parametrize(("step", "config", "factor"), [
    pytest.param(0, {"warmup": 4}, 0.25, id="the first step of a warmup moves already"),
    pytest.param(2, {"warmup": 4}, 0.75, id="in the warmup"),
    pytest.param(4, {"warmup": 4}, 1.0, id="warmed up"),
    pytest.param(0, {}, 1.0, id="no warmup"),
    pytest.param(79, {}, 1.0, id="before the drop"),
    pytest.param(80, {}, 0.1, id="the published drop"),
    pytest.param(99, {}, 0.1, id="to the end"),
    pytest.param(50, {"cosine": True, "decay_from": 0.5}, 1.0, id="where the cosine begins"),
    pytest.param(75, {"cosine": True, "decay_from": 0.5}, 0.5, id="half way down"),
    pytest.param(100, {"cosine": True, "decay_from": 0.5}, 0.0, id="at the end"),
    pytest.param(120, {"cosine": True, "decay_from": 0.5}, 0.0, id="never up again"),
    pytest.param(100, {"decay_from": 1.0}, 1.0, id="no drop"),
])  # fmt: skip
def test_the_rate_over_a_run(step, config, factor):
    assert schedule(step, TrainConfig(steps=100, **config)) == pytest.approx(factor)


@pytest.mark.parametrize(("step", "frames"), [(0, 2), (19, 2), (20, 3), (49, 3), (50, 4), (99, 4)])
def test_clips_grow_with_the_run(step, frames):
    config = TrainConfig(steps=100, lengths=((0.0, 2), (0.2, 3), (0.5, 4)))
    assert clip_length(step, config) == frames


def test_the_published_recipe_is_the_default():
    """SPEC 9.9."""
    config = TrainConfig()
    assert (config.lr, config.backbone_lr, config.weight_decay) == (2e-4, 2e-5, 1e-4)
    assert (config.clip_norm, config.lengths, config.average) == (0.1, ((0.0, 5),), 0.0)
    assert config.lr * config.offsets_scale == pytest.approx(2e-5)
    assert config.clip == ClipConfig()


def rates(run):
    """Learning rate by parameter name, as the optimiser has it."""
    names = {id(p): name for name, p in run.model.named_parameters()}
    return {
        names[id(p)]: group["base"] for group in run.optimizer.param_groups for p in group["params"]
    }


def test_every_parameter_has_its_rate():
    found = rates(new_run(replace(CONFIG, lr=1e-3, backbone_lr=1e-4, offsets_scale=0.1)))
    wanted = {}
    for name, _ in MOTRv2(SMALL).named_parameters():
        wanted[name] = 1e-3
        if "sampling_offsets" in name:
            wanted[name] = 1e-4
        if name.startswith("backbone."):
            wanted[name] = 1e-4
    assert found == pytest.approx(wanted)
    assert len(set(wanted.values())) == 2


def test_a_frozen_backbone_is_not_in_the_optimiser():
    run = new_run()
    found = rates(run)
    assert not any(name.startswith("backbone.") for name in found)
    assert found.keys() == trainable(run).keys()
    assert {round(rate, 9) for rate in found.values()} == {1e-3, 1e-4}


def test_the_first_layers_of_a_resnet_are_never_trained():
    """As published (SPEC 3.1), and frozen batch norms have no parameters at all."""
    sizes = replace(SMALL, backbone="resnet50")
    with thin_resnet():
        run = start(MOTRv2(sizes), NetworkConfig(sizes), replace(CONFIG, backbone_lr=1e-5))
    stages = {name.split(".")[1] for name in rates(run) if name.startswith("backbone.")}
    assert stages == {"layer2", "layer3", "layer4"}


@pytest.mark.parametrize(("neutral", "bias"), [(True, 0.0), (False, -2.0)])
def test_box_heads_start_neutral_or_as_published(neutral, bias):
    run = new_run(replace(CONFIG, neutral_box_heads=neutral))
    last = run.model.decoder.box_heads[0].layers[-1].bias
    assert last.tolist() == [0, 0, bias, bias]


def test_a_step_uses_the_scheduled_rate():
    run = new_run(replace(CONFIG, steps=100, warmup=4))
    for wanted in (0.25, 0.5, 0.75, 1.0):
        train_step(run, [to_clip(drawn_clip(0))])
        for group in run.optimizer.param_groups:
            assert group["lr"] == pytest.approx(wanted * group["base"])


# Steps


def test_a_step_reports_the_loss_of_the_last_frame_in_its_parts():
    values = train_step(new_run(), [to_clip(drawn_clip(0))])
    assert set(values) == {"loss", "norm", "ce", "bbox", "giou"}
    assert all(math.isfinite(value) and value > 0 for value in values.values())


def test_a_step_takes_as_many_frames_as_are_due():
    def loss(due, given):
        run = new_run(replace(CONFIG, lengths=((0.0, due),)))
        return train_step(run, [to_clip(drawn_clip(0)[:given])])["loss"]

    fewer = loss(1, 3), loss(2, 3)
    assert fewer == (loss(3, 1), loss(3, 2))
    assert len({*fewer, loss(3, 3)}) == 3


def test_a_step_is_a_function_of_run_and_clip():
    one, other = new_run(), new_run()
    for seed in range(2):
        clip = to_clip(drawn_clip(seed))
        assert train_step(one, [clip]) == train_step(other, [clip])
    assert equal(state_of(one), state_of(other))


@pytest.mark.parametrize("backbone_lr", [0.0, 1e-4])
def test_gradients_reach_every_trainable_parameter(backbone_lr):
    """At the second step: at the first, heads that are zero hide what is behind them."""
    run = new_run(replace(CONFIG, backbone_lr=backbone_lr, lengths=((0.0, 3),)))
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    for seed in range(2):
        train_step(run, [to_clip(drawn_clip(seed))])
    dead = [name for name, p in trainable(run).items() if p.grad is None or not p.grad.any()]
    assert dead == []
    moved = {name for name, p in run.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == set(trainable(run))
    assert any(name.startswith("backbone.") for name in moved) == (backbone_lr > 0)


def test_the_gradient_is_clipped():
    free, tied = (new_run(replace(CONFIG, clip_norm=norm)) for norm in (1e9, 0.1))
    norms = [train_step(run, [to_clip(drawn_clip(0))])["norm"] for run in (free, tied)]
    assert norms[0] == norms[1] > 1  # reported as it was before

    def total(run):
        return torch.cat([p.grad.flatten() for p in trainable(run).values()]).norm().item()

    assert total(free) == pytest.approx(norms[0], rel=1e-3)
    assert total(tied) == pytest.approx(0.1, rel=1e-3)


def test_one_clip_can_be_learned_by_heart():
    config = replace(
        CONFIG, clip=ClipConfig(refresh_matched=True), steps=1000, warmup=0, lengths=((0.0, 3),),
        lr=3e-3,
    )  # fmt: skip
    run, clip = new_run(config), to_clip(drawn_clip(0))
    losses = [train_step(run, [clip])["loss"] for _ in range(10)]
    assert np.mean(losses[-3:]) < 0.5 * losses[0]


def test_half_precision_trains_whole_weights():
    whole, half = new_run(), new_run(replace(CONFIG, precision="bf16"))
    losses = [train_step(run, [to_clip(drawn_clip(0))])["loss"] for run in (whole, half)]
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.1)
    assert {p.dtype for p in half.model.parameters()} == {torch.float32}


def test_fp16_scales_its_gradients_and_keeps_the_scale_over_a_stop(tmp_path):
    config = replace(CONFIG, precision="fp16", checkpoint_minutes=0.0)
    run = new_run(config)
    before = run.model.learned_content.detach().clone()
    train_step(run, [to_clip(drawn_clip(0))])
    assert run.scaler.get_scale() > 1
    run.scaler.update(128.0)
    save(run, tmp_path)
    again = new_run(config, seed=9)
    resume(again, tmp_path / "last.pt")
    assert again.scaler.get_scale() == 128.0
    train_step(again, [to_clip(drawn_clip(1))])
    assert not torch.equal(again.model.learned_content, before)
    assert again.model.learned_content.isfinite().all()


def signalled(index):
    """A block whose process is told to end, and killed in the end as where memory is short."""
    for number in (signal.SIGINT, signal.SIGTERM) if index < 4 else (signal.SIGKILL,):
        os.kill(os.getpid(), number)
    return drawn_blocks(index)


def test_another_process_makes_the_same_clips_until_it_is_killed(tmp_path):
    """Ctrl-C in a terminal reaches it too, and the run ends after its step, or in one sentence."""
    config = replace(CONFIG, steps=50, checkpoint_minutes=0.0)
    run = new_run(config)
    fit(run, drawn_blocks, tmp_path / "here", stopped=lambda: run.step == 4)
    with pytest.raises(TfsasmError, match=r"a process that makes clips was ended.* at step \d"):
        fit(new_run(replace(config, workers=1)), signalled, tmp_path / "there")
    resume(new_run(config), tmp_path / "there" / "last.pt")
    here, there = (
        [json.loads(line) | {"seconds": 0} for line in path.read_text().splitlines()]
        for path in (tmp_path / "here/log.jsonl", tmp_path / "there/log.jsonl")
    )
    assert len(here) == 4
    assert there[:4] == here


def test_an_error_ends_what_makes_clips(tmp_path, monkeypatch):
    """Even while its traceback is kept, to the end of Python, which waits for those processes."""
    ended = []

    def clips(*given, **named):
        try:
            while True:
                yield to_clip(drawn_clip(0))
        finally:
            ended.append(True)

    monkeypatch.setattr(trainer, "stream", clips)
    with pytest.raises(ZeroDivisionError) as caught:
        fit(new_run(), drawn_blocks, tmp_path, stopped=lambda: 1 // 0)
    assert (caught.type, ended) == (ZeroDivisionError, [True])


def test_a_loss_that_is_not_finite_stops_the_run():
    run = new_run()
    train_step(run, [to_clip(drawn_clip(0))])
    with torch.no_grad():
        run.model.proposal_content.fill_(math.nan)
    with pytest.raises(InputError, match=r"the loss is nan at step 1; .* a lower --lr"):
        train_step(run, [to_clip(drawn_clip(0))])
    assert run.step == 1


# The running average


def test_the_average_follows_the_weights():
    run = new_run(replace(CONFIG, average=0.2))
    name = "learned_content"
    expected = run.model.get_parameter(name).detach().clone()
    for step in range(1, 5):
        train_step(run, [to_clip(drawn_clip(step))])
        decay = min(0.2, step / (step + 10))  # a young run forgets its start
        expected = decay * expected + (1 - decay) * run.model.get_parameter(name).detach()
        torch.testing.assert_close(run.average[name], expected)
    assert not torch.equal(run.average[name], run.model.get_parameter(name))


def test_an_average_of_zero_is_the_last_step():
    run = new_run(replace(CONFIG, average=0.0))
    for seed in range(2):
        train_step(run, [to_clip(drawn_clip(seed))])
    assert equal(run.average, {name: p.detach() for name, p in trainable(run).items()})


def test_the_averaged_model_is_ready_to_track():
    run = new_run()
    train_step(run, [to_clip(drawn_clip(0))])
    model = averaged(run)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert equal({name: model.get_parameter(name).data for name in run.average}, run.average)
    assert model.state_dict().keys() == MOTRv2(SMALL).state_dict().keys()


def test_a_frozen_backbone_is_saved_as_it_came():
    """The model itself runs a folded copy."""
    torch.manual_seed(0)
    model = MOTRv2(SMALL)
    came = {f"backbone.{k}": v.clone() for k, v in model.backbone.state_dict().items()}
    run = start(model, NETWORK, CONFIG)
    train_step(run, [to_clip(drawn_clip(0))])
    state = state_of(run)
    assert state.keys() == MOTRv2(SMALL).state_dict().keys()
    assert equal({name: state[name] for name in came}, came)


# Several clips a step


def gradient(run):
    return {name: p.grad.clone() for name, p in trainable(run).items() if p.grad is not None}


def test_a_step_of_two_clips_has_the_mean_of_their_gradients():
    """Each of as many targets, so that each alone is divided by the same number."""
    wide = replace(CONFIG, clip_norm=1e9, lengths=((0.0, 2),))
    clips = [to_clip(drawn_clip(seed)) for seed in (0, 1)]
    both = new_run(replace(wide, batch=2))
    train_step(both, clips)
    alone = []
    for number, clip in enumerate(clips):
        run = new_run(wide)
        run.engine = Numbered(run.engine, wide.seed, number)
        train_step(run, [clip])
        alone.append(gradient(run))
    for name, value in gradient(both).items():
        wanted = (alone[0][name] + alone[1][name]) / 2
        torch.testing.assert_close(value, wanted, rtol=1e-4, atol=1e-6, msg=name)


class Numbered(torch.nn.Module):
    """A step's engine that takes a clip for number `number` of the stream."""

    def __init__(self, engine, seed, number):
        super().__init__()
        self.engine, self.seed, self.number = engine, seed, number

    def forward(self, clip, count, _):
        return self.engine(clip, count, noise(self.seed, self.number))


def test_clips_of_a_step_share_one_number_of_targets():
    """SPEC 9.6: a clip without people does not count the other's people twice."""
    run = new_run(replace(CONFIG, batch=2))
    seen = []
    engine = run.engine
    run.engine = lambda clip, count, noise: seen.append(count) or engine(clip, count, noise)
    crowd = drawn_clip(0)
    nobody = [replace(f, boxes=f.boxes[:0], ids=f.ids[:0]) for f in crowd]
    train_step(run, [to_clip(crowd), to_clip(nobody)])
    assert seen == [2.0, 2.0]  # two people in two frames, and none


@pytest.mark.parametrize("frames", [1, 3])
def test_computing_frames_twice_gives_the_same_gradients(frames):
    made = []
    for checkpointing in (False, True):
        clip = replace(CONFIG.clip, checkpointing=checkpointing)
        run = new_run(replace(CONFIG, clip=clip, clip_norm=1e9, lengths=((0.0, frames),)))
        train_step(run, [to_clip(drawn_clip(0))])
        made.append(gradient(run))
    assert made[0].keys() == made[1].keys()
    for name, value in made[0].items():
        torch.testing.assert_close(made[1][name], value, rtol=1e-3, atol=2e-5, msg=name)


# Frozen parts


def test_frozen_parts_keep_their_weights():
    config = replace(CONFIG, backbone_lr=1e-4, freeze=("encoder", "decoder.class_heads"))
    run = new_run(config)
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    for seed in range(2):
        train_step(run, [to_clip(drawn_clip(seed))])
    kept = {name for name, p in run.model.named_parameters() if torch.equal(p, before[name])}
    frozen = {name for name in before if name.startswith(("encoder.", "decoder.class_heads."))}
    assert frozen
    assert kept == frozen


def test_a_part_that_does_not_exist_cannot_be_frozen():
    with pytest.raises(InputError, match=r"no part 'neck'; there are .*learned_boxes, .*backbone"):
        new_run(replace(CONFIG, freeze=("neck",)))
