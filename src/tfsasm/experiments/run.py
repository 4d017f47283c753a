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
import torch

from tfsasm.cli.options import Embedding, Network, embedder_of
from tfsasm.detection.proposals import Proposals, as_detections
from tfsasm.errors import InputError
from tfsasm.evaluation.result_files import result_file
from tfsasm.experiments.plan import Task, blind_frames, open_stored
from tfsasm.experiments.pool import Work
from tfsasm.motchallenge import Doubles, result_line, write_results
from tfsasm.motrv2.network import prepare
from tfsasm.motrv2.transformer import Features
from tfsasm.tracking.appearance.embedders import Embedder
from tfsasm.tracking.appearance.tracker import AppearanceConfig, AppearanceTracker
from tfsasm.tracking.baselines import Classic, ClassicRun, Told
from tfsasm.tracking.config import TrackerConfig, default
from tfsasm.tracking.load import load
from tfsasm.tracking.named import AppearanceSpec, QuerySpec, TrackerSpec
from tfsasm.tracking.query import QueryTracker, Report, begin, report, step
from tfsasm.video.source import Frame, Source, open_video


@dataclass(frozen=True)
class Plan:
    """All that a process needs for any of the tasks."""

    tasks: Mapping[str, Task]
    trackers: Mapping[str, TrackerSpec]
    folders: Mapping[str, Path]
    """Where each tracker's result files go."""
    network: Network
    """Of all methods."""
    embedding: Embedding
    """What all appearance trackers see people by."""
    min_score: float
    skip_bad: bool


@dataclass(frozen=True)
class Outcome:
    """What came of a sequence. `seconds` are those of each tracker."""

    frames: int
    seconds: dict[str, float]
    notes: tuple[str, ...]


def make_work(plan: Plan) -> Work:
    """What tracks a sequence by name with all trackers; it yields frames, returns an `Outcome`.

    Raises `InputError` and `WeightsError` for a network that cannot be had.
    """
    network = None
    if any(isinstance(entrant, QuerySpec) for entrant in plan.trackers.values()):
        asked = plan.network
        network = load(
            asked.weights, short_side=asked.short_side, max_side=asked.max_side,
            device=asked.device, precision=asked.precision,
        )  # fmt: skip
        _warm_up(network)
    looks = None
    if any(isinstance(entrant, AppearanceSpec) for entrant in plan.trackers.values()):
        looks = embedder_of(plan.embedding)
    return partial(_follow, plan, network, looks)


def _follow(
    plan: Plan, network: QueryTracker | None, looks: Embedder | None, name: str
) -> Generator[int, None, Outcome]:
    """Track one sequence; the result files appear when the last frame is done."""
    task = plan.tasks[name]
    runs = _start(plan, network, looks)
    stored = open_stored(task, skip_bad=plan.skip_bad)
    lines: dict[str, list[str]] = {label: [] for label in plan.trackers}
    seconds = dict.fromkeys(plan.trackers, 0.0)
    frames = 0
    with ExitStack() as stack:
        source = stack.enter_context(open_video(task.source)) if task.source else None
        for frame in source or blind_frames(task):
            boxes = stored.boxes(frame)
            boxes = boxes[boxes[:, 4] >= plan.min_score]
            for label, told, spent in (answer for run in runs for answer in run(frame, boxes)):
                lines[label] += _lines(frame.number, told)
                seconds[label] += spent
            frames += 1
            yield frames
    if frames != (length := task.sequence.length):
        raise InputError(f"{task.source} has {frames} frames, and the sequence {length}")
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
        found = as_detections(boxes)
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

    def __init__(self, network: QueryTracker, configs: Mapping[str, TrackerConfig]) -> None:
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
    plan: Plan, network: QueryTracker | None, looks: Embedder | None
) -> list[_Alone | _Looking | _Together]:
    """Fresh trackers for a sequence."""
    runs: list[_Alone | _Looking | _Together] = [
        _Alone(label, one.start())
        for label, one in plan.trackers.items() if isinstance(one, Classic)
    ]  # fmt: skip
    by_looks = {
        k: one.config for k, one in plan.trackers.items() if isinstance(one, AppearanceSpec)
    }
    if by_looks:
        runs.append(_Looking(by_looks, looks))
    if network:
        methods = {k: one.config for k, one in plan.trackers.items() if isinstance(one, QuerySpec)}
        runs.append(_Together(network, methods))
    return runs


def _warm_up(network: QueryTracker) -> None:
    """Compile and allocate before anything is timed."""
    grey = np.full((64, 64, 3), 128, dtype=np.uint8)
    box = Proposals.from_ltwh([[16, 16, 32, 32]], [0.9], 64, 64)
    follower = Follower(network, default())
    for _ in range(2):
        follower.update(encode(network, grey), box, 64, 64)


def _lines(frame: int, told: Told) -> list[str]:
    table = zip(told.ids.tolist(), told.xyxy, told.scores.tolist(), strict=True)
    return [result_line(frame, number, box, confidence=score) for number, box, score in table]


def _problems(source: Source | None) -> list[str]:
    return list(source.problems) if source else []


@torch.inference_mode()
def encode(tracker: QueryTracker, image: np.ndarray) -> Features:
    """What the network sees in a uint8 BGR image `[H, W, 3]`."""
    pixels = prepare(image, tracker.network.short_side, tracker.network.max_side)
    return tracker.model.encode(pixels.to(tracker.model.learned_content.device))


class Follower:
    """One method on one sequence. The state and method of `tracker` itself are not used."""

    def __init__(self, tracker: QueryTracker, config: TrackerConfig) -> None:
        self._model, self._config = tracker.model, config
        self._state = begin(tracker.model, config)

    def update(
        self, features: Features, proposals: Proposals, width: int, height: int
    ) -> Report:
        """The tracks of the next frame, in pixels of its `width` x `height` image, on the CPU."""
        found = proposals.to(self._model.learned_content.device)
        self._state, answer = step(self._model, self._state, features, found, self._config)
        return report(answer, width, height, self._config).to("cpu")


def result_lines(frame: int, told: Report, *, first_id: int = 1, scores: bool = True) -> list[str]:
    """The tracks of a frame as lines of a result file; see `outputs.MotFile`."""
    table = zip(told.ids.tolist(), told.xyxy.tolist(), told.scores.tolist(), strict=True)
    return [
        result_line(frame, identity + first_id, xyxy, confidence=score if scores else None)
        for identity, xyxy, score in table
    ]
