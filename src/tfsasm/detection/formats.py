"""Stored detections as a stream of frames, whatever the file: det_db JSON or MOT text.

They are read, put together, filtered, given other keys and written frame by frame; COCO results are
read in `coco.py`. A frame keeps its boxes as the text they came as, so that what is only passed on
stays equal to the last digit. Beside the text are the numbers, checked.
"""

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress, groupby
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from tfsasm.detection.det_db import LINE, Folder, components, kind_of, parsed_entries, split_key
from tfsasm.errors import InputError
from tfsasm.files import check_folder, check_output, partial_folder, safe_name, writing
from tfsasm.limits import FRAMES
from tfsasm.motchallenge import FRAMES_FROM_0, Skipped, read_detections, with_commas
from tfsasm.tables import Doubles

Note = Callable[[str], None]
"""Takes a sentence on what came of it, when a stream has ended."""


class FrameBoxes(NamedTuple):
    """The boxes of one frame."""

    key: str
    """`DanceTrack/val/dancetrack0004/img1/00000001.txt`; of COCO results without their table of
    images, the image's id as JSON."""
    lines: list[str]
    """`"left,top,width,height,score\\n"` each."""
    boxes: Doubles
    """The same as numbers `[P, 5]`."""
    categories: list[int] | None = None
    """Number of each box's class, where the file has one of all."""


class FrameRecord(NamedTuple):
    """The same of a frame whose sequence and number are known."""

    sequence: str
    number: int
    """From 1, or 0."""
    key: str
    lines: list[str]


Frames = Iterator[FrameBoxes]

AnyFrame = TypeVar("AnyFrame", FrameBoxes, FrameRecord)


@dataclass
class Count:
    """Frames and boxes that went by."""

    frames: int = 0
    boxes: int = 0

    def of(self, frames: Iterable[AnyFrame]) -> Iterator[AnyFrame]:
        """The same frames, counted."""
        for frame in frames:
            self.frames += 1
            self.boxes += len(frame.lines)
            yield frame

    def __str__(self) -> str:
        return f"{self.boxes:,} boxes of {self.frames:,} frames"


@dataclass
class Reading:
    """How inputs are read, and what was left out of them."""

    prefix: str | None = None
    """What keys of MOT text begin with; by default the two folders above the sequence."""
    digits: int = 8
    """Width of the frame numbers in keys of MOT text."""
    skip_bad: bool = False
    """Leave bad lines out."""
    skipped: Skipped = field(default_factory=Skipped)
    notes: list[str] = field(default_factory=list)
    """What was assumed."""

    def __post_init__(self) -> None:
        if not 1 <= self.digits <= 18:
            raise InputError(f"digits is {self.digits}; give a number from 1 to 18")

    def leave_out(self, bad: Skipped) -> None:
        """Count bad lines. Raises `InputError` for the first where they may not be left out."""
        if not self.skip_bad:
            raise InputError(bad.first)
        self.skipped += bad

    def usable(self, path: Path, frames: Iterable[FrameBoxes]) -> Frames:
        """The same frames. Raises `InputError` at the end where bad lines were all there was."""
        before, self.skipped, count = self.skipped, Skipped(), Count()
        yield from count.of(frames)
        if self.skipped.count and not count.boxes:
            raise self.skipped.all_of(path)
        self.skipped = before + self.skipped


def read_frames(path: Path, reading: Reading) -> Frames:
    """The frames of a det_db, a `det.txt` or a folder of such; each of them once.

    Raises `InputError` for a file that cannot be read, lines that cannot be used and keys that name
    the same frame.
    """
    kind = kind_of(path)
    if path.is_dir():
        files = det_files(path)
        parts = (_read_mot(file, name, reading, path) for name, file in files.items())
        return once(frame for part in parts for frame in part)
    if kind != "mot":
        return once(reading.usable(path, _read_det_db(path, reading)))
    name = path.parent.parent.name if path.parent.name == "det" else path.stem
    above = path.resolve().parents[2] if path.parent.name == "det" else None
    return _read_mot(path, name, reading, above)


def _read_det_db(path: Path, reading: Reading) -> Frames:
    for key, lines, boxes, bad in parsed_entries(path):
        if bad.count:
            reading.leave_out(bad)
            lines = [line for line in lines if _good(line)]
        yield FrameBoxes(key, lines, boxes[:, :5], _whole(boxes[:, 5]))


def _whole(classes: Doubles) -> list[int] | None:
    """Classes `[P]` as whole numbers, if all are such."""
    good = (np.abs(classes) <= 2.0**53) & (np.floor(classes) == classes)
    return classes.astype(np.int64).tolist() if good.all() else None


def _good(line: str) -> bool:
    try:
        return bool(LINE.parse(line))
    except ValueError:
        return False


