"""HOTA over its thresholds, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfsasm.errors import InputError
from tfsasm.evaluation.classes import ClassReport
from tfsasm.evaluation.metrics import ALPHAS, Report, Scores
from tfsasm.experiments.speed.stages import STAGES
from tfsasm.files import atomic_path

SUFFIXES = (".png", ".pdf", ".svg")

_PARTS = {"HOTA": "black", "DetA": "tab:blue", "AssA": "tab:red", "LocA": "tab:green"}

_NAMED = 12  # more lines than this cannot be told apart by a legend


def check_picture(path: Path) -> None:
    """Raises `InputError` for a file name that is not a picture's."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path} is not a picture that can be written; give {', '.join(SUFFIXES)}")


def plot_curves(report: Report, path: Path | str, title: str = "") -> None:
    """Draw the combined curves, and the HOTA of each sequence (or class) beside them.

    Writes a .png, .pdf or .svg, atomically. Raises `InputError` for another suffix.
    """
    check_picture(Path(path))
    from matplotlib.figure import Figure  # not pyplot: no window, whatever the backend

    rows = report.classes if isinstance(report, ClassReport) else report.sequences
    kind = "classes" if isinstance(report, ClassReport) else "sequences"
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for name, color in _PARTS.items():
        label = f"{name} {getattr(report.combined, name):.1f}"
        width = 2.5 if name == "HOTA" else 1.5
        _line(left, report.combined, name, color=color, linewidth=width, label=label)
    left.set_title(title or "combined")
    left.set_ylabel("%")
    left.legend(loc="lower left", frameon=False)
    _each(right, rows, report.combined, kind)
    right.set_title(f"HOTA of the {kind}")
    for axes in (left, right):
        axes.set(xlabel="overlap threshold α", xlim=(ALPHAS[0], ALPHAS[-1]), ylim=(0, 100))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=150)


def _each(axes: Any, rows: dict[str, Scores], combined: Scores, kind: str) -> None:
    """A thin line per row, best first in the legend; more than a few are grey, without names."""
    from matplotlib import colormaps

    ranked = sorted(rows.items(), key=lambda row: -row[1].HOTA)
    named = len(ranked) <= _NAMED
    for index, (name, scores) in enumerate(ranked):
        color = colormaps["tab20"](index) if named else "0.75"
        label = f"{name} {scores.HOTA:.1f}"
        if not named:
            label = "" if index else f"each of {len(ranked)} {kind}"
        _line(axes, scores, "HOTA", color=color, linewidth=1.2, label=label)
    label = f"combined {combined.HOTA:.1f}"
    _line(axes, combined, "HOTA", color="black", linewidth=2.5, label=label)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize="small")


def _line(axes: Any, scores: Scores, name: str, **style: Any) -> None:
    axes.plot(ALPHAS, scores.curves[name], **style)

_COLUMNS = 3  # panels beside one another


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


def plot_tradeoff(
    points: Mapping[str, tuple[float, float]], path: Path | str, title: str = "",
    metric: str = "HOTA",
) -> None:
    """Draw a score over milliseconds per frame, a named point per tracker; up and left is better.

    `points` are (milliseconds, score). Writes a .png, .pdf or .svg, atomically. Raises `InputError`
    for another suffix.
    """
    check_picture(Path(path))
    from matplotlib import colormaps
    from matplotlib.figure import Figure  # not pyplot: no window, whatever the backend

    figure = Figure(figsize=(8, 5), layout="constrained")
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
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize="small")
    _save(figure, path)


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

    Writes a .png, .pdf or .svg, atomically. Raises `InputError` for another suffix.
    """
    check_picture(Path(path))
    from matplotlib.figure import Figure

    best = max(float(one.scores.max()) for one in slices)
    limits = min(float(one.scores.min()) for one in slices), best
    across = min(_COLUMNS, len(slices))
    down = -(-len(slices) // across)
    width = 1.6 + max(0.75 * len(one.columns) for one in slices)
    height = 1.5 + max(0.5 * len(one.rows) for one in slices)
    figure = Figure(figsize=(across * max(width, 4.4), down * height + 0.5), layout="constrained")
    panels = np.atleast_1d(figure.subplots(down, across)).ravel()
    for axes, one in zip(panels, slices, strict=False):
        picture = _heat_map(axes, one, limits)
    for axes in panels[len(slices):]:
        axes.set_visible(False)
    figure.colorbar(picture, ax=list(panels), label=metric, shrink=0.8)
    figure.suptitle(title)
    _save(figure, path)


def _heat_map(axes: Any, one: Slice, limits: tuple[float, float]) -> Any:
    from matplotlib.patches import Rectangle

    picture = axes.imshow(one.scores, cmap="viridis", vmin=limits[0], vmax=limits[1], aspect="auto")
    axes.set_xticks(range(len(one.columns)), one.columns)
    axes.set_yticks(range(len(one.rows)), one.rows)
    axes.set(xlabel=one.across, ylabel=one.down)
    axes.set_title(one.fixed, fontsize="small", wrap=True)
    middle = sum(limits) / 2
    for (row, column), score in np.ndenumerate(one.scores):
        color = "white" if score < middle else "black"
        axes.text(column, row, f"{score:.1f}", ha="center", va="center", color=color)
        if score == limits[1]:
            axes.add_patch(Rectangle(
                (column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="red", linewidth=2.5
            ))  # fmt: skip
    return picture


def _save(figure: Any, path: Path | str) -> None:
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=150)


def draw_stages(told: dict[str, Any], path: Path) -> None:
    """Milliseconds of a frame, a bar per variant and a colour per stage. Writes atomically."""
    from matplotlib.figure import Figure  # not pyplot: no window, whatever the backend

    variants = told["variants"]
    figure = Figure(figsize=(9, 1.2 + 0.6 * len(variants)), layout="constrained")
    axes = figure.subplots()
    for row, one in enumerate(variants.values()):
        start = 0.0
        for number, stage in enumerate(STAGES):
            width = one["stages"].get(stage, 0.0)
            axes.barh(row, width, left=start, color=f"C{number}", label="" if row else stage)
            start += width
        axes.text(start, row, f" {one['total_ms']:.0f} ms", va="center")
    axes.set_yticks(range(len(variants)), list(variants))
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("milliseconds per frame")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize="small")
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=150)


def draw_curves(told: dict[str, Any], path: Path) -> None:
    """Every column of the rows over the first one, a panel each. Writes atomically."""
    from matplotlib.figure import Figure

    across, *columns = told["rows"][0]
    figure = Figure(figsize=(4 * len(columns), 3.2), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        axes.plot([row[across] for row in told["rows"]], [row[name] for row in told["rows"]], "o-")
        axes.set(xlabel=across.replace("_", " "), title=name.replace("_", " "))
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=150)
