"""Variants in alternation: medians of every stage, memory, and ratios."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from tfsasm.detection.detectors import Detector
from tfsasm.experiments.speed import limits, machine
from tfsasm.experiments.speed.stages import (
    STAGES,
    Measurement,
    Variant,
    Workload,
    measure,
    prepare_variant,
    some_proposals,
    steady,
    write_clip,
)
from tfsasm.experiments.speed.variants import (
    RUNTIMES,
    load_network,
    make_variant,
    precision_of,
)
from tfsasm.motrv2.export import export
from tfsasm.motrv2.fast import kernels
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
    with TemporaryDirectory(prefix="tfsasm-bench-") as name:
        folder = Path(name)
        exported = folder / "export"
        if set(RUNTIMES).intersection(settings.variants):
            # Not in this process: the system counts its size in the peak of those that it starts.
            machine.peak_mb(_export, settings, exported)
        memory = {
            name: machine.peak_mb(_alone, settings, name, exported) for name in settings.variants
        }
        work = _workload(settings, folder, detector)
        variants = {name: _variant(settings, name, exported, work) for name in settings.variants}
        measured = _alternate(variants, work, settings.rounds, folder / "out.mp4")
    queries = work.network.model.learned_queries + 2 * settings.tracks
    frame = work.network, settings.height, settings.width, queries
    needed, bandwidth = machine.gflop(*frame), limits.bandwidth()
    layers = limits.layers_of(*frame)
    least = {kind: limits.limits(layers, kind, bandwidth) for kind in limits.kinds()}
    rows = {
        name: _summary(measured[name], memory[name], _limits_of(name, least))
        for name in settings.variants
    }
    ratios = {
        name: round(rows["plain"]["total_ms"] / row["total_ms"], 3)
        for name, row in rows.items() if "plain" in rows and name != "plain"
    }  # fmt: skip
    return {
        "variants": rows, "ratio_to_plain": ratios,
        "gflop": {name: round(count, 3) for name, count in needed.items()},
        "machine": {
            "processor": machine.processor(), "threads": torch.get_num_threads(),
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


def _alternate(
    variants: dict[str, Variant], work: Workload, rounds: int, output: Path
) -> dict[str, list[Measurement]]:
    """So many measurements of each variant, after one that is not counted."""
    measured: dict[str, list[Measurement]] = {name: [] for name in variants}
    for lap in range(rounds + 1):
        for name, variant in variants.items():
            found = measure(variant, work, output)
            if lap:
                measured[name].append(found)
    return measured


def _variant(settings: Settings, name: str, exported: Path, work: Workload) -> Variant:
    model, config = load_network(settings.network, settings.weights)
    return prepare_variant(make_variant(name, model, config, exported), work)


def _export(settings: Settings, folder: Path) -> None:
    export(*load_network(settings.network, settings.weights), folder, "onnx")


def _workload(settings: Settings, folder: Path, detector: Detector | None) -> Workload:
    clip = folder / "clip.mp4"
    write_clip(clip, settings.height, settings.width, settings.frames)
    config = load_network(settings.network, settings.weights)[1]
    proposals = some_proposals(settings.tracks)
    return Workload(clip, config, steady(), proposals, settings.tracks, detector)


def _alone(settings: Settings, name: str, exported: Path) -> None:
    """What a process of its own does, to see how much memory it takes."""
    torch.set_num_threads(settings.threads)
    with TemporaryDirectory(prefix="tfsasm-bench-") as folder:
        work = _workload(settings, Path(folder), None)
        measure(_variant(settings, name, exported, work), work, Path(folder) / "out.mp4")


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
        "peak_rss_mb": round(memory, 1),
    }  # fmt: skip
