"""`tfsasm detect`: a detector over a video or a data set, and its boxes kept for later runs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tfsasm.datasets.sequences import Sequence
from tfsasm.detection.det_db import components, split_key, write_det_db
from tfsasm.detection.detectors import Detector
from tfsasm.detection.proposals import Proposals
from tfsasm.errors import InputError, TruncatedInput
from tfsasm.files import atomic_path, writing
from tfsasm.video.prefetch import prefetch
from tfsasm.video.source import Frame, open_video

_OFFICIAL = {
    "dancetrack": "DanceTrack", "mot15": "MOT15", "mot16": "MOT16", "mot17": "MOT17",
    "mot20": "MOT20", "sportsmot": "SportsMOT", "bdd100k": "BDD100K",
}  # fmt: skip

_AHEAD = 4  # frames decoded in advance

_CUT = "cut short: "


@dataclass(frozen=True)
class Part:
    """A video to go through."""

    name: str
    source: Path
    folder: str | None
    """What keys of its frames begin with; None: the place of the frame itself."""
    length: int | None
    """Frames, where that is known."""


def folder_of(sequence: Sequence) -> str:
    """What the keys of a sequence begin with: `DanceTrack/train/dancetrack0001/img1`.

    Data set, folder around the sequence and name, wherever on this machine they lie.
    """
    place = sequence.source.resolve() if sequence.source else Path()
    inner = "img1" if place.name == "img1" else ""
    above = (place.parent if inner else place).parent
    whole = _OFFICIAL.get(sequence.dataset, above.parent.name)
    return "/".join(filter(None, (whole, above.name, sequence.name, inner)))


def as_lines(proposals: Proposals, width: int, height: int) -> list[str]:
    """`"left,top,width,height,score\\n"` in pixels: hundredths, scores in ten-thousandths."""
    boxes = proposals.boxes.astype(np.float64) * np.array([width, height, width, height])
    sizes = boxes[:, 2:].clip(min=0.01)  # no box of nothing
    rows = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, sizes], axis=1).tolist()
    return [
        f"{left:.2f},{top:.2f},{w:.2f},{h:.2f},{score:.4f}\n"
        for (left, top, w, h), score in zip(rows, proposals.scores.tolist(), strict=True)
    ]


def key_of(part: Part, frame: Frame) -> str:
    """The name of a frame in a det_db: its path with the suffix `.txt`.

    Of a video, which has no paths, one is made of its name and the number.
    """
    if re.search(r"#\d+$", frame.name):
        return f"{part.folder or part.name}/img1/{frame.number:08d}.txt"
    prefix, stem = split_key(frame.name)
    return "/".join([*components(prefix if part.folder is None else part.folder), f"{stem}.txt"])


def write(journal: Journal, output: Path, parts: list[Part]) -> tuple[int, int]:
    """Write all that was found, as the suffix says; returns the numbers of frames and boxes."""
    count = [0, 0]

    def counted() -> Iterator[FrameRecord]:
        for found in journal.frames():
            count[0] += 1
            count[1] += len(found.lines)
            yield found

    if output.suffix.lower() == ".json":
        write_det_db(output, ((found.key, found.lines) for found in counted()))
    elif output.suffix:
        _write_mot(output, counted())
    else:
        empty = dict.fromkeys(part.name for part in parts)
        for name, of_name in groupby(counted(), lambda found: found.sequence):
            _write_mot(output / f"{name}.txt", of_name)
            empty.pop(name)
        for name in empty:
            _write_mot(output / f"{name}.txt", iter(()))
    return count[0], count[1]


def _write_mot(path: Path, frames: Iterator[FrameRecord]) -> None:
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for found in frames:
            file.writelines(f"{found.number},-1,{line.strip()},-1,-1,-1\n" for line in found.lines)


def _single(source: Path) -> Part:
    if not source.exists():
        raise InputError(f"{source} does not exist; give a video or a folder of images. What is "
                         "live is for tfsasm track")
    names = [part for part in source.resolve().parts if part != "img1"]
    return Part(source.stem if source.is_file() else names[-1], source, None, None)


def _detect_all(
    parts: list[Part], find: Detector, journal: Journal, errors: Console, *, quiet: bool
) -> None:
    lengths = [part.length or 0 for part in parts]
    with _progress(errors, sum(lengths), quiet=quiet) as step:
        for part in parts:
            if part.name in journal.finished:
                step(part.name, part.length or 0, None)
                continue
            first = journal.begun[1] if journal.begun and journal.begun[0] == part.name else 1
            journal.finish(part.name, _detect(part, first, find, journal, step))


def _detect(
    part: Part, first: int, find: Detector, journal: Journal,
    step: Callable[[str, int, int | None], None],
) -> list[str]:
    """Look at one video from frame `first` on; returns what is to be told of it."""
    notes = []
    with open_video(part.source, start=first) as source:
        whole = None if part.length or source.count is None else source.count + first - 1
        step(part.name, first - 1, whole)
        try:
            with closing(prefetch(source, _AHEAD)) as frames:
                for frame in frames:
                    height, width = frame.image.shape[:2]
                    lines = as_lines(find(frame), width, height)
                    journal.add(FrameRecord(part.name, frame.number, key_of(part, frame), lines))
                    step(part.name, 1, None)
        except TruncatedInput as cut:
            notes.append(f"{_CUT}{cut}")
        return [*source.problems, *notes]


@contextmanager
def _progress(
    errors: Console, total: int, *, quiet: bool
) -> Iterator[Callable[[str, int, int | None], None]]:
    """A function to tell it which video is looked at, how many frames were, how many there are."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())
    with Progress(*columns, console=errors, disable=quiet) as bar:
        task = bar.add_task("detecting", total=total or None)

        def step(name: str, frames: int, whole: int | None) -> None:
            bar.update(task, description=f"detecting {name}", advance=frames)
            if whole:
                bar.update(task, total=whole)

        yield step


