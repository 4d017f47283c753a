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
        boxes = Path(folder) / "det.txt"
        boxes.write_text("".join(f"{i + 1},-1,50,50,40,80,0.9\n" for i in range(frames)))
        ours = [
            sys.executable, "-m", "tfsasm", "track",
            str(video), "--detections", str(boxes), "--quiet", "--overwrite", "--mot-output",
            str(Path(folder) / "ours.txt"),
        ]  # fmt: skip
        output = str(Path(folder) / "theirs")
        theirs = [
            word.replace("{source}", str(video)).replace("{output}", output)
            for word in shlex.split(command)
        ]
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
