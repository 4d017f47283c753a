"""`tfsasm ablate`: a data set under every combination of some settings.

For each of them the files are those of `evaluate`, but the network computes each frame once. A
folder of results per combination is what a run resumes from, so a grid may also grow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console

from tfsasm.cli import FAILED, INTERRUPTED, OK
from tfsasm.cli.evaluate import (
    end_lines,
    make_experiment,
    query_settings,
    run_experiment,
    run_settings,
)
from tfsasm.cli.options import OptionalName, ResultsOptions, query_config
from tfsasm.cli.progress import event_progress, print_lines
from tfsasm.errors import InputError
from tfsasm.settings import short_name

if TYPE_CHECKING:
    from tfsasm.detection.detectors import Detector
    from tfsasm.evaluation.metrics import Report
    from tfsasm.evaluation.score import Scored
    from tfsasm.evaluation.significance import Difference
    from tfsasm.experiments.grid import Axis, GridPoint
    from tfsasm.experiments.plan import Experiment
    from tfsasm.experiments.pool import Run

NAME = "ablation"
"""Of the files about all rows, without their suffix."""

_COLUMNS = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW")

_NARROW = 24  # letters of settings that have room beside all scores

_SHOWN = 30  # rows that the table has at most


@dataclass(frozen=True, kw_only=True)
class Options(ResultsOptions):
    """Track a data set under every combination of some settings, and find the best one.

    The network computes each frame once, for all combinations. A run that was stopped or killed
    goes on when it is given again, and so does one with more values in its grid.

    Example: tfsasm ablate --root clips --grid capacity=0,5,10 min_travel=0,0.1 --output ablation
    """

    output: Path
    """Folder for a folder of result files per combination, and the tables and plots of all:
    ablation.json, .csv and .png."""
    grid: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE,VALUE")]
    """Settings of the method and their values; a short name will do where it is the only one:
    capacity=0,5,10 for memory.capacity."""
    min_score: float = 0.0
    """Detections below this score are left out."""
    metric: Literal["HOTA", "DetA", "AssA", "MOTA", "IDF1"] = "HOTA"
    """The metric by which a combination is the best."""
    against: OptionalName = None
    """The combination that the others are compared with, such as capacity=0; by default the first
    of the grid."""


@dataclass(frozen=True)
class Ablation:
    """The grid of an ablation and the scores of its rows."""

    axes: Sequence[Axis]
    rows: Mapping[str, GridPoint]
    """By label."""
    against: str
    metric: str
    scored: Mapping[str, Scored]

    @property
    def reports(self) -> dict[str, Report]:
        """The scores by label."""
        return {label: one.report for label, one in self.scored.items()}

    @property
    def best(self) -> str:
        """The label of the row with the best score."""
        return max(self.scored, key=self.score)

    def score(self, label: str) -> float:
        """The score that decides."""
        return getattr(self.scored[label].report.combined, self.metric)

    def gains(self) -> list[Difference]:
        """The differences between each row and the one it is compared with."""
        from tfsasm.evaluation.significance import differences

        return differences(self.reports, self.against)


def run(
    options: Options, console: Console, errors: Console, *, detector: Detector | None = None,
    shown: int = _SHOWN,
) -> int:
    """Track what is not done yet, score all of it, and find the best combination.

    `detector` finds the boxes instead of what the options name; the table has at most `shown` rows.
    """
    from tfsasm.experiments.grid import choose, combinations, parse_grid
    from tfsasm.experiments.scoring import score_all

    base = query_config(options)
    axes = parse_grid(options.grid, base)
    points = combinations(axes, base)
    against = choose(options.against, points, base) if options.against else points[0]
    rows = {row.label: row for row in points}
    experiment = _claimed(options, rows, detector)
    finished = run_experiment(options, experiment, console, errors, detector)
    print_lines(console, *_run_lines(finished))
    if finished.interrupted:
        return INTERRUPTED
    files = experiment.files()
    counts = {label: len(each) for label, each in files.items()}
    with event_progress(errors, counts, "scoring", quiet=options.quiet) as show:
        scored = score_all(files, options.dataset, finished.failures, options.workers, show)
    ablation = Ablation(axes, rows, against.label, options.metric, scored)
    gains, settings = ablation.gains(), {**run_settings(options, experiment),
                                         **query_settings(options)}  # fmt: skip
    written = _write(options, ablation, gains, settings)
    _print(ablation, gains, console, shown)
    print_lines(console, *(f"wrote {path}" for path in written))
    return FAILED if finished.failures else OK


def _claimed(
    options: Options, rows: Mapping[str, GridPoint], detector: Detector | None
) -> Experiment:
    """The experiment, everything refused that can be, and its folders claimed."""
    from tfsasm.experiments.results import claim_all
    from tfsasm.experiments.run import make_work
    from tfsasm.files import check_folder
    from tfsasm.tracking.named import QuerySpec

    experiment = make_experiment(
        options, {label: QuerySpec(row.method) for label, row in rows.items()},
        {label: options.output / label for label in rows},
    )  # fmt: skip
    experiment = replace(experiment, min_score=options.min_score)
    if without := [name for name, task in experiment.tasks.items() if task.sequence.truth is None]:
        raise InputError(
            f"no ground truth of {', '.join(without)}, so no row can be the best; choose others "
            "by --sequences"
        )
    settings = {**run_settings(options, experiment), **query_settings(options)}
    if options.min_score:
        settings["min_score"] = options.min_score
    make_work(experiment, detector)  # what cannot begin takes no folders, and least empties them
    check_folder(options.output)
    return replace(experiment, todo=claim_all(
        experiment.folders,
        {label: {**settings, "method": asdict(row.method)} for label, row in rows.items()},
        experiment.tasks.keys(), overwrite=options.overwrite,
    ))  # fmt: skip


def _run_lines(run: Run) -> Iterator[str]:
    for name, one in run.outcomes.items():
        count = len(one.identities)
        rows = "1 row" if count == 1 else f"{count} rows"
        yield f"{name}: {one.frames} frames under {rows}, {one.elapsed:.0f} s"
    yield from end_lines(run)


def _print(
    ablation: Ablation, gains: Sequence[Difference], console: Console, most: int
) -> None:
    """The table, the best row, and what else is to note."""
    labels, best = list(ablation.scored), ablation.best
    ranked = sorted(labels, key=lambda label: -ablation.score(label))[:most]
    shown = [label for label in labels if label in ranked]
    console.print(_table(ablation, shown, gains))
    lines = []
    if len(shown) < len(labels):
        lines.append(f"the best {len(shown)} of {len(labels)} rows; the files have all")
    lines.append(f"best: {best}: {ablation.metric} {ablation.score(best):.2f}")
    lines += [
        f"  {gain.metric} {gain.text} over {gain.against}, mean per sequence"
        for gain in gains if gain.name == best
    ]  # fmt: skip
    if len(labels) > 2:
        lines.append(f"the best of {len(labels)} is partly the luckiest; check it on other data")
    left_out = ablation.scored[best].left_out
    print_lines(console, *lines, *(f"left out: {name}: {why}" for name, why in left_out.items()))


def _table(ablation: Ablation, shown: Sequence[str], gains: Sequence[Difference]) -> Any:
    """A row per combination; its values stand in columns below the names of the settings.

    Beside many settings 80 columns have room for one score; the files have them all.
    """
    from tfsasm.evaluation.tables import scores_table

    reports, metric = ablation.reports, ablation.metric
    names = [short_name(axis.setting) for axis in ablation.axes]
    widths = [
        max(map(len, (name, *axis.values)))
        for name, axis in zip(names, ablation.axes, strict=True)
    ]  # fmt: skip
    texts = {
        label: _columns(list(ablation.rows[label].values.values()), widths) for label in shown
    }
    count = len(next(iter(reports.values())).sequences)
    return scores_table(
        {texts[label]: reports[label].combined for label in shown}, label=_columns(names, widths),
        title=f"{count} sequences", columns=_COLUMNS if sum(widths) <= _NARROW else (metric,),
        more={f"gain in {metric}": {
            texts[gain.name]: gain.text
            for gain in gains if gain.metric == metric and gain.name in texts
        }},
    )  # fmt: skip


def _columns(words: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(word.ljust(width) for word, width in zip(words, widths, strict=True))


def _write(
    options: Options, ablation: Ablation, gains: Sequence[Difference], settings: Mapping[str, Any]
) -> list[Path]:
    """JSON, CSV and, for more than one row, the plot. Returns the files."""
    from tfsasm.evaluation.plots import plot_slices
    from tfsasm.evaluation.tables import reports_csv
    from tfsasm.experiments.grid import slices
    from tfsasm.files import write_text

    reports, best, rows = ablation.reports, ablation.best, ablation.rows
    content = {
        "settings": settings, "min_score": options.min_score,
        "grid": {axis.setting: axis.values for axis in ablation.axes},
        "metric": options.metric, "best": best, "against": ablation.against,
        "left_out": ablation.scored[best].left_out,
        "rows": {
            label: {"settings": rows[label].values, **report.to_json()}
            for label, report in reports.items()
        },
        "gains": [gain.to_json() for gain in gains],
    }  # fmt: skip
    place = options.output / NAME
    table, csv, plot = (place.with_suffix(suffix) for suffix in (".json", ".csv", ".png"))
    write_text(table, json.dumps(content, indent=2) + "\n")
    about = {label: rows[label].values for label in reports}
    write_text(csv, reports_csv(reports, about, "row"))
    if len(reports) == 1:
        return [table, csv]
    plot_slices(slices(ablation.axes, rows, reports, best, options.metric), plot,
                metric=options.metric)  # fmt: skip
    return [table, csv, plot]
