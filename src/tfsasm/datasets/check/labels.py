"""Checks of label files in JSON: BDD100K tracking and CrowdHuman."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfsasm.boxes import xyxy_to_ltwh
from tfsasm.datasets.bdd100k import (
    CATEGORIES,
    HEIGHT,
    IGNORED_CATEGORIES,
    WIDTH,
    Place,
    ScalabelFrame,
    locate,
    numbered,
    read_scalabel,
)
from tfsasm.datasets.check.report import (
    DatasetReport,
    Findings,
    SequenceReport,
    check_boxes,
    check_empty_frames,
    check_images,
)
from tfsasm.datasets.crowdhuman import CrowdImage, find_annotations, find_image, read_odgt
from tfsasm.datasets.mot_folders import image_names, image_size
from tfsasm.errors import InputError

Progress = Callable[[int, int], None]


def check_videos(root: Path, split: str | None, progress: Progress) -> DatasetReport:
    """BDD100K: labels of each video, and its images against them."""
    findings, rows = Findings(), []
    videos = locate(root, split, lambda error: findings.problem(str(error)))
    read = lru_cache(maxsize=1)(_read)  # a file may hold a whole split
    for done, video in enumerate(videos):
        progress(done, len(videos))
        rows.append(_check_video(video, read))
    progress(len(videos), len(videos))
    for what, absent in (
        ("images", all(not row.images for row in rows)),
        ("ground truth", all(row.boxes is None for row in rows)),
    ):
        if absent:
            findings.note(f"no {what}")
    return DatasetReport(
        "bdd100k", root, tuple(rows), tuple(findings.problems), tuple(findings.notes)
    )


def _read(path: Path) -> tuple[dict[str, list[ScalabelFrame]], list[str]]:
    """The frames of a label file that can be used, and what is wrong with the others."""
    problems: list[str] = []
    return read_scalabel(path, lambda error: problems.append(str(error))), problems


def _check_video(
    video: Place, read: Callable[[Path], tuple[dict[str, list[ScalabelFrame]], list[str]]]
) -> SequenceReport:
    findings = Findings()
    frames: list[ScalabelFrame] | None = None
    if video.labels:
        known, problems = read(video.labels)
        frames = known.get(video.name, [])
        findings.bad_lines(problems if video.labels.stem == video.name else [])
        if not frames:
            findings.problem(f"{video.labels.name} has no frame of {video.name}")
    length = len(frames) if frames is not None else None
    images = check_images(findings, video.images, length, (WIDTH, HEIGHT)) if video.images else 0
    rows = _rows(frames or [])
    if frames:
        _check_frames(findings, video, frames, rows)
    return SequenceReport(
        name=video.name, frames=length or images or None, size=(WIDTH, HEIGHT), images=images,
        boxes=None if frames is None else len(rows),
        identities=None if frames is None else len(np.unique(rows[:, 1])), detections=None,
        problems=tuple(findings.problems), notes=tuple(findings.notes),
    )  # fmt: skip


def _check_frames(
    findings: Findings, video: Place, frames: Sequence[ScalabelFrame], rows: NDArray[np.float64]
) -> None:
    gaps = [n for n, frame in enumerate(frames) if frame.index != n]
    if gaps:
        findings.problem(
            f"labels have a gap: the frame at position {gaps[0]} has index {frames[gaps[0]].index}"
        )
    there = set(image_names(video.images)) if video.images else None
    if there is not None and (lost := [f.name for f in frames if Path(f.name).name not in there]):
        findings.problem(f"{len(lost)} labelled frame(s) without an image, the first: {lost[0]}")
    flat = rows[(rows[:, 4:6] <= 0).any(axis=1)]
    if len(flat):
        first = f"first in frame {flat[0, 0]:g}"
        findings.problem(f"labels: {len(flat)} box(es) without an area, {first}")
    check_boxes(findings, "labels", rows, len(frames), (WIDTH, HEIGHT))
    check_empty_frames(findings, "labels", rows[:, 0], len(frames))
    usual = {*CATEGORIES, *IGNORED_CATEGORIES}
    if other := sorted({c for frame in frames for c in frame.categories if c not in usual}):
        findings.note(f"labels: categories that are not tracked: {', '.join(other)}")


def _rows(frames: Sequence[ScalabelFrame]) -> NDArray[np.float64]:
    """Frame (from 1), identity, left, top, width, height `[N, 6]`."""
    identities = numbered(frames)
    parts = [np.zeros((0, 6))]
    for frame in frames:
        ids = [identities[identity] for identity in frame.ids]
        number = np.full(len(frame), frame.index + 1)
        parts.append(np.column_stack([number, np.array(ids), xyxy_to_ltwh(frame.xyxy)]))
    return np.concatenate(parts)


def check_crowds(root: Path, split: str | None, progress: Progress) -> DatasetReport:
    """CrowdHuman: each annotation file, and whether its images are there."""
    files = find_annotations(root, split)
    rows = []
    for done, path in enumerate(files):
        progress(done, len(files))
        rows.append(_check_annotations(path))
    progress(len(files), len(files))
    return DatasetReport("crowdhuman", root, tuple(rows))


def _check_annotations(path: Path) -> SequenceReport:
    findings, problems = Findings(), list[str]()
    try:
        images = list(read_odgt(path, lambda error: problems.append(str(error))))
    except InputError as error:
        images, problems = [], [str(error)]
    findings.bad_lines(problems)
    files = {image.name: find_image(path.parent, image.name) for image in images}
    there = {name: file for name, file in files.items() if file}
    if not there:
        findings.note("no images")
    elif lost := [name for name in files if name not in there]:
        findings.problem(f"{len(lost)} image(s) are not there, the first: {lost[0]}.jpg")
    if len(files) < len(images):
        findings.problem(f"{len(images) - len(files)} image(s) are listed twice")
    _check_people(findings, images, there)
    return SequenceReport(
        name=path.name, frames=len(images), size=None, images=len(there),
        boxes=sum(len(image) for image in images), identities=None, detections=None,
        problems=tuple(findings.problems), notes=tuple(findings.notes),
    )  # fmt: skip


def _check_people(findings: Findings, images: Iterable[CrowdImage], files: dict[str, Path]) -> None:
    """Boxes of people without an area or beside their image, and images that cannot be read."""
    flat, out, unread = [], [], []
    for image in images:
        ltwh = image.ltwh[~image.ignored]
        if (ltwh[:, 2:] <= 0).any():
            flat.append(image.name)
        if file := files.get(image.name):
            size = image_size(file)
            if size is None:
                unread.append(image.name)
            elif ((ltwh[:, :2] >= size) | (ltwh[:, :2] + ltwh[:, 2:] <= 0)).any():
                out.append(image.name)
    for names, what in (
        (unread, "with an image that cannot be read"), (flat, "with a box without an area"),
        (out, "with a box outside the image"),
    ):  # fmt: skip
        if names:
            findings.problem(f"{len(names)} image(s) {what}, the first: {names[0]}")
