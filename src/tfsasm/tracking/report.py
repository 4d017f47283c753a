"""A page about one video's identities: one HTML file that works from disk, beside the video.

It has all boxes, a timeline with a row per identity, and what is worth a second look: identities
that were away for long, and ones that may be another's.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import numpy as np
import supervision as sv

from tfsasm.files import check_output, write_text
from tfsasm.tracking.results import rows
from tfsasm.video.annotate import identity_color
from tfsasm.video.source import Frame

AWAY = 1.0  # seconds without a detection after which a return is worth a look

SOON = 1.5  # seconds between the end of an identity and the birth of what may be the same person

USUAL_RATE = 25.0


class Look(NamedTuple):
    """Something worth a second look, at a frame."""

    id: int
    frame: int
    text: str


@dataclass
class Identity:
    """The frames and boxes (left, top, width, height in whole pixels) of one identity."""

    frames: list[int] = field(default_factory=list)
    boxes: list[int] = field(default_factory=list)

    def box(self, index: int) -> np.ndarray:
        """One of the boxes, `[4]`."""
        at = 4 * (index % len(self.frames))
        return np.asarray(self.boxes[at : at + 4], dtype=np.float64)


class ReportFile:
    """Collects tracks frame by frame, and writes the page when the `with` block ends.

    `video` is what the page plays, a file beside it, or None; `drawn` says that it has the boxes
    already. Raises `InputError` when the page cannot be written.
    """

    def __init__(
        self, path: Path | str, *, title: str, video: Path | None, drawn: bool = True,
        rate: float | None = None, overwrite: bool = False,
    ) -> None:
        self.path = check_output(path, overwrite=overwrite)
        address = None if video is None else quote(os.fsencode(video.name))
        self._about = {"title": title, "video": address, "drawn": drawn}
        self._rate = rate
        self._size = (0, 0)
        self._numbers: list[int] = []
        self._times: list[float | None] = []
        self._identities: dict[int, Identity] = {}

    def write(self, frame: Frame, tracks: sv.Detections) -> None:
        """Add one frame's tracks."""
        self._size = (frame.image.shape[1], frame.image.shape[0])
        self._numbers.append(frame.number)
        self._times.append(frame.time)
        for row in rows(tracks):
            x1, y1, x2, y2 = (round(value) for value in row.xyxy)
            identity = self._identities.setdefault(row.id, Identity())
            identity.frames.append(frame.number)
            identity.boxes += (x1, y1, x2 - x1, y2 - y1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._numbers:
            write_text(self.path, page(self._data()))

    def _data(self) -> dict[str, Any]:
        rate = self._rate or USUAL_RATE
        first = self._times[0]
        times = [
            1000 * (index / rate if time is None or first is None else time - first)
            for index, time in enumerate(self._times)
        ]
        return {
            **self._about, "size": self._size, "rate": rate, "numbers": self._numbers,
            "times": [round(time) for time in times],
            "tracks": [
                {"id": number, "color": identity_color(number).as_hex(), "frames": one.frames,
                 "boxes": one.boxes}
                for number, one in sorted(self._identities.items())
            ],
            "looks": [look._asdict() for look in worth_a_look(self._identities, rate)],
        }  # fmt: skip


def worth_a_look(identities: dict[int, Identity], rate: float) -> list[Look]:
    """Long absences, and identities that end where another begins soon after, by frame."""
    looks = []
    for number, one in identities.items():
        away = np.diff(one.frames)
        for index in np.flatnonzero(away > AWAY * rate):
            seconds = away[index] / rate
            looks.append(Look(number, one.frames[index + 1], f"is back after {seconds:.1f} s"))
        for other, later in identities.items():
            gap = later.frames[0] - one.frames[-1]
            if other != number and 0 < gap <= SOON * rate and _near(one.box(-1), later.box(0)):
                looks.append(Look(other, later.frames[0], f"begins where #{number} ended"))
    return sorted(looks, key=lambda look: (look.frame, look.id))


def _near(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the centres of two boxes are less than the smaller height apart."""
    between = np.linalg.norm(one[:2] + one[2:] / 2 - other[:2] - other[2:] / 2)
    return bool(between < min(one[3], other[3]))


def page(data: dict[str, Any]) -> str:
    """The page with its data, in which nothing can become HTML."""
    template = (files("tfsasm.tracking") / "report.html").read_text(encoding="utf-8")
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return template.replace("__DATA__", text, 1)
