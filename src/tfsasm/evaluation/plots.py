"""Scores and timings as plots: .png, .pdf or .svg, written atomically."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfsasm.errors import InputError
from tfsasm.evaluation.bdd100k import ClassReport
from tfsasm.evaluation.metrics import ALPHAS, Report
from tfsasm.files import atomic_path

SUFFIXES = (".png", ".pdf", ".svg")

_PARTS = {"HOTA": "black", "DetA": "tab:blue", "AssA": "tab:red", "LocA": "tab:green"}

_NAMED = 12  # more lines than this cannot be distinguished by a legend

_PANELS = 3  # beside one another


def check_plot(path: Path | str | None) -> None:
    """Raises `InputError` for a file name without one of the `SUFFIXES`; None is no plot."""
    if path is not None and Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f"{path} is not an image file that can be written; give "
                         f"{', '.join(SUFFIXES)}")  # fmt: skip


@dataclass(frozen=True)
class Slice:
    """Scores over two settings, the others held fixed. `scores` is `[rows, columns]`."""

    across: str
    columns: tuple[str, ...]
    down: str
    rows: tuple[str, ...]
    scores: np.ndarray
    fixed: str = ""
    """What the others are held at."""


def plot_curves(report: Report, path: Path | str, title: str = "") -> None:
    """Draw the combined curves, and the HOTA of each sequence (or class) beside them.

    The best is first in the legend; more than a few are grey, without names. Raises `InputError`
    for another suffix than `SUFFIXES`.
    """
    from matplotlib import colormaps

    kind, rows = "sequences", report.sequences
    if isinstance(report, ClassReport):
        kind, rows = "classes", report.classes
    combined = report.combined
    with _figure((12, 4.4), path) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for name, part in _PARTS.items():
            label = f"{name} {getattr(combined, name):.1f}"
            width = 2.5 if name == "HOTA" else 1.5
            left.plot(ALPHAS, combined.curves[name], color=part, linewidth=width, label=label)
        left.set(title=title or "combined", ylabel="%")
        left.legend(loc="lower left", frameon=False)
        named = len(rows) <= _NAMED
        for index, name in enumerate(sorted(rows, key=lambda name: -rows[name].HOTA)):
            color = colormaps["tab20"](index) if named else "0.75"
            label = f"{name} {rows[name].HOTA:.1f}"
            if not named:
                label = "" if index else f"each of {len(rows)} {kind}"
            right.plot(ALPHAS, rows[name].curves["HOTA"], color=color, linewidth=1.2, label=label)
        label = f"combined {combined.HOTA:.1f}"
        right.plot(ALPHAS, combined.curves["HOTA"], color="black", linewidth=2.5, label=label)
        right.set_title(f"HOTA of the {kind}")
        _legend_beside(right)
        for axes in (left, right):
            axes.set(xlabel="overlap threshold α", xlim=(ALPHAS[0], ALPHAS[-1]), ylim=(0, 100))
            _plain(axes)


def plot_tradeoff(
    points: Mapping[str, tuple[float, float]], path: Path | str, title: str = "",
    metric: str = "HOTA",
) -> None:
    """Draw a score over milliseconds per frame, a named point per tracker; up and left is better.

    `points` are (milliseconds, score). Raises `InputError` for another suffix than `SUFFIXES`.
    """
    from matplotlib import colormaps

    with _figure((8, 5), path) as figure:
        axes = figure.subplots()
        ranked = sorted(points.items(), key=lambda point: -point[1][1])
        for index, (name, (milliseconds, score)) in enumerate(ranked):
            color = colormaps["tab10" if len(ranked) <= 10 else "tab20"](index)
            label = f"{name}  {score:.1f}, {milliseconds:.2g} ms"
            axes.scatter(milliseconds, score, s=70, color=color, zorder=3, label=label)
        ticks = _log_ticks([milliseconds for milliseconds, _ in points.values()])
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set(xlabel="milliseconds per frame, without the detector", ylabel=metric, title=title)
        axes.set_xlim(ticks[0], ticks[-1])
        axes.margins(y=0.12)
        _plain(axes)
        _legend_beside(axes)


def _log_ticks(values: Sequence[float]) -> list[float]:
    """1, 2, 5, 10 and so on, from below the least value to above the greatest."""
    low, high = 0.9 * max(min(values), 1e-6), 1.1 * max(*values, 1e-6)
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    marks = [base * 10.0**decade for decade in decades for base in (1, 2, 5)]
    first = max(i for i, mark in enumerate(marks) if mark <= low)
    last = min(i for i, mark in enumerate(marks) if mark >= high)
    return marks[first : last + 1]


def plot_slices(
    slices: Sequence[Slice], path: Path | str, title: str = "", metric: str = "HOTA"
) -> None:
    """Draw slices of a grid as heat maps in the same colours; the best of all is framed.

    Raises `InputError` for another suffix than `SUFFIXES`.
    """
    limits = (
        min(float(panel.scores.min()) for panel in slices),
        max(float(panel.scores.max()) for panel in slices),
    )
    across = min(_PANELS, len(slices))
    down = -(-len(slices) // across)
    width = max(4.4, 1.6 + max(0.75 * len(panel.columns) for panel in slices))
    height = 1.5 + max(0.5 * len(panel.rows) for panel in slices)
    with _figure((across * width, down * height + 0.5), path) as figure:
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes, panel in zip(panels, slices, strict=False):
            colors = _heat_map(axes, panel, limits)
        for axes in panels[len(slices):]:
            axes.set_visible(False)
        figure.colorbar(colors, ax=list(panels), label=metric, shrink=0.8)
        figure.suptitle(title)


def _heat_map(axes: Any, panel: Slice, limits: tuple[float, float]) -> Any:
    from matplotlib.patches import Rectangle

    low, high = limits
    colors = axes.imshow(panel.scores, cmap="viridis", vmin=low, vmax=high, aspect="auto")
    axes.set_xticks(range(len(panel.columns)), panel.columns)
    axes.set_yticks(range(len(panel.rows)), panel.rows)
    axes.set(xlabel=panel.across, ylabel=panel.down)
    axes.set_title(panel.fixed, fontsize="small", wrap=True)
    for (row, column), score in np.ndenumerate(panel.scores):
        color = "white" if score < (low + high) / 2 else "black"
        axes.text(column, row, f"{score:.1f}", ha="center", va="center", color=color)
        if score == high:
            axes.add_patch(Rectangle(
                (column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="red", linewidth=2.5
            ))  # fmt: skip
    return colors


def plot_stages(
    variants: Mapping[str, Mapping[str, Any]], stages: Sequence[str], path: Path | str
) -> None:
    """Draw the milliseconds of a frame, a bar per variant and a colour per stage.

    Each variant has `stages` (name -> milliseconds) and `total_ms`. Raises `InputError` for another
    suffix than `SUFFIXES`.
    """
    with _figure((9, 1.2 + 0.6 * len(variants)), path) as figure:
        axes = figure.subplots()
        for row, times in enumerate(variants.values()):
            start = 0.0
            for number, stage in enumerate(stages):
                width = times["stages"].get(stage, 0.0)
                axes.barh(row, width, left=start, color=f"C{number}", label="" if row else stage)
                start += width
            axes.text(start, row, f" {times['total_ms']:.0f} ms", va="center")
        axes.set_yticks(range(len(variants)), list(variants))
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlabel("milliseconds per frame")
        axes.spines[["top", "right"]].set_visible(False)
        _legend_beside(axes)


def plot_columns(rows: Sequence[Mapping[str, float]], path: Path | str) -> None:
    """Draw every column of the rows over the first one, a panel each.

    Raises `InputError` for another suffix than `SUFFIXES`.
    """
    across, *columns = rows[0]
    with _figure((4 * len(columns), 3.2), path) as figure:
        panels = figure.subplots(1, len(columns), squeeze=False)[0]
        for axes, name in zip(panels, columns, strict=True):
            axes.plot([row[across] for row in rows], [row[name] for row in rows], "o-")
            axes.set(xlabel=across.replace("_", " "), title=name.replace("_", " "))
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.25)


@contextmanager
def _figure(size: tuple[float, float], path: Path | str) -> Iterator[Any]:
    """An empty figure, which goes to `path` when the block ends."""
    check_plot(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure  # not pyplot: no window, whatever the backend

    # Names are others', and a dollar in them is no formula.
    with rc_context({"text.parse_math": False}), atomic_path(path) as partial:
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        figure.savefig(partial, dpi=150)


def _plain(axes: Any) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _legend_beside(axes: Any) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize="small")
