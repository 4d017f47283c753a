"""All tables of docs/results.md that say how good the appearance tracker is, in one command.

    python -m benchmarks.quality all --data.root DATA --data.video vtest.avi \
        --data.weights osnet.onnx --data.detections boxes [--data.synthetic held9001 held9002] \
        [--data.results NAME DIR]

`prepare` writes the boxes that the others read. What was measured before, with the same code, is
taken from the cache; so a stopped run goes on where it was.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import tyro
from benchmarks.quality.cells import Cells, Data, work
from benchmarks.quality.choose import ON, SETS, leave_one_group_out, trackers
from benchmarks.quality.memories import WORLDS, in_world
from rich.console import Console
from rich.table import Table

from tfsasm.evaluation.significance import differences

OURS = ("motion", "hist", "osnet")
PEERS = ("botsort", "cbiou", "ocsort", "bytetrack", "sort")
BOXES_ONLY = ("DanceTrack", "MOT17")
REAL = ("PETS", "PETS, pan", "TUD")
HARDER = ("every 3rd frame", "10 % dropped", "30 % dropped", "5 % jitter")
TRUE_BOXES = ("true boxes", *(f"true boxes, 4 % jitter {seed}" for seed in range(3)))
CANDIDATES = (
    "", "high_score=0.6", "max_lost_frames=60", "buffer=0.2", "buffer=0", "gate=0.1",
    "low_gate=0.3", "score_noise=4",
)  # fmt: skip
"""Settings that `choose` chooses among."""

console = Console(width=160)
ForData = Annotated[Data, tyro.conf.arg(name="data")]


def prepare(data: ForData, detector_weights: Path | None = None) -> None:
    """Detect people with YOLOX-nano in the clips that have pictures, into `data.detections`.

    Args:
        data: Where everything is.
        detector_weights: Another file than the one in the package.
    """
    weights = f"--detector-weights {detector_weights} " if detector_weights else ""
    campus = data.root / "MOT15" / "train" / "TUD-Campus" / "img1"
    for name, source in (("PETS09-S2L1", data.video), ("TUD-Campus", campus)):
        command = (
            f"detect --detector yolox-nano --score 0.05 --source {source} {weights}"
            f"--output {data.detections / name}.txt"
        )
        subprocess.run([sys.executable, "-m", "tfsasm", *command.split()], check=True)


def compare(data: ForData, settings: tuple[str, ...] = ()) -> None:
    """Ours beside peers on every set, as it is and degraded.

    Args:
        data: Where everything is.
        settings: More trackers of ours, such as `"motion buffer=0.2"`.
    """
    cells, peers = Cells(data), (*data.results, *PEERS)
    ours = ("motion", *(text for text in settings if text.startswith("motion")))
    synthetic = [group for group in cells.groups if group not in (*BOXES_ONLY, *REAL)]
    for condition in ("as it is", *HARDER):
        show(cells, BOXES_ONLY, condition, (*ours, *peers))
        show(cells, [*REAL, *synthetic], condition, (*OURS, *settings, *peers))
    for condition in TRUE_BOXES:
        show(cells, ("PETS", "TUD"), condition, ("motion", "hist", *settings))


def choose(data: ForData, settings: tuple[str, ...] = CANDIDATES) -> None:
    """Choose settings by leaving one group out, and report on what was left out, beside peers."""
    cells, peers = Cells(data), (*data.results, *PEERS)
    shown = ("motion", *peers)
    cells.make(cell for cell in product(SETS, ON, (*trackers(settings), *shown)))
    choice = leave_one_group_out(cells, settings)
    table = Table("held out", "chosen without it", title="Leave one group out")
    for group, tracker in choice.chosen.items():
        table.add_row(group, tracker)
    console.print(table)
    for (group, condition), reports in choice.reports.items():
        others = {
            "defaults" if name == "motion" else name: cells.report(group, condition, name)
            for name in shown if cells.has(group, condition, name)
        }  # fmt: skip
        console.print(_table(f"{group}, {condition}, held out", {**reports, **others}))


def memory(data: ForData) -> None:
    """Memories on simulated looks, over DanceTrack's motion and boxes."""
    for name, reports in zip(WORLDS, work(in_world, list(WORLDS), data), strict=True):
        console.print(_table(f"Simulated looks: {name}", reports))


def everything(data: ForData) -> None:
    """All of it."""
    began = time.monotonic()
    compare(data)
    choose(data)
    memory(data)
    console.print(f"All of it took {(time.monotonic() - began) / 60:.1f} minutes.")


def show(cells: Cells, groups: Iterable[str], condition: str, trackers: Sequence[str]) -> None:
    """A table for each group: a row per tracker, with its difference to the first."""
    groups = list(groups)
    cells.make(product(groups, [condition], trackers))
    for group in groups:
        reports = {
            name: cells.report(group, condition, name)
            for name in trackers if cells.has(group, condition, name)
        }  # fmt: skip
        console.print(_table(f"{group}, {condition}", reports))


def row(report: Any) -> str:
    """HOTA, AssA, IDF1 and identity switches of all sequences together."""
    total = report.combined
    return f"{total.HOTA:.1f} / {total.AssA:.1f} / {total.IDF1:.1f}, {total.IDSW} switches"


def _table(title: str, reports: Mapping[str, Any]) -> Table:
    """A row per report, with its difference to the first one."""
    base = next(iter(reports))
    table = Table("tracker", "HOTA / AssA / IDF1", f"HOTA against {base}", title=title)
    gains = {gain.name: gain.text for gain in differences(reports, base, ("HOTA",))}
    for name, report in reports.items():
        table.add_row(name, row(report), gains.get(name, ""))
    return table


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(
        {"all": everything, "prepare": prepare, "compare": compare, "choose": choose,
         "memory": memory}, description=__doc__,
    )  # fmt: skip
