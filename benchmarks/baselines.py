"""The classics on the same detections: one command, one table.

The trackers are those of `trackers` (Roboflow, Apache-2.0), called through their public API at
their default settings. The defaults are read back from the classes and kept in the JSON, so that
a table made with another version says so itself. Every tracker gets the same rows of the same
file, and the scores are those of `tfsasm.evaluate`. README.md beside this file has the figures.

    pip install "tfsasm[baselines]"
    python benchmarks/baselines.py --data DanceTrack/val --json baselines.json
"""

from __future__ import annotations

import configparser
import inspect
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from json import dumps
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
import supervision as sv
import trackers as classics
import tyro
from rich.console import Console
from rich.progress import track

from tfsasm.errors import InputError, TfsasmError
from tfsasm.evaluate import Report, Trajectories, read_truths, score, scores_table
from tfsasm.files import check_folder, check_output, write_text
from tfsasm.mot import Detections, read_detections, result_line, write_results

Name = Literal["sort", "bytetrack", "ocsort", "botsort", "cbiou"]
TRACKERS: dict[Name, type[Any]] = {
    "sort": classics.SORTTracker,
    "bytetrack": classics.ByteTrackTracker,
    "ocsort": classics.OCSORTTracker,
    "botsort": classics.BoTSORTTracker,
    "cbiou": classics.CBIoUTracker,
}
LABELS: dict[Name, str] = {
    "sort": "SORT", "bytetrack": "ByteTrack", "ocsort": "OC-SORT", "botsort": "BoT-SORT",
    "cbiou": "C-BIoU",
}
MOVES_WITH_CAMERA: set[Name] = {"botsort"}  # the only one of them that looks at the frame


@dataclass(frozen=True)
class Folder:
    """One MOT sequence folder: its length, its detections and, where there are any, its images."""

    name: str
    length: int
    detections: Detections
    images: list[Path]


@dataclass(frozen=True)
class Outcome:
    """What one tracker did on all sequences. `seconds` is the time inside `update` alone."""

    results: dict[str, Trajectories]
    seconds: float
    frames: int


