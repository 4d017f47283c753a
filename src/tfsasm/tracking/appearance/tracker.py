"""One frame of tracking by motion and looks, as a function from state to state.

The order is ByteTrack's (arXiv 2110.06864): sure detections first, then unsure ones for tracks that
got none, then people known again by looks, then beginners. No future is used and nothing is filled
in: a track that is reported in a frame has a detection there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import supervision as sv
import torch

from tfsasm.boxes import cxcywh_to_xyxy
from tfsasm.detection.detectors import Detector
from tfsasm.detection.proposals import Proposals, boxes_and_scores
from tfsasm.errors import InputError
from tfsasm.runtime.preprocess import as_bgr
from tfsasm.tracking.appearance import camera
from tfsasm.tracking.appearance import motion as kalman
from tfsasm.tracking.appearance.arrays import Arrays, Doubles, Integers
from tfsasm.tracking.appearance.association import (
    AppearanceReliability,
    AppearanceWeightConfig,
    Candidates,
    MatchConfig,
    assign,
    by_looks,
    by_place,
    by_place_and_looks,
    clear,
    iou,
)
from tfsasm.tracking.appearance.camera import CameraConfig
from tfsasm.tracking.appearance.embedders import Embedder, Floats, Image
from tfsasm.tracking.appearance.gallery import FAR, Gallery, GalleryConfig, gallery
from tfsasm.tracking.appearance.motion import (
    Displacements,
    KalmanConfig,
    Motion,
    Persistence,
    PersistenceConfig,
    centred,
)
from tfsasm.tracking.memory import Observation
from tfsasm.tracking.run import open_frames, proposal_source
from tfsasm.video.prefetch import prefetch
from tfsasm.video.source import Frame, Source

NO_ID = -1


@dataclass(frozen=True)
class AppearanceConfig:
    """The method. Every constant says where it comes from."""

    match: MatchConfig = field(default_factory=MatchConfig)
    kalman: KalmanConfig = field(default_factory=KalmanConfig)
    pace: PersistenceConfig = field(default_factory=PersistenceConfig)
    looks: AppearanceWeightConfig = field(default_factory=AppearanceWeightConfig)
    gallery: GalleryConfig = field(default_factory=GalleryConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)


@dataclass(frozen=True)
class Tracks(Arrays):
    """What lives from frame to frame."""

    ids: Integers
    """`[N]` from 1, or `NOBODY` for a beginner."""
    missed: Integers
    """Frames since the last detection `[N]`."""
    hits: Integers
    """Detections so far `[N]`."""
    motion: Motion
    last: Doubles
    """The last detection of each `[N, 4]`, pixel corners."""
    ways: Displacements
    looks: Any
    """The gallery's table, `[N]` rows."""


@dataclass(frozen=True)
class State:
    """Everything that survives a frame."""

    tracks: Tracks
    evidence: AppearanceReliability = field(default_factory=AppearanceReliability)
    persistence: Persistence = field(default_factory=Persistence)
    next_id: int = 1
    frame: int = 0


@dataclass(frozen=True)
class FrameDetections:
    """What there is to see in a frame."""

    xyxy: Doubles
    """Pixel corners `[D, 4]`."""
    scores: Doubles
    """`[D]`."""
    embeddings: torch.Tensor | None = None
    """Unit vectors `[D, C]` float32; a row of zeros for a box that was not looked at."""
    warp: Doubles | None = None
    """How the camera moved `[2, 3]`, if it did."""
    size: tuple[int, int] | None = None
    """Width and height of the image, if there is one."""

    def __getitem__(self, rows: Integers) -> FrameDetections:
        embeddings = None if self.embeddings is None else self.embeddings[torch.from_numpy(rows)]
        return replace(self, xyxy=self.xyxy[rows], scores=self.scores[rows], embeddings=embeddings)


@dataclass(frozen=True)
class Matched(Arrays):
    """The tracks of a frame that have a detection in it."""

    ids: Integers
    """`[K]`, from 1."""
    rows: Integers
    """The detection of each `[K]`."""


def begin(looks: Gallery, channels: int, config: AppearanceConfig) -> State:
    """The state before the first frame: no tracks. Embeddings will have so many `channels`."""
    return State(
        _beginners(FrameDetections(np.zeros((0, 4)), np.zeros(0)), looks, channels, config)
    )


