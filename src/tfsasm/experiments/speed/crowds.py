"""How the trackers' own work grows, without a network: with detections per frame, and with frames.

Every function returns the rows of a table, as in `scaling`; times are those of the processor, which
other programs disturb less.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import supervision as sv
import torch

from tfsasm.detection.proposals import NO_CLASS, Proposals
from tfsasm.experiments.speed.scaling import Rows, median_ms, resident_mb
from tfsasm.tables import Doubles
from tfsasm.tracking.appearance.tracker import EMBEDDING, AppearanceTracker
from tfsasm.tracking.association import associate, update_status
from tfsasm.tracking.config import NO_ID, default

DETECTIONS = (10, 20, 50, 100, 200, 500, 1000, 2000)

_WIDTH, _HEIGHT, _CHANNELS = 1920, 1080, 32

_COVERED = 0.3  # share of the image that boxes cover together, however many they are

_LIFE = 50  # frames after which other people have taken the place of all


def by_detections(rounds: int, counts: Sequence[int] = DETECTIONS) -> Rows:
    """A frame of the appearance tracker, with embeddings, and of the query tracker's association
    with as many tracks as detections. Each power is that of the number of detections by which time
    grew since the row before.
    """
    rows: Rows = []
    for count in counts:
        spent = {"appearance": _appearance_ms(count, rounds), "query": _query_ms(count, rounds)}
        row: dict[str, float] = {"detections": count}
        for name, ms in spent.items():
            row[f"{name}_ms"] = ms
            row[f"{name}_power"] = _power(rows[-1], row, name) if rows else 0.0
        rows.append(row)
    return rows


def by_length(frames: int, people: int) -> Rows:
    """A long video of the appearance tracker, people coming and going; a row for each tenth."""
    tracker, each, seen = AppearanceTracker(), max(1, frames // 10), 0
    rows: Rows = []
    for tenth in range(10):
        spent = 0.0
        for frame in range(tenth * each, (tenth + 1) * each):
            detections = crowd(people, frame)
            began = time.process_time()
            found = tracker.update(detections)
            spent += time.process_time() - began
            seen = max([seen, *np.asarray(found.tracker_id).tolist()])
        rows.append({
            "frames": (tenth + 1) * each, "update_ms": 1e3 * spent / each, "identities": seen,
            "resident_mb": resident_mb(),
        })  # fmt: skip
    return rows


def crowd(count: int, frame: int) -> sv.Detections:
    """So many people in one frame of 1920x1080, each on a straight walk, with embeddings."""
    corners, rng = _boxes(count, frame)
    embeddings = rng.normal(size=(count, _CHANNELS)).astype(np.float32)
    return sv.Detections(corners, confidence=np.full(count, 0.9), data={EMBEDDING: embeddings})


def _boxes(count: int, frame: int) -> tuple[Doubles, np.random.Generator]:
    """Pixel corners `[N, 4]`, and what the embeddings of these people are drawn from."""
    rng = np.random.default_rng(frame // _LIFE)
    side = math.sqrt(_COVERED * _WIDTH * _HEIGHT / (2 * max(10, count)))  # of boxes twice as high
    walked = (frame % _LIFE) * 0.05 * side * rng.normal(size=(count, 2))
    left_top = rng.uniform(0, (_WIDTH - side, _HEIGHT - 2 * side), (count, 2)) + walked
    return np.hstack([left_top, left_top + np.array([side, 2 * side])]), rng


_SKIPPED = 3  # runs that are not counted

_processor_ms = partial(median_ms, skipped=_SKIPPED, clock=time.process_time)


def _appearance_ms(count: int, rounds: int) -> float:
    tracker = AppearanceTracker()
    frames = iter([crowd(count, frame) for frame in range(_SKIPPED + rounds)])
    return _processor_ms(lambda: tracker.update(next(frames)), rounds)


def _query_ms(count: int, rounds: int) -> float:
    """Association and lifecycle of `default()`: detections, and as many tracks near them."""
    config = default()
    scale = np.array([_WIDTH, _HEIGHT] * 2)
    xyxy = torch.from_numpy(_boxes(count, 0)[0] / scale).float()
    boxes = torch.cat([(xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], 1)
    proposals = Proposals(boxes, torch.full((count,), 0.9), torch.full((count,), NO_CLASS))
    queries = torch.cat([boxes, boxes + 0.1 * boxes[:, 2:3] * torch.tensor([1, 0, 0, 0])])
    ids = torch.cat([torch.full((count,), NO_ID), torch.arange(count)])
    scores, missed = torch.full((2 * count,), 0.8), torch.zeros(2 * count, dtype=torch.int64)

    def frame() -> None:
        found = associate(
            ids, scores, queries, queries, proposals, 0, config.association,
            config.lifecycle.miss_score,
        )  # fmt: skip
        update_status(ids, missed, found.scores, count, config.lifecycle,
                      may_be_born=found.may_be_born)  # fmt: skip

    return _processor_ms(frame, rounds)


def _power(before: dict[str, float], now: dict[str, float], name: str) -> float:
    longer = now[f"{name}_ms"] / before[f"{name}_ms"]
    return math.log(longer) / math.log(now["detections"] / before["detections"])
