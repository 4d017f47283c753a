"""Which ground-truth rows train a network: the rules of the released training (SPEC 9.1, 9.2).

Scoring has other rules, which belong to the benchmarks. Here a row that does not count is simply
absent; there it may exempt a result.
"""

from dataclasses import dataclass

import numpy as np

from tfsasm.boxes import look_normalised, ltwh_to_xyxy
from tfsasm.datasets.bdd100k import CATEGORIES, ScalabelFrame, label_rows, video_frames
from tfsasm.datasets.crowdhuman import CrowdImage
from tfsasm.datasets.sequences import Sequence
from tfsasm.errors import InputError
from tfsasm.motchallenge import read_tracks
from tfsasm.tables import Doubles, Integers, Table

NOT_PEOPLE = (3, 4, 5, 6, 9, 10, 11)
"""Classes of MOT16 and later that are vehicles and things that cover people (SPEC 9.1)."""


@dataclass(frozen=True)
class TruthRows(Table):
    """Boxes to be learned, one row per box and frame, in the file's order."""

    frames: Integers
    """`[N]` from 1."""
    ids: Integers
    """`[N]`, the same object wherever it occurs in the sequence."""
    xyxy: Doubles
    """`[N, 4]` pixels, not clipped to the image."""
    labels: Integers
    """`[N]` class from 0: always 0, but for BDD100K its place in `CATEGORIES`."""


def truth_rows(sequence: Sequence) -> TruthRows:
    """The rows of a sequence's ground truth that count in training.

    MOT layouts: mark other than 0, class none of `NOT_PEOPLE`; MOT15 has no class column. BDD100K:
    the eight tracked classes, of some size, neither ignored nor a crowd. Raises `InputError` for a
    sequence without ground truth and for a file that cannot be used.
    """
    if sequence.truth is None:
        raise InputError(f"{sequence.name} of {sequence.dataset} has no ground truth")
    if sequence.dataset == "bdd100k":
        return _scalabel_rows(video_frames(sequence.truth, sequence.name))
    table = read_tracks(sequence.truth)
    if look_normalised(ltwh_to_xyxy(table.ltwh)):
        raise InputError(
            f"all {len(table)} boxes in {sequence.truth} lie within 0 to 1, so they look "
            "normalised; wanted are pixels: multiply them by the width and height of the image"
        )
    keep = table.confidence != 0
    if sequence.dataset != "mot15":
        keep &= ~np.isin(table.label, NOT_PEOPLE)
    table = table[keep]
    labels = np.zeros(len(table), np.int64)
    return TruthRows(table.frame, table.identity, ltwh_to_xyxy(table.ltwh), labels)


def crowd_rows(image: CrowdImage) -> TruthRows:
    """The people of a CrowdHuman image that count: all of some size, not marked as ignored.

    They are of frame 1 and numbered from 0.
    """
    ltwh = image.ltwh[~image.ignored & (image.ltwh[:, 2:] > 0).all(axis=1)]
    count = len(ltwh)
    return TruthRows(
        np.ones(count, np.int64), np.arange(count), ltwh_to_xyxy(ltwh), np.zeros(count, np.int64)
    )


def _scalabel_rows(frames: list[ScalabelFrame]) -> TruthRows:
    classes = {name: number for number, name in enumerate(CATEGORIES)}
    names = [name for frame in frames for name in frame.categories]
    labels = np.array([classes.get(name, -1) for name in names], np.int64)
    drop = [flag for frame in frames for flag in (frame.ignored | frame.crowd).tolist()]
    table = label_rows(frames)
    numbers, ids = table[:, :2].T.astype(np.int64)
    keep = (labels >= 0) & ~np.array(drop, bool) & (table[:, 2:4] < table[:, 4:]).all(axis=1)
    return TruthRows(numbers, ids, table[:, 2:], labels)[keep]
