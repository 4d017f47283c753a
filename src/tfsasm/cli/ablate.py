"""The options of commands over whole data sets and their results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from tfsasm.cli.options import OptionalName, ResultsOptions


@dataclass(frozen=True, kw_only=True)
class Ablate(ResultsOptions):
    """Track a data set under every combination of some settings, and say which is best.

    The network sees each frame once, for all combinations. A run that was stopped or killed goes
    on when it is given again, and so does one with more values in its grid.

    Example: tfsasm ablate --root clips --grid capacity=0,5,10 min_travel=0,0.1 --output ablation
    """

    output: Path
    """Folder for a folder of result files per combination, and the tables and pictures of all:
    ablation.json, .csv and .png."""
    grid: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE,VALUE")]
    """Settings of the method and their values; a short name will do where it is the only one:
    capacity=0,5,10 for memory.capacity."""
    min_score: float = 0.0
    """Boxes below this score are not handed over."""
    metric: Literal["HOTA", "DetA", "AssA", "MOTA", "IDF1"] = "HOTA"
    """What the best combination is the best in."""
    against: OptionalName = None
    """The combination that the others are compared with, such as capacity=0; by default the first
    of the grid."""


def run(job: Ablate, console: Console, errors: Console) -> int:
    """`tfsasm ablate`."""
    from tfsasm.experiments.ablate import run_ablation

    return run_ablation(job, console, errors)
