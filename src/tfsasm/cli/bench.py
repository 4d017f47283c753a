"""`tfsasm bench`: every stage of a frame, timed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from tfsasm.cli import OK
from tfsasm.cli.options import OptionalFile, OptionalName
from tfsasm.cli.progress import print_lines
from tfsasm.errors import InputError
from tfsasm.files import check_outputs, write_json
from tfsasm.processes import foreign_load

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
    weights: OptionalFile = None
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
    detector: OptionalName = None
    """A detector to time as well, such as yolox-nano."""
    detector_weights: OptionalFile = None
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
    source: OptionalFile = None
    """Video for --baseline; by default a synthetic one of --size."""
    everyday: OptionalFile = None
    """Instead: what each part of `tfsasm track` costs on this video, with its defaults."""
    json: OptionalFile = None
    """Results as JSON."""
    plot: OptionalFile = None
    """Results as a plot: .png, .pdf or .svg."""
    threads: int = 0
    """Threads of PyTorch; 0 for all cores."""
    overwrite: bool = False
    """Replace output files that exist."""


def run(options: Options, console: Console, errors: Console) -> int:
    """Measure, print, write. Raises `InputError` for options that cannot be used."""
    import torch

    from tfsasm.evaluation.plots import plot_columns, plot_stages
    from tfsasm.experiments.speed.stages import STAGES

    height, width = _sides(options.size)
    _check(options)
    if options.threads:
        torch.set_num_threads(options.threads)
    before = foreign_load(0)
    result = _measure(options, height, width)
    busy = max(before, foreign_load(torch.get_num_threads()))
    result["foreign_load"] = round(busy, 2)
    if "variants" in result:
        console.print(_stage_table(result))
        print_lines(console, *_lines(result))
        draw = partial(plot_stages, result["variants"], STAGES)
    else:
        title = f"{result['frames']} frames" if options.baseline else options.scaling
        title = f"tfsasm track {options.everyday}" if options.everyday else title
        console.print(_rows_table(result["rows"], title))
        draw = partial(plot_columns, result["rows"])
    if busy > _QUIET:
        print_lines(console, f"other programs kept {busy:.1f} of {os.cpu_count()} cores busy: "
                    "on an idle machine times are shorter")  # fmt: skip
    if options.json:
        write_json(options.json, result)
    if options.plot:
        draw(options.plot)
    print_lines(console, *(f"wrote {path}" for path in (options.json, options.plot) if path))
    return OK


def _measure(options: Options, height: int, width: int) -> dict[str, Any]:
    """What goes into the JSON file."""
    import torch

    from tfsasm.detection.detectors import detector
    from tfsasm.experiments.speed.command import by_part, run_pair
    from tfsasm.experiments.speed.report import Settings, compare

    if options.everyday is not None:
        return {"rows": by_part(options.everyday)}
    if options.baseline is not None:
        return run_pair(options.baseline, options.source, (height, width), options.rounds)
    if options.scaling != "none":
        return {"rows": _grow(options)}
    settings = Settings(
        network=options.network, weights=options.weights, height=height, width=width,
        tracks=options.tracks, variants=tuple(dict.fromkeys(options.variants)),
        rounds=options.rounds, frames=options.frames, threads=torch.get_num_threads(),
    )  # fmt: skip
    return compare(
        settings, detector(options.detector, options.detector_weights) if options.detector else None
    )


def _grow(options: Options) -> list[dict[str, Any]]:
    from tfsasm.experiments.speed import scaling
    from tfsasm.experiments.speed.variants import fast_network

    if options.scaling == "detections":
        return scaling.by_detections(options.rounds)
    if options.scaling == "appearance-length":
        return scaling.appearance_by_length(options.length, options.tracks)
    network = fast_network(options.network, options.weights)
    if options.scaling == "tracks":
        return scaling.by_tracks(network, options.rounds)
    if options.scaling == "size":
        sides = scaling.SHORT_SIDES[options.network]
        return scaling.by_size(network, options.rounds, sides, options.tracks)
    if options.scaling == "capacity":
        return scaling.by_capacity(network, options.rounds)
    return scaling.by_length(network, options.length, options.tracks)


def _check(options: Options) -> None:
    from tfsasm.evaluation.plots import check_plot
    from tfsasm.experiments.speed.variants import check_variants

    for name in ("rounds", "frames", "length"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} {getattr(options, name)} is not at least 1")
    for name in ("tracks", "threads"):
        if getattr(options, name) < 0:
            raise InputError(f"--{name} {getattr(options, name)} is not at least 0")
    if not options.variants:
        raise InputError("--variants names none; give one or more")
    check_variants(options.variants)
    check_plot(options.plot)
    for name in ("baseline", "everyday"):
        if options.plot and getattr(options, name) is not None:
            raise InputError(f"--{name} has no plot; leave --plot out")
    check_outputs((options.json, options.plot), overwrite=options.overwrite)


def _sides(size: str) -> tuple[int, int]:
    height, _, width = size.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise InputError(f"--size takes HEIGHTxWIDTH in pixels, such as 1080x1920, not {size!r}")
    return int(height), int(width)


def _stage_table(result: dict[str, Any]) -> Table:
    from tfsasm.experiments.speed.stages import STAGES

    variants = result["variants"]
    columns = variants.values()
    table = Table("ms per frame", *variants, box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for stage in STAGES:
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
    table = Table(*(name.replace("_", " ") for name in rows[0]), title=title, box=None)
    for column in table.columns:
        column.justify = "right"
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
