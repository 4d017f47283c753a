"""Runs of training: one that stops anywhere goes on exactly; what a run leaves behind."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from helpers.fakes import SMALL
from helpers.scenes import NETWORK as SCENES_NETWORK
from helpers.scenes import RunsCode, drawn_blocks, lively_model
from helpers.trainer import CONFIG, NETWORK, equal, new_run
from tfsasm.errors import InputError, WeightsError
from tfsasm.files import locked
from tfsasm.motrv2.family import load_model
from tfsasm.motrv2.model import MOTRv2
from tfsasm.training import checkpoints
from tfsasm.training.checkpoints import averaged, resume, save, state_of
from tfsasm.training.clip import ClipConfig
from tfsasm.training.recipes import TrainConfig
from tfsasm.training.trainer import fit, start, train

SHORT = replace(CONFIG, lengths=((0.0, 1),))
"""Of one frame a clip, where it does not matter what is learned."""


# Runs that stop


class StoppedError(Exception):
    pass


def stop_at(step):
    def progress(now, _):
        if now == step:
            raise StoppedError

    return progress


@pytest.mark.parametrize("config", [
    pytest.param(CONFIG, id="frozen backbone", marks=pytest.mark.slow),
    pytest.param(replace(CONFIG, backbone_lr=1e-4), id="trained backbone"),
])
def test_a_run_that_was_stopped_goes_on_exactly(tmp_path, config):
    """Four steps at once, or three, a stop, and the rest by a fresh process: the same bytes."""
    config = replace(config, steps=4)
    whole = new_run(config)
    fit(whole, drawn_blocks, tmp_path / "whole")

    config = replace(config, checkpoint_minutes=0.0)  # after every step
    with pytest.raises(StoppedError):
        fit(new_run(config), drawn_blocks, tmp_path / "parts", progress=stop_at(3))
    second = new_run(config, seed=99)
    resume(second, tmp_path / "parts" / "last.pt")
    assert second.step == 2
    fit(second, drawn_blocks, tmp_path / "parts")

    assert whole.step == second.step == 4
    files = [tmp_path / name / "last.pt" for name in ("whole", "parts")]
    one, other = (torch.load(file, weights_only=True) for file in files)
    settings = [json.loads(state.pop("config")) for state in (one, other)]
    assert settings[0] == settings[1] | {"checkpoint_minutes": CONFIG.checkpoint_minutes}
    assert equal(one, other)
    assert equal(load_model(tmp_path / "whole" / "model.safetensors")[0].state_dict(),
                 load_model(tmp_path / "parts" / "model.safetensors")[0].state_dict())  # fmt: skip


def test_other_clips_would_be_noticed(tmp_path):
    """That is, the test above sees more than the number of steps."""
    one, other = (new_run(replace(SHORT, steps=1)) for _ in range(2))
    fit(one, drawn_blocks, tmp_path / "one")
    fit(other, lambda index: drawn_blocks(index + 1), tmp_path / "other")
    assert not equal(state_of(one), state_of(other))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Of a run at its start, to be read alone."""
    folder = tmp_path_factory.mktemp("run")
    save(new_run(), folder)
    return folder / "last.pt"


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
def test_resuming_refuses_what_does_not_fit(checkpoint, tmp_path, name, value):
    torch.save(torch.load(checkpoint) | {name: value}, tmp_path / "last.pt")
    with pytest.raises(WeightsError, match=r"last.pt is not a checkpoint to resume from: "):
        resume(new_run(), tmp_path / "last.pt")


def test_resuming_refuses_half_a_file(checkpoint, tmp_path):
    (tmp_path / "last.pt").write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"last.pt is truncated"):
        resume(new_run(), tmp_path / "last.pt")


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def curve(folder):
    return [(entry["step"], entry["loss"]) for entry in log_of(folder)]


