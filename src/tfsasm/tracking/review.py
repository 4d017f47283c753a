"""What of a result is worth a second look: long absences, and identities that may be another's."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

AWAY = 1.0  # seconds without a detection after which a return is worth a look

SOON = 1.5  # seconds between the end of an identity and the birth of what may be the same person

REACH = 3  # heights of its box that another may be away, if it is not seen just then


class Look(NamedTuple):
    """Something worth a second look, at a frame."""

    id: int
    frame: int
    text: str
    other: int | None = None
    """The identity that it may be the same as."""


@dataclass
class Identity:
    """What the page knows of one identity."""

    frames: list[int] = field(default_factory=list)
    boxes: list[int] = field(default_factory=list)
    """Left, top, width and height one after the other, in tenths of a pixel."""
    scores: list[int] = field(default_factory=list)
    """In percent."""
    name: str = ""
    """Of its class."""
    matches: list[int] = field(default_factory=list)
    """Frame, distance, the second (0 for none), its distance and how sure (-1 for unknown), one
    after the other; distances in thousandths, sure in percent."""

    def box(self, index: int) -> np.ndarray:
        """One of the boxes in pixels, `[4]`."""
        at = 4 * (index % len(self.frames))
        return np.asarray(self.boxes[at : at + 4], dtype=np.float64) / 10


def worth_a_look(identities: dict[int, Identity], rate: float) -> list[Look]:
    """Long absences, births where another ended, and appearance that is another's, by frame."""
    looks = []
    for number, one in identities.items():
        away = np.diff(one.frames)
        for index in np.flatnonzero(away > AWAY * rate):
            seconds = away[index] / rate
            looks.append(Look(number, one.frames[index + 1], f"is back after {seconds:.1f} s"))
        for other, later in identities.items():
            gap = later.frames[0] - one.frames[-1]
            if other != number and 0 < gap <= SOON * rate and _near(one.box(-1), later.box(0)):
                text = f"begins where #{number} ended"
                looks.append(Look(other, later.frames[0], text, number))
        looks += _unlike(number, identities)
    return sorted(looks, key=lambda look: (look.frame, look.id))


def _near(one: np.ndarray, other: np.ndarray, heights: float = 1.0) -> bool:
    """Whether the centres of two boxes are less than some of the smaller heights apart."""
    between = np.linalg.norm(one[:2] + one[2:] / 2 - other[:2] - other[2:] / 2)
    return bool(between < heights * min(one[3], other[3]))


def _unlike(number: int, identities: dict[int, Identity]) -> list[Look]:
    """Where an identity begins to look more like another than like itself, one that is near."""
    one, looks, doubted = identities[number], list[Look](), False
    for frame, _, second, _, sure in np.reshape(one.matches, (-1, 5)).tolist():
        doubts = 0 <= sure < 50
        if doubts and not doubted and (other := identities.get(second)):
            at = bisect_right(other.frames, frame) - 1
            own = one.box(bisect_right(one.frames, frame) - 1)
            if at >= 0 and _near(own, other.box(at), 1 if other.frames[at] == frame else REACH):
                looks.append(Look(number, frame, f"looks more like #{second}", second))
        doubted = doubts
    return looks
