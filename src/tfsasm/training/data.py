"""Training clips: cut from sequences, augmented alike in all frames, turned into tensors.

What is unusual here: the stream is a function of (seed, block), never of what was drawn before. A
run that resumes at block k gets exactly the clips that it would have got.
"""

import math
import pickle
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tfsasm.boxes import normalised_boxes
from tfsasm.datasets.synthetic.config import SceneConfig, SyntheticFrame
from tfsasm.datasets.synthetic.sequences import render_clip
from tfsasm.errors import InputError
from tfsasm.motrv2.network import normalise
from tfsasm.processes import end_at_once, without_ctrl_c
from tfsasm.training.clip import Clip, FrameDetections
from tfsasm.training.losses import Targets


@dataclass(frozen=True)
class LabelledFrame:
    """A frame of real data: what `SyntheticFrame` has, and the classes."""

    image: np.ndarray
    """uint8 BGR `[H, W, 3]`."""
    boxes: np.ndarray
    """`[G, 4]` ltwh pixels."""
    ids: np.ndarray
    """`[G]` int64."""
    labels: np.ndarray
    """`[G]` int64, from 0."""
    detections: np.ndarray
    """`[P, 5]` ltwh pixels and score."""


RawFrame = SyntheticFrame | LabelledFrame

RawClip = list[RawFrame]

Blocks = Callable[[int], list[RawClip]]
"""An endless stream of clips in blocks of equal length, by number."""


@dataclass(frozen=True)
class SamplingConfig:
    """How clips are cut and varied."""

    frames: int = 4
    """Frames per clip."""
    max_interval: int = 3
    """Largest step between two frames of a clip; drawn evenly from 1."""
    sequences: int = 4
    """Sequences whose clips are shuffled together."""
    sizes: tuple[tuple[int, int], ...] = ((384, 288), (384, 288), (512, 288), (448, 288))
    """Width and height of the images, drawn per sequence."""
    flip: float = 0.5
    backwards: float = 0.5
    colour: tuple[int, int, int] = (8, 40, 40)
    """Most change of OpenCV's hue, saturation and value."""
    lost_detections: float = 0.05
    """Chance of dropping each detection, beyond what the detector itself misses."""
    blank: float = 0.0
    """Chance of a clip whose images are blank, so that the detections are all there is. What is
    learned there does not depend on how the people were drawn."""

    @property
    def sequence_frames(self) -> int:
        """Frames rendered per sequence: a multiple of a clip at any interval."""
        return self.frames * math.lcm(*range(1, self.max_interval + 1))


@dataclass(frozen=True)
class SyntheticBlocks:
    """An endless stream of rendered clips, block by block."""

    seed: int
    sampling: SamplingConfig = SamplingConfig()

    def __call__(self, index: int) -> list[RawClip]:
        """Clips of block `index`, shuffled."""
        rng, sampling = np.random.default_rng([self.seed, index]), self.sampling
        clips: list[RawClip] = []
        for seed in self.sequence_seeds(index):
            width, height = sampling.sizes[rng.integers(len(sampling.sizes))]
            scene = SceneConfig(width=width, height=height, frames=sampling.sequence_frames)
            frames = list(render_clip(seed, scene))
            clips += [augment(clip, rng, sampling) for clip in cut(frames, rng, sampling)]
        return [clips[i] for i in rng.permutation(len(clips))]

    def sequence_seeds(self, index: int) -> list[int]:
        """The seeds of the sequences of block `index`."""
        entropies = ([self.seed, index, child] for child in range(self.sampling.sequences))
        return [int(np.random.SeedSequence(e).generate_state(1)[0]) for e in entropies]


def cut(
    frames: Sequence[RawFrame], rng: np.random.Generator, sampling: SamplingConfig
) -> Iterator[RawClip]:
    """Disjoint clips of `sampling.frames` frames at one random interval."""
    interval = int(rng.integers(1, sampling.max_interval + 1))
    for start in range(0, len(frames) - interval * sampling.frames + 1, interval * sampling.frames):
        for phase in range(interval):
            yield list(frames[start + phase : start + interval * sampling.frames : interval])


def augment(clip: RawClip, rng: np.random.Generator, sampling: SamplingConfig) -> RawClip:
    """Flip, reverse and recolour, alike in all frames; detections are dropped one by one."""
    if rng.random() < sampling.backwards:
        clip = clip[::-1]
    if rng.random() < sampling.flip:
        clip = [_flipped(frame) for frame in clip]
    gains = (rng.uniform(-1, 1, 3) * sampling.colour).astype(int).tolist()
    visible = rng.random() >= sampling.blank
    return [
        replace(
            frame,
            image=recoloured(frame.image, gains) if visible else np.full_like(frame.image, 114),
            detections=frame.detections[
                rng.random(len(frame.detections)) >= sampling.lost_detections
            ],
        )
        for frame in clip
    ]