def test_a_stop_leaves_a_whole_log_and_the_next_start_goes_on_in_it(tmp_path):
    """Means over two steps, stopped between them; the lines are those of an unbroken run."""
    config = replace(SHORT, steps=4, log_every=2)
    fit(new_run(config), drawn_blocks, tmp_path / "whole")
    first = new_run(config)
    fit(first, drawn_blocks, tmp_path / "parts", stopped=lambda: first.step == 3)
    assert first.step == 3
    second = new_run(config, seed=99)
    assert resume(second, tmp_path / "parts" / "last.pt") == "resumed at step 3"
    fit(second, drawn_blocks, tmp_path / "parts")
    assert [step for step, _ in curve(tmp_path / "whole")] == [2, 4]
    assert curve(tmp_path / "parts") == curve(tmp_path / "whole")


def test_lines_after_the_last_checkpoint_are_written_anew(tmp_path):
    config = replace(SHORT, steps=3)
    with pytest.raises(StoppedError):
        fit(new_run(config), drawn_blocks, tmp_path, progress=stop_at(2))
    assert not (tmp_path / "last.pt").exists()  # killed before the first one
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    fit(new_run(config), drawn_blocks, tmp_path)
    assert [step for step, _ in curve(tmp_path)] == [1, 2, 3]


def test_reports_are_means_since_the_last_one_and_the_rest_has_its_line(tmp_path):
    fit(new_run(replace(SHORT, steps=5)), drawn_blocks, tmp_path / "each")
    fit(new_run(replace(SHORT, steps=5, log_every=3)), drawn_blocks, tmp_path / "means")
    losses = [loss for _, loss in curve(tmp_path / "each")]
    [first, rest] = curve(tmp_path / "means")
    assert first == (3, pytest.approx(np.mean(losses[:3]), abs=1e-6))
    assert rest == (5, pytest.approx(np.mean(losses[3:]), abs=1e-6))


def test_a_finished_run_is_left_as_it_is_or_made_longer(tmp_path):
    def go_on(steps):
        run = new_run(replace(SHORT, steps=steps), seed=1)
        said = resume(run, tmp_path / "last.pt")
        fit(run, drawn_blocks, tmp_path)
        assert run.step == steps
        return said, load_model(tmp_path / "model.safetensors")[0].state_dict()

    fit(new_run(replace(SHORT, steps=2)), drawn_blocks, tmp_path)
    before = load_model(tmp_path / "model.safetensors")[0].state_dict()
    assert equal(go_on(2)[1], before)
    said, longer = go_on(3)
    assert said.startswith("resumed at step 2 of what is now 3 steps instead of 2; rates")
    assert not equal(longer, before)
    assert [step for step, _ in curve(tmp_path)] == [1, 2, 3]


def test_a_finished_run_is_scored_again_only_if_it_never_was(tmp_path):
    """It may have been killed in the meantime."""
    scored = []

    def validate(model):
        scored.append(model)
        return {"HOTA": 1.0}

    for score in (None, validate, validate):
        run = new_run()
        run.step = CONFIG.steps
        fit(run, drawn_blocks, tmp_path, validate=score)
    assert len(scored) == 1
    assert log_of(tmp_path) == [{"step": CONFIG.steps, "val/HOTA": 1.0}]


# What a run leaves behind


