"""Simulated looks on real boxes: a memory study where it is known what there was to remember.

The people, their motion and the detections are real, only the embeddings are made up. What a person
looks like in frame t, and what an embedder makes of a detection of him:

    looks(t)  = costume + own * who + VIEW * turn @ pose(t)
    embedding = unit((1 - sum of shares) * own looks + shares @ others' looks + noise / score)

`who` is the identity. `pose` is how he is turned, an Ornstein-Uhlenbeck process, half of whose
speed comes with time and half with travel; `turn` is in part shared by all (a back looks like a
back). `shares` are those of the box that others cover, who stand lower in the image; a box that is
nobody's is clutter. An embedding is linear in `own`, which is set so that pairs of frames, same
person against different ones, have the AUC that is wanted: OSNet has 0.94 on real people.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from benchmarks.quality.clips import Clip, Condition, frames_of_boxes, truth_of

from tfsasm.boxes import iou_matrix, ltwh_to_xyxy
from tfsasm.evaluation.protocols import matched
from tfsasm.tracking.appearance.state import FrameDetections

LENGTH, POSES = 64, 6  # of a vector; dimensions of the pose
TAU, REACH = 40.0, 2.0  # the pose is forgotten over so many frames, and heights of travel
VIEW, NOISE = 0.8, 0.35
OWN_TURN = 0.7  # share of a person's turning that is his own
BEHIND, BODY = 0.25, 0.5  # what someone behind adds; how much of his box a person fills
MOST_COVERED = 0.9
CLEAR = 0.6  # detections from this score on are compared for the AUC


@dataclass(frozen=True)
class World:
    """What is varied."""

    auc: float = 0.94
    contamination: float = 1.0
    """Factor of the shares of others in a box."""
    stride: int = 1
    absence: int = 0
    """Everybody is not detected for so many frames, once in `ABSENCE_EVERY`."""
    seed: int = 1


ABSENCE_EVERY = 200


@dataclass(frozen=True)
class Looks:
    """The detections of a frame; an embedding is the unit vector of `base + own * identity`."""

    seen: FrameDetections
    owner: np.ndarray
    """Whose each detection is `[D]`, -1 for nobody's."""
    base: np.ndarray
    identity: np.ndarray

    def embedded(self, own: float) -> FrameDetections:
        vectors = _unit(self.base + own * self.identity)
        return replace(self.seen, embeddings=vectors.astype(np.float32))


def simulated(clips: Sequence[Clip], world: World) -> dict[str, list[FrameDetections]]:
    """The frames of each clip, by its name, with embeddings of the AUC that is wanted."""
    looks = {clip.name: list(_looks(clip, world)) for clip in clips}
    low, high = 0.0, 4.0
    for _ in range(12):
        middle = (low + high) / 2
        reached = auc(looks.values(), middle) >= world.auc
        low, high = (low, middle) if reached else (middle, high)
    return {name: [frame.embedded(low) for frame in frames] for name, frames in looks.items()}


def auc(sequences: Sequence[Sequence[Looks]], own: float, most: int = 4000) -> float:
    """How well cosines tell the same person from another one, in other frames of a sequence."""
    dice, same, other = np.random.default_rng(0), [], []
    for frames in sequences:
        clear = [(f.owner >= 0) & (f.seen.scores >= CLEAR) for f in frames]
        rows = list(zip(frames, clear, strict=True))
        vectors = _unit(np.concatenate([f.base[c] + own * f.identity[c] for f, c in rows]))
        people = np.concatenate([f.owner[c] for f, c in rows])
        number = np.repeat(np.arange(len(frames)), [c.sum() for c in clear])
        a, b = dice.integers(len(vectors), size=(2, 4 * most))
        a, b = a[number[a] != number[b]], b[number[a] != number[b]]
        cosine, alike = (vectors[a] * vectors[b]).sum(axis=1), people[a] == people[b]
        same.append(cosine[alike][:most])
        other.append(cosine[~alike][:most])
    yes, no = np.concatenate(same), np.concatenate(other)
    from scipy.stats import rankdata  # it takes a second to load

    ranks = rankdata(np.concatenate([yes, no]))[: len(yes)]
    return float((ranks.sum() - len(yes) * (len(yes) + 1) / 2) / (len(yes) * len(no)))


