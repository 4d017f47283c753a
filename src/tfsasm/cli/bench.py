"""`tfsasm bench`: every stage of a frame, timed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from tfsasm.cli import OK
from tfsasm.cli.options import OptionalFile, OptionalName
from tfsasm.cli.progress import print_lines
from tfsasm.errors import InputError
from tfsasm.files import check_outputs, write_text

if TYPE_CHECKING:
    from tfsasm.detection.detectors import Detector
    from tfsasm.experiments.speed.report import Settings

IN_PYTORCH = ("plain", "exact", "fast-fp32", "fast-bf16")


@dataclass(frozen=True)
class Options:
    """Time every stage of a frame, the quick ways in alternation with plain PyTorch.

    Example: tfsasm bench --network full --size 1080x1920 --json bench.json
    """

    network: Literal["tiny", "full"] = "tiny"
    """Which network; `full` has random weights unless --weights is given."""
    weights: OptionalFile = None
    """A .safetensors or published .pth file instead."""
    size: Annotated[str, tyro.conf.arg(metavar="HxW")] = "1080x1920"
    """Height and width of the frames."""
    tracks: int = 20
    """Tracks that are followed; as many boxes are proposed."""
    variants: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = IN_PYTORCH
    """What to compare: plain, exact (the path of --preset released), fast-KIND, or with a precision
    of single parts fast-backbone=bf16,encoder=fp32. onnx and openvino export the network first
    and run it as `tfsasm track --runtime` does."""
    rounds: int = 3
    """Turns of each variant, in alternation; the first one is a rehearsal and not counted."""
    frames: int = 2
    """Frames of a turn."""
    detector: OptionalName = None
    """A detector to time as well, such as yolox-nano."""
    detector_weights: OptionalFile = None
    """Its file."""
    scaling: Literal["none", "tracks", "size", "capacity", "length"] = "none"
    """Instead: time and memory as one thing grows."""
    length: int = 100_000
    """Frames of --scaling length."""
    baseline: Annotated[str | None, tyro.conf.arg(metavar="COMMAND")] = None
    """Instead: another program, timed in alternation with `tfsasm track` on the same video, for
    whose path {source} stands in the command, and {output} for a file that it may write."""
    source: OptionalFile = None
    """Video for --baseline; by default a synthetic one of --size."""
    json: OptionalFile = None
    """Results as JSON."""
    plot: OptionalFile = None
    """Results as a picture: .png, .pdf or .svg."""
    threads: int = 0
    """Threads of PyTorch; 0 for all cores."""
    overwrite: bool = False
    """Replace output files that exist."""


def run(job: Options, console: Console, errors: Console) -> int:
    """Measure, print, write. Raises `InputError` for options that cannot be used."""
    import torch

    from tfsasm.evaluation.plots import plot_columns, plot_stages
    from tfsasm.experiments.speed.external import pair
    from tfsasm.experiments.speed.report import compare
    from tfsasm.experiments.speed.scaling import GROWTH
    from tfsasm.experiments.speed.stages import STAGES

    height, width = _sides(job.size)
    _check(job)
    if job.threads:
        torch.set_num_threads(job.threads)
    if job.baseline is not None:
        told = pair(job.baseline, job.source, (height, width), job.rounds)
        console.print(_rows_table(told["rows"], f"{told['frames']} frames"))
    elif job.scaling != "none":
        told = GROWTH[job.scaling](job)
        console.print(_rows_table(told["rows"], job.scaling))
    else:
        told = compare(_settings(job, height, width), _detector(job))
        console.print(_stage_table(told))
        print_lines(console, *_lines(told))
    if job.json:
        write_text(job.json, json.dumps(told, indent=1) + "\n")
        console.print(f"wrote {job.json}")
    if job.plot:
        if "variants" in told:
            plot_stages(told["variants"], STAGES, job.plot)
        else:
            plot_columns(told["rows"], job.plot)
        console.print(f"wrote {job.plot}")
    return OK


def _check(job: Options) -> None:
    from tfsasm.evaluation.plots import check_plot
    from tfsasm.experiments.speed.graphs import check_runtimes
    from tfsasm.experiments.speed.variants import check_variants

    for name in ("rounds", "frames", "length"):
        if getattr(job, name) < 1:
            raise InputError(f"--{name} {getattr(job, name)} is not at least 1")
    for name in ("tracks", "threads"):
        if getattr(job, name) < 0:
            raise InputError(f"--{name} {getattr(job, name)} is not at least 0")
    if not job.variants:
        raise InputError("--variants names none; give one or more")
    check_variants(job.variants)
    check_runtimes(job.variants)
    if job.plot:
        check_plot(job.plot)
        if job.baseline is not None:
            raise InputError("--baseline has no picture; leave --plot out")
    check_outputs((job.json, job.plot), overwrite=job.overwrite)


def _sides(size: str) -> tuple[int, int]:
    height, _, width = size.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise InputError(f"--size takes HEIGHTxWIDTH in pixels, such as 1080x1920, not {size!r}")
    return int(height), int(width)


def _settings(job: Options, height: int, width: int) -> Settings:
    import torch

    from tfsasm.experiments.speed.report import Settings

    return Settings(
        network=job.network, weights=job.weights, height=height, width=width, tracks=job.tracks,
        variants=tuple(dict.fromkeys(job.variants)), rounds=job.rounds, frames=job.frames,
        threads=torch.get_num_threads(),
    )  # fmt: skip


def _detector(job: Options) -> Detector | None:
    if job.detector is None:
        return None
    from tfsasm.detection.detectors import default_settings, detector

    return detector(job.detector, job.detector_weights, default_settings(job.detector))


def _stage_table(told: dict[str, Any]) -> Table:
    from tfsasm.experiments.speed.stages import STAGES

    variants = told["variants"]
    table = Table("ms per frame", *variants, box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for stage in STAGES:
        if any(stage in one["stages"] for one in variants.values()):
            spent = (one["stages"].get(stage) for one in variants.values())
            table.add_row(stage, *("" if ms is None else f"{ms:.1f}" for ms in spent))
    table.add_section()
    table.add_row("total", *(f"{one['total_ms']:.0f}" for one in variants.values()))
    spread = (one["spread_ms"] for one in variants.values())
    table.add_row("least and most", *(f"{least:.0f} to {most:.0f}" for least, most in spread))
    ratios = told["ratio_to_plain"]
    if ratios:
        table.add_row("quicker than plain", *(f"{ratios.get(name, 1.0):.2f}" for name in variants))
    for name in told["gflop"]:
        shares = [one["gemm_share"].get(name) for one in variants.values()]
        told_shares = ("" if share is None else f"{100 * share:.0f} %" for share in shares)
        table.add_row(f"{name}: of the GEMM rate", *told_shares)
    table.add_row("page faults", *(f"{one['page_faults']:,}" for one in variants.values()))
    table.add_row("peak memory, MB", *(f"{one['peak_rss_mb']:.0f}" for one in variants.values()))
    return table


def _lines(told: dict[str, Any]) -> list[str]:
    here, job = told["machine"], told["settings"]
    work = ", ".join(f"{name} {count:.1f}" for name, count in told["gflop"].items())
    rates = ", ".join(f"{name} {rate:.0f}" for name, rate in here["gemm_gflop_per_s"].items())
    return [
        f"{job['network']}, {job['size']}, {job['tracks']} tracks, {job['queries']} queries "
        f"({work} GFLOP)",
        f"{here['processor']}, {here['threads']} threads, torch {here['torch']}; GFLOP/s of matrix "
        f"products: {rates}",
    ]


def _rows_table(rows: list[dict[str, Any]], title: str) -> Table:
    table = Table(*(name.replace("_", " ") for name in rows[0]), title=title, box=None)
    for column in table.columns:
        column.justify = "right"
    for row in rows:
        table.add_row(*(f"{v:,.3g}" if isinstance(v, float) else f"{v:,}" if isinstance(v, int)
                        else str(v) for v in row.values()))  # fmt: skip
    return table
