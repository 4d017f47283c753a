"""The options of commands over whole data sets and their results."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console

from tfsasm.cli.options import ResultsOptions, TrackerOptions


@dataclass(frozen=True, kw_only=True)
class Evaluate(TrackerOptions, ResultsOptions):
    """Track a data set, several sequences at a time, and score the results.

    A run that was stopped or killed goes on when it is given again: what is finished is kept. Ends
    with code 1 when a sequence failed; the others are tracked and scored all the same. Without
    pictures only the appearance tracker runs, by motion alone.

    Example: tfsasm evaluate --root clips --output results --workers 2
    """


def run(job: Evaluate, console: Console, errors: Console) -> int:
    """`tfsasm evaluate`."""
    from tfsasm.experiments.evaluate import run_evaluation

    return run_evaluation(job, console, errors)
