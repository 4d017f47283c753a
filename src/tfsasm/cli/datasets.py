"""The options of commands over whole data sets and their results."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import tyro
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tfsasm.cli.options import Dataset, OptionalFile
from tfsasm.datasets.check import check
from tfsasm.datasets.check.report import Inspection
from tfsasm.files import check_output, write_text


@dataclass(frozen=True)
class Datasets:
    """Look at a data set: what is there, what is missing, what contradicts itself.

    Ends with code 1 when there is a problem; what may be meant is only noted.

    Example: tfsasm datasets check --root clips --json findings.json
    """

    action: tyro.conf.Positional[Literal["check"]]
    """What to do: check."""
    root: Path
    """Folder of the data set, of one of its splits, or of several data sets."""
    dataset: Annotated[Dataset | Literal["crowdhuman"] | None, tyro.conf.arg(metavar="NAME")] = None
    """dancetrack, mot15, mot16, mot17, mot20, sportsmot, mot (any MOT folders), bdd100k or
    crowdhuman; by default whatever is there."""
    split: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Its subfolder, such as train, val or test; by default all."""
    json: OptionalFile = None
    """Write all findings here as well."""
    overwrite: bool = False
    """Replace the JSON if it exists."""
    quiet: bool = False
    """No progress bar and no notes."""

OK, PROBLEMS = 0, 1


def run_check(job: Datasets, console: Console, errors: Console) -> int:
    """`tfsasm datasets check`: a table and the findings of each data set; 1 for problems."""
    if job.json:
        check_output(job.json, overwrite=job.overwrite)
    with Progress(console=errors, disable=job.quiet, transient=True) as bar:
        task = bar.add_task("sequences", total=None)
        found = check(
            job.root, job.dataset, job.split,
            lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    if job.json:
        report = {"datasets": [one.to_json() for one in found]}
        write_text(job.json, json.dumps(report, indent=2) + "\n")
    for one in found:
        console.print(summary(one))
        for line in lines(one, notes=not job.quiet):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
    problems = sum(one.problem_count for one in found)
    sequences = sum(len(one.sequences) for one in found)
    console.print(f"{sequences} sequence(s), {problems} problem(s)", highlight=False)
    return PROBLEMS if problems else OK


def summary(inspection: Inspection) -> Table:
    """A row per sequence; the folders that all of them share go to the title."""
    names = [PurePosixPath(one.name) for one in inspection.sequences]
    shared = PurePosixPath(os.path.commonpath([str(name.parent) for name in names] or ["."]))
    title = f"{inspection.dataset} in {inspection.root / shared}"
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("sequence", overflow="fold")
    for column in ("frames", "size", "images", "boxes", "ids", "dets", "problems", "notes"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, one in zip(names, inspection.sequences, strict=True):
        size = f"{one.size[0]}x{one.size[1]}" if one.size else None
        cells = (
            one.frames, size, one.images or None, one.boxes, one.identities, one.detections,
            len(one.problems), len(one.notes),
        )  # fmt: skip
        told = ("-" if cell is None else str(cell) for cell in cells)
        table.add_row(str(name.relative_to(shared)), *told)
    return table


def lines(inspection: Inspection, *, notes: bool = True) -> Iterator[str]:
    """Every problem and note in words, problems first."""
    for kind in ("problems", "notes") if notes else ("problems",):
        for text in getattr(inspection, kind):
            yield f"{kind[:-1]}: {text}"
        for one in inspection.sequences:
            for text in getattr(one, kind):
                yield f"{kind[:-1]}: {one.name}: {text}"


def run(job: Datasets, console: Console, errors: Console) -> int:
    """`tfsasm datasets check`."""
    return run_check(job, console, errors)
