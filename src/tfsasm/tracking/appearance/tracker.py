"""The appearance tracker: one frame as a function from state to state, and whole videos.

A frame reads in the order in which it runs: prediction (`motion.py`), assignment of detections
(`association.py`), correction of the tracks, their appearance (`gallery.py`), new tracks. No future
is used and nothing is filled in: a track that is reported in a frame has a detection there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import supervision as sv

from tfsasm.boxes import xyxy_to_cxcywh
from tfsasm.detection.proposals import (
    NO_CLASS,
    Given,
    PixelCheck,
    as_detections_in_pixels,
    boxes_and_scores,
    classes_of,
    comparable,
)
from tfsasm.errors import InputError
from tfsasm.runtime.preprocess import as_bgr
from tfsasm.tables import Doubles, Floats, Image, Integers
from tfsasm.tracking.appearance import association, motion
from tfsasm.tracking.appearance.association import AppearanceWeightConfig
from tfsasm.tracking.appearance.camera import CameraConfig, CameraMotion
from tfsasm.tracking.appearance.embedders import Embedder, embedder, unit_vectors
from tfsasm.tracking.appearance.gallery import FAR, GalleryConfig, gallery, observe
from tfsasm.tracking.appearance.state import FrameDetections, State, Tracks
from tfsasm.tracking.config import NO_ID, MemoryConfig
from tfsasm.tracking.history import Remembered, remembered
from tfsasm.tracking.run import (
    GivenDetector,
    GivenSource,
    Track,
    Tracker,
    listed,
    track_video,
)
from tfsasm.video.source import Frame

EMBEDDING = "embedding"
"""Under this key of `detections.data` detections may bring their own embeddings."""


@dataclass(frozen=True)
class AppearanceConfig:
    """The method. Every constant says where it comes from."""

    match: association.MatchConfig = field(default_factory=association.MatchConfig)
    kalman: motion.KalmanConfig = field(default_factory=motion.KalmanConfig)
    persistence: motion.PersistenceConfig = field(default_factory=motion.PersistenceConfig)
    appearance: AppearanceWeightConfig = field(default_factory=AppearanceWeightConfig)
    gallery: GalleryConfig = field(default_factory=GalleryConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    class_agnostic: bool = False
    """Whether a track may be matched with detections of another class, and a detection be the
    duplicate of one: for detectors that take a car for a truck now and then."""


def begin(config: AppearanceConfig) -> State:
    """The state before the first frame: no tracks."""
    nothing = FrameDetections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=np.int64))
    return State(_tentative(nothing, 0, config))


def step(
    state: State, detections: FrameDetections, config: AppearanceConfig
) -> tuple[State, Integers, Integers, Doubles]:
    """One frame: the next state, and the matches to report.

    These are the ids `[K]` of tracks, the rows `[K]` of their detections in ascending order, and
    boxes `[K, 4]` (`motion.smoothed`). The result does not depend on the order of the detections,
    except for those that are alike in box, score and class.
    """
    persistence = state.persistence.share(config.persistence.min_pairs)
    config = replace(config, kalman=motion.with_persistence(config.kalman, persistence))
    # without those below `low_score`, the highest score first, equal ones from the left
    order = np.lexsort((detections.classes, *detections.xyxy.T[::-1], -detections.scores))
    order = order[detections.scores[order] >= config.match.low_score]
    found = detections[order]

    tracks = _predict(state.tracks, found.warp, config.kalman)
    distances = _distances(tracks, found, config.gallery)
    scaled = state.reliability.scaled(distances)
    pairs = association.Candidates(
        predicted=tracks.motion.xyxy, last_box=tracks.last_box, missed=tracks.missed,
        boxes=found.xyxy, distances=scaled, log_ratio=state.reliability.log_ratio(scaled),
        reliability=state.reliability.value(config.appearance), persistence=persistence,
        size=found.size, match=config.match, appearance=config.appearance,
    )  # fmt: skip
    matches = association.associate(
        pairs, tracks.ids != NO_ID, found.scores, tracks.classes, found.classes
    )
    reliability = _update_reliability(state.reliability, tracks, distances, found, matches, config)
    tracks, learned, noise, next_id = _update_tracks(state, tracks, found, matches, config)

    born = association.births(found.xyxy, found.scores, found.classes, matches, config.match)
    if len(born):
        new = _tentative(found[born], state.channels, config)
        if state.frame == 0 or config.match.hits <= 1:  # there were no tracks before
            new = replace(new, ids=next_id + np.arange(len(born)))
            next_id += len(born)
        tracks, matches = Tracks.cat([tracks, new]), np.concatenate([matches, born])
    shown = np.flatnonzero((tracks.ids != NO_ID) & (matches >= 0))
    shown = shown[np.argsort(order[matches[shown]])]
    ids, boxes, rows = tracks.ids[shown], tracks.reported[shown], order[matches[shown]]
    alive = tracks.missed <= association.patience(
        tracks.ids != NO_ID, bool(state.channels), config.match, config.appearance)
    tracks = tracks if alive.all() else tracks[alive]
    state = State(tracks, reliability, learned, noise, next_id, state.frame + 1, state.channels)
    return state, ids, rows, boxes


def _predict(tracks: Tracks, warp: Doubles | None, config: motion.KalmanConfig) -> Tracks:
    """The tracks one frame later, in the image of the moved camera."""
    if warp is not None:
        tracks = replace(
            tracks, motion=motion.compensate(tracks.motion, warp),
            last_box=motion.compensate_boxes(tracks.last_box, warp),
            reported=motion.compensate_boxes(tracks.reported, warp),
            displacements=motion.compensate_displacements(tracks.displacements, warp),
        )  # fmt: skip
    return replace(tracks, motion=motion.predict(tracks.motion, config))


def _distances(tracks: Tracks, found: FrameDetections, config: GalleryConfig) -> Doubles:
    """Cosine distances `[N, D]` of appearance, NaN where either side has no embedding."""
    if found.embeddings is None:
        return np.full((len(tracks), len(found.scores)), np.nan)
    distances = tracks.appearance.distances(found.embeddings, config).astype(np.float64)
    distances[(distances >= FAR) | ~found.embeddings.any(axis=1)] = np.nan
    return distances


def _update_reliability(
    reliability: association.AppearanceReliability, tracks: Tracks, distances: Doubles,
    found: FrameDetections, matches: Integers, config: AppearanceConfig,
) -> association.AppearanceReliability:
    """With the distances among this frame's matches of high score, within a class."""
    rows = np.flatnonzero(matches >= 0)
    rows = rows[found.scores[matches[rows]] >= config.match.high_score]
    among = distances[np.ix_(rows, matches[rows])]
    own = np.eye(len(rows), dtype=bool)
    rivals = comparable(tracks.classes[rows], found.classes[matches[rows]]) & ~own
    same, other = among[own], among[rivals]
    return reliability.updated(
        same[~np.isnan(same)], other[~np.isnan(other)], config.appearance.max_distances
    )


