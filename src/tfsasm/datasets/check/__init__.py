"""Checks of data sets: what is there, what is missing, what is contradictory.

A problem with one file is recorded, and the next file is checked.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tfsasm.datasets import bdd100k, crowdhuman
from tfsasm.datasets.check.labels import check_crowds, check_videos
from tfsasm.datasets.check.mot import check_folders
from tfsasm.datasets.check.report import DatasetReport, Progress
from tfsasm.datasets.mot_folders import FOLDERS, all_folders, guess_dataset
from tfsasm.errors import InputError

CHECKED = (*FOLDERS, "bdd100k", "crowdhuman")
"""Names of the data sets that can be checked."""


def check(
    root: Path, dataset: str | None = None, split: str | None = None,
    progress: Progress = lambda done, total: None,
) -> list[DatasetReport]:
    """Check all of a data set, or every data set that `root` holds when none is named.

    `progress` gets (done, all) sequences. Raises `InputError` only when there is nothing to check.
    """
    if dataset is not None and dataset not in CHECKED:
        raise InputError(f"no data set {dataset!r}; there are {', '.join(CHECKED)}")
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give the one that holds the data")
    names = [dataset] if dataset else list(present(root, split))
    if not names:
        raise InputError(
            f"no data set in {root}{f' with a split {split!r}' if split else ''}: wanted "
            "SPLIT/SEQUENCE/img1, images/track and labels/box_track_20, or annotation_train.odgt"
        )
    others = {"bdd100k": check_videos, "crowdhuman": check_crowds}
    return [others.get(name, partial(check_folders, name))(root, split, progress) for name in names]


def present(root: Path, split: str | None = None) -> Iterator[str]:
    """The data sets that a folder holds, by the names of its folders and sequences."""
    for name in FOLDERS:
        try:
            if guess_dataset(all_folders(name, root, split)[0]) == name:
                yield name
        except InputError:
            pass
    if bdd100k.is_root(root):
        yield "bdd100k"
    try:
        crowdhuman.find_annotations(root, split)
        yield "crowdhuman"
    except InputError:
        pass