def _read_mot(path: Path, name: str, reading: Reading, above: Path | None) -> Frames:
    """Every frame up to the last with a box: a det_db knows empty frames from absent ones."""
    found = read_detections(path, skip_bad=reading.skip_bad)
    reading.skipped += found.skipped
    if found.from_zero:
        reading.notes.append(f"{path}: {FRAMES_FROM_0}")
    prefix = reading.prefix
    if prefix is None:
        prefix = "/".join(above.resolve().parts[1:][-2:]) if above else ""
    last = max(found, default=0)
    if last > FRAMES.value:  # a mistake, and would make as many empty frames
        most = f"{FRAMES.value:,} at most"
        raise InputError(f"{path}: frame {last} is not of a video, which has {most}")
    for number in range(1, last + 1):
        boxes, classes = found.get(number, np.zeros((0, 5))), found.classes.get(number, np.zeros(0))
        rows = zip(boxes.tolist(), classes.tolist(), strict=True)
        lines = [as_line(box if np.isnan(kind) else [*box, int(kind)]) for box, kind in rows]
        key = "/".join([*components(prefix), name, "img1", f"{number:0{reading.digits}}.txt"])
        yield FrameBoxes(key, lines, boxes, _whole(classes))


def det_files(folder: Path) -> dict[str, Path]:
    """The MOT detections in a folder, by sequence: `NAME/det/det.txt`, `NAME/det.txt`, `NAME.txt`.

    Raises `InputError` when there are none, or two of a name.
    """
    found: dict[str, Path] = {}
    for form in ("*/det/det.txt", "*/det.txt", "*.txt"):
        for path in sorted(folder.glob(form)):
            name = path.stem if form == "*.txt" else path.relative_to(folder).parts[0]
            if name in found:
                raise InputError(f"{found[name]} and {path} are both of {name}; keep one")
            found[name] = path
    if not found:
        raise InputError(f"no detections in {folder}: wanted are NAME/det/det.txt or NAME.txt")
    return dict(sorted(found.items()))


def once(frames: Iterable[FrameBoxes]) -> Frames:
    """The same frames. Raises `InputError` when two keys name the same one."""
    seen: dict[Folder, set[str]] = {}
    for frame in frames:
        folder, stem = place(frame.key)
        stems = seen.setdefault(folder, set())
        if stem in stems:
            raise InputError(f"{frame.key} is there twice; keep one of its entries")
        stems.add(stem)
        yield frame


def merge(
    streams: Mapping[Path, Iterable[FrameBoxes]], clash: Literal["error", "first"], note: Note
) -> Frames:
    """The frames of all streams, each of them once.

    Raises `InputError` for a frame whose boxes, or classes where both have some, differ in two,
    unless `clash` is `first`.
    """
    contents: dict[Folder, dict[str, tuple[int, int | None]]] = {}
    same = differing = 0
    for path, frames in streams.items():
        for frame in frames:
            folder, stem = place(frame.key)
            of_folder = contents.setdefault(folder, {})
            boxes, labels = zlib.crc32(frame.boxes.tobytes()), frame.categories
            kinds = zlib.crc32(repr(labels).encode()) if labels else None
            first = of_folder.get(stem)
            if first is None:
                of_folder[stem] = boxes, kinds
                yield frame
            elif boxes == first[0] and (kinds == first[1] or None in (kinds, first[1])):
                same += 1
            elif clash == "first":
                differing += 1
            else:
                raise InputError(
                    f"{path}: an earlier input has other boxes for {frame.key}; leave one of them "
                    "away, or let the first count with --clash first"
                )
    if same:
        note(f"{same:,} frames were in several inputs, with the same boxes")
    if differing:
        note(f"{differing:,} frames were in several inputs, with other boxes; the first's were "
             "kept")


def filter_boxes(
    frames: Iterable[FrameBoxes], *, score: float = float("-inf"), min_width: float = 0.0,
    min_height: float = 0.0, min_area: float = 0.0, categories: Sequence[int] = (),
    sequences: Sequence[str] = (),
) -> Frames:
    """The frames of some sequences, or all, with the boxes that reach every threshold, in pixels.

    A frame may become empty. Raises `InputError` for `categories` (numbers of classes) of boxes
    without a class, and at the end for a sequence that was not there.
    """
    least = [score, min_width, min_height, min_area]
    if np.isnan(least).any():
        name = ("score", "min_width", "min_height", "min_area")[int(np.isnan(least).argmax())]
        raise InputError(f"{name} is not a number, so no box would reach it")
    absent = set(sequences)
    for frame in frames:
        name = sequence_of(frame.key)
        if sequences and name not in sequences:
            continue
        absent.discard(name)
        _, _, width, height, scores = frame.boxes.T
        kept = (scores >= score) & (width >= min_width) & (height >= min_height)
        kept &= width * height >= min_area
        if categories:
            if frame.categories is None:
                raise InputError(f"not all boxes of {frame.key} have a class; leave --categories "
                                 "away")  # fmt: skip
            kept &= np.isin(frame.categories, categories)
        labels = frame.categories and list(compress(frame.categories, kept))
        yield FrameBoxes(frame.key, list(compress(frame.lines, kept)), frame.boxes[kept], labels)
    if absent:
        raise InputError(f"the input has no sequence {', '.join(sorted(absent))}")