def step(
    state: State, seen: FrameDetections, looks: Gallery, config: AppearanceConfig, channels: int = 0
) -> tuple[State, Matched]:
    """One frame: the next state, and the tracks that have a detection in it.

    The answer does not depend on the order of the detections, except for those that are alike in
    box and score.
    """
    persistence = state.persistence.share(config.pace.fewest)
    config = replace(config, kalman=kalman.paced(config.kalman, persistence))
    order = _order(seen)
    order = order[seen.scores[order] >= config.match.low_score]
    found = seen[order]
    tracks = _foresee(state.tracks, found.warp, config.kalman)
    distances = _distances(tracks, found, looks)
    taken = _associate(tracks, found, distances, state.evidence, persistence, config)
    evidence = _learn(state.evidence, distances, found, taken, config)
    tracks, learned = _go_on(tracks, found, taken, state.persistence, config.pace)

    kept, next_id = _follow(tracks, found, taken, state.next_id, looks, config)
    born = _births(found, taken, config.match)
    if len(born):
        new = _beginners(found[born], looks, channels, config)
        if state.frame == 0 or config.match.hits <= 1:  # nobody was there before
            new = replace(new, ids=next_id + np.arange(len(born)))
            next_id += len(born)
        kept, taken = Tracks.cat([kept, new]), np.concatenate([taken, born])
    told = (kept.ids != NO_ID) & (taken >= 0)
    answer = Matched(kept.ids[told], order[taken[told]])
    alive = kept.missed <= np.where(kept.ids != NO_ID, config.match.patience, 0)
    after = kept if alive.all() else kept[alive]
    return State(after, evidence, learned, next_id, state.frame + 1), answer


def _order(seen: FrameDetections) -> Integers:
    """Detections from the surest on, and of equal ones from the left; so their order is no matter.
    """
    return np.lexsort((*seen.xyxy.T[::-1], -seen.scores))


def _foresee(tracks: Tracks, warp: Doubles | None, config: KalmanConfig) -> Tracks:
    """The tracks where they are expected now, and were, as the camera sees it now."""
    motion, last, ways = tracks.motion, tracks.last, tracks.ways
    if warp is not None:
        motion, ways = kalman.move(motion, warp), kalman.move_displacements(ways, warp)
        last = (last.reshape(-1, 2, 2) @ warp[:, :2].T + warp[:, 2]).reshape(-1, 4)
    return replace(tracks, motion=kalman.predict(motion, config), last=last, ways=ways)


def _distances(tracks: Tracks, found: FrameDetections, looks: Gallery) -> Doubles:
    """Cosine distances `[N, D]`, NaN where either side was never looked at."""
    if found.embeddings is None:
        return np.full((len(tracks), len(found.scores)), np.nan)
    apart = looks.distances(tracks.looks, found.embeddings)
    unknown = (apart >= FAR) | ~found.embeddings.any(dim=1)
    return torch.where(unknown, torch.nan, apart).numpy().astype(np.float64)


def _trust(evidence: AppearanceReliability, config: AppearanceWeightConfig) -> float:
    return evidence.trust(config.fewest, config.separation_low, config.separation_high)


def _associate(
    tracks: Tracks,
    found: FrameDetections,
    distances: Doubles,
    evidence: AppearanceReliability,
    persistence: float,
    config: AppearanceConfig,
) -> Integers:
    """The detection of each track `[N]`, or -1."""
    rules = config.match
    confirmed, sure = tracks.ids != NO_ID, found.scores >= rules.high_score
    tracked = confirmed & (tracks.missed == 0)
    apart = evidence.scaled(distances)
    pairs = Candidates(
        tracks.motion.xyxy, tracks.last, tracks.missed, found.xyxy, apart,
        evidence.against(apart), _trust(evidence, config.looks),
        persistence, found.size, rules, config.looks,
    )
    taken = np.full(len(tracks), -1)
    for rows, columns, judge in (
        (confirmed, sure, by_place_and_looks), (tracked, ~sure, by_place),
        (confirmed, sure, by_looks), (~confirmed, sure, by_place_and_looks),
    ):
        free = columns.copy()
        free[taken[taken >= 0]] = False
        a, b = np.flatnonzero(rows & (taken < 0)), np.flatnonzero(free)
        if len(a) and len(b):
            first, second = assign(*judge(pairs.of(a, b)))
            taken[a[first]] = b[second]
    return taken


