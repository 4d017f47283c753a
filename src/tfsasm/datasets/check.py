"""Checks of data sets: what is there, what is missing, what is contradictory.

A problem with one file is recorded, and the next file is checked.
"""

from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from tfsasm import motchallenge
from tfsasm.boxes import xyxy_to_ltwh
from tfsasm.datasets import bdd100k, crowdhuman, mot_folders
from tfsasm.datasets.check_report import DatasetReport, Progress, SequenceReport, counted
from tfsasm.errors import InputError
from tfsasm.files import read_text
from tfsasm.tables import Doubles
from tfsasm.video.images import image_file_is_cut

CHECKED = (*mot_folders.FOLDERS, "bdd100k", "crowdhuman")
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
    for name in mot_folders.FOLDERS:
        with suppress(InputError):
            if mot_folders.guess_dataset(mot_folders.all_folders(name, root, split)[0]) == name:
                yield name
    if bdd100k.is_root(root):
        yield "bdd100k"
    with suppress(InputError):
        crowdhuman.find_annotations(root, split)
        yield "crowdhuman"


def check_folders(dataset: str, root: Path, split: str | None, progress: Progress) -> DatasetReport:
    """All sequence folders of a data set of the MOT family, MOT17's copies too."""
    report = DatasetReport(dataset, root)
    folders = mot_folders.all_folders(dataset, root, split)
    if dataset == "sportsmot" and split is not None:
        names, file = mot_folders.listed_names(root, split), f"splits_txt/{split}.txt"
        if names is None:
            report.notes.append(f"no {file}; the folder decides what belongs to the split")
        elif missing := sorted(set(names) - {folder.name for folder in folders}):
            lost = f"{len(missing)} sequence(s) that are not there, the first: {missing[0]}"
            report.problems.append(f"{file} names {lost}")
    report.sequences += [check_sequence(one, root, dataset) for one in counted(folders, progress)]
    _compare(report, [folder.parent for folder in folders])
    return report


def check_sequence(folder: Path, root: Path, dataset: str = "mot") -> SequenceReport:
    """One MOT sequence folder: each of its files, and each against the others."""
    row = SequenceReport(folder.relative_to(root).as_posix() if folder != root else folder.name)
    info = _check_seqinfo(row, folder)
    row.frames = info.length
    row.size = (info.width, info.height) if info.width and info.height else None
    row.check_images(mot_folders.image_folder(folder, dataset, info.images))
    truth = _check_rows(row, folder / "gt" / "gt.txt", motchallenge.TRACK)
    detections = _check_rows(row, folder / "det" / "det.txt", motchallenge.DETECTION)
    last = [int(rows[:, 0].max()) for rows in (truth, detections) if rows is not None and len(rows)]
    row.frames = row.frames or max(last, default=None)
    if truth is not None:
        own = (folder / "gt" / "gt.txt").read_bytes()
        for other in mot_folders.copies(folder, dataset)[1:]:  # MOT17 keeps its truth three times
            path = other / "gt" / "gt.txt"
            if path.is_file() and path.read_bytes() != own:
                row.problems.append(f"gt.txt differs from that of {other.name}, which is the same "
                                    "video")
        row.boxes, row.identities = len(truth), len(np.unique(truth[:, 1]))
    if detections is not None:
        row.detections = len(detections)
    return row


def _check_seqinfo(row: SequenceReport, folder: Path) -> motchallenge.SeqInfo:
    info, path = motchallenge.SeqInfo(), folder / "seqinfo.ini"
    if not path.is_file():
        row.notes.append("no seqinfo.ini; length and size are those of the images (without any "
                         "the last box ends it), the rate is unknown")
        return info
    try:
        info = motchallenge.read_seqinfo(path)
    except InputError as error:
        row.problems.append(str(error))
    if info.name not in ("", folder.name):
        row.notes.append(f"seqinfo.ini calls the sequence {info.name}")
    return info


def _check_rows(row: SequenceReport, path: Path, layout: motchallenge.LineFormat) -> Doubles | None:
    """The good rows of a gt.txt or det.txt; None when there is no such file."""
    what = path.name
    if not path.is_file():
        if path.parent.is_dir():
            row.problems.append(f"{path.parent.name} has no {what}")
        return None
    try:
        numbered = motchallenge.numbered_lines(read_text(path))
    except InputError as error:
        row.problems.append(str(error))
        return None
    rows, skipped = layout.table([line for _, line in numbered], str, skip_bad=True)
    problems = []
    for number, line in numbered if skipped.count else ():
        try:
            layout.parse(line)
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
    row.add_bad_lines(problems)
    if layout is motchallenge.DETECTION and (rows[:, 0] == 0).any():
        row.notes.append(f"{what}: {motchallenge.FRAMES_FROM_0}")
        rows[:, 0] += 1
    row.check_boxes(what, rows)
    if layout is motchallenge.TRACK:
        keys, counts = np.unique(rows[:, :2], axis=0, return_counts=True)
        if len(double := keys[counts > 1]):
            first = "first id {1:.0f} in frame {0:.0f}".format(*double[0])
            row.problems.append(f"{what}: an id twice in a frame, {len(double)} time(s), {first}")
    elif len(rows):
        low, high = rows[:, 6].min(), rows[:, 6].max()
        if low < 0 or high > 1:
            row.notes.append(f"{what}: scores from {low:g} to {high:g}, not 0 to 1")
    return rows


