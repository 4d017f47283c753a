"""What some hundred labelled frames gain: `tiny` before and after `tfsasm train`.

    python benchmarks/finetune.py --output runs/finetune

Renders videos of one kind that `tiny` saw seldom (a street, three to five frames per second, a poor
detector) into MOT folders, trains on some through the reader of real data, and tracks the others,
before and after, with the same method. Differences are of the same sequences.
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

SCENE = SceneConfig(
    width=512, height=288, frames=60, kinds=("street",), frame_rate=(3.0, 5.0),
    detector_quality=(0.0, 0.3), photographs=False,
)  # fmt: skip


def tfsasm(*words: object) -> None:
    """Run a command of the package."""
    subprocess.run([sys.executable, "-m", "tfsasm", *map(str, words)], check=True)


def main() -> None:
    """Render, train, track twice, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--sequences", type=int, default=6, help="to train on")
    parser.add_argument("--held-out", type=int, default=6)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    root = options.output
    for name, count, seed in (("train", options.sequences, 71), ("held-out", options.held_out, 72)):
        if not (root / name).exists():
            write_sequences(root / name, count, seed, SCENE)
    tfsasm(
        "train", "--init", "tiny", "--data", f"mot:{root}/train", "--output", root / "run",
        "--steps", options.steps, "--seed", options.seed, "--validate-sequences", 0,
    )  # fmt: skip
    weights = {"tiny": "tiny", "fine-tuned": root / "run/model.safetensors"}
    for name, file in weights.items():
        tfsasm("evaluate", "--root", root / "held-out", "--weights", file, "--output", root / name,
               "--quiet")  # fmt: skip
    scored = {
        name: score_folders(root / "held-out", root / name, "mot").report for name in weights
    }
    for name, report in scored.items():
        print(f"{name:10} HOTA {report.combined.HOTA:.2f}  IDF1 {report.combined.IDF1:.2f}")
    for one in differences(scored):
        print(f"{one.metric} {one.text}")


if __name__ == "__main__":
    main()
