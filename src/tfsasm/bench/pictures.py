"""What was measured, as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfsasm.bench.stages import STAGES
from tfsasm.files import atomic_path


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
