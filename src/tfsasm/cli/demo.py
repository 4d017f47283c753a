"""The options of commands that take one video."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import supervision as sv
from rich.console import Console
from rich.progress import Progress

from tfsasm.datasets.synthetic.config import SceneConfig
from tfsasm.datasets.synthetic.sequences import write_sequences
from tfsasm.detection.stored import open_detections
from tfsasm.errors import InputError
from tfsasm.evaluation.metrics import Report, Scores, score
from tfsasm.evaluation.score import read_results, read_truths
from tfsasm.evaluation.tables import scores_table
from tfsasm.files import check_folder, write_text
from tfsasm.settings import with_settings
from tfsasm.tracking.config import default
from tfsasm.tracking.load import load
from tfsasm.tracking.query import QueryTracker
from tfsasm.tracking.results import MotFile
from tfsasm.video.annotate import Annotator, side_by_side
from tfsasm.video.source import Frame, open_video
from tfsasm.video.writer import VideoWriter


@dataclass(frozen=True)
class Demo:
    """Make a short dance clip, track it with and without the memory, score both, show both.

    Example: tfsasm demo
    """

    output: Path = Path("tfsasm-demo")
    """Folder for the video, the MOT files and the summary; replaced if it exists."""
    seed: int = 11
    """Another seed, another dance."""
    frames: int = 160
    """Length of the clip."""

RUNS = {"memory off": "0", "memory on": "10"}

LEFT = {"clip", "memory-off", "memory-on", "demo.mp4", "summary.json"}
"""What a demo leaves in its folder."""


@dataclass(frozen=True)
class _Clip:
    folder: Path
    name: str


def run_demo(job: Demo, console: Console, errors: Console) -> None:
    """Render, track twice, score, draw. Raises `InputError` for a folder that is not a demo's."""
    output = _fresh_folder(job.output)
    scene = SceneConfig(width=512, height=384, frames=job.frames, kinds=("dance",), people=(5, 7))
    (folder,) = write_sequences(output / "clip", 1, job.seed, scene)
    clip = _Clip(folder, folder.name)
    with Progress(console=errors) as bar:
        task = bar.add_task("tracking", total=2 * job.frames)
        tracks = {
            run: _track(clip, output, run, capacity, lambda: bar.advance(task))
            for run, capacity in RUNS.items()
        }
    reports = {run: _score(clip, output, run) for run in RUNS}
    _draw(clip, tracks, reports, output / "demo.mp4")
    _summarise(job, reports, output)
    console.print(scores_table({run: r.combined for run, r in reports.items()}, label="run"))
    console.print(f"side by side: {output / 'demo.mp4'}", soft_wrap=True)
    console.print(f"MOT files, clip and scores: {output}", soft_wrap=True)


def _fresh_folder(output: Path) -> Path:
    """An empty folder. An earlier demo is replaced, anything else is left alone."""
    if output.is_dir() and any(output.iterdir()):
        others = sorted({path.name for path in output.iterdir()} - LEFT)
        if others:
            raise InputError(f"{output} holds other files ({others[0]}); give another --output")
        shutil.rmtree(output)
    return check_folder(output)


def _track(
    clip: _Clip, output: Path, run: str, capacity: str, advance: Callable[[], None]
) -> list[sv.Detections]:
    tracker: QueryTracker = load("tiny", with_settings(default(), {"memory.capacity": capacity}))
    detections = open_detections(clip.folder / "det" / "det.txt")
    kept = []
    with MotFile(_folder(output, run) / f"{clip.name}.txt") as file:
        for frame, tracks in tracker.track(clip.folder / "img1", detector=detections):
            file.write(frame, tracks)
            kept.append(tracks)
            advance()
    return kept


def _folder(output: Path, run: str) -> Path:
    return output / run.replace(" ", "-")


def _score(clip: _Clip, output: Path, run: str) -> Report:
    truths = read_truths(clip.folder.parent, [clip.name])
    return score(truths, read_results(_folder(output, run), [clip.name]))


def _draw(
    clip: _Clip, tracks: dict[str, list[sv.Detections]], reports: dict[str, Report], path: Path
) -> None:
    annotators = {run: Annotator() for run in tracks}
    off, on = (_title(run, reports[run].combined) for run in RUNS)
    with open_video(clip.folder / "img1") as source, VideoWriter(path, source.rate or 20) as video:
        for index, frame in enumerate(source):
            left, right = (annotators[run].annotate(_large(frame), _scaled(tracks[run][index]))
                           for run in RUNS)  # fmt: skip
            video.write(side_by_side(left, right, (off, on)), frame.time)

SCALE = 1.5


def _large(frame: Frame) -> np.ndarray:
    return cv2.resize(frame.image, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)


def _scaled(tracks: sv.Detections) -> sv.Detections:
    return sv.Detections(
        xyxy=tracks.xyxy * SCALE, confidence=tracks.confidence, tracker_id=tracks.tracker_id
    )


def _title(run: str, scores: Scores) -> str:
    return f"{run}: HOTA {scores.HOTA:.1f}, IDF1 {scores.IDF1:.1f}, {scores.IDSW} switches"


def _summarise(job: Demo, reports: dict[str, Report], output: Path) -> None:
    summary = {
        "clip": {"seed": job.seed, "frames": job.frames},
        "runs": {run: report.combined.to_json() for run, report in reports.items()},
    }
    write_text(output / "summary.json", json.dumps(summary, indent=2) + "\n")


def run(job: Demo, console: Console, errors: Console) -> int:
    """`tfsasm demo`."""
    run_demo(job, console, errors)
    return 0
