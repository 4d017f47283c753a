"""What each part of `tfsasm track video.mp4` costs, one after the other on one thread each.

In the command they work side by side, so the sum of the parts over the number of cores is the least
that a frame can take, however they are scheduled.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tfsasm.detection.detectors import default_settings, detector
from tfsasm.errors import InputError
from tfsasm.experiments.speed.scaling import Rows
from tfsasm.tracking.appearance.embedders import embedder
from tfsasm.tracking.appearance.tracker import AppearanceTracker
from tfsasm.video.annotate import Annotator
from tfsasm.video.source import open_video
from tfsasm.video.writer import VideoWriter

PARTS = ("decode", "detector", "embedder", "association", "drawing", "encoding")

_FRAMES = 200  # that are timed, after as many as fill the memory of the tracker
_WARM_UP = 10


class Shares:
    """The processor's milliseconds of each part, frame by frame."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {name: [] for name in PARTS}

    def of(self, part: str, work: Callable[..., Any], *given: Any) -> Any:
        """What the work gives; its time belongs to the part."""
        began = time.process_time()
        try:
            return work(*given)
        finally:
            self.spent[part].append(1e3 * (time.process_time() - began))


def by_part(video: Path, frames: int = _FRAMES) -> Rows:
    """A row for each part with its median milliseconds per frame and its share, and one for all.

    The defaults of the command: YOLOX-nano, histograms, H.264. `encoding` has x264's own threads
    in it. Raises `InputError` for a video that cannot be read or has too few frames.
    """
    shares, embed = Shares(), embedder()
    settings = default_settings("yolox-nano", score_threshold=0.1, changes=("threads=1",))
    detect = detector("yolox-nano", None, settings)
    tracker = AppearanceTracker(
        lambda image, xyxy: shares.of("embedder", embed, image, xyxy)  # type: ignore[arg-type]
    )
    with TemporaryDirectory(prefix="tfsasm-bench-") as folder, open_video(str(video)) as source:
        arriving, annotator = iter(source), Annotator()
        with VideoWriter(Path(folder) / "out.mp4", source.rate) as writer:
            for _ in range(_WARM_UP + frames):
                frame = shares.of("decode", next, arriving, None)
                if frame is None:
                    break
                found = shares.of("detector", detect, frame)
                tracks = shares.of("association", tracker.update, found, frame.image)
                image = shares.of("drawing", annotator.annotate, frame.image, tracks)
                shares.of("encoding", writer.write, image, frame.time)
    if len(shares.spent["encoding"]) <= _WARM_UP:
        raise InputError(f"{video} has too few frames to time; give one of more than {_WARM_UP}")
    ms = {name: statistics.median(shares.spent[name][_WARM_UP:] or [0.0]) for name in PARTS}
    ms["association"] -= ms["embedder"]  # which it calls
    total = sum(ms.values())
    rows: Rows = [{"part": name, "ms": ms[name], "share": ms[name] / total} for name in PARTS]
    cores = os.cpu_count() or 1
    return [*rows, {"part": f"all, over {cores} cores", "ms": total / cores, "share": 1.0}]
