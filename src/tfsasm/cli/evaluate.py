"""`tfsasm evaluate`: a data set through one tracker, some sequences at a time, then the scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tfsasm import __version__
from tfsasm.cli import FAILED, INTERRUPTED, OK
from tfsasm.cli.options import (
    EmbedderOptions,
    MethodOptions,
    NetworkOptions,
    ResultsOptions,
    TrackerOptions,
    appearance_config,
    query_config,
    refuse_foreign_options,
)
from tfsasm.cli.progress import event_progress, print_lines
from tfsasm.errors import InputError, first_few

if TYPE_CHECKING:
    from tfsasm.detection.detectors import Detector
    from tfsasm.experiments.plan import Experiment
    from tfsasm.experiments.pool import Run
    from tfsasm.runtime.network import Network
    from tfsasm.tracking.appearance.embedders import Embedder
    from tfsasm.tracking.named import TrackerSpec

IMAGES = "images"
"""The setting that records of each sequence whether it has images."""


@dataclass(frozen=True, kw_only=True)
class Options(TrackerOptions, ResultsOptions):
    """Track a data set, several sequences at a time, and score the results.

    A run that was stopped or killed goes on when it is given again: what is finished is kept. Ends
    with code 1 when a sequence failed; the others are tracked and scored all the same. Without
    images only the appearance tracker runs, by motion alone.

    Example: tfsasm evaluate --root clips --output results --workers 2
    """


def run(
    options: Options, console: Console, errors: Console, *, detector: Detector | None = None
) -> int:
    """Track what is not done yet, and score what has ground truth.

    `detector` finds the boxes instead of what the options name.
    """
    from tfsasm.experiments.results import claim_all
    from tfsasm.experiments.run import make_work

    refuse_foreign_options(options)
    label, spec = _tracker(options)
    experiment = make_experiment(options, {label: spec}, {label: options.output})
    settings = run_settings(options, experiment) | _tracker_settings(options, experiment)
    make_work(experiment, detector)  # what cannot begin takes no folder, and least empties one
    by_sequence = [IMAGES] if label == "appearance" else []
    todo = claim_all(
        experiment.folders, {label: settings}, experiment.tasks.keys(),
        overwrite=options.overwrite, by_sequence=by_sequence,
    )  # fmt: skip
    finished = run_experiment(options, replace(experiment, todo=todo), console, errors, detector)
    print_lines(console, *_run_lines(finished, label))
    if without := [name for name, task in experiment.tasks.items() if task.source is None]:
        print_lines(console, f"no images of {first_few(without)}: tracked by motion alone there, "
                    "without appearance or camera motion")  # fmt: skip
    if finished.interrupted:
        return INTERRUPTED
    _score(options, experiment, finished.failures, settings, console)
    return FAILED if finished.failures else OK


def make_experiment(
    options: ResultsOptions, trackers: Mapping[str, TrackerSpec], folders: Mapping[str, Path]
) -> Experiment:
    """The experiment of a command that tracks into a folder of results. Raises `InputError`."""
    from tfsasm.datasets.sequences import sequences
    from tfsasm.experiments.plan import DetectorSpec, Experiment, check_workers, make_tasks
    from tfsasm.tracking.config import preset

    check_workers(options.workers)
    if options.detections is not None and options.detector is not None:
        raise InputError("give --detections or --detector, not both")
    chosen = sequences(
        options.dataset, options.root, options.split, options.sequences, public=options.public
    )
    live = options.detector and DetectorSpec(
        options.detector, options.detector_weights, options.detector_score, options.detector_set
    )
    with_network = any(spec.needs_images for spec in trackers.values())
    without = [one.name for one in chosen if one.source is None and options.source is None]
    if without and (live or with_network):
        raise InputError(
            f"no images of {', '.join(without)}; choose others by --sequences, or give a single "
            "one its video by --source. From stored detections, --tracker appearance of tfsasm "
            "evaluate tracks by motion alone"
        )
    tasks = make_tasks(
        chosen, detections=options.detections, source=options.source, live=bool(live)
    )
    method = preset(options.preset)
    exact = method.exact and options.precision == "auto"
    form: dict[str, Any] = {}
    if with_network:  # a preset also decides how files are read and written
        form = {"first_id": method.first_id, "scores": method.scores, "order": method.order}
    return Experiment(
        tasks, trackers, folders, network_loader(options, exact=exact), embedder_loader(options),
        detector=live or None, device=options.device, skip_bad=options.skip_bad_detections, **form,
    )  # fmt: skip


def network_loader(options: NetworkOptions, *, exact: bool = False) -> Callable[[], Network]:
    """What loads the network that the options name, in this process or another."""
    from tfsasm.tracking.load import torch_network

    return partial(
        torch_network, options.weights, short_side=options.short_side, max_side=options.max_side,
        device=options.device, precision=options.precision, exact=exact,
    )  # fmt: skip


def embedder_loader(options: object) -> Callable[[], Embedder | None]:
    """What loads the embedder that the options name, if they do."""
    from tfsasm.tracking.appearance.embedders import embedder

    if not isinstance(options, EmbedderOptions):
        return embedder
    return partial(embedder, options.embedder, options.embedder_weights, options.embedder_set)


def run_experiment(
    options: ResultsOptions, experiment: Experiment, console: Console, errors: Console,
    detector: Detector | None,
) -> Run:
    """Run what is to do, with progress; failures are kept apart."""
    from tfsasm.experiments.pool import run_sequences
    from tfsasm.experiments.run import make_work

    tasks, todo = experiment.tasks, experiment.todo
    if done := len(tasks) - len(todo):
        print_lines(console, f"{done} of {len(tasks)} sequences are done already")
    lengths = {name: tasks[name].sequence.length for name in todo}
    make = partial(make_work, experiment, detector)
    with event_progress(errors, lengths, quiet=options.quiet) as show:
        return run_sequences(list(todo), make, lengths, options.workers, show)


def end_lines(run: Run) -> Iterator[str]:
    """What to print of every run that can be resumed: notes and failures."""
    for name, one in run.outcomes.items():
        yield from (f"note: {name}: {note}" for note in one.notes)
    for name, why in run.failures.items():
        yield f"failed: {name}: {why}"
    if run.interrupted:
        yield "stopped; what is finished is kept, and the same command goes on"


def run_settings(options: ResultsOptions, experiment: Experiment) -> dict[str, Any]:
    """What decides the content of result files, whatever the tracker; ready for JSON.

    Files are known by their content, so the same file elsewhere will do. Raises `InputError` for
    files that cannot be read.
    """
    from tfsasm.experiments.results import detections_setting, model_settings
    from tfsasm.pytorch import find_device

    boxes: dict[str, Any] = {"skip_bad": experiment.skip_bad}
    if live := experiment.detector:
        name, weights = model_settings(live.name, live.weights)
        boxes["detector"] = asdict(live) | {"name": name, "weights": weights}
    else:
        boxes["detections"] = detections_setting(options.detections)
    return {
        "tfsasm": __version__,
        "dataset": options.dataset, "root": str(options.root.resolve()), "public": options.public,
        "source": None if options.source is None else str(options.source.resolve()),
        "device": find_device(options.device).type, **boxes,
    }  # fmt: skip


def query_settings(options: MethodOptions) -> dict[str, Any]:
    """The same for the query tracker alone."""
    from tfsasm.experiments.results import digest
    from tfsasm.tracking.load import embedded

    tiny = options.weights == "tiny"
    weights = digest(embedded("tiny") if tiny else Path(options.weights))
    return {
        "tracker": "query", "weights": f"tiny, {weights}" if tiny else weights,
        "preset": options.preset, "method": asdict(query_config(options)),
        "short_side": options.short_side, "max_side": options.max_side,
        "precision": options.precision,
    }  # fmt: skip


def _tracker(options: Options) -> tuple[str, TrackerSpec]:
    from tfsasm.tracking.named import AppearanceSpec, QuerySpec

    if options.tracker == "appearance":
        return options.tracker, AppearanceSpec(appearance_config(options))
    return options.tracker, QuerySpec(query_config(options))


def _tracker_settings(options: Options, experiment: Experiment) -> dict[str, Any]:
    """Those of the tracker. For the appearance tracker it counts which sequences have images."""
    from tfsasm.experiments.results import model_settings
    from tfsasm.tracking.appearance.embedders import default_name

    if options.tracker == "query":
        return query_settings(options)
    name = options.embedder or default_name(options.embedder_weights)
    embedder, weights = model_settings(name, options.embedder_weights)
    return {
        "tracker": "appearance", "method": asdict(appearance_config(options)),
        "embedder": embedder, "embedder_weights": weights,
        "embedder_set": list(options.embedder_set),
        IMAGES: {name: task.source is not None for name, task in experiment.tasks.items()},
    }  # fmt: skip


def _run_lines(run: Run, label: str) -> Iterator[str]:
    for name, one in run.outcomes.items():
        rate = one.frames / one.elapsed if one.elapsed else 0.0
        identities = f"{one.identities[label]} identities"
        yield f"{name}: {one.frames} frames, {identities}, {rate:.1f} frames per second"
    yield from end_lines(run)


def _score(
    options: Options, experiment: Experiment, failures: Mapping[str, str],
    settings: Mapping[str, Any], console: Console,
) -> None:
    """Score what has ground truth and a result, into the folder and onto the screen."""
    from tfsasm.evaluation.result_files import SCORES
    from tfsasm.evaluation.score import lines, score_files, to_json
    from tfsasm.evaluation.tables import report_table
    from tfsasm.files import write_text

    [with_truth] = experiment.files().values()
    files = {name: one for name, one in with_truth.items() if name not in failures}
    if not files:
        print_lines(console, "nothing to score: no finished sequence has ground truth")
        return
    scored = score_files(files, options.dataset, allow_missing=True, problems={
        name: f"it was not tracked: {why}" for name, why in failures.items() if name in with_truth
    })  # fmt: skip
    path = options.output / SCORES
    write_text(path, json.dumps({**to_json(scored), "settings": settings}, indent=2) + "\n")
    console.print(report_table(scored.report))
    print_lines(console, *lines(scored), f"wrote {path}")
