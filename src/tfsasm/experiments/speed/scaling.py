"""How time and memory grow: with tracks, image size, memory capacity and the length of a video.

Every function returns the rows of a table; times are medians in milliseconds, after one run that is
not counted.
"""

from __future__ import annotations

import mmap
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tfsasm.detection.proposals import Proposals
from tfsasm.experiments.speed.stages import busy_state, some_proposals, steady
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.network import TorchNetwork
from tfsasm.motrv2.transformer import Features
from tfsasm.processes import peak_memory
from tfsasm.runtime.preprocess import resized_shape
from tfsasm.tables import Table
from tfsasm.tracking import memory
from tfsasm.tracking.config import MemoryConfig, TrackerConfig
from tfsasm.tracking.memory import Memory, Observation
from tfsasm.tracking.query import step
from tfsasm.tracking.state import TrackerState

Rows = list[dict[str, Any]]

TRACKS = (10, 20, 50, 100, 200, 350, 500)

SHORT_SIDES = {"tiny": (192, 288, 384, 512, 640), "full": (320, 480, 640, 800)}
"""Shorter sides of images in pixels, by the network."""

CAPACITIES = (0, 1, 2, 5, 10, 20, 50, 100)

_MANY = 200  # tracks, where the memory's size is what grows

_ASPECT = 16 / 9


def by_tracks(network: TorchNetwork, rounds: int, tracks: Sequence[int] = TRACKS) -> Rows:
    """Everything but the image's encoding, which does not depend on the number of tracks."""
    features = _encoded(network)
    rows, config = [], steady()
    for count in tracks:
        state = _state(network, config, count)
        rows.append({
            "tracks": count,
            "step_ms": _step_ms(network, state, features, count, rounds),
            "memory_ms": _memory_ms(state.tracks.memory, config.memory, rounds),
            "state_mb": _bytes(state.tracks) / 1e6,
        })  # fmt: skip
    return rows


def by_size(network: TorchNetwork, rounds: int, sides: Sequence[int], tracks: int) -> Rows:
    """Encoding and one step of so many tracks, over the shorter side of a 16:9 image."""
    rows = []
    for side in sides:
        features = _encoded(network, side)
        image = torch.zeros(1, 3, side, int(side * _ASPECT))
        state = _state(network, steady(), tracks)
        rows.append({
            "short_side": side,
            "tokens": features.tokens.shape[1],
            "encode_ms": median_ms(lambda: _encode(network.model, image), rounds),  # noqa: B023
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
    features = _encoded(network, 64)
    config = replace(steady(), lifecycle=replace(steady().lifecycle, birth_score=-1.0))
    state = _state(network, config, tracks)
    no_detections = Proposals.empty().map(network.asarray)
    rows, each = [], max(1, frames // 10)
    for tenth in range(10):
        began = time.perf_counter()
        for _ in range(each):
            state, _ = step(network, state, features, no_detections, config)
            state = replace(state, tracks=state.tracks[:tracks])  # as many as before
        rows.append({
            "frames": (tenth + 1) * each,
            "step_ms": 1e3 * (time.perf_counter() - began) / each,
            "identities": state.next_id,
            "resident_mb": resident_mb(),
        })  # fmt: skip
    return rows


def _state(network: TorchNetwork, config: TrackerConfig, tracks: int) -> TrackerState:
    return busy_state(network, network.model.config.width, config, tracks)


def _encoded(network: TorchNetwork, side: int | None = None) -> Features:
    """Features of an empty image, as large as the network takes a video's, or with this side."""
    config = network.config
    height, width = resized_shape(1080, 1920, config.short_side, config.max_side)
    if side is not None:
        height, width = side, int(side * _ASPECT)
    return _encode(network.model, torch.zeros(1, 3, height, width))


def _step_ms(
    network: TorchNetwork, state: TrackerState, features: Features, proposals: int, rounds: int
) -> float:
    detections, config = some_proposals(proposals).map(network.asarray), steady()
    return median_ms(lambda: step(network, state, features, detections, config), rounds)


@torch.inference_mode()
def _encode(model: MOTRv2, image: Tensor) -> Features:
    return model.encode(image)


def _memory_ms(views: Memory, config: MemoryConfig, rounds: int) -> float:
    """A write and a read."""
    n, channels = views.candidate.shape
    some = torch.full((n,), 0.05)
    observation = Observation(
        torch.randn(n, channels), some, some, torch.ones(n), torch.ones(n, dtype=torch.bool)
    )

    def work() -> None:
        memory.read(memory.write(views, observation, config), observation.feature)

    return median_ms(work, 10 * rounds)


def median_ms(
    work: Callable[[], object], times: int, *, skipped: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Milliseconds of the work by a clock, the first runs not counted."""
    spent = []
    for _ in range(skipped + times):
        began = clock()
        work()
        spent.append(1e3 * (clock() - began))
    return statistics.median(spent[skipped:])


def _bytes(rows: Table) -> int:
    total = 0
    for column in vars(rows).values():
        total += _bytes(column) if isinstance(column, Table) else column.nbytes
    return total


def resident_mb() -> float:
    """Memory of this process now, where the system tells; else the most there was."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * mmap.PAGESIZE / 1e6
    except OSError:
        return peak_memory() / 1e6
