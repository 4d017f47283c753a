"""The options of commands that make, rewrite or feed networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from tfsasm.cli import OK


@dataclass(frozen=True)
class Synth:
    """Render synthetic videos of look-alike people, with truth and detections, as MOT folders.

    Example: tfsasm synth --output clips --sequences 20 --seed 7
    """

    output: Path
    """Folder that the sequences are written into."""
    sequences: int = 10
    """How many."""
    seed: int = 0
    """Another seed never gives the same sequence."""
    frames: int = 100
    """Frames per sequence."""
    width: int = 512
    """Pixels."""
    height: int = 384
    """Pixels."""
    overwrite: bool = False
    """Replace sequences that exist."""


def run(job: Synth, console: Console, errors: Console) -> int:
    """`tfsasm synth`: render sequences with a progress bar."""
    from tfsasm.datasets.synthetic.config import SceneConfig
    from tfsasm.datasets.synthetic.sequences import write_sequences

    scene = SceneConfig(width=job.width, height=job.height, frames=job.frames)
    with Progress(console=errors) as bar:
        task = bar.add_task("sequences", total=job.sequences)
        folders = write_sequences(
            job.output, job.sequences, job.seed, scene, overwrite=job.overwrite,
            progress=lambda done, _: bar.update(task, completed=done),
        )  # fmt: skip
    console.print(f"wrote {len(folders)} sequences of {job.frames} frames in {job.output}",
                  soft_wrap=True)
    return OK
