"""The results of many trackers, scored on the same sequences."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial

from tfsasm.errors import InputError
from tfsasm.evaluation.result_files import Files
from tfsasm.evaluation.score import Scored, score_files
from tfsasm.experiments.pool import Event, Processes, run_sequences

Filed = Mapping[str, Mapping[str, Files]]
"""By tracker, the files of each sequence."""


def score_all(
    files: Filed, dataset: str, problems: Mapping[str, str], workers: int,
    on_event: Callable[[Event], object] = lambda event: None, *, classes: Sequence[int] = (),
) -> dict[str, Scored]:
    """Score many trackers on the same sequences: those of which each has a valid result.

    `problems` names sequences that are known to be unfit, with the reason. `on_event` is called as
    by `run_sequences`, with the trackers as names. `classes` count, as for `score_files`. Raises
    `InputError` when nothing is left, and `KeyboardInterrupt`.
    """
    counts = {label: len(group) for label, group in files.items()}
    make = partial(partial, _score, files, dataset, problems, classes)  # what scores one by label
    run = run_sequences(list(files), make, counts, Processes(workers), on_event)
    if run.interrupted:
        raise KeyboardInterrupt
    for label, why in run.failures.items():
        raise InputError(f"{label}: {why}")
    scored = {label: run.outcomes[label] for label in files}
    left_out = {name: why for one in scored.values() for name, why in one.left_out.items()}
    if any(one.left_out.keys() != left_out.keys() for one in scored.values()):
        return score_all(files, dataset, left_out, workers, on_event, classes=classes)
    return scored


def _score(
    files: Filed, dataset: str, problems: Mapping[str, str], classes: Sequence[int], label: str
) -> Generator[int, None, Scored]:
    fit = {name: group for name, group in files[label].items() if name not in problems}
    yield 0
    return score_files(fit, dataset, classes=classes, allow_missing=True, problems=problems)
