"""Settings chosen on some sequences and reported on others: leave one group out.

A group is a fold of DanceTrack or of MOT17, every `FOLDS`-th sequence. For each the candidate with
the best mean HOTA on all other folds is taken (both data sets count alike), and the tracks of that
candidate are the ones that are scored. So no sequence has a part in the choice of its own settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from benchmarks.quality.cells import Cells
from benchmarks.quality.clips import CONDITIONS
from benchmarks.quality.runs import report

from tfsasm.evaluation.metrics import Report

FOLDS = 5
SETS = ("DanceTrack", "MOT17")


@dataclass(frozen=True)
class Choice:
    """What was chosen for each fold, and how the chosen did where they had no part in it."""

    chosen: dict[str, str]
    """Fold -> settings."""
    reports: dict[str, Report]
    """Data set -> scores of all its sequences, each tracked with its own fold's choice."""


def leave_one_group_out(cells: Cells, candidates: Sequence[str]) -> Choice:
    """Choose among `candidates`, settings of motion alone."""
    trackers = [f"motion {settings}".strip() for settings in candidates]
    scores = {
        group: np.array([
            [row.HOTA for row in cells.report(group, "as it is", tracker).sequences.values()]
            for tracker in trackers
        ])
        for group in SETS
    }  # fmt: skip
    chosen: dict[str, str] = {}
    tracks: dict[str, dict[str, object]] = {group: {} for group in SETS}
    for held in SETS:
        clips = cells.groups[held]
        for fold in range(FOLDS):
            means = [
                table[:, [i for i in range(table.shape[1]) if group != held or i % FOLDS != fold]]
                .mean(axis=1)
                for group, table in scores.items()
            ]  # fmt: skip
            best = trackers[int(np.mean(means, axis=0).argmax())]
            chosen[f"{held} {fold + 1}"] = best
            made = cells.tracks(held, "as it is", best)
            tracks[held] |= {clip.name: made[clip.name] for clip in clips[fold::FOLDS]}
    as_it_is = CONDITIONS["as it is"]
    return Choice(chosen, {g: report(cells.groups[g], as_it_is, tracks[g]) for g in SETS})
