"""The options of `tfsasm detect` and `tfsasm detections`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from tfsasm.jobs.kinds import Dataset, InputPath, OptionalFile, OptionalName, OutputPath, Settings


@dataclass(frozen=True)
class Detect:
    """Find people in a video or a data set, and store the boxes for later runs.

    A run that was stopped or killed goes on when it is given again: OUTPUT.partial, beside the
    output, holds what is done.

    Example: tfsasm detect --source video.mp4 --detector yolox-nano --output det.txt
    """

    detector: Annotated[str, tyro.conf.arg(metavar="NAME")]
    """yolox-nano, -tiny, -s, -m, -l or -x, or a Hugging Face model; see `tfsasm track --help`."""
    output: Path
    """.txt (MOT text) or .json (det_db, the format of MOTRv2); for a data set .json, or a folder
    for a NAME.txt per sequence."""
    source: Annotated[str | None, tyro.conf.arg(metavar="SOURCE")] = None
    """Video file or folder of images."""
    dataset: Annotated[Dataset | None, tyro.conf.arg(metavar="NAME")] = None
    """dancetrack, mot15, mot16, mot17, mot20, sportsmot, bdd100k, or mot for any MOT folders."""
    root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the data set, or of one of its splits."""
    split: OptionalName = None
    """Its subfolder, such as train, val or test; by default all."""
    sequences: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = ()
    """Only these."""
    detector_weights: OptionalFile = None
    """File of a YOLOX: .onnx, or a PyTorch checkpoint (.pth, .pth.tar) as of ByteTrack's."""
    detector_set: Settings = ()
    """Single settings of the detector, as NAME=VALUE."""
    score: float = 0.1
    """Boxes below this score are left out. MOTRv2's own det_db begins at 0.05."""
    overwrite: bool = False
    """Replace output that exists, and the partial file of another run."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ..., or auto."""
    quiet: bool = False
    """No progress bar."""


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
