"""`tfsasm compare`: trackers on the same frames and detections, scored by the same rules."""

from __future__ import annotations

import json
import platform
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console

from tfsasm.cli import FAILED, INTERRUPTED, OK
from tfsasm.cli.evaluate import embedder_loader, network_loader
from tfsasm.cli.options import (
    DatasetOptions,
    EmbedderOptions,
    NetworkOptions,
    OptionalFile,
    WorkerOptions,
)
from tfsasm.cli.progress import event_progress, print_lines
from tfsasm.errors import InputError, first_few

if TYPE_CHECKING:
    from tfsasm.evaluation.metrics import Report
    from tfsasm.evaluation.score import Scored
    from tfsasm.experiments.plan import Experiment
    from tfsasm.experiments.pool import Run

COMPARED = "tfsasm,motrv2,bytetrack,ocsort,sort,botsort,cbiou"

_COLUMNS = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW")

_PACKAGES = ("tfsasm", "torch", "trackers", "trackeval", "numpy")


@dataclass(frozen=True, kw_only=True)
class Options(WorkerOptions, NetworkOptions, EmbedderOptions, DatasetOptions):
    """Run trackers on the same frames and the same detections, and score them by the same rules.

    The classic ones come from the package `trackers`. Without images only those run, and
    `appearance` by motion alone.

    Example: tfsasm compare --root clips --trackers tfsasm,motrv2,sort,ocsort --json comparison.json
    """

    trackers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME,NAME")] = (COMPARED,)
    """Which: appearance, motion (the same without embeddings), tfsasm (the default preset), another
    preset (default, released, paper, motrv2), or sort, bytetrack, ocsort, botsort, cbiou. Each may
    have settings: appearance:kind=ema, default:capacity=0 or ocsort:lost_track_buffer=60. The first
    is what the others are compared with."""
    no_images: bool = False
    """Use no images, also where there are some."""
    second_half: bool = False
    """The sequences are second halves, as ByteTrack's tools cut MOT17, and the detections those of
    whole videos: frame k is frame n//2+1+k of n."""
    min_score: float = 0.1
    """Detections below this score are left out."""
    json: OptionalFile = None
    """Write scores, speed, parameters and gains here."""
    csv: OptionalFile = None
    """Write the scores as a table: a line per tracker and sequence."""
    plot: OptionalFile = None
    """Draw HOTA over milliseconds per frame: .png, .pdf or .svg."""
    output: OptionalFile = None
    """Folder for the result files, as TRACKER/NAME.txt."""
    workers: int = 1
    """Processes; each tracks a sequence at a time. More than the machine has cores distort the
    speed."""
    overwrite: bool = False
    """Replace output files that exist."""


@dataclass(frozen=True)
class Comparison:
    """What a comparison came to."""

    experiment: Experiment
    skipped: dict[str, str]
    """Trackers that did not take part, and why."""
    run: Run
    scored: dict[str, Scored]

    @property
    def reports(self) -> dict[str, Report]:
        """The scores by tracker."""
        return {label: one.report for label, one in self.scored.items()}

    @property
    def left_out(self) -> dict[str, str]:
        """Sequences that are not scored, and why; the same for all trackers."""
        return dict(next(iter(self.scored.values())).left_out)

    @property
    def milliseconds(self) -> dict[str, float]:
        """Per frame, by tracker."""
        done = self.run.outcomes.values()
        frames = sum(one.frames for one in done)
        return {
            label: 1000 * sum(one.seconds[label] for one in done) / frames
            for label in self.experiment.trackers
        }


def run(options: Options, console: Console, errors: Console) -> int:
    """Track every sequence with every tracker, and score the results."""
    from tfsasm.evaluation.significance import differences
    from tfsasm.evaluation.tables import differences_table
    from tfsasm.experiments.pool import run_sequences
    from tfsasm.experiments.run import make_work
    from tfsasm.experiments.scoring import score_all

    _check_outputs(options)
    with ExitStack() as stack:
        place = options.output or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        experiment, skipped = _make_experiment(options, place)
        lengths = {name: task.sequence.length for name, task in experiment.tasks.items()}
        make = partial(make_work, experiment)
        with event_progress(errors, lengths, quiet=options.quiet) as show:
            finished = run_sequences(list(lengths), make, lengths, options.workers, show)
        if finished.interrupted:
            print_lines(console, "stopped; nothing is scored")
            return INTERRUPTED
        if not finished.outcomes:
            why = next(iter(finished.failures.values()))
            raise InputError(f"no sequence could be tracked: {why}")
        files = experiment.files()
        counts = {label: len(each) for label, each in files.items()}
        with event_progress(errors, counts, "scoring", quiet=options.quiet) as show:
            scored = score_all(files, options.dataset, finished.failures, options.workers, show)
    comparison = Comparison(experiment, skipped, finished, scored)
    _write(options, comparison)
    console.print(_table(options, comparison))
    if len(scored) > 1:
        console.print(differences_table(differences(comparison.reports)))
    print_lines(console, *_lines(options, comparison))
    return FAILED if finished.failures else OK


