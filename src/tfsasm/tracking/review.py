"""What of a result a person should review: long absences, and likely identity switches."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

AWAY = 1.0  # seconds without a detection after which a return is listed

SOON = 1.5  # seconds between the end of an identity and the birth of what may be the same person

REACH = 3  # heights of its box that another may be away, if it is not seen just then


class ReviewItem(NamedTuple):
    """Something to review, at a frame."""

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


def review_items(identities: dict[int, Identity], rate: float) -> list[ReviewItem]:
    """Long absences, births where another ended, and appearance that is another's, by frame."""
    items = []
    for number, one in identities.items():
        away = np.diff(one.frames)
        for index in np.flatnonzero(away > AWAY * rate):
            text = f"is back after {away[index] / rate:.1f} s"
            items.append(ReviewItem(number, one.frames[index + 1], text))
        for other, later in identities.items():
            gap = later.frames[0] - one.frames[-1]
            if other != number and 0 < gap <= SOON * rate and _near(one.box(-1), later.box(0)):
                text = f"begins where #{number} ended"
                items.append(ReviewItem(other, later.frames[0], text, number))
        items += _unlike(number, identities)
    return sorted(items, key=lambda item: (item.frame, item.id))


def _near(one: np.ndarray, other: np.ndarray, heights: float = 1.0) -> bool:
    """Whether the centres of two boxes are less than some of the smaller heights apart."""
    between = np.linalg.norm(one[:2] + one[2:] / 2 - other[:2] - other[2:] / 2)
    return bool(between < heights * min(one[3], other[3]))


def _unlike(number: int, identities: dict[int, Identity]) -> list[ReviewItem]:
    """Where an identity begins to look more like another than like itself, one that is near."""
    one, items, doubted = identities[number], list[ReviewItem](), False
    for frame, _, second, _, sure in np.reshape(one.matches, (-1, 5)).tolist():
        doubts = 0 <= sure < 50
        if doubts and not doubted and (other := identities.get(second)):
            at = bisect_right(other.frames, frame) - 1
            own = one.box(bisect_right(one.frames, frame) - 1)
            if at >= 0 and _near(own, other.box(at), 1 if other.frames[at] == frame else REACH):
                items.append(ReviewItem(number, frame, f"looks more like #{second}", second))
        doubted = doubts
    return items
