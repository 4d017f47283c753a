"""What all stored detections have in common: boxes by frame, and what is to be said of a file."""

from __future__ import annotations

import logging
import re
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from tfsasm.boxes import look_normalised, ltwh_to_xyxy
from tfsasm.detection.det_db import Folder, components
from tfsasm.detection.proposals import Proposals
from tfsasm.errors import InputError, first_few
from tfsasm.tables import Doubles
from tfsasm.video.source import Frame

log = logging.getLogger(__name__)

MissingRule = Literal["empty", "error"]

NAMED = 5  # how many frames or sequences a message names before it only counts


class Stored:
    """Boxes that a file has of frames, and what is to be said of the file."""

    def __init__(self, path: Path | str, missing: MissingRule) -> None:
        self._path, self._rule = path, missing
        self._notes: list[str] = []
        self._guesses: dict[str, str] = {}
        self._absent = 0
        self._first_absent: list[str] = []  # not all: a video may have no end

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._path)!r})"

    def __call__(self, frame: Frame) -> Proposals:
        """The proposals of `frame`, in the file's order."""
        height, width = frame.image.shape[:2]
        rows = self.boxes(frame)
        classes = rows[:, 5].astype(np.int64) if rows.shape[1] > 5 else None
        return Proposals.from_ltwh(rows[:, :4], rows[:, 4], width, height, classes)

    def boxes(self, frame: Frame) -> Doubles:
        """As the file has them: `[P, 5]` left, top, width, height in pixels and score, or `[P, 6]`
        with a class.

        None, and counted, for a frame that is not in the file. Raises `InputError` for one when
        that is an error.
        """
        rows = self._find(frame)
        if rows is not None:
            return rows
        label = f"{frame.number} ({frame.name})"
        if self._rule == "error":
            raise InputError(f"{self._path} has no entry for frame {label}; add it, or let missing "
                             "frames count as frames without detections")
        self._absent += 1
        if len(self._first_absent) < NAMED:
            self._first_absent.append(label)
        return np.zeros((0, 5))

    def report(self) -> list[str]:
        """Lines left out, scores out of range, guesses made and frames without an entry."""
        notes = [*self._notes, *self._guesses.values()]
        if self._absent:
            first = first_few(self._first_absent, NAMED, count=self._absent)
            notes.append(f"{self._path} has no entry for {self._absent} frame(s), taken as empty: "
                         f"{first}")
        return notes

    def _find(self, frame: Frame) -> Doubles | None:
        raise NotImplementedError

    def _guess(self, kind: str, what: str) -> None:
        """Report once what was assumed."""
        if kind not in self._guesses:
            self._guesses[kind] = f"{self._path}: {what}"
            log.warning("%s", self._guesses[kind])

    def _check(self, boxes: Doubles) -> None:
        """Note scores outside [0, 1], which some old detectors have, among `boxes` `[P, 5]`.

        Raises `InputError` if the boxes look normalised.
        """
        whole = not (boxes[:, :4] % 1).any()  # pixels of a tiny image
        if not whole and look_normalised(ltwh_to_xyxy(boxes[:, :4])):
            first = ",".join(f"{value:g}" for value in boxes[0, :4])
            raise InputError(
                f"all {len(boxes)} boxes in {self._path} lie within 0 to 1 (the first is {first}), "
                "so they look normalised; wanted are left, top, width and height in pixels: "
                "multiply them by the width and height of the image"
            )
        scores = boxes[:, 4]
        if len(scores) and not (scores.min() >= 0 and scores.max() <= 1):
            self._notes.append(f"{self._path} has scores from {scores.min():g} to "
                               f"{scores.max():g}; expected are 0 to 1")


def place_of(name: str) -> tuple[Folder, str | None]:
    """A frame's folder and file stem; for a frame of a video, the video's path and None."""
    if video := re.fullmatch(r"(.*)#\d+", name, flags=re.DOTALL):
        return components(video[1]), None
    parts = components(name)
    return (parts[:-1], PurePosixPath(parts[-1]).stem) if parts else ((), "")


def form_of(stem: str) -> tuple[str, int]:
    """What is alike in the file names of one sequence: what precedes the number, and its width."""
    before = stem.rstrip("0123456789")
    return before, len(stem) - len(before)


def trailing_number(stem: str) -> int | None:
    """That at the end of a file name without its suffix; None where there is none."""
    before, width = form_of(stem)
    return int(stem[len(before):]) if 0 < width <= 18 else None
