"""`tfsasm detections`: convert, merge, filter and rekey stored detections.

Each is one chain: frames are read, changed on the way, and written as they come.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console

from tfsasm.cli.progress import print_lines
from tfsasm.errors import InputError
from tfsasm.files import check_distinct, check_output

if TYPE_CHECKING:
    from tfsasm.detection.det_db import Kind

InputPath = tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="INPUT")]]
OutputPath = tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="OUTPUT")]]


@dataclass(frozen=True, kw_only=True)
class Tool:
    """What all of `tfsasm detections` have."""

    skip_bad_detections: bool = False
    """Leave out detections that cannot be used, and count them."""
    overwrite: bool = False
    """Replace output that exists."""


@dataclass(frozen=True, kw_only=True)
class Conversion(Tool):
    """How one format becomes another."""

    to: Literal["mot", "det_db", "coco"] | None = None
    """Format to write; by default that of the output's suffix, .json being det_db."""
    images: Path | None = None
    """COCO file whose list of images gives the ids of COCO results their names."""
    category: int = 1
    """Class of boxes that are written as COCO results and have none."""
    prefix: str | None = None
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
    """Put several stored detections into one file, and count the frames that several have.

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
    """Keep boxes of these classes; for COCO results, and lines with a class."""
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
class Options:
    """Convert, merge, filter or rekey stored detections; each has its own --help.

    Example: tfsasm detections convert clips det_db.json --prefix clips
    """

    tool: DetectionTool
    """What to do."""


def run(options: Options, console: Console, errors: Console) -> None:
    """Do it, and print what came of it. Raises `InputError` for what cannot be read or written."""
    from tfsasm.detection import formats
    from tfsasm.detection.coco import CocoImages, read_coco, write_coco
    from tfsasm.detection.det_db import kind_of, write_det_db
    from tfsasm.motchallenge import FRAMES_FROM_0

    tool = options.tool
    how = tool if isinstance(tool, Conversion) else Conversion()
    inputs = tool.inputs if isinstance(tool, MergeDetections) else (tool.input,)
    kinds = {path: kind_of(path) for path in inputs}
    if not inputs or len(kinds) < len(inputs):
        raise InputError("give each input, and once")
    check_distinct([tool.output], inputs)
    images = CocoImages(how.images, how.prefix) if how.images else None
    kind = _kind_to_write(tool, how, {*kinds.values()})
    reading = formats.Reading(how.prefix, how.digits, tool.skip_bad_detections)
    read, written, notes = formats.Count(), formats.Count(), list[str]()
    streams = {
        path: read.of(read_coco(path, reading, images) if kinds[path] == "coco"
                      else formats.read_frames(path, reading))
        for path in inputs
    }  # fmt: skip
    frames = streams[inputs[0]]
    if isinstance(tool, MergeDetections):
        frames = formats.merge(streams, tool.clash, notes.append)
    elif isinstance(tool, FilterDetections):
        frames = formats.filter_boxes(
            frames, score=tool.score, min_width=tool.min_width, min_height=tool.min_height,
            min_area=tool.min_area, categories=tool.categories, sequences=tool.sequences,
        )  # fmt: skip
    elif isinstance(tool, RekeyDetections):
        frames = formats.once(formats.rekey(frames, tool.old, tool.new, notes.append))
    frames = written.of(frames)
    with console.status("reading and writing"):
        if kind == "coco":
            write_coco(tool.output, frames, images, how.category)
        elif kind == "det_db":
            write_det_db(tool.output, ((frame.key, frame.lines) for frame in frames))
        else:
            from_zero = formats.write_mot(
                tool.output, formats.mot_rows(frames, tool.output), overwrite=tool.overwrite
            )
            notes += [f"{name}: {FRAMES_FROM_0}" for name in from_zero]
    notes += reading.notes
    if reading.skipped.count:
        notes.append(str(reading.skipped))
    print_lines(console, f"read {read}", *notes, f"wrote {written}: {tool.output}")


def _kind_to_write(tool: DetectionTool, how: Conversion, given: set[Kind]) -> Kind:
    """The format of the output. Raises `InputError` for one that does not fit the `given` ones."""
    output, suffix = tool.output, tool.output.suffix.lower()
    if isinstance(tool, RekeyDetections) and given == {"coco"}:
        raise InputError(f"{tool.input} are COCO results, which have no keys; their table of "
                         "images has")
    usual: Kind = "coco" if given == {"coco"} and not how.images else "det_db"
    kind = how.to or (usual if suffix == ".json" else "mot")
    if kind != "mot" and suffix != ".json":
        raise InputError(f"{output}: {kind} is JSON; give a name that ends in .json")
    if kind == "mot" and suffix not in ("", ".txt"):
        raise InputError(f"{output}: give a .txt, a folder, or a .json")
    if not how.images and "coco" in (kinds := {kind, *given}) and kinds != {"coco"}:
        raise InputError("COCO results know images by number; name them with --images FILE, a "
                         "COCO file with a list of images")
    if suffix:
        check_output(output, overwrite=tool.overwrite)
    return kind
