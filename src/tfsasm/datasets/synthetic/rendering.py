"""Frames of a planned clip: people and places, lens and sensor, and the ground truth."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from tfsasm.boxes import clipped, xyxy_to_ltwh
from tfsasm.datasets.synthetic import figures
from tfsasm.datasets.synthetic.config import SceneConfig, SyntheticFrame
from tfsasm.datasets.synthetic.detector import SimulatedDetector, Truth
from tfsasm.datasets.synthetic.figures import Outlines, Wardrobe
from tfsasm.datasets.synthetic.motion import Camera
from tfsasm.datasets.synthetic.people import People
from tfsasm.datasets.synthetic.scenery import Ground, Occluder, Scenery


class Optics:
    """What lens, sensor and codec do to the images of a clip."""

    def __init__(self, rng: Generator, config: SceneConfig) -> None:
        flicker = rng.choice([0.0, 0.0, 0.01, 0.04])
        slow = np.sin(np.arange(config.frames) * rng.uniform(0.02, 0.3)) * rng.choice([0, 0, 0.2])
        strength = rng.uniform(0, 1) ** 2 * 9
        self.noise: np.ndarray | None = None  # larger than an image, so that it can be shifted
        if strength > 0.7:
            shape = (config.height + 32, config.width + 64)
            grey = rng.standard_normal(shape, dtype=np.float32) * np.float32(strength)
            coloured = [0.9 * grey + 0.4 * np.roll(grey, 7 * k + 5) + 128 for k in range(3)]
            self.noise = np.clip(np.stack(coloured, axis=-1), 0, 255).astype(np.uint8)
        angle = rng.uniform(-np.pi, 0)
        gain = rng.uniform(0.75, 1.2)
        self.gain = gain * np.exp(slow + rng.normal(0, 1, config.frames) * flicker)  # per frame
        self.gamma = float(np.exp(rng.normal(0, 0.2)))
        self.softness = float(rng.uniform(0.3, 1.4) * (rng.random() < 0.65))
        self.jpeg = int(rng.integers(25, 80)) * int(rng.random() < 0.25)  # quality; 0: not at all
        self.shutter = float(rng.choice([0.0, 0.2, 0.5]))  # open for this share of a frame interval
        self.light = np.array([np.cos(angle), np.sin(angle)])  # direction in the image
        self.shadow = float(rng.uniform(0.15, 0.6) * (rng.random() < 0.85))
        self.cast_shadow = rng.normal(0, 0.5, 2) * [1, 0.35] * (rng.random() < 0.45)


@dataclass(frozen=True)
class PlannedClip:
    """All that is decided before the first frame is drawn; `rng` is the sensor's.

    People are at `place` `[T, G, 2]` on the ground, with `joints` `[T, G, JOINTS, 3]`; `rate` is
    frames per second.
    """

    config: SceneConfig
    rate: float
    ground: Ground
    scenery: Scenery
    camera: Camera
    people: People
    clothes: Wardrobe
    place: np.ndarray
    joints: np.ndarray
    optics: Optics
    detector: SimulatedDetector
    rng: Generator


def render(clip: PlannedClip, frame: int) -> SyntheticFrame:
    """One frame of a clip, 0 the first; they have to be drawn in order, for the noise's sake."""
    config, camera, optics = clip.config, clip.camera, clip.optics
    feet, unit = _on_screen(clip, frame)
    before, _ = _on_screen(clip, max(frame - 1, 0))
    streak = np.abs(feet[:, 0] - before[:, 0]) * optics.shutter
    streak = np.clip(streak, 0, 0.15 * unit).astype(int)
    shapes = figures.outlines(
        clip.people, clip.joints[frame], feet, unit, clip.ground.pitch, optics.light
    )
    image = background(clip, frame)
    if optics.shadow > 0 and len(clip.people):
        _shadows(image, clip, feet, unit)
    owners, area = _people(image, clip, frame, shapes, feet, streak)
    image = _expose(image, clip, frame)
    truth = _truth(owners, area, shapes.bounds, streak)
    found = clip.detector.detect(truth, camera.zoom[frame], camera.shift[frame])
    boxes = xyxy_to_ltwh(clipped(truth.boxes, config.width, config.height))
    enough = (truth.visibility >= config.min_visibility) & (truth.visibility > 0)
    enough &= (boxes[:, 2:] >= 2).all(axis=1)
    return SyntheticFrame(
        image=image,
        boxes=boxes[enough].astype(np.float32),
        ids=np.flatnonzero(enough).astype(np.int64) + 1,
        visibility=truth.visibility[enough].astype(np.float32),
        detections=found,
    )


