"""One tracker on one group of clips under one condition: its tracks and scores, made only once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.quality.clips import (
    CONDITIONS,
    Clip,
    cached,
    dancetrack,
    frames_of,
    mot17,
    real_people,
    synthetic,
    write_whole,
)
from benchmarks.quality.runs import configured, report, track_appearance, track_classic
from rich.console import Console
from rich.progress import track

import tfsasm
from tfsasm.evaluation.metrics import Report
from tfsasm.evaluation.protocols import trajectories
from tfsasm.evaluation.result_files import find_results
from tfsasm.evaluation.trajectories import Trajectories
from tfsasm.motchallenge import read_tracks
from tfsasm.tracking.baselines import CLASSICS


@dataclass(frozen=True)
class Data:
    """Where everything is."""

    root: Path
    """Folder of `DanceTrack/val`, `MOT17/val_half` and `MOT15/train`."""
    video: Path
    """The video of PETS09-S2L1, which MOT15 lacks: OpenCV's `vtest.avi`."""
    detections: Path
    """Folder of the stored boxes `NAME.txt` of PETS09-S2L1 and TUD-Campus."""
    weights: Path | None = None
    """ONNX file of the network of the embedder `osnet`; without it that takes no part."""
    cache: Path = Path("~/.cache/tfsasm-quality")
    """What is slow to make is kept there. It may be deleted."""
    synthetic: tuple[Path, ...] = ()
    """Folders that `tfsasm synth` wrote; the first `synthetic_clips` of each count."""
    synthetic_clips: int = 10
    results: dict[str, Path] = field(default_factory=dict)
    """NAME -> folder of `CONDITION/CLIP.txt`: the tracks of a peer that was run elsewhere."""
    workers: int = 2
    """Processes that work."""

    def groups(self) -> dict[str, list[Clip]]:
        """All clips, by their group."""
        clips = [
            *dancetrack(self.root), *mot17(self.root),
            *real_people(self.root, self.video, self.detections),
            *(clip for folder in self.synthetic
              for clip in synthetic(folder, folder.name, self.synthetic_clips)),
        ]  # fmt: skip
        found: dict[str, list[Clip]] = {}
        for clip in clips:
            found.setdefault(clip.group, []).append(clip)
        return found


Cell = tuple[str, str, str]
"""Group, condition and tracker."""


class Cells:
    """Tracks and scores, from the cache where the code of tracker and benchmark is the same."""

    def __init__(self, data: Data) -> None:
        self.data, self.groups = data, data.groups()
        self.folder = data.cache.expanduser()
        self._code = code_of(Path(tfsasm.__file__).parent / "tracking", Path(__file__).parent)

    def tracks(self, group: str, condition: str, tracker: str) -> dict[str, Trajectories]:
        """By clip. `tracker` is `LOOK SETTINGS...`, a classic by its name, or a peer's results.

        `LOOK` is `motion`, `hist` or `osnet`.
        """
        clips = self.groups[group]
        if tracker in self.data.results:
            found, _ = find_results(self.data.results[tracker] / condition, ".txt")
            return {c.name: trajectories(read_tracks(found[c.name], lax=True)) for c in clips}
        look, _, settings = tracker.partition(" ")
        code = "" if look in CLASSICS else self._code
        name = digest(code, group, condition, tracker, *(clip.name for clip in clips))

        def run(clip: Clip) -> Trajectories:
            seen_by = "none" if look == "motion" or look in CLASSICS else look
            frames = frames_of(
                clip, CONDITIONS[condition], seen_by, self.folder / "frames", self.data.weights
            )
            if look in CLASSICS:
                return track_classic(frames, look)
            return track_appearance(frames, configured(settings))

        path = self.folder / "tracks" / f"{name}.pickle"
        return cached(path, lambda: {clip.name: run(clip) for clip in clips})

    def has(self, group: str, condition: str, tracker: str) -> bool:
        """Whether the tracker can be scored there: peers by their files, others always.

        `osnet` needs its weights.
        """
        if tracker.startswith("osnet") and self.data.weights is None:
            return False
        folder = self.data.results.get(tracker)
        return folder is None or all(
            (folder / condition / f"{clip.name}.txt").exists() for clip in self.groups[group]
        )

    def report(self, group: str, condition: str, tracker: str) -> Report:
        """The scores of those tracks; they are kept as JSON beside them."""
        path = self._scores(group, condition, tracker)
        if not path.exists() or tracker in self.data.results:
            tracks = self.tracks(group, condition, tracker)
            made = report(self.groups[group], CONDITIONS[condition], tracks).to_json()
            about = {"group": group, "condition": condition, "tracker": tracker}
            write_whole(path, json.dumps({**about, **made}).encode())
        return as_report(json.loads(path.read_text()))

    def make(self, cells: Iterable[Cell]) -> None:
        """The scores of all of these that are not kept yet, by several processes."""
        missing = [c for c in cells if self.has(*c) and not self._scores(*c).exists()]
        work(_report, missing, self.data)

    def _scores(self, group: str, condition: str, tracker: str) -> Path:
        code = "" if tracker in CLASSICS else self._code
        clips = (clip.name for clip in self.groups[group])
        return self.folder / "scores" / f"{digest(code, group, condition, tracker, *clips)}.json"


def work(do: Callable[[Cells, Any], Any], jobs: Sequence[Any], data: Data) -> list[Any]:
    """What `do` makes of each of the jobs, by `data.workers` processes, with a progress bar."""
    if not jobs:
        return []
    with ProcessPoolExecutor(
        min(data.workers, len(jobs)), get_context("spawn"), _begin, (data,)
    ) as pool:
        done = pool.map(_worked, [(do, job) for job in jobs])
        return list(track(done, "measuring", len(jobs), console=Console(stderr=True)))


def _begin(data: Data) -> None:
    _HERE.append(Cells(data))


def _worked(job: tuple[Callable[[Cells, Any], Any], Any]) -> Any:
    do, what = job
    return do(_HERE[0], what)


def _report(cells: Cells, cell: Cell) -> None:
    cells.report(*cell)


_HERE: list[Cells] = []  # of a process that works for another: what every job of it needs


def as_report(kept: Mapping[str, Any]) -> Any:
    """A report, without its curves, from what `Report.to_json` made."""
    sequences = {name: SimpleNamespace(**row) for name, row in kept["sequences"].items()}
    return SimpleNamespace(sequences=sequences, combined=SimpleNamespace(**kept["combined"]))


def digest(*parts: str) -> str:
    """A short name for all of that."""
    return hashlib.sha1("\0".join(parts).encode()).hexdigest()[:16]


def code_of(*folders: Path) -> str:
    """A digest of the Python files in folders."""
    files: Iterable[Path] = (path for folder in folders for path in sorted(folder.rglob("*.py")))
    return digest(*(path.read_text() for path in files))
