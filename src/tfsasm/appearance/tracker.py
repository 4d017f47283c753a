"""One frame of tracking by motion and looks, as a function from state to state.

The order is ByteTrack's (arXiv 2110.06864): sure detections first, then unsure ones for tracks that
got none, then people known again by looks, then beginners. No future is used and nothing is filled
in: a track that is reported in a frame has a detection there.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from tfsasm.appearance import kalman, pace
from tfsasm.appearance.arrays import Arrays, Doubles, Integers
from tfsasm.appearance.assign import assign, iou
from tfsasm.appearance.camera import CameraConfig
from tfsasm.appearance.evidence import Evidence
from tfsasm.appearance.galleries import FAR, Gallery, GalleryConfig
from tfsasm.appearance.kalman import KalmanConfig, Motion, centred
from tfsasm.appearance.pace import PaceConfig, Persistence, Ways
from tfsasm.appearance.pairs import (
    LooksConfig,
    MatchConfig,
    Pairs,
    by_looks,
    by_place,
    by_place_and_looks,
)
from tfsasm.memory import Observation

NOBODY = -1


@dataclass(frozen=True)
class AppearanceConfig:
    """The method. Every constant says where it comes from."""

    match: MatchConfig = field(default_factory=MatchConfig)
    kalman: KalmanConfig = field(default_factory=KalmanConfig)
    pace: PaceConfig = field(default_factory=PaceConfig)
    looks: LooksConfig = field(default_factory=LooksConfig)
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
    ways: Ways
    looks: Any
    """The gallery's table, `[N]` rows."""


@dataclass(frozen=True)
class State:
    """Everything that survives a frame."""

    tracks: Tracks
    evidence: Evidence = field(default_factory=Evidence)
    persistence: Persistence = field(default_factory=Persistence)
    next_id: int = 1
    frame: int = 0


@dataclass(frozen=True)
class Seen:
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

    def __getitem__(self, rows: Integers) -> Seen:
        embeddings = None if self.embeddings is None else self.embeddings[torch.from_numpy(rows)]
        return replace(self, xyxy=self.xyxy[rows], scores=self.scores[rows], embeddings=embeddings)


@dataclass(frozen=True)
class Told(Arrays):
    """The tracks of a frame that have a detection in it."""

    ids: Integers
    """`[K]`, from 1."""
    rows: Integers
    """The detection of each `[K]`."""


def begin(looks: Gallery, channels: int, config: AppearanceConfig) -> State:
    """The state before the first frame: no tracks. Embeddings will have so many `channels`."""
    return State(_beginners(Seen(np.zeros((0, 4)), np.zeros(0)), looks, channels, config))


def step(
    state: State, seen: Seen, looks: Gallery, config: AppearanceConfig, channels: int = 0
) -> tuple[State, Told]:
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
    told = (kept.ids != NOBODY) & (taken >= 0)
    answer = Told(kept.ids[told], order[taken[told]])
    alive = kept.missed <= np.where(kept.ids != NOBODY, config.match.patience, 0)
    after = kept if alive.all() else kept[alive]
    return State(after, evidence, learned, next_id, state.frame + 1), answer


def _order(seen: Seen) -> Integers:
    """Detections from the surest on, and of equal ones from the left; so their order is no matter.
    """
    return np.lexsort((*seen.xyxy.T[::-1], -seen.scores))


def _foresee(tracks: Tracks, warp: Doubles | None, config: KalmanConfig) -> Tracks:
    """The tracks where they are expected now, and were, as the camera sees it now."""
    motion, last, ways = tracks.motion, tracks.last, tracks.ways
    if warp is not None:
        motion, ways = kalman.move(motion, warp), pace.move(ways, warp)
        last = (last.reshape(-1, 2, 2) @ warp[:, :2].T + warp[:, 2]).reshape(-1, 4)
    return replace(tracks, motion=kalman.predict(motion, config), last=last, ways=ways)


def _distances(tracks: Tracks, found: Seen, looks: Gallery) -> Doubles:
    """Cosine distances `[N, D]`, NaN where either side was never looked at."""
    if found.embeddings is None:
        return np.full((len(tracks), len(found.scores)), np.nan)
    apart = looks.distances(tracks.looks, found.embeddings)
    unknown = (apart >= FAR) | ~found.embeddings.any(dim=1)
    return torch.where(unknown, torch.nan, apart).numpy().astype(np.float64)


def _trust(evidence: Evidence, config: LooksConfig) -> float:
    return evidence.trust(config.fewest, config.separation_low, config.separation_high)


def _associate(
    tracks: Tracks, found: Seen, distances: Doubles, evidence: Evidence, persistence: float,
    config: AppearanceConfig,
) -> Integers:
    """The detection of each track `[N]`, or -1."""
    rules = config.match
    confirmed, sure = tracks.ids != NOBODY, found.scores >= rules.high_score
    tracked = confirmed & (tracks.missed == 0)
    apart = evidence.scaled(distances)
    pairs = Pairs(
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
    evidence: Evidence, distances: Doubles, found: Seen, taken: Integers, config: AppearanceConfig
) -> Evidence:
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
    tracks: Tracks, found: Seen, taken: Integers, persistence: Persistence, config: PaceConfig
) -> tuple[Tracks, Persistence]:
    """The tracks with their ways one frame longer, and what was learned from those that ended."""
    present = taken >= 0
    boxes = tracks.last.copy()
    boxes[present] = found.xyxy[taken[present]]
    returned = present & (tracks.missed > 0)
    ways, persistence = pace.advance(
        tracks.ways, centred(boxes), present, returned, persistence, config
    )
    return replace(tracks, ways=ways), persistence


def _follow(
    tracks: Tracks, found: Seen, taken: Integers, next_id: int, looks: Gallery,
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
    confirmed = present & (tracks.ids == NOBODY) & (hits >= config.match.hits)
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
    tracks: Tracks, found: Seen, taken: Integers, config: AppearanceConfig
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


def _births(found: Seen, taken: Integers, rules: MatchConfig) -> Integers:
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
    found: Seen, looks: Gallery, channels: int, config: AppearanceConfig
) -> Tracks:
    """A track for each detection, so far without identity."""
    n, boxes = len(found.scores), centred(found.xyxy)
    new = Tracks(
        ids=np.full(n, NOBODY), missed=np.zeros(n, dtype=np.int64),
        hits=np.ones(n, dtype=np.int64), motion=kalman.begin(boxes, config.kalman),
        last=found.xyxy, ways=pace.begin(boxes[:, :2]), looks=looks.empty(n, channels),
    )
    if found.embeddings is None:
        return new
    shown = _observe(new, found, np.arange(n), config)
    return replace(new, looks=looks.write(new.looks, shown))
