"""Which tracker a command asks for, and what its files say of it."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import supervision as sv
import torch

from tfsasm.cli.options import (
    MethodOptions,
    TrackerOptions,
    appearance_config,
    make_embedder,
    query_config,
    refuse_foreign_options,
)
from tfsasm.detection.detectors import Detector
from tfsasm.detection.proposals import as_detections
from tfsasm.detection.stored import DetectionDatabase, MotDetections
from tfsasm.errors import InputError
from tfsasm.motrv2.fast import kernels
from tfsasm.tracking.appearance.embedders import default_name
from tfsasm.tracking.appearance.tracker import AppearanceTracker
from tfsasm.tracking.config import preset
from tfsasm.tracking.load import load
from tfsasm.tracking.query import QueryTracker
from tfsasm.video.source import Frame, Source

Followed = Generator[tuple[Frame, sv.Detections], None, None]


@dataclass(frozen=True)
class Chosen:
    """A tracker ready to go."""

    tracker: QueryTracker | AppearanceTracker
    about: dict[str, Any]
    """Its part of the JSON's head."""
    first_id: int = 1
    scores: bool = True
    """Whether MOT files tell scores."""
    order: Literal["natural", "name"] = "natural"
    """Of the images of a folder."""
    batch: int = 1
    """Frames that a network encodes together."""

    def follow(
        self, source: Source, proposals: Detector
    ) -> Followed:
        """The tracks of each frame, from a fresh state."""
        if isinstance(self.tracker, AppearanceTracker):
            yield from self.tracker.track(source, detector=proposals)
        else:
            yield from self.tracker.track(source, detector=proposals, batch=self.batch)

    def follow_blindly(
        self, frames: Iterable[Frame], boxes: MotDetections | DetectionDatabase
    ) -> Followed:
        """The same of frames without pictures: by motion alone.

        Raises `InputError` for the query tracker, which must see.
        """
        if not isinstance(self.tracker, AppearanceTracker):
            raise InputError("the query tracker needs pictures; --tracker appearance does not")
        self.tracker.reset()
        for frame in frames:
            yield frame, self.tracker.update(as_detections(boxes.boxes(frame)))


def choose(job: TrackerOptions) -> Chosen:
    """The tracker of a job, its network run by PyTorch. Raises as `load` does."""
    refuse_foreign_options(job)
    return _by_looks(job) if job.tracker == "appearance" else _by_query(job, open_network(job))


def open_network(job: MethodOptions) -> QueryTracker:
    """The query tracker that was asked for. Raises as `load` does."""
    exact = preset(job.preset).exact and job.precision == "auto"
    tracker = load(
        job.weights, query_config(job), short_side=job.short_side, max_side=job.max_side,
        device=job.device, precision=job.precision, exact=exact,
    )  # fmt: skip
    if job.device == "cpu" or not torch.cuda.is_available():
        kernels.library()  # compiled here: no signal reaches the thread of the first frame
    return tracker


def _by_query(job: MethodOptions, tracker: QueryTracker) -> Chosen:
    named = preset(job.preset)
    about = {"weights": job.weights, "preset": job.preset, "method": asdict(tracker.config)}
    return Chosen(tracker, about, named.first_id, named.scores, named.order)


def _by_looks(job: TrackerOptions) -> Chosen:
    looks = AppearanceTracker(make_embedder(job), appearance_config(job))
    name = job.embedder or default_name(job.embedder_weights)
    return Chosen(looks, {"embedder": name, "method": asdict(looks.config)})