def _compare(report: DatasetReport, places: list[Path]) -> None:
    """What some sequences of a folder have and others lack is a problem; else a note."""
    for what, has in (
        ("images", lambda row: row.images > 0),
        ("ground truth", lambda row: row.boxes is not None),
        ("detections", lambda row: row.detections is not None),
    ):
        rows = [(place, row, has(row)) for place, row in zip(places, report.sequences, strict=True)]
        having = {place for place, _, there in rows if there}
        report.notes += [f"{place.name}: no {what}" for place in sorted({*places} - having)]
        for place, row, there in rows:
            if not there and place in having:
                row.problems.append(f"no {what}, though other sequences beside it have some")


def check_videos(root: Path, split: str | None, progress: Progress) -> DatasetReport:
    """BDD100K: labels of each video, and its images against them."""
    report = DatasetReport("bdd100k", root)

    @lru_cache(maxsize=1)  # frames by video, and bad ones: a file may hold a whole split
    def read(path: Path) -> tuple[dict[str, list[bdd100k.ScalabelFrame]], list[str]]:
        problems: list[str] = []
        return bdd100k.read_scalabel(path, lambda error: problems.append(str(error))), problems

    videos = bdd100k.find_videos(root, split, lambda error: report.problems.append(str(error)))
    report.sequences += [
        _check_video(video, *(read(video.labels) if video.labels else ({}, [])))
        for video in counted(videos, progress)
    ]
    if not any(row.images for row in report.sequences):
        report.notes.append("no images")
    if all(row.boxes is None for row in report.sequences):
        report.notes.append("no ground truth")
    return report


def _check_video(
    video: bdd100k.Video, videos: dict[str, list[bdd100k.ScalabelFrame]], problems: list[str]
) -> SequenceReport:
    row = SequenceReport(video.name, size=(bdd100k.WIDTH, bdd100k.HEIGHT))
    frames, problem = videos.get(video.name, []), row.problems.append
    if video.labels:
        row.frames = len(frames)
        own = problems if video.labels.stem == video.name else []
        row.add_bad_lines(own)
        if not frames and not own:  # one cause, one line
            problem(f"{video.labels.name} has no frame of {video.name}")
    row.check_images(video.images)
    if gap := next(((n, frame.index) for n, frame in enumerate(frames) if frame.index != n), None):
        problem("labels have a gap: the frame at position {} has index {}".format(*gap))
    if frames and video.images:
        there = set(mot_folders.image_names(video.images))
        if lost := [frame.name for frame in frames if Path(frame.name).name not in there]:
            problem(f"{len(lost)} labelled frame(s) without an image, the first: {lost[0]}")
    boxes = bdd100k.label_rows(frames)
    boxes[:, 2:] = xyxy_to_ltwh(boxes[:, 2:])
    if frames:
        row.count_boxes("labels", "without an area", boxes, (boxes[:, 4:6] <= 0).any(axis=1))
        row.check_boxes("labels", boxes)
    found = {category for frame in frames for category in frame.categories}
    if other := sorted(found - {*bdd100k.CATEGORIES, *bdd100k.IGNORED_CATEGORIES}):
        row.notes.append(f"labels: categories that are not tracked: {', '.join(other)}")
    if video.labels:
        row.boxes, row.identities = len(boxes), len(np.unique(boxes[:, 1]))
    row.frames = row.frames or None
    return row


def check_crowds(root: Path, split: str | None, progress: Progress) -> DatasetReport:
    """CrowdHuman: each annotation file, and whether its images are there."""
    files = crowdhuman.find_annotations(root, split)
    rows = [_check_annotations(path) for path in counted(files, progress)]
    return DatasetReport("crowdhuman", root, rows)


def _check_annotations(path: Path) -> SequenceReport:
    row, problems = SequenceReport(path.name), list[str]()
    try:
        images = list(crowdhuman.read_odgt(path, lambda error: problems.append(str(error))))
    except InputError as error:
        images, problems = [], [str(error)]
    row.add_bad_lines(problems)
    files = {image.name: crowdhuman.find_image(path.parent, image.name) for image in images}
    there = {name: file for name, file in files.items() if file}
    row.frames, row.images = len(images), len(there)
    row.boxes = sum(len(image) for image in images)
    if not there:
        row.notes.append("no images")
    elif lost := [name for name in files if name not in there]:
        row.problems.append(f"{len(lost)} image(s) are not there, the first: {lost[0]}.jpg")
    if len(files) < len(images):
        row.problems.append(f"{len(images) - len(files)} image(s) are listed twice")
    unread, flat, out = list[str](), list[str](), list[str]()
    for image in images:
        ltwh = image.ltwh[~image.ignored]
        if (ltwh[:, 2:] <= 0).any():
            flat.append(image.name)
        if file := there.get(image.name):
            size = mot_folders.image_size(file)
            if size is None or image_file_is_cut(file):
                unread.append(image.name)
            elif ((ltwh[:, :2] >= size) | (ltwh[:, :2] + ltwh[:, 2:] <= 0)).any():
                out.append(image.name)
    for what, names in (("with an image that cannot be read or is cut off", unread),
                        ("with a box without an area", flat),
                        ("with a box outside the image", out)):  # fmt: skip
        if names:
            row.problems.append(f"{len(names)} image(s) {what}, the first: {names[0]}")
    return row