def main(
    data: Path,
    sequences: tuple[str, ...] = (),
    detections: str = "det/det.txt",
    trackers: tuple[Name, ...] = get_args(Name),
    min_score: float = 0.05,
    images: bool = True,
    json: Path | None = None,
    results: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Run the classic trackers on MOT sequence folders and score them.

    Args:
        data: Folder of sequence folders, each with gt/gt.txt and a detection file.
        sequences: Names of the sequences to run; all of them when none is given.
        detections: The detection file inside each sequence folder.
        trackers: Which trackers to run.
        min_score: Detections below this are not handed over.
        images: Give BoT-SORT the frames where the folder has them, for camera motion.
        json: Write scores, parameters, speed and versions here.
        results: Write MOT result files here, as RESULTS/TRACKER/SEQUENCE.txt.
        overwrite: Replace the JSON file if it exists.
    """
    if json:
        check_output(json, overwrite=overwrite)
    if results:
        check_folder(results)
    truths = read_truths(data, sequences or None)
    folders = [read_sequence(data / name, detections, truth) for name, truth in truths.items()]
    lengths = {folder.name: folder.length for folder in folders}
    console = Console(stderr=True)
    outcomes, reports = {}, {}
    for name in trackers:
        outcomes[name] = run(name, folders, min_score, images, console)
        reports[name] = score(truths, outcomes[name].results, lengths)
        if results:
            write_folder(results / name, outcomes[name].results)
    rows = {LABELS[name]: report.combined for name, report in reports.items()}
    title = f"{len(truths)} sequences, {sum(lengths.values())} frames, {detections}"
    Console().print(scores_table(rows, label="tracker", title=title))
    if json:
        write_text(json, summary(data, detections, min_score, outcomes, reports))


def read_sequence(folder: Path, detections: str, truth: Trajectories) -> Folder:
    """A sequence folder. Its length comes from seqinfo.ini, else from the last box in it.

    Raises `InputError` when seqinfo.ini has no usable length, or the detections cannot be read.
    """
    found = read_detections(folder / detections)
    info = configparser.ConfigParser()
    info.read(folder / "seqinfo.ini")
    try:
        length = info.getint("Sequence", "seqLength", fallback=0)
    except ValueError as error:
        raise InputError(f"{folder / 'seqinfo.ini'}: seqLength is not a whole number") from error
    if not length:
        length = max([*found, *truth.frames.tolist()], default=0)
    images = sorted((folder / info.get("Sequence", "imDir", fallback="img1")).glob("*.*"))
    if images and len(images) != length:
        raise InputError(f"{folder} has {len(images)} images but {length} frames; use --no-images")
    return Folder(folder.name, length, found, images)


def run(
    name: Name, folders: Sequence[Folder], min_score: float, images: bool, console: Console
) -> Outcome:
    """One tracker over all sequences, a fresh one for each."""
    results, seconds = {}, 0.0
    shown = track(
        folders, LABELS[name], console=console, transient=True, disable=not console.is_terminal
    )
    for folder in shown:
        frames = []
        tracker = TRACKERS[name]()
        wanted = images and name in MOVES_WITH_CAMERA
        for boxes, frame in inputs(folder, min_score, wanted):
            start = time.perf_counter()
            tracked = tracker.update(boxes, frame)
            seconds += time.perf_counter() - start
            confirmed = tracked.tracker_id >= 0  # -1: seen, but not yet a track
            frames.append((tracked.tracker_id[confirmed], tracked.xyxy[confirmed]))
        results[folder.name] = Trajectories.from_frames(frames)
    return Outcome(results, seconds, sum(folder.length for folder in folders))


def inputs(
    folder: Folder, min_score: float, wanted: bool
) -> Iterator[tuple[sv.Detections, np.ndarray | None]]:
    """Detections of each frame in order, and its image where it is wanted and there is one."""
    for number in range(1, folder.length + 1):
        rows = folder.detections.get(number, np.zeros((0, 5)))
        rows = rows[rows[:, 4] >= min_score]
        boxes = sv.Detections(
            xyxy=np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]]),
            confidence=rows[:, 4],
            class_id=np.zeros(len(rows), dtype=int),
        )
        yield boxes, read_image(folder.images[number - 1]) if wanted and folder.images else None


def read_image(path: Path) -> np.ndarray:
    """BGR pixels. Raises `InputError` for a file that is not an image."""
    image = cv2.imread(str(path))
    if image is None:
        raise InputError(f"cannot read {path} as an image; use --no-images")
    return image


def write_folder(folder: Path, results: dict[str, Trajectories]) -> None:
    """MOT result files, two decimals as everyone writes them."""
    for name, table in results.items():
        xyxy = np.hstack([table.ltwh[:, :2], table.ltwh[:, :2] + table.ltwh[:, 2:]])
        rows = zip(table.frames.tolist(), table.ids.tolist(), xyxy, strict=True)
        write_results(folder / f"{name}.txt", (result_line(*row) for row in rows))


def summary(
    data: Path, detections: str, min_score: float, outcomes: dict[Name, Outcome],
    reports: dict[Name, Report],
) -> str:
    """Everything needed to repeat the table, as JSON."""
    content = {
        "data": data.name,
        "detections": detections,
        "min_score": min_score,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("tfsasm", "trackers", "trackeval", "numpy")},
        "trackers": {
            name: {
                "parameters": parameters(name),
                "frames_per_second": round(outcome.frames / max(outcome.seconds, 1e-9), 1),
                **reports[name].to_json(),
            }
            for name, outcome in outcomes.items()
        },
    }
    return dumps(content, indent=2) + "\n"


def parameters(name: Name) -> dict[str, Any]:
    """The settings a tracker runs with: the defaults its class declares. A class by its name."""
    declared = inspect.signature(TRACKERS[name]).parameters.values()
    return {
        p.name: p.default.__name__ if isinstance(p.default, type) else p.default for p in declared
    }


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except TfsasmError as error:
        sys.exit(f"error: {error}")