def _digest(path: Path | None) -> str | None:
    """What tells one file of weights from another."""
    if path is None:
        return None
    if not path.is_file():
        return str(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class FrameRecord(NamedTuple):
    """The boxes of one frame."""

    sequence: str
    number: int
    """From 1."""
    key: str
    """As a det_db calls the frame."""
    lines: list[str]
    """`"left,top,width,height,score\\n"` each."""


class Journal:
    """The record at `path` of the run that `about` describes: an earlier one's, or a new one.

    `finished` has the sequences that are done, with what is to be told of each; `begun` is one that
    is not, and the frame to go on with. Raises `InputError` when the file is of another run, unless
    it may be overwritten.
    """

    def __init__(self, path: Path, about: dict[str, Any], *, overwrite: bool = False) -> None:
        self.path = path
        self.finished: dict[str, list[str]] = {}
        self.begun: tuple[str, int] | None = None
        about = json.loads(json.dumps(about))
        whole = self._read(about, overwrite=overwrite) if path.exists() else 0
        self._file = path.open("r+b" if whole else "wb")
        self._file.truncate(whole)
        self._file.seek(whole)
        if not whole:
            self._append(about)

    def add(self, found: FrameRecord) -> None:
        """Note a frame."""
        self._append(found)

    def finish(self, sequence: str, notes: list[str]) -> None:
        """Note that a sequence is done."""
        self._append({"done": sequence, "notes": notes})
        self.finished[sequence] = notes

    def frames(self) -> Iterator[FrameRecord]:
        """All frames, in the order they were noted."""
        with self.path.open("rb") as file:
            file.readline()
            for line in file:
                row = json.loads(line)
                if isinstance(row, list):
                    yield FrameRecord(*row)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with writing(self.path):
            self._file.close()

    def _append(self, row: Any) -> None:
        with writing(self.path):
            self._file.write(json.dumps(row).encode() + b"\n")
            self._file.flush()

    def _read(self, about: dict[str, Any], *, overwrite: bool) -> int:
        """Take over what is there; returns how many bytes of it are good, 0 for none."""
        with self.path.open("rb") as file:
            line = file.readline()
            if not line.endswith(b"\n"):  # killed before anything was done
                return 0
            before = _value(line)
            if before != about:
                if overwrite:
                    return 0
                raise InputError(
                    f"{self.path} is of another run ({_difference(before, about)}); give its "
                    "options to go on with it, or --overwrite to begin anew"
                )
            good = file.tell()
            for line in file:
                row = _value(line) if line.endswith(b"\n") else None
                if isinstance(row, dict):
                    self.finished[row["done"]] = row["notes"]
                    self.begun = None
                elif isinstance(row, list):
                    found = FrameRecord(*row)
                    self.begun, last = (found.sequence, found.number), good
                else:
                    break
                good += len(line)
        return good if self.begun is None else last


def _value(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _difference(before: Any, about: dict[str, Any]) -> str:
    """What the two runs differ in."""
    if not isinstance(before, dict):
        return "or no record of a run at all"
    names = [name for name in about if before.get(name) != about[name]]
    return "; ".join(f"{name} was {before.get(name)!r}, is {about[name]!r}" for name in names)
