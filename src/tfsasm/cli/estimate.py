"""`tfsasm track --dry-run`: what many videos will take, from a rate that is measured here."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tfsasm.cli import INTERRUPTED, OK
from tfsasm.cli.options import at_least, make_engine
from tfsasm.cli.progress import print_lines
from tfsasm.cli.track_one import Step, Tracked, check, cores, load_job, places, steps
from tfsasm.detection.detectors import Detector
from tfsasm.errors import InputError, TfsasmError
from tfsasm.experiments.pool import with_threads
from tfsasm.files import check_output, write_json
from tfsasm.video.source import open_video

if TYPE_CHECKING:
    from tfsasm.cli.track import Options

_WARM_UP = 5  # frames that are not counted: kernels are compiled, buffers are made

_FRAMES, _SECONDS = 200, 20.0  # of the measurement, whichever ends first


def estimate(
    options: Options, sources: list[str], console: Console, detector: Detector | None
) -> int:
    """Say what the videos will take, after a measurement on the first that can be counted."""
    make_engine(options)
    at_least(options, 0, "price_per_hour")
    if options.json_output:
        check_output(options.json_output, overwrite=options.overwrite)
    lengths = _lengths(options, sources)
    first = lengths["first"]
    with TemporaryDirectory() as folder:
        there = replace(options, output=Path(folder), mot_output=None, json_output=None)
        files = places(there, first)
        check(options, [first], [files])
        share = options.cpus_per_worker if options.engine == "ray" else cores() // options.count()
        job = with_threads(max(1, share), lambda: load_job(options, sources, detector))
        with closing(steps(job, first, files)) as video:
            found, lines = in_hours(lengths, *measured(video), options.price_per_hour)
    print_lines(console, *lines)
    if options.json_output:
        write_json(options.json_output, found)
    return OK


def _lengths(options: Options, sources: Iterable[str]) -> dict[str, Any]:
    """How long the videos are together, which is the first that can be counted, and why others
    are not. Raises `InputError` where none is."""
    counted, not_counted = list[tuple[str, int, float]](), list[str]()
    for source in sources:
        try:
            with open_video(
                source, start=options.start, end=options.end, stride=options.stride
            ) as opened:
                if not opened.count or not opened.fps:
                    raise InputError(f"{source} does not say how long it is")
                counted.append((source, opened.count, opened.count / opened.fps / 3600))
        except TfsasmError as error:
            not_counted.append(str(error))
    if not counted:
        raise InputError(f"no video can be counted: {'; '.join(not_counted)}")
    names, frames, hours = zip(*counted, strict=True)
    return {
        "videos": len(names), "frames": sum(frames), "hours": sum(hours), "first": names[0],
        "not_counted": not_counted,
    }  # fmt: skip


def in_hours(
    lengths: Mapping[str, Any], frames: int, rate: float, price: float | None
) -> tuple[dict[str, Any], list[str]]:
    """What the JSON says of videos of these lengths, and what to print.

    `rate` is that of one worker with all that it writes, in frames per second, measured on so many
    `frames`; `price` is that of its hour.
    """
    hours = lengths["frames"] / rate / 3600
    per_1000_hours = 1000 * hours / lengths["hours"]
    cost = None if price is None else price * per_1000_hours
    lines = [
        f"{lengths['videos']} videos, {lengths['frames']:,} frames, {lengths['hours']:.4g} hours",
        f"{rate:.1f} frames per second by one worker, measured on {frames} frames of "
        f"{lengths['first']} with all that is written",
        f"{hours:.4g} hours of one worker; 1,000 hours of such video take it {per_1000_hours:,.0f}",
    ]
    if cost is not None:
        lines.append(f"1,000 hours of video cost {cost:,.2f}, at {price:g} an hour of a worker")
    found = {
        "lengths": lengths, "measured_frames": frames, "frames_per_second": rate,
        "price_per_hour": price, "worker_hours": hours,
        "worker_hours_per_1000_hours": per_1000_hours, "cost_per_1000_hours": cost,
    }  # fmt: skip
    return found, lines + [f"not counted: {why}" for why in lengths["not_counted"]]


def measured(steps: Iterator[Step | Tracked]) -> tuple[int, float]:
    """Frames that count, and frames per second, of a video whose tracking begins now.

    Raises `InputError` for one without frames, and `KeyboardInterrupt`.
    """
    began, counted = time.perf_counter(), 0
    for step in steps:
        if isinstance(step, Tracked):
            if step.code == INTERRUPTED:
                raise KeyboardInterrupt
            break
        short = _WARM_UP if step.length is None else step.length // 2
        counted = step.frames - min(_WARM_UP, short)
        if counted == 0:
            began = time.perf_counter()
        if counted == _FRAMES or (counted > 0 and time.perf_counter() - began > _SECONDS):
            break
    spent = time.perf_counter() - began
    if counted < 1:
        raise InputError("the first video has no frames to measure by")
    return counted, counted / spent
