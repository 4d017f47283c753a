"""What users hand to a tracker, checked: detections, frames, and where both come from."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import supervision as sv
from numpy.typing import NDArray

from tfsasm.detect import ProposalSource, detector, open_detections
from tfsasm.errors import InputError
from tfsasm.mot import Doubles
from tfsasm.pixels import check_detections
from tfsasm.proposals import Proposals
from tfsasm.video import Source, open_source


def open_frames(
    source: Source | Path | str | int, *, start: int, end: int | None, stride: int,
    order: Literal["natural", "name"],
) -> Source:
    """A source of frames, opened unless it is already. Raises `InputError`, as `open_source`.

    An opened one brings its own range and order.
    """
    if not isinstance(source, Source):
        return open_source(source, start=start, end=end, stride=stride, order=order)
    if (start, end, stride, order) != (1, None, 1, "natural"):
        raise InputError("this source is open already; give the range and order to open_source")
    return source


def proposal_source(
    detections: ProposalSource | Path | str | None, named: ProposalSource | str | None,
    source: Source | Path | str | int,
) -> ProposalSource:
    """What `Tracker.track` asks for boxes. Raises `InputError` unless exactly one is given."""
    if (detections is None) == (named is None):
        raise InputError("give either detections (a det.txt or det_db JSON) or a detector")
    given = detections if detections is not None else named
    if not isinstance(given, Path | str):
        return given  # type: ignore[return-value]
    if detections is None:
        return detector(str(given))
    name = source.label if isinstance(source, Source) else str(source)
    return open_detections(given, source_name=str(Path(name).resolve()))


def as_proposals(detections: sv.Detections | None, width: int, height: int) -> Proposals:
    """Any detector's boxes as the network takes them. Raises as `boxes_and_scores` does."""
    return Proposals.from_xyxy(*boxes_and_scores(detections), width, height)


def as_detections(boxes: Doubles) -> sv.Detections:
    """Stored boxes `[P, 5]`, left, top, width, height in pixels and score, all of one class."""
    return sv.Detections(
        xyxy=np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]]),
        confidence=boxes[:, 4], class_id=np.zeros(len(boxes), dtype=int),
    )  # fmt: skip


def boxes_and_scores(
    detections: sv.Detections | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel corners `[P, 4]` and scores `[P]`, which are 1 where there are none.

    Raises `InputError` for a box with NaN, infinity or no area, naming its row.
    """
    if detections is None or len(detections) == 0:
        return np.zeros((0, 4)), np.zeros(0)
    xyxy = np.asarray(detections.xyxy, dtype=np.float64)
    given = detections.confidence
    scores = np.asarray(np.ones(len(xyxy)) if given is None else given, dtype=np.float64)
    check_detections(xyxy, scores)
    return xyxy, scores
