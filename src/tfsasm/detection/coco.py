"""COCO results as a stream of frames, and the list of images that gives them names."""

import json
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import ijson
import numpy as np

from tfsasm.detection.det_db import components, json_events, write_parts
from tfsasm.detection.formats import FrameBoxes, Reading, as_line, place
from tfsasm.errors import InputError
from tfsasm.files import field, number_or_name, read_json, shown
from tfsasm.motchallenge import Skipped

ImageId = int | str

_LARGEST = 2.0**53

_DEPTH = 50  # of lists and objects in one another, such as segmentations that results may have

_NESTING = {"start_array": 1, "start_map": 1, "end_array": -1, "end_map": -1}

_BOX = ("left", "top", "width", "height")

_WANTED = 'a list of {"image_id", "category_id", "bbox", "score"}'


class CocoImages:
    """Keys of the images of a COCO file by id, and ids by key.

    Raises `InputError` for a file without `images`, or where two share an id or a name.
    """

    def __init__(self, path: Path, prefix: str | None = None) -> None:
        self._path = path
        self.keys: dict[ImageId, str] = {}
        self._ids: dict[tuple[str, ...], ImageId] = {}
        loaded = read_json(path)
        rows = loaded.get("images") if isinstance(loaded, dict) else loaded
        if not isinstance(rows, list) or not rows:
            raise InputError(f'{path} has no images; wanted is a COCO file with "images": [...]')
        for number, row in enumerate(rows, start=1):
            what = f"{path}: image {number}"
            try:
                identity, name = number_or_name(row, "id"), field(row, "file_name", str)
            except ValueError as error:
                raise InputError(f"{what} needs an id and a file_name; {error}") from error
            if not name:
                raise InputError(f"{what} has an empty file_name")
            folder, stem = place(name)
            if identity in self.keys or (*folder, stem) in self._ids:
                raise InputError(f"{what} ({name}, id {identity}) is there twice")
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
    return reading.usable(path, _frames(path, reading, images))


def _frames(path: Path, reading: Reading, images: CocoImages | None) -> Iterator[FrameBoxes]:
    known = images.keys if images else {}
    keys = list(known.values())
    numbers = {identity: number for number, identity in enumerate(known)}
    image, category, values = array("q"), array("q"), array("d")
    for item, row in enumerate(_items(path), start=1):
        try:
            identity, label, box = _result(row)
            if images and identity not in numbers:
                raise ValueError(f"image_id {shown(identity)} is not in the table of images")
        except ValueError as error:
            where = f"{path}, item {item}"
            reading.leave_out(Skipped(1, f"{where}: {error}", (where,)))
            continue
        if identity not in numbers:
            numbers[identity] = len(keys)
            keys.append(json.dumps(identity))
        image.append(numbers[identity])
        category.append(label)
        values.extend(box)
    order = np.argsort(image, kind="stable")
    stops = np.searchsorted(np.asarray(image)[order], np.arange(len(keys)), side="right")
    boxes, labels = np.asarray(values).reshape(-1, 5), np.asarray(category)
    for key, rows in zip(keys, np.split(order, stops[:-1]) if keys else [], strict=True):
        lines = [as_line(box) for box in boxes[rows].tolist()]
        yield FrameBoxes(key, lines, boxes[rows], labels[rows].tolist())


def write_coco(
    path: Path, frames: Iterable[FrameBoxes], images: CocoImages | None, category: int
) -> int:
    """Write results as they come, atomically; returns how many.

    Without a table the keys are ids, as `read_coco` gives them. Boxes without a class get
    `category`.
    """

    def rows() -> Iterator[str]:
        for frame in frames:
            identity = images.identity(frame.key) if images else json.loads(frame.key)
            labels = frame.categories or [category] * len(frame.boxes)
            for label, (*box, score) in zip(labels, frame.boxes.tolist(), strict=True):
                row = {"image_id": identity, "category_id": label, "bbox": box, "score": score}
                yield json.dumps(row)

    return write_parts(path, rows(), "[", ",\n", "]\n")


def _items(path: Path) -> Iterator[Any]:
    """The items of the list that a JSON file is, one at a time."""
    with json_events(path) as events:
        if next(events) != ("start_array", None):
            raise InputError(f"{path} is not COCO results; wanted is {_WANTED}")
        depth, item = 0, ijson.ObjectBuilder()
        for event, value in events:
            depth += _NESTING.get(event, 0)
            if depth > _DEPTH:
                raise ijson.JSONError(f"more than {_DEPTH} lists and objects in one another")
            if depth < 0:
                break
            item.event(event, value)
            if depth == 0:
                yield item.value
                item = ijson.ObjectBuilder()
        next(events, None)  # raises where there is more than one list


def _result(row: Any) -> tuple[ImageId, int, list[float]]:
    """Image, class and box (left, top, width, height, score) of an item, checked."""
    if not isinstance(row, dict):
        raise ValueError(f"it is {shown(row)}; wanted is {_WANTED}")
    identity, label = number_or_name(row, "image_id"), field(row, "category_id", int)
    if abs(label) > _LARGEST:
        raise ValueError(f"category_id {label} is too large")
    box = field(row, "bbox", list)
    if len(box) != 4:
        raise ValueError(f"bbox is {shown(box)}, not [left, top, width, height]")
    if "score" not in row:
        raise ValueError("score is missing; this is ground truth rather than results")
    for name, value in zip((*_BOX, "score"), (*box, row["score"]), strict=True):
        if type(value) not in (int, float) or not abs(value) <= _LARGEST:  # never true of NaN
            raise ValueError(f"{name} is {shown(value)}, not a number of sane size")
        if name in ("width", "height") and value <= 0:
            raise ValueError(f"{name} is {shown(value)}, not positive")
    return identity, label, [float(value) for value in (*box, row["score"])]
