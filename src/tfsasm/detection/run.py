"""A detector over videos or a data set, and its boxes kept for later runs.

What is found goes into a journal beside the output at once, so that a run that was stopped or
killed continues where it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from tfsasm.datasets.sequences import Sequence as DataSequence
from tfsasm.detection.det_db import components, split_key, write_det_db
from tfsasm.detection.detectors import Detector
from tfsasm.detection.formats import Count, FrameRecord, write_mot
from tfsasm.detection.proposals import Proposals
from tfsasm.errors import InputError, TruncatedInput, first_few
from tfsasm.files import checked, field, locked, parsed, reading, shown, writing
from tfsasm.limits import open_to_go_on
from tfsasm.video.addresses import public_address
from tfsasm.video.prefetch import prefetch
from tfsasm.video.source import Frame, open_video

_OFFICIAL = {"dancetrack": "DanceTrack", "sportsmot": "SportsMOT"}  # others are all capitals

_AHEAD = 4  # frames decoded in advance

_CUT = "cut short: "


@dataclass(frozen=True)
class Video:
    """A video to detect in."""

    name: str
    source: Path
    folder: str | None
    """What keys of its frames begin with; None: the place of the frame itself."""
    length: int | None
    """Frames, where that is known."""


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    frames: int
    boxes: int
    notes: tuple[str, ...]
    """Problems of the videos, a sentence each."""
    truncated: bool
    """Whether a video ended before its end."""


Step = Callable[[str, int, int | None], None]
"""Takes a video's name, the frames that were done now, and its length where that shows only now."""


def detect(
    videos: Sequence[Video], detector: Detector, output: Path, journal_file: Path,
    about: dict[str, Any], *, overwrite: bool, step: Step,
) -> Outcome:
    """Detect in all frames of the videos and write `output`, a .json, a .txt or a folder.

    `journal_file` keeps what is done and what `about` says of the run, and goes when `output`
    is written; where it is there already, the run continues. Raises `InputError` for the journal
    of another run, unless it may be overwritten.
    """
    with Journal(journal_file, about, overwrite=overwrite) as journal:
        for video in videos:
            if video.name in journal.finished:
                step(video.name, video.length or 0, None)
                continue
            begun, number = journal.begun or ("", 1)
            first, notes = number if begun == video.name else 1, list[str]()
            with closing(_detected(video, detector, journal.add, notes, first)) as steps:
                for frames, length in steps:
                    step(video.name, frames, length)
            journal.finish(video.name, notes)
        outcome = write_found(journal, output, videos, overwrite=overwrite)
    journal.remove()
    return outcome


def write_found(
    journal: Journal, output: Path, videos: Sequence[Video], *, overwrite: bool
) -> Outcome:
    """Write `output`, as its suffix says, from a journal in which all videos are finished."""
    names, count = [video.name for video in videos], Count()
    records = count.of(journal.frames(names))
    if output.suffix.lower() == ".json":
        write_det_db(output, ((record.key, record.lines) for record in records))
    else:
        write_mot(output, records, overwrite=overwrite, names=names)
    notes = tuple(note for name in names for note in journal.finished[name])
    return Outcome(count.frames, count.boxes, notes, any(_CUT in note for note in notes))


def detect_whole(video: Video, detector: Detector) -> Generator[int, None, Found]:
    """Detect in all of a video, for a process that has no journal; yields how many frames are done.

    Raises `InputError` for what cannot be read.
    """
    found = Found([], [])
    with closing(_detected(video, detector, found.records.append, found.notes)) as steps:
        for _ in steps:
            yield len(found.records)
    return found


def _detected(
    video: Video, detector: Detector, add: Callable[[FrameRecord], None], notes: list[str],
    first: int = 1,
) -> Generator[tuple[int, int | None], None, None]:
    """Detect from frame `first` on; yields what a `Step` takes after the name.

    Frames go to `add`, and in the end the video's problems to `notes`.
    """
    with open_video(video.source, start=first) as source:
        length = None if video.length or source.count is None else source.count + first - 1
        yield first - 1, length
        try:
            with closing(prefetch(source, _AHEAD)) as frames:
                for frame in frames:
                    height, width = frame.image.shape[:2]
                    lines = as_lines(detector(frame), width, height)
                    add(FrameRecord(video.name, frame.number, key_of(video, frame), lines))
                    yield 1, None
        except TruncatedInput as cut:
            notes.append(f"{_CUT}{cut}")
        notes[:0] = source.problems


def single_video(source: Path) -> Video:
    """A video file or a folder of images. Raises `InputError` for what is not there."""
    if not source.exists():
        raise InputError(f"{public_address(str(source))} does not exist; give a video or a folder "
                         "of images. Cameras and streams are for tfsasm track")
    names = [part for part in source.resolve().parts if part != "img1"]
    return Video(source.stem if source.is_file() else names[-1], source, None, None)


def data_set_videos(sequences: Sequence[DataSequence]) -> list[Video]:
    """The sequences of a data set. Raises `InputError` for those without images."""
    if without := [sequence.name for sequence in sequences if sequence.source is None]:
        raise InputError(f"{len(without)} sequence(s) have no images: {', '.join(without[:5])}; "
                         "add them, or choose others with --sequences")
    return [
        Video(sequence.name, sequence.source, folder_of(sequence), sequence.length)
        for sequence in sequences if sequence.source is not None
    ]  # fmt: skip


