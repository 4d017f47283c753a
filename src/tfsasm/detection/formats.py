"""Stored detections as a stream of frames, whatever the file: det_db JSON, MOT text, COCO results.

A frame keeps its boxes as the text they came as, so that what is only passed on stays equal to the
last digit. Beside the text are the numbers, checked.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfsasm.detection.det_db import LINE, components, parse, read_entries, split_key
from tfsasm.detection.json_stream import array_items, first_character
from tfsasm.errors import InputError
from tfsasm.files import atomic_path, check_folder, check_output
from tfsasm.motchallenge import Doubles, Skipped, read_detections, read_text

_BLOCK = 500  # frames checked at once

_LAST = 10_000_000  # a frame number above is a mistake, and would make as many empty frames


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


def read_frames(path: Path, reading: Reading) -> Iterator[FrameBoxes]:
    """The frames of a det_db, a `det.txt` or a folder of such; each of them once.

    Raises `InputError` for a file that cannot be read, lines that cannot be used and keys that name
    the same frame.
    """
    if path.is_dir():
        files = det_files(path)
        parts = (_read_mot(file, name, reading, path) for name, file in files.items())
        return once(frame for part in parts for frame in part)
    if path.suffix.lower() == ".json" or first_character(path) == "{":
        return once(_read_det_db(path, reading))
    name = path.parent.parent.name if path.parent.name == "det" else path.stem
    above = path.resolve().parents[2] if path.parent.name == "det" else None
    return _read_mot(path, name, reading, above)


def write_mot(path: Path, frames: Iterable[FrameBoxes]) -> None:
    """Write the frames of one sequence as a `det.txt`, as they come, atomically.

    Raises `InputError` for frames of two sequences, or of no or the same number.
    """
    folder: tuple[str, ...] | None = None
    numbers: set[int] = set()
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for frame in frames:
            where = place(frame.key)[0]
            if where != (folder := where if folder is None else folder):
                raise InputError(
                    f"{path} holds one sequence, and there are more, such as {'/'.join(where)}; "
                    "give a folder, or a .json"
                )
            file.writelines(_mot_lines(frame, numbers))


def write_mot_folder(folder: Path, frames: Iterable[FrameBoxes], *, overwrite: bool) -> None:
    """Write a `NAME.txt` for each sequence; they appear when all is done.

    Raises `InputError` for files that exist and sequences of the same or no name, beside what
    `write_mot` does.
    """
    check_folder(folder)
    known: dict[str, tuple[tuple[str, ...], set[int]]] = {}
    with tempfile.TemporaryDirectory(prefix=".detections-", dir=folder) as held:
        for name, part in groupby(frames, _named_sequence):
            with (Path(held) / f"{name}.txt").open("a", encoding="utf-8", newline="\n") as file:
                for frame in part:
                    where = place(frame.key)[0]
                    of_name, numbers = known.setdefault(name, (where, set()))
                    if where != of_name:
                        raise InputError(f"{'/'.join(of_name)} and {'/'.join(where)} have the same "
                                         f"name {name!r}, so the same file; write a .json")
                    file.writelines(_mot_lines(frame, numbers))
        targets = {name: check_output(folder / f"{name}.txt", overwrite=overwrite)
                   for name in known}
        for name, target in targets.items():
            os.replace(Path(held) / f"{name}.txt", target)


def _named_sequence(frame: FrameBoxes) -> str:
    name = sequence_of(frame.key)
    if not name:
        raise InputError(f"the key {frame.key!r} names no sequence; write a .json or a .txt")
    return name


def _mot_lines(frame: FrameBoxes, numbers: set[int]) -> list[str]:
    number = number_of(frame.key)
    if number in numbers:
        raise InputError(f"{frame.key}: another frame of its sequence has the number {number} too")
    numbers.add(number)
    return [f"{number},-1,{line.strip()},-1,-1,-1\n" for line in frame.lines]


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
    if found is None or int(found[1]) < 1:
        raise InputError(f"the key {key!r} has no frame number at its end, from 1 up")
    return int(found[1])


def as_line(box: Sequence[float]) -> str:
    """Left, top, width, height and score as a det_db has them, to the last digit."""
    return ",".join(map(repr, box)) + "\n"


def _read_det_db(path: Path, reading: Reading) -> Iterator[FrameBoxes]:
    entries = ((entry.key, entry.lines) for entry in read_entries(path))
    while some := list(islice(entries, _BLOCK)):
        parsed, skipped = parse(path, some, skip_bad=reading.skip_bad)
        reading.skipped += skipped
        for (key, lines), boxes in zip(some, parsed, strict=True):
            good = lines if len(lines) == len(boxes) else [line for line in lines if _good(line)]
            yield FrameBoxes(key, good, boxes)


def _good(line: str) -> bool:
    try:
        LINE.parse(line)
    except ValueError:
        return False
    return True


def _read_mot(path: Path, name: str, reading: Reading, above: Path | None) -> Iterator[FrameBoxes]:
    """Every frame up to the last with a box: a det_db tells empty frames from unknown ones."""
    found = read_detections(path, skip_bad=reading.skip_bad)
    reading.skipped += found.skipped
    prefix = reading.prefix
    if prefix is None:
        prefix = "/".join(above.resolve().parts[1:][-2:]) if above else ""
    last = max(found, default=0)
    if last > _LAST:
        raise InputError(f"{path}: frame {last} is not of a video, which has {_LAST:,} at most")
    none = LINE.table([], str, skip_bad=False)[0]
    for number in range(1, last + 1):
        boxes = found.get(number, none)
        key = "/".join([*components(prefix), name, "img1", f"{number:0{reading.digits}}.txt"])
        yield FrameBoxes(key, [as_line(box) for box in boxes.tolist()], boxes)

ImageId = int | str

_LARGEST = 2.0**53

_WANTED = 'one list of {"image_id", "category_id", "bbox", "score"}'


class CocoImages:
    """Keys of the images of a COCO file by id, and ids by key.

    Raises `InputError` for a file without `images`, or where two share an id or a name.
    """

    def __init__(self, path: Path, prefix: str | None = None) -> None:
        self._path = path
        self.keys: dict[ImageId, str] = {}
        self._ids: dict[tuple[str, ...], ImageId] = {}
        for number, row in enumerate(_image_rows(path), start=1):
            identity = row.get("id") if isinstance(row, dict) else None
            name = row.get("file_name") if isinstance(row, dict) else None
            if not isinstance(identity, int | str) or not isinstance(name, str) or not name:
                raise InputError(f"{path}: image {number} needs an id and a file_name, not {row!r}")
            folder, stem = place(name)
            if identity in self.keys or (*folder, stem) in self._ids:
                raise InputError(f"{path}: image {number} ({name}, id {identity}) is there twice")
            self._ids[*folder, stem] = identity
            self.keys[identity] = "/".join([*components(prefix or ""), *folder, f"{stem}.txt"])

    def identity(self, key: str) -> ImageId:
        """The id of a frame: of the image whose path has most in common with its key's end."""
        folder, stem = place(key)
        path = (*folder, stem)
        for start in range(len(path)):
            if path[start:] in self._ids:
                return self._ids[path[start:]]
        raise InputError(f"{key} is not among the images of {self._path}")


