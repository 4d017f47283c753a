"""Where the curves of a run go, and that a log holds each step once."""

from __future__ import annotations

import json
import sys
import types

import pytest

from tfsasm.errors import InputError
from tfsasm.training.reports import Means, json_log, loggers


def test_means_are_over_the_steps_that_came():
    means = Means().plus({"loss": 1.0}).plus({"loss": 4.0})
    assert means.values() == {"loss": 2.5}
    assert means.count == 2


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_log_is_cut_back_to_where_a_run_goes_on(tmp_path):
    path = tmp_path / "log.jsonl"
    with json_log(path, 0) as log:
        for step in (1, 2, 3):
            log(step, {"loss": step / 2})
    with path.open("a") as file:
        file.write('{"step": 4, "lo')  # killed while it wrote
    with json_log(path, 2) as log:
        log(3, {"loss": 9.0})
    assert lines(path) == [
        {"step": 1, "loss": 0.5}, {"step": 2, "loss": 1.0}, {"step": 3, "loss": 9.0}
    ]  # fmt: skip


@pytest.fixture
def hub(monkeypatch):
    """A package with the functions of trackio and W&B, and what they were given."""
    calls = []
    module = types.ModuleType("trackio")
    for name in ("init", "log", "finish"):
        setattr(module, name, lambda *a, _name=name, **k: calls.append((_name, a, k)))
    monkeypatch.setitem(sys.modules, "trackio", module)
    return calls


def test_a_hub_gets_settings_values_and_an_end(hub, tmp_path):
    (tmp_path / "mine").mkdir()
    with loggers(("trackio",), tmp_path / "mine", 0, {"lr": 0.1}) as made:
        for log in made:
            log(5, {"loss": 1.5})
    assert hub == [
        ("init", (), {"project": "tfsasm", "name": "mine", "config": {"lr": 0.1}}),
        ("log", ({"loss": 1.5},), {"step": 5}),
        ("finish", (), {}),
    ]
    assert lines(tmp_path / "mine/log.jsonl") == [{"step": 5, "loss": 1.5}]


def test_a_hub_that_is_not_installed_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", None)
    wanted = pytest.raises(InputError, match="--logger wandb needs that package: pip install wandb")
    with wanted, loggers(("wandb",), tmp_path, 0, {}):
        pass


def test_tensorboard_may_be_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with loggers(("tensorboard",), tmp_path, 0, {}) as made:
        assert len(made) == 1
