"""`tfsasm compare`: trackers on the same frames and detections, scored by the same rules."""

from __future__ import annotations

import platform
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console

from tfsasm.cli import FAILED, INTERRUPTED, OK
from tfsasm.cli.options import DatasetOptions, EmbedderOptions, NetworkOptions
from tfsasm.cli.progress import print_lines
from tfsasm.errors import InputError, first_few
from tfsasm.files import check_folder, check_outputs, locked, write_json, write_text

if TYPE_CHECKING:
    from tfsasm.experiments.plan import Experiment

COMPARED = "tfsasm,motrv2,bytetrack,ocsort,sort,botsort,cbiou"

_PACKAGES = ("tfsasm", "torch", "trackers", "trackeval", "numpy")


@dataclass(frozen=True, kw_only=True)
class Options(NetworkOptions, EmbedderOptions, DatasetOptions):
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
    min_score: float = 0.1
    """Detections below this score are left out."""
    json: Path | None = None
    """Write scores, speed, parameters and gains here."""
    csv: Path | None = None
    """Write the scores as a table: a line per tracker and sequence."""
    plot: Path | None = None
    """Draw HOTA over milliseconds per frame: .png, .pdf or .svg."""
    output: Path | None = None
    """Folder for the result files, as TRACKER/NAME.txt."""
    workers: int | None = None
    """Processes; each tracks a sequence at a time. By default one, and with --engine ray as many as
    the cluster has room for. More than a machine has cores distort the speed."""
    overwrite: bool = False
    """Replace output files that exist."""


def run(options: Options, console: Console, errors: Console) -> int:
    """Track every sequence with every tracker, and score the results."""
    from tfsasm.cli.experiment import COLUMNS, run_experiment, score_trackers
    from tfsasm.evaluation.plots import check_plot, plot_tradeoff
    from tfsasm.evaluation.significance import differences
    from tfsasm.evaluation.tables import differences_table, reports_csv, scores_table

    outputs = (options.json, options.csv, options.plot)
    check_outputs(outputs, overwrite=options.overwrite)
    check_plot(options.plot)
    with ExitStack() as stack:
        place = options.output or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        experiment, skipped = _make_experiment(options, place)
        stack.enter_context(locked(check_folder(place)))
        finished = run_experiment(options, experiment, errors)
        if finished.interrupted:
            print_lines(console, "stopped; nothing is scored")
            return INTERRUPTED
        if not finished.outcomes:
            why = next(iter(finished.failures.values()))
            raise InputError(f"no sequence could be tracked: {why}")
        scored = score_trackers(options, experiment, finished.failures, errors)
    reports = {label: one.report for label, one in scored.items()}
    done = finished.outcomes.values()
    frames = sum(one.frames for one in done)
    times = {
        label: round(1000 * sum(one.seconds[label] for one in done) / frames, 4)
        for label in reports
    }
    gains = differences(reports)
    left_out = next(iter(scored.values())).left_out  # the same of all trackers

    if options.json:
        write_json(options.json, {
            **_about(options, experiment), "left_out": left_out, "skipped": skipped,
            "trackers": {
                label: {
                    "parameters": experiment.trackers[label].parameters(),
                    "ms_per_frame": times[label], **report.to_json(),
                }
                for label, report in reports.items()
            },
            "gains": [gain.to_json() for gain in gains],
        })  # fmt: skip
    if options.csv:
        about = {label: {"ms_per_frame": spent} for label, spent in times.items()}
        write_text(options.csv, reports_csv(reports, about))
    if options.plot:
        points = {label: (times[label], report.combined.HOTA) for label, report in reports.items()}
        plot_tradeoff(points, options.plot, f"{options.dataset}, {len(done)} sequences")

    count = len(next(iter(reports.values())).sequences)
    noun = "sequence" if count == 1 else "sequences"
    console.print(scores_table(
        {label: report.combined for label, report in reports.items()}, label="tracker",
        title=f"{count} {noun}, {frames} frames, boxes of score {options.min_score:g} and more",
        columns=COLUMNS,
        more={"ms/frame": {label: f"{spent:.2f}" for label, spent in times.items()}},
    ))  # fmt: skip
    if gains:
        console.print(differences_table(gains))
    lines = [f"scored by the rules of {options.dataset}; detections are found beforehand and take "
             "no time"]  # fmt: skip
    lines += [f"not run: {label}: {why}" for label, why in skipped.items()]
    without = [name for name, task in experiment.tasks.items() if task.source is None]
    lines += [
        f"{label} had no images of {first_few(without)}, so no camera motion"
        for label, spec in experiment.trackers.items() if without and spec.uses_images
    ]  # fmt: skip
    noted = [*finished.outcomes.items(), *scored.items()]
    lines += dict.fromkeys(f"note: {name}: {note}" for name, one in noted for note in one.notes)
    lines += [f"left out: {name}: {why}" for name, why in left_out.items()]
    lines += [f"wrote {path}" for path in (*outputs, options.output) if path]
    print_lines(console, *lines)
    return FAILED if finished.failures else OK


def _make_experiment(options: Options, place: Path) -> tuple[Experiment, dict[str, str]]:
    """Everything that can be refused before any work, and the trackers that cannot take part.

    `place` is the folder of the result files. Raises `InputError`.
    """
    from tfsasm.cli.experiment import chosen_sequences, embedder_loader, network_loader
    from tfsasm.experiments.plan import Experiment, make_folders, make_tasks, without_images
    from tfsasm.tracking.named import parse_trackers

    named = parse_trackers(options.trackers)
    chosen = chosen_sequences(options)
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
        comparison=True, categories=options.dataset == "bdd100k",
    )  # fmt: skip
    return experiment, skipped


def _about(options: Options, experiment: Experiment) -> dict[str, Any]:
    """What is needed to make the table again."""
    given = options.detections
    return {
        "dataset": options.dataset, "root": str(options.root), "split": options.split,
        "detections": "beside each sequence" if given is None else str(given),
        "min_score": options.min_score, "second_half": options.second_half,
        "weights": options.weights, "precision": options.precision,
        "engine": options.engine, "workers": options.workers,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "sequences": {
            name: {
                "frames": task.sequence.length,
                "images": None if task.source is None else str(task.source),
            }
            for name, task in experiment.tasks.items()
        },
    }  # fmt: skip


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
