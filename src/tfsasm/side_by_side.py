"""Many trackers on one sequence at the same time: the same frames, the same boxes, each timed.

A tracker's time is what it spends on a frame that is decoded already, with boxes that are found
already. Methods of one network share the encoding, and each is charged for all of it, as if it
were alone.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import supervision as sv
import torch

from tfsasm.api import Tracker, load
from tfsasm.appearance import AppearanceConfig, AppearanceTracker, Embedder, embedder
from tfsasm.baselines import Classic, ClassicRun, Told
from tfsasm.config import default
from tfsasm.data.sequences import Sequence
from tfsasm.detect import DetectionDatabase, MotDetections, open_detections
from tfsasm.entrants import Entrant, Looks, Method
from tfsasm.errors import InputError
from tfsasm.methods import Follower, encode
from tfsasm.mot import Doubles, result_line, write_results
from tfsasm.proposals import Proposals
from tfsasm.result_folder import result_file
from tfsasm.tracker import TrackerConfig
from tfsasm.video import Frame, Source, open_source
from tfsasm.workers import Work

NOTHING = np.zeros((0, 0, 3), dtype=np.uint8)
"""The image of a frame without a picture."""


@dataclass(frozen=True)
class Entry:
    """One sequence to be tracked."""

    sequence: Sequence
    source: Path | None
    """Its pictures; None when nobody is to see any."""
    boxes: Path
    first: int = 1
    """The number that its first frame has among the boxes."""


@dataclass(frozen=True)
class Plan:
    """All that a process needs for any of the entries."""

    entries: Mapping[str, Entry]
    trackers: Mapping[str, Entrant]
    folders: Mapping[str, Path]
    """Where each tracker's result files go."""
    weights: str
    short_side: int | None
    max_side: int | None
    device: str
    min_score: float
    skip_bad: bool
    embedder: str | None = None
    """What appearance trackers see people by; see `tfsasm.appearance.embedder`."""
    embedder_weights: Path | None = None
    embedder_set: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of a sequence. `seconds` are those of each tracker."""

    frames: int
    seconds: dict[str, float]
    notes: tuple[str, ...]


def make_work(plan: Plan) -> Work:
    """What tracks an entry by name with all trackers; it yields frames, returns an `Outcome`.

    Raises `InputError` and `WeightsError` for a network that cannot be had.
    """
    network = None
    if any(isinstance(entrant, Method) for entrant in plan.trackers.values()):
        network = load(
            plan.weights, short_side=plan.short_side, max_side=plan.max_side, device=plan.device
        )
        _warm_up(network)
    looks = None
    if any(isinstance(entrant, Looks) for entrant in plan.trackers.values()):
        looks = embedder(plan.embedder, plan.embedder_weights, plan.embedder_set)
    return partial(_follow, plan, network, looks)


def _follow(
    plan: Plan, network: Tracker | None, looks: Embedder | None, name: str
) -> Generator[int, None, Outcome]:
    """Track one sequence; the result files appear when the last frame is done."""
    entry = plan.entries[name]
    runs = _start(plan, network, looks)
    stored = _stored(entry, skip_bad=plan.skip_bad)
    lines: dict[str, list[str]] = {label: [] for label in plan.trackers}
    seconds = dict.fromkeys(plan.trackers, 0.0)
    frames = 0
    with ExitStack() as stack:
        source = stack.enter_context(open_source(entry.source)) if entry.source else None
        for frame in source or _without_pictures(entry):
            boxes = stored.boxes(frame)
            boxes = boxes[boxes[:, 4] >= plan.min_score]
            for label, told, spent in (answer for run in runs for answer in run(frame, boxes)):
                lines[label] += _lines(frame.number, told)
                seconds[label] += spent
            frames += 1
            yield frames
    if frames != (length := entry.sequence.length):
        raise InputError(f"{entry.source} has {frames} frames, and the sequence {length}")
    for label, folder in plan.folders.items():
        write_results(result_file(folder, name), lines[label])
    return Outcome(frames, seconds, (*_problems(source), *stored.report()))


Answers = Iterator[tuple[str, Told, float]]
"""Of one frame: whose, what, and the seconds it took."""


class _Alone:
    """A classic tracker."""

    def __init__(self, label: str, run: ClassicRun) -> None:
        self._label, self._run = label, run

    def __call__(self, frame: Frame, boxes: Doubles) -> Answers:
        image = frame.image if frame.image.size else None
        began = time.perf_counter()
        told = self._run.update(boxes, image)
        yield self._label, told, time.perf_counter() - began


class _Shared:
    """An embedder whose answer serves all who ask for the same boxes of a frame."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._asked: tuple[np.ndarray, np.ndarray] | None = None
        self._answer = np.zeros((0, 0), dtype=np.float32)
        self._spent = 0.0
        self.saved = 0.0
        """Seconds that askers would have needed, had they been alone."""

    def __call__(self, image: np.ndarray, xyxy: np.ndarray) -> np.ndarray:
        asked = self._asked
        if asked and asked[0] is image and np.array_equal(asked[1], xyxy):
            self.saved += self._spent
            return self._answer
        began = time.perf_counter()
        self._answer = self._embedder(image, xyxy)
        self._spent, self._asked = time.perf_counter() - began, (image, xyxy)
        return self._answer


