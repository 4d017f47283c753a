"""Labels of boxes: as long as their box allows, and none over another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from tfsasm.tables import Array, Integers

_FONT = cv2.FONT_HERSHEY_SIMPLEX

_SMALLEST, _LARGEST = 0.35, 1.4  # scales of the font; less cannot be read

_WIDEST = 2.0  # widths of its box that a text with a score may have

_TALLEST = 0.5  # heights of its box that a label may have; a larger one would hide who it names


_BELOW_FIRST = [2, 4, 5, 3, 6, 7, 0, 1]  # of what `places` tries: above last


@dataclass(frozen=True)
class Style:
    """How labels are written in images of one size."""

    scale: float
    thickness: int
    padding: int

    @classmethod
    def of(cls, width: int, height: int) -> Style:
        """The style for images of a size."""
        scale = min(max(0.65e-3 * min(width, height), _SMALLEST), _LARGEST)
        return cls(scale, 1 + (scale > 0.8), max(1, round(5 * scale)))

    def size(self, text: str) -> tuple[int, int]:
        """Width and height of a label."""
        width, height = _text_size(text, self.scale, self.thickness)
        return width + 2 * self.padding, height + 2 * self.padding


@cache
def _text_size(text: str, scale: float, thickness: int) -> tuple[int, int]:
    (width, height), _ = cv2.getTextSize(text, _FONT, scale, thickness)
    return width, height


def fitting(texts: Sequence[str], box: Array, style: Style) -> str:
    """The first of some texts, longest first, that suits a box `[4]`; empty if none does.

    The shortest is there unless it would hide its box.
    """
    width, height = box[2:] - box[:2]
    longest = next((text for text in texts if style.size(text)[0] <= _WIDEST * width), texts[-1])
    wide, tall = style.size(longest)
    hides = tall > _TALLEST * height and wide > width
    return "" if hides else longest


def places(
    boxes: Array, sizes: Integers, frame: tuple[int, int], *, below: bool = False
) -> Integers:
    """Where labels begin, `[N, 2]`: left and top, for `sizes` `[N, 2]` of width and height.

    Above its box `[N, 4]`, or `below` it; where another label is, at another side of it or within.
    Earlier rows choose first. `frame` is the width and height of the image, which no label leaves
    that fits.
    """
    corners = np.zeros((len(boxes), 4), dtype=np.int64)
    for row, ((x1, y1, x2, y2), (wide, tall)) in enumerate(zip(boxes, sizes, strict=True)):
        size = np.array([wide, tall])
        begins = np.array([
            (x1, y1 - tall), (x2 - wide, y1 - tall), (x1, y2), (x1, y1), (x2 - wide, y2),
            (x1, y2 - tall), (x1 - wide, y1), (x2, y1),
        ])[_BELOW_FIRST if below else slice(None)]  # fmt: skip
        begins = np.clip(begins, 0, np.maximum(np.array(frame) - size, 0)).round().astype(np.int64)
        tried = np.concatenate([begins, begins + size], axis=1)
        corners[row] = tried[_covered(tried, corners[:row]).argmin()]
    return corners[:, :2]


def _covered(tried: Integers, others: Integers) -> Integers:
    """By how many pixels each of some rectangles `[M, 4]` covers `others` `[N, 4]`."""
    low = np.maximum(tried[:, None, :2], others[None, :, :2])
    high = np.minimum(tried[:, None, 2:], others[None, :, 2:])
    covered: Integers = (high - low).clip(min=0).prod(axis=2).sum(axis=1)
    return covered


def draw_label(
    image: np.ndarray, text: str, at: Integers, style: Style, colors: Sequence[tuple[int, int, int]]
) -> None:
    """Write a label into `image` (uint8 BGR) itself; `colors` are of its ground and its letters."""
    left, top = (int(value) for value in at)
    width, height = style.size(text)
    ground, letters = colors
    cv2.rectangle(image, (left, top), (left + width - 1, top + height - 1), ground, -1)
    cv2.putText(image, text, (left + style.padding, top + height - style.padding), _FONT,
                style.scale, letters, style.thickness, cv2.LINE_AA)  # fmt: skip
