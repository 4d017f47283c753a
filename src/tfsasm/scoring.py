"""`tfsasm score`: from two folders to a table, a JSON, a CSV and a picture."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from tfsasm import jobs
from tfsasm.errors import InputError
from tfsasm.evaluate import Scored, plot_curves, report_table, score_folders, scores_csv
from tfsasm.evaluate.plots import check_picture
from tfsasm.files import check_output, write_text


def run_scoring(job: jobs.Score, console: Console, errors: Console) -> None:
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


def to_json(scored: Scored) -> dict[str, Any]:
    """The report with the rules it was made by and the sequences it lacks."""
    about = {"dataset": scored.dataset, "left_out": scored.left_out}
    return {**scored.report.to_json(), **about}


def lines(scored: Scored) -> list[str]:
    """What to say below the table."""
    count, missing = len(scored.report.sequences), len(scored.left_out)
    told = [*scored.notes]
    if missing:
        told.append(f"combined is of {count} of {count + missing} sequences; left out:")
        told += [f"  {name}: {why}" for name, why in sorted(scored.left_out.items())]
    return told


def _check_outputs(job: jobs.Score) -> None:
    """Refuse before any work what could not be written after it."""
    outputs = [path for path in (job.json, job.csv, job.plot) if path]
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise InputError("two outputs have the same name; give each its own")
    for path in outputs:
        check_output(path, overwrite=job.overwrite)
    if job.plot:
        check_picture(job.plot)
