"""A training clip: the tracker's own functions driven by the ground truth (SPEC 9.4-9.8).

There is no second path for training. The network encodes, decodes and refreshes as it does when
tracking; only the identities come from `match_frame` instead of `association.update_status`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tfsasm.boxes import cxcywh_to_xyxy, iou_matrix
from tfsasm.motrv2.model import MOTRv2, denoising_mask
from tfsasm.motrv2.transformer import Features, Prediction, Queries
from tfsasm.tables import Table
from tfsasm.tracking.config import NO_ID
from tfsasm.training.losses import (
    NO_TARGET,
    LossConfig,
    Matches,
    Targets,
    frame_loss,
    match_frame,
    total_loss,
)


@dataclass(frozen=True)
class FrameDetections(Table):
    """What a detector found in a frame."""

    boxes: Tensor
    """`[P, 4]` float32, normalised cxcywh."""
    scores: Tensor
    """`[P]` float32."""


@dataclass(frozen=True)
class Clip:
    """A few frames of one video, ready for the network."""

    images: Tensor
    """Normalised RGB `[T, 3, h, w]`."""
    targets: list[Targets]
    """Ground truth, one per frame."""
    detections: list[FrameDetections]
    """Detections, one per frame."""

    def to(self, device: torch.device) -> Clip:
        """The same clip on another device."""
        return Clip(
            self.images.to(device),
            [targets.to(device) for targets in self.targets],
            [detections.to(device) for detections in self.detections],
        )


@dataclass(frozen=True)
class ClipConfig:
    """How a clip is trained. The defaults are the published recipe; `tiny` departs from some."""

    loss: LossConfig = field(default_factory=LossConfig)
    denoising: float = 0.05
    """Noise of the denoising queries as a share of the box; 0 leaves them out."""
    keep_score: float = 0.5
    """A query without identity is kept for the next frame above this score (SPEC 9.7)."""
    keep_iou: float = 0.5
    """A query loses its identity when its box overlaps the target no more than this."""
    refresh_score: float = 0.5
    """A track is refreshed above this score..."""
    refresh_matched: bool = False
    """...or whenever a target is assigned to it. Early in training few tracks score above 0.5, and
    without this refreshing is never learned; the published recipe starts from COCO weights."""
    selection: Literal["motrv2", "motr"] = "motrv2"
    """Which queries go on: also sure ones without identity, and badly placed ones without theirs;
    or as in MOTR (SPEC 11.4) well placed tracks alone, to which false ones are added near them."""
    track_drop: float = 0.0
    """Chance of dropping each track between frames, for births in mid-clip (MOTR 0.1)."""
    false_tracks: float = 0.0
    """Chance per track of keeping a query without identity: the most confident ones, or with the
    selection of MOTR for each track the nearest (MOTR 0.3)."""
    checkpointing: bool = False
    """Frames but the last are computed twice instead of being kept in memory (SPEC 9.8)."""


@dataclass(frozen=True)
class ClipTracks(Table):
    """Tracks that training carries from frame to frame."""

    ids: Tensor
    """`[A]` int64."""
    iou: Tensor
    """`[A]`."""
    queries: Queries

    @classmethod
    def unassigned(cls, queries: Queries) -> ClipTracks:
        """Queries without an identity. Their IoU starts at 1 (SPEC 5.3)."""
        n, like = len(queries), queries.boxes
        ids = torch.full((n,), NO_ID, dtype=torch.int64, device=like.device)
        return cls(ids, like.new_ones(n), queries)


def clip_loss(
    model: MOTRv2, clip: Clip, config: ClipConfig, generator: torch.Generator | None = None,
    count: float | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of one clip, weighted and divided by the number of its targets, and its parts by name.

    `count` is the number to divide by instead: of a step of several clips, the mean of theirs.
    All frames go through backbone and encoder in one batch, since neither needs a state; with
    `checkpointing` one by one: slower by a third, in a fraction of the memory.
    """
    features = None if config.checkpointing else model.encode(clip.images)
    carried: ClipTracks | None = None
    losses = []
    for index, (targets, found) in enumerate(zip(clip.targets, clip.detections, strict=True)):
        new = ClipTracks.unassigned(model.queries(found.boxes, found.scores))
        tracks = new if carried is None else ClipTracks.cat([new, carried])
        noised = None
        if config.denoising:
            boxes = noise_boxes(targets.boxes, config.denoising, generator)
            noised = model.denoising_queries(boxes)
        frame = clip.images[index : index + 1] if features is None else features[index]
        twice = config.checkpointing and index < len(clip.targets) - 1
        decode = partial(checkpoint, _decode, use_reentrant=False) if twice else _decode
        predictions, denoised = decode(model, frame, tracks.queries, noised)
        matches = match_frame(tracks.ids, tracks.iou, predictions[-1], targets, config.loss)
        losses.append(
            frame_loss(predictions, tracks.ids, matches, targets, config.loss, denoised=denoised)
        )
        carried = next_tracks(model, tracks, predictions[-1], matches, config, generator)
    own = sum(len(targets) for targets in clip.targets)
    return total_loss(losses, own if count is None else count, config.loss)