class _Looking:
    """Appearance trackers, with one embedder for all of them."""

    def __init__(self, configs: Mapping[str, AppearanceConfig], looks: Embedder | None) -> None:
        self._shared = _Shared(looks) if looks else None
        self._trackers = {
            label: AppearanceTracker(self._shared, config) for label, config in configs.items()
        }

    def __call__(self, frame: Frame, boxes: Doubles) -> Answers:
        image = frame.image if frame.image.size else None
        xyxy = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]])
        found = sv.Detections(xyxy=xyxy, confidence=boxes[:, 4])
        for label, tracker in self._trackers.items():
            saved, began = self._saved(), time.perf_counter()
            told = tracker.update(found, image)
            spent = time.perf_counter() - began + self._saved() - saved
            ids, scores = np.asarray(told.tracker_id), np.asarray(told.confidence)
            yield label, Told(ids, np.asarray(told.xyxy, dtype=np.float64), scores), spent

    def _saved(self) -> float:
        return self._shared.saved if self._shared else 0.0


class _Together:
    """Methods of one network."""

    def __init__(self, network: Tracker, configs: Mapping[str, TrackerConfig]) -> None:
        self._network = network
        self._followers = {label: Follower(network, one) for label, one in configs.items()}

    def __call__(self, frame: Frame, boxes: Doubles) -> Answers:
        height, width = frame.image.shape[:2]
        proposals = Proposals.from_ltwh(boxes[:, :4], boxes[:, 4], width, height)
        began = time.perf_counter()
        features = encode(self._network, frame.image)
        if self._network.model.learned_content.is_cuda:
            torch.cuda.synchronize()  # or the first method would be charged for it
        shared = time.perf_counter() - began
        for label, follower in self._followers.items():
            began = time.perf_counter()
            told = follower.update(features, proposals, width, height)
            spent = shared + time.perf_counter() - began
            yield label, Told(told.ids.numpy() + 1, told.xyxy.numpy(), told.scores.numpy()), spent


def _start(
    plan: Plan, network: Tracker | None, looks: Embedder | None
) -> list[_Alone | _Looking | _Together]:
    """Fresh trackers for a sequence."""
    runs: list[_Alone | _Looking | _Together] = [
        _Alone(label, one.start())
        for label, one in plan.trackers.items() if isinstance(one, Classic)
    ]  # fmt: skip
    by_looks = {k: one.config for k, one in plan.trackers.items() if isinstance(one, Looks)}
    if by_looks:
        runs.append(_Looking(by_looks, looks))
    if network:
        methods = {k: one.config for k, one in plan.trackers.items() if isinstance(one, Method)}
        runs.append(_Together(network, methods))
    return runs


def _warm_up(network: Tracker) -> None:
    """Compile and allocate before anything is timed."""
    grey = np.full((64, 64, 3), 128, dtype=np.uint8)
    box = Proposals.from_ltwh([[16, 16, 32, 32]], [0.9], 64, 64)
    follower = Follower(network, default())
    for _ in range(2):
        follower.update(encode(network, grey), box, 64, 64)


def _stored(entry: Entry, *, skip_bad: bool) -> MotDetections | DetectionDatabase:
    if entry.first > 1:
        return MotDetections(entry.boxes, skip_bad=skip_bad, first=entry.first)
    return open_detections(entry.boxes, source_name=_place(entry), skip_bad=skip_bad)


def _without_pictures(entry: Entry) -> Iterator[Frame]:
    """Frames by number alone. They are called as those of a video, which are found by number."""
    for number in range(1, entry.sequence.length + 1):
        yield Frame(NOTHING, number, f"{_place(entry)}#{number}", None)


def _place(entry: Entry) -> str:
    """Where the sequence's pictures are, or would be: tells a det_db of many which one it is."""
    near = entry.source if entry.source and entry.source.is_dir() else None
    if near is None and entry.sequence.truth:
        near = entry.sequence.truth.parent
    above = near.resolve().parent.parent if near else Path()
    return str(above / entry.sequence.name / "img1")


def _lines(frame: int, told: Told) -> list[str]:
    table = zip(told.ids.tolist(), told.xyxy, told.scores.tolist(), strict=True)
    return [result_line(frame, number, box, confidence=score) for number, box, score in table]


def _problems(source: Source | None) -> list[str]:
    return list(source.problems) if source else []
