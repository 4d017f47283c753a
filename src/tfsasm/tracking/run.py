"""What users hand to a tracker, checked: detections, frames, and where both come from."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tfsasm.detection.detectors import Detector, detector
from tfsasm.detection.stored import open_detections
from tfsasm.errors import InputError
from tfsasm.video.source import Source, open_video


def open_frames(
    source: Source | Path | str | int, *, start: int, end: int | None, stride: int,
    order: Literal["natural", "name"],
) -> Source:
    """A source of frames, opened unless it is already. Raises `InputError`, as `open_source`.

    An opened one brings its own range and order.
    """
    if not isinstance(source, Source):
        return open_video(source, start=start, end=end, stride=stride, order=order)
    if (start, end, stride, order) != (1, None, 1, "natural"):
        raise InputError("this source is open already; give the range and order to open_source")
    return source


def proposal_source(
    detections: Detector | Path | str | None, named: Detector | str | None,
    source: Source | Path | str | int,
) -> Detector:
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
