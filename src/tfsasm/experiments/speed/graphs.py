"""The network as exported graphs, in the way that `tfsasm track --runtime` runs them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import get_args

import torch

from tfsasm.experiments.speed.stages import Variant, Workload, busy_tracks
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.export import check_packages, export
from tfsasm.motrv2.model import MOTRv2
from tfsasm.runtime import exported, memory, support, tracker
from tfsasm.runtime.exported import Runtime
from tfsasm.runtime.sessions import OPENERS
from tfsasm.runtime.tracker import Queries, Tracks
from tfsasm.tracking.memory import Memory

RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
"""The variants that are runtimes."""


def check_runtimes(variants: Iterable[str]) -> None:
    """Raises `InputError` that says how to install what a variant needs."""
    for name in set(RUNTIMES).intersection(variants):
        OPENERS[name](1, "auto")
        check_packages("onnx")


def write_graphs(model: MOTRv2, network: NetworkConfig, folder: Path) -> None:
    """Export for both: OpenVINO opens ONNX files too."""
    export(model, network, folder, "onnx")


def in_runtime(folder: Path, name: Runtime, work: Workload) -> Variant:
    """An export in `folder`, with as many threads as PyTorch has."""
    network = exported.ExportedNetwork(folder, name, threads=torch.get_num_threads())
    begin = tracker.TrackerState(_busy_tracks(network, work), next_id=work.tracks)
    asked = support.Proposals(work.proposals.boxes.numpy(), work.proposals.scores.numpy())
    return Variant(
        (
            (exported, "resized_rgb", "preprocess"), (network, "encode", "backbone and encoder"),
            (network, "decode", "decoder"), (network, "interact", "interaction"),
            (memory, "read", "memory read"), (memory, "write", "memory write"),
        ),
        lambda image: network.encode(image),  # looked up when called: it is watched
        lambda features: tracker.step(network, begin, features, asked, work.config)[1],
        lambda answer, width, height: tracker.report(answer, width, height, work.config),
    )  # fmt: skip


def _busy_tracks(network: exported.ExportedNetwork, work: Workload) -> Tracks:
    width = network.manifest.learned_content.shape[1]
    rows = busy_tracks(width, work.config, work.tracks)
    kept = (getattr(rows.memory, column.name).numpy() for column in fields(Memory))
    return Tracks(
        rows.ids.numpy(), rows.missed.numpy(),
        Queries(rows.queries.content.numpy(), rows.queries.boxes.numpy()), memory.Memory(*kept),
        rows.velocity.numpy(),
    )  # fmt: skip
