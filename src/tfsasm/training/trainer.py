"""Training: one loop, some clips a step, resumable to the exact step.

What is unusual here: the weights that are validated and kept are a running average, since steps
are of few clips and the last one alone is noisy. With `backbone_lr=0` the backbone is frozen and
runs with its batch norms folded. A clip and its noise depend on seed and number alone, so a run may
go on with another number of processes.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from tfsasm.errors import InputError, TfsasmError
from tfsasm.files import check_folder, locked
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.transformer import BoxHead
from tfsasm.pytorch import find_device
from tfsasm.training import checkpoints, distributed
from tfsasm.training.checkpoints import TrainState
from tfsasm.training.clip import Clip
from tfsasm.training.data import Blocks, normalised, stream
from tfsasm.training.initialise import new_model
from tfsasm.training.recipes import TrainConfig, check_recipe
from tfsasm.training.reports import Means, Progress, is_scored, loggers

log = logging.getLogger(__name__)

Validate = Callable[[MOTRv2], Mapping[str, float]]
"""Scores by name of a network that is ready to track."""


def train(
    network: NetworkConfig, config: TrainConfig, blocks: Blocks, output: Path, *,
    init: Path | None = None, backbone_weights: Path | None = None, device: str = "auto",
    validate: Validate | None = None, progress: Progress | None = None,
    notice: Callable[[str], None] = log.info, stopped: Callable[[], bool] = lambda: False,
) -> TrainState:
    """Train to the last step, from `output/last.pt` if there is one; see `new_model` and `fit`.

    `notice` takes sentences about the start. Raises `InputError` and `WeightsError` for what cannot
    be used, before any work.
    """
    writes = distributed.team().rank == 0
    with locked(check_folder(output)) if writes else nullcontext():
        place = find_device(device)
        distributed.clips_each(config.batch)
        model, taken = new_model(network, config, init=init, backbone_weights=backbone_weights)
        if taken:
            notice(taken)
        run, checkpoint = start(model.to(place), network, config), output / "last.pt"
        if checkpoint.exists():
            notice(checkpoints.resume(run, checkpoint))
        fit(run, blocks, output, validate=validate, progress=progress, stopped=stopped)
    return run


def start(model: MOTRv2, network: NetworkConfig, config: TrainConfig) -> TrainState:
    """A run at step 0 that takes `model` over. What is frozen has no gradients.

    Raises `InputError` for settings that cannot be, a part to freeze that the network does not
    have, and denoising queries of a MOTR.
    """
    check_recipe(config)
    if network.model.kind == "motr" and config.clip.denoising:
        raise InputError("denoising queries are MOTRv2's; a MOTR is trained with clip.denoising=0")
    if config.neutral_box_heads:
        decoder: nn.Module = getattr(model, "decoder", model)
        cast(BoxHead, decoder.get_submodule("box_heads.0")).reset(size_bias=0.0)
    parameters = dict(model.named_parameters())
    for part in config.freeze:
        if not any(_within(name, [part]) for name in parameters):
            known = dict.fromkeys(name.split(".")[0] for name in parameters)
            raise InputError(f"freeze names no part {part!r}; there are {', '.join(known)}")
    fixed = [*config.freeze, *(f"backbone.{part}" for part in model.backbone.frozen)]
    fixed += ["backbone"] if config.backbone_lr == 0 else []
    for name, parameter in parameters.items():
        parameter.requires_grad_(not _within(name, fixed))
    trains = any(parameter.requires_grad for parameter in model.backbone.parameters())
    backbone = None if trains else checkpoints.freeze_backbone(model)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    average = {name: parameter.detach().clone() for name, parameter in trained.items()}
    device = model.learned_content.device.type
    return TrainState(
        model, network, config, _optimizer(trained, config), average, backbone,
        scaler=torch.amp.GradScaler(device, enabled=config.precision == "fp16"),
        engine=distributed.engine(model, config.clip),
    )  # fmt: skip


def _within(name: str, parts: Sequence[str]) -> bool:
    return f"{name}.".startswith(tuple(f"{part}." for part in parts))


def _optimizer(trained: Mapping[str, nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in trained.items():
        slow = "sampling_offsets" in name or name.startswith("reference.")
        rate = config.lr * (config.offsets_scale if slow else 1.0)
        rate = config.backbone_lr if name.startswith("backbone.") else rate
        groups.setdefault(rate, []).append(parameter)
    settings = [{"params": group, "lr": rate, "base": rate} for rate, group in groups.items()]
    return torch.optim.AdamW(settings, weight_decay=config.weight_decay)


def schedule(step: int, config: TrainConfig) -> float:
    """Factor on every learning rate at `step`."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    share = step / config.steps
    if share < config.decay_from or config.decay_from == 1:
        return 1.0
    late = (share - config.decay_from) / (1 - config.decay_from)
    return 0.5 * (1 + math.cos(math.pi * min(late, 1.0))) if config.cosine else 0.1


def clip_length(step: int, config: TrainConfig) -> int:
    """Frames per clip at `step`."""
    return [n for share, n in config.lengths if step >= share * config.steps][-1]


