"""Training: one loop, one clip at a time, resumable to the exact step.

What is unusual here: the weights that are validated and kept are a running average, since clips
come one by one and the last step alone is noisy. With `backbone_lr=0` the backbone is frozen and
runs with its batch norms folded.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from tfsasm.errors import InputError, WeightsError
from tfsasm.files import atomic_path, check_folder, checked, locked, not_json, parsed
from tfsasm.motrv2.backbone import fold_batch_norms
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.transformer import BoxHead
from tfsasm.motrv2.weights import save_model
from tfsasm.pytorch import find_device, read_checkpoint_file
from tfsasm.training.clip import Clip, clip_loss
from tfsasm.training.data import Blocks, normalised, stream
from tfsasm.training.initialise import new_model
from tfsasm.training.recipes import TrainConfig
from tfsasm.training.reports import Progress, Reports

log = logging.getLogger(__name__)

Validate = Callable[[MOTRv2], Mapping[str, float]]
"""Scores by name of a network that is ready to track."""


def train(
    network: NetworkConfig, config: TrainConfig, blocks: Blocks, output: Path, *,
    init: Path | None = None, backbone_weights: Path | None = None, device: str = "auto",
    validate: Validate | None = None, progress: Progress | None = None,
    notice: Callable[[str], None] = log.info,
) -> TrainState:
    """Train to the last step, from `output/last.pt` if there is one; see `new_model` and `fit`.

    `notice` takes sentences about the start. Raises `InputError` and `WeightsError` for what cannot
    be used, before any work.
    """
    with locked(check_folder(output)):
        place = find_device(device)
        model, taken = new_model(network, config, init=init, backbone_weights=backbone_weights)
        if taken:
            notice(taken)
        run, checkpoint = start(model.to(place), network, config), output / "last.pt"
        if checkpoint.exists():
            resume(run, checkpoint)
            notice(f"resumed at step {run.step}")
        fit(run, blocks, output, validate=validate, progress=progress)
    return run


@dataclass
class TrainState:
    """Everything that a checkpoint must bring back. Changed in place by `fit` alone."""

    model: MOTRv2
    network: NetworkConfig
    config: TrainConfig
    optimizer: torch.optim.AdamW
    generator: torch.Generator
    average: dict[str, Tensor]
    frozen_backbone: dict[str, Tensor] | None
    """The backbone as it is saved; the model runs a folded copy. None when it is trained."""
    step: int = 0


def start(model: MOTRv2, network: NetworkConfig, config: TrainConfig) -> TrainState:
    """A run at step 0 that takes `model` over. What is frozen has no gradients."""
    backbone = None
    if config.neutral_box_heads:
        cast(BoxHead, model.decoder.box_heads[0]).reset(size_bias=0.0)
    for name, parameter in model.backbone.named_parameters():
        fixed = config.backbone_lr == 0 or name.startswith(model.backbone.frozen)
        parameter.requires_grad_(not fixed)
    if config.backbone_lr == 0:
        backbone = _freeze_backbone(model)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    average = {name: parameter.detach().clone() for name, parameter in trained.items()}
    generator = torch.Generator().manual_seed(config.seed)
    return TrainState(
        model, network, config, _optimizer(trained, config), generator, average, backbone
    )


def _freeze_backbone(model: MOTRv2) -> dict[str, Tensor]:
    state = {f"backbone.{name}": value for name, value in model.backbone.state_dict().items()}
    model.backbone = fold_batch_norms(model.backbone).requires_grad_(False)
    return state


def state_of(run: TrainState) -> dict[str, Tensor]:
    """The model's state dict with the backbone as it is saved."""
    state = run.model.state_dict()
    if run.frozen_backbone is None:
        return state
    return {k: v for k, v in state.items() if not k.startswith("backbone.")} | run.frozen_backbone


