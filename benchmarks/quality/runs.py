"""A tracker over clips: tracks, scores by sequence, and what is kept of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import supervision as sv
from benchmarks.quality.clips import Clip, Condition, truth_of

from tfsasm.evaluation.metrics import Report, score
from tfsasm.evaluation.protocols import PROTOCOLS, apply_protocol
from tfsasm.evaluation.trajectories import Trajectories
from tfsasm.motchallenge import TrackRows
from tfsasm.settings import pairs, with_settings
from tfsasm.tracking.appearance.gallery import gallery
from tfsasm.tracking.appearance.state import FrameDetections
from tfsasm.tracking.appearance.tracker import AppearanceConfig, begin, step
from tfsasm.tracking.baselines import ClassicTracker

VALUES = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW")


def configured(settings: str) -> AppearanceConfig:
    """The tracker's defaults, changed by settings as NAME=VALUE between spaces."""
    return with_settings(AppearanceConfig(), pairs(settings.split()))


def track_appearance(frames: Iterable[FrameDetections], config: AppearanceConfig) -> Trajectories:
    """The appearance tracker over one clip, from embeddings and camera motion that are known."""
    state = begin(config)

    def tracked() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        nonlocal state
        for seen in frames:
            vectors = seen.embeddings
            if vectors is not None:
                embedded = (seen.scores >= config.match.high_score)[:, None]
                seen = replace(seen, embeddings=np.where(embedded, vectors, np.float32(0)))
                if not state.channels and len(vectors):
                    channels = vectors.shape[1]
                    blank = gallery(config.gallery, len(state.tracks), channels)
                    state = replace(state, channels=channels,
                                    tracks=replace(state.tracks, appearance=blank))  # fmt: skip
                elif not state.channels:
                    seen = replace(seen, embeddings=None)
            state, ids, _, boxes = step(state, seen, config)
            yield ids, boxes

    return Trajectories.from_frames(tracked())


def track_classic(frames: Iterable[FrameDetections], name: str) -> Trajectories:
    """A tracker of the package `trackers` at its defaults, over boxes alone."""
    tracker = ClassicTracker(name)

    def tracked() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for seen in frames:
            found = tracker.update(sv.Detections(seen.xyxy, confidence=seen.scores))
            yield found.tracker_id, found.xyxy

    return Trajectories.from_frames(tracked())


def report(clips: Sequence[Clip], condition: Condition, tracks: dict[str, Trajectories]) -> Report:
    """The scores of tracks by the name of the clip, by the rules of the clips' benchmark."""
    truths, results = {}, {}
    for clip in clips:
        truths[clip.name], results[clip.name] = apply_protocol(
            PROTOCOLS[clip.rule], truth_of(clip, condition), _rows(tracks[clip.name]), clip.name
        )
    lengths = {clip.name: -(-clip.length // condition.stride) for clip in clips}
    return score(truths, results, lengths)


def _rows(tracks: Trajectories) -> TrackRows:
    one = np.ones(len(tracks))
    return TrackRows(tracks.frames, tracks.ids, tracks.ltwh, one, -one, -one)
