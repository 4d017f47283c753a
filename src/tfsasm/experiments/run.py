"""Trackers over a sequence: the same frames and the same detections for all, each timed.

Frames are read once, detections found once, and features computed once per network. A tracker's
time is what it spends on a frame that is decoded already, with detections that are found already.
Trackers that share a network or an embedding are each charged for all of it, as if alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from tfsasm.datasets.bdd100k import CATEGORIES, category
from tfsasm.detection.det_db import DetDb, read_det_db
from tfsasm.detection.detectors import Detector, NoDetector
from tfsasm.detection.entries import Stored
from tfsasm.detection.proposals import Proposals, as_detections
from tfsasm.detection.stored import MotDetections, open_detections
from tfsasm.errors import InputError
from tfsasm.evaluation.result_files import result_file
from tfsasm.experiments.plan import Experiment, Task
from tfsasm.experiments.pool import Work
from tfsasm.files import atomic_path
from tfsasm.tracking.appearance.embedders import Embedder
from tfsasm.tracking.named import AppearanceSpec, QuerySpec
from tfsasm.tracking.query import QueryTracker
from tfsasm.tracking.results import MotFile
from tfsasm.tracking.run import Tracker, naming
from tfsasm.video.prefetch import prefetch
from tfsasm.video.source import Frame, open_video

_AHEAD = 2  # frames read and encoded in advance where nothing is timed

NO_IMAGE = np.zeros((0, 0, 3), dtype=np.uint8)
"""The image of a frame without one."""


@dataclass(frozen=True)
class Outcome:
    """What came of a sequence."""

    frames: int
    elapsed: float
    """Seconds, with reading and writing."""
    identities: dict[str, int]
    """By tracker."""
    seconds: dict[str, float]
    """Of each tracker alone; meant for timed experiments."""
    notes: tuple[str, ...]


Given = sv.Detections | Proposals

Features = tuple[Any, float]
"""What `prepare` gave for a frame, and the seconds it took."""


class SharedEmbedder:
    """An embedder that computes the same boxes of a frame once, however many trackers ask."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        self._embeddings = np.zeros((0, 0), dtype=np.float32)
        self._seconds = 0.0
        self.saved = 0.0
        """Seconds more that trackers would have needed, each alone."""

    def __call__(self, image: np.ndarray, xyxy: np.ndarray) -> np.ndarray:
        """Embeddings `[P, C]` of the boxes `[P, 4]`."""
        last = self._last
        if last and last[0] is image and np.array_equal(last[1], xyxy):
            self.saved += self._seconds
            return self._embeddings
        began = time.perf_counter()
        self._embeddings = self._embedder(image, xyxy)
        self._seconds, self._last = time.perf_counter() - began, (image, xyxy)
        return self._embeddings


