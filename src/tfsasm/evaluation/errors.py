"""Which boxes are right: the matching behind MOTA, told box by box.

TrackEval counts misses, false boxes and identity switches; this says which they are, by the same
rule, so that the numbers agree and a picture can show them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from tfsasm.evaluation.protocols import EPS
from tfsasm.evaluation.trajectories import Trajectories, in_both, overlaps

_STAYS = 1000.0  # worth of keeping the track of the frame before, above any overlap


@dataclass(frozen=True)
class TrackingErrors:
    """What is wrong with the rows of a truth `[N]` and of the tracks `[M]` that should match it."""

    missed: NDArray[np.bool_]
    """`[N]`: no track covers this person."""
    false: NDArray[np.bool_]
    """`[M]`: nobody is covered by this box."""
    switched: NDArray[np.bool_]
    """`[M]`: the person covered had another track when last covered."""
    before: NDArray[np.int64]
    """`[M]`: the id of that other track where `switched`, else -1."""


def tracking_errors(truth: Trajectories, tracks: Trajectories) -> TrackingErrors:
    """Match the boxes of each frame at an overlap of half or more, as the CLEAR metrics do.

    A person keeps the track of the frame before while it covers them; beyond that the sum of
    overlaps decides.
    """
    missed = np.ones(len(truth), dtype=bool)
    false = np.ones(len(tracks), dtype=bool)
    before = np.full(len(tracks), -1, dtype=np.int64)
    switched = np.zeros(len(tracks), dtype=bool)
    just: dict[int, int] = {}  # person -> track, in the frame before that had both
    last: dict[int, int] = {}  # person -> track, whenever that was
    for people, boxes in in_both(truth.frames, tracks.frames):
        ids = truth.ids[people]
        names = np.array([just.get(person, -1) for person in ids.tolist()])
        known = np.array([person in just for person in ids.tolist()])
        overlap = overlaps(truth.ltwh[people], tracks.ltwh[boxes])
        stays = (names[:, None] == tracks.ids[boxes][None]) & known[:, None]
        worth = np.where(overlap < 0.5 - EPS, 0.0, _STAYS * stays + overlap)
        a, b = linear_sum_assignment(-worth)
        found = worth[a, b] > EPS
        just = {}
        for row, box in zip(people[a[found]].tolist(), boxes[b[found]].tolist(), strict=True):
            person, track = int(truth.ids[row]), int(tracks.ids[box])
            missed[row] = false[box] = False
            if last.get(person, track) != track:
                switched[box], before[box] = True, last[person]
            just[person] = last[person] = track
    return TrackingErrors(missed, false, switched, before)
