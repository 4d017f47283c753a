"""Whole sequences to result files, by a tracker that lives as long as its process."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sized
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfsasm.cli.chosen import Chosen, Followed, choose
from tfsasm.cli.options import TrackerOptions
from tfsasm.datasets.mot_folders import video_name
from tfsasm.datasets.sequences import Sequence
from tfsasm.detection.detectors import Detector, default_settings, detector
from tfsasm.detection.stored import DetectionDatabase, MotDetections, open_detections
from tfsasm.errors import InputError
from tfsasm.evaluation.result_files import result_file
from tfsasm.experiments.pool import Work, some
from tfsasm.files import atomic_path
from tfsasm.motchallenge import read_detections
from tfsasm.tracking.named import QuerySpec, TrackerSpec
from tfsasm.tracking.results import MotFile, rows
from tfsasm.video.source import Frame, open_video

if TYPE_CHECKING:
    from tfsasm.cli import compare

NOTHING = np.zeros((0, 0, 3), dtype=np.uint8)
"""The image of a frame without a picture."""


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
    source: Path | None
    """Its pictures; None when nobody is to see any."""
    detections: Path | None
    first: int = 1
    """The number that its first frame has among the boxes."""


@dataclass(frozen=True)
class Plan:
    """All that a process needs to track any of the tasks, but for the tracker."""

    tasks: dict[str, Task]
    output: Path
    device: str = "auto"
    """Of the detector."""
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


def check_source(source: Path | None, chosen: Sized) -> None:
    """A video given by itself is of one sequence. Raises `InputError`."""
    if source is not None and len(chosen) != 1:
        raise InputError(
            f"--source is for one sequence, and there are {len(chosen)}; choose it by "
            "--sequences NAME"
        )


def make_work(plan: Plan, asked: TrackerOptions) -> Work:
    """What tracks the sequences of a plan by name; it yields frames and returns an `Outcome`.

    Raises `InputError` and `WeightsError` for what would fail on every sequence.
    """
    return partial(_track, plan, choose(asked), open_live(plan))


def open_live(plan: Plan) -> Detector | None:
    """The live detector of a plan, if it has one. Raises `InputError`."""
    asked = plan.live
    if asked is None:
        return None
    settings = default_settings(
        asked.name, score_threshold=asked.score, device=plan.device, changes=asked.changes
    )
    return detector(asked.name, asked.weights, settings)


def _track(
    plan: Plan, chosen: Chosen, live: Detector | None, name: str
) -> Generator[int, None, Outcome]:
    """Track one sequence from a fresh state; its file appears when the last frame is done."""
    task = plan.tasks[name]
    identities: set[int] = set()
    frames, began = 0, time.monotonic()
    with ExitStack() as stack:
        tracked, notes = _follow(plan, chosen, live, task, stack)
        path = stack.enter_context(atomic_path(result_file(plan.output, name)))
        file = stack.enter_context(MotFile(path, first_id=chosen.first_id, scores=chosen.scores))
        for frame, tracks in tracked:
            file.write(frame, tracks)
            identities.update(row.id for row in rows(tracks))
            frames += 1
            yield frames
    told = [*notes(), *length_notes(task, frames)]
    return Outcome(frames, len(identities), time.monotonic() - began, tuple(told))


def _follow(
    plan: Plan, chosen: Chosen, live: Detector | None, task: Task, stack: ExitStack
) -> tuple[Followed, Callable[[], list[str]]]:
    """The tracks of each frame, and what there is to note when they are through."""
    if task.source is None:
        boxes = open_stored(task, skip_bad=plan.skip_bad)
        tracked = chosen.follow_blindly(blind_frames(task), boxes)
        return stack.enter_context(closing(tracked)), boxes.report
    proposals = live or open_stored(task, skip_bad=plan.skip_bad)
    source = stack.enter_context(open_video(task.source, order=chosen.order))
    tracked = stack.enter_context(closing(chosen.follow(source, proposals)))
    return tracked, lambda: [*source.problems, *proposals.report()]


def length_notes(task: Task, frames: int) -> list[str]:
    """What to say of a sequence that turned out to have so many frames."""
    if frames == task.sequence.length:
        return []
    return [f"{frames} frames were tracked, {task.sequence.length} were expected"]


def open_stored(task: Task, *, skip_bad: bool) -> MotDetections | DetectionDatabase:
    """Stored boxes of a task."""
    given = task.detections or ""
    if task.first > 1:
        return MotDetections(given, skip_bad=skip_bad, first=task.first)
    return open_detections(given, source_name=place(task), skip_bad=skip_bad)


def blind_frames(task: Task) -> Iterator[Frame]:
    """Frames by number alone. They are called as those of a video, which are found by number."""
    for number in range(1, task.sequence.length + 1):
        yield Frame(NOTHING, number, f"{place(task)}#{number}", None)


def place(task: Task) -> str:
    """Where the pictures of a sequence are, or would be: tells a det_db of many which one it is."""
    near = task.source if task.source and task.source.is_dir() else None
    if near is None and task.sequence.truth:
        near = task.sequence.truth.parent
    above = near.resolve().parent.parent if near else Path()
    return str(above / task.sequence.name / "img1")


def _with_pictures(
    job: compare.Compare, entrants: dict[str, TrackerSpec], chosen: list[Sequence]
) -> tuple[dict[str, TrackerSpec], dict[str, str]]:
    """The trackers that can run on all sequences, and why the others cannot."""
    check_source(job.source, chosen)
    blind = [one.name for one in chosen if one.source is None and job.source is None]
    if not blind and not job.no_images:
        return entrants, {}
    why = "it needs pictures: "
    why += "--no-images withholds them" if job.no_images else f"there are none of {some(blind)}"
    skipped = {label: why for label, one in entrants.items() if isinstance(one, QuerySpec)}
    if len(skipped) == len(entrants):
        raise InputError(f"no tracker can run: {', '.join(skipped)}: {why}")
    return {label: one for label, one in entrants.items() if label not in skipped}, skipped


def _second_half(boxes: Path, one: Sequence) -> int:
    """The frame of a whole video that is frame 1 of its second half, as ByteTrack's tools cut it.

    Of n frames the second half has those after frame n // 2 + 1. The whole length is told by the
    last frame that has a box.
    """
    if boxes.suffix.lower() == ".json":
        raise InputError(f"--second-half takes MOT text, not {boxes}")
    frames = max(read_detections(boxes), default=0)
    cut = frames // 2 + 1
    if frames - cut != one.length:
        raise InputError(
            f"{boxes} ends with frame {frames}, so its second half has {max(frames - cut, 0)} "
            f"frames; {one.name} has {one.length}"
        )
    return cut + 1
