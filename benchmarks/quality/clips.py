"""The sequences that are measured on, what is done to them, and what a tracker sees of them.

What is slow to make is made once and kept in a cache: detections of clips that have pictures, and
for each condition the embeddings of the boxes and the camera's motion.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tfsasm.boxes import ltwh_to_xyxy, xyxy_to_ltwh
from tfsasm.detection.proposals import NO_CLASS
from tfsasm.motchallenge import TrackRows, read_detections, read_seqinfo, read_tracks
from tfsasm.tracking.appearance.camera import CameraConfig, CameraMotion
from tfsasm.tracking.appearance.embedders import Embedder, embedder
from tfsasm.tracking.appearance.state import FrameDetections
from tfsasm.video.source import open_video

Embedded = tuple[np.ndarray, np.ndarray]
"""Boxes `[E, 4]` of a frame, pixel corners, and their unit vectors `[E, C]`."""

MIN_SCORE = 0.1
EMBED_FROM = 0.4  # below every `high_score` that is tried
MOVED_FROM = 0.5  # detections from this score on hide the corners of camera motion


@dataclass(frozen=True)
class Clip:
    """A sequence with its boxes."""

    name: str
    group: str
    """Clips of one kind: what is left out together, and shown in one row."""
    rule: str
    """The benchmark by whose rules it is scored."""
    truth: TrackRows
    boxes: dict[int, np.ndarray]
    """Frame -> `[P, 5]`: left, top, width, height, score."""
    length: int
    video: Path | None = None
    pan: bool = False
    """Whether a moving window is looked through instead of the whole picture (see `window`)."""


@dataclass(frozen=True)
class Condition:
    """What is done to the boxes of a clip."""

    name: str
    stride: int = 1
    dropped: float = 0.0
    jitter: float = 0.0
    """Standard deviation of every side, as a share of the box's width or height."""
    perfect: bool = False
    """Whether the ground truth takes the place of the detections, with a score of 0.95."""
    seed: int = 0


CONDITIONS = {
    condition.name: condition
    for condition in (
        Condition("as it is"),
        Condition("every 3rd frame", stride=3),
        Condition("10 % dropped", dropped=0.1),
        Condition("30 % dropped", dropped=0.3),
        Condition("5 % jitter", jitter=0.05),
        Condition("true boxes", perfect=True),
        *(Condition(f"true boxes, 4 % jitter {s}", perfect=True, jitter=0.04, seed=s)
          for s in range(3)),
    )
}  # fmt: skip


def dancetrack(root: Path) -> list[Clip]:
    """The validation sequences that are there, with their boxes but without pictures."""
    return [
        _boxes_only(folder, "DanceTrack", "dancetrack", folder / "det" / "det.txt", 0)
        for folder in sorted((root / "DanceTrack" / "val").iterdir())
    ]


