"""`tfsasm convert`: a checkpoint rewritten."""

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from tfsasm.cli.progress import print_lines
from tfsasm.files import check_output


@dataclass(frozen=True)
class Options:
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


def run(options: Options, console: Console, errors: Console) -> None:
    """Load strictly, save."""
    from tfsasm.motrv2.family import load_model
    from tfsasm.motrv2.weights import save_model

    check_output(options.output, overwrite=options.overwrite)
    model, config = load_model(options.input)
    save_model(options.output, model, config, half=options.half)
    count = sum(p.numel() for p in model.parameters())
    print_lines(console, f"wrote {options.output}: {count:,} parameters, {config.model.backbone}")
