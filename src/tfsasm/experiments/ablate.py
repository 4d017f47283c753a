"""`tfsasm ablate`: a data set under every combination of some settings.

What `evaluate` would do for each of them, and the same files; but the network sees each frame once.
A folder of results per combination is what a run resumes from, so a grid may also grow.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import combinations as combinations_of
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from tfsasm.cli.chosen import open_network
from tfsasm.cli.options import method_of
from tfsasm.detection.detectors import Detector
from tfsasm.errors import InputError
from tfsasm.evaluation.metrics import Report
from tfsasm.evaluation.plots import Slice, plot_slices
from tfsasm.evaluation.result_files import Files, result_file
from tfsasm.evaluation.score import Scored
from tfsasm.evaluation.significance import Difference, differences
from tfsasm.evaluation.tables import reports_csv, scores_table
from tfsasm.experiments.evaluate import make_plan, query_settings
from tfsasm.experiments.grid import Axis, GridPoint, choose, combinations, parse_grid
from tfsasm.experiments.plan import Outcome, Plan, length_notes, open_live, open_stored
from tfsasm.experiments.pool import Run, Work, run_sequences
from tfsasm.experiments.results import claim
from tfsasm.experiments.run import Follower, encode, result_lines
from tfsasm.experiments.scoring import score_all
from tfsasm.files import check_folder, write_text
from tfsasm.motchallenge import write_results
from tfsasm.settings import short_name
from tfsasm.tracking.config import preset
from tfsasm.tracking.query import QueryTracker
from tfsasm.video.prefetch import prefetch
from tfsasm.video.source import open_video

if TYPE_CHECKING:
    from tfsasm.cli import ablate

OK, FAILED, INTERRUPTED = 0, 1, 130

NAME = "ablation"
"""Of the files that tell about all rows, without their suffix."""

_COLUMNS = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW")

_NARROW = 24  # letters of settings that have room beside all scores

_SHOWN = 30  # rows that the table has at most

_AHEAD = 2  # frames decoded and encoded in advance


@dataclass(frozen=True)
class Ablation:
    """What is to be done, and what is there already."""

    job: ablate.Ablate
    plan: Plan
    rows: Mapping[str, GridPoint]
    """By label."""
    axes: tuple[Axis, ...]
    against: str
    todo: Mapping[str, tuple[str, ...]]
    """Sequence -> labels of the rows that lack it; only of those that any row lacks."""

    def folder(self, label: str) -> Path:
        """Where the results of a row are: what `evaluate` would give."""
        return self.plan.output / label


def run_ablation(job: ablate.Ablate, console: Console, errors: Console) -> int:
    """Track what is not done yet, score all of it, and say which combination is best."""
    asked = make_ablation(job)
    say = partial(console.print, soft_wrap=True, highlight=False, markup=False)
    tasks = asked.plan.tasks
    if done := len(tasks) - len(asked.todo):
        say(f"{done} of {len(tasks)} sequences are done already")
    lengths = {name: tasks[name].sequence.length for name in asked.todo}
    make = partial(make_work, asked)
    run = run_sequences(list(lengths), make, lengths, job.workers, errors, quiet=job.quiet)
    for line in _run_lines(run):
        say(line)
    if run.interrupted:
        return INTERRUPTED
    scored = score_all(
        _files(asked), job.dataset, run.failures, job.workers, errors, quiet=job.quiet
    )
    reports = {label: one.report for label, one in scored.items()}
    best = max(reports, key=lambda label: getattr(reports[label].combined, job.metric))
    gained = differences(reports, asked.against)
    _write(job, asked, scored, best, gained)
    _print(job, asked, scored, best, gained, console)
    return FAILED if run.failures else OK


def make_ablation(job: ablate.Ablate) -> Ablation:
    """Everything that can be refused before any work, and the folders. Raises `InputError`."""
    base = method_of(job)
    axes = parse_grid(job.grid, base)
    rows = combinations(axes, base)
    against = choose(job.against, rows, base) if job.against else rows[0]
    plan = make_plan(job)
    if without := [name for name, task in plan.tasks.items() if task.sequence.truth is None]:
        raise InputError(
            f"no ground truth of {', '.join(without)}, so no row can be the best; choose others "
            "by --sequences"
        )
    by_label = {row.label: row for row in rows}
    asked = Ablation(job, plan, by_label, tuple(axes), against.label, {})
    make_work(asked)  # what cannot begin takes no folders, and least of all empties them
    return replace(asked, todo=_claim(asked))


def _claim(asked: Ablation) -> dict[str, tuple[str, ...]]:
    """Take the folder of every row, and return what they lack."""
    check_folder(asked.plan.output)
    job, settings = asked.job, query_settings(asked.job, asked.plan)
    if job.min_score:
        settings["min_score"] = job.min_score
    done = {
        label: claim(
            asked.folder(label), {**settings, "method": asdict(row.method)},
            asked.plan.tasks.keys(), overwrite=job.overwrite,
        )
        for label, row in asked.rows.items()
    }  # fmt: skip
    lacking = {
        name: tuple(label for label in asked.rows if name not in done[label])
        for name in asked.plan.tasks
    }
    return {name: labels for name, labels in lacking.items() if labels}


def make_work(asked: Ablation) -> Work:
    """What tracks a sequence by name under all rows that lack it; returns an `Outcome`."""
    return partial(_follow, asked, open_network(asked.job), open_live(asked.plan))


def _follow(
    asked: Ablation, tracker: QueryTracker, live: Detector | None, name: str
) -> Generator[int, None, Outcome]:
    """Track one sequence from a fresh state for each row; the files appear when all is done."""
    task, labels = asked.plan.tasks[name], asked.todo[name]
    proposals = live or open_stored(task, skip_bad=asked.plan.skip_bad)
    named = preset(asked.job.preset)
    followers = {label: Follower(tracker, asked.rows[label].method) for label in labels}
    lines: dict[str, list[str]] = {label: [] for label in labels}
    frames, began = 0, time.monotonic()
    with open_video(str(task.source), order=named.order) as source:
        looks = ((frame, proposals(frame), encode(tracker, frame.image)) for frame in source)
        with closing(prefetch(looks, _AHEAD)) as looked:
            for frame, found, features in looked:
                found = found[found.scores >= asked.job.min_score]
                height, width = frame.image.shape[:2]
                for label, follower in followers.items():
                    told = follower.update(features, found, width, height)
                    lines[label] += result_lines(
                        frame.number, told, first_id=named.first_id, scores=named.scores
                    )
                frames += 1
                yield frames
    for label in labels:
        write_results(result_file(asked.folder(label), name), lines[label])
    notes = [*source.problems, *proposals.report(), *length_notes(task, frames)]
    return Outcome(frames, len(labels), time.monotonic() - began, tuple(notes))


def _files(asked: Ablation) -> dict[str, dict[str, Files]]:
    """By row, what each sequence is scored from."""
    return {
        label: {
            name: Files(truth, result_file(asked.folder(label), name), task.sequence.length)
            for name, task in asked.plan.tasks.items() if (truth := task.sequence.truth)
        }
        for label in asked.rows
    }  # fmt: skip


def _run_lines(run: Run) -> Iterator[str]:
    for name, one in run.outcomes.items():
        rows = "1 row" if one.identities == 1 else f"{one.identities} rows"
        yield f"{name}: {one.frames} frames under {rows}, {one.seconds:.0f} s"
    for name, one in run.outcomes.items():
        yield from (f"note: {name}: {note}" for note in one.notes)
    for name, why in run.failures.items():
        yield f"failed: {name}: {why}"
    if run.interrupted:
        yield "stopped; what is finished is kept, and the same command goes on"


def slices(
    axes: Sequence[Axis], rows: Mapping[str, GridPoint], reports: Mapping[str, Report], best: str,
    metric: str,
) -> list[Slice]:
    """Every two settings of the grid against each other, the others held at the best row's values.

    A grid of one setting is a single strip; settings with one value have nothing to show.
    """
    at_best = rows[best].values
    scores = {
        tuple(rows[label].values.items()): getattr(report.combined, metric)
        for label, report in reports.items()
    }
    wide = [axis for axis in axes if len(axis.values) > 1]
    pairs = list(combinations_of(wide, 2)) or [(Axis("", ("",)), axis) for axis in wide]
    return [_slice(down, across, at_best, scores) for down, across in pairs]


def _slice(
    down: Axis, across: Axis, at_best: Mapping[str, str],
    scores: Mapping[tuple[tuple[str, str], ...], float],
) -> Slice:
    def score(row: str, column: str) -> float:
        chosen = {down.setting: row, across.setting: column}
        return scores[tuple((name, chosen.get(name, value)) for name, value in at_best.items())]

    fixed = {k: v for k, v in at_best.items() if k not in (down.setting, across.setting)}
    return Slice(
        across.setting, across.values, down.setting, down.values,
        np.array([[score(row, column) for column in across.values] for row in down.values]),
        ", ".join(f"{short_name(name)} {value}" for name, value in fixed.items()),
    )  # fmt: skip


def _print(
    job: ablate.Ablate, asked: Ablation, scored: Mapping[str, Scored], best: str,
    gained: Sequence[Difference], console: Console,
) -> None:
    """The table, the best row, and what else there is to say."""
    reports = {label: one.report for label, one in scored.items()}
    ranked = sorted(reports, key=lambda label: -getattr(reports[label].combined, job.metric))
    shown = [label for label in reports if label in ranked[:_SHOWN]]
    console.print(_table(asked, reports, shown, gained, job.metric))
    told = []
    if len(shown) < len(reports):
        told.append(f"the best {len(shown)} of {len(reports)} rows; the files have all")
    score = getattr(reports[best].combined, job.metric)
    told.append(f"best: {best}: {job.metric} {score:.2f}")
    told += [
        f"  {gain.metric} {gain.text} over {gain.against}, mean per sequence"
        for gain in gained if gain.name == best
    ]  # fmt: skip
    if len(reports) > 2:
        told.append(f"the best of {len(reports)} is partly the luckiest; check it on other data")
    told += [f"left out: {name}: {why}" for name, why in scored[best].left_out.items()]
    told += [f"wrote {asked.plan.output / name}" for name in _written(asked)]
    for line in told:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _table(
    asked: Ablation,
    reports: Mapping[str, Report],
    shown: Sequence[str],
    gained: Sequence[Difference],
    metric: str,
) -> Table:
    """A row per combination; its values stand in columns below the names of the settings.

    Beside many settings 80 columns have room for one score; the files have them all.
    """
    names = [short_name(axis.setting) for axis in asked.axes]
    widths = [
        max(map(len, (name, *axis.values)))
        for name, axis in zip(names, asked.axes, strict=True)
    ]  # fmt: skip
    texts = {
        label: _columns(list(asked.rows[label].values.values()), widths) for label in shown
    }
    count = len(next(iter(reports.values())).sequences)
    return scores_table(
        {texts[label]: reports[label].combined for label in shown}, label=_columns(names, widths),
        title=f"{count} sequences", columns=_COLUMNS if sum(widths) <= _NARROW else (metric,),
        more={f"gain in {metric}": {
            texts[gain.name]: gain.text
            for gain in gained if gain.metric == metric and gain.name in texts
        }},
    )  # fmt: skip


def _columns(words: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(word.ljust(width) for word, width in zip(words, widths, strict=True))


def _written(asked: Ablation) -> list[str]:
    names = [f"{NAME}.json", f"{NAME}.csv"]
    return [*names, f"{NAME}.png"] if len(asked.rows) > 1 else names


def _write(
    job: ablate.Ablate, asked: Ablation, scored: Mapping[str, Scored], best: str,
    gained: Sequence[Difference],
) -> None:
    reports = {label: one.report for label, one in scored.items()}
    rows = {
        label: {"settings": asked.rows[label].values, **report.to_json()}
        for label, report in reports.items()
    }
    told = {
        "settings": query_settings(job, asked.plan), "min_score": job.min_score,
        "grid": {axis.setting: axis.values for axis in asked.axes},
        "metric": job.metric, "best": best, "against": asked.against,
        "left_out": scored[best].left_out, "rows": rows,
        "gains": [gain.to_json() for gain in gained],
    }  # fmt: skip
    place = asked.plan.output / NAME
    write_text(place.with_suffix(".json"), json.dumps(told, indent=2) + "\n")
    about = {label: asked.rows[label].values for label in reports}
    write_text(place.with_suffix(".csv"), reports_csv(reports, about, "row"))
    if len(reports) > 1:
        drawn = slices(asked.axes, asked.rows, reports, best, job.metric)
        plot_slices(drawn, place.with_suffix(".png"), metric=job.metric)