def _update_tracks(
    state: State, tracks: Tracks, found: FrameDetections, matches: Integers,
    config: AppearanceConfig,
) -> tuple[Tracks, motion.Persistence, motion.MeasurementNoise, int]:
    """Predicted `tracks`, corrected; what is learned of motion and of noise; the next free id."""
    present = matches >= 0
    rows, own = np.flatnonzero(present), matches[present]
    predicted, boxes = tracks.motion[rows], xyxy_to_cxcywh(found.xyxy[own])
    corrected = motion.update(
        predicted, boxes, found.scores[own], config.kalman, state.noise.factor
    )
    last_box, reported = tracks.last_box.copy(), tracks.reported.copy()
    last_box[rows] = found.xyxy[own]
    reported[rows] = motion.smoothed(
        corrected, last_box[rows], found.scores[own], config.kalman, state.noise,
        state.persistence.share(config.persistence.min_pairs), found.size,
    )  # fmt: skip
    displacements, persistence = motion.advance(
        tracks.displacements, last_box, present, state.persistence, config.persistence
    )
    error = np.full_like(tracks.error, np.nan)
    error[rows] = motion.errors(predicted, boxes)
    noise = state.noise.updated(tracks.error, error, config.kalman)
    appearance = tracks.appearance
    if found.embeddings is not None:
        seen = observe(tracks.last_box, matches, found.xyxy, found.scores, found.embeddings)
        appearance = appearance.written(seen, config.gallery)
    hits = tracks.hits + present
    confirmed = present & (tracks.ids == NO_ID) & (hits >= config.match.hits)
    kinds = tracks.classes.copy()
    kinds[rows] = np.where(found.classes[own] == NO_CLASS, kinds[rows], found.classes[own])
    updated = Tracks(
        ids=np.where(confirmed, state.next_id + np.cumsum(confirmed) - 1, tracks.ids),
        classes=kinds,
        missed=np.where(present, 0, tracks.missed + 1), hits=hits,
        motion=tracks.motion.with_rows(rows, corrected), last_box=last_box, reported=reported,
        displacements=displacements, error=error, appearance=appearance,
    )  # fmt: skip
    return updated, persistence, noise, state.next_id + int(confirmed.sum())


