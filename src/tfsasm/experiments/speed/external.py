"""Another program and `tfsasm track` on the same video, in alternation."""

from __future__ import annotations

import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tfsasm.errors import InputError
from tfsasm.experiments.speed.stages import write_clip
from tfsasm.video.source import open_video

_FRAMES = 60  # of the synthetic video


def run_pair(
    command: str, source: Path | None, sides: tuple[int, int], rounds: int
) -> dict[str, Any]:
    """Wall clock of whole runs, start included: `{"frames": ..., "rows": [...]}`.

    `tfsasm track` runs with its defaults, and writes a video and MOT text. Where the command names
    `{detections}`, both take the boxes of this file, which the packaged detector makes before.
    Raises `InputError` for a command that cannot be run or fails, with the end of its output.
    """
    if "{source}" not in command:
        raise InputError("--baseline needs {source} where the video's path goes")
    with TemporaryDirectory(prefix="tfsasm-bench-") as folder:
        video = source or Path(folder) / "clip.mp4"
        if source is None:
            write_clip(video, *sides, _FRAMES)
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
