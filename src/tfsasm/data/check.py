"""`tfsasm datasets check`: what is there of a data set, what is missing, what contradicts itself.

Whatever is wrong with one file is written down, and the next is looked at.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tfsasm import jobs
from tfsasm.data import bdd100k, crowdhuman
from tfsasm.data.check_labels import check_pictures, check_videos
from tfsasm.data.check_mot import check_folders
from tfsasm.data.findings import Inspection
from tfsasm.data.mot_layout import FOLDERS, all_folders, guess_dataset
from tfsasm.errors import InputError
from tfsasm.files import check_output, write_text

OK, PROBLEMS = 0, 1
CHECKED = (*FOLDERS, "bdd100k", "crowdhuman")
"""Names of the data sets that can be checked."""



def run_check(job: jobs.Datasets, console: Console, errors: Console) -> int:
    """`tfsasm datasets check`: a table and the findings of each data set; 1 for problems."""
    if job.json:
        check_output(job.json, overwrite=job.overwrite)
    with Progress(console=errors, disable=job.quiet, transient=True) as bar:
        task = bar.add_task("sequences", total=None)
        found = check(
            job.root, job.dataset, job.split,
            lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    if job.json:
        report = {"datasets": [one.to_json() for one in found]}
        write_text(job.json, json.dumps(report, indent=2) + "\n")
    for one in found:
        console.print(summary(one))
        for line in lines(one, notes=not job.quiet):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
    problems = sum(one.problem_count for one in found)
    sequences = sum(len(one.sequences) for one in found)
    console.print(f"{sequences} sequence(s), {problems} problem(s)", highlight=False)
    return PROBLEMS if problems else OK


def check(
    root: Path, dataset: str | None = None, split: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Inspection]:
    """Look at all of a data set, or at every data set that `root` holds when none is named.

    Raises `InputError` only when there is nothing to look at.
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
    looks = {"bdd100k": check_videos, "crowdhuman": check_pictures}
    return [
        looks.get(name, partial(check_folders, name))(root, split, progress) for name in names
    ]


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


def summary(inspection: Inspection) -> Table:
    """A row per sequence; the folders that all of them share go to the title."""
    names = [PurePosixPath(one.name) for one in inspection.sequences]
    shared = PurePosixPath(os.path.commonpath([str(name.parent) for name in names] or ["."]))
    title = f"{inspection.dataset} in {inspection.root / shared}"
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("sequence", overflow="fold")
    for column in ("frames", "size", "images", "boxes", "ids", "dets", "problems", "notes"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, one in zip(names, inspection.sequences, strict=True):
        size = f"{one.size[0]}x{one.size[1]}" if one.size else None
        cells = (
            one.frames, size, one.images or None, one.boxes, one.identities, one.detections,
            len(one.problems), len(one.notes),
        )  # fmt: skip
        told = ("-" if cell is None else str(cell) for cell in cells)
        table.add_row(str(name.relative_to(shared)), *told)
    return table


def lines(inspection: Inspection, *, notes: bool = True) -> Iterator[str]:
    """Every problem and note in words, problems first."""
    for kind in ("problems", "notes") if notes else ("problems",):
        for text in getattr(inspection, kind):
            yield f"{kind[:-1]}: {text}"
        for one in inspection.sequences:
            for text in getattr(one, kind):
                yield f"{kind[:-1]}: {one.name}: {text}"