def _make_experiment(options: Options, place: Path) -> tuple[Experiment, dict[str, str]]:
    """Everything that can be refused before any work, and the trackers that cannot take part.

    `place` is the folder of the result files. Raises `InputError`.
    """
    from tfsasm.datasets.sequences import sequences
    from tfsasm.experiments.plan import (
        Experiment,
        check_workers,
        make_folders,
        make_tasks,
        without_images,
    )
    from tfsasm.tracking.named import parse_trackers

    check_workers(options.workers)
    named = parse_trackers(options.trackers)
    chosen = sequences(
        options.dataset, options.root, options.split, options.sequences, public=options.public
    )
    if without := [one.name for one in chosen if one.truth is None]:
        raise InputError(f"no ground truth of {first_few(without)}; choose others by --sequences")
    images = not options.no_images
    trackers, skipped = without_images(named, chosen, options.source, images=images)
    images = images and any(spec.uses_images for spec in trackers.values())
    tasks = make_tasks(
        chosen, detections=options.detections, source=options.source, images=images,
        second_half=options.second_half,
    )  # fmt: skip
    folders = make_folders(place, list(trackers), overwrite=options.overwrite)
    experiment = Experiment(
        tasks, trackers, folders, network_loader(options), embedder_loader(options),
        min_score=options.min_score, skip_bad=options.skip_bad_detections,
        timed=True, in_pixels=True, strict_length=True,
    )  # fmt: skip
    return experiment, skipped


def _table(options: Options, comparison: Comparison) -> Any:
    from tfsasm.evaluation.tables import scores_table

    reports = comparison.reports
    count = len(next(iter(reports.values())).sequences)
    frames = sum(one.frames for one in comparison.run.outcomes.values())
    noun = "sequence" if count == 1 else "sequences"
    title = f"{count} {noun}, {frames} frames, boxes of score {options.min_score:g} and more"
    times = {label: f"{spent:.2f}" for label, spent in comparison.milliseconds.items()}
    rows = {label: report.combined for label, report in reports.items()}
    return scores_table(
        rows, label="tracker", title=title, columns=_COLUMNS, more={"ms/frame": times}
    )


def _lines(options: Options, comparison: Comparison) -> list[str]:
    """What to print below the tables."""

    experiment, run, scored = comparison.experiment, comparison.run, comparison.scored
    lines = [f"scored by the rules of {options.dataset}; detections are found beforehand and take "
             "no time"]  # fmt: skip
    lines += [f"not run: {label}: {why}" for label, why in comparison.skipped.items()]
    without = [name for name, task in experiment.tasks.items() if task.source is None]
    lines += [
        f"{label} had no images of {first_few(without)}, so no camera motion"
        for label, spec in experiment.trackers.items() if without and spec.uses_images
    ]  # fmt: skip
    notes = [f"note: {name}: {note}" for name, one in run.outcomes.items() for note in one.notes]
    notes += [f"note: {name}: {note}" for name, one in scored.items() for note in one.notes]
    lines += dict.fromkeys(notes)
    lines += [f"left out: {name}: {why}" for name, why in comparison.left_out.items()]
    written = (options.json, options.csv, options.plot, options.output)
    return lines + [f"wrote {path}" for path in written if path]


def _write(options: Options, comparison: Comparison) -> None:
    from tfsasm.evaluation.plots import plot_tradeoff
    from tfsasm.evaluation.tables import reports_csv
    from tfsasm.files import write_text

    times, reports = comparison.milliseconds, comparison.reports
    if options.json:
        write_text(options.json, json.dumps(_to_json(options, comparison), indent=2) + "\n")
    if options.csv:
        about = {label: {"ms_per_frame": round(spent, 4)} for label, spent in times.items()}
        write_text(options.csv, reports_csv(reports, about))
    if options.plot:
        points = {label: (times[label], report.combined.HOTA) for label, report in reports.items()}
        title = f"{options.dataset}, {len(comparison.run.outcomes)} sequences"
        plot_tradeoff(points, options.plot, title)


def _to_json(options: Options, comparison: Comparison) -> dict[str, Any]:
    """Everything needed to read the table, and to make it again."""
    from tfsasm.evaluation.significance import differences

    given, experiment = options.detections, comparison.experiment
    return {
        "dataset": options.dataset, "root": str(options.root), "split": options.split,
        "detections": "beside each sequence" if given is None else str(given),
        "min_score": options.min_score, "second_half": options.second_half,
        "weights": options.weights, "precision": options.precision, "workers": options.workers,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "sequences": {
            name: {
                "frames": task.sequence.length,
                "images": None if task.source is None else str(task.source),
            }
            for name, task in experiment.tasks.items()
        },
        "left_out": comparison.left_out,
        "skipped": comparison.skipped,
        "trackers": {
            label: {
                "parameters": experiment.trackers[label].parameters(),
                "ms_per_frame": round(comparison.milliseconds[label], 4),
                **report.to_json(),
            }
            for label, report in comparison.reports.items()
        },
        "gains": [gain.to_json() for gain in differences(comparison.reports)],
    }  # fmt: skip


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _check_outputs(options: Options) -> None:
    """Refuse before any work what could not be written after it."""
    from tfsasm.evaluation.plots import check_plot
    from tfsasm.files import check_outputs

    outputs = (options.json, options.csv, options.plot)
    check_outputs(outputs, overwrite=options.overwrite)
    if options.plot:
        check_plot(options.plot)