@dataclass(frozen=True)
class Loaded:
    """Trackers, loaded once, that run on one sequence of an experiment after the other."""

    trackers: Mapping[str, Tracker]
    """By label."""
    detectors: Callable[[Task], Detector]
    embedder: SharedEmbedder | None = None
    """That which appearance trackers share."""

    def __call__(self, experiment: Experiment, name: str) -> Generator[int, None, Outcome]:
        """Run the trackers on the sequence `name`, each from a fresh state; yields frames.

        Result files appear when the last frame is done. Raises `InputError`.
        """
        task = experiment.tasks[name]
        labels = self.trackers if experiment.todo is None else experiment.todo[name]
        trackers = {label: self.trackers[label] for label in labels}
        for tracker in trackers.values():
            tracker.reset()
        ids: dict[str, set[int]] = {label: set() for label in trackers}
        seconds = dict.fromkeys(trackers, 0.0)
        detector = self.detectors(task)
        names = getattr(detector, "class_names", {})
        frames, began, ahead = 0, time.monotonic(), 0 if experiment.comparison else _AHEAD
        with ExitStack() as stack:
            source = None
            if task.source:
                source = open_video(str(task.source), order=experiment.form.order)
                stack.enter_context(source)
            detected = (
                (frame, *_detections(experiment, detector, frame))
                for frame in source or _numbered(task)
            )
            first = stack.enter_context(closing(prefetch(detected, ahead)))
            encoded = ((*given, _features(trackers, given[0])) for given in first)
            ready = stack.enter_context(closing(prefetch(encoded, ahead)))
            files = {label: _result(experiment, label, name, stack) for label in trackers}
            for frame, for_network, for_others, features in ready:
                for label, tracker in trackers.items():
                    boxes = for_network if hasattr(tracker, "network") else for_others
                    tracks, spent = self._update(tracker, frame, boxes, features[label])
                    seconds[label] += spent
                    if experiment.categories:
                        own = isinstance(tracker, QueryTracker) and tracker.network.classes > 1
                        tracks = _as_categories(tracks, None if own else names)
                    files[label].write(frame, tracks)
                    ids[label].update(np.asarray(tracks.tracker_id).tolist())
                frames += 1
                yield frames
            notes = [*(source.problems if source else ()), *detector.report()]
            if frames != (length := task.sequence.length):
                if experiment.comparison:
                    raise InputError(
                        f"{task.source} has {frames} frames, and the sequence {length}"
                    )
                notes.append(f"{frames} frames were tracked, {length} were expected")
        identities = {label: len(each) for label, each in ids.items()}
        return Outcome(frames, time.monotonic() - began, identities, seconds, tuple(notes))

    def _update(
        self, tracker: Tracker, frame: Frame, detections: Given, features: Features
    ) -> tuple[sv.Detections, float]:
        """The tracks of a frame, and the seconds that the tracker would have needed alone."""
        image = frame.image if frame.image.size else None
        saved, began = self.embedder.saved if self.embedder else 0.0, time.perf_counter()
        value, spent = features
        with naming(frame):
            tracks = tracker.update(detections, image, value)
        spent += time.perf_counter() - began
        return tracks, spent + (self.embedder.saved - saved if self.embedder else 0.0)


def load(experiment: Experiment, detector: Detector | None = None) -> Loaded:
    """The trackers of the experiment, loaded here once.

    `detector` finds the boxes instead of what the experiment names. Raises `InputError` and
    `WeightsError` for what would fail on every sequence.
    """
    specs = experiment.trackers.values()
    network = embedder = None
    if any(isinstance(spec, QuerySpec) for spec in specs):
        network = experiment.network()
        if experiment.categories and network.classes not in (1, len(CATEGORIES)):
            raise InputError(
                f"the network has {network.classes} classes, and BDD100K has "
                f"{len(CATEGORIES)}: {', '.join(CATEGORIES)}"
            )
        if experiment.comparison:
            _warm_up(QueryTracker(network))
    if any(isinstance(spec, AppearanceSpec) for spec in specs):
        one = experiment.embedder()
        embedder = SharedEmbedder(one) if one else None
    trackers = {label: spec.make(network, embedder) for label, spec in experiment.trackers.items()}
    if detector is None and experiment.detector:
        detector = experiment.detector()
    read = lru_cache(1)(read_det_db)  # one file may be of all sequences
    stored = partial(open_stored, skip_bad=experiment.skip_bad, read=read)
    return Loaded(trackers, stored if detector is None else lambda task: detector, embedder)


def make_work(experiment: Experiment, detector: Detector | None = None) -> Work:
    """What runs the trackers on a sequence by name, as `load` and `Loaded` say."""
    return partial(load(experiment, detector), experiment)


def open_stored(
    task: Task, *, skip_bad: bool, read: Callable[[Path | str], DetDb] = read_det_db
) -> Stored | NoDetector:
    """The stored detections of a task, which for a network that finds objects itself has none.

    `read` may be a cached `read_det_db`. Raises `InputError`.
    """
    path = task.detections
    if path is None:
        return NoDetector()
    if task.first > 1:
        return MotDetections(path, skip_bad=skip_bad, first=task.first)
    return open_detections(path, source_name=_image_folder(task), skip_bad=skip_bad, read=read)


