"""Checks of the sequence folders of the MOT family."""

from pathlib import Path

import numpy as np

from tfsasm.datasets.check.report import (
    DatasetReport,
    Progress,
    SequenceReport,
    check_boxes,
    check_images,
    counted,
)
from tfsasm.datasets.mot_folders import (
    all_folders,
    copies,
    image_folder,
    listed_names,
)
from tfsasm.errors import InputError
from tfsasm.files import read_text
from tfsasm.motchallenge import (
    DETECTION,
    FRAMES_FROM_0,
    TRACK,
    LineFormat,
    SeqInfo,
    numbered_lines,
    read_seqinfo,
)
from tfsasm.tables import Doubles


def check_folders(
    dataset: str, root: Path, split: str | None, progress: Progress
) -> DatasetReport:
    """All sequence folders of a data set of the MOT family, MOT17's copies too."""
    report = DatasetReport(dataset, root)
    folders = all_folders(dataset, root, split)
    if dataset == "sportsmot" and split is not None:
        _check_list(report, split, {folder.name for folder in folders})
    report.sequences += [
        check_sequence(folder, root, dataset) for folder in counted(folders, progress)
    ]
    _compare(report, [folder.parent for folder in folders])
    return report


def check_sequence(folder: Path, root: Path, dataset: str = "mot") -> SequenceReport:
    """One MOT sequence folder: each of its files, and each against the others."""
    name = folder.relative_to(root).as_posix() if folder != root else folder.name
    row = SequenceReport(name)
    info = _check_seqinfo(row, folder)
    if info:
        row.frames = info.length
        row.size = (info.width, info.height) if info.width and info.height else None
    check_images(row, image_folder(folder, dataset, info.images if info else "img1"))
    truth = _check_rows(row, folder / "gt" / "gt.txt", TRACK)
    detections = _check_rows(row, folder / "det" / "det.txt", DETECTION)
    last = [int(rows[:, 0].max()) for rows in (truth, detections) if rows is not None and len(rows)]
    row.frames = row.frames or max(last, default=None)
    if truth is not None:
        _check_copies(row, folder, dataset)
        row.boxes, row.identities = len(truth), len(np.unique(truth[:, 1]))
    if detections is not None:
        row.detections = len(detections)
    return row


def _check_seqinfo(row: SequenceReport, folder: Path) -> SeqInfo | None:
    path = folder / "seqinfo.ini"
    if not path.is_file():
        row.notes.append(
            "no seqinfo.ini; length and size are those of the images, the rate is unknown"
        )
        return None
    try:
        info = read_seqinfo(path)
    except InputError as error:
        row.problems.append(str(error))
        return None
    if info.name not in ("", folder.name):
        row.notes.append(f"seqinfo.ini calls the sequence {info.name}")
    return info


def _check_rows(row: SequenceReport, path: Path, layout: LineFormat) -> Doubles | None:
    """The good rows of a gt.txt or det.txt; None when there is no such file."""
    what = path.name
    if not path.is_file():
        if path.parent.is_dir():
            row.problems.append(f"{path.parent.name} has no {what}")
        return None
    try:
        rows, problems = _inspect(path, layout)
    except InputError as error:
        row.problems.append(str(error))
        return None
    row.add_bad_lines(problems)
    if layout is DETECTION and (rows[:, 0] == 0).any():
        row.notes.append(f"{what}: {FRAMES_FROM_0}")
        rows[:, 0] += 1
    check_boxes(row, what, rows)
    if layout is TRACK:
        keys, counts = np.unique(rows[:, :2], axis=0, return_counts=True)
        if len(double := keys[counts > 1]):
            first = "first id {1:.0f} in frame {0:.0f}".format(*double[0])
            row.problems.append(f"{what}: an id twice in a frame, {len(double)} time(s), {first}")
    elif len(rows):
        low, high = rows[:, 6].min(), rows[:, 6].max()
        if low < 0 or high > 1:
            row.notes.append(f"{what}: scores from {low:g} to {high:g}, not 0 to 1")
    return rows


def _inspect(path: Path, layout: LineFormat) -> tuple[Doubles, list[str]]:
    """The good lines of a file `[N, len(layout.names)]`, and what is wrong with each bad one."""
    numbered = numbered_lines(read_text(path))
    table, skipped = layout.table([line for _, line in numbered], str, skip_bad=True)
    problems = []
    for number, line in numbered if skipped.count else ():
        try:
            layout.parse(line)
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
    return table, problems


def _check_copies(row: SequenceReport, folder: Path, dataset: str) -> None:
    """MOT17 keeps its truth three times."""
    own = (folder / "gt" / "gt.txt").read_bytes()
    for other in copies(folder, dataset)[1:]:
        path = other / "gt" / "gt.txt"
        if path.is_file() and path.read_bytes() != own:
            differs = f"gt.txt differs from that of {other.name}"
            row.problems.append(f"{differs}, which is the same video")


def _check_list(report: DatasetReport, split: str, there: set[str]) -> None:
    names, file = listed_names(report.root, split), f"splits_txt/{split}.txt"
    if names is None:
        report.notes.append(f"no {file}; the folder decides what belongs to the split")
    elif missing := sorted(set(names) - there):
        lost = f"{len(missing)} sequence(s) that are not there, the first: {missing[0]}"
        report.problems.append(f"{file} names {lost}")


def _compare(report: DatasetReport, places: list[Path]) -> None:
    """What some sequences of a folder have and others lack is a problem; else a note."""
    rows = list(zip(places, report.sequences, strict=True))
    for what, lacking in (
        ("images", [row.images == 0 for row in report.sequences]),
        ("ground truth", [row.boxes is None for row in report.sequences]),
        ("detections", [row.detections is None for row in report.sequences]),
    ):
        having = {place for place, lacks in zip(places, lacking, strict=True) if not lacks}
        report.notes += [f"{place.name}: no {what}" for place in sorted({*places} - having)]
        for (place, row), lacks in zip(rows, lacking, strict=True):
            if lacks and place in having:
                row.problems.append(f"no {what}, though other sequences beside it have some")
