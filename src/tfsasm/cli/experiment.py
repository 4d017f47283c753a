"""What `evaluate`, `ablate` and `compare` share: an experiment of the options, run and scored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from tfsasm import __version__
from tfsasm.cli.options import (
    DatasetOptions,
    EmbedderOptions,
    NetworkOptions,
    ResultsOptions,
    TrackerOptions,
    make_engine,
)
from tfsasm.cli.progress import event_progress, print_lines
from tfsasm.datasets.sequences import Sequence as DatasetSequence
from tfsasm.datasets.sequences import sequences
from tfsasm.detection import detectors
from tfsasm.detection.detectors import Detector
from tfsasm.errors import InputError
from tfsasm.evaluation.score import Scored, check_classes
from tfsasm.experiments.plan import Experiment, make_tasks
from tfsasm.experiments.pool import Run, Work, run_sequences
from tfsasm.experiments.results import (
    claim_all,
    detections_setting,
    digest,
    model_settings,
    score_all,
)
from tfsasm.experiments.run import Loaded, Outcome, load, make_work
from tfsasm.files import check_folder, locked
from tfsasm.runtime.network import Network
from tfsasm.tracking.appearance.embedders import Embedder, default_name, embedder
from tfsasm.tracking.config import preset
from tfsasm.tracking.load import PACKAGED, embedded, load_network
from tfsasm.tracking.named import QuerySpec, TrackerSpec

COLUMNS = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW")
"""Scores for which a table of several trackers has room."""


def chosen_sequences(options: DatasetOptions) -> Sequence[DatasetSequence]:
    """The sequences that the options name. Raises `InputError`, also for a bad engine."""
    make_engine(options)
    check_classes(options.dataset, options.classes)
    return sequences(
        options.dataset, options.root, options.split, options.sequences, public=options.public
    )


def make_experiment(
    options: ResultsOptions, trackers: Mapping[str, TrackerSpec], folders: Mapping[str, Path],
    *, finds_objects: bool = False,
) -> Experiment:
    """The experiment of a command that tracks into a folder of results. Raises `InputError`.

    With a network that finds objects itself there are no detections.
    """
    chosen = chosen_sequences(options)
    if options.detections is not None and options.detector is not None:
        raise InputError("give --detections or --detector, not both")
    live = detector_loader(options)
    with_network = any(spec.needs_images for spec in trackers.values())
    without = [one.name for one in chosen if one.source is None and options.source is None]
    if without and (live or with_network):
        raise InputError(
            f"no images of {', '.join(without)}; choose others by --sequences, or give a single "
            "one its video by --source. From stored detections, --tracker appearance of tfsasm "
            "evaluate tracks by motion alone, and so do sort, bytetrack, ocsort, botsort and cbiou"
        )
    tasks = make_tasks(
        chosen, detections=options.detections, source=options.source,
        live=live is not None or finds_objects,
        second_half=options.second_half,
    )  # fmt: skip
    method = preset(options.preset)
    exact = method.exact and options.precision == "auto"
    return Experiment(
        tasks, trackers, folders, network_loader(options, exact=exact), embedder_loader(options),
        detector=live, skip_bad=options.skip_bad_detections,
        form=method if with_network else preset("default"),
        categories=options.dataset == "bdd100k",
    )  # fmt: skip


def network_loader(options: NetworkOptions, *, exact: bool = False) -> Callable[[], Network]:
    """What loads the network that the options name, in this process or another."""
    return partial(
        load_network, options.weights, short_side=options.short_side, max_side=options.max_side,
        device=options.device, precision=options.precision, exact=exact,
    )  # fmt: skip


def detector_loader(options: ResultsOptions) -> Callable[[], Detector] | None:
    """What loads the detector that the options name, if they do. Raises `InputError`."""
    if not options.detector:
        return None
    settings = detectors.default_settings(
        options.detector, score_threshold=options.detector_score, device=options.device,
        changes=options.detector_set,
    )  # fmt: skip
    return partial(detectors.detector, options.detector, options.detector_weights, settings)


def embedder_loader(options: object) -> Callable[[], Embedder | None]:
    """What loads the embedder that the options name, if they do."""
    if not isinstance(options, EmbedderOptions):
        return embedder
    return partial(embedder, options.embedder, options.embedder_weights, options.embedder_set)


def resume(
    options: ResultsOptions, experiment: Experiment, settings: Mapping[str, Mapping[str, Any]],
    describe: Callable[[Outcome], str], console: Console, errors: Console,
    detector: Detector | None,
) -> Run:
    """Claim the folder of each tracker by its `settings`, and run what has no result in it yet.

    Prints each sequence as `describe` has it, then notes and failures. Nothing is claimed, and
    least of all emptied, for what cannot begin, or while another process writes there. Raises
    `InputError`.
    """
    loaded = load(experiment, detector)
    by_sequence = [
        name for name, value in next(iter(settings.values())).items()
        if name in ("detections", "images") and isinstance(value, dict)
    ]  # fmt: skip
    with locked(check_folder(options.output)):
        todo = claim_all(
            experiment.folders, settings, experiment.tasks.keys(), overwrite=options.overwrite,
            by_sequence=by_sequence,
        )  # fmt: skip
        if done := len(experiment.tasks) - len(todo):
            print_lines(console, f"{done} of {len(experiment.tasks)} sequences are done already")
        run = run_experiment(options, replace(experiment, todo=todo), errors, detector, loaded)
    done_now = run.outcomes.items()
    print_lines(
        console, *(f"{name}: {describe(one)}" for name, one in done_now),
        *(f"note: {name}: {note}" for name, one in done_now for note in one.notes),
        *(f"failed: {name}: {why}" for name, why in run.failures.items()),
    )  # fmt: skip
    if run.interrupted:
        print_lines(console, "stopped; what is finished is kept, and the same command goes on")
    return run


def run_experiment(
    options: DatasetOptions, experiment: Experiment, errors: Console,
    detector: Detector | None = None, loaded: Loaded | None = None,
) -> Run:
    """Run what is to do, with progress; failures are kept apart.

    What is `loaded` in this process already serves here; other processes load their own.
    """
    names = experiment.tasks if experiment.todo is None else experiment.todo
    lengths = {name: experiment.tasks[name].sequence.length for name in names}
    files = [getattr(options, f"{part}weights", None) for part in ("", "detector_", "embedder_")]
    engine = make_engine(options, (Path(file) for file in files if file not in (None, *PACKAGED)))
    make: Callable[[], Work] = partial(make_work, experiment, detector)
    if loaded and engine.workers == 1:
        make = partial(partial, loaded, experiment)
    with event_progress(errors, lengths, quiet=options.quiet) as show:
        return run_sequences(
            list(lengths), make, lengths, engine, show, checked=loaded is not None
        )


def score_trackers(
    options: DatasetOptions, experiment: Experiment, failures: Mapping[str, str], errors: Console
) -> dict[str, Scored]:
    """The scores of each tracker on the sequences of which all have a valid result."""
    files = experiment.files()
    counts = {label: len(each) for label, each in files.items()}
    with event_progress(errors, counts, "scoring", quiet=options.quiet) as show:
        return score_all(
            files, options.dataset, failures, options.count(), show, classes=options.classes
        )


def settings_of(
    options: ResultsOptions, spec: TrackerSpec, experiment: Experiment
) -> dict[str, Any]:
    """What decides the content of the result files of a tracker; ready for JSON.

    Files are known by their content, so the same file elsewhere will do. Of others than the query
    tracker it counts which sequences have images. Raises `InputError` for files that cannot be
    read.
    """
    about: dict[str, Any] = {
        "tfsasm": __version__,
        "dataset": options.dataset, "root": str(options.root.resolve()), "public": options.public,
        "source": None if options.source is None else str(options.source.resolve()),
        "device": _device(options), "skip_bad": experiment.skip_bad,
    }  # fmt: skip
    if options.detector:
        name, weights = model_settings(options.detector, options.detector_weights)
        about["detector"] = {
            "name": name, "weights": weights, "score": options.detector_score,
            "changes": options.detector_set,
        }  # fmt: skip
    else:
        tasks = experiment.tasks.items()
        found = {name: task.detections for name, task in tasks if task.detections}
        about["detections"] = detections_setting(options.detections, found)
    if options.second_half:
        about["second_half"] = True
    if isinstance(spec, QuerySpec):
        name = options.weights
        ours = name in PACKAGED
        weights = digest(embedded(name) if ours else Path(name))
        return about | {
            "tracker": "query", "weights": f"{name}, {weights}" if ours else weights,
            "preset": options.preset, "method": spec.parameters(),
            "short_side": options.short_side, "max_side": options.max_side,
            "precision": options.precision,
        }  # fmt: skip
    if isinstance(options, TrackerOptions):
        about |= {"tracker": options.tracker, "method": spec.parameters()}
        if options.tracker == "appearance":
            given = options.embedder or default_name(options.embedder_weights)
            name, weights = model_settings(given, options.embedder_weights)
            about |= {
                "embedder": name, "embedder_weights": weights,
                "embedder_set": list(options.embedder_set),
            }  # fmt: skip
    images = {name: task.source is not None for name, task in experiment.tasks.items()}
    return about | {"images": images}


def _device(options: ResultsOptions) -> str:
    """The kind of device of the workers, which may be of other machines."""
    from tfsasm.pytorch import find_device

    if options.engine == "ray":
        return "cuda" if options.gpus_per_worker else "cpu"
    return find_device(options.device).type
