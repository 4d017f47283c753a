"""How time and memory grow: with tracks, image size, memory capacity and the length of a video; and
without a network, with detections per frame and the length of a video.

Every function returns the rows of a table. Times are milliseconds, medians of runs after a few that
are not counted. Without a network they are those of the processor, which other programs disturb
less.
"""

from __future__ import annotations

import math
import mmap
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import supervision as sv
import torch
from torch import Tensor

from tfsasm.boxes import xyxy_to_cxcywh
from tfsasm.detection.proposals import NO_CLASS, Proposals
from tfsasm.experiments.speed.stages import busy_state, some_proposals, spent_ms, steady
from tfsasm.motrv2.network import TorchNetwork
from tfsasm.motrv2.transformer import Features
from tfsasm.processes import peak_memory
from tfsasm.runtime.preprocess import resized_shape
from tfsasm.tables import Doubles, Table
from tfsasm.tracking import memory
from tfsasm.tracking.appearance.tracker import EMBEDDING, AppearanceTracker
from tfsasm.tracking.association import associate, update_status
from tfsasm.tracking.config import NO_ID, MemoryConfig, TrackerConfig, default
from tfsasm.tracking.memory import Memory, Observation
from tfsasm.tracking.query import step
from tfsasm.tracking.state import TrackerState

Rows = list[dict[str, Any]]

TRACKS = (10, 20, 50, 100, 200, 350, 500)

SHORT_SIDES = {"tiny": (192, 288, 384, 512, 640), "full": (320, 480, 640, 800)}
"""Shorter sides of images in pixels, by the network."""

CAPACITIES = (0, 1, 2, 5, 10, 20, 50, 100)

DETECTIONS = (10, 20, 50, 100, 200, 500, 1000, 2000)

_MANY = 200  # tracks, where the memory's size is what grows

_ASPECT = 16 / 9

_WIDTH, _HEIGHT, _CHANNELS = 1920, 1080, 32  # of the frames of a crowd, and of its embeddings

_COVERED = 0.3  # share of the image that boxes cover together, however many they are

_LIFE = 50  # frames after which other people have taken the place of all

_SKIPPED = 3  # frames of a crowd that are not counted


def by_tracks(network: TorchNetwork, rounds: int, tracks: Sequence[int] = TRACKS) -> Rows:
    """Everything but the image's encoding, which does not depend on the number of tracks."""
    config = network.config
    sides = resized_shape(_HEIGHT, _WIDTH, config.short_side, config.max_side)
    features, method, rows = _encoded(network, torch.zeros(1, 3, *sides)), steady(), []
    for count in tracks:
        state = _state(network, method, count)
        rows.append({
            "tracks": count,
            "step_ms": _step_ms(network, state, features, count, rounds),
            "memory_ms": _memory_ms(state.tracks.memory, method.memory, rounds),
            "state_mb": _bytes(state.tracks) / 1e6,
        })  # fmt: skip
    return rows


def by_size(network: TorchNetwork, rounds: int, sides: Sequence[int], tracks: int) -> Rows:
    """Encoding and one step of so many tracks, over the shorter side of a 16:9 image."""
    rows = []
    for side in sides:
        image = torch.zeros(1, 3, side, int(side * _ASPECT))
        features = _encoded(network, image)
        state = _state(network, steady(), tracks)
        rows.append({
            "short_side": side,
            "tokens": features.tokens.shape[1],
            "encode_ms": _median_ms(lambda: _encoded(network, image), rounds),  # noqa: B023
            "step_ms": _step_ms(network, state, features, tracks, rounds),
            "peak_rss_mb": peak_memory() / 1e6,
        })  # fmt: skip
    return rows


def by_capacity(
    network: TorchNetwork, rounds: int, capacities: Sequence[int] = CAPACITIES
) -> Rows:
    """A write and a read of 200 tracks, over the views kept of each."""
    rows = []
    for capacity in capacities:
        config = replace(steady(), memory=MemoryConfig(capacity=capacity))
        views = _state(network, config, _MANY).tracks.memory
        rows.append({
            "capacity": capacity,
            "memory_ms": _memory_ms(views, config.memory, rounds),
            "state_mb": _bytes(views) / 1e6,
        })  # fmt: skip
    return rows


