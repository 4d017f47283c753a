"""What some hundred labelled frames gain: `tiny` before and after `tfsasm train`.

    python benchmarks/finetune.py --output runs/finetune

Renders videos into MOT folders with a detector that `tiny` never saw: it sees people from the knees
up, while the labels are of whole people. Trains on some through the reader of real data, and tracks
the others, before and after, with the same method: the default one, which takes over the boxes of
the detector, and with the network's own boxes. Differences are of the same sequences. Choose on one
seed of held-out videos, and report on another.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tfsasm.datasets.synthetic.config import SceneConfig
from tfsasm.datasets.synthetic.sequences import write_sequences
from tfsasm.evaluation.score import score_folders
from tfsasm.evaluation.significance import differences

SCENE = SceneConfig(width=512, height=288, frames=30, photographs=False)

METHODS = {
    "default": (),
    "own boxes": (  # bars of IoU times the share that the detector sees
        "--set", "association.use_detection_box=false", "association.match_iou=0.28",
        "association.second_iou=0.14", "association.duplicate_iou=0.28",
    ),
}  # fmt: skip
"""How videos are tracked, before and after."""

SEEN = 0.7
"""The share of a person's height that the detector sees."""


def cut_detections(folder: Path) -> None:
    """Shorten all boxes of a sequence at the bottom."""
    lines = []
    for line in (folder / "det/det.txt").read_text().splitlines():
        *start, height, score = line.split(",")
        lines.append(",".join([*start, f"{SEEN * float(height):.2f}", score]) + "\n")
    (folder / "det/det.txt").write_text("".join(lines))


def tfsasm(*words: object) -> None:
    """Run a command of the package."""
    subprocess.run([sys.executable, "-m", "tfsasm", *map(str, words)], check=True)


def main() -> None:
    """Render, train, track twice, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--sequences", type=int, default=8, help="to train on")
    parser.add_argument("--held-out", type=int, default=16)
    parser.add_argument("--held-out-seed", type=int, default=73)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    root, held_out = options.output, options.output / f"held-out-{options.held_out_seed}"
    for place, count, seed in ((root / "train", options.sequences, 71),
                               (held_out, options.held_out, options.held_out_seed)):  # fmt: skip
        if not place.exists():
            for folder in write_sequences(place, count, seed, SCENE):
                cut_detections(folder)
    tfsasm(
        "train", "--init", "tiny", "--data", f"mot:{root}/train", "--output", root / "run",
        "--steps", options.steps, "--seed", options.seed, "--validate-sequences", 0,
    )  # fmt: skip
    weights = {"tiny": "tiny", "fine-tuned": root / "run/model.safetensors"}
    reports = {}
    for method, words in METHODS.items():
        for name, file in weights.items():
            place = root / f"{held_out.name}-{name}-{method.replace(' ', '-')}"
            tfsasm("evaluate", "--root", held_out, "--weights", file, "--output", place, "--quiet",
                   *words)  # fmt: skip
            reports[name, method] = score_folders(held_out, place, "mot").report
    for (name, method), report in reports.items():
        scores = report.combined
        print(f"{name}, {method}: HOTA {scores.HOTA:.2f}  DetA {scores.DetA:.2f}  "
              f"AssA {scores.AssA:.2f}  IDF1 {scores.IDF1:.2f}")  # fmt: skip
    for method in METHODS:
        for one in differences({name: reports[name, method] for name in weights}):
            print(f"{method}: {one.metric} {one.text}")
    best = {"tiny, default": reports["tiny", "default"],
            "fine-tuned, own boxes": reports["fine-tuned", "own boxes"]}  # fmt: skip
    for one in differences(best):
        print(f"{one.metric} {one.text}")


if __name__ == "__main__":
    main()