def rekey(frames: Iterable[FrameBoxes], old: str, new: str, note: Note) -> Frames:
    """The frames with `new` for `old` at the beginning of their keys, by whole folders.

    Raises `InputError` when no key begins so.
    """
    before, after = old.strip("/"), new.strip("/")
    changed = others = 0
    for frame in frames:
        key = frame.key.replace("\\", "/").lstrip("/")
        if before and not key.startswith(f"{before}/"):
            others += 1
            yield frame
            continue
        changed += 1
        rest = key[len(before) :].lstrip("/")
        yield frame._replace(key=f"{after}/{rest}" if after else rest)
    if others and not changed:
        raise InputError(f"no key begins with {old!r}; they are such as {frame.key!r}")
    if others:
        note(f"{others:,} keys do not begin with {old!r} and stay")


def mot_rows(frames: Iterable[FrameBoxes], output: Path) -> Iterator[FrameRecord]:
    """Frames as `write_mot` takes them.

    Raises `InputError` for what MOT text cannot hold: two sequences in a `det.txt`, two of the same
    or no name in a folder, two frames of the same number or one of none.
    """
    known: dict[str, tuple[Folder, set[int]]] = {}
    for frame in frames:
        folder, _ = place(frame.key)
        name = output.stem if output.suffix else sequence_of(frame.key)
        if not name:
            raise InputError(f"the key {frame.key!r} names no sequence; write a .json or a .txt")
        if not output.suffix:
            safe_name(name, f"the sequence of the key {frame.key!r},")
        first, numbers = known.setdefault(name, (folder, set()))
        if folder != first:
            where = "/".join(folder)
            raise InputError(
                f"{output} holds one sequence, and there are more, such as {where}; give a folder, "
                "or a .json" if output.suffix else
                f"{'/'.join(first)} and {where} have the same name {name!r}, so the same file; "
                "write a .json"
            )
        number = number_of(frame.key)
        if number in numbers:
            raise InputError(
                f"{frame.key}: another frame of its sequence has the number {number} too"
            )
        numbers.add(number)
        yield FrameRecord(name, number, frame.key, frame.lines)


def write_mot(
    output: Path, frames: Iterable[FrameRecord], *, overwrite: bool, names: Iterable[str] = ()
) -> list[str]:
    """Write a `det.txt` of one sequence, or a folder of a `NAME.txt` for each, when all is done.

    Of `names` there are files even if there are no frames. A sequence that has a frame 0 counts
    from 0, and its frames move by one; these files are returned. Raises `InputError` for a file
    that exists.
    """
    from_zero: set[str] = set()
    folder, single = (output.parent, output.name) if output.suffix else (output, "")
    check_folder(folder)
    with writing(output), partial_folder(folder, "detections") as partial:
        for file in [single] if single else [f"{name}.txt" for name in names]:
            (partial / file).touch()
        for file, part in groupby(frames, lambda frame: single or f"{frame.sequence}.txt"):
            with (partial / file).open("a", encoding="utf-8", newline="\n") as text:
                for _, number, _, lines in part:
                    if number == 0:
                        from_zero.add(file)
                    text.writelines(_mot_line(number, line) for line in lines)
        for file in from_zero:
            _count_from_1(partial / file)
        done = list(partial.iterdir())
        for path in done:
            check_output(folder / path.name, overwrite=overwrite)
        for path in done:
            path.replace(folder / path.name)
    return sorted(from_zero)


def _mot_line(number: int, line: str) -> str:
    """A line of MOT text, whose eighth field is the class if `line` has one."""
    box = with_commas(line.strip())
    return f"{number},-1,{box}{',-1' * (8 - box.count(',') - 1)}\n"


def _count_from_1(path: Path) -> None:
    """Move the frames of MOT text by one."""
    moved = path.with_suffix(".moved")
    with path.open(encoding="utf-8") as old, moved.open("w", encoding="utf-8", newline="\n") as new:
        for line in old:
            number, _, rest = line.partition(",")
            new.write(f"{int(number) + 1},{rest}")
    moved.replace(path)


def place(key: str) -> tuple[Folder, str]:
    """Folder and file stem of a key, alike for keys that name the same frame."""
    prefix, stem = split_key(key)
    return components(prefix), stem


def sequence_of(key: str) -> str:
    """Name of the sequence that a frame is of; empty for a key without folder."""
    folder, _ = place(key)
    return next((part for part in reversed(folder) if part != "img1"), "")


def number_of(key: str) -> int:
    """The number at the end of a frame's name. Raises `InputError` when there is none."""
    found = re.search(r"(?<![0-9])0*([0-9]{1,18})$", split_key(key)[1])
    if found is None:
        raise InputError(f"the key {key!r} has no frame number at its end, such as 000001")
    return int(found[1])


def as_line(box: Sequence[float]) -> str:
    """Left, top, width, height, score and perhaps a class as a det_db has them, to the last digit.
    """
    return ",".join(map(repr, box)) + "\n"
