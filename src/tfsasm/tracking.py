"""Whole sequences to result files, by a tracker that lives as long as its process."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tfsasm.api import Tracker, load
from tfsasm.config import preset
from tfsasm.data.mot_layout import video_name
from tfsasm.data.sequences import Sequence
from tfsasm.detect import ProposalSource, default_settings, detector, open_detections
from tfsasm.errors import InputError
from tfsasm.files import atomic_path
from tfsasm.outputs import MotFile, rows
from tfsasm.result_folder import result_file
from tfsasm.tracker import TrackerConfig
from tfsasm.video import open_source
from tfsasm.workers import Work


@dataclass(frozen=True)
class LiveDetector:
    """A detector by name, as the command line gives it."""

    name: str
    weights: Path | None
    score: float
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """One sequence: what to look at, and its boxes unless a detector finds them."""

    sequence: Sequence
    source: Path
    detections: Path | None


@dataclass(frozen=True)
class Plan:
    """All that a process needs to track any of the tasks."""

    tasks: dict[str, Task]
    output: Path
    weights: str
    preset: str
    """Decides the format of the files and the order of images; `method` decides the rest."""
    method: TrackerConfig
    short_side: int | None = None
    max_side: int | None = None
    device: str = "auto"
    live: LiveDetector | None = None
    skip_bad: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a sequence."""

    frames: int
    identities: int
    seconds: float
    notes: tuple[str, ...]


def find_detections(given: Path | None, sequence: Sequence) -> Path:
    """Stored boxes of a sequence: those beside it, or in `given`, a file or a folder.

    A folder holds `NAME.txt`, `NAME/det.txt`, `NAME/det/det.txt` or `NAME.json`; for MOT17 also
    under the name without the public detector's. A file may also be one inside the folder of each
    sequence. Raises `InputError` when there are none.
    """
    if given is None:
        if sequence.detections is None:
            raise InputError(
                f"{sequence.name} has no det/det.txt beside it; say where the boxes come from: "
                "--detections DIR or --detector yolox-nano"
            )
        return sequence.detections
    if not given.exists():
        beside = [path for path in (sequence.truth, sequence.detections) if path]
        inside = [path.parent.parent / given for path in beside]
        if found := next((path for path in inside if path.is_file()), None):
            return found
        raise InputError(
            f"{given} does not exist, neither by itself nor in the folder of {sequence.name}; give "
            "a det_db JSON, a folder of detections, or a file that is in every sequence"
        )
    if not given.is_dir():
        return given
    forms = ("{}.txt", "{}/det.txt", "{}/det/det.txt", "{}.json")
    names = dict.fromkeys((sequence.name, video_name(sequence.name)))
    tried = [given / form.format(name) for name in names for form in forms]
    if found := next((path for path in tried if path.is_file()), None):
        return found
    raise InputError(f"no detections of {sequence.name} in {given}: wanted {sequence.name}.txt")


def check_shared(detections: Path | None, sequences: int) -> None:
    """A det.txt names no sequence, so it can serve one only. Raises `InputError`."""
    if detections and detections.is_file() and detections.suffix == ".txt" and sequences > 1:
        raise InputError(
            f"{detections} is of one sequence, and there are {sequences}; give a folder of "
            "NAME.txt files or a det_db JSON, or choose one by --sequences"
        )


def make_work(plan: Plan) -> Work:
    """What tracks the sequences of a plan by name; it yields frames and returns an `Outcome`.

    Raises `InputError` and `WeightsError` for what would fail on every sequence.
    """
    return partial(_track, plan, *open_network(plan))


def open_network(plan: Plan) -> tuple[Tracker, ProposalSource | None]:
    """The tracker of a plan, and its live detector if it has one. Raises as `make_work` does."""
    tracker = load(
        plan.weights, plan.method, short_side=plan.short_side, max_side=plan.max_side,
        device=plan.device, exact=preset(plan.preset).exact,
    )  # fmt: skip
    live = _open_live(plan.live, str(tracker.model.learned_content.device)) if plan.live else None
    return tracker, live


def _open_live(asked: LiveDetector, device: str) -> ProposalSource:
    settings = default_settings(
        asked.name, score_threshold=asked.score, device=device, changes=asked.changes
    )
    return detector(asked.name, asked.weights, settings)


def _track(
    plan: Plan, tracker: Tracker, live: ProposalSource | None, name: str
) -> Generator[int, None, Outcome]:
    """Track one sequence from a fresh state; its file appears when the last frame is done."""
    task = plan.tasks[name]
    proposals = live or open_stored(task, skip_bad=plan.skip_bad)
    released = plan.preset == "released"
    first_id = preset(plan.preset).first_id
    identities: set[int] = set()
    frames, began = 0, time.monotonic()
    with ExitStack() as stack:
        source = stack.enter_context(
            open_source(task.source, order="name" if released else "natural")
        )
        path = stack.enter_context(atomic_path(result_file(plan.output, name)))
        file = stack.enter_context(MotFile(path, first_id=first_id, scores=not released))
        for frame, tracks in tracker.track(source, detector=proposals):
            file.write(frame, tracks)
            identities.update(row.id for row in rows(tracks))
            frames += 1
            yield frames
    notes = [*source.problems, *proposals.report()]
    if frames != task.sequence.length:
        notes.append(f"{frames} frames were tracked, {task.sequence.length} were expected")
    return Outcome(frames, len(identities), time.monotonic() - began, tuple(notes))


def open_stored(task: Task, *, skip_bad: bool) -> ProposalSource:
    """Stored boxes of a task.

    The sequence's own name tells a det_db of many which one it is, also for a video.
    """
    place = task.source.resolve().parent.parent if task.source.is_dir() else Path()
    return open_detections(
        task.detections or "", source_name=str(place / task.sequence.name / "img1"),
        skip_bad=skip_bad,
    )  # fmt: skip
