"""Scores of tracking results, by the official TrackEval.

TrackEval's own front end reads fixed folder layouts and prints as it goes. Its metric classes need
neither: they take the boxes of one sequence and know how to combine sequences. So the numbers here
are TrackEval's, computed in memory, and a caller may score boxes that were never in a file.

Every ground-truth box counts as a person to be found. The benchmarks' rules for other rows belong
to whoever reads the files; `read_truths` knows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from rich.box import SIMPLE_HEAD
from rich.table import Table
from trackeval.metrics import CLEAR, HOTA, Identity

from tfsasm.boxes import iou_matrix
from tfsasm.errors import InputError
from tfsasm.mot import TrackTable, read_tracks

ALPHAS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""The overlap thresholds that HOTA, DetA, AssA and LocA are averaged over."""


@dataclass(frozen=True)
class Trajectories:
    """Boxes with identities over one sequence, one row per box and frame, in any order.

    `frames` `[N]` and `ids` `[N]` are int64, frames counted from 1; `ltwh` `[N, 4]` is float64:
    left, top, width and height in pixels. An id means the same object wherever it occurs.
    """

    frames: NDArray[np.int64]
    ids: NDArray[np.int64]
    ltwh: NDArray[np.float64]

    @classmethod
    def of(cls, frames: ArrayLike, ids: ArrayLike, ltwh: ArrayLike) -> Self:
        """The table from anything NumPy can read. Raises `InputError` when the lengths differ."""
        table = cls(
            np.asarray(frames, dtype=np.int64).reshape(-1),
            np.asarray(ids, dtype=np.int64).reshape(-1),
            np.asarray(ltwh, dtype=np.float64).reshape(-1, 4),
        )
        lengths = len(table.frames), len(table.ids), len(table.ltwh)
        if len(set(lengths)) > 1:
            raise InputError(f"frames, ids and boxes must be equally many, not {lengths}")
        return table

    @classmethod
    def from_frames(cls, frames: Iterable[tuple[ArrayLike, ArrayLike]]) -> Self:
        """From the `(ids [K], xyxy [K, 4])` of consecutive frames, the first being frame 1."""
        none = np.zeros(0, dtype=np.int64)
        numbers, ids, boxes = [none], [none], [np.zeros((0, 4))]
        for number, (found, corners) in enumerate(frames, start=1):
            xyxy = np.asarray(corners, dtype=np.float64).reshape(-1, 4)
            boxes.append(np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1))
            ids.append(np.asarray(found).reshape(-1))
            numbers.append(np.full(len(xyxy), number))
        return cls.of(np.concatenate(numbers), np.concatenate(ids), np.concatenate(boxes))

    @classmethod
    def empty(cls) -> Self:
        """A sequence in which nothing was found."""
        return cls.of([], [], [])

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: Any) -> Self:
        """The rows that a mask, an index array or a slice chooses."""
        return type(self)(self.frames[index], self.ids[index], self.ltwh[index])


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
) -> Report:
    """Score the results of several sequences, named alike on both sides.

    `frames` gives the length of the sequences whose length is known. Raises `InputError` for a
    sequence that one side lacks (a sequence without any track is an empty table, not a missing
    one), and whatever `score_sequence` raises.
    """
    if not truths:
        raise InputError("there is no sequence to score")
    if missing := sorted(truths.keys() - results.keys()):
        raise InputError(f"no result for {', '.join(missing)}")
    if surplus := sorted(results.keys() - truths.keys()):
        raise InputError(f"no ground truth for {', '.join(surplus)}")
    lengths = frames or {}
    measured = {
        name: _measure(truth, results[name], lengths.get(name), name)
        for name, truth in truths.items()
    }
    return Report(
        sequences={name: _scores(one) for name, one in measured.items()},
        combined=_scores(_combine(measured)),
    )


def score_sequence(
    truth: Trajectories, tracks: Trajectories, frames: int | None = None, name: str = "sequence"
) -> Scores:
    """Score the tracks of one sequence.

    `frames` is the length of the sequence; without it the last frame with a box is the end.
    `name` is what errors call the sequence. Raises `InputError` for a frame number outside the
    sequence, an id twice in one frame, and a box that is not finite.
    """
    return _scores(_measure(truth, tracks, frames, name))


def read_truths(folder: Path | str, names: Sequence[str] | None = None) -> dict[str, Trajectories]:
    """Ground truth of MOT sequence folders, `folder/NAME/gt/gt.txt`, by name.

    Without `names` it is every sequence that has such a file. Rows whose mark is 0 or whose class
    is not a pedestrian are left out, and a result there counts as false: the rule of DanceTrack,
    SportsMOT and MOT15. The official protocol of MOT16, 17 and 20 forgives it, so scores of those
    are lower here. Raises `InputError` when nothing is found, or a file is missing or bad.
    """
    root = Path(folder)
    if names is None:
        names = sorted(path.parent.parent.name for path in root.glob("*/gt/gt.txt"))
    if not names:
        raise InputError(f"no sequence in {root}: wanted NAME/gt/gt.txt")
    return {name: _scored(read_tracks(root / name / "gt" / "gt.txt")) for name in names}


