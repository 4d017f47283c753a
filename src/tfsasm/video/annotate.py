"""Boxes, labels and trails of tracks, and marks of errors, drawn on frames.

Labels are as long as their box allows, and none is over another.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

import cv2
import numpy as np
import supervision as sv
from numpy.typing import NDArray
from supervision.config import CLASS_NAME_DATA_FIELD

from tfsasm.errors import InputError
from tfsasm.tables import Array, Integers
from tfsasm.video.writer import resized

PALETTE_SIZE = 987  # a Fibonacci number, where golden-ratio hues close into a circle

TONES = ((0.95, 1.0), (0.55, 1.0), (0.95, 0.65))  # saturation, value; ids of like hue differ here

FALSE_POSITIVE, MISS, IDENTITY_SWITCH = (60, 60, 255), (0, 190, 255), (255, 80, 255)  # BGR

_FONT = cv2.FONT_HERSHEY_SIMPLEX

_FAR = 30_000  # OpenCV draws with 16-bit pixels

_SMALLEST, _LARGEST = 0.35, 1.4  # scales of the font; less cannot be read

_WIDEST = 2.0  # widths of its box that a text with a score may have

_TALLEST = 0.5  # heights of its box that a label may have; a larger one would hide who it names

_BELOW_FIRST = [2, 4, 5, 3, 6, 7, 0, 1]  # of what `places` tries: above last


def identity_color(tracker_id: int) -> sv.Color:
    """The colour of an identity, the same in every frame, run and video."""
    index = tracker_id % PALETTE_SIZE
    red, green, blue = colorsys.hsv_to_rgb(index * 0.6180339887498949 % 1, *TONES[index % 3])
    return sv.Color(round(red * 255), round(green * 255), round(blue * 255))


def _text_color(background: sv.Color) -> sv.Color:
    brightness = 0.299 * background.r + 0.587 * background.g + 0.114 * background.b
    return sv.Color.BLACK if brightness > 128 else sv.Color.WHITE


@cache
def _palette() -> sv.ColorPalette:
    return sv.ColorPalette([identity_color(i) for i in range(PALETTE_SIZE)])


class Annotator:
    """Draws boxes, `#id score` labels and trails; remembers the last `trail` positions of each id.

    One annotator per video; `trail=0` draws none. With `names` a label begins with the name of the
    class, from `data["class_name"]`. Lines and text scale with the image; a label that is too long
    for its box loses its score, then the name, and none is drawn over another or larger than its
    box.
    """

    def __init__(self, *, trail: int = 30, names: bool = False) -> None:
        if trail < 0:
            raise InputError(f"trail is {trail}; give a number of frames, 0 for no trails")
        self._trail, self._names = trail, names
        self.reset()

    def reset(self) -> None:
        """Forget all trails, for the next video."""
        self._trace = sv.TraceAnnotator(
            color=_palette(), position=sv.Position.BOTTOM_CENTER,
            trace_length=max(self._trail, 1), color_lookup=sv.ColorLookup.TRACK,
        )  # fmt: skip

    def annotate(self, image: np.ndarray, detections: sv.Detections) -> np.ndarray:
        """A copy of `image` (uint8 BGR `[H, W, 3]`) with its tracks.

        `detections` have pixel `xyxy`; without `tracker_id` (or with -1) they are drawn in grey,
        without `confidence` they get no score. Call it once per frame, also without detections.
        """
        tracks = _only_drawable(detections)
        scene = np.array(image, order="C")
        size = (image.shape[1], image.shape[0])
        thickness = max(1, round(min(size) / 350))
        if self._trail:
            self._trace.thickness = thickness
            scene = self._trace.annotate(scene, tracks)
        if not len(tracks):
            return scene
        boxes = sv.BoxAnnotator(
            color=_palette(), thickness=thickness, color_lookup=sv.ColorLookup.TRACK
        )
        return self._label(boxes.annotate(scene, tracks), tracks)

    def _label(self, scene: np.ndarray, tracks: sv.Detections) -> np.ndarray:
        style = Style.of(scene.shape[1], scene.shape[0])
        ids = cast(np.ndarray, tracks.tracker_id)
        order = np.argsort(np.where(ids < 0, np.iinfo(ids.dtype).max, ids))  # the oldest first
        lines = {
            row: text for row in order
            if (text := fitting(_texts(tracks, row, self._names), tracks.xyxy[row], style))
        }  # fmt: skip
        grounds = [identity_color(int(ids[row])) for row in lines]
        colors = [(ground.as_bgr(), _text_color(ground).as_bgr()) for ground in grounds]
        draw_labels(scene, [*lines.values()], tracks.xyxy[[*lines]], colors, style)
        return scene


def _only_drawable(detections: sv.Detections) -> sv.Detections:
    """The columns that are drawn, of the boxes that have a place in an image."""
    ids = detections.tracker_id
    tracks = sv.Detections(
        xyxy=np.asarray(detections.xyxy, dtype=np.float32).reshape(-1, 4),
        confidence=detections.confidence,
        tracker_id=np.full(len(detections), -1) if ids is None else np.asarray(ids, dtype=int),
        data={key: detections.data[key] for key in {CLASS_NAME_DATA_FIELD} & {*detections.data}},
    )
    return cast(sv.Detections, tracks[(np.abs(tracks.xyxy) < _FAR).all(axis=1)])


def _texts(tracks: sv.Detections, row: int, names: bool) -> list[str]:
    """What may be written at a track, longest first."""
    number = cast(np.ndarray, tracks.tracker_id)[row]
    kinds = tracks.data.get(CLASS_NAME_DATA_FIELD) if names else None
    short = "?" if number == -1 else f"#{number}"
    named = short if kinds is None else f"{kinds[row]} {short}"
    # Two spaces: one of this font is so narrow that "#2 0.81" reads as 20.81.
    score = [] if tracks.confidence is None else [f"{named}  {tracks.confidence[row]:.2f}"]
    return [*score, *dict.fromkeys((named, short))]


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


def draw_labels(
    image: np.ndarray, texts: Sequence[str], boxes: Array,
    colors: Sequence[tuple[tuple[int, int, int], tuple[int, int, int]]], style: Style, *,
    below: bool = False,
) -> None:
    """Write labels of boxes `[N, 4]` into `image` (uint8 BGR) itself, where `places` says.

    `colors` are of the ground and of the letters of each.
    """
    sizes = np.array([style.size(text) for text in texts], int).reshape(-1, 2)
    at = places(boxes, sizes, (image.shape[1], image.shape[0]), below=below)
    for text, (left, top), (width, height), (ground, letters) in zip(
        texts, at.tolist(), sizes.tolist(), colors, strict=True
    ):
        cv2.rectangle(image, (left, top), (left + width - 1, top + height - 1), ground, -1)
        cv2.putText(image, text, (left + style.padding, top + height - style.padding), _FONT,
                    style.scale, letters, style.thickness, cv2.LINE_AA)  # fmt: skip


def side_by_side(
    left: np.ndarray, right: np.ndarray, titles: tuple[str, str] = ("", "")
) -> np.ndarray:
    """Two images (uint8 BGR `[H, W, 3]`) at the height of the left one, a title above each."""
    height = left.shape[0]
    if right.shape[0] != height:
        width = max(1, round(right.shape[1] * height / right.shape[0]))
        right = resized(right, width, height)
    strip = max(18, round(0.06 * height))
    gap = np.zeros((height + strip, max(2, height // 150), 3), np.uint8)
    panels = [
        np.concatenate([_title(title, image.shape[1], strip), image])
        for title, image in zip(titles, (left, right), strict=True)
    ]
    return np.concatenate([panels[0], gap, panels[1]], axis=1)


def _title(text: str, width: int, height: int) -> np.ndarray:
    """A dark strip with `text` as large as fits."""
    strip = np.full((height, width, 3), 32, np.uint8)
    scale = 0.026 * height
    while scale >= 0.2 and cv2.getTextSize(text, _FONT, scale, 1)[0][0] > 0.96 * width:
        scale *= 0.95  # widths do not grow in step with the scale
    if text and scale >= 0.2:  # less is a smear
        (text_width, text_height), _ = cv2.getTextSize(text, _FONT, scale, 1)
        at = ((width - text_width) // 2, (height + text_height) // 2)
        cv2.putText(strip, text, at, _FONT, scale, (255, 255, 255), 1 + (scale > 0.9), cv2.LINE_AA)
    return strip


@dataclass(frozen=True)
class Mark:
    """An error to point at: a box `ltwh` `[4]` in pixels, a colour (BGR) and a label."""

    ltwh: NDArray[np.float64]
    color: tuple[int, int, int]
    label: str


def draw_marks(image: np.ndarray, marks: list[Mark]) -> np.ndarray:
    """Draw a frame around each mark and its label, into `image` (uint8 BGR `[H, W, 3]`) itself."""
    height, width = image.shape[:2]
    thick, style = max(2, round(min(height, width) / 250)), Style.of(width, height)
    ltwh = np.array([mark.ltwh for mark in marks]).reshape(-1, 4).clip(-_FAR, _FAR)
    boxes = np.concatenate([ltwh[:, :2] - thick, ltwh[:, :2] + ltwh[:, 2:] + thick], axis=1)
    for mark, box in zip(marks, boxes.round().astype(int).tolist(), strict=True):
        cv2.rectangle(image, box[:2], box[2:], (0, 0, 0), thick + 2)  # apart from tracks' colours
        cv2.rectangle(image, box[:2], box[2:], mark.color, thick)
    labels, colors = [mark.label for mark in marks], [(mark.color, (0, 0, 0)) for mark in marks]
    draw_labels(image, labels, boxes, colors, style, below=True)  # above is the track's own
    return image