def _learn(
    evidence: AppearanceReliability,
    distances: Doubles,
    found: FrameDetections,
    taken: Integers,
    config: AppearanceConfig,
) -> AppearanceReliability:
    """What this frame's matches say about looks; only sure detections count."""
    rows = np.flatnonzero(taken >= 0)
    rows = rows[found.scores[taken[rows]] >= config.match.high_score]
    among = distances[np.ix_(rows, taken[rows])]
    own = np.eye(len(rows), dtype=bool)
    same, other = among[own], among[~own]
    return evidence.learn(
        same[~np.isnan(same)], other[~np.isnan(other)], config.looks.most
    )


def _go_on(
    tracks: Tracks,
    found: FrameDetections,
    taken: Integers,
    persistence: Persistence,
    config: PersistenceConfig,
) -> tuple[Tracks, Persistence]:
    """The tracks with their ways one frame longer, and what was learned from those that ended."""
    present = taken >= 0
    boxes = tracks.last.copy()
    boxes[present] = found.xyxy[taken[present]]
    returned = present & (tracks.missed > 0)
    ways, persistence = kalman.advance(
        tracks.ways, centred(boxes), present, returned, persistence, config
    )
    return replace(tracks, ways=ways), persistence


def _follow(
    tracks: Tracks, found: FrameDetections, taken: Integers, next_id: int, looks: Gallery,
    config: AppearanceConfig,
) -> tuple[Tracks, int]:
    """The tracks after the frame, and the first number not given away."""
    present = taken >= 0
    rows, own = np.flatnonzero(present), taken[present]
    boxes = found.xyxy[own]
    motion = _replaced(tracks.motion, rows, kalman.update(
        tracks.motion[rows], centred(boxes), found.scores[own], centred(tracks.last[rows]),
        tracks.missed[rows], config.kalman,
    ))
    hits = tracks.hits + present
    confirmed = present & (tracks.ids == NO_ID) & (hits >= config.match.hits)
    ids = np.where(confirmed, next_id + np.cumsum(confirmed) - 1, tracks.ids)
    last = tracks.last.copy()
    last[rows] = boxes
    remembered = tracks.looks
    if found.embeddings is not None:
        remembered = looks.write(remembered, _observe(tracks, found, taken, config))
    after = Tracks(
        ids, np.where(present, 0, tracks.missed + 1), hits, motion, last, tracks.ways, remembered
    )
    return after, next_id + int(confirmed.sum())


def _observe(
    tracks: Tracks, found: FrameDetections, taken: Integers, config: AppearanceConfig
) -> Observation:
    """What the gallery is told: view, travel in heights of the box, cover, score, presence."""
    n = len(tracks)
    rows = np.flatnonzero(taken >= 0)
    own = taken[rows]
    travel, overlap, score = np.zeros(n), np.full(n, np.nan), np.zeros(n)
    before, now = centred(tracks.last[rows]), centred(found.xyxy[own])
    travel[rows] = np.linalg.norm(now[:, :2] - before[:, :2], axis=1) / now[:, 3]
    overlap[rows] = covered(found.xyxy)[own]
    score[rows] = found.scores[own]
    embeddings = found.embeddings
    assert embeddings is not None
    view = torch.zeros(n, embeddings.shape[1])
    view[rows] = embeddings[own]
    travelled, cover, sure = (torch.from_numpy(x).float() for x in (travel, overlap, score))
    return Observation(view, travelled, cover, sure, view.any(dim=1))


def covered(xyxy: Doubles) -> Doubles:
    """Largest IoU `[D]` of each box with another; 0 if alone."""
    among = iou(xyxy, xyxy)
    np.fill_diagonal(among, 0.0)
    return among.max(axis=1, initial=0.0)


def _replaced(table: Motion, rows: Integers, by: Motion) -> Motion:
    """`table` with some rows replaced."""
    columns = {}
    for name, column in vars(table).items():
        columns[name] = column.copy()
        columns[name][rows] = getattr(by, name)
    return Motion(**columns)


def _births(found: FrameDetections, taken: Integers, rules: MatchConfig) -> Integers:
    """The detections `[B]` that begin a track: sure, nobody's, and no double of a better one.

    A better one is somebody's, or surer; `found` begins with the surest.
    """
    own = taken[taken >= 0]
    free = found.scores >= rules.birth_score
    free[own] = False
    new = np.flatnonzero(free)
    doubled = iou(found.xyxy[new], found.xyxy[own]).max(axis=1, initial=0.0)
    among = np.tril(iou(found.xyxy[new], found.xyxy[new]), -1).max(axis=1, initial=0.0)
    return new[np.maximum(doubled, among) < rules.birth_overlap]


