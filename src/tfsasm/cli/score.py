"""The options of commands over whole data sets and their results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from tfsasm.cli.options import Dataset, OptionalFile
from tfsasm.errors import InputError
from tfsasm.evaluation.plots import check_picture, plot_curves
from tfsasm.evaluation.score import lines, score_folders, to_json
from tfsasm.evaluation.tables import report_table, scores_csv
from tfsasm.files import check_output, write_text


@dataclass(frozen=True)
class Score:
    """Score result files with the official TrackEval, by the rules of their benchmark.

    Example: tfsasm score --gt clips --results results --json scores.json
    """

    gt: Path
    """Folder of sequences, each with gt/gt.txt; for BDD100K of one JSON per video."""
    results: Path
    """Folder of NAME.txt or data/NAME.txt files; for BDD100K NAME.json."""
    dataset: Annotated[Dataset | None, tyro.conf.arg(metavar="NAME")] = None
    """Whose rules: dancetrack, mot15, mot16, mot17, mot20, sportsmot, bdd100k or mot (nothing is
    forgiven). By default it is seen from the names, and said."""
    json: OptionalFile = None
    """Write the scores here as well."""
    csv: OptionalFile = None
    """Write them as a table: a line per sequence, and one for all combined."""
    plot: OptionalFile = None
    """Draw HOTA and its parts over the overlap threshold: .png, .pdf or .svg."""
    allow_missing: bool = False
    """Leave out sequences that cannot be scored, say why, and score the rest."""
    overwrite: bool = False
    """Replace output files that exist."""


def run_scoring(job: Score, console: Console, errors: Console) -> None:
    """Score, write what was asked for, print the table and then all that there is to say."""
    _check_outputs(job)
    columns = (
        TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"),
    )  # fmt: skip
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(name: str) -> None:
            bar.update(task, advance=1, description=name)

        scored = score_folders(
            job.gt, job.results, job.dataset, allow_missing=job.allow_missing, progress=show
        )
    if job.json:
        write_text(job.json, json.dumps(to_json(scored), indent=2) + "\n")
    if job.csv:
        write_text(job.csv, scores_csv(scored.report))
    if job.plot:
        plot_curves(scored.report, job.plot, f"{scored.dataset}, {job.results.name}")
    console.print(report_table(scored.report))
    for line in lines(scored):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _check_outputs(job: Score) -> None:
    """Refuse before any work what could not be written after it."""
    outputs = [path for path in (job.json, job.csv, job.plot) if path]
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise InputError("two outputs have the same name; give each its own")
    for path in outputs:
        check_output(path, overwrite=job.overwrite)
    if job.plot:
        check_picture(job.plot)


def run(job: Score, console: Console, errors: Console) -> int:
    """`tfsasm score`."""
    run_scoring(job, console, errors)
    return 0
