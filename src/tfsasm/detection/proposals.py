"""Detections of a frame as the trackers take them: checked, and normalised by the image's size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Union

import numpy as np

from tfsasm.boxes import (
    cxcywh_to_xyxy,
    look_normalised,
    ltwh_to_xyxy,
    normalised_boxes,
    xyxy_to_ltwh,
)
from tfsasm.errors import InputError
from tfsasm.limits import BOXES
from tfsasm.tables import Array, Doubles, Flags, Integers, Table, namespace

if TYPE_CHECKING:  # else where it is used: to load it takes a second, and detectors need none of it
    import supervision as sv

LARGEST = 2.0**53
"""Of coordinates and classes: beyond it a double no longer counts."""

NO_CLASS = int(np.iinfo(np.int64).min)
"""The class of what a detector gives none: it may be any."""


@dataclass(frozen=True)
class Proposals(Table):
    """Where a detector believes objects to be, in NumPy; `map` brings them to another library."""

    boxes: Array
    """`[P, 4]` float32, cxcywh normalised by the original image size; may leave [0, 1]."""
    scores: Array
    """`[P]` float32 in [0, 1]."""
    classes: Array = None
    """`[P]` int64, or `NO_CLASS`, which it is for all if none are given."""

    def __post_init__(self) -> None:
        if self.classes is None:
            object.__setattr__(self, "classes", no_classes(self.scores))

    @classmethod
    def empty(cls) -> Proposals:
        """A frame without a single detection, which is a normal frame."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))

    @classmethod
    def from_ltwh(
        cls, ltwh: np.ndarray | Sequence[Sequence[float]], scores: np.ndarray | Sequence[float],
        width: int, height: int, classes: Integers | None = None,
    ) -> Proposals:
        """Pixel boxes `[P, 4]` (left, top, width, height) of a `width` x `height` image."""
        confidences = np.asarray(scores, dtype=np.float64).reshape(-1).astype(np.float32)
        return cls(normalised_boxes(ltwh, width, height), confidences, classes)

    @classmethod
    def from_xyxy(
        cls, xyxy: np.ndarray, scores: np.ndarray, width: int, height: int,
        classes: Integers | None = None,
    ) -> Proposals:
        """Pixel corner boxes `[P, 4]` of a `width` x `height` image."""
        corners = np.asarray(xyxy, dtype=np.float64).reshape(-1, 4)
        return cls.from_ltwh(xyxy_to_ltwh(corners), scores, width, height, classes)

    def in_pixels(self, width: int, height: int) -> sv.Detections:
        """The same as detections in a `width` x `height` image, doubles."""
        import supervision as sv

        xyxy = cxcywh_to_xyxy(self.boxes.astype(np.float64)) * [width, height, width, height]
        known = len(self.classes) and (self.classes != NO_CLASS).all()
        return sv.Detections(
            xyxy=xyxy, confidence=self.scores.astype(np.float64),
            class_id=self.classes if known else None,
        )  # fmt: skip


def no_classes(like: Array) -> Array:
    """Of as many objects as `like` `[P]` has, in its library."""
    library = namespace(like)
    return library.full_like(like, NO_CLASS, dtype=library.int64)


def comparable(classes: Array, others: Array) -> Array:
    """Pairs `[N, P]` that are not of two classes; `NO_CLASS` may be any."""
    unknown = (classes == NO_CLASS)[:, None] | (others == NO_CLASS)[None]
    return unknown | (classes[:, None] == others[None])


class Results(Protocol):
    """The results of a frame as Ultralytics gives them."""

    boxes: Any
    """With `xyxy` `[N, 4]` in pixels, and `conf` and `cls` `[N]`."""


Given = Union["sv.Detections", Proposals, np.ndarray, Results, Sequence[Results], None]
"""The detections of a frame as trackers take them. An array has a row per box: x1, y1, x2, y2 in
pixels, then score and class as far as there are more columns."""


def as_detections_in_pixels(given: Given, size: tuple[int, int] | None) -> sv.Detections:
    """Any detector's boxes as detections; `size` is the width and height of the image, if known.

    Raises `InputError` for what are no detections, and for `Proposals` without a size.
    """
    import supervision as sv

    if given is None:
        return sv.Detections.empty()
    if isinstance(given, sv.Detections):
        return given
    if not isinstance(given, Proposals):
        one = given[0] if isinstance(given, list | tuple) and len(given) == 1 else given
        return _from_results(one) if hasattr(one, "boxes") else _from_rows(given)
    if size is None:
        raise InputError("proposals are in units of the image; give the frame, or sv.Detections")
    return given.in_pixels(*size)


def _from_results(given: Any) -> sv.Detections:
    """Detections of Ultralytics' results of a frame, with the names of their classes."""
    from supervision.config import CLASS_NAME_DATA_FIELD

    boxes = given.boxes
    if boxes is None or not hasattr(boxes, "xyxy"):
        raise InputError(
            f"{type(given).__name__} has no upright boxes (.boxes.xyxy), so there is nothing to "
            "track; use a model that detects"
        )
    columns = [_as_numbers(boxes.xyxy)] + [
        _as_numbers(getattr(boxes, name))[:, None]
        for name in ("conf", "cls") if getattr(boxes, name, None) is not None
    ]  # fmt: skip
    found = _from_rows(np.concatenate(columns, axis=1) if len(columns[0]) else columns[0])
    if isinstance(names := getattr(given, "names", None), dict) and found.class_id is not None:
        kinds = [str(names.get(int(kind), kind)) for kind in found.class_id]
        found.data[CLASS_NAME_DATA_FIELD] = np.array(kinds)
    return found


