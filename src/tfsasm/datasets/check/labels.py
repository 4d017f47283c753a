"""Checks of label files in JSON: BDD100K tracking and CrowdHuman."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from tfsasm.boxes import xyxy_to_ltwh
from tfsasm.datasets.bdd100k import (
    CATEGORIES,
    HEIGHT,
    IGNORED_CATEGORIES,
    WIDTH,
    ScalabelFrame,
    Video,
    find_videos,
    numbered,
    read_scalabel,
)
from tfsasm.datasets.check.report import (
    DatasetReport,
    Progress,
    SequenceReport,
    check_boxes,
    check_images,
    count_boxes,
    counted,
)
from tfsasm.datasets.crowdhuman import CrowdImage, find_annotations, find_image, read_odgt
from tfsasm.datasets.mot_folders import image_names, image_size
from tfsasm.errors import InputError
from tfsasm.tables import Doubles
from tfsasm.video.images import image_file_is_cut

LabelFile = tuple[dict[str, list[ScalabelFrame]], list[str]]
"""Frames by video that can be used, and what is wrong with the others."""


def check_videos(root: Path, split: str | None, progress: Progress) -> DatasetReport:
    """BDD100K: labels of each video, and its images against them."""
    report = DatasetReport("bdd100k", root)

    @lru_cache(maxsize=1)  # a file may hold a whole split
    def read(path: Path) -> LabelFile:
        problems: list[str] = []
        return read_scalabel(path, lambda error: problems.append(str(error))), problems

    videos = find_videos(root, split, lambda error: report.problems.append(str(error)))
    report.sequences += [_check_video(video, read) for video in counted(videos, progress)]
    if not any(row.images for row in report.sequences):
        report.notes.append("no images")
    if all(row.boxes is None for row in report.sequences):
        report.notes.append("no ground truth")
    return report


def _check_video(video: Video, read: Callable[[Path], LabelFile]) -> SequenceReport:
    row, frames = SequenceReport(video.name, size=(WIDTH, HEIGHT)), list[ScalabelFrame]()
    if video.labels:
        videos, problems = read(video.labels)
        frames = videos.get(video.name, [])
        row.frames = len(frames)
        own = problems if video.labels.stem == video.name else []
        row.add_bad_lines(own)
        if not frames and not own:  # one cause, one line
            row.problems.append(f"{video.labels.name} has no frame of {video.name}")
    check_images(row, video.images)
    boxes = _boxes(frames)
    if frames:
        _check_frames(row, video, frames, boxes)
    if video.labels:
        row.boxes, row.identities = len(boxes), len(np.unique(boxes[:, 1]))
    row.frames = row.frames or None
    return row


def _check_frames(
    row: SequenceReport, video: Video, frames: Sequence[ScalabelFrame], boxes: Doubles
) -> None:
    if gap := next(((n, frame) for n, frame in enumerate(frames) if frame.index != n), None):
        where = f"the frame at position {gap[0]} has index {gap[1].index}"
        row.problems.append(f"labels have a gap: {where}")
    if video.images:
        there = set(image_names(video.images))
        if lost := [frame.name for frame in frames if Path(frame.name).name not in there]:
            first = f"{len(lost)} labelled frame(s) without an image, the first: {lost[0]}"
            row.problems.append(first)
    count_boxes(row, "labels", "without an area", boxes, (boxes[:, 4:6] <= 0).any(axis=1))
    check_boxes(row, "labels", boxes)
    found = {category for frame in frames for category in frame.categories}
    if other := sorted(found - {*CATEGORIES, *IGNORED_CATEGORIES}):
        row.notes.append(f"labels: categories that are not tracked: {', '.join(other)}")


def _boxes(frames: Sequence[ScalabelFrame]) -> Doubles:
    """Frame (from 1), identity, left, top, width, height `[N, 6]`."""
    identities = numbered(frames)
    rows = [
        (frame.index + 1, identities[identity], *ltwh)
        for frame in frames
        for identity, ltwh in zip(frame.ids, xyxy_to_ltwh(frame.xyxy), strict=True)
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 6)


def check_crowds(root: Path, split: str | None, progress: Progress) -> DatasetReport:
    """CrowdHuman: each annotation file, and whether its images are there."""
    files = find_annotations(root, split)
    rows = [_check_annotations(path) for path in counted(files, progress)]
    return DatasetReport("crowdhuman", root, rows)


def _check_annotations(path: Path) -> SequenceReport:
    row, problems = SequenceReport(path.name), list[str]()
    try:
        images = list(read_odgt(path, lambda error: problems.append(str(error))))
    except InputError as error:
        images, problems = [], [str(error)]
    row.add_bad_lines(problems)
    files = {image.name: find_image(path.parent, image.name) for image in images}
    there = {name: file for name, file in files.items() if file}
    row.frames, row.images = len(images), len(there)
    row.boxes = sum(len(image) for image in images)
    if not there:
        row.notes.append("no images")
    elif lost := [name for name in files if name not in there]:
        row.problems.append(f"{len(lost)} image(s) are not there, the first: {lost[0]}.jpg")
    if len(files) < len(images):
        row.problems.append(f"{len(images) - len(files)} image(s) are listed twice")
    for what, names in _check_people(images, there).items():
        if names:
            row.problems.append(f"{len(names)} image(s) {what}, the first: {names[0]}")
    return row


def _check_people(images: Sequence[CrowdImage], files: dict[str, Path]) -> dict[str, list[str]]:
    """Images that cannot be read, and those with people without an area or beside the image."""
    unread, flat, out = list[str](), list[str](), list[str]()
    for image in images:
        ltwh = image.ltwh[~image.ignored]
        if (ltwh[:, 2:] <= 0).any():
            flat.append(image.name)
        if file := files.get(image.name):
            size = image_size(file)
            if size is None or image_file_is_cut(file):
                unread.append(image.name)
            elif ((ltwh[:, :2] >= size) | (ltwh[:, :2] + ltwh[:, 2:] <= 0)).any():
                out.append(image.name)
    return {
        "with an image that cannot be read or is cut off": unread,
        "with a box without an area": flat, "with a box outside the image": out,
    }  # fmt: skip
