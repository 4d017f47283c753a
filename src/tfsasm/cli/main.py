"""The command line: parse, run, exit codes. No logic lives here."""

from __future__ import annotations

import difflib
import functools
import logging
import operator
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.logging import RichHandler
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
)  # fmt: skip

from tfsasm.cli import INTERRUPTED, TRUNCATED, USER_ERROR
from tfsasm.errors import TfsasmError, TruncatedInput
from tfsasm.runtime.allocator import keep_freed_memory

COMMANDS = (
    "track", "demo", "app", "detect", "detections", "evaluate", "compare", "ablate", "bench",
    "score", "datasets", "show", "submit", "merge", "synth", "train", "convert", "export",
)  # fmt: skip
"""Every command, and the module of this folder that has its `Options` and its `run`."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Exits with 0, 2 (your input), 3 (source cut short) or 130 (Ctrl-C, SIGTERM).

    1 is the answer of `datasets check` to data with problems, and of `evaluate`, `compare` and
    `ablate` when a sequence failed.
    """
    options = parse(arguments)
    console, errors = Console(), Console(stderr=True)
    logging.basicConfig(
        level=logging.WARNING, format="%(message)s",
        handlers=[RichHandler(console=errors, show_time=False, show_path=False)],
    )  # fmt: skip
    with _termination_is_ctrl_c():
        code = _run(options, console, errors)
    sys.exit(code)


def parse(arguments: Sequence[str] | None = None) -> Any:
    """The `Options` of the command that `arguments` name, by default those of the process.

    Prints help, the version or what is wrong, and exits, where there is nothing to run.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    _first_word(words)
    settings: Any = {"config": (tyro.conf.FlagCreatePairsOff,), "registry": _numbers()}
    if words and words[0] in COMMANDS:  # the others need not be loaded
        name, *rest = words
        return tyro.cli(options_of(name), prog=f"tfsasm {name}", args=rest, **settings)
    commands = [Annotated[options_of(name), tyro.conf.subcommand(name)] for name in COMMANDS]
    command: Any = functools.reduce(operator.or_, commands)
    about = "Track look-alike people through a video."
    return tyro.cli(command, prog="tfsasm", args=words, description=about, **settings)


def _first_word(words: Sequence[str]) -> None:
    """Answers `--version`, and a command that does not exist with its neighbours."""
    word = words[0] if words else ""
    if word == "--version":
        print(f"tfsasm {version('tfsasm')}")
        sys.exit(0)
    if word and not word.startswith("-") and word not in COMMANDS:
        close = difflib.get_close_matches(word, COMMANDS, n=1)
        known = f"did you mean {close[0]}?" if close else f"there are {', '.join(COMMANDS)}"
        print(f"error: no command {word!r}; {known}", file=sys.stderr)
        sys.exit(USER_ERROR)


def _numbers() -> ConstructorRegistry:
    """How numbers are read, so that a word where one is wanted is answered in words."""
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def number(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[float] | None:
        if kind.type not in (int, float):
            return None
        return PrimitiveConstructorSpec(
            nargs=1, metavar=kind.type.__name__.upper(),
            instance_from_str=lambda texts: _number(texts[0], kind.type),
            is_instance=lambda value: (
                isinstance(value, int if kind.type is int else int | float)
                and not isinstance(value, bool)
            ),
            str_from_instance=lambda value: [str(value)],
        )  # fmt: skip

    return registry


def _number(text: str, kind: type[float]) -> float:
    try:
        return kind(text)
    except ValueError as error:
        what = "a whole number" if kind is int else "a number"
        raise ValueError(f"{text!r} is not {what}") from error


def options_of(command: str) -> Any:
    """The class of a command's options."""
    return import_module(f"tfsasm.cli.{command}").Options


@contextmanager
def _termination_is_ctrl_c() -> Iterator[None]:
    """SIGTERM, as `kill`, `timeout` and batch systems send it, stops a run as Ctrl-C does."""
    usual = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)


def _run(options: Any, console: Console, errors: Console) -> int:
    keep_freed_memory()
    try:
        code: int = sys.modules[type(options).__module__].run(options, console, errors)
    except TruncatedInput as error:
        return _fail(errors, error, TRUNCATED)
    except TfsasmError as error:
        return _fail(errors, error, USER_ERROR)
    except OSError as error:  # a disk, a folder or a name that only the system knows to be bad
        place = f"{error.filename}: " if error.filename else ""
        return _fail(errors, TfsasmError(f"{place}{error.strerror or error}"), USER_ERROR)
    except KeyboardInterrupt:
        errors.print("stopped")
        return INTERRUPTED
    return code


def _fail(errors: Console, error: TfsasmError, code: int) -> int:
    errors.print(f"error: {error}", style="red", soft_wrap=True, highlight=False, markup=False)
    return code
