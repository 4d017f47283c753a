"""The memory where it was published: query trackers with `tiny` on videos full of long occlusions.

Every method takes the same features and the same simulated boxes. The slow average is no setting of
the tracker; it takes the place of the one stored view here, and is read as the memory is. What is
in the cache is not tracked again.

    python -m benchmarks.quality.query_memories --cache memories
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv
import torch
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tfsasm.boxes import ltwh_to_xyxy
from tfsasm.datasets.synthetic.config import SceneConfig
from tfsasm.datasets.synthetic.sequences import render_clip
from tfsasm.detection.proposals import Given
from tfsasm.evaluation.metrics import Report, score
from tfsasm.evaluation.significance import differences
from tfsasm.evaluation.trajectories import Trajectories
from tfsasm.settings import pairs, with_settings
from tfsasm.tracking.config import TrackerConfig, preset
from tfsasm.tracking.load import torch_network
from tfsasm.tracking.query import QueryTracker

AVERAGE = {"average, 0.98": 0.98, "average, 0.9": 0.9}
OFF = "off"
SPANS = {"lost for 20 frames": "", "lost for 60 frames": "miss_tolerance=60"}
MEMORIES = {
    OFF: ("released", "capacity=0"),
    "released": ("released", ""),
    "paper": ("paper", ""),
    "paper, stores from 0.4": ("paper", "min_score=0.4"),
    **dict.fromkeys(AVERAGE, ("released", "")),
}
"""What is remembered and when; without a memory both methods are the same."""
SCENE = SceneConfig(
    width=512, height=288, frames=120, people=(8, 14), frame_rate=(20.0, 25.0), occluders=(12, 16),
    leave=0.5,
)  # fmt: skip
LONG = 10  # frames out of sight from which on an absence is long


class AveragedTracker(QueryTracker):
    """A tracker whose memory holds one view of each track, the moving average of its queries."""

    def __init__(self, network: Any, config: TrackerConfig, momentum: float) -> None:
        never = replace(config.memory, capacity=1, min_travel=1e9, max_gap=1_000_000)
        super().__init__(network, replace(config, memory=never))
        self.momentum = momentum

    def update(
        self, detections: Given, frame: np.ndarray | None = None, prepared: Any = None
    ) -> sv.Detections:
        """See `QueryTracker.update`."""
        tracks = super().update(detections, frame, prepared)
        kept, m = self.state.tracks, self.momentum
        memory, content = kept.memory, kept.queries.content[:, None]
        mixed = m * memory.features + (1 - m) * content
        mixed = torch.where(memory.valid[..., None], mixed, content)
        seen = (kept.missed == 0)[:, None]
        memory = replace(
            memory, valid=memory.valid | seen,
            features=torch.where(seen[..., None], mixed, memory.features),
        )  # fmt: skip
        self.state = replace(self.state, tracks=replace(kept, memory=memory))
        return tracks


def trackers(network: Any) -> dict[str, QueryTracker]:
    """One of each memory and span."""
    made: dict[str, QueryTracker] = {}
    for span, more in SPANS.items():
        for memory, (method, settings) in MEMORIES.items():
            config = with_settings(preset(method).make(), pairs([*more.split(), *settings.split()]))
            made[f"{span}: {memory}"] = (
                AveragedTracker(network, config, AVERAGE[memory]) if memory in AVERAGE
                else QueryTracker(network, config)
            )  # fmt: skip
    return made


def tracked(network: Any, seed: int) -> dict[str, Trajectories]:
    """The truth of a sequence, and what each tracker makes of it."""
    followers = trackers(network)
    rows: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {k: [] for k in ["truth", *followers]}
    for frame in render_clip(seed, SCENE):
        rows["truth"].append((frame.ids, ltwh_to_xyxy(frame.boxes)))
        boxes = frame.detections
        given = sv.Detections(xyxy=ltwh_to_xyxy(boxes[:, :4]), confidence=boxes[:, 4])
        [features] = network.encode([frame.image])
        for name, follower in followers.items():
            tracks = follower.update(given, frame.image, features)
            rows[name].append((tracks.tracker_id, tracks.xyxy))
    return {name: Trajectories.from_frames(iter(frames)) for name, frames in rows.items()}


def stored(network: Any, seed: int, cache: Path) -> dict[str, Trajectories]:
    """As `tracked`, from the cache if it is there."""
    path = cache / f"{seed}.npz"
    if not path.exists():
        found = tracked(network, seed)
        arrays = {
            f"{name}/{column}": getattr(table, column)
            for name, table in found.items() for column in ("frames", "ids", "ltwh")
        }  # fmt: skip
        with (part := path.with_suffix(".part")).open("wb") as file:
            np.savez_compressed(file, **arrays)
        part.rename(path)
    columns = np.load(path)
    names = dict.fromkeys(key.rpartition("/")[0] for key in columns)
    return {
        name: Trajectories.of(*(columns[f"{name}/{c}"] for c in ("frames", "ids", "ltwh")))
        for name in names
    }


def absences(truth: Trajectories) -> Iterator[int]:
    """How many frames people were out of sight between two of their boxes."""
    for person in np.unique(truth.ids):
        gaps = np.diff(np.sort(truth.frames[truth.ids == person])) - 1
        yield from gaps[gaps > 0].tolist()


def table(title: str, found: Mapping[str, Mapping[str, Trajectories]]) -> Table:
    """Scores of all sequences together, and the mean difference to no memory, span by span."""
    truths = {name: each["truth"] for name, each in found.items()}
    long = sum(gap >= LONG for truth in truths.values() for gap in absences(truth))
    title = f"{title}: {len(truths)} sequences, {long} absences of {LONG} frames or more"
    result = Table(
        "tracks", "memory", "HOTA", "AssA", "IDF1", "IDSW", "+HOTA", "+AssA", title=title
    )  # fmt: skip
    for span in SPANS:
        reports: dict[str, Report] = {
            memory: score(truths, {k: each[f"{span}: {memory}"] for k, each in found.items()})
            for memory in MEMORIES
        }
        gains = {(g.name, g.metric): g.text for g in differences(reports)}
        for memory, report in reports.items():
            c = report.combined
            more = [gains.get((memory, metric), "") for metric in ("HOTA", "AssA")]
            result.add_row(span, memory, f"{c.HOTA:.1f}", f"{c.AssA:.1f}", f"{c.IDF1:.1f}",
                           str(c.IDSW), *more)  # fmt: skip
    return result


def main(cache: Path, sets: tuple[int, ...] = (8101, 8102, 8103), sequences: int = 5) -> None:
    """Track disjoint synthetic sets and print a table of each, and of all together.

    Args:
        cache: Folder of what is tracked already.
        sets: Seeds of the sets; none of them was trained on.
        sequences: Of each set.
    """
    torch.set_num_threads(1)
    cache.mkdir(parents=True, exist_ok=True)
    network, console = torch_network("tiny"), Console(width=130)
    found = {}
    for seed in sets:
        clips = np.random.SeedSequence(seed).generate_state(sequences, np.uint64) >> np.uint64(2)
        found[seed] = {
            f"{seed}-{k}": stored(network, clip, cache)
            for k, clip in enumerate(track(clips.tolist(), f"set {seed}", console=console))
        }
        console.print(table(f"Set {seed}", found[seed]))
    everything = {name: each for clips in found.values() for name, each in clips.items()}
    console.print(table("All sets", everything))


if __name__ == "__main__":
    tyro.cli(main)
