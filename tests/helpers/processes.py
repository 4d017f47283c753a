"""A training run of several processes, as torchrun starts them."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import torch

from helpers.fakes import SMALL
from helpers.scenes import drawn_blocks
from tfsasm.errors import InputError, TfsasmError
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.family import build
from tfsasm.training.checkpoints import resume
from tfsasm.training.clip import ClipConfig
from tfsasm.training.distributed import engine, joined
from tfsasm.training.recipes import TrainConfig, recipe_motr
from tfsasm.training.trainer import fit, start

STEPS = 6

_MOTRV2 = TrainConfig(
    clip=ClipConfig(refresh_matched=True, track_drop=0.2, false_tracks=0.3), steps=STEPS, batch=4,
    lr=1e-3, backbone_lr=1e-4, lengths=((0.0, 2),), precision="fp32", workers=0, log_every=1,
    average=0.9, loggers=(),
)  # fmt: skip
_MOTR = replace(  # tracks that overlap nobody yet go on, so that there are some
    recipe_motr().clip, keep_iou=-1.0, track_drop=0.2
)
RUNS = {
    "motrv2": (SMALL, _MOTRV2),
    "motr": (
        replace(SMALL, kind="motr", learned_queries=300, track_attention=True),
        replace(_MOTRV2, clip=_MOTR, lengths=((0.0, 2), (0.5, 3))),
    ),
}
"""Sizes and recipe of each network; that of MOTR computes frames twice, as published."""


def go_on(kind: str, output: Path, *, stop: int | None = None) -> dict[str, torch.Tensor]:
    """A run to its end, or to step `stop`, from where `output` is; its last gradients by name."""
    torch.manual_seed(0)
    sizes, config = RUNS[kind]
    run = start(build(sizes), NetworkConfig(sizes, short_side=64, max_side=64), config)
    if (output / "last.pt").exists():
        resume(run, output / "last.pt")
    fit(run, drawn_blocks, output, stopped=lambda: run.step == stop)
    return {n: p.grad for n, p in run.model.named_parameters() if p.grad is not None}


def _join(rank: int, size: int, port: int) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank),
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # fmt: skip
    torch.set_num_threads(1)


def _one(rank: int, size: int, port: int, kind: str, output: Path, stops: list[int]) -> None:
    _join(rank, size, port)
    with joined("cpu"):
        for stop in stops:
            gradients = go_on(kind, output, stop=stop)
            torch.save(gradients, output / f"gradients-{stop}-{rank}.pt")


def go_on_in_processes(size: int, kind: str, output: Path, *stops: int) -> None:
    """Some processes go on to each of the steps `stops` in turn, each time from the file."""
    torch.multiprocessing.spawn(_one, (size, _free_port(), kind, output, list(stops)), size)


def _fail(rank: int, size: int, port: int, output: Path) -> None:
    _join(rank, size, port)
    try:
        with joined("cpu"):
            if rank == 0:
                raise InputError("the folder is taken")
            engine(build(SMALL), ClipConfig())
    except TfsasmError as error:
        (output / str(rank)).write_text(f"{type(error).__name__}: {error}")


def fail_in_processes(output: Path) -> None:
    """The first of two processes refuses; `output/RANK` has what each would tell its user."""
    torch.multiprocessing.spawn(_fail, (2, _free_port(), output), 2)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
