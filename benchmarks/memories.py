"""The galleries of the appearance tracker on the same boxes and the same embeddings: one table.

Each sequence is tracked as it is, with every third frame alone, and with a tenth of the boxes
dropped. Intervals are bootstrapped over blocks of a sequence, scored one by one from the same run,
always the same blocks for both sides. Blocks of one video are more alike than videos are, so the
intervals are too narrow rather than too wide.

    python benchmarks/memories.py --sequences PETS09-S2L1 --sources vtest.avi --truth MOT15/train \
        --detections detections --embedder-weights osnet_x0_25_msmt17.onnx
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import supervision as sv
import tyro
from rich.console import Console
from rich.table import Table

from tfsasm.boxes import ltwh_to_xyxy
from tfsasm.evaluation.metrics import Report, score
from tfsasm.evaluation.protocols import PROTOCOLS, counted, trajectories
from tfsasm.evaluation.significance import differences
from tfsasm.evaluation.trajectories import Trajectories
from tfsasm.motchallenge import DetectionsByFrame, read_detections, read_tracks
from tfsasm.settings import pairs, with_settings
from tfsasm.tracking.appearance.embedders import Embedder, embedder
from tfsasm.tracking.appearance.tracker import AppearanceConfig, AppearanceTracker
from tfsasm.video.source import open_video

VARIANTS = {
    "off (motion alone)": "gallery.kind=none",
    "two averages": "gallery.kind=two",
    "moving average": "gallery.kind=ema",
    "last 30, nearest": "gallery.kind=last",
    "sparse, mean": "gallery.kind=sparse",
    "sparse, half": "gallery.kind=sparse read=half",
    "sparse, nearest": "gallery.kind=sparse read=nearest",
    "mean, overlap ignored": "gallery.kind=sparse gallery.overlap=false",
    "mean, no stores by travel": "gallery.kind=sparse min_travel=1e9",
    "mean, no stores by gap": "gallery.kind=sparse max_gap=1000000",
    "mean, stores every frame": "gallery.kind=sparse min_travel=0 max_gap=0",
    "mean, one view": "gallery.kind=sparse capacity=1",
}
BLOCKS = 8
MIN_SCORE = 0.1


@dataclass(frozen=True)
class Case:
    """A sequence and what is done to it."""

    name: str
    source: Path
    truth: Trajectories
    boxes: DetectionsByFrame
    stride: int = 1
    dropped: float = 0.0


class CachedEmbedder:
    """An embedder that computes the embedding of a box of a frame only once."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder, self._known, self.frame = embedder, {}, 0

    def __call__(self, image: np.ndarray, xyxy: np.ndarray) -> np.ndarray:
        keys = [(self.frame, *box) for box in xyxy.round(3).tolist()]
        new = [row for row, key in enumerate(keys) if key not in self._known]
        vectors = self._embedder(image, xyxy[new])
        self._known |= {keys[row]: vector for row, vector in zip(new, vectors, strict=True)}
        empty = self._embedder(image, xyxy[:0])
        return np.stack([self._known[key] for key in keys]) if keys else empty


def main(
    sequences: tuple[str, ...], sources: tuple[Path, ...], truth: Path, detections: Path,
    embedder_weights: Path | None = None, seed: int = 0,
) -> None:
    """Track with every memory and print the tables.

    Args:
        sequences: Names, as in `truth/NAME/gt/gt.txt` and `detections/NAME.txt`.
        sources: Their videos or folders of images, in the same order.
        truth: Folder of the ground truth.
        detections: Folder of the boxes.
        embedder_weights: ONNX file of a ReID network; colour histograms without.
        seed: Of the boxes that are dropped.
    """
    console = Console(width=150)
    files = {name: read_tracks(truth / name / "gt" / "gt.txt", lax=True) for name in sequences}
    truths = {n: trajectories(t)[counted(t, PROTOCOLS["mot"])] for n, t in files.items()}
    embedders = {name: CachedEmbedder(embedder(None, embedder_weights)) for name in sequences}
    for title, stride, dropped in (("as it is", 1, 0), ("every 3rd frame", 3, 0),
                                   ("a tenth of the boxes dropped", 1, 0.1)):
        cases = [
            Case(n, s, truths[n], read_detections(detections / f"{n}.txt"), stride, dropped)
            for n, s in zip(sequences, sources, strict=True)
        ]
        reports = {k: report(cases, embedders, text, seed) for k, text in VARIANTS.items()}
        console.print(table(title, reports))


def report(
    cases: list[Case], embedders: dict[str, CachedEmbedder], settings: str, seed: int
) -> tuple[Report, Report]:
    """Scores of whole sequences and of their blocks."""
    config = with_settings(AppearanceConfig(), pairs(settings.split()))
    whole, parts = ({}, {}), ({}, {})
    for case in cases:
        tracked = track(case, embedders[case.name], config, seed)
        kept = case.truth[(case.truth.frames - 1) % case.stride == 0]
        frames = (kept.frames - 1) // case.stride + 1
        truth = Trajectories.of(frames, kept.ids, kept.ltwh)
        whole[0][case.name], whole[1][case.name] = truth, tracked
        edges = np.linspace(1, frames.max() + 1, BLOCKS + 1).astype(int)
        for low, high in pairwise(edges.tolist()):
            for side, table in zip(parts, (truth, tracked), strict=True):
                block = (table.frames >= low) & (table.frames < high)
                side[f"{case.name} {low}"] = table[block]
    return score(*whole), score(*parts)


def track(
    case: Case, embedder: CachedEmbedder, config: AppearanceConfig, seed: int
) -> Trajectories:
    """One run over one sequence."""
    tracker = AppearanceTracker(embedder, config)

    def frames() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        dice = np.random.default_rng(seed)
        with open_video(case.source, stride=case.stride) as source:
            for frame in source:
                boxes = np.asarray(case.boxes.get(frame.number, np.zeros((0, 5))))
                boxes = boxes[boxes[:, 4] >= MIN_SCORE]
                boxes = boxes[dice.random(len(boxes)) >= case.dropped]
                embedder.frame = frame.number
                detections = sv.Detections(xyxy=ltwh_to_xyxy(boxes[:, :4]), confidence=boxes[:, 4])
                tracks = tracker.update(detections, frame.image)
                yield tracks.tracker_id, tracks.xyxy

    return Trajectories.from_frames(frames())


def table(title: str, reports: dict[str, tuple[Report, Report]]) -> Table:
    """HOTA, AssA and IDF1 of all sequences, and the difference in HOTA and AssA to no memory."""
    result = Table("memory", "HOTA", "AssA", "IDF1", "IDSW", "+HOTA", "+AssA", title=title)
    base = next(iter(reports))
    blocks = {name: parts for name, (_, parts) in reports.items()}
    gains = {(g.name, g.metric): g.text for g in differences(blocks)}
    for name, (whole, _) in reports.items():
        c = whole.combined
        more = [gains[name, m] for m in ("HOTA", "AssA")] if name != base else ["", ""]
        result.add_row(
            name, f"{c.HOTA:.1f}", f"{c.AssA:.1f}", f"{c.IDF1:.1f}", str(c.IDSW), *more
        )
    return result


if __name__ == "__main__":
    tyro.cli(main)
