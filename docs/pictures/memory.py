"""The pictures of docs/concepts/memory.md: `python docs/pictures/memory.py`.

A synthetic dance, its true boxes, and the memory at the settings for embeddings of boxes. A view is
here the number of its frame, so that what is stored says which views these are.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from tfsasm.boxes import iou_matrix
from tfsasm.datasets.synthetic.config import SceneConfig
from tfsasm.datasets.synthetic.sequences import write_sequences
from tfsasm.motchallenge import read_tracks
from tfsasm.tracking import memory
from tfsasm.tracking.config import MemoryConfig
from tfsasm.video.source import open_video

FRAMES, SEED, PERSON = 100, 1, 2
CONFIG = MemoryConfig(
    min_travel=0.5, min_score=0.6, first_overlap=1.0, store_without_candidate=False
)
WHY = {"travelled": "#d1495b", "waited": "#00798c"}
COVERED, MOMENTUM = "#b8bfc8", 0.9


class Walk(NamedTuple):
    """One person through the clip."""

    boxes: np.ndarray
    """`[F, 4]`, pixel corners."""
    overlap: np.ndarray
    """Largest IoU with anyone else `[F]`."""


class Store(NamedTuple):
    """When a view was stored, of which frame, and why it was time; frames from 1."""

    frame: int
    view: int
    why: str


def clip() -> tuple[list[np.ndarray], Walk]:
    """The images, RGB, and the walk of `PERSON` through them."""
    scene = SceneConfig(
        width=960, height=600, frames=FRAMES, kinds=("dance",), people=(5, 5), leave=0,
        occluders=(0, 0), camera_motion=0, frame_rate=(12, 12),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        (place,) = write_sequences(Path(folder), 1, SEED, scene)
        rows = read_tracks(place / "gt" / "gt.txt")
        with open_video(place / "img1") as source:
            images = [frame.image[..., ::-1] for frame in source]
    corners = np.hstack([rows.ltwh[:, :2], rows.ltwh[:, :2] + rows.ltwh[:, 2:]])
    boxes, overlap = np.zeros((FRAMES, 4)), np.zeros(FRAMES)
    for frame in range(FRAMES):
        here = rows.frame == frame + 1
        own = rows.identity[here] == PERSON
        boxes[frame] = corners[here][own][0]
        others = corners[here][~own]
        overlap[frame] = iou_matrix(boxes[frame][None], others).max(initial=0)
    return images, Walk(boxes, overlap)


def remember(walk: Walk) -> tuple[list[Store], list[int]]:
    """What is stored when, and the frames of the views that are kept at the end."""
    state, stores = memory.empty(np.zeros((1, 1), np.float32), CONFIG), []
    centres = (walk.boxes[:, :2] + walk.boxes[:, 2:]) / 2
    heights = walk.boxes[:, 3] - walk.boxes[:, 1]
    steps = np.linalg.norm(np.diff(centres, axis=0, prepend=centres[:1]), axis=1) / heights
    for frame in range(FRAMES):
        seen = memory.Observation(
            feature=np.array([[frame + 1]], np.float32), travel=steps[[frame]].astype(np.float32),
            overlap=walk.overlap[[frame]].astype(np.float32),
            score=np.full(1, 0.9, np.float32), present=np.ones(1, bool),
        )  # fmt: skip
        travelled = float(state.travel[0] + seen.travel[0]) > CONFIG.min_travel
        state = memory.write(state, seen, CONFIG)
        if state.gap[0] == 0:
            view = int(state.features[0, -1, 0])
            stores.append(Store(frame + 1, view, "travelled" if travelled else "waited"))
    return stores, state.features[0][state.valid[0]][:, 0].astype(int).tolist()


def draw_stores(images: list[np.ndarray], walk: Walk, stores: list[Store], path: Path) -> None:
    """How covered a person was, when the memory stored, and the pictures that it took."""
    shown = stores[: CONFIG.capacity]
    figure = plt.figure(figsize=(9, 4.6), layout="constrained")
    grid = figure.add_gridspec(2, len(shown), height_ratios=[1.2, 1])
    timeline = figure.add_subplot(grid[0, :])
    covered(timeline, walk)
    for number, store in enumerate(shown, start=1):
        color = WHY[store.why]
        height = float(walk.overlap[store.view - 1])
        timeline.axvline(store.frame, color=color, lw=1.2, ls=(0, (4, 3)))
        timeline.plot(store.view, height, "o", color=color, ms=13, clip_on=False, zorder=3)
        timeline.annotate(str(number), (store.view, height), color="white", ha="center",
                          va="center_baseline", fontsize=8, weight="bold", zorder=4)  # fmt: skip
        picture = figure.add_subplot(grid[1, number - 1])
        picture.imshow(cut(images[store.view - 1], walk.boxes[store.view - 1]))
        picture.set_title(f"{number}", color=color, fontsize=11, weight="bold")
        picture.set_xlabel(f"frame {store.view}\n{store.why}", color=color, fontsize=8)
        picture.set(xticks=[], yticks=[])
        for side in picture.spines.values():
            side.set(color=color, linewidth=2)
    timeline.set_xlim(-1, FRAMES + 2)
    save(figure, path)


def draw_weights(walk: Walk, kept: list[int], path: Path) -> None:
    """What each memory is made of after the last frame."""
    frames = np.arange(1, FRAMES + 1)
    average = (1 - MOMENTUM) * MOMENTUM ** (FRAMES - frames)
    average[0] /= 1 - MOMENTUM
    sparse = np.isin(frames, kept) / len(kept)
    last = (frames == FRAMES).astype(float)
    figure, rows = plt.subplots(3, 1, figsize=(9, 4.2), sharex=True, layout="constrained")
    names = ("the last view", f"moving average, {MOMENTUM}", "sparse memory")
    colors = ("#6c757d", WHY["waited"], WHY["travelled"])
    memories = (last, average, sparse)
    for place, name, weights, color in zip(rows, names, memories, colors, strict=True):
        behind = place.twinx()
        covered(behind, walk)
        behind.set(yticks=[], ylabel="", xlabel="")
        place.set(zorder=behind.get_zorder() + 1, frame_on=False)
        place.bar(frames, weights, color=color, width=0.9)
        place.set_ylim(0, weights.max() * 1.15)
        place.set_ylabel("weight")
        place.set_title(name, loc="left", fontsize=10, color=color, weight="bold")
        clean(place)
    rows[-1].set_xlabel("frame;  grey: how much of the person others cover")
    rows[-1].set_xlim(0, FRAMES + 1)
    save(figure, path)


def covered(place: Axes, walk: Walk) -> None:
    """The overlap of each frame, as a grey hill."""
    place.fill_between(np.arange(1, FRAMES + 1), walk.overlap, color=COVERED, alpha=0.6, lw=0)
    place.set_ylim(0, max(0.5, walk.overlap.max() * 1.2))
    place.set(xlabel="frame", ylabel="overlap with others")
    clean(place)


def clean(place: Axes) -> None:
    """No frame around a plot."""
    for side in ("top", "right"):
        place.spines[side].set_visible(False)


def cut(image: np.ndarray, box: np.ndarray, margin: float = 0.25) -> np.ndarray:
    """The person with some surroundings, 120 x 160 pixels."""
    centre, half = (box[:2] + box[2:]) / 2, (box[3] - box[1]) / 2 * (1 + margin)
    size = np.array([0.75, 1]) * half
    (x1, y1), (x2, y2) = centre - size, centre + size
    corners = np.array([[x1, y1], [x2, y1], [x1, y2]], np.float32)
    to = np.array([[0, 0], [120, 0], [0, 160]], np.float32)
    return cv2.warpAffine(image, cv2.getAffineTransform(corners, to), (120, 160),
                          flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)  # fmt: skip


def save(figure: plt.Figure, path: Path) -> None:
    """On white, so that it can be read on a dark page, too."""
    figure.savefig(path, dpi=110, facecolor="white")
    print(f"wrote {path}, {path.stat().st_size / 1e3:.0f} kB")


def main() -> None:
    """Render, remember, draw."""
    images, walk = clip()
    stores, kept = remember(walk)
    here = Path(__file__).parent
    draw_stores(images, walk, stores, here / "memory-stores.png")
    draw_weights(walk, kept, here / "memory-weights.png")


if __name__ == "__main__":
    main()
