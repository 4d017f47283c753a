"""The command line: parse, run, exit codes. No logic lives here."""

import _thread
import difflib
import functools
import logging
import operator
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from importlib.metadata import version
from io import StringIO
from types import FrameType
from typing import Annotated, Any

import tyro
from rich.console import Console

from tfsasm.cli import INTERRUPTED, OK, TRUNCATED, USER_ERROR
from tfsasm.cli.parsing import refuse_nan, spoken
from tfsasm.cli.progress import PlainConsole, log_handler
from tfsasm.errors import TfsasmError, TruncatedInput, visible
from tfsasm.processes import end_at_once, signals_to
from tfsasm.runtime.allocator import keep_freed_memory
from tfsasm.video.addresses import public_text

COMMANDS = (
    "track", "demo", "app", "serve", "detect", "detections", "evaluate", "compare", "ablate",
    "bench", "score", "datasets", "show", "view", "submit", "merge", "synth", "train", "verify",
    "convert", "export",
)  # fmt: skip
"""Every command, and the module of this folder that has its `Options` and its `run`."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command. Exits with 0, 2 (your input), 3 (source cut short), 130 (Ctrl-C) or 143
    (SIGTERM).

    1 is the answer of `datasets check` to data with problems, and of `evaluate`, `compare` and
    `ablate` when a sequence failed.
    """
    end_at_once()
    try:
        try:
            options = parse(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # what reads the help has had enough: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    console, errors = PlainConsole(), PlainConsole(stderr=True)
    logging.basicConfig(level=logging.WARNING, handlers=[log_handler(errors)])
    with _stopped_by_signals() as stopped:
        code = _run(options, console, errors)
    sys.exit(128 + stopped[0] if code == INTERRUPTED and stopped else code)


def parse(arguments: Sequence[str] | None = None) -> Any:
    """The `Options` of the command that `arguments` name, by default those of the process.

    Prints help, the version or what is wrong, and exits, where there is nothing to run.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    _first_word(words)
    prog, kind = "tfsasm", None
    if words and words[0] in COMMANDS:  # the others need not be loaded
        prog, kind = f"tfsasm {words[0]}", options_of(words.pop(0))
    ask = functools.partial(
        tyro.cli, kind or _all_commands(), prog=prog, description=None if kind else _ABOUT,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes), registry=spoken(),
    )  # fmt: skip
    public = [public_text(visible(word)) for word in words]
    if public == words:
        return ask(args=words)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            options = ask(args=words)
    except SystemExit:  # the error repeats the words, so it is made of public ones
        ask(args=public)
        raise
    return options


_ABOUT = """Track look-alike people through a video.

Begin with: tfsasm track video.mp4

More on a command: tfsasm COMMAND --help. The version: tfsasm --version. Completion for the shell:
tfsasm --tyro-print-completion bash (or zsh)."""


def _all_commands() -> Any:
    """All of them, each with the first line of its help."""
    kinds = {name: options_of(name) for name in COMMANDS}
    return functools.reduce(operator.or_, (
        Annotated[kind, tyro.conf.subcommand(name, description=kind.__doc__.partition("\n")[0])]
        for name, kind in kinds.items()
    ))  # fmt: skip


def _first_word(words: Sequence[str]) -> None:
    """Answers `--version`, and a command that does not exist with its neighbours."""
    word = words[0] if words else ""
    if word == "--version":
        print(f"tfsasm {version('tfsasm')}")
        sys.exit(0)
    if word and not word.startswith("-") and word not in COMMANDS:
        close = difflib.get_close_matches(word, COMMANDS, n=1)
        known = f"did you mean {close[0]}?" if close else f"there are {', '.join(COMMANDS)}"
        print(f"error: no command {public_text(repr(word))}; {known}", file=sys.stderr)
        sys.exit(USER_ERROR)


def options_of(command: str) -> Any:
    """The class of a command's options."""
    return import_module(f"tfsasm.cli.{command}").Options


@contextmanager
def _stopped_by_signals() -> Iterator[list[int]]:
    """SIGTERM, as `kill`, `timeout` and batch systems send it, stops a run as Ctrl-C does.

    Gives the signals that came. One that comes while a module is imported waits until it is there:
    packages in C turn it into an `ImportError`, or lose it. Another within a second is the same one
    again, which a program around this one has passed on, and must not end what the first one began.
    """
    came: list[int] = []
    first = 0.0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if _importing(frame):
            threading.Timer(0.05, _thread.interrupt_main, (number,)).start()
            return
        if came and time.monotonic() < first + 1:
            return
        first = time.monotonic()
        came.append(number)
        raise KeyboardInterrupt

    with signals_to(stop):
        yield came


def _importing(frame: FrameType | None) -> bool:
    while frame and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _run(options: Any, console: Console, errors: Console) -> int:
    module = sys.modules[type(options).__module__]
    if not module.__name__.endswith(".serve"):  # its many threads would keep ever more
        keep_freed_memory()
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # what matters in a file is said by us
    try:
        refuse_nan(options)
        return module.run(options, console, errors) or OK
    except KeyboardInterrupt:
        errors.print("stopped")
        return INTERRUPTED
    except TfsasmError as error:
        problem, code = str(error), TRUNCATED if isinstance(error, TruncatedInput) else USER_ERROR
    except OSError as error:  # a disk, a folder or a name that only the system knows to be bad
        place = f"{error.filename}: " if error.filename else ""
        problem, code = f"{place}{error.strerror or error}", USER_ERROR
    except ModuleNotFoundError as error:  # an installation without some of the dependencies
        name = (error.name or "").partition(".")[0]
        if name in ("", "tfsasm"):
            raise
        problem = f"this needs the package {name}, which is not here: pip install {name}"
        code = USER_ERROR
    errors.print(f"error: {problem}", style="red", soft_wrap=True, highlight=False, markup=False)
    return code