def background(clip: PlannedClip, frame: int) -> np.ndarray:
    """The place without people, as the camera sees it: BGR."""
    width, height = clip.config.width, clip.config.height
    if clip.camera.zoom[frame] == 1 and not clip.camera.shift[frame].any():
        x, y = clip.scenery.offset.astype(int)  # a camera at rest needs no warp
        return clip.scenery.canvas[y : y + height, x : x + width].copy()
    matrix = clip.camera.matrix(frame, -clip.scenery.offset)
    return cv2.warpAffine(
        clip.scenery.canvas, matrix, (width, height), flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )  # fmt: skip


def _on_screen(clip: PlannedClip, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Ground points `[G, 2]` of all people, and pixels `[G]` of a body height."""
    pixel, unit = clip.ground.project(clip.place[frame])
    return clip.camera.apply(frame, pixel), unit * clip.camera.zoom[frame]


def _people(
    image: np.ndarray, clip: PlannedClip, frame: int, shapes: Outlines, feet: np.ndarray,
    streak: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Paint people, blurred sideways by `streak` `[G]` pixels, and occluders from far to near.

    Returns whose each pixel is (from 1; 0 is the background's), and the pixels `[G]` of each body.
    """
    height, width = image.shape[:2]
    owners, area = np.zeros((height, width), np.uint8), np.zeros(len(clip.people))
    occluders = clip.scenery.occluders
    rows = [clip.camera.apply(frame, np.array([0.0, one.foot]))[1] for one in occluders]
    near, far = np.split(shapes.bounds, 2, axis=1)
    in_sight = np.all((far > 0) & (near < [width, height]), axis=1)
    order = np.argsort(np.concatenate([feet[:, 1], rows]), kind="stable")
    for index in order.tolist():
        if index >= len(clip.people):
            _paste(image, owners, *_occluder(clip, frame, occluders[index - len(clip.people)]), 0)
        elif in_sight[index]:
            blur = int(streak[index])
            patch = figures.draw(clip.people, clip.clothes, shapes, index, blur if blur > 1 else 0)
            area[index] = np.count_nonzero(patch[0][..., 3] > 127)
            _paste(image, owners, *patch, index + 1)
    return owners, area


def _occluder(clip: PlannedClip, frame: int, front: Occluder) -> tuple[np.ndarray, int, int]:
    """An occluder as the camera sees it, and the pixel of its left top corner."""
    left, top = clip.camera.apply(frame, np.array([front.left, front.top]))
    x0, y0 = int(np.floor(left)), int(np.floor(top))
    zoom = clip.camera.zoom[frame]
    matrix = np.array([[zoom, 0, left - x0], [0, zoom, top - y0]])
    height, width = front.image.shape[:2]
    size = (int(width * zoom) + 2, int(height * zoom) + 2)
    return cv2.warpAffine(front.image, matrix, size, flags=cv2.INTER_LINEAR), x0, y0


def _paste(
    image: np.ndarray, owners: np.ndarray, patch: np.ndarray, left: int, top: int, owner: int
) -> None:
    """Lay a premultiplied BGRA patch over `image` and mark its pixels in `owners`."""
    height, width = owners.shape
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + patch.shape[1], width), min(top + patch.shape[0], height)
    if x0 >= x1 or y0 >= y1:
        return
    patch = patch[y0 - top : y1 - top, x0 - left : x1 - left]
    region = image[y0:y1, x0:x1]
    cover = np.ascontiguousarray(patch[..., 3])
    clear = cv2.cvtColor(cv2.bitwise_not(cover), cv2.COLOR_GRAY2BGR)
    under = cv2.multiply(region, clear, scale=1 / 255)
    image[y0:y1, x0:x1] = cv2.add(under, cv2.cvtColor(patch, cv2.COLOR_BGRA2BGR))
    owners[y0:y1, x0:x1][cover > 127] = owner


