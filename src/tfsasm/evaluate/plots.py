"""HOTA over its thresholds, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfsasm.errors import InputError
from tfsasm.evaluate.classes import ClassReport
from tfsasm.evaluate.scores import ALPHAS, Report, Scores
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
