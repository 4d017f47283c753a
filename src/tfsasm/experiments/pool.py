"""Work on named things in several processes, none of which can take the others down.

A pool that loses a process gives up all it was to do. Here a process that dies costs the one thing
it was working on, and another takes its place. When the parent dies, killed or not, its workers
end with the next event that they send.
"""

from __future__ import annotations

import logging
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from tfsasm.errors import TfsasmError
from tfsasm.processes import log_visibly, without_ctrl_c

_GRACE = 20  # seconds that a process has to tidy up; the first frame compiles kernels

Work = Callable[[str], Generator[int, None, Any]]
"""Works on one thing: yields how far it is, from time to time, and returns a result."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Advanced:
    """How far the work on `name` is."""

    name: str
    done: int


@dataclass(frozen=True)
class Finished:
    """The result of the work on `name`."""

    name: str
    value: Any


@dataclass(frozen=True)
class Failed:
    """Why `name` has no result; `trace` is set for what is no message to the user."""

    name: str
    message: str
    trace: str = ""

Event = Advanced | Finished | Failed

Events = Generator[Event, None, None]


def run_all(names: Sequence[str], make: Callable[[], Work], workers: int = 1) -> Events:
    """Work on every name once, in order, and yield what happens as it happens.

    `make` is called once per process and returns the work; with several workers it is
    pickled, so it is a function of a module or a `partial` of one. One worker is this process. An
    exception ends the work on its name alone. Closing the generator ends the workers.
    """
    if workers == 1:
        return _here(names, make)
    return _elsewhere(deque(names), make, min(workers, len(names)))


def _here(names: Sequence[str], make: Callable[[], Work]) -> Events:
    work = make()
    for name in names:
        yield from _events(name, work)


def _events(name: str, work: Work) -> Events:
    steps = work(name)
    try:
        while True:
            yield Advanced(name, next(steps))
    except StopIteration as end:
        yield Finished(name, end.value)
    except TfsasmError as error:
        yield Failed(name, str(error))
    except Exception as error:
        yield Failed(name, f"{type(error).__name__}: {error}", traceback.format_exc())
    finally:
        steps.close()


class _Worker:
    """A process and what it is working on."""

    def __init__(self, make: Callable[[], Work]) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, make), daemon=True)
        with without_ctrl_c():
            self.process.start()
        theirs.close()
        self.name: str | None = None

    def give(self, name: str | None) -> None:
        """The next name, or None to end."""
        self.name = name
        with suppress(OSError):  # it has died; `receive` will notice
            self.connection.send(name)

    def receive(self) -> Event | None:
        """Its next event; None when it has died."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return None

    def end(self) -> None:
        """End it, when it has removed what it left half done."""
        self.process.terminate()
        self.process.join(_GRACE)
        self.process.kill()
        self.process.join()
        self.connection.close()


def _elsewhere(names: deque[str], make: Callable[[], Work], workers: int) -> Events:
    pool = [_Worker(make) for _ in range(workers)]
    try:
        for worker in pool:
            worker.give(names.popleft())
        while busy := {worker.connection: worker for worker in pool if worker.name is not None}:
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                name, event = worker.name or "", worker.receive()
                if event is None:
                    code = worker.process.exitcode
                    event = Failed(name, f"its process ended with code {code}; out of memory?")
                    pool.remove(worker)
                    worker.end()
                    if names:
                        worker = _Worker(make)
                        pool.append(worker)
                if not isinstance(event, Advanced):
                    worker.give(names.popleft() if names else None)
                yield event
    finally:
        for worker in pool:
            worker.end()


def _serve(connection: Connection, make: Callable[[], Work]) -> None:
    """What a worker process runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # half-written files are removed
    log_visibly()
    try:
        work = make()
    except Exception as error:
        work = partial(_refuse, error)
    try:
        while (name := connection.recv()) is not None:
            for event in _events(name, work):
                connection.send(event)
    except (EOFError, OSError):
        return  # the parent has ended


def _refuse(error: Exception, name: str) -> Generator[int, None, None]:
    """The work of a process that could not begin."""
    raise error
    yield 0


@dataclass
class Run:
    """What a run came to: results and reasons of failure by name."""

    outcomes: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


def run_sequences(
    names: Sequence[str], make: Callable[[], Work], lengths: Mapping[str, int], workers: int,
    on_event: Callable[[Event], object] = lambda event: None,
) -> Run:
    """Work on the sequences named. Ctrl-C ends it; a failure costs one sequence.

    `make` is called as by `run_all`; the work yields how many of a sequence's `lengths` frames are
    done, and `on_event` is called with everything that happens. The threads of a process depend on
    `workers` alone, never on how much is left to do: sums over another number of threads may round
    otherwise, and a resumed run must not.
    """
    run, count = Run(), min(workers, len(names))
    usual = torch.get_num_threads()
    if workers > 1:
        make = partial(_with_threads, max(1, usual // workers), make)
    if count > 1:
        make()  # what would fail in every process is refused here, and downloads are done once
        names = sorted(names, key=lambda name: -lengths[name])
    try:
        with closing(run_all(names, make, count)) as events:
            for event in events:
                if isinstance(event, Finished):
                    run.outcomes[event.name] = event.value
                elif isinstance(event, Failed):
                    run.failures[event.name] = event.message
                    if event.trace:
                        log.error("%s: %s", event.name, event.trace)
                on_event(event)
    except KeyboardInterrupt:
        run.interrupted = True
    finally:
        torch.set_num_threads(usual)
    return run


def _with_threads(threads: int, make: Callable[[], Work]) -> Work:
    torch.set_num_threads(threads)
    return make()
