"""Whether a GPU computes what a CPU does, and how fast: at most eight minutes, JSON and a table.

    python benchmarks/gpu.py --json gpu.json
    python benchmarks/gpu.py --device cpu --quick      # that the command works, on any machine

In a checkout with the package installed (`make setup`). First come the checks, each with what was
found and what is allowed; a failed one makes the exit code 1. Then times: medians in milliseconds
after two runs that are not counted, the device idle before and after each. What the minutes do not
suffice for is named as left out. Weights of the published network are random.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gpu_stages as speed
import numpy as np
import torch
from gpu_stages import Subject, Timer, sampling
from rich.console import Console
from rich.table import Table

from tfsasm.datasets.synthetic.config import SceneConfig
from tfsasm.datasets.synthetic.sequences import render_clip
from tfsasm.detection.proposals import Proposals
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.deformable_attention import attend, fuses, plain
from tfsasm.motrv2.fast.kernels import Shapes
from tfsasm.motrv2.fast.model import FastMOTRv2
from tfsasm.motrv2.fast.precision import KINDS, parse_precision
from tfsasm.motrv2.network import TorchNetwork
from tfsasm.settings import with_settings
from tfsasm.tracking.config import preset, released
from tfsasm.tracking.load import load
from tfsasm.tracking.query import QueryTracker

TESTS = Path(__file__).resolve().parents[1] / "tests"

LEVELS = [(100, 178), (50, 89), (25, 45), (13, 23)]
"""Of the published network at 800x1422 pixels."""


@dataclass
class Bench:
    """What is measured with, and what was found."""

    timer: Timer
    quick: bool
    ends: float
    """Of the allowed time, by `time.monotonic`."""
    checks: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        return self.timer.device

    def check(self, name: str, allowed: float, work: Callable[..., float], *given: Any) -> None:
        """A check that finds a number; it fails above what is allowed, and when it raises."""
        found, error = float("inf"), ""
        try:
            found = work(*given)
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
        passed = found <= allowed
        self.checks.append(
            {"check": name, "found": found, "allowed": allowed, "passed": passed, "error": error}
        )

    def measure(
        self, about: dict[str, Any], work: Callable[..., dict[str, float]], *given: Any
    ) -> None:
        """A row of the table, unless the time is over; what raises is a row with the error."""
        if time.monotonic() > self.ends:
            self.left_out.append(" ".join(map(str, about.values())))
            return
        try:
            self.rows.append(about | {"ms": work(*given)})
        except Exception as raised:
            self.rows.append(about | {"error": f"{type(raised).__name__}: {raised}"})


# Checks


def kernel_error(device: torch.device, dtype: torch.dtype) -> float:
    """Largest error of the kernel's answer and gradients against float64, relative to their norm.
    """
    g = torch.Generator().manual_seed(0)
    queries, heads = (500, 8) if device.type == "cuda" else (5, 1)  # the interpreter is slow
    shapes, grid, tokens = LEVELS[2:], (heads, 2, 4), sum(h * w for h, w in LEVELS[2:])
    drawn = (1, tokens, heads, 32), (1, queries, *grid, 2), (1, queries, *grid)
    given = [torch.randn(*sides, generator=g).to(dtype) for sides in drawn]
    given.append(torch.rand(1, queries, 2, 4, generator=g).to(dtype))
    toward = torch.randn(1, queries, heads * 32, generator=g).to(dtype)

    def found(inputs: list[torch.Tensor], **how: Any) -> list[torch.Tensor]:
        value, *rest = inputs = [t.requires_grad_() for t in inputs]
        answer = attend(value, shapes, *rest, **how)
        gradients = torch.autograd.grad(answer, inputs, toward.to(answer))
        return [t.detach().cpu().double() for t in (answer, *gradients)]

    with sampling("triton"):
        ours = found([t.to(device) for t in given])
    wanted = found([t.double() for t in given], kernel=plain)
    return max(float((a - b).norm() / b.norm()) for a, b in zip(ours, wanted, strict=True))


def golden_lines(device: torch.device, precision: str) -> float:
    """Largest difference, in pixels, from the released code's result; infinite where a frame or an
    identity differs.
    """
    sys.path.insert(0, str(TESTS))
    from helpers.golden_data import released_model, synthetic_sequence, vectors

    height, width = 216, 384
    method = with_settings(released(), {"lifecycle.miss_tolerance": "20"})
    model = FastMOTRv2(
        copy.deepcopy(released_model()).to(device), parse_precision(precision, device.type)
    )
    config = NetworkConfig(short_side=256, max_side=480)
    tracker = QueryTracker(TorchNetwork(model, config), method)
    frames = synthetic_sequence(40, height, width, nobj=6, seed=7, zero_frames=[4, 5, 13])
    found = []
    for number, (image, lines) in enumerate(zip(*frames, strict=True), start=1):
        rows = np.array([line.split(",") for line in lines], dtype=float).reshape(-1, 5)
        given = Proposals.from_ltwh(rows[:, :4], rows[:, 4], width, height)
        tracks = tracker.update(given, np.ascontiguousarray(image[..., ::-1]))
        found += [
            [number, who - 1, x1, y1, x2 - x1, y2 - y1] for who, (x1, y1, x2, y2)
            in zip(tracks.tracker_id.tolist(), tracks.xyxy.tolist(), strict=True)
        ]  # fmt: skip
    wanted = [line.split(",")[:6] for line in vectors("run_tol20")["lines"].tolist()]
    ours, theirs = np.array(found), np.array(wanted, dtype=float)
    if ours.shape != theirs.shape or not np.array_equal(ours[:, :2], theirs[:, :2]):
        return float("inf")
    return float(np.abs(ours - theirs).max())


def identities(
    device: torch.device, precision: str, clips: int, frames: int, method: str = "default"
) -> set[tuple[int, ...]]:
    """Clip, frame and identity of each row of `tiny` on synthetic clips."""
    config = preset(method).make()
    tracker, rows = load("tiny", config, device=str(device), precision=precision), set()
    for clip in range(clips):
        tracker.reset()
        config = SceneConfig(frames=frames, photographs=False)
        for number, frame in enumerate(render_clip(clip, config)):
            ltwh, scores = frame.detections[:, :4], frame.detections[:, 4]
            given = Proposals.from_ltwh(ltwh, scores, config.width, config.height)
            tracks = tracker.update(given, frame.image)
            rows |= {(clip, number, int(who)) for who in tracks.tracker_id}
    return rows


def other_identities(wanted: set[Any], *how: Any) -> float:
    """Rows that have another identity, or are on one side alone."""
    return float(len(identities(*how) ^ wanted))


def check(bench: Bench) -> None:
    device, gpu = bench.device, bench.device.type == "cuda"
    for kind, allowed in (("fp32", 1e-5), ("bf16", 1e-2), ("fp16", 2e-3)):
        name = f"the Triton kernel in {kind} against float64, relative"
        bench.check(name, allowed, kernel_error, device, KINDS[kind])
    if gpu:
        refused = float(not fuses(device, torch.bfloat16))
        bench.check("the Triton kernel is refused", 0, lambda: refused)
        bench.check("waits of the host in a frame before its end", 0, waits, bench.timer)
    if not bench.quick and (TESTS / "golden").is_dir():
        bench.check("the released run, pixels", 0.02, golden_lines, device, "fp32")
    clips, frames = (1, 3) if bench.quick else (3, 40)
    wanted = identities(torch.device("cpu"), "fp32", clips, frames)
    for kind in ("fp32", "bf16", "fp16") if gpu else ("fp32", "bf16"):
        name = f"other identities than the CPU's fp32 in {kind}, of {len(wanted)} rows"
        bench.check(name, 0, other_identities, wanted, device, kind, clips, frames)
    if gpu:  # with a method that assigns nothing on the host
        wanted = identities(device, "fp32", clips, frames, "paper")
        name = f"other identities with CUDA graphs, of {len(wanted)} rows"
        with speed.graphs(1):
            how = device, "fp32", clips, frames, "paper"
            bench.check(name, 0, other_identities, wanted, *how)


def waits(timer: Timer) -> float:
    """0, when the host waits for nothing in a frame but its copy at the end; else it raises."""
    one = Subject(timer, "tiny", "fp32", "auto", (576, 768))
    pixels = one.pixels()
    one.frame(pixels)
    torch.cuda.set_sync_debug_mode("error")
    try:
        one.frame(pixels)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return 0.0


# Times


def measure(bench: Bench) -> None:
    quick, gpu, timer = bench.quick, bench.device.type == "cuda", bench.timer
    with sampling("triton"):
        for kind in ("fp32",) if quick else ("fp32", "bf16", "fp16"):
            given = (*attended(quick), (1024,) if quick else (512, 1024, 2048, 4096))
            about = {"what": "attention of a layer", "precision": kind}
            bench.measure(about, speed.attention_alone, timer, kind, *given)
    ways = [("fp32", "auto"), ("fp32", "plain"), ("bf16", "auto")] + [("fp16", "auto")] * gpu
    subjects = []
    for name, size in sizes(quick).items():
        for precision, kernel in ways:
            about = {"network": name, "precision": precision, "kernel": kernel}
            one = Subject(timer, name, precision, kernel, size)
            subjects.append((about, one))
            if gpu:
                torch.cuda.reset_peak_memory_stats()
            for batch in (1, 2) if quick else (1, 8):
                bench.measure({"what": f"batch {batch}", **about}, one.stages, batch)
            for count in (1, 2) if quick else (1, 16):
                bench.measure({"what": f"streams {count}", **about}, one.streams, count)
            if gpu and bench.rows:
                bench.rows[-1]["peak_mb"] = torch.cuda.max_memory_allocated() / 1e6
    for about, one in subjects if gpu else ():  # last: a capture that fails spoils what follows
        bench.measure({"what": "CUDA graph", **about}, one.as_graph)


def sizes(quick: bool) -> dict[str, tuple[int, int]]:
    """Height and width of the frames, by the network."""
    return {"tiny": (96, 128)} if quick else {"full": (1080, 1920), "tiny": (576, 768)}


def attended(quick: bool) -> tuple[Shapes, int]:
    """Levels and heads of the attention that is timed alone."""
    return ([(6, 9)], 1) if quick else (LEVELS, 8)


def with_shares(rows: list[dict[str, Any]], quick: bool, rates: dict[str, float]) -> None:
    """Put beside each stage of matrix products the share of the measured rate that it reached, and
    beside the attention, which moves numbers, that of the measured bandwidth.
    """
    needed = {name: speed.needed(name, size) for name, size in sizes(quick).items()}
    for row in rows:
        if row["what"] == "attention of a layer" and "ms" in row:
            least = speed.attention_bytes(row["precision"], *attended(quick))
            best = min(ms for name, ms in row["ms"].items() if name.startswith("triton"))
            row["bandwidth_share"] = round(least / best / 1e6 / rates["copied"], 4)
        if "backbone" in row.get("ms", {}):
            row["matrix_share"] = {
                part: round(count / row["ms"][part] / rates[row["precision"]], 4)
                for part, count in needed[row["network"]].items()
            }


def tables(result: dict[str, Any]) -> Iterator[Table]:
    checks = Table("check", "found", "allowed", "", title="Checks", box=None)
    for one in result["checks"]:
        verdict = "ok" if one["passed"] else f"FAILED {one['error']}"
        checks.add_row(one["check"], f"{one['found']:.3g}", f"{one['allowed']:.3g}", verdict)
    yield checks
    times = Table("what", "ms", title="Times", box=None)
    for row in result["rows"]:
        keys = ("what", "network", "precision", "kernel")
        name = ", ".join(str(row[key]) for key in keys if key in row)
        parts = [f"{stage} {ms:.3g}" for stage, ms in row.get("ms", {}).items()]
        shares = [f"{part} {share:.0%}" for part, share in row.get("matrix_share", {}).items()]
        more = f"; of the matrix rate: {', '.join(shares)}" if shares else ""
        if "bandwidth_share" in row:
            more += f"; of the bandwidth: {row['bandwidth_share']:.0%}"
        memory = f"; peak {row['peak_mb']:.0f} MB" if "peak_mb" in row else ""
        times.add_row(name, row.get("error") or ", ".join(parts) + more + memory)
    yield times


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu")
    parser.add_argument("--quick", action="store_true", help="tiny alone, small frames, few runs")
    parser.add_argument("--minutes", type=float, default=8, help="after which nothing is begun")
    parser.add_argument("--json", type=Path, help="the results, also when a check fails")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device here; --device cpu --quick shows that the command works")
    if device.type == "cpu" and "TRITON_INTERPRET" not in os.environ:  # once more, kernels by NumPy
        again = [sys.executable, *sys.argv]
        os.execve(sys.executable, again, os.environ | {"TRITON_INTERPRET": "1"})
    began, console = time.monotonic(), Console(width=160)
    timer = Timer(device, 2, 1) if options.quick else Timer(device)
    bench = Bench(timer, options.quick, began + 60 * options.minutes - 30)
    rates = speed.rates(timer, *((256, 1) if options.quick else (8192, 1024)))
    check(bench)
    measure(bench)
    with_shares(bench.rows, options.quick, rates)
    about = {
        "device": speed.device_name(device), "torch": torch.__version__, "cuda": torch.version.cuda,
        "tflop_per_s": {kind: rate for kind, rate in rates.items() if kind != "copied"},
        "copied_gb_per_s": rates["copied"],
    }  # fmt: skip
    result = {
        "machine": about, "checks": bench.checks, "rows": bench.rows, "left_out": bench.left_out,
        "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for key, value in about.items():
        console.print(f"{key}: {value}", highlight=False)
    for table in tables(result):
        console.print(table)
    for name in bench.left_out:
        console.print(f"left out: {name}")
    return 0 if all(one["passed"] for one in bench.checks) else 1


if __name__ == "__main__":
    sys.exit(main())