def _shadows(image: np.ndarray, clip: PlannedClip, feet: np.ndarray, unit: np.ndarray) -> None:
    """Darken the ground: a soft blob under each person, or a shadow thrown by a low light."""
    height, width = image.shape[:2]
    share = 4  # a quarter of the resolution is enough for something soft
    mask = np.full((height // share + 1, width // share + 1), 255, np.uint8)
    dark = 255 * (1 - clip.optics.shadow)
    throw = clip.optics.cast_shadow
    flat = max(np.sin(abs(clip.ground.pitch)), 0.12)
    for foot, size in zip(np.clip(feet / share, -4000, 4000), unit / share, strict=True):
        axes = (max(int(0.17 * size), 1), max(int(0.17 * size * flat), 1))
        cv2.ellipse(mask, foot.astype(int).tolist(), axes, 0, 0, 360, dark, -1)
        if throw.any():
            end = (foot + 1.0 * size * throw * [1, max(flat, 0.3)]).astype(int).tolist()
            cv2.line(mask, foot.astype(int).tolist(), end, dark, max(int(0.16 * size), 1))
    mask = cv2.resize(cv2.blur(mask, (3, 3)), (width, height), interpolation=cv2.INTER_LINEAR)
    cv2.multiply(image, cv2.cvtColor(mask, cv2.COLOR_GRAY2BGR), image, scale=1 / 255)


def _expose(image: np.ndarray, clip: PlannedClip, frame: int) -> np.ndarray:
    """Lens, sensor and codec."""
    optics = clip.optics
    pan = clip.camera.shift[frame] - clip.camera.shift[max(frame - 1, 0)]
    smear = int(min(abs(pan[0]) * optics.shutter, 12))
    if smear > 1:
        image = cv2.blur(image, (smear | 1, 1))
    if optics.softness > 0:
        image = cv2.GaussianBlur(image, (0, 0), optics.softness)
    levels = np.linspace(0, 1, 256) ** optics.gamma * 255 * optics.gain[frame]
    image = cv2.LUT(image, np.clip(levels, 0, 255).astype(np.uint8))
    if optics.noise is not None:
        y, x = clip.rng.integers(0, 32, 2)
        grain = optics.noise[y : y + image.shape[0], x : x + image.shape[1]]
        image = cv2.addWeighted(image, 1, grain, 1, -128)
    if optics.jpeg:
        _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, optics.jpeg])
        image = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))
    return image


def _truth(owners: np.ndarray, area: np.ndarray, bounds: np.ndarray, streak: np.ndarray) -> Truth:
    """Visibility and visible extent of each person from the map of the pixels that are theirs."""
    people = len(area)
    counts = cv2.calcHist([owners], [0], None, [256], [0, 256]).reshape(-1)[1 : people + 1]
    visibility = counts / np.maximum(area, 1)
    visible = bounds.copy()
    height, width = owners.shape
    for person in np.flatnonzero((visibility > 0) & (visibility < 0.97)):
        x0, y0 = np.maximum(bounds[person, :2].astype(int) - 2 - streak[person], 0)
        x1, y1 = np.minimum(bounds[person, 2:].astype(int) + 3 + streak[person], [width, height])
        mine = (owners[y0:y1, x0:x1] == person + 1).astype(np.uint8)
        x, y, w, h = cv2.boundingRect(mine)
        visible[person] = x0 + x, y0 + y, x0 + x + w, y0 + y + h
    return Truth(bounds, visible, np.clip(visibility, 0, 1))
