"""One network, many methods: memory off, released, paper and so on, on the same encoded frames.

The backbone and the encoder need no state, so a frame is encoded once and every method answers from
the same features; what differs between two rows of the table is the method alone. Differences per
sequence are paired, with a bootstrap interval over sequences.

    tfsasm synth --output held-out --sequences 20 --seed 9001
    python benchmarks/methods.py --data held-out --methods motrv2 released paper default
"""

from __future__ import annotations

import json as json_
import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.progress import Progress

from tfsasm.api import load
from tfsasm.config import preset, with_settings
from tfsasm.detect import open_detections
from tfsasm.errors import InputError, TfsasmError
from tfsasm.evaluate import Report, Trajectories, read_truths, score, scores_table
from tfsasm.files import check_output, write_text
from tfsasm.model.image import prepare
from tfsasm.tracker import TrackerConfig, begin, report, step
from tfsasm.video import open_source


@dataclass(frozen=True)
class Settings:
    """Compare methods on MOT sequence folders (img1/, det/det.txt, gt/gt.txt)."""

    data: Path
    """Folder of sequence folders."""
    methods: tuple[str, ...] = ("motrv2", "released", "paper", "default")
    """Presets, each with settings after it: `default`, `default:memory.capacity=0`."""
    sequences: tuple[str, ...] = ()
    """Names of the sequences; all of them when none is given."""
    source: str | None = None
    """Video that replaces the img1 folder of a single sequence."""
    weights: str = "tiny"
    min_score: float = 0.05
    """Detections below it are not handed over."""
    json: Path | None = None
    overwrite: bool = False


def method(text: str) -> TrackerConfig:
    """`PRESET` or `PRESET:NAME=VALUE,NAME=VALUE`."""
    name, _, settings = text.partition(":")
    pairs = dict(pair.split("=", 1) for pair in settings.split(",") if pair)
    return with_settings(preset(name).make(), pairs)


def main(settings: Settings) -> None:
    """Run and print; write JSON if asked."""
    if settings.json:
        check_output(settings.json, overwrite=settings.overwrite)
    methods = {text: method(text) for text in settings.methods}
    truths = read_truths(settings.data, settings.sequences or None)
    if settings.source and len(truths) != 1:
        raise InputError("--source replaces the images of one sequence; name it with --sequences")
    results: dict[str, dict[str, Trajectories]] = {text: {} for text in methods}
    with Progress(console=Console(stderr=True)) as bar:
        for name in bar.track(truths):
            images = settings.source or str(settings.data / name / "img1")
            for text, tracks in follow(settings, images, settings.data / name, methods).items():
                results[text][name] = tracks
    reports = {text: score(truths, tracks) for text, tracks in results.items()}
    console = Console()
    rows = {text: r.combined for text, r in reports.items()}
    console.print(scores_table(rows, label="method", title=f"{len(truths)} sequences"))
    compared = paired(reports)
    for line in compared:
        console.print(line["text"], highlight=False)
    if settings.json:
        content = {
            "weights": settings.weights, "python": platform.python_version(),
            "torch": torch.__version__, "paired": compared,
            "methods": {text: r.to_json() for text, r in reports.items()},
        }  # fmt: skip
        write_text(settings.json, json_.dumps(content, indent=2) + "\n")


@torch.inference_mode()
def follow(
    settings: Settings, images: str, folder: Path, methods: dict[str, TrackerConfig]
) -> dict[str, Trajectories]:
    """Tracks of every method on one sequence, frame by frame side by side."""
    tracker = load(settings.weights)
    model, network = tracker.model, tracker.network
    proposals = open_detections(folder / "det" / "det.txt")
    states = {text: begin(model, config) for text, config in methods.items()}
    frames: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {text: [] for text in methods}
    with open_source(images) as source:
        for frame in source:
            height, width = frame.image.shape[:2]
            features = model.encode(prepare(frame.image, network.short_side, network.max_side))
            seen = proposals(frame)
            seen = seen[seen.scores >= settings.min_score]
            for text, config in methods.items():
                states[text], answer = step(model, states[text], features, seen, config)
                told = report(answer, width, height, config)
                frames[text].append((told.ids.numpy(), told.xyxy.numpy()))
    return {text: Trajectories.from_frames(pairs) for text, pairs in frames.items()}


def paired(reports: dict[str, Report], draws: int = 2000) -> list[dict[str, object]]:
    """Mean differences per sequence to the first method, with 95 % bootstrap intervals."""
    first, *others = reports
    lines: list[dict[str, object]] = []
    names = list(reports[first].sequences)
    rng = np.random.default_rng(0)
    for other in others:
        for metric in ("HOTA", "AssA", "IDF1"):
            gains = np.array([
                getattr(reports[other].sequences[n], metric)
                - getattr(reports[first].sequences[n], metric)
                for n in names
            ])  # fmt: skip
            means = gains[rng.integers(len(gains), size=(draws, len(gains)))].mean(axis=1)
            low, high = np.percentile(means, [2.5, 97.5])
            text = f"{other} - {first}: {metric} {gains.mean():+.2f} [{low:+.2f}, {high:+.2f}]"
            lines.append({
                "method": other, "against": first, "metric": metric, "mean": float(gains.mean()),
                "low": float(low), "high": float(high), "text": text,
            })  # fmt: skip
    return lines


if __name__ == "__main__":
    try:
        main(tyro.cli(Settings))
    except TfsasmError as error:
        raise SystemExit(f"error: {error}") from error