def _looks(clip: Clip, world: World) -> Iterator[Looks]:
    dice = np.random.default_rng([world.seed, *clip.name.encode()])
    condition = Condition("", stride=world.stride)
    truth = truth_of(clip, condition)
    names, person = np.unique(truth.identity, return_inverse=True)
    n = len(names)
    costume, who = _unit(dice.normal(size=LENGTH)), _unit(dice.normal(size=(n, LENGTH)))
    shared, own = dice.normal(size=(POSES, LENGTH)), dice.normal(size=(n, POSES, LENGTH))
    turn = np.sqrt(1 - OWN_TURN**2) * shared + OWN_TURN * own
    turn *= VIEW / np.sqrt(POSES * LENGTH)
    pose, centre = dice.normal(size=(n, POSES)), np.full((n, 2), np.nan)
    away = dice.integers(ABSENCE_EVERY, size=n)  # when the first absence begins
    for frame, seen in enumerate(frames_of_boxes(clip, condition), start=1):
        here = person[truth.frame == frame]
        xyxy = ltwh_to_xyxy(truth.ltwh[truth.frame == frame])
        pose, centre = _turned(pose, centre, here, xyxy, world.stride, dice)
        looks = costume + np.einsum("pk,pkd->pd", pose, turn)
        owner, shares = _covered(seen.xyxy, xyxy, here, n, world.contamination)
        absent = (frame * world.stride - away) % ABSENCE_EVERY < world.absence
        kept = (owner < 0) | ~absent[owner]
        seen, owner, shares = seen[np.flatnonzero(kept)], owner[kept], shares[kept]
        clutter, mine = _unit(dice.normal(size=(len(owner), LENGTH))), (owner >= 0)[:, None]
        left = 1 - shares.sum(axis=1, keepdims=True)
        noise = dice.normal(size=clutter.shape) * (0.5 + 0.5 / seen.scores.clip(0.2)[:, None])
        yield Looks(
            seen, owner,
            left * np.where(mine, looks[owner], clutter) + shares @ looks
            + NOISE / np.sqrt(LENGTH) * noise,
            left * np.where(mine, who[owner], 0) + shares @ who,
        )  # fmt: skip


def _turned(
    pose: np.ndarray, centre: np.ndarray, here: np.ndarray, xyxy: np.ndarray, frames: int,
    dice: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Poses `[N, POSES]` and places `[N, 2]` so many `frames` later."""
    now, rate = centre.copy(), np.full(len(pose), 0.5 * frames / TAU)
    now[here] = (xyxy[:, :2] + xyxy[:, 2:]) / 2
    moved = np.linalg.norm(now[here] - centre[here], axis=1)
    heights = np.maximum(xyxy[:, 3] - xyxy[:, 1], 1)
    rate[here] += 0.5 * np.nan_to_num(moved) / heights / REACH
    kept = np.exp(-rate)[:, None]
    return kept * pose + np.sqrt(1 - kept**2) * dice.normal(size=pose.shape), now


def _covered(
    boxes: np.ndarray, xyxy: np.ndarray, here: np.ndarray, people: int, contamination: float
) -> tuple[np.ndarray, np.ndarray]:
    """Whose each of the `boxes` `[D, 4]` is, and the shares `[D, people]` of others in it.

    Of two people the one whose feet are lower in the image covers the other.
    """
    owner, shares = np.full(len(boxes), -1), np.zeros((len(boxes), people))
    if not len(boxes) or not len(xyxy):
        return owner, shares
    found, row = matched(iou_matrix(boxes, xyxy))
    owner[found] = here[row]
    low, high = (f(boxes[:, None, k], xyxy[:, k]) for f, k in
                 ((np.maximum, slice(2)), (np.minimum, slice(2, 4))))  # fmt: skip
    inside = np.clip(high - low, 0, None).prod(axis=2)
    share = contamination * inside / (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)[:, None]
    in_front = xyxy[:, 3] > xyxy[row, 3][:, None]
    share[found] *= BODY * np.where(in_front, 1, BEHIND)
    share[found, row] = 0
    share = np.minimum(share, MOST_COVERED)
    share *= np.minimum(1, MOST_COVERED / np.maximum(share.sum(axis=1, keepdims=True), 1e-9))
    shares[:, here] = share
    return owner, shares


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