def by_length(network: TorchNetwork, frames: int, tracks: int) -> Rows:
    """Steps of a long video, tracks coming and going; a row for each tenth of its frames."""
    features = _encoded(network, torch.zeros(1, 3, 64, int(64 * _ASPECT)))
    config = replace(steady(), lifecycle=replace(steady().lifecycle, birth_score=-1.0))
    no_detections = Proposals.empty().map(network.asarray)

    def steps() -> Iterator[tuple[float, int]]:
        state = _state(network, config, tracks)
        while True:
            began = time.perf_counter()
            state, _ = step(network, state, features, no_detections, config)
            state = replace(state, tracks=state.tracks[:tracks])  # as many as before
            yield time.perf_counter() - began, state.next_id

    return _by_tenth(frames, "step_ms", steps())


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
            row[f"{name}_power"] = (
                math.log(ms / rows[-1][f"{name}_ms"]) / math.log(count / rows[-1]["detections"])
                if rows else 0.0
            )  # fmt: skip
        rows.append(row)
    return rows


def appearance_by_length(frames: int, people: int) -> Rows:
    """A long video of the appearance tracker, people coming and going; a row for each tenth."""

    def updates() -> Iterator[tuple[float, int]]:
        tracker, seen, number = AppearanceTracker(), 0, 0
        while True:
            detections = crowd(people, number)
            began = time.process_time()
            found = tracker.update(detections)
            spent = time.process_time() - began
            seen = max([seen, *np.asarray(found.tracker_id).tolist()])
            yield spent, seen
            number += 1

    return _by_tenth(frames, "update_ms", updates())


def _by_tenth(frames: int, name: str, spent: Iterator[tuple[float, int]]) -> Rows:
    """A row for each tenth of a video: of its frames the mean time, of the last the identities."""
    rows, each = [], max(1, frames // 10)
    for tenth in range(1, 11):
        total = 0.0
        for _ in range(each):
            seconds, identities = next(spent)
            total += seconds
        rows.append({
            "frames": tenth * each, name: 1e3 * total / each, "identities": identities,
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


def _appearance_ms(count: int, rounds: int) -> float:
    tracker = AppearanceTracker()
    frames = iter([crowd(count, frame) for frame in range(_SKIPPED + rounds)])
    return _median_ms(lambda: tracker.update(next(frames)), rounds, _SKIPPED, time.process_time)


def _query_ms(count: int, rounds: int) -> float:
    """Association and lifecycle of `default()`: detections, and as many tracks near them."""
    config = default()
    xyxy = torch.from_numpy(_boxes(count, 0)[0] / np.array([_WIDTH, _HEIGHT] * 2)).float()
    boxes = xyxy_to_cxcywh(xyxy)
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

    return _median_ms(frame, rounds, _SKIPPED, time.process_time)


def _state(network: TorchNetwork, config: TrackerConfig, tracks: int) -> TrackerState:
    return busy_state(network, network.model.config.width, config, tracks)


@torch.inference_mode()
def _encoded(network: TorchNetwork, image: Tensor) -> Features:
    return network.model.encode(image)


def _step_ms(
    network: TorchNetwork, state: TrackerState, features: Features, proposals: int, rounds: int
) -> float:
    detections, config = some_proposals(proposals).map(network.asarray), steady()
    return _median_ms(lambda: step(network, state, features, detections, config), rounds)


def _memory_ms(views: Memory, config: MemoryConfig, rounds: int) -> float:
    """A write and a read."""
    n, channels = views.candidate.shape
    some = torch.full((n,), 0.05)
    observation = Observation(
        torch.randn(n, channels), some, some, torch.ones(n), torch.ones(n, dtype=torch.bool)
    )

    def work() -> None:
        memory.read(memory.write(views, observation, config), observation.feature)

    return _median_ms(work, 10 * rounds)


def _median_ms(
    work: Callable[[], object], times: int, skipped: int = 1,
    now: Callable[[], float] = time.perf_counter,
) -> float:
    return statistics.median(spent_ms(work, skipped + times, now)[skipped:])


def _bytes(rows: Table) -> int:
    return sum(column.nbytes for column in rows.columns)


def resident_mb() -> float:
    """Memory of this process now, where the system tells; else the most there was."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * mmap.PAGESIZE / 1e6
    except OSError:
        return peak_memory() / 1e6
