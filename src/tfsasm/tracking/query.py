"""One frame of tracking, as a function from state to state.

What is unusual here: `step` is all there is. Nothing is kept outside `TrackerState`, so a video can
be tracked twice from the middle, two at once, or under ten settings from one encoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import supervision as sv
import torch
from torch import Tensor

from tfsasm.boxes import area, cxcywh_to_xyxy, iou_matrix
from tfsasm.detection.detectors import Detector
from tfsasm.detection.proposals import Proposals, as_proposals
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.network import prepare
from tfsasm.motrv2.transformer import Features, Prediction, Queries
from tfsasm.runtime.preprocess import as_bgr
from tfsasm.runtime.tracker import Report as ArrayReport
from tfsasm.runtime.tracker import TrackOutput as ArrayAnswer
from tfsasm.tables import Table
from tfsasm.tracking import association, memory
from tfsasm.tracking.association import TrackStatus, associate, proposal_rows
from tfsasm.tracking.config import NO_ID, TrackerConfig
from tfsasm.tracking.memory import Memory, Observation
from tfsasm.tracking.run import open_frames, proposal_source
from tfsasm.video.prefetch import prefetch
from tfsasm.video.source import Frame, Source


@dataclass(frozen=True)
class Tracks(Table):
    """What lives from frame to frame."""

    ids: Tensor
    """`[N]` int64, from 0."""
    missed: Tensor
    """Consecutive frames absent, `[N]` int64."""
    queries: Queries
    """Content of the next frame, and the box in which the track was last seen."""
    memory: Memory
    velocity: Tensor
    """Of the box's centre per frame, in normalised units, `[N, 2]`; 0 while nothing asks for it."""


@dataclass(frozen=True)
class TrackerState:
    """Everything that survives a frame."""

    tracks: Tracks
    next_id: int = 0
    frame: int = 0
    """Frames seen so far."""


@dataclass(frozen=True)
class TrackOutput(Table):
    """What one frame says about every live track, absent ones included."""

    ids: Tensor
    """`[N]` int64, from 0."""
    scores: Tensor
    """`[N]`."""
    boxes: Tensor
    """`[N, 4]` normalised cxcywh, not clipped to the image (QUIRK-14)."""
    sources: Tensor
    """Row of the proposal that the track was born of just now or claims (`support`), else -1."""


def begin(model: MOTRv2, config: TrackerConfig) -> TrackerState:
    """State before the first frame: no tracks."""
    device = model.learned_content.device
    return TrackerState(_newcomers(model.queries(Proposals.empty().to(device))[:0], config))


def _newcomers(queries: Queries, config: TrackerConfig) -> Tracks:
    n, device = len(queries), queries.boxes.device
    return Tracks(
        ids=torch.full((n,), NO_ID, dtype=torch.int64, device=device),
        missed=torch.zeros(n, dtype=torch.int64, device=device),
        queries=queries,
        memory=memory.empty(n, queries.content.shape[1], config.memory, device=device),
        velocity=torch.zeros(n, 2, device=device),
    )


@torch.inference_mode()
def step(
    model: MOTRv2, state: TrackerState, features: Features, proposals: Proposals,
    config: TrackerConfig,
) -> tuple[TrackerState, TrackOutput]:
    """One frame (SPEC 6): ask about proposals and tracks, judge, remember, make the next queries.

    `features` come from `model.encode` of one image. The order of the tracks is that of the
    released code: new ones first (QUIRK-12).
    """
    asked = Tracks.cat([_newcomers(model.queries(proposals), config), state.tracks])
    content = memory.read(asked.memory, asked.queries.content)
    held = association.predict_boxes(
        asked.queries.boxes, asked.velocity, asked.missed, config.motion
    )
    predictions = model.decode(features, Queries(content, held))
    first = len(model.learned_boxes)
    told = associate(
        asked.ids, predictions[-1].logits[:, 0].sigmoid(), predictions[-1].boxes, held, proposals,
        first, config.support, config.lifecycle.miss_score,
    )  # fmt: skip
    scores = told.scores
    answer = replace(predictions[-1], boxes=told.boxes)

    census = association.update_status(
        asked.ids, asked.missed, scores, state.next_id, config.lifecycle,
        may_be_born=told.may_be_born,
    )  # fmt: skip
    live = census.ids != NO_ID
    seen = scores > config.refresh_score
    queries = model.refresh(asked.queries[live], answer[live], seen[live])
    seen_now = observe(asked, [*predictions[:-1], answer], scores, census, config)[live]
    if config.stored == "refreshed":
        seen_now = replace(seen_now, feature=queries.content)
    remembered = memory.write(asked.memory[live], seen_now, config.memory)

    velocity = association.update_velocity(
        asked.velocity, asked.queries.boxes, answer.boxes, asked.missed,
        seen & (asked.ids != NO_ID), config.motion,
    )  # fmt: skip
    tracks = Tracks(census.ids[live], census.missed[live], queries, remembered, velocity[live])
    own = proposal_rows(len(asked), first, proposals)
    sources = torch.where(census.born, own, told.claims)
    reported = TrackOutput(census.ids, scores, answer.boxes, sources)[live]
    return TrackerState(tracks, census.next_id, state.frame + 1), reported