def _as_numbers(given: Any) -> np.ndarray:
    """A tensor on any device, or an array."""
    return np.asarray(given.detach().cpu().double() if hasattr(given, "detach") else given)


def _from_rows(given: Any) -> sv.Detections:
    """Detections of an array `[N, 4]` to `[N, 6]`, a tensor or a list of rows."""
    import supervision as sv

    try:
        rows = _as_numbers(given)
    except (ValueError, TypeError):  # rows of different lengths, or tensors on a GPU in a list
        rows = np.asarray(None)
    if rows.size == 0 and rows.ndim in (1, 2):
        return sv.Detections.empty()
    if rows.ndim != 2 or not 4 <= rows.shape[1] <= 6 or rows.dtype.kind not in "fiu":
        what = f"{rows.dtype} {list(rows.shape)}" if rows.ndim else type(given).__name__
        raise InputError(
            "detections are supervision.Detections (its from_... functions convert those of other "
            "packages) or numbers [N, 4] to [N, 6], the columns x1, y1, x2, y2 in pixels, score "
            f"and class, not {what}"
        )
    rows = rows.astype(np.float64)
    classes = rows[:, 5] if rows.shape[1] == 6 else None
    if not np.isfinite(rows).all():
        check_boxes(rows[:, :4], rows[:, 4] if rows.shape[1] > 4 else np.ones(len(rows)))
    return sv.Detections(
        xyxy=rows[:, :4], confidence=rows[:, 4] if rows.shape[1] > 4 else None,
        class_id=None if classes is None else _whole(classes),
    )  # fmt: skip


def _whole(classes: np.ndarray) -> Integers:
    """Classes `[P]` as whole numbers. Raises `InputError` naming the first row that has none."""
    if classes.dtype.kind == "f":
        good = (np.abs(classes) <= LARGEST) & (np.floor(classes) == classes)
        if not good.all():
            row = int(good.argmin())
            raise InputError(
                f"detection {row} has the class {classes[row]}, which is no whole number; columns "
                "are x1, y1, x2, y2 in pixels, score and class"
            )
    return classes.astype(np.int64)


def as_proposals(detections: sv.Detections | None, width: int, height: int) -> Proposals:
    """Any detector's boxes as the network takes them. Raises as `boxes_and_scores` does."""
    return Proposals.from_xyxy(
        *boxes_and_scores(detections), width, height, classes_of(detections)
    )


def as_detections(boxes: Doubles) -> sv.Detections:
    """Stored boxes `[P, 5]`, left, top, width, height in pixels and score, all of one class."""
    import supervision as sv

    return sv.Detections(
        xyxy=ltwh_to_xyxy(boxes[:, :4]), confidence=boxes[:, 4],
        class_id=np.zeros(len(boxes), dtype=int),
    )  # fmt: skip


def boxes_and_scores(detections: sv.Detections | None) -> tuple[Doubles, Doubles]:
    """Pixel corners `[P, 4]` and scores `[P]`, which are 1 where there are none.

    Raises `InputError` for a box with NaN, infinity or no area, naming its row, and for too many.
    """
    if detections is None or len(detections) == 0:
        return np.zeros((0, 4)), np.zeros(0)
    BOXES.check(len(detections), "a frame")
    xyxy = np.asarray(detections.xyxy, dtype=np.float64)
    given = detections.confidence
    scores = np.asarray(np.ones(len(xyxy)) if given is None else given, dtype=np.float64)
    check_boxes(xyxy, scores)
    return xyxy, scores


def classes_of(detections: sv.Detections | None) -> Integers:
    """The classes `[P]`, `NO_CLASS` where there are none. Raises `InputError` as arrays do."""
    if detections is None or detections.class_id is None:
        return np.full(0 if detections is None else len(detections), NO_CLASS)
    return _whole(np.asarray(detections.class_id))


def check_boxes(xyxy: np.ndarray, scores: np.ndarray) -> None:
    """Raises `InputError` naming the first row that is no box (see `usable`)."""
    good = usable(xyxy, scores)
    if not good.all():
        row = int(good.argmin())
        raise InputError(
            f"detection {row} has box {xyxy[row].tolist()} and score {scores[row]}; boxes must be "
            "finite xyxy in pixels with x2 > x1 and y2 > y1, scores finite. Drop it before tracking"
        )


def usable(xyxy: np.ndarray, scores: np.ndarray) -> Flags:
    """Which rows `[P]` are boxes `[P, 4]` of some area that an image could have, with a finite
    score `[P]`."""
    sane = (np.abs(xyxy) <= LARGEST).all(axis=1) & np.isfinite(scores)
    return np.asarray(sane & (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1))


class PixelCheck:
    """Refuses boxes of a video that look normalised, until some are in pixels for certain."""

    def __init__(self) -> None:
        self._certain = False

    def __call__(self, xyxy: np.ndarray, size: tuple[int, int] | None = None) -> None:
        """Check the corners `[P, 4]` of one frame of some width and height. Raises `InputError`."""
        if self._certain or len(xyxy) == 0 or (size and min(size) <= 2):  # they may be pixels then
            return
        if look_normalised(xyxy):
            first = [round(float(value), 4) for value in xyxy[0]]
            raise InputError(
                f"all boxes of this frame lie within 0 to 1 (the first is {first}), so they look "
                "normalised; boxes are xyxy in pixels: multiply x by the width of the image and y "
                "by its height"
            )
        self._certain = True