def _optimizer(trained: Mapping[str, nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in trained.items():
        rate = config.lr * (config.offsets_scale if "sampling_offsets" in name else 1.0)
        rate = config.backbone_lr if name.startswith("backbone.") else rate
        groups.setdefault(rate, []).append(parameter)
    settings = [{"params": group, "lr": rate, "base": rate} for rate, group in groups.items()]
    return torch.optim.AdamW(settings, weight_decay=config.weight_decay)


def schedule(step: int, config: TrainConfig) -> float:
    """Factor on every learning rate at `step`."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    late = (step / config.steps - config.decay_from) / (1 - config.decay_from)
    if late < 0:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(late, 1.0))) if config.cosine else 0.1


def clip_length(step: int, config: TrainConfig) -> int:
    """Frames per clip at `step`."""
    return [n for share, n in config.lengths if step >= share * config.steps][-1]


def fit(
    run: TrainState, blocks: Blocks, output: Path, *,
    validate: Validate | None = None, progress: Progress | None = None,
) -> None:
    """Train `run` to its last step, writing into `output`.

    `last.pt` has all that resuming needs, `model.safetensors` the averaged weights, `log.jsonl` a
    line per report. Raises `InputError` when the loss is not finite; the last checkpoint is then
    the one before.
    """
    output.mkdir(parents=True, exist_ok=True)
    config, reports = run.config, Reports(output, run.config.log_every, progress)

    def report_scores() -> None:
        if validate:
            scores = validate(averaged(run))
            reports.write(run.step, {f"val/{name}": value for name, value in scores.items()})

    saved = validated = time.monotonic()
    for clip in stream(blocks, skip=run.step, workers=config.workers):
        if run.step >= config.steps:
            break
        values = train_step(run, clip)
        reports.add(run.step, values)
        if time.monotonic() - saved > 60 * config.checkpoint_minutes:
            save(run, output)
            saved = time.monotonic()
        if time.monotonic() - validated > 60 * config.validate_minutes:
            report_scores()
            validated = time.monotonic()
    save(run, output)
    report_scores()
    reports.close()


def train_step(run: TrainState, clip: Clip) -> dict[str, float]:
    """One clip forward and back, one step of the optimiser. Returns what to report."""
    config, model = run.config, run.model
    device = next(model.parameters()).device
    clip = normalised(clip, clip_length(run.step, config)).to(device)
    for group in run.optimizer.param_groups:
        group["lr"] = group["base"] * schedule(run.step, config)
    with _autocast(device, config.precision):
        total, parts = clip_loss(model, clip, config.clip, run.generator)
    if not total.isfinite():
        raise InputError(
            f"the loss is {total.item()} at step {run.step}; train again with a lower --lr"
        )
    run.optimizer.zero_grad()
    total.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
    run.optimizer.step()
    run.step += 1
    _update_average(run)
    last = len(clip.targets) - 1
    return {
        "loss": total.item(), "norm": norm.item(),
        **{kind: parts[f"frame_{last}_loss_{kind}"].item() for kind in ("ce", "bbox", "giou")},
    }  # fmt: skip


def _autocast(device: torch.device, precision: str) -> torch.autocast:
    native = device.type == "cuda" and torch.cuda.is_bf16_supported()
    native = native or (device.type == "cpu" and torch.cpu._is_avx512_bf16_supported())
    wanted = precision == "bf16" or (precision == "auto" and native)
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)


@torch.no_grad()
def _update_average(run: TrainState) -> None:
    decay = min(run.config.average, run.step / (run.step + 10))  # young runs forget their start
    for name, parameter in run.model.named_parameters():
        if name in run.average:
            run.average[name].lerp_(parameter, 1 - decay)


def averaged(run: TrainState) -> MOTRv2:
    """A copy of the model with the averaged weights, ready to track."""
    model = MOTRv2(run.network.model)
    model.load_state_dict(state_of(run) | run.average)
    return model.eval().requires_grad_(False)


def save(run: TrainState, output: Path) -> None:
    """Write `last.pt` and `model.safetensors`, each atomically."""
    settings = json.dumps(asdict(run.config))
    state = {
        "model": state_of(run), "average": run.average, "step": run.step,
        "optimizer": run.optimizer.state_dict(), "generator": run.generator.get_state(),
        "network": run.network.to_json(), "config": settings,
    }  # fmt: skip
    with atomic_path(output / "last.pt") as partial:
        torch.save(state, partial)
    notes = {"step": str(run.step), "training": settings}
    save_model(output / "model.safetensors", averaged(run), run.network, half=True, notes=notes)


_MAY_CHANGE = {"workers", "checkpoint_minutes", "validate_minutes", "log_every"}


def resume(run: TrainState, path: Path) -> None:
    """Bring `run` to where `path` (a `last.pt`) left off, exactly.

    Raises `WeightsError` for a file that is not such a checkpoint or of another network, and when
    the configuration of the run differs from the one that made it.
    """
    state = read_checkpoint_file(path)
    keys = ("model", "average", "step", "optimizer", "generator", "network", "config")
    if not isinstance(state, dict) or not state.keys() >= set(keys):
        raise WeightsError(f"{path} is not a checkpoint to resume from")
    try:
        theirs = checked(parsed(checked(state["config"], "config", str)), "config", dict)
    except json.JSONDecodeError as error:
        reason = f"config is {not_json(error)}"
        raise WeightsError(f"{path} is not a checkpoint to resume from: {reason}") from error
    except ValueError as error:
        raise WeightsError(f"{path} is not a checkpoint to resume from: {error}") from error
    ours = json.loads(json.dumps(asdict(run.config)))
    changed = [key for key in ours if ours[key] != theirs.get(key) and key not in _MAY_CHANGE]
    if changed or state["network"] != run.network.to_json():
        what = ", ".join(changed) or "the network"
        raise WeightsError(
            f"{path} was trained with other settings: {what}. Resume with the same ones, or give "
            "another --output"
        )
    whole = MOTRv2(run.network.model)
    whole.load_state_dict(state["model"])
    if run.frozen_backbone is not None:
        run.frozen_backbone = _freeze_backbone(whole)
    run.model.load_state_dict(whole.state_dict())
    run.optimizer.load_state_dict(state["optimizer"])
    run.generator.set_state(state["generator"])
    run.average = {name: value.to(run.average[name]) for name, value in state["average"].items()}
    run.step = state["step"]
