"""Work on named sequences, shown as it goes: what came of each, and why some came to nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from tfsasm.workers import Advanced, Event, Failed, Finished, Work, run_all

log = logging.getLogger(__name__)

_NAMED = 3  # sequences that a message names before it only counts


@dataclass
class Run:
    """What a run came to. `outcomes` are what the work returned, by name."""

    outcomes: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


def run_sequences(
    names: Sequence[str], make: Callable[[], Work], lengths: Mapping[str, int], workers: int,
    errors: Console, *, quiet: bool = False, what: str = "sequences",
) -> Run:
    """Work on the sequences named. Ctrl-C ends it; a failure costs one sequence.

    `make` is called as by `workers.run_all`; the work yields how many of a sequence's `lengths`
    frames are done. The threads of a process depend on `workers` alone, never on how much is left
    to do: sums over another number of threads may round otherwise, and a resumed run must not.
    `what` is what the display calls them.
    """
    run, count = Run(), min(workers, len(names))
    usual = torch.get_num_threads()
    if workers > 1:
        make = partial(_with_threads, max(1, usual // workers), make)
    if count > 1:
        make()  # what would fail in every process is refused here, and downloads are done once
        names = sorted(names, key=lambda name: -lengths[name])
    try:
        with _display(lengths, len(names), errors, what, quiet=quiet) as show, closing(
            run_all(names, make, count)
        ) as events:
            for event in events:
                _note(run, event)
                show(event)
    except KeyboardInterrupt:
        run.interrupted = True
    finally:
        torch.set_num_threads(usual)
    return run


def some(names: Sequence[str]) -> str:
    """Names in a message, the first few if there are many."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _with_threads(threads: int, make: Callable[[], Work]) -> Work:
    torch.set_num_threads(threads)
    return make()


def _note(run: Run, event: Event) -> None:
    if isinstance(event, Finished):
        run.outcomes[event.name] = event.value
    elif isinstance(event, Failed):
        run.failures[event.name] = event.message
        if event.trace:
            log.error("%s: %s", event.name, event.trace)


@contextmanager
def _display(
    lengths: Mapping[str, int], total: int, errors: Console, what: str, *, quiet: bool
) -> Iterator[Callable[[Event], None]]:
    """A bar for all sequences, and one for each that is being worked on."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=errors, disable=quiet, transient=True) as bar:
        whole = bar.add_task(what, total=total)
        running: dict[str, TaskID] = {}

        def show(event: Event) -> None:
            name = event.name
            if name not in running:
                running[name] = bar.add_task(name, total=lengths[name])
            if isinstance(event, Advanced):
                bar.update(running[name], completed=event.done)
            else:
                bar.remove_task(running[name])
                bar.advance(whole)

        yield show
