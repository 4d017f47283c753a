"""`tfsasm evaluate`: a data set through one tracker, some sequences at a time, then the scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.console import Console

from tfsasm.cli import FAILED, INTERRUPTED, OK
from tfsasm.cli.options import ResultsOptions, TrackerOptions, spec_of, with_tracker
from tfsasm.cli.progress import print_lines, tracked_line
from tfsasm.errors import first_few
from tfsasm.files import write_json

if TYPE_CHECKING:
    from tfsasm.detection.detectors import Detector
    from tfsasm.experiments.run import Outcome


@dataclass(frozen=True, kw_only=True)
class Options(TrackerOptions, ResultsOptions):
    """Track a data set, several sequences at a time, and score the results.

    A run that was stopped or killed goes on when it is given again: what is finished is kept. Ends
    with code 1 when a sequence failed; the others are tracked and scored all the same. Without
    images the query tracker cannot run, and the appearance tracker goes by motion alone.

    Example: tfsasm evaluate --root clips --output results --workers 2
    """

    weights: str = ""
    """The network: `tiny` (by default) or `nano` (both in the package), a .safetensors file or a
    published .pth file."""


def run(
    options: Options, console: Console, errors: Console, *, detector: Detector | None = None
) -> int:
    """Track what is not done yet, and score what has ground truth.

    `detector` finds the boxes instead of what the options name.
    """
    from tfsasm.cli.experiment import make_experiment, resume, settings_of
    from tfsasm.evaluation.result_files import SCORES
    from tfsasm.evaluation.score import lines, score_files, to_json
    from tfsasm.evaluation.tables import report_table

    options, finds_objects = with_tracker(options)
    options = replace(options, weights=options.weights or "tiny")
    label, spec = options.tracker, spec_of(options)
    experiment = make_experiment(
        options, {label: spec}, {label: options.output}, finds_objects=finds_objects
    )
    settings = settings_of(options, spec, experiment)
    finished = resume(
        options, experiment, {label: settings}, _described, console, errors, detector
    )
    without = [name for name, task in experiment.tasks.items() if task.source is None]
    if without and spec.uses_images:
        print_lines(console, f"no images of {first_few(without)}: tracked by motion alone there, "
                    "without appearance or camera motion")  # fmt: skip
    if finished.interrupted:
        return INTERRUPTED
    failures = finished.failures
    with_truth = experiment.files()[label]
    files = {name: one for name, one in with_truth.items() if name not in failures}
    if files:
        scored = score_files(
            files, options.dataset, classes=options.classes, allow_missing=True,
            problems={
                name: f"it was not tracked: {why}"
                for name, why in failures.items() if name in with_truth
            },
        )  # fmt: skip
        path = options.output / SCORES
        write_json(path, {**to_json(scored), "settings": settings})
        console.print(report_table(scored.report))
        print_lines(console, *lines(scored), f"wrote {path}")
    else:
        print_lines(console, "nothing to score: no finished sequence has ground truth")
    return FAILED if failures else OK


def _described(one: Outcome) -> str:
    [identities] = one.identities.values()
    rate = one.frames / one.elapsed if one.elapsed else 0.0
    return tracked_line(one.frames, identities, rate)
