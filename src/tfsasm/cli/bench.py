"""`tfsasm bench`: every stage of a frame, timed."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.table import Column, Table

from tfsasm.cli.options import at_least
from tfsasm.cli.progress import print_lines
from tfsasm.errors import InputError
from tfsasm.files import check_outputs, write_json
from tfsasm.processes import check_threads, foreign_load

Scaling = Literal[
    "none", "tracks", "size", "capacity", "length", "detections", "appearance-length"
]

_QUIET = 0.5  # cores that others may use before times are called disturbed

IN_PYTORCH = ("plain", "exact", "fast-fp32", "fast-bf16")


@dataclass(frozen=True)
class Options:
    """Time every stage of a frame, fast variants in alternation with plain PyTorch.

    Example: tfsasm bench --network full --size 1080x1920 --json bench.json
    """

    network: Literal["tiny", "full"] = "tiny"
    """The network; `full` has random weights unless --weights is given."""
    weights: Path | None = None
    """A .safetensors or published .pth file instead."""
    size: Annotated[str, tyro.conf.arg(metavar="HxW")] = "1080x1920"
    """Height and width of the frames."""
    tracks: int = 20
    """Tracks, and as many detections."""
    variants: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = IN_PYTORCH
    """What to compare: plain PyTorch, exact (what --preset released runs), fast-KIND (fp32, bf16 or
    int8), or with a precision of single parts fast-backbone=bf16,encoder=fp32. onnx and openvino
    export the network first and run it as `tfsasm track --runtime` does."""
    rounds: int = 3
    """Measurements of each variant, in alternation, after one that is not counted."""
    frames: int = 2
    """Frames of a measurement."""
    detector: str | None = None
    """A detector to time as well, such as yolox-nano."""
    detector_weights: Path | None = None
    """Its file."""
    scaling: Scaling = "none"
    """Instead: time and memory over the number of tracks, the size of images, the capacity of the
    memory, the length of a video; or, without a network, association over the number of detections,
    and the length of a video for the appearance tracker."""
    length: int = 100_000
    """Frames of --scaling length and appearance-length."""
    baseline: Annotated[str | None, tyro.conf.arg(metavar="COMMAND")] = None
    """Instead: another program, timed in alternation with `tfsasm track` and its defaults on the
    same video, for whose path {source} stands in the command, {output} for an MP4 that it may
    write, and {detections} for boxes that both are to take, as MOT text."""
    source: Path | None = None
    """Video for --baseline; by default a synthetic one of --size."""
    everyday: Path | None = None
    """Instead: what each part of `tfsasm track` costs on this video, with its defaults."""
    json: Path | None = None
    """Results as JSON."""
    plot: Path | None = None
    """Results as a plot: .png, .pdf or .svg."""
    threads: int = 0
    """Threads of PyTorch; 0 for all cores."""
    overwrite: bool = False
    """Replace output files that exist."""


def run(options: Options, console: Console, errors: Console) -> None:
    """Measure, print, write. Raises `InputError` for options that cannot be used."""
    import torch

    from tfsasm.evaluation.plots import check_plot, plot_columns, plot_stages
    from tfsasm.experiments.speed.stages import STAGES
    from tfsasm.experiments.speed.variants import check_variants
    from tfsasm.tracking.load import own_preset

    size = _sides(options.size)
    at_least(options, 1, "rounds", "frames", "length")
    at_least(options, 0, "tracks")
    check_threads(options.threads or None, "--threads")
    if not options.variants:
        raise InputError("--variants names none; give one or more")
    if options.weights and own_preset(options.weights):
        raise InputError(f"{options.weights} is a MOTR or CO-MOT; bench times networks of MOTRv2")
    check_variants(options.variants)
    check_plot(options.plot)
    for name in ("baseline", "everyday"):
        if options.plot and getattr(options, name) is not None:
            raise InputError(f"--{name} has no plot; leave --plot out")
    outputs = (options.json, options.plot)
    check_outputs(outputs, overwrite=options.overwrite)
    if options.threads:
        torch.set_num_threads(options.threads)
    before = foreign_load(0)
    result, title = _measure(options, *size)
    busy = max(before, foreign_load(torch.get_num_threads()))
    result["foreign_load"] = round(busy, 2)
    if "variants" in result:
        console.print(_stage_table(result, STAGES))
        print_lines(console, *_lines(result))
    else:
        console.print(_rows_table(result["rows"], title))
    if busy > _QUIET:
        print_lines(console, f"other programs kept {busy:.1f} of {os.cpu_count()} cores busy: "
                    "on an idle machine times are shorter")  # fmt: skip
    if options.json:
        write_json(options.json, result)
    if options.plot and "variants" in result:
        plot_stages(result["variants"], STAGES, options.plot)
    elif options.plot:
        plot_columns(result["rows"], options.plot)
    print_lines(console, *(f"wrote {path}" for path in outputs if path))


def _sides(size: str) -> tuple[int, int]:
    if not (sides := re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size.lower(), re.ASCII)):
        raise InputError(f"--size takes HEIGHTxWIDTH in pixels, such as 1080x1920, not {size!r}")
    return int(sides[1]), int(sides[2])


def _measure(options: Options, height: int, width: int) -> tuple[dict[str, Any], str]:
    """What goes into the JSON file, and the title of its table."""
    from tfsasm.detection.detectors import detector
    from tfsasm.experiments.speed import scaling
    from tfsasm.experiments.speed.command import by_part, run_pair
    from tfsasm.experiments.speed.report import compare
    from tfsasm.experiments.speed.variants import fast_network

    rounds, tracks = options.rounds, options.tracks
    if options.everyday is not None:
        return {"rows": by_part(options.everyday)}, f"tfsasm track {options.everyday}"
    if options.baseline is not None:
        result = run_pair(options.baseline, options.source, (height, width), rounds)
        return result, f"{result['frames']} frames"
    network = partial(fast_network, options.network, options.weights)
    sides = scaling.SHORT_SIDES[options.network]
    scaled: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "tracks": lambda: scaling.by_tracks(network(), rounds),
        "size": lambda: scaling.by_size(network(), rounds, sides, tracks),
        "capacity": lambda: scaling.by_capacity(network(), rounds),
        "length": lambda: scaling.by_length(network(), options.length, tracks),
        "detections": lambda: scaling.by_detections(rounds),
        "appearance-length": lambda: scaling.appearance_by_length(options.length, tracks),
    }
    if options.scaling != "none":
        return {"rows": scaled[options.scaling]()}, options.scaling
    name = options.detector
    return compare(
        options.network, options.weights, options.variants, size=(height, width), tracks=tracks,
        rounds=rounds, frames=options.frames,
        detector=detector(name, options.detector_weights) if name else None,
    ), ""  # fmt: skip


def _stage_table(result: dict[str, Any], stages: Sequence[str]) -> Table:
    variants = result["variants"]
    columns = variants.values()
    headings = (Column(name, justify="right") for name in variants)
    table = Table("ms per frame", *headings, box=None)
    for stage in stages:
        if any(stage in one["stages"] for one in columns):
            spent = (one["stages"].get(stage) for one in columns)
            table.add_row(stage, *("" if ms is None else f"{ms:.1f}" for ms in spent))
    table.add_section()
    table.add_row("total", *(f"{one['total_ms']:.0f}" for one in columns))
    spread = (one["spread_ms"] for one in columns)
    table.add_row("least and most", *(f"{least:.0f} to {most:.0f}" for least, most in spread))
    ratios = result["ratio_to_plain"]
    if ratios:
        table.add_row("faster than plain", *(f"{ratios.get(name, 1.0):.2f}" for name in variants))
    for name in result["gflop"]:
        table.add_row(f"{name} at the limit", *(_share(one, name) for one in columns))
    table.add_row("page faults", *(f"{one['page_faults']:,}" for one in columns))
    table.add_row("peak memory, MB", *(f"{one['peak_rss_mb']:.0f}" for one in columns))
    return table


def _share(one: dict[str, Any], part: str) -> str:
    """What a part could take at least, and that as a share of what it takes."""
    least = one["limit_ms"].get(part)
    return "" if least is None else f"{least:.1f}: {100 * least / one['stages'][part]:.0f} %"


def _lines(result: dict[str, Any]) -> list[str]:
    machine, settings = result["machine"], result["settings"]
    work = ", ".join(f"{name} {count:.1f}" for name, count in result["gflop"].items())
    rates = (
        f"{kind} " + ", ".join(f"{part} {one['gflop_per_s']:.0f}" for part, one in parts.items())
        for kind, parts in result["limits"].items()
    )  # fmt: skip
    copies = " and ".join(f"{rate:.0f} in {name}" for name, rate in machine["gb_per_s"].items())
    return [
        f"{settings['network']}, {settings['size']}, {settings['tracks']} tracks, "
        f"{settings['queries']} queries ({work} GFLOP)",
        f"{machine['processor']}, {machine['threads']} threads, torch {machine['torch']}; GB/s of "
        f"copies: {copies}",
        f"GFLOP/s of the layers alone: {'; '.join(rates)}",
        machine["kernels"],
    ]


def _rows_table(rows: list[dict[str, Any]], title: str) -> Table:
    headings = (Column(name.replace("_", " "), justify="right") for name in rows[0])
    table = Table(*headings, title=title, box=None)
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
