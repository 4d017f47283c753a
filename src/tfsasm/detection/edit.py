"""`tfsasm detections`: convert, merge, filter and rekey stored detections.

Each is one chain: frames are read, changed on the way, and written as they come.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from rich.console import Console

from tfsasm.detection.det_db import write_det_db
from tfsasm.detection.formats import (
    CocoImages,
    FrameBoxes,
    Reading,
    place,
    read_coco,
    read_frames,
    sequence_of,
    write_coco,
    write_mot,
    write_mot_folder,
)
from tfsasm.detection.json_stream import first_character
from tfsasm.errors import InputError
from tfsasm.files import check_output

if TYPE_CHECKING:
    from tfsasm.cli import detections

Frames = Iterator[FrameBoxes]

Kind = Literal["mot", "det_db", "coco"]


def merge(
    streams: Mapping[Path, Iterable[FrameBoxes]], clash: Literal["error", "first"],
    notes: list[str],
) -> Frames:
    """The frames of all streams, each of them once.

    Raises `InputError` for a frame whose boxes differ in two, unless `clash` is `first`; `notes`
    tells at the end how often that was.
    """
    seen: dict[tuple[str, ...], dict[str, int]] = {}
    same = differing = 0
    for path, frames in streams.items():
        for frame in frames:
            folder, stem = place(frame.key)
            sums = seen.setdefault(folder, {})
            digest = zlib.crc32(frame.boxes.tobytes())
            if stem not in sums:
                sums[stem] = digest
                yield frame
            elif sums[stem] == digest:
                same += 1
            elif clash == "first":
                differing += 1
            else:
                raise InputError(
                    f"{path}: an earlier input has other boxes for {frame.key}; leave one of them "
                    "away, or let the first count with --clash first"
                )
    if same:
        notes.append(f"{same:,} frames were in several inputs, with the same boxes")
    if differing:
        notes.append(f"{differing:,} frames were in several inputs, with other boxes; the first's "
                     "were kept")


def filter_boxes(frames: Iterable[FrameBoxes], job: detections.FilterDetections) -> Frames:
    """The frames of the wanted sequences, with the wanted boxes; a frame may become empty.

    Raises `InputError` at the end for a sequence that was not there.
    """
    absent = set(job.sequences)
    for frame in frames:
        name = sequence_of(frame.key)
        if job.sequences and name not in job.sequences:
            continue
        absent.discard(name)
        _, _, width, height, score = frame.boxes.T
        wanted = (score >= job.score) & (width >= job.min_width) & (height >= job.min_height)
        wanted &= width * height >= job.min_area
        if job.categories:
            if frame.categories is None:
                raise InputError("only COCO results have classes; leave --categories away")
            wanted &= np.isin(np.asarray(frame.categories, np.int64), job.categories)
        labels = frame.categories and list(compress(frame.categories, wanted))
        lines = list(compress(frame.lines, wanted))
        yield FrameBoxes(frame.key, lines, frame.boxes[wanted], labels)
    if absent:
        raise InputError(f"{job.input} has no sequence {', '.join(sorted(absent))}")


def rekey(frames: Iterable[FrameBoxes], old: str, new: str, notes: list[str]) -> Frames:
    """The frames with `new` for `old` at the beginning of their keys, by whole folders.

    Raises `InputError` when no key begins so; `notes` tells how many did not.
    """
    begins, puts = old.strip("/"), new.strip("/")
    changed = others = 0
    for frame in frames:
        key = frame.key.replace("\\", "/").lstrip("/")
        if begins and not key.startswith(f"{begins}/"):
            others += 1
            yield frame
            continue
        changed += 1
        rest = key[len(begins) :].lstrip("/")
        yield frame._replace(key=f"{puts}/{rest}" if puts else rest)
    if others and not changed:
        raise InputError(f"no key begins with {old!r}; they are such as {frame.key!r}")
    if others:
        notes.append(f"{others:,} keys do not begin with {old!r} and stay")


def kind_of(path: Path) -> Kind:
    """What a file of detections is, by its first character; a folder holds MOT text."""
    if path.is_dir():
        return "mot"
    first = first_character(path)
    if first == "[":
        return "coco"
    return "det_db" if first == "{" or path.suffix.lower() == ".json" else "mot"


@dataclass
class _Count:
    """What went by."""

    frames: int = 0
    boxes: int = 0

    def of(self, frames: Iterable[FrameBoxes]) -> Frames:
        for frame in frames:
            self.frames += 1
            self.boxes += len(frame.boxes)
            yield frame

    def __str__(self) -> str:
        return f"{self.boxes:,} boxes of {self.frames:,} frames"


class _Run:
    """One command: its inputs, its output, and what is to be said in the end."""

    def __init__(
        self, job: Any, inputs: tuple[Path, ...], console: Console, *,
        prefix: str | None = None, digits: int = 8, images: Path | None = None,
    ) -> None:
        self.notes: list[str] = []
        self._job, self._console = job, console
        self._reading = Reading(prefix, digits, job.skip_bad_detections)
        self._kinds = {path: kind_of(path) for path in inputs}
        if not inputs or len(self._kinds) < len(inputs):
            raise InputError("give each input, and once")
        if any(path.resolve() == job.output.resolve() for path in inputs):
            raise InputError(f"{job.output} is an input; write the output elsewhere")
        self._images = CocoImages(images, prefix) if images else None
        self._read = _Count()

    def read(self, path: Path) -> Frames:
        """The frames of an input."""
        if self._kinds[path] != "coco":
            return self._read.of(read_frames(path, self._reading))
        return self._read.of(read_coco(path, self._reading, self._images))

    def write(self, frames: Frames, *, to: Kind | None = None, category: int = 1) -> None:
        """Write the frames as they come, and say what came of it."""
        kind, path, written = to or self._usual(), self._job.output, _Count()
        self._check(kind, path)
        with self._console.status("reading and writing"):
            frames = written.of(frames)
            if kind == "coco":
                write_coco(path, frames, self._images, category)
            elif kind == "det_db":
                write_det_db(path, ((frame.key, frame.lines) for frame in frames))
            elif path.suffix:
                write_mot(path, frames)
            else:
                write_mot_folder(path, frames, overwrite=self._job.overwrite)
        if self._reading.skipped.count:
            self.notes.append(str(self._reading.skipped))
        for line in (f"read {self._read}", *self.notes, f"wrote {written}: {path}"):
            self._console.print(line, soft_wrap=True, highlight=False, markup=False)

    def _usual(self) -> Kind:
        """The format that the output's suffix tells."""
        if self._job.output.suffix.lower() != ".json":
            return "mot"
        return "coco" if {*self._kinds.values()} == {"coco"} and not self._images else "det_db"

    def _check(self, kind: Kind, path: Path) -> None:
        if kind != "mot" and path.suffix.lower() != ".json":
            raise InputError(f"{path}: {kind} is JSON; give a name that ends in .json")
        if kind == "mot" and path.suffix.lower() not in ("", ".txt"):
            raise InputError(f"{path}: give a .txt, a folder, or a .json")
        if not self._images and len({"coco"} & {kind, *self._kinds.values()}) and (
            {kind, *self._kinds.values()} != {"coco"}
        ):
            raise InputError("COCO results know images by number; say which these are with "
                             "--images FILE, a COCO file with a list of images")
        if path.suffix:
            check_output(path, overwrite=self._job.overwrite)
