"""How time and memory grow: with tracks, image size, memory capacity and the length of a video."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tfsasm.detection.proposals import Proposals
from tfsasm.experiments.speed.stages import busy_state, some_proposals, steady
from tfsasm.experiments.speed.variants import network
from tfsasm.motrv2.fast.model import FastMOTRv2
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.network import TorchNetwork
from tfsasm.motrv2.transformer import Features
from tfsasm.runtime.preprocess import resized_shape
from tfsasm.tables import Table
from tfsasm.tracking import memory
from tfsasm.tracking.config import MemoryConfig
from tfsasm.tracking.memory import Memory, Observation
from tfsasm.tracking.query import step

if TYPE_CHECKING:
    from tfsasm.cli import bench

TRACKS = (10, 20, 50, 100, 200, 350, 500)

SHORT_SIDES = {"tiny": (192, 288, 384, 512, 640), "full": (320, 480, 640, 800)}

CAPACITIES = (0, 1, 2, 5, 10, 20, 50, 100)

_MANY = 200  # tracks, where the memory's size is what grows

_WIDEST = 16 / 9


def by_tracks(job: bench.Options) -> dict[str, Any]:
    """Everything but the image's encoding, which does not know how many tracks there are."""
    net, features = _encoded(job, None)
    rows = []
    for tracks in TRACKS:
        config = steady()
        state = busy_state(net, net.model.config.width, config, tracks)
        asked = some_proposals(tracks).map(net.asarray)
        rows.append({
            "tracks": tracks,
            "step_ms": _median(lambda: step(net, state, features, asked, config), job.rounds),  # noqa: B023
            "memory_ms": _memory_ms(state.tracks.memory, config.memory, job.rounds),
            "state_mb": _bytes(state.tracks) / 1e6,
        })  # fmt: skip
    return {"rows": rows}


def by_size(job: bench.Options) -> dict[str, Any]:
    """Encoding and one step of 20 tracks, over the shorter side of a 16:9 image."""
    rows = []
    for side in SHORT_SIDES[job.network]:
        net, features = _encoded(job, side)
        image = torch.zeros(1, 3, side, int(side * _WIDEST))
        config, asked = steady(), some_proposals(job.tracks).map(net.asarray)
        state = busy_state(net, net.model.config.width, config, job.tracks)
        rows.append({
            "short_side": side,
            "tokens": features.tokens.shape[1],
            "encode_ms": _median(lambda: _encode(net.model, image), job.rounds),  # noqa: B023
            "step_ms": _median(lambda: step(net, state, features, asked, config), job.rounds),  # noqa: B023
            "peak_rss_mb": _peak_mb(),
        })  # fmt: skip
    return {"rows": rows}


def by_capacity(job: bench.Options) -> dict[str, Any]:
    """A write and a read of 200 tracks, over the views kept of each."""
    net = TorchNetwork(*network(job.network, job.weights))
    rows = []
    for capacity in CAPACITIES:
        config = replace(steady(), memory=MemoryConfig(capacity=capacity))
        kept = busy_state(net, net.model.config.width, config, _MANY).tracks.memory
        rows.append({
            "capacity": capacity,
            "memory_ms": _memory_ms(kept, config.memory, job.rounds),
            "state_mb": _bytes(kept) / 1e6,
        })  # fmt: skip
    return {"rows": rows}


def by_length(job: bench.Options) -> dict[str, Any]:
    """Steps of a long video, tracks coming and going; a row for each tenth of it."""
    net, features = _encoded(job, 64)
    config = replace(steady(), lifecycle=replace(steady().lifecycle, birth_score=-1.0))
    state = busy_state(net, net.model.config.width, config, job.tracks)
    nothing = Proposals.empty().map(net.asarray)
    rows, each = [], max(1, job.length // 10)
    for tenth in range(10):
        began = time.perf_counter()
        for _ in range(each):
            state, _ = step(net, state, features, nothing, config)
            state = replace(state, tracks=state.tracks[: job.tracks])  # the oldest make room
        rows.append({
            "frames": (tenth + 1) * each,
            "step_ms": 1e3 * (time.perf_counter() - began) / each,
            "identities": state.next_id,
            "resident_mb": _resident_mb(),
        })  # fmt: skip
    return {"rows": rows}

GROWTH: dict[str, Callable[[bench.Options], dict[str, Any]]] = {
    "tracks": by_tracks, "size": by_size, "capacity": by_capacity, "length": by_length
}  # fmt: skip


def _encoded(job: bench.Options, side: int | None) -> tuple[TorchNetwork, Features]:
    """The fast network and an empty image in it: as published, or with this shorter side."""
    loaded, config = network(job.network, job.weights)
    model = FastMOTRv2(loaded)
    height, width = resized_shape(1080, 1920, config.short_side, config.max_side)
    if side is not None:
        height, width = side, int(side * _WIDEST)
    return TorchNetwork(model, config), _encode(model, torch.zeros(1, 3, height, width))


@torch.inference_mode()
def _encode(model: MOTRv2, image: Tensor) -> Features:
    return model.encode(image)


def _memory_ms(kept: Memory, config: MemoryConfig, rounds: int) -> float:
    """A write and a read."""
    n, channels = kept.candidate.shape
    some = torch.full((n,), 0.05)
    seen = Observation(
        torch.randn(n, channels), some, some, torch.ones(n), torch.ones(n, dtype=torch.bool)
    )

    def work() -> None:
        memory.read(memory.write(kept, seen, config), seen.feature)

    return _median(work, 10 * rounds)


def _median(work: Callable[[], object], times: int) -> float:
    """Milliseconds, after a rehearsal."""
    spent = []
    for _ in range(times + 1):
        began = time.perf_counter()
        work()
        spent.append(1e3 * (time.perf_counter() - began))
    return statistics.median(spent[1:])


def _bytes(rows: Table) -> int:
    total = 0
    for thing in vars(rows).values():
        total += _bytes(thing) if isinstance(thing, Table) else thing.nbytes
    return total


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _resident_mb() -> float:
    """Of this moment where the system tells, else the most there was."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return _peak_mb()
