"""The command line: parse, call, print. No logic lives here."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.logging import RichHandler

from tfsasm.cli import (
    ablate,
    bench,
    compare,
    convert,
    datasets,
    demo,
    detect,
    detections,
    evaluate,
    export,
    merge,
    score,
    show,
    submit,
    synth,
    track,
    train,
)
from tfsasm.errors import TfsasmError, TruncatedInput
from tfsasm.runtime.allocator import keep_freed_memory

USER_ERROR, TRUNCATED, INTERRUPTED = 2, 3, 130

Command = (
    Annotated[track.Track, tyro.conf.subcommand("track")]
    | Annotated[demo.Demo, tyro.conf.subcommand("demo")]
    | Annotated[detect.Detect, tyro.conf.subcommand("detect")]
    | Annotated[detections.Detections, tyro.conf.subcommand("detections")]
    | Annotated[evaluate.Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[compare.Compare, tyro.conf.subcommand("compare")]
    | Annotated[ablate.Ablate, tyro.conf.subcommand("ablate")]
    | Annotated[bench.Bench, tyro.conf.subcommand("bench")]
    | Annotated[score.Score, tyro.conf.subcommand("score")]
    | Annotated[datasets.Datasets, tyro.conf.subcommand("datasets")]
    | Annotated[show.Show, tyro.conf.subcommand("show")]
    | Annotated[submit.Submit, tyro.conf.subcommand("submit")]
    | Annotated[merge.Options, tyro.conf.subcommand("merge")]
    | Annotated[synth.Synth, tyro.conf.subcommand("synth")]
    | Annotated[train.Train, tyro.conf.subcommand("train")]
    | Annotated[convert.Convert, tyro.conf.subcommand("convert")]
    | Annotated[export.Export, tyro.conf.subcommand("export")]
)

COMMANDS: dict[type, Callable[[Any, Console, Console], int]] = {
    track.Track: track.run,
    demo.Demo: demo.run,
    detect.Detect: detect.run,
    detections.Detections: detections.run,
    evaluate.Evaluate: evaluate.run,
    compare.Compare: compare.run,
    ablate.Ablate: ablate.run,
    bench.Bench: bench.run,
    score.Score: score.run,
    datasets.Datasets: datasets.run,
    show.Show: show.run,
    submit.Submit: submit.run,
    merge.Options: merge.run,
    synth.Synth: synth.run,
    train.Train: train.run,
    convert.Convert: convert.run,
    export.Export: export.run,
}


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


def _run(job: Any, console: Console, errors: Console) -> int:

    keep_freed_memory()
    try:
        return COMMANDS[type(job)](job, console, errors)
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
