"""A mix of data sets as one endless stream of clips, by number.

An epoch takes each clip of each data set once, or as often as its weight says, shuffled by the seed
and the number of the epoch (SPEC 9.3). What is drawn for a clip depends on seed and number alone.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np

from tfsasm.datasets.synthetic.config import SceneConfig
from tfsasm.datasets.synthetic.sequences import render_clip
from tfsasm.errors import InputError
from tfsasm.tables import Integers
from tfsasm.training.augment import (
    AugmentConfig,
    View,
    draw_colour,
    draw_view,
    drift,
    place,
    recoloured,
    view_of,
    within,
)
from tfsasm.training.data import LabelledFrame, RawClip, SamplingConfig, augment
from tfsasm.training.sources import Data, Labelled
from tfsasm.video.images import decoded, image_bytes


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
        ends = np.cumsum(taken)
        which = int(np.searchsorted(ends, item, side="right"))
        inside = item - int(ends[which]) + taken[which]
        rng = np.random.default_rng([self.seed, number, 2])
        one = self.data[which]
        # A weight below 1 goes on where the epoch before stopped.
        return [self._clip(one, (inside + epoch * taken[which]) % self._items(one), rng)]

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
        interval = one.spec.interval or self.augment.max_interval
        if one.spec.kind == "synthetic":
            return self._synthetic(one.spec.interval or self.synthetic.max_interval, rng)
        if one.spec.kind == "crowdhuman":
            return still(one.parts[0], item, self.frames, rng, self.augment)
        for part in one.parts:
            starts = len(part) - self.frames + 1
            if item < starts:
                break
            item -= starts
        config = replace(self.augment, max_interval=interval)
        return moving(part, item, self.frames, rng, config)

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
    images = [_image(part.files[start + k * step]) for k in range(frames)]
    height, width = images[0].shape[:2]
    view = draw_view((width, height), rng, config)
    return _seen(part, [start + k * step for k in range(frames)], images, [view] * frames,
                 draw_colour(rng, config))  # fmt: skip


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
    gains: tuple[int, int, int],
) -> RawClip:
    """Frames `rows` of a part in their views: images, and of boxes those to be seen there."""
    clip: RawClip = []
    for row, image, view in zip(rows, images, views, strict=True):
        truth, found = part.truth[row], part.detections[row]
        boxes, there = place(truth[:, :4], view)
        given, near = place(found[:, :4], view)
        keep_all = not view.cut and view.region == (0, 0, image.shape[1], image.shape[0])
        if keep_all:  # as published, what a video has outside of its image stays there
            there, near = np.full(len(truth), True), np.full(len(found), True)
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
