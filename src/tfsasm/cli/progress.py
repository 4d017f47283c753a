"""Progress bars and printed lines, the same for every command."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)


def progress(
    errors: Console, *columns: str | ProgressColumn, quiet: bool = False, transient: bool = False
) -> Progress:
    """Progress bars on `errors`, to use in a `with`: add tasks to it, and advance them.

    A task shows its description, its bar, its count, then `columns` and the time that is left. A
    column may be a text such as `"{task.fields[rate]}"`. `quiet` shows nothing, `transient` removes
    the bars at the end.
    """
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *columns,
        TimeRemainingColumn(), console=errors, disable=quiet, transient=transient,
    )  # fmt: skip


def print_lines(console: Console, *lines: str) -> None:
    """Print lines as they are: never wrapped, coloured or read as markup."""
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