def _detections(experiment: Experiment, detector: Detector, frame: Frame) -> tuple[Given, Given]:
    """The detections of a frame, for trackers with a network and for those without."""
    if frame.image.size and not experiment.comparison:
        proposals = detector(frame)
        proposals = proposals[proposals.scores >= experiment.min_score]
        return proposals, proposals
    if not isinstance(detector, Stored):
        raise InputError("without images, and in a comparison, detections are stored ones")
    boxes = detector.boxes(frame)
    boxes = boxes[boxes[:, 4] >= experiment.min_score]
    pixels = as_detections(boxes)
    if not frame.image.size:
        return pixels, pixels
    height, width = frame.image.shape[:2]
    return Proposals.from_ltwh(boxes[:, :4], boxes[:, 4], width, height), pixels


def _features(trackers: Mapping[str, Tracker], frame: Frame) -> dict[str, Features]:
    """What each tracker prepares of a frame, once per network."""
    if not frame.image.size:
        return dict.fromkeys(trackers, (None, 0.0))
    networks = {label: id(getattr(one, "network", one)) for label, one in trackers.items()}
    by_network: dict[int, Features] = {}
    for label, tracker in trackers.items():
        if networks[label] not in by_network:
            began = time.perf_counter()
            [value] = tracker.prepare([frame.image])
            _synchronise()  # or the first tracker would be charged for it
            by_network[networks[label]] = value, time.perf_counter() - began
    return {label: by_network[network] for label, network in networks.items()}


def _as_categories(tracks: sv.Detections, names: Mapping[int, str] | None) -> sv.Detections:
    """The same tracks with places in `CATEGORIES` as classes, for the eighth column of MOT text.

    `names` are those of their classes so far, COCO's or BDD100K's; None if these are places
    already. What has no class or another one becomes -1.
    """
    if tracks.class_id is None or names is None:
        return tracks
    places = {
        number: CATEGORIES.index(known)
        for number, name in names.items() if (known := category(name)) in CATEGORIES
    }
    classes = [places.get(number, -1) for number in tracks.class_id.tolist()]
    return replace(tracks, class_id=np.array(classes, dtype=np.int64))


def _result(experiment: Experiment, label: str, name: str, stack: ExitStack) -> MotFile:
    """The result file of a tracker, which appears when `stack` ends without an exception."""
    path = stack.enter_context(atomic_path(result_file(experiment.folders[label], name)))
    return stack.enter_context(
        MotFile(
            path, first_id=experiment.form.first_id, scores=experiment.form.scores,
            classes=experiment.categories,
        )
    )


def _numbered(task: Task) -> Iterator[Frame]:
    """Frames without images. They are named as those of a video, which are found by number."""
    for number in range(1, task.sequence.length + 1):
        yield Frame(NO_IMAGE, number, f"{_image_folder(task)}#{number}", None)


def _image_folder(task: Task) -> str:
    """Where the images of a sequence are, or would be: a det_db of many knows it by that."""
    near = task.source if task.source and task.source.is_dir() else None
    if near is None and task.sequence.truth:
        near = task.sequence.truth.parent
    above = near.resolve().parent.parent if near else Path()
    return str(above / task.sequence.name / "img1")


def _warm_up(tracker: QueryTracker) -> None:
    """Compile and allocate before anything is timed."""
    grey = np.full((64, 64, 3), 128, dtype=np.uint8)
    for _ in range(2):
        tracker.update(Proposals.from_ltwh([[16, 16, 32, 32]], [0.9], 64, 64), grey)


def _synchronise() -> None:
    """Wait for the GPU, where PyTorch uses one."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        torch.cuda.synchronize()