def _beginners(
    found: FrameDetections, looks: Gallery, channels: int, config: AppearanceConfig
) -> Tracks:
    """A track for each detection, so far without identity."""
    n, boxes = len(found.scores), centred(found.xyxy)
    new = Tracks(
        ids=np.full(n, NO_ID),
        missed=np.zeros(n, dtype=np.int64),
        hits=np.ones(n, dtype=np.int64),
        motion=kalman.begin(boxes, config.kalman),
        last=found.xyxy,
        ways=kalman.begin_displacements(boxes[:, :2]),
        looks=looks.empty(n, channels),
    )
    if found.embeddings is None:
        return new
    shown = _observe(new, found, np.arange(n), config)
    return replace(new, looks=looks.write(new.looks, shown))

KEY = "embedding"
"""Under this name `detections.data` may bring vectors of its own."""


class AppearanceTracker:
    """Follows objects through one video at a time, by motion and by looks.

    `embedder` is any `Embedder`; None for motion alone, or for vectors that come with the
    detections as `data["embedding"]` `[P, C]`. `config` is the method.
    """

    def __init__(
        self, embedder: Embedder | None = None, config: AppearanceConfig | None = None
    ) -> None:
        self.embedder, self.config = embedder, config or AppearanceConfig()
        self._gallery = gallery(self.config.gallery)
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is the first of another video, ids start at 1."""
        self._channels = 0
        self._view: camera.View | None = None
        self.state: State = begin(self._gallery, 0, self.config)

    def update(
        self, detections: sv.Detections | Proposals | None, frame: np.ndarray | None = None
    ) -> sv.Detections:
        """Track one frame; call it for every frame, also when nothing was detected.

        `detections` are any detector's, `xyxy` in pixels; `frame` is uint8 BGR `[H, W, 3]` (grey
        and BGRA are converted). Without a frame nobody's looks are seen, unless vectors come with
        the detections. Returns those of the detections that belong to a track, in their order, with
        `tracker_id` from 1. Raises `InputError` for a box with NaN, infinity or no area, for a
        frame that is not an image, and for vectors that are not finite, zero or of another length
        than before; the state is then as before.
        """
        image = None if frame is None else as_bgr(frame)
        found = _in_pixels(detections, image)
        xyxy, scores = boxes_and_scores(found)
        vectors = self._vectors(found, xyxy, scores, image)
        return self._conclude(found, xyxy, scores, vectors, self._warp(image, xyxy, scores), image)

    def track(
        self, source: Source | Path | str | int, *,
        detections: Detector | Path | str | None = None,
        detector: Detector | str | None = None,
        start: int = 1, end: int | None = None, stride: int = 1,
        order: Literal["natural", "name"] = "natural", in_advance: int = 2,
    ) -> Iterator[tuple[Frame, sv.Detections]]:
        """Track a whole video, folder, camera or stream, from a fresh state, frame by frame.

        The arguments are those of `tfsasm.Tracker.track`. One thread decodes and detects, up to
        `in_advance` frames before they are tracked; 0 for none.
        """
        proposals = proposal_source(detections, detector, source)
        opened = open_frames(source, start=start, end=end, stride=stride, order=order)
        self.reset()
        looked = ((frame, proposals(frame)) for frame in opened)
        with opened, closing(prefetch(looked, in_advance)) as ready:
            for frame, boxes in ready:
                yield frame, self.update(boxes, frame.image)

    def _vectors(
        self, found: sv.Detections, xyxy: Doubles, scores: Doubles, image: Image | None
    ) -> Floats | None:
        """Unit vectors `[P, C]`, those of the detections or of the embedder, if there are any.

        A box that is too unsure to be looked at, or need not be, has zeros.
        """
        if KEY in found.data:
            return _checked(found.data[KEY], len(xyxy))
        if self.embedder is None or image is None or self.config.gallery.kind == "none":
            return None
        rows = worth_a_look(self.state, xyxy, scores, self.config)
        made = _checked(self.embedder(image, xyxy[rows]), len(rows))
        vectors = np.zeros((len(xyxy), made.shape[1]), dtype=np.float32)
        vectors[rows] = made
        return vectors

    def _warp(self, image: Image | None, xyxy: Doubles, scores: Doubles) -> Doubles | None:
        """How the camera moved since the last frame, if it did."""
        if image is None or not self.config.camera.on:
            return None
        view = camera.look(image, xyxy[scores >= self.config.match.high_score], self.config.camera)
        warp = camera.moved(self._view, view, self.config.camera)
        self._view = view
        return None if warp is camera.STILL else warp

    def _conclude(
        self, found: sv.Detections, xyxy: Doubles, scores: Doubles, vectors: Floats | None,
        warp: Doubles | None, image: Image | None,
    ) -> sv.Detections:
        """One step of the state, and what it says of the detections."""
        state = self.state
        if vectors is not None and len(vectors):
            state = self._with_channels(state, vectors.shape[1])
        embeddings = None if vectors is None or not len(vectors) else torch.from_numpy(vectors)
        size = None if image is None else (image.shape[1], image.shape[0])
        seen = FrameDetections(xyxy, scores, embeddings, warp, size)
        self.state, told = step(state, seen, self._gallery, self.config, self._channels)
        order = np.argsort(told.rows)
        rows = told.rows[order]
        classes = np.zeros(len(scores), dtype=int) if found.class_id is None else found.class_id
        mask = None if found.mask is None else found.mask[rows]
        return sv.Detections(
            xyxy=np.asarray(found.xyxy)[rows], mask=mask,
            confidence=scores[rows], class_id=classes[rows], tracker_id=told.ids[order],
            data={key: _selected(values, rows) for key, values in found.data.items()},
        )

    def _with_channels(self, state: State, channels: int) -> State:
        """The state with a gallery for vectors of this length, begun when the first ones come."""
        if self._channels and channels != self._channels:
            raise InputError(
                f"vectors of {channels} values came after vectors of {self._channels}; use one "
                "embedder for a whole video, and reset() before another"
            )
        if not self._channels:
            blank = self._gallery.empty(len(state.tracks), channels)
            state = replace(state, tracks=replace(state.tracks, looks=blank))
            self._channels = channels
        return state


def worth_a_look(
    state: State, xyxy: Doubles, scores: Doubles, config: AppearanceConfig
) -> Integers:
    """The detections `[E]` to embed: the sure ones, of `xyxy` `[P, 4]` and `scores` `[P]`.

    With `looks.refresh` over 1, without those that clearly belong to a track by place, unless it is
    not confirmed yet or its turn has come. The camera's motion is not known here; where it is
    large, fewer are clear.
    """
    sure = np.flatnonzero(scores >= config.match.high_score)
    if config.looks.refresh <= 1:
        return sure
    tracks = state.tracks
    expected = kalman.predict(tracks.motion, config.kalman).xyxy
    track = clear(expected, tracks.last, tracks.missed, xyxy[sure], config.match, config.looks)
    # turns go by number, so that not all tracks are looked at in the same frame
    rest = (tracks.ids != NO_ID) & ((tracks.ids + state.frame) % config.looks.refresh != 0)
    return sure[~(np.append(rest, False)[track] & (track >= 0))]


def _selected(values: Any, rows: Integers) -> Any:
    """Rows of an array or a list, as what it was."""
    return [values[row] for row in rows] if isinstance(values, list) else values[rows]


def _in_pixels(detections: sv.Detections | Proposals | None, image: Image | None) -> sv.Detections:
    if detections is None:
        return sv.Detections.empty()
    if isinstance(detections, sv.Detections):
        return detections
    if image is None:
        raise InputError("proposals are in units of the image; give the frame, or sv.Detections")
    height, width = image.shape[:2]
    xyxy = cxcywh_to_xyxy(detections.boxes.double()).numpy() * [width, height, width, height]
    return sv.Detections(xyxy=xyxy, confidence=detections.scores.double().numpy())


def _checked(given: object, boxes: int) -> Floats:
    """Vectors as unit vectors `[P, C]` float32. Raises `InputError` for what is none."""
    vectors = np.asarray(given)
    if vectors.ndim != 2 or len(vectors) != boxes or vectors.dtype.kind not in "fiu":
        raise InputError(
            f"embeddings are numbers [{boxes}, C], a vector per detection, not {vectors.dtype} "
            f"{list(vectors.shape)}"
        )
    vectors = vectors.astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    bad = ~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0)
    if bad.any():
        row = int(bad.argmax())
        what = "zero" if lengths[row] == 0 else "not finite"
        raise InputError(f"the embedding of detection {row} is {what}; drop the box, or mend it")
    return vectors / lengths