def _flipped(frame: RawFrame) -> RawFrame:
    width = frame.image.shape[1]

    def mirror(boxes: np.ndarray) -> np.ndarray:
        mirrored = boxes.copy()
        mirrored[:, 0] = width - boxes[:, 0] - boxes[:, 2]
        return mirrored

    return replace(
        frame, image=np.ascontiguousarray(frame.image[:, ::-1]), boxes=mirror(frame.boxes),
        detections=mirror(frame.detections),
    )  # fmt: skip


def recoloured(image: np.ndarray, gains: Sequence[int]) -> np.ndarray:
    """A BGR image whose OpenCV hue, saturation and value are changed by `gains`."""
    if not any(gains):
        return image
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.int16)
    hsv[..., 0] = (hsv[..., 0] + gains[0]) % 180
    hsv[..., 1:] = np.clip(hsv[..., 1:] + gains[1:], 0, 255)
    return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)


def to_clip(frames: Sequence[RawFrame]) -> Clip:
    """Tensors of a clip, images still uint8 RGB: quick to hand from one process to another."""
    height, width = frames[0].image.shape[:2]

    def boxes(ltwh: np.ndarray) -> Tensor:
        return torch.from_numpy(normalised_boxes(ltwh, width, height))

    def targets(frame: RawFrame) -> Targets:
        ids = torch.from_numpy(frame.ids.astype(np.int64))
        labels = [torch.from_numpy(frame.labels)] if isinstance(frame, LabelledFrame) else []
        return Targets(boxes(frame.boxes), ids, *labels)

    images = np.stack([frame.image[:, :, ::-1].transpose(2, 0, 1) for frame in frames])
    return Clip(
        images=torch.from_numpy(np.ascontiguousarray(images)),
        targets=[targets(frame) for frame in frames],
        detections=[
            FrameDetections(
                boxes(frame.detections[:, :4]),
                torch.from_numpy(frame.detections[:, 4].astype(np.float32)),
            )
            for frame in frames
        ],
    )


def normalised(clip: Clip, frames: int | None = None) -> Clip:
    """The first `frames` of a clip, images as the network takes them."""
    return Clip(normalise(clip.images[:frames]), clip.targets[:frames], clip.detections[:frames])


_ENDLESS = 1 << 40


def stream(
    blocks: Blocks, *, skip: int = 0, workers: int = 1, part: tuple[int, int] = (0, 1)
) -> Generator[Clip, None, None]:
    """Clips of an endless stream, made in other processes, from clip number `skip` on.

    `part` (k, n) takes every n-th of them, from the k-th on: each process of a run has its own.
    The processes are new ones, never forks: a fork of a process whose OpenCV has started threads
    waits for them for ever. So `blocks` must be something that can be pickled, else `InputError`.
    They end when the stream does, or is closed.
    """
    first, step = part
    per_block = len(blocks(0)) if skip or step > 1 else 1
    single = per_block == 1  # then each process makes its own blocks alone
    start, stride = (skip + first, step) if single else (skip // per_block, 1)
    numbers = range(start, _ENDLESS, stride)
    made: Any = _in_workers(blocks, numbers, workers)
    try:
        for number, clips in zip(numbers, made, strict=False):
            for index, clip in enumerate(clips, start=number * per_block):
                if index >= skip and (index - skip) % step == first:
                    yield clip
    finally:
        # They ignore signals: those that an error keeps alive would be waited for at the exit.
        if workers:
            made._shutdown_workers()


def _in_workers(blocks: Blocks, numbers: range, workers: int) -> Iterator[list[Clip]]:
    loader: DataLoader[list[Clip]] = DataLoader(
        numbers,  # type: ignore[arg-type]  # of a data set only what a range has, too, is asked
        batch_size=None, collate_fn=partial(_clips_of, blocks), num_workers=workers,
        prefetch_factor=2 if workers else None, worker_init_fn=_quietly,
        multiprocessing_context="spawn" if workers else None,
    )  # fmt: skip
    try:
        with without_ctrl_c():
            return iter(loader)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(
            f"{blocks!r} cannot be sent to another process; give a function of a module, or "
            "workers=0"
        ) from error


def _clips_of(blocks: Blocks, number: int) -> list[Clip]:
    return [to_clip(clip) for clip in blocks(number)]


def _quietly(worker: int) -> None:
    """One thread, and no end by a signal that is meant for the run: that ends after its step."""
    end_at_once()
    cv2.setNumThreads(1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
