"""The classic trackers of `trackers` (Roboflow, Apache-2.0), through its public API.

They see boxes and scores alone; BoT-SORT also looks at the frame, for the camera's motion, where
there is one. Unless told otherwise they run at the defaults that their classes declare, which are
read back from them, so that a table made with another version says so itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfsasm.detection.proposals import as_detections
from tfsasm.errors import InputError
from tfsasm.tables import Doubles

CLASSICS = {
    "sort": "SORTTracker",
    "bytetrack": "ByteTrackTracker",
    "ocsort": "OCSORTTracker",
    "botsort": "BoTSORTTracker",
    "cbiou": "CBIoUTracker",
}
"""Name -> class in `trackers`."""

LOOKS_AT_FRAMES = {"botsort"}


class Told(NamedTuple):
    """The tracks of one frame, as plain arrays."""

    ids: NDArray[np.int64]
    """`[K]`, from 1."""
    xyxy: NDArray[np.floating]
    """`[K, 4]` in pixels."""
    scores: NDArray[np.floating]
    """`[K]`."""


@dataclass(frozen=True)
class Classic:
    """One of `CLASSICS`, with the parameters that are not at their defaults."""

    name: str
    changed: Mapping[str, Any]

    @property
    def looks(self) -> bool:
        """Whether it takes the camera's motion from the frames."""
        return self.name in LOOKS_AT_FRAMES

    def parameters(self) -> dict[str, Any]:
        """All its parameters, ready for JSON: a class by its name."""
        values = _defaults(self.name) | dict(self.changed)
        return {k: v.__name__ if isinstance(v, type) else v for k, v in values.items()}

    def start(self) -> ClassicRun:
        """A fresh one, for one sequence."""
        return ClassicRun(_class(self.name)(**self.changed), looks=self.looks)


class ClassicRun:
    """A classic tracker on one sequence."""

    def __init__(self, tracker: Any, *, looks: bool) -> None:
        self._tracker, self._looks = tracker, looks

    def update(self, boxes: Doubles, image: np.ndarray | None) -> Told:
        """The confirmed tracks of the next frame; nothing is filled in afterwards.

        `boxes` `[P, 5]` are left, top, width, height and score; `image` is uint8 BGR `[H, W, 3]`.
        """
        tracked = self._tracker.update(as_detections(boxes), image if self._looks else None)
        ids, scores = np.asarray(tracked.tracker_id, dtype=np.int64), tracked.confidence
        confirmed = ids >= 0  # -1: seen, but not yet a track
        return Told(ids[confirmed] + 1, tracked.xyxy[confirmed], np.asarray(scores)[confirmed])


def classic(name: str, settings: Sequence[tuple[str, str]] = ()) -> Classic:
    """A classic tracker by name, with parameters given as text.

    Raises `InputError` where `trackers` is not installed, for a parameter that it does not have,
    and for one that no text can give.
    """
    declared = _defaults(name)
    changed = {}
    for key, text in settings:
        if key not in declared:
            raise InputError(f"{name} has no parameter {key!r}; it has {', '.join(declared)}")
        changed[key] = _parse(name, key, text, declared[key])
    if changed:
        _try(name, changed)
    return Classic(name, changed)


def _parse(name: str, key: str, text: str, default: object) -> bool | int | float | str:
    kind = type(default)
    if kind not in (bool, int, float, str):
        raise InputError(f"{key} of {name} cannot be given on the command line")
    try:
        return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError) as error:
        what = {bool: "true or false", int: "a whole number"}.get(kind, "a number")
        raise InputError(f"{key} of {name} is {what}, not {text!r}") from error


def _try(name: str, changed: Mapping[str, Any]) -> None:
    """Let the tracker itself judge the values."""
    try:
        _class(name)(**changed)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name} does not take these parameters: {error}") from error


def _defaults(name: str) -> dict[str, Any]:
    """Parameters that the class declares, and their defaults."""
    return {p.name: p.default for p in inspect.signature(_class(name)).parameters.values()}


def _class(name: str) -> type[Any]:
    try:
        import trackers
    except ImportError as error:
        raise InputError(
            f'{name} needs the package `trackers`: pip install "tfsasm[baselines]"'
        ) from error
    return getattr(trackers, CLASSICS[name])
