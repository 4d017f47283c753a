"""The query tracker: MOTRv2 with a sparse memory, one frame as a function from state to state.

What is unusual here: `step` is all there is. Nothing is kept outside `TrackerState`, so a video can
be tracked twice from the middle, two at once, or under ten settings from one encoding. The network
is a `Network`, in PyTorch or exported, and everything here computes on the arrays that it does.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import supervision as sv
from supervision.config import CLASS_NAME_DATA_FIELD

from tfsasm.boxes import area, cxcywh_to_xyxy, iou_matrix
from tfsasm.detection.proposals import (
    NO_CLASS,
    Given,
    PixelCheck,
    Proposals,
    as_detections_in_pixels,
    as_proposals,
    no_classes,
)
from tfsasm.errors import InputError
from tfsasm.limits import BOXES
from tfsasm.runtime.network import Network, Prediction, Queries
from tfsasm.runtime.preprocess import as_bgr
from tfsasm.tables import Array, Floats, as_numpy, namespace
from tfsasm.tracking import association, memory
from tfsasm.tracking.association import TrackStatus, proposal_rows
from tfsasm.tracking.config import (
    NO_ID,
    AssociationConfig,
    MemoryConfig,
    TrackerConfig,
    preset,
)
from tfsasm.tracking.history import Remembered, remembered
from tfsasm.tracking.memory import Observation
from tfsasm.tracking.run import Track, Tracker, listed
from tfsasm.tracking.state import (
    Origins,
    TrackerState,
    TrackOutput,
    Tracks,
    asked_rows,
    begin,
    live_rows,
    new_tracks,
    settled,
    with_empty_rows,
    with_room,
)

log = logging.getLogger(__name__)


def step(
    network: Network, state: TrackerState, features: Any, proposals: Proposals,
    config: TrackerConfig, count: Array | None = None,
) -> tuple[TrackerState, TrackOutput]:
    """One frame (SPEC 6): decode proposals and tracks, associate, remember, make the next queries.

    `features` come from `network.encode`; `proposals` are arrays of the network. The order of the
    tracks is that of the released code: new ones first (QUIRK-12).

    With a `padded` network nothing waits for the device but an assignment of detections, if
    `config` asks for one; `count` `[]` of the proposals may be followed by rows that stand empty.
    `settled` waits, and its state is to be given to the next step: in this one the number of tracks
    is but an upper bound.
    """
    if not network.proposals:
        proposals, count = proposals[:0], None
    with network.inference():
        if network.padded:
            state = with_room(state, network.learned + len(proposals), config)
        arguments = (network, state.tracks, state.next_id, features, proposals, config, count)
        if config.association.match_iou < 1:
            tracks, next_id, output = _step(*arguments)
        else:
            tracks, next_id, output = network.repeat(_step, *arguments)
    next_id = next_id if network.padded else int(next_id)
    return TrackerState(tracks, next_id, state.frame + 1, state.live), output


def _step(
    network: Network, before: Tracks, next_id: Array, features: Any, proposals: Proposals,
    config: TrackerConfig, count: Array | None,
) -> tuple[Tracks, Array, TrackOutput]:
    """Tracks, the next identity and the output; of a padded network all of the length of `before`.
    """
    if network.classes > 1:  # it says itself what a track is; the detector may count otherwise
        proposals = replace(proposals, classes=no_classes(proposals.scores))
    new = new_tracks(network.queries(proposals.boxes, proposals.scores), config)
    tracks = Tracks.cat([new, before])
    own = proposal_rows(len(tracks), network.learned, proposals)
    tracks = replace(tracks, classes=association.updated_classes(tracks.classes, own, proposals))
    asked = len(new) if count is None else network.learned + count
    alive = asked_rows(tracks.ids, asked) if network.padded else None
    prediction, matches, status = _predict(
        network, tracks, alive, features, proposals, next_id, config
    )
    live = live_rows(status.ids, len(before) if network.padded else None)
    ids = status.ids[live]
    seen = prediction.scores > config.refresh_score
    queries = _refresh(
        network, tracks.queries[live], prediction[live], seen[live],
        ids != NO_ID if network.padded else None,
    )  # fmt: skip
    observed = observe(tracks, prediction, status, config, alive)[live]
    if config.stored == "refreshed":
        observed = replace(observed, feature=queries.content)
    remembered = memory.write(tracks.memory[live], observed, config.memory)

    velocity = association.update_velocity(
        tracks.velocity, tracks.queries.boxes, prediction.boxes, tracks.missed,
        seen & (tracks.ids != NO_ID), config.motion,
    )  # fmt: skip
    sources = namespace(own).where(status.born, own, matches)
    classes = association.updated_classes(tracks.classes, matches, proposals)
    if network.classes > 1:
        classes = namespace(own).where(seen | status.born, prediction.classes, classes)
    output = TrackOutput(status.ids, prediction.scores, prediction.boxes, sources, classes)[live]
    tracks = Tracks(
        ids, status.missed[live], queries, remembered, velocity[live], classes[live]
    )
    return tracks, status.next_id, output


def _predict(
    network: Network, tracks: Tracks, alive: Array | None, features: Any, proposals: Proposals,
    next_id: Array, config: TrackerConfig,
) -> tuple[Prediction, Array, TrackStatus]:
    """Predictions after the association, the proposal `[N]` of each track, and the identities.

    `alive` as in `Network.decode`; rows that stand empty score less than any threshold.
    """
    content = memory.read(tracks.memory, tracks.queries.content)
    longest = config.lifecycle.miss_tolerance if network.padded else None
    reference = association.predict_boxes(
        tracks.queries.boxes, tracks.velocity, tracks.missed, config.motion, longest
    )
    queries = replace(tracks.queries, content=content, boxes=reference)
    prediction = network.decode(features, queries, alive)
    if alive is not None:
        scores = namespace(alive).where(alive, prediction.scores, -np.inf)
        prediction = replace(prediction, scores=scores)
    classes = prediction.classes if network.classes > 1 else tracks.classes
    associated = association.associate(
        tracks.ids, prediction.scores, prediction.boxes, reference, proposals, network.learned,
        config.association, config.lifecycle.miss_score,
        None if config.class_agnostic else classes,
    )  # fmt: skip
    status = association.update_status(
        tracks.ids, tracks.missed, associated.scores, next_id, config.lifecycle,
        may_be_born=associated.may_be_born,
    )  # fmt: skip
    prediction = replace(prediction, boxes=associated.boxes, scores=associated.scores)
    return prediction, associated.matches, status


def _refresh(
    network: Network, stored: Queries, prediction: Prediction, seen: Array, alive: Array | None
) -> Queries:
    """Queries of the next frame for A tracks (SPEC 6.3).

    `stored` is what the tracks carried into this frame, before any memory was mixed in. Tracks that
    were not `seen` `[A]` stay frozen, content and box. `alive` as in `Network.interact`.
    """
    if len(stored) == 0:
        return stored
    where, chosen = namespace(seen).where, seen[:, None]
    new = Queries(
        stored.content, where(chosen, prediction.boxes, stored.boxes),
        where(chosen, prediction.members, stored.members),
    )  # fmt: skip
    content = network.interact(stored.content, new.references, prediction.embeddings, alive)
    return replace(new, content=where(chosen, content, stored.content))


def observe(
    tracks: Tracks, prediction: Prediction, status: TrackStatus, config: TrackerConfig,
    among: Array | None = None,
) -> Observation:
    """What the memory sees of each query: the one place that decides it (SPEC 7.2, 7.3).

    Rows that are not `among` `[N]` cover nothing; by default there are none.
    """
    live = status.ids != NO_ID
    present = namespace(live).ones_like(live)
    if not config.present_at_birth:
        present = present & ~status.born
    if not config.present_when_lost:
        present = present & (prediction.scores >= config.lifecycle.miss_score)
    embedding = config.stored == "embedding"
    return Observation(
        feature=prediction.embeddings if embedding else tracks.queries.content,
        travel=_travel(tracks, prediction, config),
        overlap=_overlap(prediction.boxes, live if config.overlap_with == "tracks" else among),
        score=prediction.scores,
        present=present,
    )


def _travel(tracks: Tracks, prediction: Prediction, config: TrackerConfig) -> Array:
    """Distance `[N]` in normalised units: x by the width, y by the height (QUIRK-16)."""
    here, library = prediction.boxes[:, :2], namespace(prediction.boxes)
    if config.travel == "layers":
        return library.linalg.vector_norm(here - prediction.first_boxes[:, :2], axis=1)
    # The reference box is where the track was last seen, so a gap counts when it ends.
    moved = library.linalg.vector_norm(here - tracks.queries.boxes[:, :2], axis=1)
    counts = (tracks.ids != NO_ID) & (prediction.scores > config.refresh_score)
    return library.where(counts, moved, 0.0)


def _overlap(boxes: Array, among: Array | None) -> Array:
    """Largest IoU `[N]` of each box with another one, of `among` `[N]` if given; 0 if alone."""
    if not len(boxes):
        return boxes[:, 0]
    library, xyxy = namespace(boxes), cxcywh_to_xyxy(boxes)
    itself = library.eye(len(boxes), dtype=library.bool, device=boxes.device)
    iou = library.where(itself, 0.0, iou_matrix(xyxy, xyxy))
    if among is not None:
        iou = library.where(among[None], iou, 0.0)
    return library.amax(iou, 1)


def report(output: TrackOutput, width: int, height: int, config: TrackerConfig) -> sv.Detections:
    """Confident tracks of some size, placed in a `width` x `height` image (SPEC 6.6).

    `tracker_id` counts from 1; `xyxy` are pixels, not clipped to the image; `class_id` is 0 where
    no class is known.
    """
    xyxy, scores = _in_pixels(output.boxes, width, height), as_numpy(output.scores)
    keep = (scores > config.report_score) & (area(xyxy) > config.report_area)
    classes = as_numpy(output.classes)[keep]
    return sv.Detections(
        xyxy=xyxy[keep], confidence=scores[keep], tracker_id=as_numpy(output.ids)[keep] + 1,
        class_id=np.where(classes == NO_CLASS, 0, classes),
    )  # fmt: skip


def _in_pixels(boxes: Array, width: int, height: int) -> Floats:
    """Corners `[N, 4]` of normalised boxes in a `width` x `height` image."""
    scale = np.array([width, height, width, height], dtype=np.float32)
    return cxcywh_to_xyxy(as_numpy(boxes)) * scale


class QueryTracker(Tracker):
    """Follows objects through one video at a time.

    `too_small` counts the boxes that are not reported for their size (`config.report_area`).
    """

    def __init__(self, network: Network, config: TrackerConfig | None = None) -> None:
        """`config` is the method, by default the network's `preset`. Trackers may share a network.

        Raises `InputError` for a method that leans on detections with a network that takes none,
        and for one that moves the reference box of a track where a track has several.
        """
        self.network, self.config = network, config or preset(network.preset).make()
        if not network.proposals and self.config.association != AssociationConfig():
            raise InputError("this network (MOTR or CO-MOT) takes no detections; choose the preset "
                             f"{network.preset}")  # fmt: skip
        self.reset()
        if self.config.motion.lead and self.state.tracks.queries.members.shape[1]:
            raise InputError("motion.lead is for networks with one query per track, and this one "
                             "(CO-MOT) has several; leave it 0")  # fmt: skip

    def __repr__(self) -> str:
        tracks = len(self.state.living)
        return f"QueryTracker({self.network.parameters:,} parameters, {tracks} tracks)"

    def reset(self) -> None:
        """Forget everything: the next frame is the first of another video, ids start at 1."""
        self.state: TrackerState = begin(self.network, self.config)
        self._origins, self._check_pixels = Origins(), PixelCheck()
        self.too_small, self._size = 0, (0, 0)

    @property
    def tracks(self) -> list[Track]:
        """All that live after the last frame, lost ones included, in the order of their ids."""
        kept = self.state.living
        boxes = _in_pixels(kept.queries.boxes, *self._size).astype(np.float64)
        return listed(as_numpy(kept.ids) + 1, boxes, as_numpy(kept.missed), as_numpy(kept.classes))

    @property
    def class_names(self) -> dict[int, str]:
        """Of a network of several classes, which has but numbers; empty for one of one class."""
        count = self.network.classes
        return {} if count == 1 else {number: f"class {number}" for number in range(count)}

    @property
    def memory_config(self) -> MemoryConfig:
        """When the memory stores."""
        return self.config.memory

    @property
    def remembered(self) -> Remembered:
        """The memory after the last frame, for `tfsasm.History`; views are contents of queries."""
        kept = self.state.living
        content = kept.queries.content
        mixed = memory.read(kept.memory, content)
        return remembered(kept.ids + 1, content, [mixed], kept.memory, kept.missed == 0)

    def prepare(self, images: Sequence[np.ndarray]) -> list[Any]:
        """Features of frames of one size, for `update`; the part of the work that needs no state.

        All trackers of one network may share them. Raises as `update` for what is no image.
        """
        return self.network.encode([as_bgr(image) for image in images])

    def update(
        self, detections: Given, frame: np.ndarray | None = None, prepared: Any = None
    ) -> sv.Detections:
        """Track one frame; call it for every frame, also when nothing was detected.

        `detections` are any detector's (`Given`), in pixels of `frame`; `frame` is uint8 BGR
        `[H, W, 3]` (grey and BGRA are converted), and `prepared` its features if `prepare` has made
        them. Returns the tracks: `tracker_id` from 1, `confidence`, pixel `xyxy` (not clipped to
        the image), and `class_id` and `data` of the detection that each track was born of; the
        class is the network's where it knows several. Raises `InputError` for a box with NaN,
        infinity or no area, naming its row, for boxes that look normalised, and for a frame that is
        missing or not an image; the state is then as before.
        """
        if frame is None:
            raise InputError("a query tracker needs the image of every frame; give frame")
        image = as_bgr(frame)
        height, width = image.shape[:2]
        if isinstance(detections, Proposals):
            BOXES.check(len(detections), "a frame")
            proposals, in_pixels = detections, None
        else:
            in_pixels = as_detections_in_pixels(detections, (width, height))
            proposals = as_proposals(in_pixels, width, height)
        self._check_pixels(_in_pixels(proposals.boxes, width, height), (width, height))
        network = self.network
        features = network.encode([image])[0] if prepared is None else prepared
        count = None
        if network.padded:
            count = network.asarray(np.array(len(proposals)))
            proposals = with_empty_rows(proposals)
        proposals = proposals.map(network.asarray)
        self.state, output = settled(
            *step(network, self.state, features, proposals, self.config, count)
        )
        self._size = (width, height)
        self._origins.learn(output.ids, output.sources, in_pixels)
        tracks = report(output, width, height, self.config)
        small = int((output.scores > self.config.report_score).sum()) - len(tracks)
        if small and not self.too_small:
            log.warning("tracks of %g square pixels or less are not reported (report_area)",
                        self.config.report_area)
        self.too_small += small
        metadata = {} if in_pixels is None else dict(in_pixels.metadata)
        tracks = replace(self._origins.attach(tracks), metadata=metadata)
        if network.classes > 1:  # those of the detections are of other classes
            tracks.data.pop(CLASS_NAME_DATA_FIELD, None)
        return tracks
