"""How clips of real data are varied, as published: the same draw for all frames (SPEC 9.2, 9.3).

What is unusual here: geometry is decided first and pixels are resampled once. A frame is a region
of its image, a size, and whether it is mirrored; the published code resizes up to three times.
"""

from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np
from PIL import Image

from tfsasm.boxes import ltwh_to_xyxy, xyxy_to_ltwh
from tfsasm.motrv2.config import NetworkConfig, full
from tfsasm.tables import Doubles

Region = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

Size = tuple[int, int]
"""Width and height."""


@dataclass(frozen=True)
class AugmentConfig:
    """How clips are drawn and varied. The defaults are the published ones, for a network whose
    images have a shorter side of 800 pixels; `augment_of` brings them to another's size."""

    max_interval: int = 10
    """Largest step between two frames of a clip; drawn evenly from 1, as far as the video goes."""
    flip: float = 0.5
    crop: float = 0.5
    """Chance of cutting a part out, after resizing to one of `before_crop`."""
    sizes: tuple[int, ...] = tuple(range(608, 993, 32))
    """Shorter sides in pixels, one of which is drawn."""
    max_side: int = 1536
    """Most pixels of the longer side."""
    before_crop: tuple[int, ...] = (800, 1000, 1200)
    crop_sides: tuple[int, int] = (800, 1200)
    """Least and most pixels of either side of the part."""
    colour: tuple[int, int, int] = (5, 30, 30)
    """Most change of OpenCV's hue, saturation and value, each of which is left alone half of the
    time."""
    crowd_shift: int = 50
    """Most pixels by which a single image moves from frame to frame; at most an eighth of it."""


def augment_of(network: NetworkConfig) -> AugmentConfig:
    """The published sizes in proportion to those of `network`."""
    scale, published = network.short_side / full().short_side, AugmentConfig()

    def scaled(sides: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(round(side * scale) for side in sides))

    return replace(
        published, sizes=scaled(published.sizes), before_crop=scaled(published.before_crop),
        max_side=network.max_side,
        crop_sides=cast(tuple[int, int], tuple(round(s * scale) for s in published.crop_sides)),
    )  # fmt: skip


@dataclass(frozen=True)
class View:
    """What is seen of an image: a region, resized, perhaps mirrored."""

    region: Region
    size: Size
    flip: bool = False
    cut: bool = False
    """Whether boxes end at the border and those beyond it are gone, as where a part was cut out."""


def draw_view(size: Size, rng: np.random.Generator, config: AugmentConfig) -> View:
    """A view of images of that size (SPEC 9.3, items 1 and 2)."""
    flip, crop = rng.random(2) < (config.flip, config.crop)
    region: Region = (0.0, 0.0, *size)
    seen = size
    if crop:
        large = resized(size, int(rng.choice(config.before_crop)))
        low, high = config.crop_sides
        seen = cast(Size, tuple(
            int(rng.integers(min(low, side), min(high, side) + 1)) for side in large
        ))  # fmt: skip
        left, top = (int(rng.integers(0, a - b + 1)) for a, b in zip(large, seen, strict=True))
        region = within((0.0, 0.0, *size), (left, top, left + seen[0], top + seen[1]), large)
    seen = resized(seen, int(rng.choice(config.sizes)), config.max_side)
    return View(region, seen, bool(flip), bool(crop))


def resized(size: Size, short: int, longest: int | None = None) -> Size:
    """The size with a shorter side of `short`, or less where the longer would exceed `longest`."""
    low, high = sorted(size)
    if longest and high / low * short > longest:
        short = round(longest * low / high)
    if low == short:
        return size
    long = int(short * high / low)
    return (short, long) if size[0] < size[1] else (long, short)


def within(outer: Region, inner: Region, size: Size) -> Region:
    """`inner`, in pixels of a picture of `outer` that has that size, in the pixels of `outer`."""
    left, top, right, bottom = outer
    across, down = (right - left) / size[0], (bottom - top) / size[1]
    return (
        left + inner[0] * across, top + inner[1] * down,
        min(left + inner[2] * across, right), min(top + inner[3] * down, bottom),
    )  # fmt: skip


def drift(size: Size, frames: int, rng: np.random.Generator, config: AugmentConfig) -> list[Region]:
    """The regions of one image that stand for the frames of a clip (SPEC 9.2).

    Each is that of the frame before without a strip of up to `crowd_shift` pixels at two sides,
    seen at the size of the image: what is there moves and grows.
    """
    whole: Region = (0.0, 0.0, *size)
    regions = [whole]
    for _ in range(frames - 1):
        most = [max(min(config.crowd_shift, side // 8), 1) for side in size]
        x, y = (int(rng.integers(1, m + 1)) * int(rng.choice((-1, 1))) for m in most)
        kept = (max(0, -x), max(0, -y), min(size[0], size[0] - x), min(size[1], size[1] - y))
        regions.append(within(regions[-1], kept, size))
    return regions


def view_of(image: np.ndarray, view: View) -> np.ndarray:
    """The view of an image `[H, W, 3]`, resampled as PIL's antialiased bilinear filter does."""
    height, width = image.shape[:2]
    if view.region != (0, 0, width, height) or view.size != (width, height):
        small = Image.fromarray(image).resize(
            view.size, Image.Resampling.BILINEAR, box=view.region
        )
        image = np.asarray(small)
    return np.ascontiguousarray(image[:, ::-1] if view.flip else image)


def place(ltwh: Doubles, view: View) -> tuple[Doubles, np.ndarray]:
    """Boxes `[N, 4]` of an image in a view of it, and which of them are to be seen there."""
    left, top, right, bottom = view.region
    scale = np.array([view.size[0] / (right - left), view.size[1] / (bottom - top)] * 2)
    xyxy = (ltwh_to_xyxy(ltwh) - np.array([left, top, left, top])) * scale
    if view.flip:
        xyxy[:, [0, 2]] = view.size[0] - xyxy[:, [2, 0]]
    seen = np.clip(xyxy, 0, np.array([*view.size, *view.size]))
    return xyxy_to_ltwh(seen if view.cut else xyxy), (seen[:, 2:] > seen[:, :2]).all(axis=1)


def draw_colour(rng: np.random.Generator, config: AugmentConfig) -> tuple[int, int, int]:
    """Gains of hue, saturation and value (SPEC 9.3, item 3)."""
    gains = rng.uniform(-1, 1, 3) * config.colour * rng.integers(0, 2, 3)
    hue, saturation, value = gains.astype(int)
    return int(hue), int(saturation), int(value)


def recoloured(image: np.ndarray, gains: tuple[int, int, int]) -> np.ndarray:
    """A BGR image whose OpenCV hue, saturation and value are changed by `gains`."""
    if not any(gains):
        return image
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.int16)
    hsv[..., 0] = (hsv[..., 0] + gains[0]) % 180
    hsv[..., 1:] = np.clip(hsv[..., 1:] + gains[1:], 0, 255)
    return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)
