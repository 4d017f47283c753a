"""Stored detections as a stream of frames, whatever the file: det_db JSON or MOT text.

COCO results are in `coco.py`. A frame keeps its boxes as the text they came as, so that what is
only passed on stays equal to the last digit. Beside the text are the numbers, checked.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from tfsasm.detection.det_db import LINE, components, kind_of, parsed_entries, split_key
from tfsasm.errors import InputError
from tfsasm.files import check_folder, check_output, partial_folder, safe_name, writing
from tfsasm.motchallenge import FRAMES_FROM_0, Skipped, read_detections, with_commas
from tfsasm.tables import Doubles

_LAST = 10_000_000  # a frame number above is a mistake, and would make as many empty frames


MotRow = tuple[str, int, list[str]]
"""Sequence, number and `"left,top,width,height,score\\n"` lines of a frame."""


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
    """COCO's number of each box's class, where the file has them."""


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

    def usable(self, path: Path, frames: Iterable[FrameBoxes]) -> Iterator[FrameBoxes]:
        """The same frames. Raises `InputError` at the end where bad lines were all there was."""
        before, boxes = self.skipped, 0
        self.skipped = Skipped()
        for frame in frames:
            boxes += len(frame.boxes)
            yield frame
        if self.skipped.count and not boxes:
            raise self.skipped.all_of(path)
        self.skipped = before + self.skipped


def read_frames(path: Path, reading: Reading) -> Iterator[FrameBoxes]:
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


def mot_rows(frames: Iterable[FrameBoxes], output: Path) -> Iterator[MotRow]:
    """Frames as `write_mot` takes them.

    Raises `InputError` for what MOT text cannot hold: two sequences in a `det.txt`, two of the same
    or no name in a folder, two frames of the same number or one of none.
    """
    known: dict[str, tuple[tuple[str, ...], set[int]]] = {}
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
            raise InputError(f"{frame.key}: another frame of its sequence has the number {number} "
                             "too")
        numbers.add(number)
        yield name, number, frame.lines


def write_mot(
    output: Path, rows: Iterable[MotRow], *, overwrite: bool, names: Iterable[str] = ()
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
        for file, part in groupby(rows, lambda row: single or f"{row[0]}.txt"):
            with (partial / file).open("a", encoding="utf-8", newline="\n") as text:
                for _, number, lines in part:
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


def once(frames: Iterable[FrameBoxes]) -> Iterator[FrameBoxes]:
    """The same frames. Raises `InputError` when two keys name the same one."""
    seen: dict[tuple[str, ...], dict[str, None]] = {}
    for frame in frames:
        folder, stem = place(frame.key)
        stems = seen.setdefault(folder, {})
        if stem in stems:
            raise InputError(f"{frame.key} is there twice; keep one of its entries")
        stems[stem] = None
        yield frame


def place(key: str) -> tuple[tuple[str, ...], str]:
    """Folder and file stem of a key, alike for keys that name the same frame."""
    prefix, stem = split_key(key)
    return components(prefix), stem


def sequence_of(key: str) -> str:
    """Name of the sequence that a frame is of; empty for a key without folder."""
    folder, _ = place(key)
    return next((part for part in reversed(folder) if part != "img1"), "")


def number_of(key: str) -> int:
    """The number at the end of a frame's name. Raises `InputError` when there is none."""
    found = re.search(r"([0-9]{1,18})$", split_key(key)[1])
    if found is None:
        raise InputError(f"the key {key!r} has no frame number at its end, such as 000001")
    return int(found[1])


def as_line(box: Sequence[float]) -> str:
    """Left, top, width, height and score as a det_db has them, to the last digit."""
    return ",".join(map(repr, box)) + "\n"


def _read_det_db(path: Path, reading: Reading) -> Iterator[FrameBoxes]:
    for key, lines, boxes, bad in parsed_entries(path):
        if bad.count:
            reading.leave_out(bad)
            lines = [line for line in lines if _good(line)]
        yield FrameBoxes(key, lines, boxes)


def _good(line: str) -> bool:
    try:
        LINE.parse(line)
    except ValueError:
        return False
    return True


def _read_mot(path: Path, name: str, reading: Reading, above: Path | None) -> Iterator[FrameBoxes]:
    """Every frame up to the last with a box: a det_db knows empty frames from absent ones."""
    found = read_detections(path, skip_bad=reading.skip_bad)
    reading.skipped += found.skipped
    if found.from_zero:
        reading.notes.append(f"{path}: {FRAMES_FROM_0}")
    prefix = reading.prefix
    if prefix is None:
        prefix = "/".join(above.resolve().parts[1:][-2:]) if above else ""
    last = max(found, default=0)
    if last > _LAST:
        raise InputError(f"{path}: frame {last} is not of a video, which has {_LAST:,} at most")
    none = LINE.table([], str, skip_bad=False)[0][:, :5]
    for number in range(1, last + 1):
        boxes = found.get(number, none)
        key = "/".join([*components(prefix), name, "img1", f"{number:0{reading.digits}}.txt"])
        yield FrameBoxes(key, [as_line(box) for box in boxes.tolist()], boxes)