def folder_of(sequence: DataSequence) -> str:
    """What the keys of a sequence begin with: `DanceTrack/train/dancetrack0001/img1`.

    Data set, folder around the sequence and name, wherever on this machine they lie.
    """
    place = sequence.source.resolve() if sequence.source else Path()
    inner = "img1" if place.name == "img1" else ""
    above = (place.parent if inner else place).parent
    official = _OFFICIAL.get(sequence.dataset, sequence.dataset.upper())
    whole = above.parent.name if sequence.dataset == "mot" else official
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


def key_of(video: Video, frame: Frame) -> str:
    """The name of a frame in a det_db: its path with the suffix `.txt`.

    Of a video, which has no paths, one is made of its name and the number.
    """
    if re.search(r"#\d+$", frame.name):
        return f"{video.folder or video.name}/img1/{frame.number:08d}.txt"
    prefix, stem = split_key(frame.name)
    return "/".join([*components(prefix if video.folder is None else video.folder), f"{stem}.txt"])


class Found(NamedTuple):
    """What was found in a video."""

    records: list[FrameRecord]
    notes: list[str]


class Journal:
    """The record at `path` of the run that `about` describes: an earlier one's, or a new one.

    `finished` has the sequences that are done, with the notes on each; `begun` is one that is not,
    and the frame to continue with; with `whole` that one starts over. Raises `InputError` when the
    file is of another run, unless it may be overwritten, and while another process writes it.
    """

    def __init__(
        self, path: Path, about: dict[str, Any], *, overwrite: bool = False, whole: bool = False
    ) -> None:
        self.path = path
        self.finished: dict[str, list[str]] = {}
        self.begun: tuple[str, int] | None = None
        self._spans: dict[str, tuple[int, int]] = {}  # where the frames of those finished are
        about = json.loads(json.dumps(about))
        with ExitStack() as opened:
            with reading(path):
                self._file = opened.enter_context(open_to_go_on(path))
            opened.enter_context(locked(path))
            good = self._read(about, overwrite=overwrite, whole=whole)
            self._open = opened.pop_all()
        self._file.truncate(good)
        self._file.seek(good)
        if not good:
            self.add(about)
            self._first = self._file.tell()

    def add(self, row: FrameRecord | dict[str, Any]) -> None:
        """Note a frame; what the run is, and the end of a sequence, are rows too."""
        with writing(self.path):
            self._file.write(json.dumps(row).encode() + b"\n")
            self._file.flush()

    def finish(self, sequence: str, notes: list[str]) -> None:
        """Note that a sequence is done, whose frames were the last that were noted."""
        self._spans[sequence] = self._first, self._file.tell()
        self.add({"done": sequence, "notes": notes})
        self.finished[sequence] = notes
        self._first = self._file.tell()

    def frames(self, sequences: Iterable[str]) -> Iterator[FrameRecord]:
        """The frames of some finished sequences, one sequence after the other."""
        with self.path.open("rb") as file:
            for first, end in (self._spans[name] for name in sequences):
                file.seek(first)
                while file.tell() < end:
                    if isinstance(row := _row(file.readline()), FrameRecord):
                        yield row

    def remove(self) -> None:
        """When it is closed and all is written."""
        self.path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with writing(self.path), self._open:
            self._file.flush()

    def _read(self, about: dict[str, Any], *, overwrite: bool, whole: bool) -> int:
        """Take over what is there; returns how many bytes of it are good, 0 for none."""
        with reading(self.path), self.path.open("rb") as file:
            line = file.readline()
            if not line.endswith(b"\n") and line[:1] in b"{":  # killed before anything was done
                return 0
            before = _json(line)
            if before != about and overwrite:
                return 0
            if before != about:
                raise InputError(
                    f"{self.path} is of another run ({_difference(before, about)}); give its "
                    "options to continue it, or --overwrite to start over"
                )
            good = self._first = file.tell()
            for line in file:
                row = _row(line)
                if row is None:
                    break
                if isinstance(row, FrameRecord):
                    self.begun, last = (row.sequence, row.number), good
                else:
                    self.finished[row[0]] = row[1]
                    self._spans[row[0]] = self._first, good
                    self._first = good + len(line)
                    self.begun = None
                good += len(line)
        if whole:
            self.begun = None
            return self._first
        return good if self.begun is None else last


def _row(line: bytes) -> FrameRecord | tuple[str, list[str]] | None:
    """A frame, or a finished sequence and its notes; None for a line that is damaged, or cut."""
    row = _json(line)
    with suppress(ValueError):
        if isinstance(row, dict):
            return field(row, "done", str), _texts(row.get("notes"), "notes")
        name, number, key, lines = checked(row, "row", list)
        return FrameRecord(
            checked(name, "sequence", str), checked(number, "number", int),
            checked(key, "key", str), _texts(lines, "lines"),
        )
    return None


def _texts(value: Any, what: str) -> list[str]:
    return [checked(text, what, str) for text in checked(value, what, list)]


def _json(line: bytes) -> Any:
    with suppress(ValueError):
        return parsed(line.decode()) if line.endswith(b"\n") else None


def _difference(before: Any, about: dict[str, Any]) -> str:
    if not isinstance(before, dict):
        return "or no record of a run at all"
    changed = list[str]()
    for name, value in about.items():
        old = before.get(name, "nothing")
        lists = isinstance(old, list) and isinstance(value, list)
        if lists and all(isinstance(text, str) for text in (*old, *value)) and {*old} != {*value}:
            for word, texts, others in (("without", old, {*value}), ("with", value, {*old})):
                if own := [text for text in texts if text not in others]:
                    changed.append(f"{name} {word} {first_few(own)}")
        elif old != value:
            changed.append(f"{name} was {shown(old) if name in before else old}, is {shown(value)}")
    return first_few(changed, 5, "; ")
