"""`tfsasm compare`: trackers on the same frames and the same boxes, scored by the same rules."""

from __future__ import annotations

import json
import platform
import re
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tfsasm.datasets.sequences import Sequence, sequences
from tfsasm.errors import InputError
from tfsasm.evaluation.metrics import Report
from tfsasm.evaluation.plots import check_plot, plot_tradeoff
from tfsasm.evaluation.result_files import Files, result_file
from tfsasm.evaluation.score import Scored
from tfsasm.evaluation.significance import differences
from tfsasm.evaluation.tables import differences_table, reports_csv, scores_table
from tfsasm.experiments.plan import (
    Task,
    _second_half,
    _with_pictures,
    check_shared,
    find_detections,
)
from tfsasm.experiments.pool import Run, run_sequences, some
from tfsasm.experiments.run import Plan, make_work
from tfsasm.experiments.scoring import score_all
from tfsasm.files import check_folder, check_output, write_text
from tfsasm.tracking.named import QuerySpec, parse_trackers

if TYPE_CHECKING:
    from tfsasm.cli import compare

OK, FAILED, INTERRUPTED = 0, 1, 130

_COLUMNS = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW")

_PACKAGES = ("tfsasm", "torch", "trackers", "trackeval", "numpy")


@dataclass(frozen=True)
class Comparison:
    """What there is to tell."""

    plan: Plan
    skipped: dict[str, str]
    """Trackers that did not take part, and why."""
    run: Run
    scored: dict[str, Scored]

    @property
    def reports(self) -> dict[str, Report]:
        """The scores by tracker."""
        return {label: one.report for label, one in self.scored.items()}

    @property
    def milliseconds(self) -> dict[str, float]:
        """Per frame, by tracker."""
        done = self.run.outcomes.values()
        frames = sum(one.frames for one in done)
        return {
            label: 1000 * sum(one.seconds[label] for one in done) / frames
            for label in self.plan.trackers
        }


def run_comparison(job: compare.Compare, console: Console, errors: Console) -> int:
    """Track every sequence with every tracker, score, and tell."""
    _check_outputs(job)
    say = partial(console.print, soft_wrap=True, highlight=False, markup=False)
    with ExitStack() as stack:
        place = job.output or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        plan, skipped = make_plan(job, place)
        lengths = {name: task.sequence.length for name, task in plan.tasks.items()}
        make = partial(make_work, plan)
        run = run_sequences(
            list(lengths), make, lengths, job.workers, errors, quiet=job.quiet
        )
        if run.interrupted:
            say("stopped; nothing is scored")
            return INTERRUPTED
        if not run.outcomes:
            raise InputError(f"no sequence could be tracked: {next(iter(run.failures.values()))}")
        scored = score_all(
            _files(plan), job.dataset, run.failures, job.workers, errors, quiet=job.quiet
        )
    found = Comparison(plan, skipped, run, scored)
    _write(job, found)
    console.print(_table(job, found))
    if len(scored) > 1:
        console.print(differences_table(differences(found.reports)))
    for line in _lines(job, found):
        say(line)
    return FAILED if run.failures else OK


def make_plan(job: compare.Compare, place: Path) -> tuple[Plan, dict[str, str]]:
    """Everything that can be refused before any work, and the trackers that cannot take part.

    `place` is the folder of the result files. Raises `InputError`.
    """
    if job.workers < 1:
        raise InputError(f"workers is {job.workers}; give 1 or more")
    entrants = parse_trackers(job.trackers)
    chosen = sequences(job.dataset, job.root, job.split, job.sequences, public=job.public)
    if without := [one.name for one in chosen if one.truth is None]:
        raise InputError(f"no ground truth of {some(without)}; choose others by --sequences")
    check_shared(job.detections, len(chosen))
    entrants, skipped = _with_pictures(job, entrants, chosen)
    looks = any(isinstance(one, QuerySpec) or one.looks for one in entrants.values())
    plan = Plan(
        tasks={one.name: _task(job, one, looks=looks) for one in chosen},
        trackers=entrants, folders=_folders(place, entrants, overwrite=job.overwrite),
        network=job, embedding=job, min_score=job.min_score, skip_bad=job.skip_bad_detections,
    )  # fmt: skip
    return plan, skipped


def _task(job: compare.Compare, one: Sequence, *, looks: bool) -> Task:
    source = (job.source or one.source) if looks and not job.no_images else None
    boxes = find_detections(job.detections, one)
    return Task(one, source, boxes, _second_half(boxes, one) if job.second_half else 1)