def read_coco(path: Path, reading: Reading, images: CocoImages | None) -> Iterator[FrameBoxes]:
    """The images of a results file, those of the table in its order, each of them once.

    Without a table, those that have results, by id. Raises `InputError` naming the item for results
    that cannot be used, or whose image is not in the table.
    """
    numbers: dict[ImageId, int] = {}
    keys = [] if images is None else list(images.keys.values())
    if images is not None:
        numbers = {identity: number for number, identity in enumerate(images.keys)}
    image, category, values = array("q"), array("q"), array("d")
    for item, row in enumerate(array_items(path, wanted=_WANTED), start=1):
        try:
            identity, label, box = _result(row)
            if images is not None and identity not in numbers:
                raise ValueError(f"image {identity!r} is not in the table of images")
        except ValueError as error:
            bad = Skipped(1, f"{path}, item {item}: {error}", (f"{path}, item {item}",))
            if not reading.skip_bad:
                raise InputError(bad.first) from None
            reading.skipped += bad
            continue
        if identity not in numbers:
            numbers[identity] = len(keys)
            keys.append(json.dumps(identity))
        image.append(numbers[identity])
        category.append(label)
        values.extend(box)
    return _by_image(keys, np.asarray(image), np.asarray(category), np.asarray(values))


def write_coco(
    path: Path, frames: Iterable[FrameBoxes], images: CocoImages | None, category: int
) -> int:
    """Write results as they come, atomically; returns how many.

    Without a table the keys are ids, as `read_coco` gives them. Boxes without a class get
    `category`.
    """
    count = 0
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write("[")
        for frame in frames:
            identity = images.identity(frame.key) if images else json.loads(frame.key)
            labels = frame.categories or [category] * len(frame.boxes)
            for label, (*box, score) in zip(labels, frame.boxes.tolist(), strict=True):
                row = {"image_id": identity, "category_id": label, "bbox": box, "score": score}
                file.write(",\n" * (count > 0) + json.dumps(row))
                count += 1
        file.write("]\n")
    return count


def _by_image(
    keys: list[str], image: np.ndarray, category: np.ndarray, values: np.ndarray
) -> Iterator[FrameBoxes]:
    order = np.argsort(image, kind="stable")
    stops = np.searchsorted(image[order], np.arange(len(keys)), side="right")
    boxes = values.reshape(-1, 5)
    for key, rows in zip(keys, np.split(order, stops[:-1]) if keys else [], strict=True):
        lines = [as_line(box) for box in boxes[rows].tolist()]
        yield FrameBoxes(key, lines, boxes[rows], category[rows].tolist())


def _image_rows(path: Path) -> list[Any]:
    try:
        loaded = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error
    rows = loaded.get("images") if isinstance(loaded, dict) else loaded
    if not isinstance(rows, list) or not rows:
        raise InputError(f'{path} has no images; wanted is a COCO file with "images": [...]')
    return rows


def _result(row: Any) -> tuple[ImageId, int, list[float]]:
    """Image, class and box (left, top, width, height, score) of an item, checked."""
    if not isinstance(row, dict):
        raise ValueError(f"it is {str(row)[:40]!r}; wanted is an object as in {_WANTED}")
    identity, label = row.get("image_id"), row.get("category_id")
    if not isinstance(identity, int | str) or isinstance(identity, bool):
        raise ValueError(f"image_id {identity!r} is neither a whole number nor a word")
    if type(label) is not int or abs(label) > _LARGEST:
        raise ValueError(f"category_id {label!r} is not a whole number")
    box = row.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise ValueError(f"bbox {str(box)[:40]!r} is not [left, top, width, height]")
    numbers = [*box, row.get("score")]
    for name, value in zip(("left", "top", "width", "height", "score"), numbers, strict=True):
        if type(value) not in (int, float) or not abs(value) <= _LARGEST:  # never true of NaN
            raise ValueError(f"{name} {value!r} is not a number of sane size")
        if name in ("width", "height") and value <= 0:
            raise ValueError(f"{name} {value!r} is not positive")
    return identity, label, [float(value) for value in numbers]