def observe(
    asked: Tracks, predictions: Sequence[Prediction], scores: Tensor, census: TrackStatus,
    config: TrackerConfig,
) -> Observation:
    """What the memory is told about each query: the one place that decides it (SPEC 7.2, 7.3)."""
    answer = predictions[-1]
    live = census.ids != NO_ID
    present = torch.ones_like(live)
    if not config.present_at_birth:
        present &= ~census.born
    if not config.present_when_lost:
        present &= scores >= config.lifecycle.miss_score
    return Observation(
        feature=answer.embeddings if config.stored == "embedding" else asked.queries.content,
        travel=_travel(asked, predictions, scores, census, config),
        overlap=_overlap(answer.boxes, live if config.overlap_with == "tracks" else None),
        score=scores,
        present=present,
    )


def _travel(
    asked: Tracks, predictions: Sequence[Prediction], scores: Tensor, census: TrackStatus,
    config: TrackerConfig,
) -> Tensor:
    """Distance `[N]` in normalised units: x by the width, y by the height (QUIRK-16)."""
    here = predictions[-1].boxes[:, :2]
    if config.travel == "layers":
        return torch.linalg.vector_norm(here - predictions[0].boxes[:, :2], dim=1)
    # The reference box is where the track was last seen, so a gap counts when it ends.
    moved = torch.linalg.vector_norm(here - asked.queries.boxes[:, :2], dim=1)
    counts = (asked.ids != NO_ID) & (scores > config.refresh_score)
    return torch.where(counts, moved, 0.0)


def _overlap(boxes: Tensor, among: Tensor | None) -> Tensor:
    """Largest IoU `[N]` of each box with another one, of `among` `[N]` if given; 0 if alone."""
    xyxy = cxcywh_to_xyxy(boxes)
    iou = iou_matrix(xyxy, xyxy).fill_diagonal_(0.0)
    if among is not None:
        iou = torch.where(among[None], iou, 0.0)
    return iou.amax(dim=1) if len(boxes) else boxes.new_zeros(0)


@dataclass(frozen=True)
class Report(Table):
    """The tracks of a frame that are worth telling, in pixels of the original image."""

    ids: Tensor
    """`[N]` int64, from 0."""
    scores: Tensor
    """`[N]`."""
    xyxy: Tensor
    """`[N, 4]` float32, not clipped to the image."""
    sources: Tensor
    """As in `Answer`."""


def report(answer: TrackOutput, width: int, height: int, config: TrackerConfig) -> Report:
    """Confident tracks of some size, placed in a `width` x `height` image (SPEC 6.6)."""
    xyxy = cxcywh_to_xyxy(answer.boxes) * answer.boxes.new_tensor([width, height, width, height])
    keep = (answer.scores > config.report_score) & (area(xyxy) > config.report_area)
    return Report(answer.ids, answer.scores, xyxy, answer.sources)[keep]


