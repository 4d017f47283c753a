"""The classic trackers of `trackers` (Roboflow, Apache-2.0), through its public API.

They take boxes and scores alone; BoT-SORT also takes the frame, for the camera's motion, where
there is one. Unless changed they run at the defaults that their classes declare, which are read
back from them, so that a table made with another version shows its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import supervision as sv

from tfsasm.detection.proposals import (
    Given,
    PixelCheck,
    as_detections_in_pixels,
    boxes_and_scores,
    classes_of,
)
from tfsasm.errors import InputError
from tfsasm.runtime.preprocess import as_bgr
from tfsasm.tracking.run import Tracker

CLASSICS = {
    "sort": "SORTTracker",
    "bytetrack": "ByteTrackTracker",
    "ocsort": "OCSORTTracker",
    "botsort": "BoTSORTTracker",
    "cbiou": "CBIoUTracker",
}
"""Name -> class in `trackers`."""

USE_FRAMES = {"botsort"}
"""Those that take the camera's motion from the frames."""


class ClassicTracker(Tracker):
    """A classic tracker by name, with the parameters that are not at their defaults.

    Nothing is filled in afterwards: a frame has the tracks that are confirmed by then.
    """

    def __init__(self, name: str, changed: Mapping[str, Any] | None = None) -> None:
        """Raises `InputError` where `trackers` is not installed."""
        self._kind, self._changed = _class(name), dict(changed or {})
        self._frames = name in USE_FRAMES
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is the first of another video, ids start at 1."""
        self._tracker, self._check_pixels = self._kind(**self._changed), PixelCheck()

    def update(
        self, detections: Given, frame: np.ndarray | None = None, prepared: Any = None
    ) -> sv.Detections:
        """The confirmed tracks of the next frame, `tracker_id` from 1.

        `detections` are in pixels, `frame` is uint8 BGR `[H, W, 3]` (grey and BGRA are converted).
        Raises `InputError` for a frame that is none, for a box with NaN, infinity or no area, for
        boxes that look normalised, and for proposals without a frame.
        """
        frame = None if frame is None else as_bgr(frame)
        size = None if frame is None else (frame.shape[1], frame.shape[0])
        given = as_detections_in_pixels(detections, size)
        xyxy, _ = boxes_and_scores(given)
        classes_of(given)  # refuses what are none
        self._check_pixels(xyxy, size)
        tracked = self._tracker.update(given, frame if self._frames else None)
        ids = np.asarray(tracked.tracker_id, dtype=np.int64)
        confirmed = ids >= 0  # -1: detected, but not yet a track
        return replace(
            tracked[confirmed], tracker_id=ids[confirmed] + 1, metadata=dict(given.metadata)
        )


def parse(name: str, settings: Mapping[str, str]) -> dict[str, Any]:
    """Parameters of a classic tracker, given as text.

    Raises `InputError` where `trackers` is not installed, for a parameter that the tracker does not
    have, and for one that no text can give.
    """
    defaults = declared(name)
    changed = {}
    for key, text in settings.items():
        if key not in defaults:
            raise InputError(f"{name} has no parameter {key!r}; it has {', '.join(defaults)}")
        changed[key] = _parse(name, key, text, defaults[key])
    if changed:
        try:  # the tracker itself judges the values
            _class(name)(**changed)
        except (ValueError, TypeError) as error:
            raise InputError(f"{name} does not take these parameters: {error}") from error
    return changed


def _parse(name: str, key: str, text: str, default: object) -> bool | int | float | str:
    kind = type(default)
    if kind not in (bool, int, float, str):
        raise InputError(f"{key} of {name} cannot be given on the command line")
    try:
        return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError) as error:
        what = {bool: "true or false", int: "a whole number"}.get(kind, "a number")
        raise InputError(f"{key} of {name} is {what}, not {text!r}") from error


def declared(name: str) -> dict[str, Any]:
    """Parameters that the class of a tracker declares, and their defaults."""
    return {p.name: p.default for p in inspect.signature(_class(name)).parameters.values()}


def _class(name: str) -> type[Any]:
    try:
        import trackers
    except ImportError as error:
        raise InputError(
            f'{name} needs the package `trackers`: pip install "tfsasm[baselines]"'
        ) from error
    return getattr(trackers, CLASSICS[name])
