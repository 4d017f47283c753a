"""What `tfsasm track` costs as a command: each of its parts, and beside another program."""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tfsasm.detection.detectors import default_settings, detector
from tfsasm.errors import InputError
from tfsasm.experiments.speed.stages import Clock, write_clip
from tfsasm.tracking.appearance.embedders import embedder
from tfsasm.tracking.appearance.tracker import AppearanceTracker
from tfsasm.video.annotate import Annotator
from tfsasm.video.source import open_video
from tfsasm.video.writer import VideoWriter

_FRAMES = 200  # that are timed, after as many as fill the memory of the tracker
_WARM_UP = 10

_SYNTHETIC = 60  # frames of the synthetic video


def by_part(video: Path, frames: int = _FRAMES) -> list[dict[str, Any]]:
    """A row for each part with its median milliseconds per frame and its share, and one for all.

    The parts go one after the other on one thread each, by the processor's time, with the defaults
    of the command: YOLOX-nano, histograms, H.264 (`encoding` has x264's own threads in it). In the
    command they work side by side, so their sum over the number of cores is the least that a frame
    can take, however they are scheduled. Raises `InputError` for a video that cannot be read or has
    too few frames.
    """
    clock, embed = Clock(time.process_time), embedder()
    settings = default_settings("yolox-nano", score_threshold=0.1, changes=("threads=1",))
    detect = detector("yolox-nano", None, settings)
    tracker = AppearanceTracker(embed and clock.timed("embedder", embed))
    with TemporaryDirectory(prefix="tfsasm-bench-") as folder, open_video(str(video)) as source:
        arriving, annotator = iter(source), Annotator()
        with VideoWriter(Path(folder) / "out.mp4", source.rate) as writer:
            for _ in range(_WARM_UP + frames):
                with clock.stage("decode"):
                    frame = next(arriving, None)
                if frame is None:
                    break
                with clock.stage("detector"):
                    found = detect(frame)
                with clock.stage("association"):
                    tracks = tracker.update(found, frame.image)
                with clock.stage("drawing"):
                    image = annotator.annotate(frame.image, tracks)
                with clock.stage("encoding"):
                    writer.write(image, frame.time)
    if len(clock.spent["encoding"]) <= _WARM_UP:
        raise InputError(f"{video} has too few frames to time; give one of more than {_WARM_UP}")
    parts = ("decode", "detector", "embedder", "association", "drawing", "encoding")
    ms = {name: statistics.median(clock.spent[name][_WARM_UP:] or [0.0]) for name in parts}
    ms["association"] -= ms["embedder"]  # which it calls
    total, cores = sum(ms.values()), os.cpu_count() or 1
    rows = [{"part": name, "ms": spent, "share": spent / total} for name, spent in ms.items()]
    return [*rows, {"part": f"all, over {cores} cores", "ms": total / cores, "share": 1.0}]


def run_pair(
    command: str, source: Path | None, sides: tuple[int, int], rounds: int
) -> dict[str, Any]:
    """Wall clock of whole runs, start included: `{"frames": ..., "rows": [...]}`.

    Another program and `tfsasm track` on the same video, in alternation. `tfsasm track` runs with
    its defaults, and writes a video and MOT text. Where the command names `{detections}`, both take
    the boxes of this file, which the packaged detector makes before. Raises `InputError` for a
    command that cannot be run or fails, with the end of its output.
    """
    if "{source}" not in command:
        raise InputError("--baseline needs {source} where the video's path goes")
    with TemporaryDirectory(prefix="tfsasm-bench-") as folder:
        video = source or Path(folder) / "clip.mp4"
        if source is None:
            write_clip(video, *sides, _SYNTHETIC)
        with open_video(str(video)) as opened:
            frames = sum(1 for _ in opened)
        tfsasm = [sys.executable, "-m", "tfsasm"]
        ours = [*tfsasm, "track", str(video), "--quiet", "--overwrite", "--save", "video", "mot",
                "--output", str(Path(folder) / "ours")]  # fmt: skip
        boxes = str(Path(folder) / "det.txt")
        if "{detections}" in command:
            _seconds([*tfsasm, "detect", "--source", str(video), "--detector", "yolox-nano",
                      "--output", boxes])  # fmt: skip
            ours += ["--detections", boxes]
        places = {"{source}": str(video), "{output}": str(Path(folder) / "theirs.mp4"),
                  "{detections}": boxes}  # fmt: skip
        theirs = [_filled(word, places) for word in shlex.split(command)]
        spent: dict[str, list[float]] = {"tfsasm": [], "baseline": []}
        for _ in range(rounds):
            spent["tfsasm"].append(_seconds(ours))
            spent["baseline"].append(_seconds(theirs))
    rows = []
    for name, seconds in spent.items():
        median = statistics.median(seconds)
        rows.append({
            "program": name, "seconds": median, "least": min(seconds), "most": max(seconds),
            "frames_per_second": frames / median,
        })  # fmt: skip
    return {"frames": frames, "command": command, "rows": rows}


def _filled(word: str, places: dict[str, str]) -> str:
    for name, path in places.items():
        word = word.replace(name, path)
    return word


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise InputError(f"cannot run {command[0]}: {error.strerror or error}") from error
    except subprocess.CalledProcessError as error:
        end = "\n".join((error.stderr or error.stdout).strip().splitlines()[-3:])
        raise InputError(f"{shlex.join(command)} failed: {end}") from error
    return time.perf_counter() - began
