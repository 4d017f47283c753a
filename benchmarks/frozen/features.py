"""What YOLOX-nano, frozen, finds and holds of synthetic videos, for `fit`.

    python -m benchmarks.frozen.features FOLDER FIRST LAST

renders the sequences of every second seed from FIRST to LAST and writes a file of each.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tfsasm.boxes import normalised_boxes
from tfsasm.datasets.synthetic.config import SceneConfig
from tfsasm.datasets.synthetic.sequences import render_clip
from tfsasm.detection.yolox import YoloxDetector, YoloxSettings, release_file
from tfsasm.tracking.nano import Encoder, pooled
from tfsasm.video.source import Frame


def sequence(seed: int, encoder: Encoder, detector: YoloxDetector) -> dict[str, np.ndarray]:
    """Frames, below one another: `truth` (box, identity, visibility), what was `found` (box,
    score), its `features`, and `counts` of both. Boxes are normalised cxcywh.
    """
    rng = np.random.default_rng([seed, 77])
    width, height = [(384, 288), (512, 384), (640, 480), (768, 432)][rng.integers(4)]
    scene = SceneConfig(
        width=width, height=height, frames=120, kinds=("street", "street", "dance", "sport"),
        frame_rate=(4.0, 25.0), occluders=(0, 3), detector_quality=(0.0, 0.6),
    )  # fmt: skip
    columns: dict[str, list[np.ndarray]] = {"truth": [], "found": [], "features": []}
    counts = []
    for number, frame in enumerate(render_clip(seed, scene), start=1):
        found = detector(Frame(frame.image, number, "", None))
        columns["features"].append(pooled(encoder(frame.image), found.boxes).astype(np.float16))
        columns["found"].append(np.column_stack([found.boxes, found.scores]).astype(np.float32))
        truth = normalised_boxes(frame.boxes, width, height)
        columns["truth"].append(np.column_stack([truth, frame.ids, frame.visibility]))
        counts.append((len(truth), len(found)))
    return {k: np.concatenate(v) for k, v in columns.items()} | {"counts": np.array(counts)}


def main(folder: str, first: str, last: str) -> None:
    """Write the sequences that are not there yet."""
    encoder, settings = Encoder(), YoloxSettings(score_threshold=0.05, threads=1)
    detector = YoloxDetector(release_file("yolox-nano"), settings)
    for seed in range(int(first), int(last) + 1, 2):
        path = Path(folder) / f"{seed}.npz"
        if not path.exists():
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                np.savez(file, **sequence(seed, encoder, detector))
            part.rename(path)
            print(path, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
