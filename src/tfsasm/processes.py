"""What systems say about processes; and those that work for this one, without Ctrl-C."""

import atexit
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from types import FrameType
from typing import Any

from tfsasm.errors import InputError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


def peak_memory() -> float:
    """The most bytes of memory that this process held so far; 0 on Windows."""
    if resource is None:
        return 0
    with suppress(OSError, StopIteration):  # Linux: what `getrusage` says begins with the parent's
        lines = Path("/proc/self/status").read_text().splitlines()
        return float(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_of(work: Callable[..., object], *given: Any) -> float:
    """`peak_memory` of a process of its own that does nothing but this work.

    Raises `RuntimeError` when it dies.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=end_at_once) as pool:
        try:
            return pool.submit(_peak_after, work, *given).result()
        except BrokenProcessPool as error:
            raise RuntimeError("the process that measures memory died") from error


def _peak_after(work: Callable[..., object], *given: Any) -> float:
    work(*given)
    return peak_memory()


def end_at_once() -> None:
    """At its end this process does not look for objects in cycles: a second, with PyTorch loaded.

    Nothing is lost by it: files are closed, and what was registered to run at the end is run.
    """
    atexit.register(gc.freeze)


def page_faults() -> int:
    """Pages that this process asked for so far without a disk being read; 0 on Windows."""
    return 0 if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def check_threads(threads: int | None, name: str = "threads") -> None:
    """Raises `InputError` for less than one thread, and for more than any computer runs at once:
    each takes memory until there is none, and signals go unanswered meanwhile."""
    if threads is not None and not 1 <= threads <= 1024:
        raise InputError(f"{name} {threads} is not between 1 and 1024")


def foreign_load(threads: int) -> float:
    """Cores that other programs kept busy in the last minute, when this one used `threads`.

    0 on Windows, which does not count it.
    """
    return max(0.0, os.getloadavg()[0] - threads) if hasattr(os, "getloadavg") else 0.0


@contextmanager
def signals_to(answer: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """In the block `answer` is called at SIGINT and SIGTERM, unless these are ignored: by `nohup`,
    and by scripts that start a command with `&`."""
    usual = {
        number: signal.signal(number, answer) for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN
    }  # fmt: skip
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


@contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Processes that are started in the block never see Ctrl-C, from their first moment on.

    A terminal sends it to all processes of a command, and one that still loads its packages would
    answer with a traceback. Here it waits until the block ends. Windows has no such mask.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
