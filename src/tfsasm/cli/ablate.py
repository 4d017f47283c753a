"""`tfsasm ablate`: a data set under every combination of some settings.

For each of them the files are those of `evaluate`, but the network computes each frame once. A
folder of results per combination is what a run resumes from, so a grid may also grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from tfsasm.cli import FAILED, INTERRUPTED, OK
from tfsasm.cli.options import ResultsOptions, query_config, with_own_preset
from tfsasm.cli.progress import print_lines
from tfsasm.errors import InputError
from tfsasm.files import write_json, write_text
from tfsasm.settings import short_name

if TYPE_CHECKING:
    from tfsasm.detection.detectors import Detector
    from tfsasm.evaluation.metrics import Report
    from tfsasm.evaluation.significance import Difference
    from tfsasm.experiments.grid import Grid, GridPoint
    from tfsasm.experiments.run import Outcome

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
    min_score: float | None = None
    """Detections below this score are left out; by default none."""
    metric: Literal["HOTA", "DetA", "AssA", "MOTA", "IDF1"] = "HOTA"
    """The metric by which a combination is the best."""
    against: str | None = None
    """The combination that the others are compared with, such as capacity=0; by default the first
    of the grid."""


def run(
    options: Options, console: Console, errors: Console, *, detector: Detector | None = None,
    shown: int = _SHOWN,
) -> int:
    """Track what is not done yet, score all of it, and find the best combination.

    `detector` finds the boxes instead of what the options name; the table has at most `shown` rows.
    Raises `InputError`, also for a sequence that cannot be scored.
    """
    from tfsasm.cli import experiment as shared
    from tfsasm.evaluation.plots import plot_slices
    from tfsasm.evaluation.significance import METRICS, differences
    from tfsasm.evaluation.tables import reports_csv
    from tfsasm.experiments.grid import choose, combinations, parse_grid, slices
    from tfsasm.tracking.named import QuerySpec

    options, finds_objects = with_own_preset(options)
    base = query_config(options)
    grid = parse_grid(options.grid, base)
    points = combinations(grid, base)
    against = choose(options.against, points, base) if options.against else points[0]
    rows = {point.label: point for point in points}
    experiment = shared.make_experiment(
        options, {label: QuerySpec(row.method) for label, row in rows.items()},
        {label: options.output / label for label in rows}, finds_objects=finds_objects,
    )  # fmt: skip
    if without := [name for name, task in experiment.tasks.items() if task.sequence.truth is None]:
        raise InputError(
            f"no ground truth of {', '.join(without)}, so no row can be the best; choose others "
            "by --sequences"
        )
    settings = shared.settings_of(options, QuerySpec(base), experiment)
    least: dict[str, Any] = {} if options.min_score is None else {"min_score": options.min_score}
    experiment = replace(experiment, **least)
    by_label = {
        label: {**settings, **least, "method": asdict(row.method)} for label, row in rows.items()
    }
    finished = shared.resume(options, experiment, by_label, _described, console, errors, detector)
    if finished.interrupted:
        return INTERRUPTED
    scored = shared.score_trackers(options, experiment, finished.failures, errors)
    reports = {label: one.report for label, one in scored.items()}
    scores = {label: getattr(one.combined, options.metric) for label, one in reports.items()}
    best = max(scores, key=scores.__getitem__)
    left_out = scored[best].left_out
    gains = differences(reports, against.label, tuple(dict.fromkeys((*METRICS, options.metric))))

    files = [options.output / f"ablation{suffix}" for suffix in (".json", ".csv", ".png")]
    write_json(files[0], {
        "settings": settings, "min_score": options.min_score,
        "grid": grid,
        "metric": options.metric, "best": best, "against": against.label, "left_out": left_out,
        "rows": {
            label: {"settings": rows[label].values, **report.to_json()}
            for label, report in reports.items()
        },
        "gains": [gain.to_json() for gain in gains],
    })  # fmt: skip
    about = {label: rows[label].values for label in reports}
    write_text(files[1], reports_csv(reports, about, "row"))
    if len(reports) > 1:
        panels = slices(grid, scores, rows[best].values)
        plot_slices(panels, files[2], metric=options.metric)
    else:
        files.pop().unlink(missing_ok=True)  # of a larger grid

    ranked = sorted(scores, key=lambda label: -scores[label])[:shown]
    console.print(_table(options.metric, grid, {
        label: (rows[label], report) for label, report in reports.items() if label in ranked
    }, gains))  # fmt: skip
    lines = []
    if len(ranked) < len(scores):
        lines.append(f"the best {len(ranked)} of {len(scores)} rows; the files have all")
    lines.append(f"best: {best}: {options.metric} {scores[best]:.2f}")
    lines += [
        f"  {gain.metric} {gain.text} over {gain.against}, mean per sequence"
        for gain in gains if gain.name == best
    ]  # fmt: skip
    if len(scores) > 2:
        lines.append(f"the best of {len(scores)} is partly the luckiest; check it on other data")
    lines += [f"left out: {name}: {why}" for name, why in left_out.items()]
    print_lines(console, *lines, *(f"wrote {path}" for path in files))
    return FAILED if finished.failures else OK


def _described(one: Outcome) -> str:
    count = len(one.identities)
    rows = "1 row" if count == 1 else f"{count} rows"
    return f"{one.frames} frames under {rows}, {one.elapsed:.0f} s"


def _table(
    metric: str, grid: Grid, shown: Mapping[str, tuple[GridPoint, Report]],
    gains: Sequence[Difference],
) -> Table:
    """A row per combination; its values stand in columns below the names of the settings.

    Beside many settings 80 columns have room for one score; the files have them all.
    """
    from tfsasm.cli.experiment import COLUMNS
    from tfsasm.evaluation.tables import scores_table

    widths = [max(map(len, (short_name(name), *values))) for name, values in grid.items()]

    def columns(words: Iterable[str]) -> str:
        return "  ".join(word.ljust(width) for word, width in zip(words, widths, strict=True))

    texts = {label: columns(row.values.values()) for label, (row, _) in shown.items()}
    [count] = {len(report.sequences) for _, report in shown.values()}
    return scores_table(
        {texts[label]: report.combined for label, (_, report) in shown.items()},
        label=columns(map(short_name, grid)), title=f"{count} sequences",
        columns=COLUMNS if sum(widths) <= _NARROW else (metric,),
        more={f"gain in {metric}": {
            texts[gain.name]: gain.text
            for gain in gains if gain.metric == metric and gain.name in texts
        }},
    )  # fmt: skip
