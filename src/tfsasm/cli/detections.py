"""The options of `tfsasm detect` and `tfsasm detections`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from tfsasm.cli.options import InputPath, OptionalFile, OptionalName, OutputPath
from tfsasm.detection.edit import _Run, filter_boxes, kind_of, merge, rekey
from tfsasm.detection.formats import once
from tfsasm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Tool:
    """What all of `tfsasm detections` can be told."""

    skip_bad_detections: bool = False
    """Leave out detections that cannot be used, and count them."""
    overwrite: bool = False
    """Replace output that exists."""


@dataclass(frozen=True, kw_only=True)
class Conversion(Tool):
    """How one format becomes another."""

    to: Literal["mot", "det_db", "coco"] | None = None
    """Format to write; by default what the output's name tells, .json being det_db."""
    images: OptionalFile = None
    """COCO file whose list of images gives the ids of COCO results their names."""
    category: int = 1
    """Class of boxes that are written as COCO results and have none."""
    prefix: OptionalName = None
    """What keys begin with that are made of MOT text or of names of images; by default the names
    of the two folders around the sequence, such as DanceTrack/val, or nothing."""
    digits: int = 8
    """Digits of the frame in keys that are made of MOT text."""


@dataclass(frozen=True, kw_only=True)
class ConvertDetections(Conversion):
    """Rewrite stored detections: MOT text, det_db JSON or COCO results.

    Numbers stay as they are, to the last digit.

    Example: tfsasm detections convert clips det_db.json --prefix clips
    """

    input: InputPath
    """det.txt, folder of NAME/det/det.txt or NAME.txt, det_db JSON or COCO results JSON."""
    output: OutputPath
    """.json, .txt for a single sequence, or a folder for a NAME.txt each."""


@dataclass(frozen=True, kw_only=True)
class MergeDetections(Conversion):
    """Put several stored detections into one file, and tell of frames that several have.

    Example: tfsasm detections merge det_db.json moved.json --output both.json
    """

    inputs: tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="INPUT")]]
    """Files and folders as for `tfsasm detections convert`."""
    output: Path
    """.json, .txt for a single sequence, or a folder for a NAME.txt each."""
    clash: Literal["error", "first"] = "error"
    """What to do where two have other boxes for a frame: stop, or let the first one count."""


@dataclass(frozen=True, kw_only=True)
class FilterDetections(Tool):
    """Leave boxes out by score, size and class, and sequences by name. Frames stay, if empty.

    Example: tfsasm detections filter det_db.json sure.json --score 0.5 --min-height 20
    """

    input: InputPath
    """File or folder as for `tfsasm detections convert`."""
    output: OutputPath
    """.json, .txt for a single sequence, or a folder for a NAME.txt each."""
    score: float = float("-inf")
    """Keep boxes with at least this score."""
    min_width: float = 0.0
    """Keep boxes of at least so many pixels."""
    min_height: float = 0.0
    """Keep boxes of at least so many pixels."""
    min_area: float = 0.0
    """Keep boxes of at least so many square pixels."""
    categories: Annotated[tuple[int, ...], tyro.conf.arg(metavar="N")] = ()
    """Keep boxes of these classes; for COCO results."""
    sequences: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = ()
    """Keep these sequences alone."""


@dataclass(frozen=True, kw_only=True)
class RekeyDetections(Tool):
    """Change what the keys of a det_db begin with.

    Example: tfsasm detections rekey det_db.json moved.json --old clips --new data/clips
    """

    input: InputPath
    """det_db JSON."""
    output: OutputPath
    """det_db JSON to write."""
    old: str
    """Folders at the beginning that are replaced; \"\" puts something before every key."""
    new: str
    """What comes in their place; \"\" takes them away."""

DetectionTool = tyro.conf.OmitSubcommandPrefixes[
    Annotated[ConvertDetections, tyro.conf.subcommand("convert")]
    | Annotated[MergeDetections, tyro.conf.subcommand("merge")]
    | Annotated[FilterDetections, tyro.conf.subcommand("filter")]
    | Annotated[RekeyDetections, tyro.conf.subcommand("rekey")]
]


@dataclass(frozen=True)
class Detections:
    """Convert, merge, filter or rekey stored detections; each has its own --help.

    Example: tfsasm detections convert clips det_db.json --prefix clips
    """

    tool: DetectionTool
    """What to do."""


def run_detections(job: Detections, console: Console) -> None:
    """Do what was asked for and say what came of it. Raises `InputError` as its parts do."""
    tools: dict[type, Callable[[Any, Console], None]] = {
        ConvertDetections: _convert, MergeDetections: _merge,
        FilterDetections: _filter, RekeyDetections: _rekey,
    }  # fmt: skip
    tools[type(job.tool)](job.tool, console)


def _convert(job: ConvertDetections, console: Console) -> None:
    run = _Run(job, (job.input,), console, prefix=job.prefix, digits=job.digits, images=job.images)
    run.write(run.read(job.input), to=job.to, category=job.category)


def _merge(job: MergeDetections, console: Console) -> None:
    run = _Run(job, job.inputs, console, prefix=job.prefix, digits=job.digits, images=job.images)
    streams = {path: run.read(path) for path in job.inputs}
    run.write(merge(streams, job.clash, run.notes), to=job.to, category=job.category)


def _filter(job: FilterDetections, console: Console) -> None:
    run = _Run(job, (job.input,), console)
    run.write(filter_boxes(run.read(job.input), job))


def _rekey(job: RekeyDetections, console: Console) -> None:
    if kind_of(job.input) == "coco":
        raise InputError(f"{job.input} are COCO results, which have no keys; their table of images "
                         "has")
    run = _Run(job, (job.input,), console)
    run.write(once(rekey(run.read(job.input), job.old, job.new, run.notes)))


def run(job: Detections, console: Console, errors: Console) -> int:
    """`tfsasm detections`."""
    run_detections(job, console)
    return 0
