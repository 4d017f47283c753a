"""What YOLOX-nano, frozen, knows of a box: maps of its backbone and neck, averaged in three bands.

    python -m benchmarks.frozen.features FOLDER FIRST LAST

renders the synthetic sequences of these seeds and writes, a file each, what training needs of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor
from torchvision.ops import roi_align

from tfsasm.boxes import normalised_boxes
from tfsasm.datasets.synthetic.config import SceneConfig
from tfsasm.datasets.synthetic.sequences import render_clip
from tfsasm.detection.yolox import YoloxDetector, YoloxSettings, letterbox, release_file
from tfsasm.video.source import Frame

SIDE = 416
BANDS = ((4, 3), (8, 3), (16, 3), (32, 1))  # stride of a map; parts of a box, from head to foot
AFTER = (34, 209, 235, 261)  # nodes whose next activation is taken: the stem's stage, the neck


class Encoder:
    """Maps of YOLOX-nano at strides 4, 8, 16 and 32."""

    def __init__(self, threads: int = 1) -> None:
        graph = onnx.load(release_file("yolox-nano"))
        taps = [next(n for n in graph.graph.node[at:] if n.op_type == "Mul").output[0]
                for at in AFTER]  # fmt: skip
        graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in taps)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.taps = taps

    def __call__(self, image: np.ndarray) -> tuple[list[Tensor], Tensor]:
        """Maps `[1, C, h, w]`, and what normalised boxes are multiplied by to be pixels of them."""
        canvas, (x, y) = letterbox(image, (SIDE, SIDE))
        batch = np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], dtype=np.float32)
        maps = self.session.run(self.taps, {"images": batch})
        height, width = image.shape[:2]
        size = torch.tensor([width * x, height * y] * 2, dtype=torch.float32)
        return [torch.from_numpy(m) for m in maps], size


def pooled(maps: list[Tensor], size: Tensor, boxes: Tensor) -> Tensor:
    """Features `[P, D]` of normalised cxcywh boxes, each map's scaled to length 1."""
    half = boxes[:, 2:] / 2
    xyxy = torch.cat([boxes[:, :2] - half, boxes[:, :2] + half], 1) * size
    parts = [
        torch.nn.functional.normalize(
            roi_align(m, [xyxy], (bands, 1), 1 / stride, 2, aligned=True).flatten(1), dim=1
        )
        for m, (stride, bands) in zip(maps, BANDS, strict=True)
    ]
    return torch.cat(parts, 1)


def sequence(seed: int, encoder: Encoder, detector: YoloxDetector) -> dict[str, np.ndarray]:
    """A synthetic sequence as training takes it; every second one has YOLOX-nano's own boxes."""
    rng = np.random.default_rng([seed, 77])
    width, height = [(384, 288), (512, 384), (640, 480), (768, 432)][rng.integers(4)]
    scene = SceneConfig(
        width=width, height=height, frames=120, kinds=("street", "street", "dance", "sport"),
        frame_rate=(4.0, 25.0), occluders=(0, 3), detector_quality=(0.0, 0.6),
    )  # fmt: skip
    columns: dict[str, list[np.ndarray]] = {"truth": [], "found": [], "features": []}
    counts = []
    for number, frame in enumerate(render_clip(seed, scene)):
        rows = frame.detections
        if seed % 2:
            found = detector(Frame(frame.image, number + 1, "", None))
            boxes, scores = found.boxes, found.scores
        else:
            boxes, scores = normalised_boxes(rows[:, :4], width, height), rows[:, 4]
        boxes = torch.as_tensor(boxes, dtype=torch.float32)
        maps, size = encoder(frame.image)
        columns["features"].append(pooled(maps, size, boxes).half().numpy())
        columns["found"].append(np.column_stack([boxes, scores]).astype(np.float32))
        truth = normalised_boxes(frame.boxes, width, height)
        columns["truth"].append(np.column_stack([truth, frame.ids, frame.visibility]))
        counts.append((len(truth), len(boxes)))
    return {k: np.concatenate(v) for k, v in columns.items()} | {"counts": np.array(counts)}


def main(folder: str, first: str, last: str) -> None:
    """Write the sequences that are not there yet."""
    torch.set_num_threads(1)
    encoder = Encoder()
    detector = YoloxDetector(release_file("yolox-nano"),
                             YoloxSettings(score_threshold=0.05, threads=1))  # fmt: skip
    for seed in range(int(first), int(last)):
        path = Path(folder) / f"{seed}.npz"
        if not path.exists():
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                np.savez(file, **sequence(seed, encoder, detector))
            part.rename(path)
            print(path, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