def noise_boxes(boxes: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """Boxes `[G, 4]` moved and scaled by up to `share` of their own size (SPEC 9.4)."""
    r = torch.rand(boxes.shape, generator=generator).to(boxes) * 2 - 1
    size = boxes[:, 2:]
    return torch.cat([boxes[:, :2] + share * size * r[:, :2], size * (1 + share * r[:, 2:])], dim=1)


def _decode(
    model: MOTRv2, frame: Features | Tensor, queries: Queries, noised: Queries | None
) -> tuple[list[Prediction], list[Prediction]]:
    """Predictions of the normal and of the denoising queries, one per layer each.

    `frame` is what the network makes of an image, or the image `[1, 3, h, w]`.
    """
    features = model.encode(frame) if isinstance(frame, Tensor) else frame
    if noised is None:
        return model.decode(features, queries), []
    n = len(queries)
    attention_mask = denoising_mask(n, len(noised), queries.boxes.device)
    both = model.decode(features, Queries.cat([queries, noised]), attention_mask)
    return [p[:n] for p in both], [p[n:] for p in both]


def next_tracks(
    model: MOTRv2, tracks: ClipTracks, prediction: Prediction, matches: Matches,
    config: ClipConfig, generator: torch.Generator | None = None,
) -> ClipTracks:
    """The queries that are kept for the next frame, refreshed (SPEC 9.7)."""
    score = prediction.logits.detach().sigmoid().amax(dim=1)
    has_id, placed = matches.ids != NO_ID, ~(matches.iou <= config.keep_iou)
    as_motr = config.selection == "motr"
    keep = has_id & placed if as_motr else has_id | (score > config.keep_score)
    if config.track_drop:
        keep &= ~(has_id & _chance(len(keep), config.track_drop, generator, keep.device))
    if config.false_tracks:
        drawn = _chance(len(keep), config.false_tracks, generator, keep.device)
        if as_motr:
            keep[_nearest(prediction.boxes.detach(), drawn & keep, ~has_id)] = True
        else:  # as many as tracks were drawn, the most confident ones
            drawn &= has_id
            without = torch.where(has_id, -1.0, score)
            keep[without.topk(min(int(drawn.sum()), int((~has_id).sum()))).indices] = True

    ids = torch.where(placed, matches.ids, NO_ID)
    present = score > config.refresh_score
    if config.refresh_matched:
        present = present | ((ids != NO_ID) & (matches.target != NO_TARGET))
    refreshed = model.refresh(tracks.queries[keep], prediction[keep], present[keep])
    return ClipTracks(ids[keep], matches.iou[keep], refreshed)


def _nearest(boxes: Tensor, tracks: Tensor, free: Tensor) -> Tensor:
    """Rows of the `free` `[N]` bool that overlap each of the `tracks` `[N]` most; all if too few.
    """
    rows = free.nonzero()[:, 0]
    if int(tracks.sum()) >= len(rows):
        return rows
    xyxy = cxcywh_to_xyxy(boxes)
    return rows[iou_matrix(xyxy[tracks], xyxy[rows]).argmax(dim=1)]


def _chance(n: int, p: float, generator: torch.Generator | None, device: torch.device) -> Tensor:
    return (torch.rand(n, generator=generator) < p).to(device)