def fit(
    run: TrainState, blocks: Blocks, output: Path, *,
    validate: Validate | None = None, progress: Progress | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Train `run` to its last step, or until `stopped`, writing into `output`.

    `last.pt` has all that resuming needs, `model.safetensors` the averaged weights, `best` the same
    where the scores were best, `log.jsonl` a line per report. Of several processes the first one
    writes. Raises `InputError` when the loss is not finite or a process died; the last checkpoint
    is then the one before.
    """
    output.mkdir(parents=True, exist_ok=True)
    config, team = run.config, distributed.team()
    each = distributed.clips_each(config.batch)
    first, logs = team.rank == 0, list[Progress]()
    # A run may have been killed while it was scored for the last time.
    finished = run.step >= config.steps and is_scored(output / "log.jsonl", run.step)

    def report(values: Mapping[str, float]) -> None:
        values = {name: round(value, 7) for name, value in values.items()}
        for log_values in logs:
            log_values(run.step, values)

    def save(scored: bool) -> None:
        model = checkpoints.save(run, output)
        if validate and scored:
            scores = validate(model.to(run.model.learned_content.device))
            report({f"val/{name}": value for name, value in scores.items()})
            checkpoints.save_best(run, output, scores)

    with ExitStack() as stack, _told_in_words(run):
        if first:
            kept = loggers(config.loggers, output, run.step, asdict(config))
            logs += stack.enter_context(kept) + ([progress] if progress else [])
        began = saved = validated = time.monotonic()
        clips = stack.enter_context(closing(
            stream(blocks, skip=run.step * config.batch, workers=config.workers, part=team)
        ))  # fmt: skip
        ended = False
        while run.step < config.steps and not ended:
            values = train_step(run, list(islice(clips, each)))
            now = time.monotonic()
            run.pending, began = run.pending.plus(values | {"seconds": now - began}), now
            if run.step % config.log_every == 0:
                report(run.pending.values())
                run.pending = Means()
            scored = now - validated > 60 * config.validate_minutes and run.step < config.steps
            if first and (scored or now - saved > 60 * config.checkpoint_minutes):
                save(scored)
                saved = time.monotonic()
                validated = saved if scored else validated
            ended = distributed.mean({"stopped": float(stopped())})["stopped"] > 0
        if run.pending.count and not ended:
            report(run.pending.values())
            run.pending = Means()
        if first:
            save(not ended and not finished)


@contextmanager
def _told_in_words(run: TrainState) -> Iterator[None]:
    """Raises `TfsasmError`, one sentence, where another process of the run has ended inside."""
    try:
        yield
    except RuntimeError as error:
        killed = "DataLoader worker" in str(error)
        if not (killed or distributed.other_ended(error)):
            raise
        maker = "a process that makes clips was ended, perhaps for want of memory"
        what = f"{maker} (fewer --workers)" if killed else "another process of this run ended"
        raise TfsasmError(
            f"{what} at step {run.step}; the same command goes on from the last checkpoint"
        ) from error


def train_step(run: TrainState, clips: Sequence[Clip]) -> dict[str, float]:
    """Some clips forward and back, one step of the optimiser. Returns what to report.

    `clips` are this process's share of the step's batch. The gradient is the mean over the batch of
    each clip's loss, all divided by the mean number of targets (SPEC 9.6), whoever computes it.
    """
    config, model, team = run.config, run.model, distributed.team()
    device, frames = model.learned_content.device, clip_length(run.step, config)
    clips = [normalised(clip, frames) for clip in clips]
    count = sum(len(targets) for clip in clips for targets in clip.targets) / len(clips)
    count = distributed.mean({"targets": float(count)})["targets"]
    for group in run.optimizer.param_groups:
        group["lr"] = group["base"] * schedule(run.step, config)
    run.optimizer.zero_grad()
    means = Means()
    for index, clip in enumerate(clips):
        number = run.step * config.batch + index * team.size + team.rank
        with distributed.unsynchronised(run.engine, index < len(clips) - 1):
            with _autocast(device, config.precision):
                total, parts = run.engine(clip.to(device), count, noise(config.seed, number))
            run.scaler.scale(total / len(clips)).backward()
        last = f"frame_{len(clip.targets) - 1}_loss_"
        shown = {kind: parts[last + kind].item() for kind in ("ce", "bbox", "giou")}
        means = means.plus({"loss": total.item(), **shown})
    values = distributed.mean(means.values())
    if not math.isfinite(values["loss"]):
        raise InputError(
            f"the loss is {values['loss']} at step {run.step}; train again with a lower --lr"
        )
    run.scaler.unscale_(run.optimizer)
    norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm).item()
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.step += 1
    _update_average(run)
    return {"loss": values["loss"], "norm": norm, **values}


def noise(seed: int, number: int) -> torch.Generator:
    """The random numbers of clip `number`: those of its denoising queries and dropped tracks."""
    [state] = np.random.SeedSequence([seed, number, 1]).generate_state(1)
    return torch.Generator().manual_seed(int(state))


def _autocast(device: torch.device, precision: str) -> torch.autocast:
    native = device.type == "cuda" and torch.cuda.is_bf16_supported()
    native = native or (device.type == "cpu" and torch.cpu._is_avx512_bf16_supported())
    half = precision == "bf16" or (precision == "auto" and native)
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=half or precision == "fp16")


@torch.no_grad()
def _update_average(run: TrainState) -> None:
    decay = min(run.config.average, run.step / (run.step + 10))  # young runs forget their start
    for name, parameter in run.model.named_parameters():
        if name in run.average:
            run.average[name].lerp_(parameter, 1 - decay)
