"""`tfsasm datasets check`: what a data set has, what is missing, what is contradictory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tfsasm.cli import FAILED, OK
from tfsasm.cli.options import Dataset
from tfsasm.cli.progress import print_lines, progress
from tfsasm.files import check_outputs, write_json

if TYPE_CHECKING:
    from tfsasm.datasets.check_report import DatasetReport


@dataclass(frozen=True, kw_only=True)
class Options:
    """Check a data set: what is there, what is missing, what is contradictory.

    Ends with code 1 when there is a problem; what may be intended is only a note.

    Example: tfsasm datasets check --root clips --json findings.json
    """

    action: tyro.conf.Positional[Literal["check"]]
    """What to do: check."""
    root: Path
    """Folder of the data set, of one of its splits, or of several data sets."""
    dataset: Annotated[Dataset | Literal["crowdhuman"] | None, tyro.conf.arg(metavar="NAME")] = None
    """dancetrack, mot15, mot16, mot17, mot20, sportsmot, mot (any MOT folders), bdd100k or
    crowdhuman; by default whatever is there."""
    split: str | None = None
    """Its subfolder, such as train, val or test; by default all."""
    json: Path | None = None
    """Write all problems and notes here as well."""
    overwrite: bool = False
    """Replace the JSON if it exists."""
    quiet: bool = False
    """No progress bar and no notes."""


def run(options: Options, console: Console, errors: Console) -> int:
    """Print a table and the problems of each data set; 1 if there are any."""
    from tfsasm.datasets.check import check

    check_outputs([options.json], overwrite=options.overwrite)
    with progress(errors, quiet=options.quiet, transient=True) as bar:
        task = bar.add_task("sequences", total=None)
        reports = check(
            options.root, options.dataset, options.split,
            lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    if options.json:
        content = {"datasets": [report.to_json() for report in reports]}
        write_json(options.json, content)
    for report in reports:
        console.print(_table(report))
        print_lines(console, *report.lines(notes=not options.quiet))
    problems = sum(report.problem_count for report in reports)
    sequences = sum(len(report.sequences) for report in reports)
    console.print(f"{sequences} sequence(s), {problems} problem(s)", highlight=False)
    return FAILED if problems else OK


def _table(report: DatasetReport) -> Table:
    """A row per sequence; the folders that all of them share go to the title."""
    names = [PurePosixPath(row.name) for row in report.sequences]
    shared = PurePosixPath(os.path.commonpath([str(name.parent) for name in names] or ["."]))
    title = f"{report.dataset} in {report.root / shared}"
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("sequence", overflow="fold")
    for column in ("frames", "size", "images", "boxes", "ids", "dets", "problems", "notes"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, row in zip(names, report.sequences, strict=True):
        size = f"{row.size[0]}x{row.size[1]}" if row.size else None
        cells = (
            row.frames, size, row.images or None, row.boxes, row.identities, row.detections,
            len(row.problems), len(row.notes),
        )  # fmt: skip
        texts = ("-" if cell is None else str(cell) for cell in cells)
        table.add_row(str(name.relative_to(shared)), *texts)
    return table
