"""`tfsasm detections`: convert, merge, filter and rekey stored detections.

Each is one chain: frames are read, changed on the way, and written as they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from tfsasm.cli.options import InputPath, OptionalFile, OptionalName, OutputPath
from tfsasm.cli.progress import print_lines
from tfsasm.detection.coco import CocoImages, read_coco, write_coco
from tfsasm.detection.det_db import Kind, kind_of, write_det_db
from tfsasm.detection.edit import Frames, filter_boxes, merge, rekey
from tfsasm.detection.formats import (
    FrameBoxes,
    Reading,
    mot_rows,
    once,
    read_frames,
    write_mot,
)
from tfsasm.errors import InputError
from tfsasm.files import check_distinct, check_output


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
class Options:
    """Convert, merge, filter or rekey stored detections; each has its own --help.

    Example: tfsasm detections convert clips det_db.json --prefix clips
    """

    tool: DetectionTool
    """What to do."""


def run(options: Options, console: Console, errors: Console) -> int:
    """Do it, and print what came of it. Raises `InputError` for what cannot be read or written."""
    tool = options.tool
    inputs = tool.inputs if isinstance(tool, MergeDetections) else (tool.input,)
    if isinstance(tool, RekeyDetections) and kind_of(tool.input) == "coco":
        raise InputError(f"{tool.input} are COCO results, which have no keys; their table of "
                         "images has")
    how = tool if isinstance(tool, Conversion) else Conversion()
    job = _Job(tool, inputs, tool.output, how)
    streams = {path: job.read(path) for path in inputs}
    first = streams[inputs[0]]
    if isinstance(tool, MergeDetections):
        frames = merge(streams, tool.clash, job.notes.append)
    elif isinstance(tool, FilterDetections):
        frames = filter_boxes(
            first, score=tool.score, min_width=tool.min_width, min_height=tool.min_height,
            min_area=tool.min_area, categories=tool.categories, sequences=tool.sequences,
        )  # fmt: skip
    elif isinstance(tool, RekeyDetections):
        frames = once(rekey(first, tool.old, tool.new, job.notes.append))
    else:
        frames = first
    with console.status("reading and writing"):
        job.write(frames)
    print_lines(console, *job.report())
    return 0


@dataclass
class _Count:
    """Frames and boxes that went by."""

    frames: int = 0
    boxes: int = 0

    def of(self, frames: Iterable[FrameBoxes]) -> Frames:
        for frame in frames:
            self.frames += 1
            self.boxes += len(frame.boxes)
            yield frame

    def __str__(self) -> str:
        return f"{self.boxes:,} boxes of {self.frames:,} frames"


class _Job:
    """The inputs and the output of one command, checked, and what came of it."""

    def __init__(self, tool: Tool, inputs: tuple[Path, ...], output: Path, how: Conversion) -> None:
        self._kinds = {path: kind_of(path) for path in inputs}
        if not inputs or len(self._kinds) < len(inputs):
            raise InputError("give each input, and once")
        check_distinct([output], inputs)
        self._output, self._overwrite, self._category = output, tool.overwrite, how.category
        self._reading = Reading(how.prefix, how.digits, tool.skip_bad_detections)
        self._images = CocoImages(how.images, how.prefix) if how.images else None
        self._kind = how.to or self._usual_kind()
        self._check()
        self.notes: list[str] = []
        self._count_read, self._count_written = _Count(), _Count()

    def read(self, path: Path) -> Iterator[FrameBoxes]:
        """The frames of an input."""
        if self._kinds[path] != "coco":
            return self._count_read.of(read_frames(path, self._reading))
        return self._count_read.of(read_coco(path, self._reading, self._images))

    def write(self, frames: Frames) -> None:
        """Write the frames as they come."""
        frames = self._count_written.of(frames)
        if self._kind == "coco":
            write_coco(self._output, frames, self._images, self._category)
        elif self._kind == "det_db":
            write_det_db(self._output, ((frame.key, frame.lines) for frame in frames))
        else:
            rows = mot_rows(frames, self._output)
            write_mot(self._output, rows, overwrite=self._overwrite)

    def report(self) -> list[str]:
        """What was read, left out and written."""
        skipped = self._reading.skipped
        left_out = [str(skipped)] if skipped.count else []
        return [f"read {self._count_read}", *self.notes, *left_out,
                f"wrote {self._count_written}: {self._output}"]

    def _usual_kind(self) -> Kind:
        """The format of the output's suffix."""
        if self._output.suffix.lower() != ".json":
            return "mot"
        return "coco" if {*self._kinds.values()} == {"coco"} and not self._images else "det_db"

    def _check(self) -> None:
        """Refuse an output that does not fit its format or the inputs."""
        kind, path, kinds = self._kind, self._output, {self._kind, *self._kinds.values()}
        if kind != "mot" and path.suffix.lower() != ".json":
            raise InputError(f"{path}: {kind} is JSON; give a name that ends in .json")
        if kind == "mot" and path.suffix.lower() not in ("", ".txt"):
            raise InputError(f"{path}: give a .txt, a folder, or a .json")
        if not self._images and "coco" in kinds and kinds != {"coco"}:
            raise InputError("COCO results know images by number; name them with --images FILE, a "
                             "COCO file with a list of images")
        if path.suffix:
            check_output(path, overwrite=self._overwrite)
