"""Boxes, labels and trails of tracks, and marks of errors, drawn on frames."""

import colorsys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import cast

import cv2
import numpy as np
import supervision as sv
from numpy.typing import NDArray
from supervision.config import CLASS_NAME_DATA_FIELD

from tfsasm.errors import InputError
from tfsasm.video.labels import Style, draw_label, fitting, places
from tfsasm.video.writer import resized

PALETTE_SIZE = 987  # a Fibonacci number, where golden-ratio hues close into a circle

TONES = ((0.95, 1.0), (0.55, 1.0), (0.95, 0.65))  # saturation, value; ids of like hue differ here

FALSE_POSITIVE, MISS, IDENTITY_SWITCH = (60, 60, 255), (0, 190, 255), (255, 80, 255)  # BGR

_FONT = cv2.FONT_HERSHEY_SIMPLEX

_FAR = 30_000  # OpenCV draws with 16-bit pixels


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
            row: text for row, texts in zip(order, _texts(tracks, order, self._names), strict=True)
            if (text := fitting(texts, tracks.xyxy[row], style))
        }  # fmt: skip
        sizes = np.array([style.size(text) for text in lines.values()], int).reshape(-1, 2)
        at = places(tracks.xyxy[[*lines]], sizes, (scene.shape[1], scene.shape[0]))
        for (row, text), place in zip(lines.items(), at, strict=True):
            color = identity_color(int(ids[row]))
            draw_label(scene, text, place, style, (color.as_bgr(), _text_color(color).as_bgr()))
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


def _texts(tracks: sv.Detections, order: np.ndarray, names: bool) -> Iterator[list[str]]:
    """What may be written at each track, longest first."""
    ids = cast(np.ndarray, tracks.tracker_id)
    kinds = tracks.data.get(CLASS_NAME_DATA_FIELD) if names else None
    for row in order:
        short = "?" if ids[row] == -1 else f"#{ids[row]}"
        named = short if kinds is None else f"{kinds[row]} {short}"
        # Two spaces: one of this font is so narrow that "#2 0.81" reads as 20.81.
        score = [] if tracks.confidence is None else [f"{named}  {tracks.confidence[row]:.2f}"]
        yield [*score, *dict.fromkeys((named, short))]


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
    sizes = np.array([style.size(mark.label) for mark in marks], int).reshape(-1, 2)
    at = places(boxes, sizes, (width, height), below=True)  # above is the track's own label
    for mark, place in zip(marks, at, strict=True):
        draw_label(image, mark.label, place, style, (mark.color, (0, 0, 0)))
    return image
