"""`tfsasm score`: result files scored against ground truth, by the rules of their benchmark."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from tfsasm.cli.options import Dataset
from tfsasm.cli.progress import print_lines, progress
from tfsasm.files import check_outputs, write_json, write_text


@dataclass(frozen=True, kw_only=True)
class Options:
    """Score result files with the official TrackEval, by the rules of their benchmark.

    Example: tfsasm score --gt clips --results results --json scores.json
    """

    gt: Path
    """Folder of sequences, each with gt/gt.txt; for BDD100K of one JSON per video."""
    results: Path
    """Folder of NAME.txt or data/NAME.txt files; for BDD100K NAME.json."""
    dataset: Annotated[Dataset | None, tyro.conf.arg(metavar="NAME")] = None
    """The benchmark whose rules apply: dancetrack, mot15, mot16, mot17, mot20, sportsmot, bdd100k
    or mot (no box is exempt). By default it is inferred from the names, and reported."""
    classes: Annotated[tuple[int, ...], tyro.conf.arg(metavar="N")] = ()
    """Classes of the eighth column that count together, with --dataset mot; by default 1."""
    json: Path | None = None
    """Write the scores here as well."""
    csv: Path | None = None
    """Write them as a table: a line per sequence, and one for all combined."""
    plot: Path | None = None
    """Draw HOTA and its parts over the overlap threshold: .png, .pdf or .svg."""
    allow_missing: bool = False
    """Leave out sequences that cannot be scored, report why, and score the rest."""
    overwrite: bool = False
    """Replace output files that exist."""


def run(options: Options, console: Console, errors: Console) -> None:
    """Score, write the outputs, print the table and the notes."""
    from tfsasm.evaluation.plots import check_plot, plot_curves
    from tfsasm.evaluation.score import lines, score_folders, to_json
    from tfsasm.evaluation.tables import report_table, scores_csv

    check_outputs((options.json, options.csv, options.plot), overwrite=options.overwrite)
    check_plot(options.plot)
    with progress(errors, "{task.fields[name]}", transient=True) as bar:
        task = bar.add_task("scoring", total=None, name="")
        scored = score_folders(
            options.gt, options.results, options.dataset, classes=options.classes,
            allow_missing=options.allow_missing,
            progress=lambda name: bar.update(task, advance=1, name=name),
        )  # fmt: skip
    if options.json:
        write_json(options.json, to_json(scored))
    if options.csv:
        write_text(options.csv, scores_csv(scored.report))
    if options.plot:
        plot_curves(scored.report, options.plot, f"{scored.dataset}, {options.results.name}")
    console.print(report_table(scored.report))
    print_lines(console, *lines(scored))
