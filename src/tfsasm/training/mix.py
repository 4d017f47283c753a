"""A mix of data sets as one endless stream of clips, by number (SPEC 9.2, 9.3).

An epoch takes each clip of each data set once, or as often as its weight says, shuffled by the seed
and the number of the epoch. What is drawn for a clip depends on seed and number alone.

What is unusual here: geometry is decided first and pixels are resampled once. A frame is a region
of its image, a size, and whether it is mirrored; the published code resizes up to three times.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from tfsasm.boxes import ltwh_to_xyxy, xyxy_to_ltwh
from tfsasm.datasets.synthetic.config import SceneConfig
from tfsasm.datasets.synthetic.sequences import render_clip
from tfsasm.errors import InputError
from tfsasm.motrv2.config import NetworkConfig, full
from tfsasm.tables import Doubles, Integers
from tfsasm.training.data import LabelledFrame, RawClip, SamplingConfig, augment, recoloured
from tfsasm.training.sources import Data, Labelled
from tfsasm.video.images import decoded, image_bytes

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

    least, most = (round(side * scale) for side in published.crop_sides)
    return replace(
        published, sizes=scaled(published.sizes), before_crop=scaled(published.before_crop),
        max_side=network.max_side, crop_sides=(least, most),
    )  # fmt: skip


@dataclass(frozen=True)
class View:
    """What is seen of an image: a region, resized, perhaps mirrored."""

    region: Region
    size: Size
    flip: bool = False
    cut: bool = False
    """Whether boxes end at the border and those beyond it are gone, as where a part was cut out."""


@dataclass(frozen=True)
class Mix:
    """Clips of several data sets; called with a number it makes that clip, alone in its block."""

    seed: int
    data: tuple[Data, ...]
    frames: int
    """Per clip."""
    augment: AugmentConfig
    synthetic: SamplingConfig

    def __call__(self, number: int) -> list[RawClip]:
        """The clip of that number."""
        taken = self._taken()
        epoch, at = divmod(number, sum(taken))
        item = int(_order(self.seed, epoch, sum(taken))[at])
        which = 0
        while item >= taken[which]:
            item, which = item - taken[which], which + 1
        one, rng = self.data[which], np.random.default_rng([self.seed, number, 2])
        # A weight below 1 goes on where the epoch before stopped.
        return [self._clip(one, (item + epoch * taken[which]) % self._items(one), rng)]

    @property
    def epoch(self) -> int:
        """Clips per epoch."""
        return sum(self._taken())

    def _taken(self) -> list[int]:
        """Clips per epoch of each data set."""
        return [max(1, round(self._items(one) * one.spec.weight)) for one in self.data]

    def _items(self, one: Data) -> int:
        """Clips that can begin in a data set: one per image, or per frame of a video but its end.
        """
        if one.spec.kind == "synthetic":
            return one.spec.clips
        lost = 0 if one.spec.kind == "crowdhuman" else self.frames - 1
        return sum(len(part) - lost for part in one.parts)

    def _clip(self, one: Data, item: int, rng: np.random.Generator) -> RawClip:
        if one.spec.kind == "synthetic":
            return self._synthetic(one.spec.interval or self.synthetic.max_interval, rng)
        if one.spec.kind == "crowdhuman":
            return still(one.parts[0], item, self.frames, rng, self.augment)
        for part in one.parts:
            starts = len(part) - self.frames + 1
            if item < starts:
                break
            item -= starts
        interval = one.spec.interval or self.augment.max_interval
        return moving(part, item, self.frames, rng, replace(self.augment, max_interval=interval))

    def _synthetic(self, interval: int, rng: np.random.Generator) -> RawClip:
        sampling = self.synthetic
        width, height = sampling.sizes[rng.integers(len(sampling.sizes))]
        step = int(rng.integers(1, interval + 1))
        scene = SceneConfig(width=width, height=height, frames=step * (self.frames - 1) + 1)
        frames = render_clip(int(rng.integers(1 << 62)), scene)
        clip: RawClip = list(islice(frames, 0, None, step))
        return augment(clip, rng, sampling)


@lru_cache(2)
def _order(seed: int, epoch: int, count: int) -> Integers:
    return np.random.default_rng([seed, epoch, 3]).permutation(count)


def moving(
    part: Labelled, start: int, frames: int, rng: np.random.Generator, config: AugmentConfig
) -> RawClip:
    """A clip of a video from frame `start` on, at a random step that stays inside it."""
    most = (len(part) - 1 - start) // (frames - 1) if frames > 1 else 1
    step = int(rng.integers(1, min(config.max_interval, most) + 1))
    rows = range(start, start + frames * step, step)
    images = [_image(part.files[row]) for row in rows]
    height, width = images[0].shape[:2]
    view = draw_view((width, height), rng, config)
    return _seen(part, rows, images, [view] * frames, draw_colour(rng, config))


def still(
    part: Labelled, index: int, frames: int, rng: np.random.Generator, config: AugmentConfig
) -> RawClip:
    """A clip made of one image, which shifts and grows from frame to frame (SPEC 9.2)."""
    image = _image(part.files[index])
    size = image.shape[1], image.shape[0]
    regions = drift(size, frames, rng, config)
    view = draw_view(size, rng, config)
    views = [replace(view, region=within(one, view.region, size)) for one in regions]
    return _seen(part, [index] * frames, [image] * frames, views, draw_colour(rng, config))


def _seen(
    part: Labelled, rows: Sequence[int], images: Sequence[np.ndarray], views: Sequence[View],
    gains: Sequence[int],
) -> RawClip:
    """Frames `rows` of a part in their views: images, and of boxes those to be seen there."""
    clip: RawClip = []
    for row, image, view in zip(rows, images, views, strict=True):
        truth, found = part.truth[row], part.detections[row]
        boxes, there = place(truth[:, :4], view)
        given, near = place(found[:, :4], view)
        if not view.cut and view.region == (0, 0, image.shape[1], image.shape[0]):
            there[:], near[:] = True, True  # as published, what is outside of its image stays
        clip.append(LabelledFrame(
            image=recoloured(view_of(image, view), gains), boxes=boxes[there],
            ids=truth[there, 4].astype(np.int64), labels=truth[there, 5].astype(np.int64),
            detections=np.column_stack([given, found[:, 4:]])[near],
        ))  # fmt: skip
    return clip


def _image(path: str) -> np.ndarray:
    image = None
    with suppress(OSError):
        image = decoded(image_bytes(Path(path)), path)
    if image is None:
        raise InputError(f"{path} is not an image; replace or remove it")
    return image


def draw_view(size: Size, rng: np.random.Generator, config: AugmentConfig) -> View:
    """A view of images of that size (SPEC 9.3, items 1 and 2)."""
    flip, crop = rng.random(2) < (config.flip, config.crop)
    region: Region = (0.0, 0.0, *size)
    seen = size
    if crop:
        large = resized(size, int(rng.choice(config.before_crop)))
        low, high = config.crop_sides
        width, height = (int(rng.integers(min(low, s), min(high, s) + 1)) for s in large)
        seen = width, height
        left, top = (int(rng.integers(0, a - b + 1)) for a, b in zip(large, seen, strict=True))
        region = within((0.0, 0.0, *size), (left, top, left + seen[0], top + seen[1]), large)
    seen = resized(seen, int(rng.choice(config.sizes)), config.max_side)
    return View(region, seen, bool(flip), bool(crop))


def resized(size: Size, short: int, longest: int | None = None) -> Size:
    """The size with a shorter side of `short`, or less where the longer would exceed `longest`."""
    low, high = sorted(size)
    if longest and high / low * short > longest:
        short = max(1, round(longest * low / high))
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


def draw_colour(rng: np.random.Generator, config: AugmentConfig) -> list[int]:
    """Gains of hue, saturation and value (SPEC 9.3, item 3)."""
    gains = rng.uniform(-1, 1, 3) * config.colour * rng.integers(0, 2, 3)
    return [int(gain) for gain in gains]
