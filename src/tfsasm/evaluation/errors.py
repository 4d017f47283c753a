"""False positives, misses and identity switches, box by box, by the matching of the CLEAR metrics.

TrackEval counts them; this finds which they are, by the same rule, so that the numbers agree and
a video can show them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from tfsasm.evaluation.protocols import EPS
from tfsasm.evaluation.trajectories import Trajectories, in_both, overlaps
from tfsasm.tables import Doubles, Flags, Integers

_CONTINUED = 1000.0  # worth of keeping the track of the frame before, above any overlap

SHOWN_FOR = 12
"""Frames for which an identity switch counts as recent, since one frame passes unseen."""


@dataclass(frozen=True)
class FrameErrors:
    """The errors of one frame, and how many there were up to it. Boxes are ltwh `[K, 4]`."""

    tracks: tuple[tuple[Doubles, int | None], ...]
    """Boxes `[4]`: false positives with None, and tracks that lately took a person over, each with
    the id of the track before."""
    misses: Doubles
    all_false_positives: int
    all_misses: int
    all_switches: int


@dataclass(frozen=True)
class TrackingErrors:
    """Which rows of a ground truth `[N]` and of the tracks `[M]` for it are errors."""

    truth: Trajectories
    tracks: Trajectories
    missed: Flags
    """`[N]`: no track covers this person."""
    false_positive: Flags
    """`[M]`: this box covers no person."""
    switched: Flags
    """`[M]`: the person covered had another track when last covered."""
    before: Integers
    """`[M]`: the id of that other track where `switched`, else -1."""

    def of_frame(self, number: int, first: int = 1) -> FrameErrors:
        """The errors of the frame `number`, which is `first` or later, counted from `first` on."""
        tracks, truth = self.tracks, self.truth
        until = (tracks.frames >= first) & (tracks.frames <= number)
        truth_until = (truth.frames >= first) & (truth.frames <= number)
        recent = np.flatnonzero(self.switched & until & (tracks.frames > number - SHOWN_FOR))
        recent = recent[np.argsort(tracks.frames[recent], kind="stable")]  # the latest one counts
        taken = dict(zip(tracks.ids[recent].tolist(), self.before[recent].tolist(), strict=True))
        false = self.false_positive
        wrong = (tracks.frames == number) & (false | np.isin(tracks.ids, [*taken]))
        return FrameErrors(
            tuple(
                (tracks.ltwh[row], None if false[row] else taken[int(tracks.ids[row])])
                for row in np.flatnonzero(wrong)
            ),
            truth.ltwh[(truth.frames == number) & self.missed],
            int((false & until).sum()),
            int((self.missed & truth_until).sum()),
            int((self.switched & until).sum()),
        )

    def to_json(self) -> dict[str, list[list[int]]]:
        """All errors, for a page: `false` as [id, frame], `switches` as [frame, id, id before], and
        `missed` as [frame, person, left, top, width, height], the box in tenths of a pixel."""
        tracks, false, taken = self.tracks, self.false_positive, self.switched
        lost = self.truth[self.missed]
        tenths = (10 * lost.ltwh).round().astype(int)
        return {
            "false": np.column_stack([tracks.ids, tracks.frames])[false].tolist(),
            "switches": np.column_stack([tracks.frames, tracks.ids, self.before])[taken].tolist(),
            "missed": np.column_stack([lost.frames, lost.ids, tenths]).tolist(),
        }


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
    return TrackingErrors(truth, tracks, missed, false_positive, switched, before)