def _tentative(found: FrameDetections, channels: int, config: AppearanceConfig) -> Tracks:
    """A track for each detection, without identity."""
    n, boxes = len(found.scores), xyxy_to_cxcywh(found.xyxy)
    appearance = gallery(config.gallery, n, channels)
    if found.embeddings is not None:
        seen = observe(found.xyxy, np.arange(n), found.xyxy, found.scores, found.embeddings)
        appearance = appearance.written(seen, config.gallery)
    return Tracks(
        ids=np.full(n, NO_ID), classes=found.classes, missed=np.zeros(n, dtype=np.int64),
        hits=np.ones(n, dtype=np.int64), motion=motion.begin(boxes, config.kalman),
        last_box=found.xyxy, reported=found.xyxy,
        displacements=motion.begin_displacements(boxes[:, :2]),
        error=np.full((n, 2), np.nan), appearance=appearance,
    )  # fmt: skip


class AppearanceTracker(Tracker):
    """Tracks objects through one video at a time, by motion and appearance.

    `embedder` is any `Embedder`; None for motion alone, or for embeddings that come with the
    detections as `data["embedding"]` `[P, C]`. `config` is the method.
    """

    def __init__(
        self, embedder: Embedder | None = None, config: AppearanceConfig | None = None
    ) -> None:
        self.embedder, self.config = embedder, config or AppearanceConfig()
        self.reset()

    def __repr__(self) -> str:
        return f"AppearanceTracker({self.embedder!r}, {len(self.state.tracks)} tracks)"

    def reset(self) -> None:
        """Forget everything: the next frame is the first of another video, ids start at 1."""
        self._check_pixels = PixelCheck()
        self._camera = CameraMotion(self.config.camera)
        self.state: State = begin(self.config)

    @property
    def tracks(self) -> list[Track]:
        """All that live after the last frame, lost ones included, in the order of their ids."""
        kept = self.state.tracks
        return listed(kept.ids, kept.reported, kept.missed, kept.classes)

    @property
    def memory_config(self) -> MemoryConfig:
        """When the sparse memory stores, or would."""
        return self.config.gallery.memory

    @property
    def remembered(self) -> Remembered | None:
        """What is known of appearance after the last frame, for `tfsasm.History`; None without."""
        rows, views = self.state.tracks.ids != NO_ID, self.state.tracks.appearance
        if self.config.gallery.kind not in ("two", "sparse") or not self.state.channels:
            return None
        kept, likeness = views[rows], self.state.reliability
        rate = 0.0
        if likeness.value(self.config.appearance):
            rate = float(np.diff(likeness.log_ratio(likeness.scaled(np.array([0.0, 1.0]))))[0])
        tracks = self.state.tracks[rows]
        return remembered(tracks.ids, kept.current, kept.means, kept.memory, tracks.missed == 0,
                          tracks.last_box, rate)  # fmt: skip

    def update(
        self, detections: Given, frame: np.ndarray | None = None, prepared: Any = None
    ) -> sv.Detections:
        """Track one frame; call it for every frame, also when nothing was detected.

        `detections` are any detector's (`Given`), in pixels; `frame` is uint8 BGR `[H, W, 3]` (grey
        and BGRA are converted). Without a frame there is no camera motion, and appearance only if
        embeddings come with the detections. Returns those of the detections that belong to a track,
        in their order, with `tracker_id` from 1 and smoothed boxes (`KalmanConfig.smoothing`).
        Raises `InputError` for a box with NaN, infinity or no area, for boxes that look normalised,
        for a frame that is not an image, and for embeddings that are not finite, zero or of another
        length than before; the state is then as before.
        """
        image = None if frame is None else as_bgr(frame)
        size = None if image is None else (image.shape[1], image.shape[0])
        found = as_detections_in_pixels(detections, size)
        xyxy, scores = boxes_and_scores(found)
        self._check_pixels(xyxy, size)
        kinds = np.full(len(xyxy), NO_CLASS) if self.config.class_agnostic else classes_of(found)
        embeddings = self._embeddings(found, xyxy, scores, kinds, image)
        state = self._state_for(embeddings)
        warp = None
        if image is not None and self.config.camera.enabled:
            warp = self._camera.update(image, xyxy[scores >= self.config.match.high_score])
        seen = FrameDetections(xyxy, scores, kinds, embeddings, warp, size)
        self.state, ids, rows, boxes = step(state, seen, self.config)
        classes = np.zeros(len(scores), int) if found.class_id is None else found.class_id
        reported: Any = found[rows]  # with all that was attached to them
        return replace(
            reported, xyxy=boxes.astype(found.xyxy.dtype), confidence=scores[rows],
            class_id=classes[rows], tracker_id=ids,
        )  # fmt: skip

    def _embeddings(
        self, found: sv.Detections, xyxy: Doubles, scores: Doubles, kinds: Integers,
        image: Image | None,
    ) -> Floats | None:
        """Unit vectors `[P, C]` of the detections or of the embedder, if there are any.

        A box that is not to be embedded has zeros.
        """
        if EMBEDDING in found.data:
            vectors = unit_vectors(found.data[EMBEDDING], len(xyxy))
            return vectors if len(vectors) else None
        if self.embedder is None or image is None or self.config.gallery.kind == "none":
            return None
        rows = to_embed(self.state, xyxy, scores, kinds, self.config)
        vectors = unit_vectors(self.embedder(image, xyxy[rows]), len(rows))
        embeddings = np.zeros((len(xyxy), vectors.shape[1]), dtype=np.float32)
        embeddings[rows] = vectors
        return embeddings if len(xyxy) else None

    def _state_for(self, embeddings: Floats | None) -> State:
        """The state with a gallery for embeddings of this length, made when the first ones come."""
        state = self.state
        if embeddings is None or embeddings.shape[1] == state.channels:
            return state
        channels = embeddings.shape[1]
        if state.channels:
            raise InputError(
                f"embeddings of {channels} values came after embeddings of {state.channels}; use "
                "one embedder for a whole video, and reset() before another"
            )
        blank = gallery(self.config.gallery, len(state.tracks), channels)
        tracks = replace(state.tracks, appearance=blank)
        return replace(state, tracks=tracks, channels=channels)


