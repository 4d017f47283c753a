"""The galleries beside one another on simulated looks: a table for each kind of world."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.quality.cells import Cells, as_report, code_of, digest
from benchmarks.quality.clips import Clip, Condition, write_whole
from benchmarks.quality.runs import configured, report, track_appearance
from benchmarks.quality.simulation import World, simulated

FRAMES = 400
"""Of every clip that are simulated."""
CLIPS = 6
"""Of those that are to hand."""

MEMORIES = {
    "moving average, 0.98": "gallery.kind=ema momentum=0.98",
    "two averages": "gallery.kind=two",
    "moving average, 0.9": "gallery.kind=ema momentum=0.9",
    "sparse, mean": "gallery.kind=sparse",
    "sparse, no stores by travel": "gallery.kind=sparse min_travel=1e9",
    "last 30, nearest": "gallery.kind=last",
    "motion alone": "gallery.kind=none",
}
"""The first is the opponent of the others."""
WORLDS = {
    "AUC 0.94": World(),
    "AUC 0.75": World(auc=0.75),
    "strong contamination": World(contamination=2),
    "every 3rd frame": World(stride=3),
    "absences of 25 frames": World(absence=25),
    "absences of 60 frames": World(absence=60),
    "AUC 0.85, second seed": World(auc=0.85, seed=2),
}


def shortened(clip: Clip) -> Clip:
    """The first `FRAMES` of a clip."""
    length = min(FRAMES, clip.length)
    return replace(clip, truth=clip.truth[clip.truth.frame <= length], length=length)


def in_world(cells: Cells, name: str) -> dict[str, Any]:
    """The scores of `MEMORIES` in the world of that name."""
    return study(cells.groups["DanceTrack"], WORLDS[name], MEMORIES, cells.folder)


def study(
    clips: Sequence[Clip], world: World, memories: dict[str, str], cache: Path
) -> dict[str, Any]:
    """The scores of each memory in a world, in the shape of a `Report`."""
    clips = [shortened(clip) for clip in clips[:CLIPS]]
    code = code_of(Path(configured.__code__.co_filename).parents[2] / "src/tfsasm/tracking",
                   Path(__file__).parent)  # fmt: skip
    condition, reports, frames = Condition("", stride=world.stride), {}, None
    for name, settings in memories.items():
        path = cache / "memories" / f"{digest(code, repr(world), settings, str(FRAMES))}.json"
        if not path.exists():
            frames = frames or simulated(clips, world)
            config = configured(settings)
            tracks = {clip.name: track_appearance(frames[clip.name], config) for clip in clips}
            made = report(clips, condition, tracks).to_json()
            write_whole(path, json.dumps(made).encode())
        reports[name] = as_report(json.loads(path.read_text()))
    return reports
