"""Frames per second of copies of a video together, by how many are tracked at a time.

    python benchmarks/streams.py vtest.avi --streams 1 2 4 --frames 100
    python benchmarks/streams.py video.mp4 --weights motrv2.pth --device cuda --streams 1 4 16

In alternation within one process, after a round that is not counted. `alone` is `tracker.track`
over the copies one by one; no results are written, and identities must be the same in all rows. On
a machine with other work to do, the time of the processor tells more than that of the clock.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import tfsasm
from tfsasm.detection.detectors import default_settings, detector
from tfsasm.runtime.allocator import keep_freed_memory
from tfsasm.tracking.run import threads_of_a_part

Row = tuple[int, int, int]
"""Video, frame, identity."""


def rows(
    tracker: Any, sources: list[Any], find: Any, streams: int | None
) -> Iterator[Row]:
    if streams is None:
        for number, source in enumerate(sources):
            for frame, tracks in tracker.track(source, find):
                yield from ((number, frame.number, int(who)) for who in tracks.tracker_id)
        return
    for number, frame, tracks in tfsasm.track_videos(tracker, sources, find, streams=streams):
        yield from ((number, frame.number, int(who)) for who in tracks.tracker_id)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--copies", type=int, help="videos; by default the most of --streams")
    parser.add_argument("--frames", type=int, default=100, help="of each copy")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--weights", default="tiny")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--detector", default="yolox-nano")
    parser.add_argument("--threads", type=int, help="of each part; by default as `tfsasm track`")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    keep_freed_memory()
    tracker = tfsasm.load(options.weights, device=options.device, precision=options.precision)
    cores = torch.get_num_threads()
    threads = options.threads or threads_of_a_part(tracker.network.parameters, cores)
    torch.set_num_threads(threads)
    changes = [f"threads={threads}"] if options.detector.startswith("yolox") else []
    settings = default_settings(options.detector, device=options.device, changes=changes)
    find = detector(options.detector, None, settings)
    copies = options.copies or max(options.streams)
    ways: dict[str, int | None] = {"alone": None, **{str(n): n for n in options.streams}}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    work: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, set[Row]] = {}
    for number in range(options.rounds + 1):
        for name, streams in ways.items():
            sources = [tfsasm.open_video(options.video, end=options.frames) for _ in range(copies)]
            began, worked = time.perf_counter(), time.process_time()
            found[name] = set(rows(tracker, sources, find, streams))
            spent, worked = time.perf_counter() - began, time.process_time() - worked
            if number:
                rates[name].append(copies * options.frames / spent)
                work[name].append(1e3 * worked / copies / options.frames)
            print(f"round {number} of {options.rounds}, {name}: {spent:.1f} s, of the processor "
                  f"{worked:.1f} s", file=sys.stderr)  # fmt: skip
    print(f"{copies} copies, {options.frames} frames of each, {threads} threads of each part")
    for name, several in rates.items():
        other = len(found[name] ^ found["alone"])
        print(f"{name:>6}: {statistics.median(several):7.1f} frames per second together "
              f"({min(several):.1f} to {max(several):.1f}), {statistics.median(work[name]):.1f} ms "
              f"of the processor for each, {other} of {len(found['alone'])} rows differ"
        )  # fmt: skip
    if options.json:
        figures = json.dumps({"frames per second": rates, "processor ms": work}, indent=1)
        options.json.write_text(figures + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
