"""`tfsasm evaluate`: a data set through the tracker, some sequences at a time, then the scores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tfsasm import __version__
from tfsasm.cli.options import (
    ResultsOptions,
    appearance_config,
    query_config,
    refuse_foreign_options,
)
from tfsasm.datasets.sequences import sequences
from tfsasm.detection.huggingface import PREFIX
from tfsasm.errors import InputError
from tfsasm.evaluation.result_files import SCORES, Files, result_file
from tfsasm.evaluation.score import lines, score_files, to_json
from tfsasm.evaluation.tables import report_table
from tfsasm.experiments.plan import (
    LiveDetector,
    Plan,
    Task,
    check_shared,
    check_source,
    find_detections,
    make_work,
)
from tfsasm.experiments.pool import Run, run_sequences, some
from tfsasm.experiments.results import claim
from tfsasm.files import write_text
from tfsasm.pytorch import find_device
from tfsasm.tracking.appearance.embedders import default_name
from tfsasm.tracking.load import embedded

if TYPE_CHECKING:
    from tfsasm.cli import evaluate

OK, FAILED, INTERRUPTED = 0, 1, 130

PICTURES = "pictures"
"""The setting that says of each sequence whether there are any."""

_OF_A_MODEL = (".json", ".safetensors", ".bin")  # what transformers reads


def run_evaluation(job: evaluate.Evaluate, console: Console, errors: Console) -> int:
    """Track what is not done yet, score what has truth, and say what came of it."""
    by_looks = job.tracker == "appearance"
    refuse_foreign_options(job)
    plan = make_plan(job, blind=by_looks)
    settings = looks_settings(job, plan) if by_looks else query_settings(job, plan)
    make = partial(make_work, plan, job)
    make()  # what cannot begin takes no folder, and least of all empties one
    done = claim(
        plan.output, settings, plan.tasks.keys(), overwrite=job.overwrite,
        by_sequence=[PICTURES] if by_looks else [],
    )  # fmt: skip
    todo = [name for name in plan.tasks if name not in done]
    say = partial(console.print, soft_wrap=True, highlight=False, markup=False)
    if done:
        say(f"{len(done)} of {len(plan.tasks)} sequences are done already")
    lengths = {name: plan.tasks[name].sequence.length for name in todo}
    run = run_sequences(todo, make, lengths, job.workers, errors, quiet=job.quiet)
    for line in run_lines(run):
        say(line)
    if without := _without_pictures(plan):
        say(f"no pictures of {some(without)}: motion decided alone there, without looks or camera")
    if run.interrupted:
        return INTERRUPTED
    _score(job, plan, run.failures, settings, console)
    return FAILED if run.failures else OK


def make_plan(job: ResultsOptions, *, blind: bool = False) -> Plan:
    """Everything that can be refused before any work. Raises `InputError`.

    `blind` sequences, of which there are no pictures, are taken or refused.
    """
    if job.workers < 1:
        raise InputError(f"workers is {job.workers}; give 1 or more")
    if job.detections is not None and job.detector is not None:
        raise InputError("give --detections or --detector, not both")
    chosen = sequences(job.dataset, job.root, job.split, job.sequences, public=job.public)
    live = job.detector and LiveDetector(
        job.detector, job.detector_weights, job.detector_score, job.detector_set
    )
    check_source(job.source, chosen)
    sources = {one.name: job.source or one.source for one in chosen}
    without = [name for name, source in sources.items() if source is None]
    if without and (live or not blind):
        raise InputError(
            f"no images of {', '.join(without)}; choose others by --sequences, or give a single "
            "one its video by --source. From stored boxes, --tracker appearance of tfsasm evaluate "
            "follows by motion alone"
        )
    check_shared(job.detections, len(chosen))
    boxes = {one.name: None if live else find_detections(job.detections, one) for one in chosen}
    tasks = {one.name: Task(one, sources[one.name], boxes[one.name]) for one in chosen}
    return Plan(
        tasks=tasks, output=job.output, device=job.device, live=live or None,
        skip_bad=job.skip_bad_detections,
    )  # fmt: skip


def query_settings(job: ResultsOptions, plan: Plan) -> dict[str, Any]:
    """What decides the content of the result files of the query tracker, ready for JSON.

    Files that are given are known by their content, so another path to the same will do. Raises
    `InputError` for settings that do not exist and files that cannot be read.
    """
    tiny = job.weights == "tiny"
    weights = _digest(embedded("tiny") if tiny else Path(job.weights))
    return {
        **_common(job, plan),
        "tracker": "query", "weights": f"tiny, {weights}" if tiny else weights,
        "preset": job.preset, "method": asdict(query_config(job)),
        "short_side": job.short_side, "max_side": job.max_side, "precision": job.precision,
    }  # fmt: skip


def looks_settings(job: evaluate.Evaluate, plan: Plan) -> dict[str, Any]:
    """The same of the appearance tracker. Which sequences it cannot see counts, too."""
    name = job.embedder or default_name(job.embedder_weights)
    embedder, weights = _model(name, job.embedder_weights)
    return {
        **_common(job, plan),
        "tracker": "appearance", "method": asdict(appearance_config(job)),
        "embedder": embedder, "embedder_weights": weights, "embedder_set": list(job.embedder_set),
        PICTURES: {name: task.source is not None for name, task in plan.tasks.items()},
    }  # fmt: skip


def _common(job: ResultsOptions, plan: Plan) -> dict[str, Any]:
    """What counts for either tracker."""
    boxes: dict[str, Any] = {"skip_bad": plan.skip_bad}
    if plan.live:
        name, weights = _model(plan.live.name, plan.live.weights)
        boxes |= {"detector": asdict(plan.live) | {"name": name, "weights": weights}}
    elif job.detections is None:
        boxes |= {"detections": "beside each sequence"}
    else:
        boxes |= {"detections": _boxes_given(job.detections)}
    return {
        "tfsasm": __version__,
        "dataset": job.dataset, "root": str(job.root.resolve()), "public": job.public,
        "source": None if job.source is None else str(job.source.resolve()),
        "device": find_device(plan.device).type, **boxes,
    }  # fmt: skip


def _without_pictures(plan: Plan) -> list[str]:
    return [name for name, task in plan.tasks.items() if task.source is None]


def run_lines(run: Run) -> Iterator[str]:
    """What to print of the tracking, notes and failures last."""
    for name, one in run.outcomes.items():
        rate = one.frames / one.seconds if one.seconds else 0.0
        people = f"{one.identities} identities"
        yield f"{name}: {one.frames} frames, {people}, {rate:.1f} frames per second"
    for name, one in run.outcomes.items():
        yield from (f"note: {name}: {note}" for note in one.notes)
    for name, why in run.failures.items():
        yield f"failed: {name}: {why}"
    if run.interrupted:
        yield "stopped; what is finished is kept, and the same command goes on"


def _boxes_given(path: Path) -> str | None:
    if not path.exists():
        return f"{path} in each sequence"
    return str(path.resolve()) if path.is_dir() else _digest(path)


def _model(name: str, weights: Path | None) -> tuple[str, str | dict[str, str | None] | None]:
    """What a model is called and what its files hold; for a folder, those that it is read from."""
    folder = Path(name.removeprefix(PREFIX))
    if not name.startswith(PREFIX) or not folder.is_dir():
        return name, _digest(weights)
    files = sorted(path for path in folder.iterdir() if path.suffix in _OF_A_MODEL)
    return f"{PREFIX}FOLDER", {path.name: _digest(path) for path in files}


def _digest(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _score(
    job: evaluate.Evaluate, plan: Plan, failures: Mapping[str, str], settings: Mapping[str, Any],
    console: Console,
) -> None:
    """Score what has truth and a result, into the folder and onto the screen."""
    truths = {name: task.sequence for name, task in plan.tasks.items() if task.sequence.truth}
    files = {
        name: Files(one.truth, result_file(plan.output, name), one.length)
        for name, one in truths.items() if one.truth and name not in failures
    }  # fmt: skip
    if not files:
        console.print("nothing to score: no finished sequence has ground truth", soft_wrap=True)
        return
    scored = score_files(files, job.dataset, allow_missing=True, problems={
        name: f"it was not tracked: {why}" for name, why in failures.items() if name in truths
    })  # fmt: skip
    told = {**to_json(scored), "settings": settings}
    write_text(plan.output / SCORES, json.dumps(told, indent=2) + "\n")
    console.print(report_table(scored.report))
    for line in (*lines(scored), f"wrote {plan.output / SCORES}"):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
