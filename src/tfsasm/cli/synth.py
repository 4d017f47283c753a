"""`tfsasm synth`: synthetic sequences rendered into MOT folders."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tfsasm.cli.options import at_least
from tfsasm.cli.progress import print_lines, progress


@dataclass(frozen=True, kw_only=True)
class Options:
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


def run(options: Options, console: Console, errors: Console) -> None:
    """Render the sequences one after the other."""
    from tfsasm.datasets.synthetic.config import SceneConfig
    from tfsasm.datasets.synthetic.sequences import write_sequences

    at_least(options, 0, "sequences")
    scene = SceneConfig(width=options.width, height=options.height, frames=options.frames)
    with progress(errors) as bar:
        task = bar.add_task("sequences", total=options.sequences)
        folders = write_sequences(
            options.output, options.sequences, options.seed, scene, overwrite=options.overwrite,
            progress=lambda done, _: bar.update(task, completed=done),
        )  # fmt: skip
    print_lines(
        console, f"wrote {len(folders)} sequences of {options.frames} frames in {options.output}"
    )
