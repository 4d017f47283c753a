"""Variants in alternation: medians of every stage, memory, and ratios."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from tfsasm.detection.detectors import Detector
from tfsasm.experiments.speed import limits
from tfsasm.experiments.speed.stages import STAGES, Measurement, measure, write_clip
from tfsasm.experiments.speed.variants import RUNTIMES, load_network, make_variant, precision_of
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.export import export
from tfsasm.motrv2.fast import kernels
from tfsasm.motrv2.fast.precision import KINDS
from tfsasm.processes import peak_of
from tfsasm.runtime.allocator import keep_freed_memory
from tfsasm.runtime.network import Network


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
    measured: dict[str, list[Measurement]] = {name: [] for name in settings.variants}
    with TemporaryDirectory(prefix="tfsasm-bench-") as folder:
        exported, video = Path(folder) / "export", Path(folder) / "clip.mp4"
        write_clip(video, settings.height, settings.width, settings.frames)
        if set(RUNTIMES).intersection(settings.variants):
            # Not in this process: the system counts its size in the peak of those that it starts.
            peak_of(_export, settings, exported)
        memory = {name: peak_of(_alone, settings, name, exported, video) for name in measured}
        variants = {name: _variant(settings, name, exported) for name in measured}
        for lap in range(settings.rounds + 1):
            for name, (network, config) in variants.items():
                found = measure(network, config.model.width, video, settings.tracks, detector)
                if lap:  # the first one is not counted
                    measured[name].append(found)
    config = variants[settings.variants[0]][1]
    queries = config.model.learned_queries + 2 * settings.tracks
    gflop, layers = limits.needs(config, settings.height, settings.width, queries)
    bandwidth = limits.bandwidth()
    least = {kind: limits.limits(layers, kind, bandwidth) for kind in limits.kinds()}
    rows = {
        name: _summary(found, memory[name], _limits_of(name, least))
        for name, found in measured.items()
    }
    ratios = {
        name: round(rows["plain"]["total_ms"] / row["total_ms"], 3)
        for name, row in rows.items() if "plain" in rows and name != "plain"
    }  # fmt: skip
    return {
        "variants": rows, "ratio_to_plain": ratios,
        "gflop": {name: round(count, 3) for name, count in gflop.items()},
        "machine": {
            "processor": limits.processor(), "threads": torch.get_num_threads(),
            "torch": torch.__version__, "kernels": kernels.describe(),
            "gb_per_s": {name: round(rate, 1) for name, rate in asdict(bandwidth).items()},
        },
        "limits": {
            kind: {part: asdict(limit) for part, limit in parts.items()}
            for kind, parts in least.items()
        },
        "settings": {
            "network": str(settings.weights or settings.network),
            "size": f"{settings.height}x{settings.width}", "tracks": settings.tracks,
            "queries": queries, "rounds": settings.rounds, "frames": settings.frames,
        },
    }  # fmt: skip


def _variant(settings: Settings, name: str, exported: Path) -> tuple[Network, NetworkConfig]:
    model, config = load_network(settings.network, settings.weights)
    return make_variant(name, model, config, exported), config


def _export(settings: Settings, folder: Path) -> None:
    export(*load_network(settings.network, settings.weights), folder, "onnx")


def _alone(settings: Settings, name: str, exported: Path, video: Path) -> None:
    """What a process of its own does, to see how much memory it takes."""
    keep_freed_memory()  # as the command line does
    torch.set_num_threads(settings.threads)
    network, config = _variant(settings, name, exported)
    measure(network, config.model.width, video, settings.tracks)


def _limits_of(name: str, least: dict[str, dict[str, limits.Limit]]) -> dict[str, float]:
    """Milliseconds that each part of a variant needs at least, in its precision."""
    kinds = {dtype: kind for kind, dtype in KINDS.items()}
    parts = asdict(precision_of(name)).items()
    return {part: least[kinds[dtype]][part].ms for part, dtype in parts}


def _summary(
    measured: list[Measurement], memory: float, least: dict[str, float]
) -> dict[str, Any]:
    totals = [frame.total for frame in measured]
    stages = {
        name: round(statistics.median(frame.stages[name] for frame in measured), 3)
        for name in STAGES if name in measured[0].stages
    }  # fmt: skip
    return {
        "total_ms": round(statistics.median(totals), 3),
        "spread_ms": [round(min(totals), 3), round(max(totals), 3)],
        "stages": stages,
        "limit_ms": {name: round(ms, 3) for name, ms in least.items() if name in stages},
        "page_faults": round(statistics.median(frame.faults for frame in measured)),
        "peak_rss_mb": round(memory / 1e6, 1),
    }  # fmt: skip
