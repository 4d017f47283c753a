"""Variants in alternation: medians of every stage, memory, and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
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
from tfsasm.motrv2.model import MOTRv2
from tfsasm.processes import peak_of
from tfsasm.runtime.allocator import keep_freed_memory

Load = Callable[[], tuple[MOTRv2, NetworkConfig]]


def compare(
    network: str, weights: Path | None, names: Sequence[str], *, size: tuple[int, int], tracks: int,
    rounds: int, frames: int, detector: Detector | None,
) -> dict[str, Any]:
    """The results of the variants `names` of a network as they go into the JSON file.

    They track a clip of so many frames, of height and width `size`, in each of the rounds.
    """
    load, threads = partial(load_network, network, weights), torch.get_num_threads()
    measured: dict[str, list[Measurement]] = {name: [] for name in names}
    with TemporaryDirectory(prefix="tfsasm-bench-") as folder:
        exported, video = Path(folder) / "export", Path(folder) / "clip.mp4"
        write_clip(video, *size, frames)
        if set(RUNTIMES).intersection(names):
            # Not here: the peak of the processes below begins with that of this one, but on Linux.
            peak_of(_export, load, exported)
        memory = {
            name: peak_of(_alone, load, name, exported, video, tracks, threads) for name in measured
        }
        variants = {}
        for name in measured:
            model, config = load()
            variants[name] = make_variant(name, model, config, exported)
        for lap in range(rounds + 1):
            for name, variant in variants.items():
                found = measure(variant, config.model.width, video, tracks, detector)
                if lap:  # the first one is not counted
                    measured[name].append(found)
    queries = config.model.learned_queries + 2 * tracks
    gflop, layers = limits.needs(config, *size, queries)
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
            "processor": limits.processor(), "threads": threads,
            "torch": torch.__version__, "kernels": kernels.describe(),
            "gb_per_s": {name: round(rate, 1) for name, rate in asdict(bandwidth).items()},
        },
        "limits": {
            kind: {part: asdict(limit) for part, limit in parts.items()}
            for kind, parts in least.items()
        },
        "settings": {
            "network": str(weights or network), "size": "{}x{}".format(*size),
            "tracks": tracks, "queries": queries, "rounds": rounds, "frames": frames,
        },
    }  # fmt: skip


def _export(load: Load, folder: Path) -> None:
    export(*load(), folder, "onnx")


def _alone(
    load: Load, name: str, exported: Path, video: Path, tracks: int, threads: int
) -> None:
    """What a process of its own does, to see how much memory it takes."""
    keep_freed_memory()  # as the command line does
    torch.set_num_threads(threads)
    model, config = load()
    measure(make_variant(name, model, config, exported), config.model.width, video, tracks)


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
