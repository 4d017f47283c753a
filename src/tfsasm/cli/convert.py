"""The options of commands that make, rewrite or feed networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from tfsasm.cli import OK
from tfsasm.files import check_output


@dataclass(frozen=True)
class Convert:
    """Rewrite a checkpoint: published .pth to .safetensors or back, strictly checked.

    Example: tfsasm convert motrv2_dancetrack.pth motrv2_dancetrack.safetensors
    """

    input: tyro.conf.Positional[Path]
    """Checkpoint to read: .pth, .pt or .safetensors."""
    output: tyro.conf.Positional[Path]
    """Checkpoint to write: .safetensors, or .pth with its configuration in a .json beside it."""
    half: bool = False
    """Store float16."""
    overwrite: bool = False
    """Replace the output if it exists."""


def run(job: Convert, console: Console, errors: Console) -> int:
    """`tfsasm convert`: load strictly, save."""
    from tfsasm.motrv2.weights import load_model, save_model

    check_output(job.output, overwrite=job.overwrite)
    model, config = load_model(job.input)
    save_model(job.output, model, config, half=job.half)
    count = sum(p.numel() for p in model.parameters())
    console.print(f"wrote {job.output}: {count:,} parameters, {config.model.backbone}",
                  soft_wrap=True)
    return OK
