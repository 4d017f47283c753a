"""`tfsasm bench`: from options to tables, JSON and pictures."""

from __future__ import annotations

import json
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from tfsasm import jobs
from tfsasm.bench.baseline import pair
from tfsasm.bench.compare import Settings, compare
from tfsasm.bench.graphs import check_runtimes
from tfsasm.bench.pictures import draw_curves, draw_stages
from tfsasm.bench.scaling import GROWTH
from tfsasm.bench.stages import STAGES
from tfsasm.bench.variants import check_variants
from tfsasm.detect import ProposalSource, default_settings, detector
from tfsasm.errors import InputError
from tfsasm.evaluate.plots import check_picture
from tfsasm.files import check_output, write_text


def run_bench(job: jobs.Bench, console: Console) -> None:
    """Measure, print, write. Raises `InputError` for options that cannot be used."""
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
        for line in _lines(told):
            console.print(line, highlight=False)
    if job.json:
        write_text(job.json, json.dumps(told, indent=1) + "\n")
        console.print(f"wrote {job.json}")
    if job.plot:
        (draw_stages if "variants" in told else draw_curves)(told, job.plot)
        console.print(f"wrote {job.plot}")


def _check(job: jobs.Bench) -> None:
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
        check_picture(job.plot)
        if job.baseline is not None:
            raise InputError("--baseline has no picture; leave --plot out")
    for path in (job.json, job.plot):
        if path:
            check_output(path, overwrite=job.overwrite)


def _sides(size: str) -> tuple[int, int]:
    height, _, width = size.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise InputError(f"--size takes HEIGHTxWIDTH in pixels, such as 1080x1920, not {size!r}")
    return int(height), int(width)


def _settings(job: jobs.Bench, height: int, width: int) -> Settings:
    return Settings(
        network=job.network, weights=job.weights, height=height, width=width, tracks=job.tracks,
        variants=tuple(dict.fromkeys(job.variants)), rounds=job.rounds, frames=job.frames,
        threads=torch.get_num_threads(),
    )  # fmt: skip


def _detector(job: jobs.Bench) -> ProposalSource | None:
    if job.detector is None:
        return None
    return detector(job.detector, job.detector_weights, default_settings(job.detector))


def _stage_table(told: dict[str, Any]) -> Table:
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


