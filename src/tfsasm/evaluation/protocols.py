"""The benchmarks' rules: which rows of a ground-truth file count, and which results are exempt.

Every rule is what TrackEval's `MotChallenge2DBox` does for that benchmark. DanceTrack and SportsMOT
are scored with that class as it is for MOT17; their files hold nothing but people who count, so
there the rule changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from tfsasm.datasets.mot_folders import dataset_of
from tfsasm.errors import InputError
from tfsasm.evaluation.trajectories import Trajectories, in_both, overlaps
from tfsasm.motchallenge import TrackRows

EPS = float(np.finfo("float").eps)

PEDESTRIAN = 1

CLASSES = range(1, 14)
"""What the eighth column of MOT16 and later may hold."""

_EXEMPT = frozenset({2, 7, 8, 12})  # on a vehicle, static, distractor, reflection


@dataclass(frozen=True)
class Protocol:
    """How a benchmark reads its ground truth.

    `classes` says whether the eighth column is a class: "yes", "no" (MOT15 has coordinates
    there), or "maybe": it is, when all its values could be one. Results that cover a row of a
    class in `exempt` are taken out before scoring, neither right nor wrong.
    """

    name: str
    classes: Literal["yes", "no", "maybe"] = "yes"
    exempt: frozenset[int] = _EXEMPT
    counted: tuple[int, ...] = ()
    """The classes that count, of the result too, where they are chosen; else pedestrians alone."""


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("dancetrack"),
        Protocol("mot15", "no", frozenset()),
        Protocol("mot16"),
        Protocol("mot17"),
        Protocol("mot20", exempt=_EXEMPT | {6}),  # also vehicles
        Protocol("sportsmot"),
        Protocol("mot", "maybe", frozenset()),
    )
}
"""By the name of the data set; `mot` is any folder of MOT files, with nothing exempt."""


def guess_dataset(names: Iterable[str]) -> str | None:
    """The data set that all sequence names belong to, None when they are of none or of several."""
    kinds = {dataset_of(name) for name in names}
    return kinds.pop() if len(kinds) == 1 else None


def apply_protocol(
    protocol: Protocol, truth: TrackRows, result: TrackRows, name: str
) -> tuple[Trajectories, Trajectories]:
    """The truth to be found and the tracks that are judged by it.

    `name` is what errors call the sequence. Raises `InputError` for a class that the benchmark
    does not know, and for a result of another class than pedestrian.
    """
    tracks = trajectories(result)
    if protocol.counted:
        chosen = np.isin(result.label, protocol.counted) | (result.label < 1)
        return trajectories(truth)[counted(truth, protocol)], tracks[chosen]
    if protocol.classes != "maybe" and (result.label > PEDESTRIAN).any():
        bad = np.flatnonzero(result.label > PEDESTRIAN)[0]
        raise InputError(
            f"{name}: result has class {result.label[bad]:g} in frame {result.frame[bad]}; "
            f"{protocol.name} scores pedestrians, written as 1 or -1 in the eighth column"
        )
    if protocol.classes == "yes":
        _check_classes(protocol, truth, name)
        exempt = np.isin(np.trunc(truth.label), [*protocol.exempt])
        tracks = tracks[~_covers(truth, exempt, tracks)]
    return trajectories(truth)[counted(truth, protocol)], tracks


def counted(truth: TrackRows, protocol: Protocol) -> NDArray[np.bool_]:
    """Which rows `[N]` of a ground-truth file a tracker must find.

    Those with a mark, and of the class of pedestrians where there are classes. TrackEval reads
    mark and class as whole numbers, cutting what follows the point.
    """
    marked = np.trunc(truth.confidence) != 0
    label = truth.label
    if protocol.counted:
        return marked & np.isin(np.trunc(label), protocol.counted)
    if protocol.classes == "maybe":
        marked = truth.confidence != 0
        return marked & (label == PEDESTRIAN) if _has_classes(label) else marked
    return marked if protocol.classes == "no" else marked & (np.trunc(label) == PEDESTRIAN)


def _has_classes(label: NDArray[np.float64]) -> bool:
    """Whether all values of an eighth column could be classes."""
    return bool(((label >= 1) & (label <= 13) & (label == np.floor(label))).all())


def uncounted(truth: TrackRows, result: TrackRows, protocol: Protocol) -> list[str]:
    """What to say of marked rows that do not count for their class alone, and of rows of the result
    that are of another class than those that do.

    A benchmark's own classes are its rules; of other files one cannot know.
    """
    if protocol.classes != "maybe" or protocol.counted or not _has_classes(truth.label):
        return []
    rows = truth.label[truth.confidence != 0], result.label[result.label > 0]
    notes, every = [], {PEDESTRIAN, *rows[0].astype(int).tolist()}
    for side, labels, count, what in (
        ("ground truth", rows[0], len(truth),
         f"do not count; --classes {' '.join(map(str, sorted(every)))} counts them"),
        ("result", rows[1], len(result),
         f"count as pedestrians; --classes {PEDESTRIAN} leaves them out"),
    ):  # fmt: skip
        other = labels[labels != PEDESTRIAN].astype(int)
        if len(other) and _has_classes(labels):
            numbers = " ".join(map(str, np.unique(other)))
            notes.append(f"{len(other)} of {count} boxes of the {side} are of class {numbers} and "
                         f"{what}")  # fmt: skip
    return notes


def trajectories(table: TrackRows) -> Trajectories:
    """All rows of a file."""
    return Trajectories(table.frame, table.identity, table.ltwh)


def matched(overlap: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs, rows and columns, of the best assignment among overlaps `[A, B]` of half or more.

    This is the assignment of TrackEval's preprocessing, which knows no identities.
    """
    worth = np.where(overlap < 0.5 - EPS, 0.0, overlap)
    rows, columns = linear_sum_assignment(-worth)
    found = worth[rows, columns] > EPS
    return rows[found], columns[found]


def _covers(
    truth: TrackRows, on: NDArray[np.bool_], tracks: Trajectories
) -> NDArray[np.bool_]:
    """Which tracks `[M]` are matched to one of the rows `on` `[N]`, when all rows take part."""
    covers = np.zeros(len(tracks), dtype=bool)
    for truth_rows, track_rows in in_both(truth.frame, tracks.frames):
        if on[truth_rows].any():
            a, b = matched(overlaps(truth.ltwh[truth_rows], tracks.ltwh[track_rows]))
            covers[track_rows[b[on[truth_rows[a]]]]] = True
    return covers


def _check_classes(protocol: Protocol, truth: TrackRows, name: str) -> None:
    odd = ~np.isin(np.trunc(truth.label), CLASSES)
    if odd.any():
        bad = np.flatnonzero(odd)[0]
        raise InputError(
            f"{name}: ground truth has {truth.label[bad]:g} as the class in frame "
            f"{truth.frame[bad]}; {protocol.name} has 1 to 13 in the eighth column. If these are "
            "not its files, give --dataset mot"
        )
