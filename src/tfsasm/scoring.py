"""Results in files to scores: `tfsasm score`, and the results of many trackers at once."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from tfsasm import jobs
from tfsasm.errors import InputError
from tfsasm.evaluate import (
    Files,
    Scored,
    plot_curves,
    report_table,
    score_files,
    score_folders,
    scores_csv,
)
from tfsasm.evaluate.plots import check_picture
from tfsasm.files import check_output, write_text
from tfsasm.runs import run_sequences
from tfsasm.workers import Work

Filed = Mapping[str, Mapping[str, Files]]
"""By tracker, the files of each sequence."""


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


def score_all(
    files: Filed, dataset: str, problems: Mapping[str, str], workers: int, errors: Console, *,
    quiet: bool = False,
) -> dict[str, Scored]:
    """Score many trackers on the same sequences: those of which each has a result with a meaning.

    `problems` names sequences that are known to be unfit, with the reason. Raises `InputError` when
    nothing is left, and `KeyboardInterrupt`.
    """
    counts = {label: len(group) for label, group in files.items()}
    make = partial(_scoring, files, dataset, problems)
    run = run_sequences(
        list(files), make, counts, workers, errors, quiet=quiet, what="scoring"
    )
    if run.interrupted:
        raise KeyboardInterrupt
    for label, why in run.failures.items():
        raise InputError(f"{label}: {why}")
    scored = {label: run.outcomes[label] for label in files}
    left_out = {name: why for one in scored.values() for name, why in one.left_out.items()}
    if any(one.left_out.keys() != left_out.keys() for one in scored.values()):
        return score_all(files, dataset, left_out, workers, errors, quiet=quiet)
    return scored


def _scoring(files: Filed, dataset: str, problems: Mapping[str, str]) -> Work:
    return partial(_score, files, dataset, problems)


def _score(
    files: Filed, dataset: str, problems: Mapping[str, str], label: str
) -> Generator[int, None, Scored]:
    fit = {name: group for name, group in files[label].items() if name not in problems}
    yield 0
    return score_files(fit, dataset, allow_missing=True, problems=problems)
