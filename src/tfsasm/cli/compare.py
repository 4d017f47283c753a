"""The options of commands over whole data sets and their results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from tfsasm.cli.options import (
    DatasetOptions,
    EmbedderOptions,
    NetworkOptions,
    OptionalFile,
    WorkerOptions,
)

COMPARED = "tfsasm,motrv2,bytetrack,ocsort,sort,botsort,cbiou"


@dataclass(frozen=True, kw_only=True)
class Compare(WorkerOptions, NetworkOptions, EmbedderOptions, DatasetOptions):
    """Run trackers on the same frames and the same boxes, and score them by the same rules.

    The classic ones come from the package `trackers`. Without pictures only those run, and
    `appearance` by motion alone.

    Example: tfsasm compare --root clips --trackers tfsasm,motrv2,sort,ocsort --json comparison.json
    """

    trackers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME,NAME")] = (COMPARED,)
    """Which: appearance, motion (the same without looks), tfsasm (the default preset), another
    preset (default, released, paper, motrv2), or sort, bytetrack, ocsort, botsort, cbiou. Each may
    have settings: appearance:kind=ema, default:capacity=0 or ocsort:lost_track_buffer=60. The first
    is what the others are compared with."""
    no_images: bool = False
    """Show nobody any pictures, also where there are some."""
    second_half: bool = False
    """The sequences are second halves, as ByteTrack's tools cut MOT17, and the detections those of
    whole videos: frame k is frame n//2+1+k of n."""
    min_score: float = 0.1
    """Boxes below this score are not handed over."""
    json: OptionalFile = None
    """Write scores, speed, parameters and gains here."""
    csv: OptionalFile = None
    """Write the scores as a table: a line per tracker and sequence."""
    plot: OptionalFile = None
    """Draw HOTA over milliseconds per frame: .png, .pdf or .svg."""
    output: OptionalFile = None
    """Folder for the result files, as TRACKER/NAME.txt."""
    workers: int = 1
    """Processes; each tracks a sequence at a time. More than the machine has cores distort the
    speed."""
    overwrite: bool = False
    """Replace output files that exist."""


def run(job: Compare, console: Console, errors: Console) -> int:
    """`tfsasm compare`."""
    from tfsasm.experiments.compare import run_comparison

    return run_comparison(job, console, errors)
