"""Scores of several classes, as TrackEval's `BDD100K` has them.

Each class is scored for itself. Scores of all classes together depend on how they are weighed:
`class_average` counts a class with ten boxes as much as one with ten thousand (the benchmark ranks
by it), `combined` weighs by boxes, as it does for sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfsasm.datasets.bdd100k import CATEGORIES
from tfsasm.evaluation.bdd100k import Labels
from tfsasm.evaluation.metrics import (
    Counts,
    Report,
    Scores,
    check_sides,
    measure,
    merged,
    scores_of,
)
from tfsasm.evaluation.protocols import EPS, matched
from tfsasm.evaluation.trajectories import Trajectories, in_both, overlaps
from tfsasm.tables import Doubles


@dataclass(frozen=True)
class ClassReport(Report):
    """Scores of each sequence and each class.

    A row of `sequences` is all classes of it, weighed by boxes, and so is `combined`.
    `class_average` is the mean over `classes`, where a class without any box scores 0;
    its counts are sums.
    """

    classes: dict[str, Scores]
    class_average: Scores

    def to_json(self) -> dict[str, Any]:
        """As of `Report`; also `class_average`, `detection_average` (= combined) and `classes`."""
        return {
            **super().to_json(),
            "class_average": self.class_average.to_json(),
            "detection_average": self.combined.to_json(),
            "classes": {name: scores.to_json() for name, scores in self.classes.items()},
        }


def score_classes(
    truths: Mapping[str, Labels],
    results: Mapping[str, Labels],
    frames: Mapping[str, int] | None = None,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> ClassReport:
    """Score each class of `CATEGORIES` over several sequences, which both sides must have.

    A result that finds nothing and lies for more than half in an ignored region is taken out.
    Raises `InputError` as `score` does; an id may occur twice in a frame in different classes.
    """
    check_sides(truths, results)
    lengths = frames or {}
    measured: dict[str, dict[str, Counts]] = {}
    for name, truth in truths.items():
        end = lengths.get(name)
        measured[name] = {
            kind: measure(*_judged(truth, results[name], kind), end, f"{name}, {kind}")
            for kind in CATEGORIES
        }
        progress(name)
    classes = {
        kind: merged({name: counts[kind] for name, counts in measured.items()})
        for kind in CATEGORIES
    }
    by_boxes = "combine_classes_det_averaged"
    return ClassReport(
        sequences={name: scores_of(merged(each, by_boxes)) for name, each in measured.items()},
        combined=scores_of(merged(classes, by_boxes)),
        classes={kind: scores_of(counts) for kind, counts in classes.items()},
        class_average=scores_of(merged(classes, "combine_classes_class_averaged")),
    )


def _judged(truth: Labels, result: Labels, kind: str) -> tuple[Trajectories, Trajectories]:
    """Truth and tracks of one class, without the tracks that are to be ignored."""
    real = truth.boxes[(truth.classes == kind) & ~truth.ignored]
    tracks = result.boxes[result.classes == kind]
    regions = truth.boxes[truth.ignored]
    useless = np.ones(len(tracks), dtype=bool)
    for real_rows, track_rows in in_both(real.frames, tracks.frames):
        _, found = matched(overlaps(real.ltwh[real_rows], tracks.ltwh[track_rows]))
        useless[track_rows[found]] = False
    inside = np.zeros(len(tracks), dtype=bool)
    for region_rows, track_rows in in_both(regions.frames, tracks.frames):
        covered = _covered(tracks.ltwh[track_rows], regions.ltwh[region_rows])
        inside[track_rows] = (covered > 0.5 + EPS).any(axis=1)
    return real, tracks[~(useless & inside)]


def _covered(a: Doubles, b: Doubles) -> Doubles:
    """The share `[A, B]` of each ltwh box in `a` that lies in each box of `b`; 0 without area."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    area = np.broadcast_to(a[:, 2:].prod(axis=1)[:, None], shared.shape)
    return np.divide(shared, area, out=np.zeros_like(shared), where=area > EPS)