def read_results(folder: Path | str, names: Iterable[str]) -> dict[str, Trajectories]:
    """Results `folder/NAME.txt` of the sequences named. Raises `InputError` for a missing file."""
    return {name: _rows(read_tracks(Path(folder) / f"{name}.txt")) for name in names}


def scores_table(rows: Mapping[str, Scores], *, label: str = "", title: str | None = None) -> Table:
    """Scores below one another; `label` heads the column of names."""
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(label, no_wrap=True)
    for column in _COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for name, scores in rows.items():
        values = [getattr(scores, column) for column in _COLUMNS]
        table.add_row(name, *(f"{v:.1f}" if isinstance(v, float) else str(v) for v in values))
    return table


def report_table(report: Report, title: str | None = None) -> Table:
    """Every sequence of a report, and the combined scores below a line."""
    table = scores_table(
        {**report.sequences, "combined": report.combined}, label="sequence", title=title
    )
    table.rows[-2].end_section = True
    return table


_COLUMNS = ("HOTA", "DetA", "AssA", "LocA", "MOTA", "IDF1", "IDSW", "Frag", "FP", "FN")
_CURVES = ("HOTA", "DetA", "AssA", "LocA", "DetRe", "DetPr", "AssRe", "AssPr")
_Measured = dict[str, dict[str, Any]]  # by the name of the metric, what TrackEval counted


def _rows(table: TrackTable) -> Trajectories:
    return Trajectories(table.frame, table.identity, table.ltwh)


def _scored(table: TrackTable) -> Trajectories:
    """The rows of a ground-truth file that a tracker must find.

    The eighth column is a class only in the layout of MOT16 and later, where it is 1 to 13. MOT15
    keeps a world coordinate there, or nothing: such files hold pedestrians alone.
    """
    classes = table.label
    has_classes = bool(((classes >= 1) & (classes <= 13) & (classes == np.floor(classes))).all())
    keep = table.confidence != 0
    return _rows(table)[keep & (classes == 1) if has_classes else keep]


def _metrics() -> dict[str, Any]:
    quiet = {"PRINT_CONFIG": False}
    return {"HOTA": HOTA(), "CLEAR": CLEAR(dict(quiet)), "Identity": Identity(dict(quiet))}


def _measure(
    truth: Trajectories, tracks: Trajectories, frames: int | None, name: str
) -> _Measured:
    end = frames
    if end is None:
        end = max((int(t.frames.max()) for t in (truth, tracks) if len(t)), default=0)
    _check(truth, end, f"{name}: ground truth")
    _check(tracks, end, f"{name}: result")
    data = _trackeval_data(truth, tracks, end)
    return {key: metric.eval_sequence(data) for key, metric in _metrics().items()}


def _combine(measured: Mapping[str, _Measured]) -> _Measured:
    return {
        key: metric.combine_sequences({name: one[key] for name, one in measured.items()})
        for key, metric in _metrics().items()
    }


def _scores(measured: _Measured) -> Scores:
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


def _trackeval_data(truth: Trajectories, tracks: Trajectories, frames: int) -> dict[str, Any]:
    """What the metric classes take: ids `0..K-1` and overlaps, per frame."""
    truth_ids, truth_boxes, truth_count = _by_frame(truth, frames)
    track_ids, track_boxes, track_count = _by_frame(tracks, frames)
    return {
        "num_timesteps": frames,
        "gt_ids": truth_ids,
        "tracker_ids": track_ids,
        "similarity_scores": [
            _overlaps(a, b) for a, b in zip(truth_boxes, track_boxes, strict=True)
        ],
        "num_gt_dets": len(truth),
        "num_tracker_dets": len(tracks),
        "num_gt_ids": truth_count,
        "num_tracker_ids": track_count,
    }


def _by_frame(
    table: Trajectories, frames: int
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float64]], int]:
    """Ids as `0..K-1` and boxes, a list entry per frame, and K.

    Rows of a frame keep their order: it decides which of two equal assignments is found.
    """
    known, ids = np.unique(table.ids, return_inverse=True)
    order = np.argsort(table.frames, kind="stable")
    cuts = np.searchsorted(table.frames[order], np.arange(2, frames + 1))
    if frames == 0:
        return [], [], 0
    return np.split(ids[order], cuts), np.split(table.ltwh[order], cuts), len(known)


def _overlaps(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU `[A, B]` of ltwh boxes; a box without area overlaps nothing."""
    corners = [torch.from_numpy(np.hstack([t[:, :2], t[:, :2] + t[:, 2:]])) for t in (a, b)]
    return iou_matrix(*corners).nan_to_num(0.0).numpy()


def _check(table: Trajectories, frames: int, where: str) -> None:
    outside = (table.frames < 1) | (table.frames > frames)
    if outside.any():
        frame = table.frames[outside][0]
        raise InputError(f"{where} has frame {frame}, but the frames are 1 to {frames}")
    broken = ~np.isfinite(table.ltwh).all(axis=1)
    if broken.any():
        raise InputError(f"{where} has a box that is not finite in frame {table.frames[broken][0]}")
    keys = np.stack([table.frames, table.ids], axis=1)
    unique, counts = np.unique(keys, axis=0, return_counts=True)
    if (counts > 1).any():
        frame, identity = unique[counts > 1][0]
        raise InputError(f"{where} has id {identity} twice in frame {frame}")
