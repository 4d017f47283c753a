"""Progress bars and printed lines, the same for every command."""

import ipaddress
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.logging import RichHandler
from rich.measure import Measurement
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from tfsasm.errors import visible
from tfsasm.experiments.pool import Advanced, Event
from tfsasm.video.addresses import PublicFormatter, public_text

_FILE = 1000  # characters on a line of what goes into a file or to another program

_SHOWN = 16  # names that have a bar of their own at a time, at most


class PlainConsole(Console):
    """A console that shows what others' files hold: no markup, no emoji, nothing obeyed, and no
    password of an address."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False)
        if not (stderr or self.is_terminal or "COLUMNS" in os.environ):
            self.width = _FILE  # not the 80 that are usual: lines of a file are not wrapped

    def render_str(self, text: str, **form: Any) -> Text:
        """As usual, with control characters written out, so that a table has room for them."""
        return super().render_str(public_text(visible(text)), **form)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As usual, with control characters in texts written out, and no number of a table cut."""
        space = options or self.options
        if isinstance(renderable, Table):
            unlimited = space.update(max_width=10_000)
            if Measurement.get(self, unlimited, renderable).minimum > space.max_width:
                renderable = _below_one_another(renderable)
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else visible(segment.text)
            yield segment if text == segment.text else Segment(text, segment.style)


def _below_one_another(table: Table) -> Group:
    """Each row as its first cell, and the others below it, each behind its heading."""
    headings = [column.header for column in table.columns[1:]]
    lines: list[RenderableType] = [table.title] if table.title else []
    for first, *cells in zip(*(column.cells for column in table.columns), strict=True):
        pairs = (f"{name} {cell}" for name, cell in zip(headings, cells, strict=True) if cell)
        lines += [first, Padding(", ".join(pairs).replace("\n", " "), (0, 0, 0, 2))]
    return Group(*lines)


def progress(
    errors: Console, *columns: str | ProgressColumn, quiet: bool = False, transient: bool = False
) -> Progress:
    """Progress bars on `errors`, to use in a `with`: add tasks to it, and advance them.

    A task shows its description, its bar, its count, then `columns` and the time that is left. A
    column may be a text such as `"{task.fields[rate]}"`. `quiet` shows nothing, `transient` removes
    the bars at the end.
    """
    return Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), *columns,
        TimeRemainingColumn(), console=errors, disable=quiet, transient=transient,
    )  # fmt: skip


def print_lines(console: Console, *lines: str) -> None:
    """Print lines as they are: never wrapped, coloured or read as markup."""
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def web_address(host: str, port: int) -> str:
    """Where a browser finds what listens there."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def is_local(host: str) -> bool:
    """Whether what listens there can be reached from this computer alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def log_handler(console: Console) -> RichHandler:
    """What writes log records to a console."""
    handler = RichHandler(console=console, show_time=False, show_path=False)
    handler.setFormatter(PublicFormatter())
    return handler


def tracked_line(frames: int, identities: int, rate: float) -> str:
    """What came of a video, in a line; `rate` in frames per second."""
    return (
        f"{frames} frame{'' if frames == 1 else 's'}, "
        f"{identities} identit{'y' if identities == 1 else 'ies'}, {rate:.1f} frames per second"
    )


@contextmanager
def event_progress(
    errors: Console, lengths: Mapping[str, int | None], what: str = "sequences", *,
    quiet: bool = False,
) -> Iterator[Callable[[Event], None]]:
    """A bar for all names of `lengths`, and one for each that is being worked on.

    Gives a function that takes the events of `experiments.pool`; `what` is what the names are. A
    length may be unknown.
    """
    with progress(errors, quiet=quiet, transient=True) as bar:
        whole = bar.add_task(what, total=len(lengths))
        running: dict[str, TaskID] = {}

        def show(event: Event) -> None:
            if event.name not in running:
                running[event.name] = bar.add_task(
                    event.name, total=lengths[event.name], visible=len(running) < _SHOWN
                )
            if isinstance(event, Advanced):
                bar.update(running[event.name], completed=event.done)
            else:
                bar.remove_task(running.pop(event.name))
                bar.advance(whole)

        yield show
