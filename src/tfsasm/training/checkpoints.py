"""What a run is at a step, and the files that bring it back: `last.pt` and `model.safetensors`."""

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tfsasm.errors import WeightsError
from tfsasm.files import NotJson, atomic_path, checked, parsed
from tfsasm.motrv2.backbone import fold_batch_norms
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.family import build
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.weights import save_model
from tfsasm.pytorch import Undrawn, read_checkpoint_file, tensors_path
from tfsasm.training.recipes import TrainConfig
from tfsasm.training.reports import Means


@dataclass
class TrainState:
    """Everything that a checkpoint must bring back. Changed in place by `fit` alone."""

    model: MOTRv2
    network: NetworkConfig
    config: TrainConfig
    optimizer: torch.optim.AdamW
    average: dict[str, Tensor]
    frozen_backbone: dict[str, Tensor] | None
    """The backbone as it is saved; the model runs a folded copy. None when it is trained."""
    scaler: torch.amp.GradScaler
    engine: nn.Module
    """What a step calls: `distributed.ClipLoss` of the model, alone or joined with others."""
    step: int = 0
    best: float = -math.inf
    """The best HOTA so far."""
    pending: Means = field(default_factory=Means)
    """Of the steps since the last report."""


def freeze_backbone(model: MOTRv2) -> dict[str, Tensor]:
    """Fold a backbone that is not trained, in place. Returns it as it is saved."""
    state = {f"backbone.{name}": value for name, value in model.backbone.state_dict().items()}
    model.backbone = fold_batch_norms(model.backbone).requires_grad_(False)
    return state


def state_of(run: TrainState) -> dict[str, Tensor]:
    """The model's state dict with the backbone as it is saved."""
    state = run.model.state_dict()
    if run.frozen_backbone is None:
        return state
    return {k: v for k, v in state.items() if not k.startswith("backbone.")} | run.frozen_backbone


def averaged(run: TrainState) -> MOTRv2:
    """A copy of the model with the averaged weights, ready to track."""
    with Undrawn():
        model = build(run.network.model)
    model.load_state_dict(state_of(run) | run.average)
    return model.eval().requires_grad_(False)


def save(run: TrainState, output: Path) -> MOTRv2:
    """Write `last.pt` and `model.safetensors`, each atomically. Returns the averaged network."""
    _save_state(run, output)
    notes = {"step": str(run.step), "training": json.dumps(asdict(run.config))}
    model = averaged(run)
    save_model(output / "model.safetensors", model, run.network, half=True, notes=notes)
    return model


def save_best(run: TrainState, output: Path, scores: Mapping[str, float]) -> None:
    """Keep what `save` wrote as `best.safetensors` when there was never a better HOTA."""
    if (hota := scores.get("HOTA", -math.inf)) > run.best:
        run.best = hota
        with atomic_path(output / "best.safetensors") as partial:
            shutil.copyfile(output / "model.safetensors", partial)
        _save_state(run, output)


def _save_state(run: TrainState, output: Path) -> None:
    state = {
        "model": state_of(run), "average": run.average, "step": run.step,
        "optimizer": run.optimizer.state_dict(), "scaler": run.scaler.state_dict(),
        "network": run.network.to_json(), "config": json.dumps(asdict(run.config)),
        "best": run.best, "pending": asdict(run.pending),
    }  # fmt: skip
    with tensors_path(output / "last.pt") as partial:
        torch.save(state, partial)


_MAY_CHANGE = {"steps", "workers", "checkpoint_minutes", "validate_minutes", "log_every", "loggers"}


def resume(run: TrainState, path: Path) -> str:
    """Bring `run` to where `path` (a `last.pt`) left off, exactly. Returns a sentence about it.

    Another number of steps is allowed: rates and clip lengths then follow the new one. Raises
    `WeightsError` for a file that is not such a checkpoint or of another network, and when another
    setting of the run differs from those that made it.
    """
    state = read_checkpoint_file(path)
    keys = {"model", "average", "step", "optimizer", "network", "config"}
    if not isinstance(state, dict) or not state.keys() >= keys:
        raise WeightsError(f"{path} is not a checkpoint to resume from")
    try:
        theirs = checked(parsed(checked(state["config"], "config", str)), "config", dict)
    except ValueError as error:
        reason = f"config is {error}" if isinstance(error, NotJson) else error
        raise WeightsError(f"{path} is not a checkpoint to resume from: {reason}") from error
    ours = json.loads(json.dumps(asdict(run.config)))
    changed = [key for key in ours if ours[key] != theirs.get(key) and key not in _MAY_CHANGE]
    if changed or state["network"] != run.network.to_json():
        what = ", ".join(changed) or "the network"
        raise WeightsError(
            f"{path} was trained with other settings: {what}. Resume with the same ones, or give "
            "another --output"
        )
    try:
        _take(run, state)
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise WeightsError(f"{path} is not a checkpoint to resume from: {reason}") from error
    if run.step >= run.config.steps:
        return f"all {run.step} steps are done; a larger --steps goes on from here"
    if (steps := theirs.get("steps")) != run.config.steps:
        return (
            f"resumed at step {run.step} of what is now {run.config.steps} steps instead of "
            f"{steps}; rates and clip lengths follow the new number"
        )
    return f"resumed at step {run.step}"


def _take(run: TrainState, state: Mapping[str, Any]) -> None:
    """Bring `run` to a state that was saved. Raises what PyTorch does where that does not fit."""
    with Undrawn():
        whole = build(run.network.model)
    whole.load_state_dict(state["model"])
    if run.frozen_backbone is not None:
        run.frozen_backbone = freeze_backbone(whole)
    run.model.load_state_dict(whole.state_dict())
    run.optimizer.load_state_dict(state["optimizer"])
    run.scaler.load_state_dict(state.get("scaler", {}) if run.scaler.is_enabled() else {})
    run.average = {name: value.to(run.average[name]) for name, value in state["average"].items()}
    run.step, run.best = checked(state["step"], "step", int), state.get("best", -math.inf)
    run.pending = Means(**state.get("pending", {}))