def _folders(place: Path, labels: Mapping[str, object], *, overwrite: bool) -> dict[str, Path]:
    """A folder for each tracker's result files. Raises `InputError` for files that are there."""
    folders = {label: place / re.sub(r"[^\w.,=-]", "_", label) for label in labels}
    if len(set(folders.values())) < len(folders):
        raise InputError(f"two trackers would share a folder: {', '.join(labels)}")
    for folder in folders.values():
        check_folder(folder)
        if not overwrite and any(folder.glob("*.txt")):
            raise InputError(f"{folder} has results; give another --output or --overwrite")
    return folders


def _files(plan: Plan) -> dict[str, dict[str, Files]]:
    """By tracker, what each sequence is scored from."""
    return {
        label: {
            name: Files(truth, result_file(folder, name), task.sequence.length)
            for name, task in plan.tasks.items() if (truth := task.sequence.truth)
        }
        for label, folder in plan.folders.items()
    }  # fmt: skip


def _table(job: compare.Compare, found: Comparison) -> Any:
    count = len(next(iter(found.scored.values())).report.sequences)
    frames = sum(one.frames for one in found.run.outcomes.values())
    noun = "sequence" if count == 1 else "sequences"
    title = f"{count} {noun}, {frames} frames, boxes of score {job.min_score:g} and more"
    times = {label: f"{spent:.2f}" for label, spent in found.milliseconds.items()}
    rows = {label: report.combined for label, report in found.reports.items()}
    return scores_table(
        rows, label="tracker", title=title, columns=_COLUMNS, more={"ms/frame": times}
    )


def _lines(job: compare.Compare, found: Comparison) -> list[str]:
    """What to say below the tables."""
    told = [f"scored by the rules of {job.dataset}; boxes are found beforehand and take no time"]
    told += [f"not run: {label}: {why}" for label, why in found.skipped.items()]
    blind = [name for name, task in found.plan.tasks.items() if task.source is None]
    told += [
        f"{label} saw no pictures of {some(blind)}, so it knows no camera motion"
        for label, one in found.plan.trackers.items()
        if blind and not isinstance(one, QuerySpec) and one.looks
    ]
    notes = {
        f"note: {name}: {note}": None
        for name, one in found.run.outcomes.items() for note in one.notes
    }  # fmt: skip
    notes |= {f"note: {k}: {note}": None for k, one in found.scored.items() for note in one.notes}
    told += list(notes)
    left_out = next(iter(found.scored.values())).left_out
    told += [f"left out: {name}: {why}" for name, why in left_out.items()]
    written = (job.json, job.csv, job.plot, job.output)
    return told + [f"wrote {path}" for path in written if path]


def _write(job: compare.Compare, found: Comparison) -> None:
    times = found.milliseconds
    if job.json:
        write_text(job.json, json.dumps(_to_json(job, found), indent=2) + "\n")
    if job.csv:
        about = {label: {"ms_per_frame": round(spent, 4)} for label, spent in times.items()}
        write_text(job.csv, reports_csv(found.reports, about))
    if job.plot:
        points = {k: (times[k], report.combined.HOTA) for k, report in found.reports.items()}
        plot_tradeoff(points, job.plot, f"{job.dataset}, {len(found.run.outcomes)} sequences")


def _to_json(job: compare.Compare, found: Comparison) -> dict[str, Any]:
    """Everything needed to read the table, and to make it again."""
    return {
        "dataset": job.dataset, "root": str(job.root), "split": job.split,
        "detections": "beside each sequence" if job.detections is None else str(job.detections),
        "min_score": job.min_score, "second_half": job.second_half,
        "weights": job.weights, "precision": job.precision, "workers": job.workers,
        "python": platform.python_version(), "versions": _versions(),
        "sequences": {
            name: {
                "frames": task.sequence.length,
                "pictures": None if task.source is None else str(task.source),
            }
            for name, task in found.plan.tasks.items()
        },
        "left_out": next(iter(found.scored.values())).left_out,
        "skipped": found.skipped,
        "trackers": {
            label: {
                "parameters": found.plan.trackers[label].parameters(),
                "ms_per_frame": round(found.milliseconds[label], 4),
                **report.to_json(),
            }
            for label, report in found.reports.items()
        },
        "gains": [gain.to_json() for gain in differences(found.reports)],
    }  # fmt: skip


def _versions() -> dict[str, str | None]:
    return {name: _version(name) for name in _PACKAGES}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _check_outputs(job: compare.Compare) -> None:
    """Refuse before any work what could not be written after it."""
    outputs = [path for path in (job.json, job.csv, job.plot) if path]
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise InputError("two outputs have the same name; give each its own")
    for path in outputs:
        check_output(path, overwrite=job.overwrite)
    if job.plot:
        check_plot(job.plot)
