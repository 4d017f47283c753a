"""Settings chosen on some sequences and reported on others.

A group is a fold of DanceTrack or of MOT17, every `FOLDS`-th sequence, or the whole of one of the
two. For each the candidate with the best mean HOTA on all others is taken (both data sets count
alike, and so do the boxes as they are and with 30 % dropped), and the tracks of that candidate are
the ones that are scored. So no sequence has a part in the choice of its own settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from benchmarks.quality.cells import Cells
from benchmarks.quality.clips import CONDITIONS
from benchmarks.quality.runs import report

from tfsasm.evaluation.metrics import Report

FOLDS = 5
SETS = ("DanceTrack", "MOT17")
ON = ("as it is", "30 % dropped")


@dataclass(frozen=True)
class Choice:
    """What was chosen for each group, and how the chosen did where they had no part in it."""

    chosen: dict[str, str]
    """Group -> tracker."""
    reports: dict[tuple[str, str], dict[str, Report]]
    """Data set and condition -> how it was held out -> scores of all its sequences."""


def trackers(candidates: Sequence[str]) -> list[str]:
    """The candidates, settings of motion alone, as trackers."""
    return [f"motion {settings}".strip() for settings in candidates]


def leave_one_group_out(cells: Cells, candidates: Sequence[str]) -> Choice:
    """Choose among `candidates`, settings of motion alone."""
    among = trackers(candidates)
    scores = {
        group: np.mean([
            [[row.HOTA for row in cells.report(group, condition, tracker).sequences.values()]
             for tracker in among]
            for condition in ON
        ], axis=0)
        for group in SETS
    }  # fmt: skip
    chosen, reports = {}, {}
    for group in SETS:
        by_fold = chosen_by_fold(scores, group)
        elsewhere = chosen_elsewhere(scores, group)
        chosen |= {f"{group} {i + 1} of {FOLDS}": among[k] for i, k in enumerate(by_fold)}
        chosen[f"{group}, all of it"] = among[elsewhere]
        for condition in ON:
            made = [cells.tracks(group, condition, among[k]) for k in by_fold]
            clips = cells.groups[group]
            tracks = {c.name: made[i % FOLDS][c.name] for i, c in enumerate(clips)}
            reports[group, condition] = {
                "chosen without the fold": report(clips, CONDITIONS[condition], tracks),
                "chosen without the set": cells.report(group, condition, among[elsewhere]),
            }
    return Choice(chosen, reports)


def chosen_by_fold(scores: Mapping[str, np.ndarray], held: str) -> list[int]:
    """The best candidate for each fold of the set `held`, by all sequences but the fold's.

    `scores` are HOTA `[K, N]` of K candidates on the N sequences of each set.
    """
    return [
        _best([np.delete(table, np.s_[fold::FOLDS], axis=1) if group == held else table
               for group, table in scores.items()])
        for fold in range(FOLDS)
    ]  # fmt: skip


def chosen_elsewhere(scores: Mapping[str, np.ndarray], held: str) -> int:
    """The best candidate by the sets that are not `held`."""
    return _best([table for group, table in scores.items() if group != held])


def _best(tables: Sequence[np.ndarray]) -> int:
    return int(np.mean([table.mean(axis=1) for table in tables], axis=0).argmax())
