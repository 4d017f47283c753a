"""The data that `--data` names: read, checked and indexed before any work; images stay on disk.

Proposals are stored detections, as when tracking: a det_db, a det.txt, or what `tfsasm detect`
left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from tfsasm.boxes import iou_matrix, ltwh_to_xyxy, xyxy_to_ltwh
from tfsasm.datasets.crowdhuman import find_annotations, find_image, read_odgt
from tfsasm.datasets.ground_truth import crowd_rows, truth_rows
from tfsasm.datasets.sequences import DATASETS, find_detections, sequences
from tfsasm.datasets.sequences import Sequence as DatasetSequence
from tfsasm.detection.det_db import read_det_db
from tfsasm.detection.stored import open_detections
from tfsasm.errors import InputError, first_few
from tfsasm.settings import pairs
from tfsasm.tables import Doubles, Integers
from tfsasm.video.images import frame_numbers, image_names
from tfsasm.video.source import Frame

KINDS = (*DATASETS, "crowdhuman", "synthetic")
"""What data may be of."""

_FEW = 0.3  # a detector that finds less than this share of the truth is of other frames

_SETTINGS: dict[str, tuple[Any, int | None]] = {
    "split": (str, None), "detections": (Path, None), "weight": (float, 1_000),
    "interval": (int, 10_000), "clips": (int, 100_000_000),
}  # fmt: skip
"""In `--data`: kind, and the most of a number; more would not fit into memory."""

_NO_ROW = "no row of its ground truth counts"

_NO_IMAGE = np.zeros((0, 0, 3), np.uint8)

_NO_BOXES: Doubles = np.zeros((0, 5))


@dataclass(frozen=True)
class DataSpec:
    """One part of a mix of data."""

    kind: str
    """One of `KINDS`."""
    root: Path
    """Folder of the data set; of `synthetic` nothing."""
    split: str | None = None
    detections: Path | None = None
    """As `--detections` of `tfsasm evaluate`; by default det/det.txt of each sequence."""
    weight: float = 1.0
    """How often each clip comes per epoch; a half takes every other one, in turn."""
    interval: int | None = None
    """Largest step between two frames of a clip, where it is not that of the run."""
    clips: int = 10_000
    """Clips of `synthetic` per epoch."""


def parse_data(text: str) -> DataSpec:
    """`KIND:ROOT,NAME=VALUE,...`, such as `dancetrack:DanceTrack/train,weight=2`.

    Raises `InputError` for a kind, a name or a value that there is not.
    """
    place, *settings = text.split(",")
    kind, colon, root = place.partition(":")
    if kind not in KINDS:
        raise InputError(f"--data {text}: no data {kind!r}; there are {', '.join(KINDS)}")
    if kind != "synthetic" and not root:
        raise InputError(f"--data {text}: give its folder, {kind}:FOLDER")
    if kind == "synthetic" and colon:
        raise InputError(f"--data {text}: synthetic clips are made on the way; leave {root} out")
    given: dict[str, Any] = dict(pairs(settings, f"--data {place}"))
    for name, value in given.items():
        if name not in _SETTINGS:
            known = ", ".join(_SETTINGS)
            raise InputError(f"--data {text}: no setting {name!r}; there are {known}")
        read, most = _SETTINGS[name]
        try:
            given[name] = read(value)
        except ValueError as error:
            raise InputError(f"--data {text}: {name} is a number, not {value!r}") from error
        if most and not 0 < given[name] <= most:
            raise InputError(f"--data {text}: {name} is above 0 and at most {most:,}, "
                             f"not {value}")  # fmt: skip
    return DataSpec(kind, Path(root), **given)


@dataclass(frozen=True)
class Ragged:
    """Rows of many frames in one array: those of frame k are `rows[starts[k]:starts[k + 1]]`."""

    rows: Doubles
    starts: Integers

    @classmethod
    def of(cls, parts: Sequence[Doubles], columns: int) -> Ragged:
        """One part per frame, each `[N, columns]`."""
        starts = np.cumsum([0, *map(len, parts)])
        return cls(np.concatenate([np.zeros((0, columns)), *parts]), starts)

    def __getitem__(self, frame: int) -> Doubles:
        return self.rows[self.starts[frame] : self.starts[frame + 1]]


@dataclass(frozen=True)
class Labelled:
    """The frames of a video, or single images, with truth and detections."""

    name: str
    files: tuple[str, ...]
    """Of `F` images."""
    truth: Ragged
    """Left, top, width, height in pixels, identity, class."""
    detections: Ragged
    """Left, top, width, height in pixels, score."""

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True)
class Data:
    """What a `DataSpec` turned out to be."""

    spec: DataSpec
    parts: tuple[Labelled, ...] = ()
    """Videos, or of CrowdHuman one part of single images."""
    notes: tuple[str, ...] = ()
    """What was found, and what is odd about it."""


def load_data(spec: DataSpec, frames: int, classes: int, *, proposals: bool = True) -> Data:
    """Read and check what a spec names, for clips of `frames` and a network of so many classes.

    Without `proposals` the network finds objects itself (MOTR), and no detections are read. Raises
    `InputError` for what cannot be trained on: nothing there, no truth or none that counts, images
    or detections that are missing.
    """
    if spec.kind == "synthetic":
        return Data(spec, notes=(f"synthetic: {spec.clips} clips per epoch",))
    if spec.kind == "crowdhuman":
        parts = [_crowd(spec, proposals)]
    else:
        found = sequences(spec.kind, spec.root, spec.split)
        read = lru_cache(2)(read_det_db)  # one file may be of all sequences
        parts = [_video(one, spec, classes, read if proposals else None) for one in found]
    least = 1 if spec.kind == "crowdhuman" else frames
    kept = [part for part in parts if len(part) >= least]
    name = f"{spec.kind}:{spec.root}"
    if not kept:
        longest = max(parts, key=len, default=None)
        why = f"the longest is {longest.name}, of {len(longest)}" if longest else _NO_ROW
        raise InputError(f"{name} has no clip of {frames} frames: {why}")
    if proposals and not any(len(part.detections.rows) for part in kept):
        where = spec.detections or "its det/det.txt"
        raise InputError(_no_detections(spec, f"{where} has no detection in any frame of {name}"))
    short = [part.name for part in parts if 0 < len(part) < least]
    notes = [_described(name, kept, proposals)]
    if short:
        notes.append(f"{name}: shorter than a clip and left out: {first_few(short)}")
    notes += [
        f"{name}: only {100 * share:.0f} % of the boxes of {part.name} have a detection in their "
        "frame; are they of the same frames?"
        for part in kept if proposals and (share := coverage(part)) < _FEW
    ]  # fmt: skip
    return Data(spec, tuple(kept), tuple(notes))


def _video(sequence: DatasetSequence, spec: DataSpec, classes: int, read: Any) -> Labelled:
    """A sequence from its first labelled frame to its last (SPEC 9.1).

    `read` is what reads a det_db; None for no detections at all.
    """
    if sequence.source is None:
        raise InputError(f"{sequence.name} of {spec.root} has no images; they are to be trained on")
    rows = truth_rows(sequence)
    rows = rows[rows.labels < classes]
    if not len(rows):
        return Labelled(sequence.name, (), Ragged.of([], 6), Ragged.of([], 5))
    files = frame_numbers(image_names(sequence.source, "natural"))
    numbers = range(int(rows.frames.min()), int(rows.frames.max()) + 1)
    if missing := [number for number in numbers if number not in files]:
        raise InputError(
            f"{sequence.source} lacks the image of frame {missing[0]}, and of {len(missing) - 1} "
            f"more, between the first and the last frame that {sequence.truth} labels"
        )
    paths = tuple(str(sequence.source / files[number]) for number in numbers)
    table = np.column_stack([xyxy_to_ltwh(rows.xyxy), rows.ids, rows.labels])
    boxes = _detections(sequence, spec, read) if read else lambda frame: _NO_BOXES
    return Labelled(
        sequence.name, paths, Ragged.of([table[rows.frames == n] for n in numbers], 6),
        Ragged.of([boxes(Frame(_NO_IMAGE, n, path, None))
                   for n, path in zip(numbers, paths, strict=True)], 5),
    )  # fmt: skip


def _detections(sequence: DatasetSequence, spec: DataSpec, read: Any) -> Any:
    """What gives the stored boxes of a frame."""
    try:
        path = find_detections(spec.detections, sequence)
    except InputError as error:
        raise InputError(_no_detections(spec, str(error).partition(";")[0])) from error
    return open_detections(path, source_name=str(sequence.source), read=read).boxes


def _no_detections(spec: DataSpec, what: str) -> str:
    where, data = f"--dataset {spec.kind} --root {spec.root}", f"{spec.kind}:{spec.root}"
    if spec.split:
        where, data = f"{where} --split {spec.split}", f"{data},split={spec.split}"
    if spec.kind == "crowdhuman":
        where = f"--source {spec.root}/Images"
    return (
        f"{what}. The network starts from detections: make them once by `tfsasm detect {where} "
        f"--detector yolox-x --output boxes.json`, and give them by --data "
        f"{data},detections=boxes.json"
    )


def _crowd(spec: DataSpec, proposals: bool) -> Labelled:
    """All images of CrowdHuman that show somebody, as one part."""
    if proposals and spec.detections is None:
        raise InputError(_no_detections(spec, f"{spec.root} has no detections with it"))
    stored = read_det_db(spec.detections) if proposals and spec.detections else None
    by_stem = {stem: at for stems in (stored.folders.values() if stored else ())
               for stem, at in stems.items()}  # fmt: skip
    files, truth, found, lacking = [], [], [], []
    every = chain.from_iterable(map(read_odgt, find_annotations(spec.root, spec.split)))
    for image in {image.name: image for image in every}.values():  # trainval has those of train
        rows = crowd_rows(image)
        if not len(rows):
            continue
        path = find_image(spec.root, image.name)
        if path is None:
            raise InputError(f"{spec.root} has no image {image.name}.jpg, which is annotated")
        if stored and image.name not in by_stem:
            lacking.append(image.name)
            continue
        files.append(str(path))
        truth.append(np.column_stack([xyxy_to_ltwh(rows.xyxy), rows.ids, rows.labels]))
        found.append(stored.at(by_stem[image.name]) if stored else _NO_BOXES)
    if lacking:
        raise InputError(
            f"{spec.detections} has no entry for {len(lacking)} images of {spec.root}, such as "
            f"{first_few(lacking, 1)}; the stem of a key is the name of the image"
        )
    return Labelled("CrowdHuman", tuple(files), Ragged.of(truth, 6), Ragged.of(found, 5))


def _described(name: str, parts: Sequence[Labelled], proposals: bool) -> str:
    frames = sum(map(len, parts))
    boxes = sum(len(part.truth.rows) for part in parts)
    found = sum(len(part.detections.rows) for part in parts)
    videos = f"{len(parts)} videos, " if len(parts) > 1 else ""
    each = f", {found / max(frames, 1):.1f} detections per frame" if proposals else ""
    return f"{name}: {videos}{frames} frames, {boxes} boxes{each}"


def coverage(part: Labelled, most: int = 50) -> float:
    """The share of true boxes that a detection overlaps by half, in up to `most` frames."""
    hits, count = 0, 0
    for frame in np.unique(np.linspace(0, len(part) - 1, most).astype(int)):
        truth = ltwh_to_xyxy(part.truth[frame][:, :4])
        found = ltwh_to_xyxy(part.detections[frame][:, :4])
        count += len(truth)
        if len(truth) and len(found):
            hits += int((iou_matrix(truth, found, 1e-9).max(axis=1) >= 0.5).sum())
    return hits / count if count else 1.0
