"""The tracker that users hold: any detector's boxes in, the same boxes with identities out.

It has the face of `tfsasm.Tracker` and needs no weights but the detector's. What it hands back are
the caller's own detections, those that belong to a track, with all that was attached to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import supervision as sv
import torch

from tfsasm.appearance import camera, kalman
from tfsasm.appearance.arrays import Doubles, Integers
from tfsasm.appearance.embed import Embedder, Floats, Image
from tfsasm.appearance.galleries import gallery
from tfsasm.appearance.pairs import clear
from tfsasm.appearance.tracker import NOBODY, AppearanceConfig, Seen, State, begin, step
from tfsasm.boxes import cxcywh_to_xyxy
from tfsasm.detect import ProposalSource
from tfsasm.errors import InputError
from tfsasm.intake import boxes_and_scores, open_frames, proposal_source
from tfsasm.pipeline import ahead
from tfsasm.pixels import as_bgr
from tfsasm.proposals import Proposals
from tfsasm.video import Frame, Source

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
        detections: ProposalSource | Path | str | None = None,
        detector: ProposalSource | str | None = None,
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
        with opened, closing(ahead(looked, in_advance)) as ready:
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
        seen = Seen(xyxy, scores, embeddings, warp, size)
        self.state, told = step(state, seen, self._gallery, self.config, self._channels)
        order = np.argsort(told.rows)
        rows = told.rows[order]
        classes = np.zeros(len(scores), dtype=int) if found.class_id is None else found.class_id
        mask = None if found.mask is None else found.mask[rows]
        return sv.Detections(
            xyxy=np.asarray(found.xyxy)[rows], mask=mask,
            confidence=scores[rows], class_id=classes[rows], tracker_id=told.ids[order],
            data={key: _chosen(values, rows) for key, values in found.data.items()},
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
    rest = (tracks.ids != NOBODY) & ((tracks.ids + state.frame) % config.looks.refresh != 0)
    return sure[~(np.append(rest, False)[track] & (track >= 0))]


def _chosen(values: Any, rows: Integers) -> Any:
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
