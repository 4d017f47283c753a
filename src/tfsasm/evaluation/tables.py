"""Scores as tables for terminals and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import fields

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tfsasm.evaluation.bdd100k import ClassReport
from tfsasm.evaluation.metrics import Report, Scores
from tfsasm.evaluation.significance import Difference

_COLUMNS = ("HOTA", "DetA", "AssA", "LocA", "MOTA", "IDF1", "IDSW", "Frag", "FP", "FN")

_WIDTH = 80  # of a terminal


def scores_table(
    rows: Mapping[str, Scores], *, label: str = "", title: str | None = None,
    columns: Sequence[str] = _COLUMNS, more: Mapping[str, Mapping[str, str]] | None = None,
) -> Table:
    """Scores below one another; `label` heads the column of names.

    `more` are columns to the right of the scores: heading -> name of the row -> what stands there.
    """
    others = more or {}
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(label, overflow="fold")
    for column in (*columns, *others):
        table.add_column(column, justify="right", no_wrap=True)
    for name, scores in rows.items():
        values = [getattr(scores, column) for column in columns]
        texts = [f"{v:.1f}" if isinstance(v, float) else str(v) for v in values]
        table.add_row(name, *texts, *(column.get(name, "") for column in others.values()))
    return table


def differences_table(differences: Sequence[Difference]) -> Table:
    """A row per tracker: its mean differences from a reference, each with its 95 % interval.

    Where a line would be too long for a terminal, the interval stands below the mean.
    """
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    metrics = list(dict.fromkeys(row.metric for row in differences))
    longest = max(len(row.name) for row in differences)
    below = longest + len(metrics) * (1 + max(len(row.text) for row in differences)) > _WIDTH
    heading = f"difference from {differences[0].against}"
    table.add_column(heading, overflow="fold", min_width=longest)
    for metric in metrics:
        table.add_column(metric, no_wrap=True)
    rows: dict[str, dict[str, str]] = {}
    for row in differences:
        rows.setdefault(row.name, {})[row.metric] = (
            row.text.replace(" ", "\n", 1) if below else row.text
        )
    for name, texts in rows.items():
        table.add_row(name, *(texts[metric] for metric in metrics))
    return table


def report_table(report: Report, title: str | None = None) -> Table:
    """Every sequence of a report, and the combined scores below a line; classes between them."""
    table = scores_table(named_rows(report), label="sequence", title=title)
    count = len(report.sequences)
    table.rows[count - 1].end_section = True
    if isinstance(report, ClassReport):
        table.rows[count + len(report.classes) - 1].end_section = True
    return table


def scores_csv(report: Report) -> str:
    """One line per sequence and one for all combined, after a line of names."""
    return _csv({(): report}, [])


def reports_csv(
    reports: Mapping[str, Report], about: Mapping[str, Mapping[str, object]], label: str = "tracker"
) -> str:
    """The lines of `scores_csv` for each report in turn, led by its name.

    `about` has the columns between each name and its scores: name -> column -> value, the same
    columns for all.
    """
    columns = list(next(iter(about.values()), {}))
    leads = {(name, *(about[name][c] for c in columns)): reports[name] for name in reports}
    return _csv(leads, [label, *columns])


def _csv(reports: Mapping[tuple[object, ...], Report], heading: Sequence[str]) -> str:
    names = [f.name for f in fields(Scores) if f.name != "curves"]
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow([*heading, "sequence", *names])
    for lead, report in reports.items():
        for row, scores in named_rows(report).items():
            lines.writerow([*lead, row, *(getattr(scores, name) for name in names)])
    return text.getvalue()


def named_rows(report: Report) -> dict[str, Scores]:
    """All rows of a report: sequences, classes where there are any, averages."""
    if isinstance(report, ClassReport):
        classes = {f"class {name}": scores for name, scores in report.classes.items()}
        return {
            **report.sequences, **classes,
            "class average": report.class_average, "combined": report.combined,
        }  # fmt: skip
    return {**report.sequences, "combined": report.combined}