def test_a_run_leaves_a_network_a_log_and_a_checkpoint(tmp_path, monkeypatch):
    models, averages, reports = [], [], []

    def validate(model):
        models.append(model)
        return {"HOTA": 12.5}

    def counted(run):
        averages.append(run.step)
        return averaged(run)

    monkeypatch.setattr(checkpoints, "averaged", counted)

    run = new_run(replace(SHORT, steps=2, loggers=("tensorboard",)))
    fit(run, drawn_blocks, tmp_path, validate=validate, progress=lambda *a: reports.append(a))
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [1, 2, 2]
    assert set(log[0]) == {"step", "loss", "norm", "ce", "bbox", "giou", "seconds"}
    assert log[-1] == {"step": 2, "val/HOTA": 12.5}
    assert reports == [(e["step"], {k: v for k, v in e.items() if k != "step"}) for e in log]

    [model] = models
    assert averages == [2]
    best, last = (tmp_path / f"{name}.safetensors" for name in ("best", "model"))
    assert best.read_bytes() == last.read_bytes()
    assert torch.load(tmp_path / "last.pt", weights_only=True)["best"] == 12.5
    assert equal(model.state_dict(), averaged(run).state_dict())
    saved, network = load_model(tmp_path / "model.safetensors")
    assert network == NETWORK
    for name, value in saved.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-3, atol=1e-3)
    assert list(tmp_path.glob("events.out.tfevents*"))


def test_a_run_validates_on_the_way(tmp_path):
    run = new_run(replace(SHORT, steps=2, validate_minutes=0.0))
    steps = []
    fit(run, drawn_blocks, tmp_path, validate=lambda _: steps.append(run.step) or {})
    assert steps == [1, 2]


# A whole run


RECIPE = TrainConfig(
    steps=3, lr=1e-3, backbone_lr=0.0, lengths=((0.0, 2),), average=0.9, precision="fp32",
    workers=0, log_every=1, loggers=(),
)  # fmt: skip


@pytest.fixture(scope="module")
def train_again(small_weights, tmp_path_factory):
    """A run of the small network on drawn clips, from a checkpoint, as often as it is called."""

    def run(config=RECIPE, **options):
        notices = []
        train(
            SCENES_NETWORK, config, drawn_blocks, run.folder, init=small_weights,
            device="cpu", notice=notices.append, **options,
        )  # fmt: skip
        return notices

    run.folder = tmp_path_factory.mktemp("run")
    return run


@pytest.fixture(scope="module")
def trained(train_again):
    """The folder of a run that has ended, the one notice of its start, and its reports."""
    reports = []
    [notice] = train_again(
        validate=lambda _: {"HOTA": 42.5}, progress=lambda *report: reports.append(report)
    )
    return train_again.folder, notice, reports


def test_training_leaves_a_network_that_tracks(trained, track, tmp_path):
    folder, notice, reports = trained
    assert notice.startswith("started from all of ")
    assert [(step, "loss" in values) for step, values in reports] == [
        (1, True), (2, True), (3, True), (3, False)
    ]  # fmt: skip
    model, network = load_model(folder / "model.safetensors")
    assert network == SCENES_NETWORK
    assert not torch.equal(model.learned_content, lively_model().learned_content)
    outcome = track(weights=folder / "model.safetensors", mot_output=tmp_path / "o.txt")
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


def test_the_same_run_again_continues_where_it_was(trained, train_again):
    path = trained[0] / "model.safetensors"
    before = load_file(path)
    assert train_again()[-1] == "all 3 steps are done; a larger --steps goes on from here"
    after = load_file(path)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_run_with_other_settings_is_refused(trained, train_again):
    with pytest.raises(WeightsError, match=r"last\.pt was trained with other settings: lr"):
        train_again(replace(RECIPE, lr=0.5))


def test_scores_are_reported_and_logged(trained):
    folder, _, reports = trained
    assert reports[-1] == (3, {"val/HOTA": 42.5})
    log = (folder / "log.jsonl").read_text().splitlines()
    assert {"step": 3, "val/HOTA": 42.5} in map(json.loads, log)


def test_a_device_that_is_not_there_is_found_before_the_weights(tmp_path):
    with pytest.raises(InputError, match="no device 'cuda:9' here"):
        train(NETWORK, RECIPE, drawn_blocks, tmp_path, init=tmp_path / "lost.pth", device="cuda:9")


def test_a_folder_that_another_run_writes_is_refused(tmp_path):
    with locked(tmp_path), pytest.raises(InputError, match="being written by another process"):
        train(NETWORK, RECIPE, drawn_blocks, tmp_path)
