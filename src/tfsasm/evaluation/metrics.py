"""TrackEval's metrics on boxes in memory, of one sequence and of several combined."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from trackeval.metrics import CLEAR, HOTA, Identity

from tfsasm.errors import InputError
from tfsasm.evaluation.trajectories import Trajectories, check, last_frame, overlaps
from tfsasm.tables import Doubles, Integers

ALPHAS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""The overlap thresholds that HOTA, DetA, AssA and LocA are averaged over."""

Counts = dict[str, dict[str, Any]]
"""By the name of the metric, what TrackEval counted."""

_METRICS = {
    "HOTA": HOTA(), "CLEAR": CLEAR({"PRINT_CONFIG": False}),
    "Identity": Identity({"PRINT_CONFIG": False}),
}  # fmt: skip
"""They hold no state of a sequence."""

_CURVES = ("HOTA", "DetA", "AssA", "LocA", "DetRe", "DetPr", "AssRe", "AssPr")


@dataclass(frozen=True)
class Scores:
    """Scores of one sequence, or of several combined.

    Accuracies and rates are percentages; `IDSW`, `Frag`, `FP` and `FN` are counts (at an overlap of
    0.5). HOTA and what it is made of are means over `ALPHAS`; `curves` keeps their 19 values. As
    TrackEval has it, a side without any box scores 0, but `LocA` 100.
    """

    HOTA: float
    DetA: float
    AssA: float
    LocA: float
    DetRe: float
    DetPr: float
    AssRe: float
    AssPr: float
    MOTA: float
    IDF1: float
    IDSW: int
    Frag: int
    FP: int
    FN: int
    curves: Mapping[str, tuple[float, ...]] = field(repr=False)

    def to_json(self) -> dict[str, float]:
        """The scores by name, without the curves."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "curves"}


@dataclass(frozen=True)
class Report:
    """Scores of each sequence, and of all of them together.

    `combined` weighs as TrackEval does: a long sequence counts for more than a short one, so it is
    not the mean of the rows.
    """

    sequences: dict[str, Scores]
    combined: Scores

    def to_json(self) -> dict[str, Any]:
        """`{"combined": {...}, "sequences": {name: {...}}}`, ready for `json.dump`."""
        return {
            "combined": self.combined.to_json(),
            "sequences": {name: scores.to_json() for name, scores in self.sequences.items()},
        }


def score(
    truths: Mapping[str, Trajectories],
    results: Mapping[str, Trajectories],
    frames: Mapping[str, int] | None = None,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Score the results of several sequences, named alike on both sides.

    `frames` gives the length of the sequences whose length is known. `progress` gets the name
    of each sequence when it is done. Raises `InputError` for a sequence that one side lacks (a
    sequence without any track is an empty table, not a missing one), and whatever
    `score_sequence` raises.
    """
    check_sides(truths, results)
    lengths = frames or {}
    measured = {}
    for name, truth in truths.items():
        measured[name] = measure(truth, results[name], lengths.get(name), name)
        progress(name)
    return Report(
        sequences={name: scores_of(counts) for name, counts in measured.items()},
        combined=scores_of(merged(measured)),
    )


def check_sides(truths: Mapping[str, Any], results: Mapping[str, Any]) -> None:
    """Raises `InputError` where there is no sequence, or only one side has one."""
    if not truths:
        raise InputError("there is no sequence to score")
    if missing := sorted(truths.keys() - results.keys()):
        raise InputError(f"no result for {', '.join(missing)}")
    if surplus := sorted(results.keys() - truths.keys()):
        raise InputError(f"no ground truth for {', '.join(surplus)}")


def score_sequence(
    truth: Trajectories, tracks: Trajectories, frames: int | None = None, name: str = "sequence"
) -> Scores:
    """Score the tracks of one sequence.

    `frames` is the length of the sequence; without it the last frame with a box is the end.
    `name` is what errors call the sequence. Raises `InputError` for a frame number outside the
    sequence, an id twice in one frame, and a box that is not finite.
    """
    return scores_of(measure(truth, tracks, frames, name))


def measure(truth: Trajectories, tracks: Trajectories, frames: int | None, name: str) -> Counts:
    """What TrackEval counts in one sequence. Raises as `score_sequence` does."""
    end = last_frame(truth, tracks) if frames is None else frames
    check(truth, end, f"{name}: ground truth")
    check(tracks, end, f"{name}: result")
    truth_ids, truth_boxes, truth_count = _by_frame(truth, end)
    track_ids, track_boxes, track_count = _by_frame(tracks, end)
    data = {  # what TrackEval's metrics take: ids 0..K-1 and overlaps, per frame
        "num_timesteps": end, "gt_ids": truth_ids, "tracker_ids": track_ids,
        "similarity_scores": list(map(overlaps, truth_boxes, track_boxes)),
        "num_gt_dets": len(truth), "num_tracker_dets": len(tracks),
        "num_gt_ids": truth_count, "num_tracker_ids": track_count,
    }  # fmt: skip
    return {key: metric.eval_sequence(data) for key, metric in _METRICS.items()}


def merged(measured: Mapping[str, Counts], way: str = "combine_sequences") -> Counts:
    """Several sequences or classes as one; `way` is the method of TrackEval's metrics that merges.
    """
    return {
        key: getattr(metric, way)({name: counts[key] for name, counts in measured.items()})
        for key, metric in _METRICS.items()
    }


def scores_of(measured: Counts) -> Scores:
    """The scores in TrackEval's counts."""
    hota, clear, identity = measured["HOTA"], measured["CLEAR"], measured["Identity"]
    return Scores(
        **{name: 100 * float(np.mean(hota[name])) for name in _CURVES},
        MOTA=100 * float(clear["MOTA"]),
        IDF1=100 * float(identity["IDF1"]),
        IDSW=int(clear["IDSW"]),
        Frag=int(clear["Frag"]),
        FP=int(clear["CLR_FP"]),
        FN=int(clear["CLR_FN"]),
        curves={name: tuple(100 * float(value) for value in hota[name]) for name in _CURVES},
    )


def _by_frame(table: Trajectories, frames: int) -> tuple[list[Integers], list[Doubles], int]:
    """Ids as `0..K-1` and boxes, a list entry per frame, and K.

    Rows of a frame keep their order: it decides which of two equal assignments is found.
    """
    known, ids = np.unique(table.ids, return_inverse=True)
    order = np.argsort(table.frames, kind="stable")
    cuts = np.searchsorted(table.frames[order], np.arange(2, frames + 1))
    if frames == 0:
        return [], [], 0
    return np.split(ids[order], cuts), np.split(table.ltwh[order], cuts), len(known)
