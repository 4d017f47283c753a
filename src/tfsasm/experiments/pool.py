"""Work on named things by an engine: processes here, or those of a Ray cluster (`on_ray.py`).

A pool that loses a process gives up all it was to do. Here a process that dies is replaced, and
what it was working on begun again, `ATTEMPTS` times at most. When the parent dies, killed or not,
its workers end with the next event that they send.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeVar

from tfsasm.errors import TfsasmError
from tfsasm.processes import end_at_once, without_ctrl_c
from tfsasm.video.addresses import PublicFormatter

ATTEMPTS = 3
"""Processes that one name may take down before it is given up."""

GRACE = 20
"""Seconds that a process has to tidy up; the first frame compiles kernels."""

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

Made = TypeVar("Made")


class Engine(Protocol):
    """What works on names: processes of this machine, or of many."""

    @property
    def workers(self) -> int | None:
        """How many names are worked on at a time, in order if one; None for as many as it can."""
        ...

    def __call__(self, names: Sequence[str], make: Callable[[], Work]) -> Events:
        """Work on every name once, and yield what happens as it happens.

        `make` is called once per process and returns the work; where that is another process it is
        pickled, so it is a function of a module or a `partial` of one. An exception ends the work
        on its name alone. Closing the generator ends the workers.
        """
        ...


@dataclass(frozen=True)
class Processes:
    """Processes of this machine, of which a single one is this one, with their share of threads.

    The threads of a process depend on `workers` alone, never on how much is left to do: sums over
    another number of threads may round otherwise, and a resumed run must not.
    """

    workers: int = 1

    def __call__(self, names: Sequence[str], make: Callable[[], Work]) -> Events:
        """See `Engine`."""
        if self.workers > 1:
            make = partial(with_threads, max(1, _threads(names) // self.workers), make)
            yield from _elsewhere(deque(names), make, min(self.workers, len(names)))
            return
        work = make()
        for name in names:
            yield from events_of(name, work)


@dataclass(frozen=True)
class Streams:
    """This process, which works on several names at a time, a step of each in turn."""

    at_a_time: int
    workers: int = 1

    def __call__(self, names: Sequence[str], make: Callable[[], Work]) -> Events:
        """See `Engine`."""
        from tfsasm.tracking.streams import in_turn

        work = make()
        yield from in_turn((events_of(name, work) for name in names), self.at_a_time)


def events_of(name: str, work: Work) -> Events:
    """What happens while `work` is done on one name."""
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
        self.process.join(GRACE)
        self.process.kill()
        self.process.join()
        self.connection.close()


def _elsewhere(names: deque[str], make: Callable[[], Work], workers: int) -> Events:
    pool = [_Worker(make) for _ in range(workers)]
    deaths = Counter[str]()
    try:
        for worker in pool:
            worker.give(names.popleft())
        while busy := {worker.connection: worker for worker in pool if worker.name is not None}:
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                name, event = worker.name or "", worker.receive()
                if event is None:
                    code = worker.process.exitcode
                    event = lost(name, deaths, names, f"its process ended with code {code}")
                    pool.remove(worker)
                    worker.end()
                    if names:
                        worker = _Worker(make)
                        pool.append(worker)
                if not isinstance(event, Advanced):
                    worker.give(names.popleft() if names else None)
                if event:
                    yield event
    finally:
        for worker in pool:
            worker.end()


def lost(name: str, deaths: Counter[str], names: deque[str], why: str) -> Failed | None:
    """What a death under `name` means: it joins `names` once more, or has failed for good."""
    deaths[name] += 1
    if deaths[name] < ATTEMPTS:
        names.append(name)
        return None
    return Failed(name, f"{why}, {ATTEMPTS} times; out of memory?")


def _serve(connection: Connection, make: Callable[[], Work]) -> None:
    """What a worker process runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # half-written files are removed
    handler = logging.StreamHandler()
    handler.setFormatter(PublicFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    end_at_once()
    work = begun(make)
    try:
        while (name := connection.recv()) is not None:
            for event in events_of(name, work):
                connection.send(event)
    except (EOFError, OSError):  # the parent has ended, and another run may have begun
        os._exit(1)  # or what is half done would be put under its name


def begun(make: Callable[[], Work]) -> Work:
    """What `make` gives; where it cannot, work that fails on every name for that reason."""
    try:
        return make()
    except Exception as error:
        return partial(_refuse, error)


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
    names: Sequence[str], make: Callable[[], Work], lengths: Mapping[str, int],
    engine: Engine = Processes(), on_event: Callable[[Event], object] = lambda event: None,
    *, checked: bool = False,
) -> Run:
    """Work on the sequences named. Ctrl-C ends it; a failure costs one sequence.

    The work yields how many of a sequence's `lengths` frames are done, and `on_event` is called
    with everything that happens. For several processes `make` is called here first, unless it is
    `checked`.
    """
    run = Run()
    if engine.workers != 1 and len(names) > 1:
        if not checked:
            make()  # what would fail in every process is refused here, downloads are done once
        names = sorted(names, key=lambda name: -lengths[name])
    try:
        with closing(engine(names, make)) as events:
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
    return run


def with_threads(threads: int, make: Callable[[], Made]) -> Made:
    """What `make` gives, in a process whose PyTorch has so many threads from now on."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # what it has when it is loaded
    return make()


def _threads(names: Sequence[str]) -> int:
    """Those of PyTorch, which takes seconds to load."""
    if len(names) > 1 and "torch" not in sys.modules:  # `run_sequences` has made the work, without
        return 1
    with suppress(ImportError):  # not all that is tracked needs it
        import torch

        return torch.get_num_threads()
    return 1