def track(
    source: GivenSource, detector: GivenDetector = "yolox-nano", tracker: Tracker | None = None
) -> Iterator[tuple[Frame, sv.Detections]]:
    """Frames of a video with the tracks in them, as they come.

        for frame, tracks in tfsasm.track("video.mp4"):
            print(frame.number, tracks.tracker_id, tracks.xyxy)

    `source` is a file, folder, address, camera index, `tfsasm.open_video(...)`, `cv2.VideoCapture`
    or any iterable of BGR images. The detector is in the package; others go by their name, or are
    a file of stored detections or a function of a frame. `tracker` is the appearance tracker with
    colour histograms, as that of `tfsasm track`. Raises as `track_video`.
    """
    if tracker is None:
        tracker = AppearanceTracker(embedder())
    return track_video(tracker, source, detector)


def to_embed(
    state: State, xyxy: Doubles, scores: Doubles, kinds: Integers, config: AppearanceConfig
) -> Integers:
    """The detections `[E]` to embed: those of high score, of those with `scores` and `kinds` `[P]`.

    With `appearance.refresh` over 1, without those that belong to a confirmed track by position
    alone, unless it is the track's turn. The camera's motion is not known yet; where it is large,
    fewer are unambiguous.
    """
    high = np.flatnonzero(scores >= config.match.high_score)
    refresh = config.appearance.refresh
    if refresh <= 1:
        return high
    tracks = state.tracks
    predicted = motion.predict(tracks.motion, config.kalman).xyxy
    track = association.unambiguous(
        predicted, tracks.last_box, tracks.missed, xyxy[high], config.match, config.appearance
    )
    # turns go by identity, so that not all tracks are embedded in the same frame
    rest = (tracks.ids != NO_ID) & ((tracks.ids + state.frame) % refresh != 0)
    if not len(tracks) or not len(high):
        return high
    columns = np.arange(len(high))
    same = comparable(tracks.classes, kinds[high])[track, columns]
    return high[~(rest[track] & same & (track >= 0))]
