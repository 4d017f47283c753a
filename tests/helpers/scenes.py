"""What the commands are given in tests: a small network, a folder of frames, its detections.

The network has random weights. It knows nothing, yet its tracks are born, lost, found again and
die, so whatever changes an input changes the result.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from helpers.fakes import SMALL
from helpers.golden_data import synthetic_sequence
from tfsasm.datasets.synthetic.config import SyntheticFrame
from tfsasm.detection.proposals import Proposals
from tfsasm.motrv2.config import ModelConfig, NetworkConfig
from tfsasm.motrv2.model import MOTRv2
from tfsasm.training.data import RawClip
from tfsasm.video.writer import VideoWriter

if TYPE_CHECKING:  # processes that make clips load this module, and these are slow
    import supervision as sv

    from tfsasm.tracking.run import Tracker

NETWORK = NetworkConfig(SMALL, short_side=64, max_side=112)
WIDTH, HEIGHT, FRAMES = 128, 96, 12


def lively_model(config: ModelConfig = SMALL, seed: int = 20) -> MOTRv2:
    """Scores spread around a half; boxes stay near the proposals."""
    torch.manual_seed(seed)
    model = MOTRv2(config)
    with torch.no_grad():
        for head in model.decoder.class_heads:
            head.bias.fill_(0.5)
            head.weight.mul_(4.0)
        model.decoder.box_heads[0].reset(size_bias=0.0)
    return model.eval().requires_grad_(False)


@dataclass(frozen=True)
class Scene:
    """Twelve frames of 96x128; the fifth and the last two have no detection."""

    folder: Path
    """`.../dance-7/img1` with `00000001.png` and so on."""
    detections: Path
    """MOT det.txt."""
    images: list[np.ndarray]
    """BGR uint8."""
    lines: list[list[str]]
    """`left,top,width,height,score`, per frame."""

    def proposals(self, index: int) -> Proposals:
        rows = [[float(value) for value in line.split(",")] for line in self.lines[index]]
        return Proposals.from_ltwh([r[:4] for r in rows], [r[4] for r in rows], WIDTH, HEIGHT)


def make_scene(root: Path) -> Scene:
    frames, lines = synthetic_sequence(FRAMES, HEIGHT, WIDTH, nobj=5, seed=7, zero_frames=[4])
    images = [np.ascontiguousarray(frame[:, :, ::-1]) for frame in frames]
    folder = write_images(root / "dance-7" / "img1", images)
    return Scene(folder, write_detections(root / "det.txt", lines), images, lines)


def write_images(
    folder: Path, images: Sequence[np.ndarray], names: Sequence[str] | None = None
) -> Path:
    folder.mkdir(parents=True)
    names = names or [f"{number:08d}.png" for number in range(1, len(images) + 1)]
    for name, image in zip(names, images, strict=True):
        (folder / name).write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return folder


def write_detections(path: Path, lines: Sequence[Sequence[str]]) -> Path:
    rows = [f"{n},-1,{line}\n" for n, found in enumerate(lines, start=1) for line in found]
    path.write_text("".join(rows))
    return path


def write_folders(scene: Scene, root: Path) -> Path:
    """MOT folders a, b and c: short dances cut from the scene. Truth is what was detected."""
    orders: dict[str, Iterable[int]] = {"a": range(6), "b": reversed(range(6)), "c": range(7, 10)}
    for name, order in orders.items():
        images = sorted(scene.folder.iterdir())
        for part in ("img1", "gt", "det"):
            (root / name / part).mkdir(parents=True)
        boxes, truth = [], []
        for number, index in enumerate(order, start=1):
            shutil.copy(images[index], root / name / "img1" / f"{number:08d}.png")
            for identity, line in enumerate(scene.lines[index], start=1):
                boxes.append(f"{number},-1,{line}\n")
                truth.append(f"{number},{identity},{line.rpartition(',')[0]},1,1,1\n")
        (root / name / "det" / "det.txt").write_text("".join(boxes))
        (root / name / "gt" / "gt.txt").write_text("".join(truth))
        (root / name / "seqinfo.ini").write_text(
            f"[Sequence]\nname={name}\nimDir=img1\nframeRate=20\nseqLength={number}\n"
            f"imWidth={WIDTH}\nimHeight={HEIGHT}\nimExt=.png\n"
        )
    return root


def detections_of(scene: Scene, index: int) -> sv.Detections:
    import supervision as sv

    rows = np.array([line.split(",") for line in scene.lines[index]], dtype=float).reshape(-1, 5)
    xyxy = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
    return sv.Detections(xyxy=xyxy, confidence=rows[:, 4])


def follow(tracker: Tracker, scene: Scene, frames: Iterable[int] | None = None) -> list:
    """The tracks of frames of the scene, by default of all."""
    indices = range(len(scene.images)) if frames is None else frames
    return [tracker.update(detections_of(scene, i), scene.images[i]) for i in indices]


def same(one: sv.Detections, other: sv.Detections) -> bool:
    columns = ("xyxy", "confidence", "class_id", "tracker_id")
    return all(np.array_equal(getattr(one, c), getattr(other, c)) for c in columns)


def all_same(ones: Iterable[sv.Detections], others: Iterable[sv.Detections]) -> bool:
    return all(same(*pair) for pair in zip(ones, others, strict=True))


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


def drawn_clip(seed: int, frames: int = 3) -> RawClip:
    """Two coloured people who walk over grey noise, 64x64, and what a detector sees of them."""
    random = np.random.default_rng(seed)
    start, pace = random.uniform(8, 36, (2, 2)), random.uniform(-2, 2, (2, 2))
    clip = []
    for number in range(frames):
        image = random.integers(0, 40, (64, 64, 1), dtype=np.uint8).repeat(3, axis=2)
        boxes = np.concatenate([start + number * pace, [[10.0, 20.0], [12.0, 18.0]]], axis=1)
        for (x, y, w, h), colour in zip(boxes.astype(int), [(0, 0, 255), (0, 255, 0)], strict=True):
            image[y : y + h, x : x + w] = colour
        noisy = boxes + random.normal(0, 0.7, boxes.shape)
        found = np.concatenate([noisy, [[0.9], [0.7]]], axis=1)
        clip.append(SyntheticFrame(image, boxes, np.array([3, 8]), np.ones(2), found))
    return clip


def drawn_blocks(index: int) -> list[RawClip]:
    """An endless stream of such clips, two in a block."""
    return [drawn_clip(2 * index), drawn_clip(2 * index + 1)]


class RunsCode:
    """Makes a file when it is unpickled freely."""

    def __init__(self, path: Path | str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self._path), "w")


def film(path: Path, images: Iterable[np.ndarray], rate: int = 20) -> Path:
    """A video of these images, without loss."""
    with VideoWriter(path, Fraction(rate), crf=0) as writer:
        for image in images:
            writer.write(image)
    return path
