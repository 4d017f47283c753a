"""The command line: parse, call, print. No logic lives here."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import tyro
from rich.console import Console
from rich.logging import RichHandler

from tfsasm import jobs
from tfsasm.allocator import keep_freed_memory
from tfsasm.errors import TfsasmError, TruncatedInput

USER_ERROR, TRUNCATED, INTERRUPTED = 2, 3, 130

Command = (
    Annotated[jobs.Track, tyro.conf.subcommand("track")]
    | Annotated[jobs.Demo, tyro.conf.subcommand("demo")]
    | Annotated[jobs.Detect, tyro.conf.subcommand("detect")]
    | Annotated[jobs.Detections, tyro.conf.subcommand("detections")]
    | Annotated[jobs.Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[jobs.Compare, tyro.conf.subcommand("compare")]
    | Annotated[jobs.Ablate, tyro.conf.subcommand("ablate")]
    | Annotated[jobs.Bench, tyro.conf.subcommand("bench")]
    | Annotated[jobs.Score, tyro.conf.subcommand("score")]
    | Annotated[jobs.Datasets, tyro.conf.subcommand("datasets")]
    | Annotated[jobs.Show, tyro.conf.subcommand("show")]
    | Annotated[jobs.Submit, tyro.conf.subcommand("submit")]
    | Annotated[jobs.Merge, tyro.conf.subcommand("merge")]
    | Annotated[jobs.Synth, tyro.conf.subcommand("synth")]
    | Annotated[jobs.Train, tyro.conf.subcommand("train")]
    | Annotated[jobs.Convert, tyro.conf.subcommand("convert")]
    | Annotated[jobs.Export, tyro.conf.subcommand("export")]
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Exits with 0, 2 (your input), 3 (source cut short) or 130 (Ctrl-C, SIGTERM).

    1 is the answer of `datasets check` to data with problems, and of `evaluate`, `compare` and
    `ablate` when a sequence failed.
    """
    job = tyro.cli(
        Command,
        prog="tfsasm", args=arguments, description="Follow look-alike people through a video.",
        config=(tyro.conf.FlagCreatePairsOff,),
    )  # fmt: skip
    console, errors = Console(), Console(stderr=True)
    logging.basicConfig(
        level=logging.WARNING, format="%(message)s",
        handlers=[RichHandler(console=errors, show_time=False, show_path=False)],
    )  # fmt: skip
    with _termination_is_ctrl_c():
        code = _run(job, console, errors)
    sys.exit(code)


@contextmanager
def _termination_is_ctrl_c() -> Iterator[None]:
    """SIGTERM, as `kill`, `timeout` and batch systems send it, stops a run as Ctrl-C does."""
    usual = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)


def _run(job: jobs.Job, console: Console, errors: Console) -> int:
    from tfsasm import run  # imports torch, which --help can do without

    keep_freed_memory()
    try:
        return run.COMMANDS[type(job)](job, console, errors)
    except TruncatedInput as error:
        return _complain(errors, error, TRUNCATED)
    except TfsasmError as error:
        return _complain(errors, error, USER_ERROR)
    except KeyboardInterrupt:
        errors.print("stopped")
        return INTERRUPTED


def _complain(errors: Console, error: TfsasmError, code: int) -> int:
    errors.print(f"error: {error}", style="red", soft_wrap=True, highlight=False, markup=False)
    return code
