"""What the commands do: open, track or train, write, and say what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress_bar(
    errors: Console, total: int | None, *, quiet: bool = False
) -> Iterator[Callable[[str], None]]:
    """A function to call once per frame with a word on how it goes."""
    columns = (
        TextColumn("tracking"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[how]}"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=errors, disable=quiet) as bar:
        task = bar.add_task("", total=total, how="")
        yield lambda how: bar.update(task, advance=1, how=how)
