"""Checks of the sequence folders of the MOT family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfsasm.datasets.check.report import (
    DatasetReport,
    Findings,
    SequenceReport,
    check_boxes,
    check_empty_frames,
    check_identities,
    check_images,
)
from tfsasm.datasets.mot_folders import (
    SeqInfo,
    all_folders,
    has_images,
    image_names,
    image_size,
    listed_names,
    read_seqinfo,
    siblings,
)
from tfsasm.errors import InputError
from tfsasm.motchallenge import DETECTION, TRACK, LineFormat, inspect

_PARTS: dict[str, Callable[[SequenceReport], bool]] = {
    "images": lambda row: row.images > 0,
    "ground truth": lambda row: row.boxes is not None,
    "detections": lambda row: row.detections is not None,
}
"""What a sequence may have, and whether it does."""


def check_folders(
    dataset: str, root: Path, split: str | None, progress: Callable[[int, int], None]
) -> DatasetReport:
    """All sequence folders of a data set of the MOT family, MOT17's copies too."""
    findings = Findings()
    folders = all_folders(dataset, root, split)
    if dataset == "sportsmot" and split is not None:
        _check_list(findings, root, split, {folder.name for folder in folders})
    rows = []
    for done, folder in enumerate(folders):
        progress(done, len(folders))
        rows.append(check_sequence(folder, root, dataset))
    progress(len(folders), len(folders))
    rows = _compare(rows, [folder.parent for folder in folders], findings)
    return DatasetReport(
        dataset, root, tuple(rows), tuple(findings.problems), tuple(findings.notes)
    )


def check_sequence(folder: Path, root: Path, dataset: str = "mot") -> SequenceReport:
    """One MOT sequence folder: each of its files, and each against the others."""
    findings = Findings()
    info = _check_seqinfo(findings, folder)
    copies = [folder, *siblings(folder)] if dataset == "mot17" else [folder]
    name = info.images if info else "img1"
    images = next((copy / name for copy in copies if has_images(copy / name)), folder / name)
    frames, size = (info.length, (info.width, info.height)) if info else (None, None)
    count = check_images(findings, images, frames, size)
    frames = frames or count or None
    if size is None and count:
        size = image_size(images / image_names(images)[0])
    truth = _check_rows(findings, folder / "gt" / "gt.txt", TRACK, frames, size)
    detections = _check_rows(findings, folder / "det" / "det.txt", DETECTION, frames, size)
    if truth is not None:
        _check_copies(findings, folder, copies)
    return SequenceReport(
        name=folder.relative_to(root).as_posix() if folder != root else folder.name,
        frames=frames or _last(truth, detections), size=size, images=count,
        boxes=None if truth is None else len(truth),
        identities=None if truth is None else len(np.unique(truth[:, 1])),
        detections=None if detections is None else len(detections),
        problems=tuple(findings.problems), notes=tuple(findings.notes),
    )  # fmt: skip


def _check_seqinfo(findings: Findings, folder: Path) -> SeqInfo | None:
    path = folder / "seqinfo.ini"
    if not path.is_file():
        findings.note(
            "no seqinfo.ini; length and size are those of the images, the rate is unknown"
        )
        return None
    try:
        info = read_seqinfo(path)
    except InputError as error:
        findings.problem(str(error))
        return None
    if info.name not in ("", folder.name):
        findings.note(f"seqinfo.ini calls the sequence {info.name}")
    return info


def _check_rows(
    findings: Findings,
    path: Path,
    layout: LineFormat,
    frames: int | None,
    size: tuple[int, int] | None,
) -> NDArray[np.float64] | None:
    """The good rows of a gt.txt or det.txt; None when there is no such file."""
    if not path.is_file():
        if path.parent.is_dir():
            findings.problem(f"{path.parent.name} has no {path.name}")
        return None
    try:
        rows, problems = inspect(path, layout)
    except InputError as error:
        findings.problem(str(error))
        return None
    what = path.name
    findings.bad_lines(problems)
    check_boxes(findings, what, rows, frames, size)
    check_empty_frames(findings, what, rows[:, 0], frames)
    if layout is TRACK:
        check_identities(findings, what, rows)
    elif len(rows):
        low, high = rows[:, 6].min(), rows[:, 6].max()
        if low < 0 or high > 1:
            findings.note(f"{what}: scores from {low:g} to {high:g}, not 0 to 1")
    return rows


def _check_copies(findings: Findings, folder: Path, copies: Sequence[Path]) -> None:
    """MOT17 keeps its truth three times."""
    own = (folder / "gt" / "gt.txt").read_bytes()
    for other in copies[1:]:
        path = other / "gt" / "gt.txt"
        if path.is_file() and path.read_bytes() != own:
            findings.problem(f"gt.txt differs from that of {other.name}, which is the same video")


def _check_list(findings: Findings, root: Path, split: str, there: set[str]) -> None:
    names = listed_names(root, split)
    if names is None:
        findings.note(f"no splits_txt/{split}.txt; the folder decides what belongs to the split")
    elif missing := sorted(set(names) - there):
        findings.problem(
            f"splits_txt/{split}.txt names {len(missing)} sequence(s) that are not there, "
            f"the first: {missing[0]}"
        )


def _compare(
    rows: list[SequenceReport], places: list[Path], findings: Findings
) -> list[SequenceReport]:
    """What some sequences of a folder have and others lack is a problem; else a note."""
    for what, has in _PARTS.items():
        having = {place for place, row in zip(places, rows, strict=True) if has(row)}
        for place in sorted({*places} - having):
            findings.note(f"{place.name}: no {what}")
        problem = f"no {what}, though other sequences beside it have some"
        rows = [
            replace(row, problems=(*row.problems, problem))
            if place in having and not has(row) else row
            for place, row in zip(places, rows, strict=True)
        ]  # fmt: skip
    return rows


def _last(*tables: NDArray[np.float64] | None) -> int | None:
    return max((int(t[:, 0].max()) for t in tables if t is not None and len(t)), default=None)
