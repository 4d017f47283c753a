"""Training: rates, averages, checkpoints, and a run that stops anywhere and goes on exactly."""

from __future__ import annotations

import json
import math
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from helpers.fakes import SMALL
from helpers.scenes import NETWORK as SCENES_NETWORK
from helpers.scenes import RunsCode, drawn_blocks, drawn_clip, lively_model
from tfsasm.errors import InputError, TfsasmError, WeightsError
from tfsasm.files import locked
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.weights import load_model
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
    train,
    train_step,
)

NETWORK = NetworkConfig(SMALL, short_side=64, max_side=64)
CONFIG = TrainConfig(
    clip=ClipConfig(refresh_matched=True, track_drop=0.2, false_tracks=0.3, denoising=0.3),
    steps=6, lr=1e-3, backbone_lr=0.0, warmup=2, decay_from=0.5, cosine=True, average=0.9,
    neutral_box_heads=True, lengths=((0.0, 2), (0.5, 3)), precision="fp32", workers=0, log_every=1,
)  # fmt: skip


def new_run(config=CONFIG, seed=0):
    torch.manual_seed(seed)
    return start(MOTRv2(SMALL), NETWORK, config)


def trainable(run):
    return {name: p for name, p in run.model.named_parameters() if p.requires_grad}


def equal(one, other):
    """Whether two checkpoints are the same, tensors bit by bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


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

    assert loss(1, 3) == loss(3, 1)
    assert loss(2, 3) == loss(3, 2)
    assert len({loss(1, 3), loss(2, 3), loss(3, 3)}) == 3


def test_a_step_is_a_function_of_run_and_clip():
    one, other = new_run(), new_run()
    for seed in range(3):
        clip = to_clip(drawn_clip(seed))
        assert train_step(one, [clip]) == train_step(other, [clip])
    assert equal(state_of(one), state_of(other))


@pytest.mark.parametrize("backbone_lr", [0.0, 1e-4])
def test_gradients_reach_every_trainable_parameter(backbone_lr):
    """At the second step: at the first, heads that are zero hide what is behind them."""
    run = new_run(replace(CONFIG, backbone_lr=backbone_lr, lengths=((0.0, 3),)))
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    for seed in range(3):
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
        CONFIG, clip=ClipConfig(refresh_matched=True), steps=1000, warmup=0, lengths=((0.0, 3),)
    )
    run, clip = new_run(config), to_clip(drawn_clip(0))
    losses = [train_step(run, [clip])["loss"] for _ in range(30)]
    assert np.mean(losses[-5:]) < 0.6 * losses[0]


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


def killed(index):
    """A block whose process is ended, as by a system that is out of memory."""
    if index == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return drawn_blocks(index)


def test_a_killed_maker_of_clips_ends_the_run_in_one_sentence(tmp_path):
    run = new_run(replace(CONFIG, steps=50, workers=1, checkpoint_minutes=0.0))
    with pytest.raises(TfsasmError, match=r"a process that makes clips was ended.* at step \d"):
        fit(run, killed, tmp_path)
    resume(new_run(), tmp_path / "last.pt")


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
    run = new_run(replace(CONFIG, average=0.5))
    name = "learned_content"
    expected = run.model.get_parameter(name).detach().clone()
    for step in range(1, 14):
        train_step(run, [to_clip(drawn_clip(step))])
        decay = min(0.5, step / (step + 10))  # a young run forgets its start
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


# Runs that stop


class StoppedError(Exception):
    pass


def stop_at(step):
    def progress(now, _):
        if now == step:
            raise StoppedError

    return progress


@pytest.mark.parametrize("config", [
    pytest.param(CONFIG, id="frozen backbone"),
    pytest.param(replace(CONFIG, backbone_lr=1e-4), id="trained backbone"),
])
def test_a_run_that_was_stopped_goes_on_exactly(tmp_path, config):
    """Six steps at once, or four, a stop, and the rest by a fresh process: the same bytes."""
    whole = new_run(config)
    fit(whole, drawn_blocks, tmp_path / "whole")

    config = replace(config, checkpoint_minutes=0.0)  # after every step
    with pytest.raises(StoppedError):
        fit(new_run(config), drawn_blocks, tmp_path / "parts", progress=stop_at(4))
    second = new_run(config, seed=99)
    resume(second, tmp_path / "parts" / "last.pt")
    assert second.step == 3
    fit(second, drawn_blocks, tmp_path / "parts")

    assert whole.step == second.step == 6
    files = [tmp_path / name / "last.pt" for name in ("whole", "parts")]
    one, other = (torch.load(file, weights_only=True) for file in files)
    settings = [json.loads(state.pop("config")) for state in (one, other)]
    assert settings[0] == settings[1] | {"checkpoint_minutes": CONFIG.checkpoint_minutes}
    assert equal(one, other)
    assert equal(load_model(tmp_path / "whole" / "model.safetensors")[0].state_dict(),
                 load_model(tmp_path / "parts" / "model.safetensors")[0].state_dict())  # fmt: skip


def test_other_clips_would_be_noticed(tmp_path):
    """That is, the test above sees more than the number of steps."""
    one, other = new_run(), new_run()
    fit(one, drawn_blocks, tmp_path / "one")
    fit(other, lambda index: drawn_blocks(index + 1), tmp_path / "other")
    assert not equal(state_of(one), state_of(other))


def test_a_finished_run_is_left_as_it_is(tmp_path):
    run = new_run(replace(CONFIG, steps=2))
    fit(run, drawn_blocks, tmp_path)
    before = load_model(tmp_path / "model.safetensors")[0].state_dict()
    again = new_run(replace(CONFIG, steps=2), seed=1)
    resume(again, tmp_path / "last.pt")
    fit(again, drawn_blocks, tmp_path)
    assert again.step == 2
    assert equal(load_model(tmp_path / "model.safetensors")[0].state_dict(), before)


@pytest.fixture
def checkpoint(tmp_path):
    save(new_run(), tmp_path)
    return tmp_path / "last.pt"


@pytest.mark.parametrize(("change", "name"), [
    pytest.param({"lr": 2e-3}, "lr", id="another rate"),
    pytest.param({"seed": 1}, "seed", id="another seed"),
    pytest.param({"clip": ClipConfig()}, "clip", id="another loss"),
])
def test_resuming_refuses_other_settings(checkpoint, change, name):
    with pytest.raises(WeightsError) as caught:
        resume(new_run(replace(CONFIG, **change)), checkpoint)
    assert f"last.pt was trained with other settings: {name}." in str(caught.value)
    assert "another --output" in str(caught.value)


def test_resuming_refuses_another_network(checkpoint):
    other = start(MOTRv2(SMALL), replace(NETWORK, short_side=96), CONFIG)
    with pytest.raises(WeightsError, match="other settings: the network"):
        resume(other, checkpoint)


def test_how_often_to_save_may_change(checkpoint):
    harmless = {"workers": 3, "checkpoint_minutes": 9.0, "validate_minutes": 1.0, "log_every": 7}
    resume(new_run(replace(CONFIG, **harmless)), checkpoint)


@pytest.mark.parametrize(("content", "message"), [
    pytest.param({"model": {}}, "last.pt is not a checkpoint to resume from", id="another"),
    pytest.param([1], "last.pt is not a checkpoint to resume from", id="a list"),
    pytest.param(RunsCode("never"), "last.pt holds .* could run code", id="code"),
])
def test_resuming_refuses_other_files(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "last.pt")
    with pytest.raises(WeightsError, match=message):
        resume(new_run(), tmp_path / "last.pt")
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(("name", "value"), [
    ("model", {}), ("model", 3), ("average", {"a": 1}), ("optimizer", []), ("step", "3"),
    ("pending", {"a": 1}),
])
def test_resuming_refuses_what_does_not_fit(checkpoint, name, value):
    torch.save(torch.load(checkpoint) | {name: value}, checkpoint)
    with pytest.raises(WeightsError, match=r"last.pt is not a checkpoint to resume from: "):
        resume(new_run(), checkpoint)


def test_resuming_refuses_half_a_file(checkpoint):
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"last.pt is truncated"):
        resume(new_run(), checkpoint)


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def curve(folder):
    return [(entry["step"], entry["loss"]) for entry in log_of(folder)]


def test_a_stop_leaves_a_whole_log_and_the_next_start_goes_on_in_it(tmp_path):
    """Means over two steps, stopped between them; the lines are those of an unbroken run."""
    config = replace(CONFIG, log_every=2)
    fit(new_run(config), drawn_blocks, tmp_path / "whole")
    first = new_run(config)
    fit(first, drawn_blocks, tmp_path / "parts", stopped=lambda: first.step == 3)
    assert first.step == 3
    second = new_run(config, seed=99)
    assert resume(second, tmp_path / "parts" / "last.pt") == "resumed at step 3"
    fit(second, drawn_blocks, tmp_path / "parts")
    assert [step for step, _ in curve(tmp_path / "whole")] == [2, 4, 6]
    assert curve(tmp_path / "parts") == curve(tmp_path / "whole")


def test_lines_after_the_last_checkpoint_are_written_anew(tmp_path):
    with pytest.raises(StoppedError):
        fit(new_run(), drawn_blocks, tmp_path, progress=stop_at(4))
    assert not (tmp_path / "last.pt").exists()  # killed before the first one
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    fit(new_run(), drawn_blocks, tmp_path)
    assert [step for step, _ in curve(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_a_run_shorter_than_the_reports_are_apart_has_its_line(tmp_path):
    fit(new_run(replace(CONFIG, log_every=50)), drawn_blocks, tmp_path / "once")
    fit(new_run(), drawn_blocks, tmp_path / "each")
    [(step, loss)] = curve(tmp_path / "once")
    assert step == 6
    assert loss == pytest.approx(np.mean([one for _, one in curve(tmp_path / "each")]), abs=1e-6)


def test_a_finished_run_can_be_made_longer(tmp_path):
    fit(new_run(replace(CONFIG, steps=3)), drawn_blocks, tmp_path)
    longer = new_run()
    said = resume(longer, tmp_path / "last.pt")
    assert said.startswith("resumed at step 3 of what is now 6 steps instead of 3; rates")
    fit(longer, drawn_blocks, tmp_path)
    assert longer.step == 6
    assert [step for step, _ in curve(tmp_path)] == [1, 2, 3, 4, 5, 6]


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


# What a run leaves behind


def test_a_run_leaves_a_network_a_log_and_a_checkpoint(tmp_path):
    models, reports = [], []

    def validate(model):
        models.append(model)
        return {"HOTA": 12.5}

    run = new_run(replace(CONFIG, steps=4, log_every=2))
    fit(run, drawn_blocks, tmp_path, validate=validate, progress=lambda *a: reports.append(a))
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [2, 4, 4]
    assert set(log[0]) == {"step", "loss", "norm", "ce", "bbox", "giou", "seconds"}
    assert log[-1] == {"step": 4, "val/HOTA": 12.5}
    assert reports == [(e["step"], {k: v for k, v in e.items() if k != "step"}) for e in log]

    [model] = models
    assert equal(model.state_dict(), averaged(run).state_dict())
    saved, network = load_model(tmp_path / "model.safetensors")
    assert network == NETWORK
    for name, value in saved.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-3, atol=1e-3)
    assert list(tmp_path.glob("events.out.tfevents*"))


def test_reports_are_means_since_the_last_one(tmp_path):
    losses = []
    fit(new_run(), drawn_blocks, tmp_path / "a", progress=lambda _, v: losses.append(v["loss"]))
    means = []
    run = new_run(replace(CONFIG, log_every=3))
    fit(run, drawn_blocks, tmp_path / "b", progress=lambda _, v: means.append(v["loss"]))
    wanted = [np.mean(losses[:3]), np.mean(losses[3:])]
    assert means == pytest.approx(wanted, abs=1e-4)


def test_a_run_validates_on_the_way(tmp_path):
    run = new_run(replace(CONFIG, steps=3, validate_minutes=0.0))
    steps = []
    fit(run, drawn_blocks, tmp_path, validate=lambda _: steps.append(run.step) or {})
    assert steps == [1, 2, 3]


# A whole run


RECIPE = TrainConfig(
    steps=3, lr=1e-3, backbone_lr=0.0, lengths=((0.0, 2),), average=0.9, precision="fp32",
    workers=0, log_every=1,
)  # fmt: skip


@pytest.fixture
def trained(small_weights, tmp_path):
    """A run of the small network on drawn clips, from a checkpoint; its notices as a list."""

    def run(config=RECIPE, **options):
        notices = []
        train(
            SCENES_NETWORK, config, drawn_blocks, tmp_path / "run", init=small_weights,
            device="cpu", notice=notices.append, **options,
        )  # fmt: skip
        return notices

    return run


def test_training_leaves_a_network_that_tracks(trained, track, tmp_path):
    steps = []
    [notice] = trained(progress=lambda step, values: steps.append((step, "loss" in values)))
    assert notice.startswith("started from all of ")
    assert steps == [(1, True), (2, True), (3, True)]
    model, network = load_model(tmp_path / "run" / "model.safetensors")
    assert network == SCENES_NETWORK
    assert not torch.equal(model.learned_content, lively_model().learned_content)
    outcome = track(weights=tmp_path / "run" / "model.safetensors", mot_output=tmp_path / "o.txt")
    assert outcome.code == 0


def test_steps_that_are_done_are_not_taken_back(tmp_path):
    run = new_run()
    run.step = 5
    save(run, tmp_path)
    for steps in (5, 4):
        again = new_run(replace(CONFIG, steps=steps))
        notice = resume(again, tmp_path / "last.pt")
        assert notice == "all 5 steps are done; a larger --steps goes on from here"
        assert again.step == 5


def test_the_same_run_again_continues_where_it_was(trained, tmp_path):
    trained()
    before = load_file(tmp_path / "run" / "model.safetensors")
    assert trained()[-1] == "all 3 steps are done; a larger --steps goes on from here"
    after = load_file(tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_run_with_other_settings_is_refused(trained):
    trained()
    with pytest.raises(WeightsError, match=r"last\.pt was trained with other settings: lr"):
        trained(replace(RECIPE, lr=0.5))


def test_scores_are_reported_and_logged(trained, tmp_path):
    reported = {}
    trained(validate=lambda _: {"HOTA": 42.5}, progress=lambda _, values: reported.update(values))
    assert reported["val/HOTA"] == 42.5
    log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert json.loads(log[-1]) == {"step": 3, "val/HOTA": 42.5}


def test_a_device_that_is_not_there_is_found_before_the_weights(tmp_path):
    with pytest.raises(InputError, match="no device 'cuda:9' here"):
        train(NETWORK, RECIPE, drawn_blocks, tmp_path, init=tmp_path / "lost.pth", device="cuda:9")


def test_a_folder_that_another_run_writes_is_refused(tmp_path):
    with locked(tmp_path), pytest.raises(InputError, match="being written by another process"):
        train(NETWORK, RECIPE, drawn_blocks, tmp_path)