def mot17(root: Path) -> list[Clip]:
    """The second halves of the training sequences; `det_full` counts from the first half's start.
    """
    clips = []
    for folder in sorted((root / "MOT17" / "val_half").iterdir()):
        detections = folder / "det_full" / "det.txt"
        full = max(read_detections(detections))
        clips.append(_boxes_only(folder, "MOT17", "mot17", detections, full // 2 + 1))
    return clips


def _boxes_only(folder: Path, group: str, rule: str, detections: Path, shift: int) -> Clip:
    length = int(read_seqinfo(folder / "seqinfo.ini").length or 0)
    boxes = {k - shift: rows for k, rows in read_detections(detections).items() if k > shift}
    return Clip(folder.name, group, rule, read_tracks(folder / "gt" / "gt.txt"), boxes, length)


def real_people(root: Path, video: Path, detections: Path) -> list[Clip]:
    """PETS09-S2L1, the same through a moving window, and TUD-Campus; `detections/NAME.txt`."""
    train, clips = root / "MOT15" / "train", []
    for name, group, source in (
        ("PETS09-S2L1", "PETS", video), ("TUD-Campus", "TUD", train / "TUD-Campus" / "img1"),
    ):  # fmt: skip
        truth = read_tracks(train / name / "gt" / "gt.txt")
        boxes = dict(read_detections(detections / f"{name}.txt"))
        length = int(truth.frame.max())
        clips.append(Clip(name, group, "mot15", truth, boxes, length, source))
    return [*clips, panned(clips[0])]


def synthetic(folder: Path, group: str, count: int) -> list[Clip]:
    """The first sequences that `tfsasm synth` wrote to `folder`."""
    clips = []
    for place in sorted(path for path in folder.iterdir() if (path / "gt").is_dir())[:count]:
        truth = read_tracks(place / "gt" / "gt.txt")
        boxes = dict(read_detections(place / "det" / "det.txt"))
        clips.append(
            Clip(place.name, group, "mot", truth, boxes, int(truth.frame.max()), place / "img1")
        )
    return clips


WINDOW = 512  # pixels of width, of PETS09-S2L1's 768
PERIOD = 120  # frames from the left to the right and back
VISIBLE = 0.3  # share of its width that a box must have within


def window(frame: int) -> int:
    """The left border of the moving window in a frame, counted from 1."""
    phase = (frame - 1) % PERIOD / (PERIOD / 2)
    return round((768 - WINDOW) * min(phase, 2 - phase))


def panned(clip: Clip) -> Clip:
    """The clip through a window that moves to and fro, so that its camera pans."""
    kept, ltwh = _through_window(clip.truth.ltwh, clip.truth.frame)
    truth = replace(clip.truth[kept], ltwh=ltwh)
    boxes = {}
    for frame, rows in clip.boxes.items():
        kept, ltwh = _through_window(rows[:, :4], np.full(len(rows), frame))
        boxes[frame] = np.hstack([ltwh, rows[kept, 4:]])
    return replace(clip, name=f"{clip.name}, pan", group="PETS, pan", truth=truth, boxes=boxes,
                   pan=True)  # fmt: skip


def _through_window(ltwh: np.ndarray, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    left = np.array([window(frame) for frame in frames.tolist()], dtype=np.float64)
    xyxy = ltwh_to_xyxy(ltwh)
    xyxy[:, [0, 2]] = np.clip(xyxy[:, [0, 2]] - left[:, None], 0, WINDOW)
    cut = xyxy_to_ltwh(xyxy)
    kept = cut[:, 2] >= VISIBLE * ltwh[:, 2]
    return kept, cut[kept]


def truth_of(clip: Clip, condition: Condition) -> TrackRows:
    """The ground truth of the frames that are left, numbered from 1; all of it for true boxes."""
    kept = clip.truth[(clip.truth.frame - 1) % condition.stride == 0]
    if condition.perfect:
        kept = replace(kept, confidence=np.ones(len(kept)))
    return replace(kept, frame=(kept.frame - 1) // condition.stride + 1)


def frames_of(
    clip: Clip, condition: Condition, look: str, cache: Path, weights: Path | None = None
) -> tuple[FrameDetections, ...]:
    """What the tracker sees of each frame; `look` is the embedder's name, `none` for boxes alone.

    A box that is dropped or left out changes the look of no other, so each is embedded once.
    """
    if look == "none":
        if clip.video is None:
            return tuple(frames_of_boxes(clip, condition))
        path = cache / f"{clip.name}-{condition.name}.pickle"
        return cached(path, lambda: tuple(_with_camera(clip, condition)))
    whole = replace(condition, name="", stride=1, dropped=0.0)
    path = cache / f"{clip.name}-{whole.jitter}-{whole.perfect}-{whole.seed}-{look}.pickle"
    embed = embedder(look, weights if look == "osnet" else None)
    looks = cached(path, lambda: tuple(_embedded(clip, whole, embed)))
    seen = frames_of(clip, condition, "none", cache)
    return tuple(
        _with_looks(frame, known)
        for frame, known in zip(seen, looks[:: condition.stride], strict=False)
    )


def cached(path: Path, make: Callable[[], Any]) -> Any:
    """What `make` makes, from the file `path` if it was made before."""
    if not path.exists():
        write_whole(path, pickle.dumps(make()))
    return pickle.loads(path.read_bytes())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that another process never sees in part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_bytes(content)
    part.replace(path)


def frames_of_boxes(clip: Clip, condition: Condition) -> Iterator[FrameDetections]:
    """The frames of a clip without what comes of pictures."""
    dice = np.random.default_rng(condition.seed)
    for frame in range(1, clip.length + 1):
        rows = _degraded(clip, condition, frame, dice)
        if (frame - 1) % condition.stride == 0:
            kinds = np.full(len(rows), NO_CLASS)
            yield FrameDetections(ltwh_to_xyxy(rows[:, :4]), rows[:, 4], kinds)


def _degraded(
    clip: Clip, condition: Condition, frame: int, dice: np.random.Generator
) -> np.ndarray:
    """The boxes `[P, 5]` of a frame under a condition."""
    if condition.perfect:
        ltwh = clip.truth.ltwh[clip.truth.frame == frame]
        rows = np.hstack([ltwh, np.full((len(ltwh), 1), 0.95)])
    else:
        rows = clip.boxes.get(frame, np.zeros((0, 5)))
        rows = rows[rows[:, 4] >= MIN_SCORE]
    rows = rows[dice.random(len(rows)) >= condition.dropped]
    xyxy = ltwh_to_xyxy(rows[:, :4])
    xyxy += condition.jitter * dice.normal(size=xyxy.shape) * rows[:, [2, 3, 2, 3]]
    return np.hstack([np.maximum(xyxy_to_ltwh(xyxy), [-np.inf, -np.inf, 1, 1]), rows[:, 4:]])


def _images(clip: Clip, condition: Condition) -> Iterator[tuple[FrameDetections, np.ndarray]]:
    """The boxes of each frame that is left, and its picture."""
    assert clip.video is not None
    with open_video(clip.video, stride=condition.stride) as source:
        for seen, shown in zip(frames_of_boxes(clip, condition), source, strict=False):
            left = window(shown.number)
            image = shown.image[:, left : left + WINDOW] if clip.pan else shown.image
            yield seen, np.ascontiguousarray(image)


def _with_camera(clip: Clip, condition: Condition) -> Iterator[FrameDetections]:
    camera = CameraMotion(CameraConfig())
    for seen, image in _images(clip, condition):
        warp = camera.update(image, seen.xyxy[seen.scores >= MOVED_FROM])
        yield replace(seen, warp=warp, size=(image.shape[1], image.shape[0]))


def _embedded(clip: Clip, condition: Condition, embed: Embedder) -> Iterator[Embedded]:
    for seen, image in _images(clip, condition):
        boxes = seen.xyxy[seen.scores >= EMBED_FROM]
        found = embed(image, boxes)
        yield boxes, found / np.linalg.norm(found, axis=1, keepdims=True)


def _with_looks(seen: FrameDetections, known: Embedded) -> FrameDetections:
    """The frame with the embeddings of its boxes, zeros for those of low score."""
    boxes, found = known
    row = {box.tobytes(): i for i, box in enumerate(boxes)}
    rows = np.flatnonzero(seen.scores >= EMBED_FROM)
    vectors = np.zeros((len(seen.scores), found.shape[1]), np.float32)
    vectors[rows] = found[[row[box.tobytes()] for box in seen.xyxy[rows]]]
    return replace(seen, embeddings=vectors)
