"""Query trackers on the same boxes: python -m benchmarks.frozen.evaluate WEIGHTS ... --help."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path

import numpy as np
import supervision as sv
import torch
import tyro

from benchmarks.frozen.network import Frozen, FrozenNetwork
from tfsasm.boxes import ltwh_to_xyxy
from tfsasm.evaluation.metrics import score
from tfsasm.evaluation.score import read_truths
from tfsasm.evaluation.trajectories import Trajectories
from tfsasm.motchallenge import read_detections
from tfsasm.settings import pairs, with_settings
from tfsasm.tracking.config import preset
from tfsasm.tracking.load import torch_network
from tfsasm.tracking.query import QueryTracker
from tfsasm.video.source import open_video


def main(
    weights: tuple[str, ...], names: tuple[str, ...], sources: tuple[Path, ...], truth: Path,
    detections: tuple[Path, ...], presets: tuple[str, ...] = ("released", "motrv2", "default"),
    frames: int = 100_000,
) -> None:
    """Track each sequence with each network and each method, written `preset,NAME=VALUE,...`."""
    torch.set_num_threads(1)
    networks = {}
    for name in weights:
        if name == "tiny":
            networks[name] = torch_network(name)
            continue
        model = Frozen()
        model.load_state_dict(torch.load(name))
        networks[name] = FrozenNetwork(model)
    truths = read_truths(truth, names)
    truths = {k: t[t.frames <= frames] for k, t in truths.items()}
    found, spent = {}, {}
    for name, source, boxes in zip(names, sources, detections, strict=True):
        stored = read_detections(boxes)
        for label, network in networks.items():
            trackers = {f"{label} {text}": made(network, text) for text in presets}
            rows = {key: [] for key in trackers}
            clock = dict.fromkeys(["encode", *trackers], 0.0)
            with open_video(source) as video:
                for frame in islice(video, frames):
                    given = np.asarray(stored.get(frame.number, np.zeros((0, 5))))
                    given = sv.Detections(xyxy=ltwh_to_xyxy(given[:, :4]), confidence=given[:, 4])
                    began = time.thread_time()
                    [prepared] = network.encode([frame.image])
                    clock["encode"] += time.thread_time() - began
                    for key, tracker in trackers.items():
                        began = time.thread_time()
                        tracks = tracker.update(given, frame.image, prepared)
                        clock[key] += time.thread_time() - began
                        rows[key].append((tracks.tracker_id, tracks.xyxy))
            for key, made_rows in rows.items():
                found.setdefault(key, {})[name] = Trajectories.from_frames(iter(made_rows))
                total = 1000 * (clock["encode"] + clock[key]) / len(made_rows)
                spent.setdefault(key, []).append(round(total, 1))
    for key, results in found.items():
        report = score(truths, results)
        for name, s in report.sequences.items():
            print(f"{key:40} {name:12} HOTA {s.HOTA:.1f} DetA {s.DetA:.1f} AssA {s.AssA:.1f} "
                  f"IDF1 {s.IDF1:.1f} IDSW {s.IDSW}", spent[key], flush=True)  # fmt: skip


def made(network: object, text: str) -> QueryTracker:
    """A tracker by `preset,NAME=VALUE,...`."""
    name, *rest = text.split(",")
    return QueryTracker(network, with_settings(preset(name).make(), pairs(rest)))


if __name__ == "__main__":
    tyro.cli(main)
