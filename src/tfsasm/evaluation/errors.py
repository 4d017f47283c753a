"""False positives, misses and identity switches, box by box, by the matching of the CLEAR metrics.

TrackEval counts them; this finds which they are, by the same rule, so that the numbers agree and
a video can show them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from tfsasm.evaluation.protocols import EPS
from tfsasm.evaluation.trajectories import Trajectories, in_both, overlaps

_CONTINUED = 1000.0  # worth of keeping the track of the frame before, above any overlap

SHOWN_FOR = 12
"""Frames for which an identity switch counts as recent, since one frame passes unseen."""


@dataclass(frozen=True)
class TrackingErrors:
    """Which rows of a ground truth `[N]` and of the tracks `[M]` for it are errors."""

    missed: NDArray[np.bool_]
    """`[N]`: no track covers this person."""
    false_positive: NDArray[np.bool_]
    """`[M]`: this box covers no person."""
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
    false_positive = np.ones(len(tracks), dtype=bool)
    before = np.full(len(tracks), -1, dtype=np.int64)
    switched = np.zeros(len(tracks), dtype=bool)
    current: dict[int, int] = {}  # person -> track, in the frame before that had both
    last: dict[int, int] = {}  # person -> track, whenever that was
    for truth_rows, track_rows in in_both(truth.frames, tracks.frames):
        people = truth.ids[truth_rows]
        previous = np.array([current.get(person, -1) for person in people.tolist()])
        known = np.array([person in current for person in people.tolist()])
        overlap = overlaps(truth.ltwh[truth_rows], tracks.ltwh[track_rows])
        continued = (previous[:, None] == tracks.ids[track_rows][None]) & known[:, None]
        worth = np.where(overlap < 0.5 - EPS, 0.0, _CONTINUED * continued + overlap)
        a, b = linear_sum_assignment(-worth)
        matched = worth[a, b] > EPS
        current = {}
        pairs = zip(truth_rows[a[matched]].tolist(), track_rows[b[matched]].tolist(), strict=True)
        for row, box in pairs:
            person, track = int(truth.ids[row]), int(tracks.ids[box])
            missed[row] = false_positive[box] = False
            if last.get(person, track) != track:
                switched[box], before[box] = True, last[person]
            current[person] = last[person] = track
    return TrackingErrors(missed, false_positive, switched, before)


def errors_to_json(truth: Trajectories, tracks: Trajectories) -> dict[str, list[list[int]]]:
    """All errors, for a page: `false` as [id, frame], `switches` as [frame, id, id before], and
    `missed` as [frame, person, left, top, width, height], the box in tenths of a pixel."""
    errors = tracking_errors(truth, tracks)
    false, taken, missed = (
        np.flatnonzero(rows) for rows in (errors.false_positive, errors.switched, errors.missed)
    )
    tenths = (10 * truth.ltwh[missed]).round().astype(int)
    return {
        "false": np.stack([tracks.ids[false], tracks.frames[false]], axis=1).tolist(),
        "switches": np.stack(
            [tracks.frames[taken], tracks.ids[taken], errors.before[taken]], axis=1
        ).tolist(),
        "missed": np.column_stack([truth.frames[missed], truth.ids[missed], tenths]).tolist(),
    }


@dataclass(frozen=True)
class FrameErrors:
    """The errors of one frame, and how many there were up to it. Boxes are ltwh `[K, 4]`."""

    tracks: tuple[tuple[NDArray[np.float64], int | None], ...]
    """Boxes `[4]`: false positives with None, and tracks that lately took a person over, each with
    the id of the track before."""
    misses: NDArray[np.float64]
    all_false_positives: int
    all_misses: int
    all_switches: int


class ErrorsByFrame:
    """The errors of a sequence frame by frame, counted from the frame `first` on."""

    def __init__(self, truth: Trajectories, tracks: Trajectories, first: int = 1) -> None:
        self._truth, self._tracks, self._first = truth, tracks, first
        self._errors = tracking_errors(truth, tracks)

    def of_frame(self, number: int) -> FrameErrors:
        """The errors of the frame `number`, which is `first` or later."""
        errors, tracks, truth = self._errors, self._tracks, self._truth
        until = (tracks.frames >= self._first) & (tracks.frames <= number)
        truth_until = (truth.frames >= self._first) & (truth.frames <= number)
        here = tracks.frames == number
        recent = errors.switched & until & (tracks.frames > number - SHOWN_FOR)
        order = np.argsort(tracks.frames[recent], kind="stable")  # the latest switch counts
        taken = dict(zip(tracks.ids[recent][order].tolist(), errors.before[recent][order].tolist(),
                         strict=True))  # fmt: skip
        rows = np.flatnonzero(here & (errors.false_positive | np.isin(tracks.ids, [*taken])))
        return FrameErrors(
            tuple((tracks.ltwh[row],
                   None if errors.false_positive[row] else taken[int(tracks.ids[row])])
                  for row in rows),
            truth.ltwh[(truth.frames == number) & errors.missed],
            int((errors.false_positive & until).sum()),
            int((errors.missed & truth_until).sum()),
            int((errors.switched & until).sum()),
        )  # fmt: skip
