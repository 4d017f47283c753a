"""The variants in alternation: medians of every stage, memory, and ratios."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from tfsasm.detection.detectors import Detector
from tfsasm.experiments.speed import machine
from tfsasm.experiments.speed.graphs import RUNTIMES, write_graphs
from tfsasm.experiments.speed.stages import (
    STAGES,
    Measurement,
    Variant,
    Workload,
    in_pytorch,
    in_runtime,
    some_proposals,
    steady,
    turn,
    write_clip,
)
from tfsasm.experiments.speed.variants import as_variant, network, precision_of
from tfsasm.motrv2.fast.precision import KINDS


@dataclass(frozen=True)
class Settings:
    """What is compared."""

    network: str
    weights: Path | None
    height: int
    width: int
    tracks: int
    variants: tuple[str, ...]
    rounds: int
    frames: int
    threads: int


def compare(settings: Settings, detector: Detector | None) -> dict[str, Any]:
    """The results as they go into the JSON file."""
    with TemporaryDirectory(prefix="tfsasm-bench-") as folder:
        graphs = Path(folder) / "graphs"
        if set(RUNTIMES).intersection(settings.variants):
            # Not in this process: the kernel counts its size in those that it starts.
            machine.peak_mb(_write_graphs, settings, graphs)
        memory = {
            name: machine.peak_mb(_alone, settings, name, graphs) for name in settings.variants
        }
        work = _workload(settings, Path(folder), detector)
        ways = {name: _way(settings, name, graphs, work) for name in settings.variants}
        rates = {name: machine.gemm_rate(KINDS[name]) for name in ("fp32", "bf16")}
        turns: dict[str, list[Measurement]] = {name: [] for name in ways}
        for lap in range(settings.rounds + 1):
            for name, way in ways.items():
                done = turn(way, work, Path(folder) / "out.mp4")
                if lap:  # the first is a rehearsal
                    turns[name].append(done)
    queries = work.network.model.learned_queries + 2 * settings.tracks
    needed = machine.gflop(work.network, settings.height, settings.width, queries)
    told = {
        name: _summary(turns[name], memory[name], needed, _rates_of(name, rates))
        for name in settings.variants
    }
    ratios = {
        name: round(told["plain"]["total_ms"] / one["total_ms"], 3)
        for name, one in told.items() if "plain" in told and name != "plain"
    }  # fmt: skip
    return {
        "variants": told, "ratio_to_plain": ratios,
        "gflop": {name: round(count, 3) for name, count in needed.items()},
        "machine": {
            "processor": machine.processor(), "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "gemm_gflop_per_s": {name: round(rate, 1) for name, rate in rates.items()},
        },
        "settings": {
            "network": str(settings.weights or settings.network),
            "size": f"{settings.height}x{settings.width}", "tracks": settings.tracks,
            "queries": queries, "rounds": settings.rounds, "frames": settings.frames,
        },
    }  # fmt: skip


def _way(settings: Settings, name: str, graphs: Path, work: Workload) -> Variant:
    for runtime in RUNTIMES:
        if runtime == name:
            return in_runtime(graphs, runtime, work)
    return in_pytorch(as_variant(name, network(settings.network, settings.weights)[0]), work)


def _write_graphs(settings: Settings, graphs: Path) -> None:
    write_graphs(*network(settings.network, settings.weights), graphs)


def _workload(settings: Settings, folder: Path, detector: Detector | None) -> Workload:
    clip = folder / "clip.mp4"
    write_clip(clip, settings.height, settings.width, settings.frames)
    config = network(settings.network, settings.weights)[1]
    boxes = some_proposals(settings.tracks)
    return Workload(clip, config, steady(), boxes, settings.tracks, detector)


def _alone(settings: Settings, name: str, graphs: Path) -> None:
    """What a process of its own does, to see how much memory it takes."""
    torch.set_num_threads(settings.threads)
    with TemporaryDirectory(prefix="tfsasm-bench-") as folder:
        work = _workload(settings, Path(folder), None)
        turn(_way(settings, name, graphs, work), work, Path(folder) / "out.mp4")


def _rates_of(name: str, rates: dict[str, float]) -> dict[str, float]:
    """The rate that each part of a variant could reach, in its precision."""
    kinds = {dtype: kind for kind, dtype in KINDS.items()}
    return {part: rates[kinds[dtype]] for part, dtype in asdict(precision_of(name)).items()}


def _summary(
    turns: list[Measurement], memory: float, needed: dict[str, float], rates: dict[str, float]
) -> dict[str, Any]:
    totals = [one.total for one in turns]
    stages = {
        name: round(statistics.median(one.stages[name] for one in turns), 3)
        for name in STAGES if name in turns[0].stages
    }  # fmt: skip
    return {
        "total_ms": round(statistics.median(totals), 3),
        "spread_ms": [round(min(totals), 3), round(max(totals), 3)],
        "stages": stages,
        "gemm_share": {
            name: round(count / (stages[name] / 1e3) / rates[name], 3)
            for name, count in needed.items() if name in stages
        },
        "page_faults": round(statistics.median(one.faults for one in turns)),
        "peak_rss_mb": round(memory, 1),
    }  # fmt: skip