class QueryTracker:
    """Follows objects through one video at a time."""

    def __init__(self, model: MOTRv2, network: NetworkConfig, config: TrackerConfig) -> None:
        self.model, self.network, self.config = model, network, config
        self.state: TrackerState = begin(model, config)
        self._origins = Origins()

    def reset(self) -> None:
        """Forget everything: the next frame is the first of another video, ids start at 1."""
        self.state = begin(self.model, self.config)
        self._origins = Origins()

    def update(
        self, detections: sv.Detections | Proposals | None, frame: np.ndarray
    ) -> sv.Detections:
        """Track one frame; call it for every frame, also when nothing was detected.

        `detections` are any detector's, `xyxy` in pixels of `frame`; `frame` is uint8 BGR
        `[H, W, 3]` (grey and BGRA are converted). Returns the tracks: `tracker_id` from 1,
        `confidence`, pixel `xyxy` (not clipped to the image), and `class_id` and `data` of the
        detection that each track was born of. Raises `InputError` for a box with NaN, infinity or
        no area, naming its row, and for a frame that is not an image; the state is then as before.
        """
        image = as_bgr(frame)
        height, width = image.shape[:2]
        if not isinstance(detections, Proposals):
            proposals = as_proposals(detections, width, height)
        else:
            proposals, detections = detections, None
        return self._conclude(self._encode(image), proposals, detections, width, height)

    def track(
        self, source: Source | Path | str | int, *,
        detections: Detector | Path | str | None = None,
        detector: Detector | str | None = None,
        start: int = 1, end: int | None = None, stride: int = 1,
        order: Literal["natural", "name"] = "natural", in_advance: int = 2,
        batch: int = 1,
    ) -> Iterator[tuple[Frame, sv.Detections]]:
        """Track a whole video, folder, camera or stream, from a fresh state, frame by frame.

        Give either `detections` (a MOT det.txt or det_db JSON) or a `detector` (a name such as
        `"yolox-nano"`), or for either any function of a `Frame` that returns `Proposals`. `start`,
        `end` (inclusive) and `stride` count frames from 1. One thread decodes and detects, another
        encodes, each up to `in_advance` frames before they are tracked; 0 for neither. `batch`
        frames of one size are encoded together, which a live source should not wait for. Raises
        `InputError` for what cannot be used and `TruncatedInput` after the last good frame of a
        damaged source. An opened `Source` brings its own range and order.
        """
        proposals = proposal_source(detections, detector, source)
        opened = open_frames(source, start=start, end=end, stride=stride, order=order)
        self.reset()
        looked = ((frame, proposals(frame)) for frame in opened)
        with (
            opened, closing(prefetch(looked, in_advance)) as found,
            closing(prefetch(self._encoded(found, batch), in_advance)) as ready,
        ):  # fmt: skip
            for frame, boxes, features in ready:
                height, width = frame.image.shape[:2]
                yield frame, self._conclude(features, boxes, None, width, height)

    def _encoded(
        self, found: Iterable[tuple[Frame, Proposals]], batch: int
    ) -> Iterator[tuple[Frame, Proposals, Features]]:
        """Frames with the part of their work that needs no state done, `batch` at a time."""
        for _, run in groupby(found, key=lambda pair: pair[0].image.shape):
            while some := list(islice(run, batch)):
                features = self._encode_all([frame.image for frame, _ in some])
                for (frame, boxes), encoded in zip(some, features, strict=True):
                    yield frame, boxes, encoded

    def _encode(self, image: np.ndarray) -> Features:
        """The part of a frame's work that needs no state."""
        return self._encode_all([image])[0]

    def _encode_all(self, images: list[np.ndarray]) -> list[Features]:
        """The same of images of one size, in one batch."""
        sides = self.network.short_side, self.network.max_side
        pixels = torch.cat([prepare(image, *sides) for image in images])
        with torch.inference_mode():
            features = self.model.encode(pixels.to(self.model.learned_content.device))
        if len(images) == 1:
            return [features]
        return [features[index] for index in range(len(images))]

    def _conclude(
        self, features: Features, proposals: Proposals, detections: sv.Detections | None,
        width: int, height: int,
    ) -> sv.Detections:
        """The rest of it: one step of the state, reported in pixels."""
        proposals = proposals.to(self.model.learned_content.device)
        self.state, answer = step(self.model, self.state, features, proposals, self.config)
        self._origins.learn(answer, detections, self.state.tracks.ids)
        return self._origins.attach(report(answer, width, height, self.config).to("cpu"))


class Origins:
    """What came with the detection that each live track was born of."""

    def __init__(self) -> None:
        self._class_ids: dict[int, int] = {}
        self._data: dict[int, dict[str, Any]] = {}

    def learn(
        self, answer: TrackOutput | ArrayAnswer, detections: sv.Detections | None,
        live: torch.Tensor | np.ndarray,
    ) -> None:
        """Take over the data of tracks that are born, reported or not; forget those that died."""
        if detections is not None:
            for identity, source in zip(answer.ids.tolist(), answer.sources.tolist(), strict=True):
                if source >= 0:
                    self._learn(identity, detections, source)
        alive = set(live.tolist())
        self._class_ids = {i: value for i, value in self._class_ids.items() if i in alive}
        self._data = {i: value for i, value in self._data.items() if i in alive}

    def attach(self, told: Report | ArrayReport) -> sv.Detections:
        """The report as `supervision.Detections`, with what is known of each track."""
        ids = told.ids.tolist()
        keys = {key for identity in ids for key in self._data.get(identity, {})}
        classes = [self._class_ids.get(identity, 0) for identity in ids]
        return sv.Detections(
            xyxy=np.asarray(told.xyxy).reshape(-1, 4),
            confidence=np.asarray(told.scores),
            class_id=np.asarray(classes, dtype=int),
            tracker_id=np.asarray(ids, dtype=int) + 1,
            data={key: self._column(key, ids) for key in sorted(keys)},
        )

    def _learn(self, identity: int, detections: sv.Detections, row: int) -> None:
        if detections.class_id is not None:
            self._class_ids[identity] = int(detections.class_id[row])
        self._data[identity] = {key: values[row] for key, values in detections.data.items()}

    def _column(self, key: str, ids: list[int]) -> np.ndarray:
        """One row per track; as objects where a track has none (None) or shapes differ."""
        values: list[Any] = [self._data.get(identity, {}).get(key) for identity in ids]
        if all(value is not None for value in values) and len({np.shape(v) for v in values}) == 1:
            return np.asarray(values)
        column = np.empty(len(values), dtype=object)
        for row, value in enumerate(values):
            column[row] = value
        return column
