"""What the appearance tracker keeps of its tracks, and what it knows of a frame."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tfsasm.tables import Doubles, Floats, Integers, Table
from tfsasm.tracking.appearance.association import AppearanceReliability
from tfsasm.tracking.appearance.motion import (
    Displacements,
    MeasurementNoise,
    Motion,
    Persistence,
)


@dataclass(frozen=True)
class Tracks(Table):
    """What is kept of N tracks from frame to frame."""

    ids: Integers
    """`[N]` from 1, or `NO_ID` for a tentative track."""
    classes: Integers
    """`[N]`, or `NO_CLASS`."""
    missed: Integers
    """Frames since the last detection `[N]`."""
    hits: Integers
    """Detections so far `[N]`."""
    motion: Motion
    last_box: Doubles
    """The last detection of each `[N, 4]`, pixel corners."""
    reported: Doubles
    """The same, smoothed (`motion.smoothed`) `[N, 4]`."""
    displacements: Displacements
    error: Doubles
    """Of the prediction in the last frame `[N, 2]` (`motion.errors`), NaN without a detection."""
    appearance: Any
    """The gallery's table, `[N]` rows."""


@dataclass(frozen=True)
class State:
    """Everything that survives a frame."""

    tracks: Tracks
    reliability: AppearanceReliability = field(default_factory=AppearanceReliability)
    persistence: Persistence = field(default_factory=Persistence)
    noise: MeasurementNoise = field(default_factory=MeasurementNoise)
    next_id: int = 1
    frame: int = 0
    channels: int = 0
    """Values of an embedding; 0 until the first ones come."""


@dataclass(frozen=True)
class FrameDetections:
    """The detections of a frame, and what else is known of it."""

    xyxy: Doubles
    """Pixel corners `[D, 4]`."""
    scores: Doubles
    """`[D]`."""
    classes: Integers
    """`[D]`, or `NO_CLASS`."""
    embeddings: Floats | None = None
    """Unit vectors `[D, C]`; zeros for a detection without."""
    warp: Doubles | None = None
    """The camera's motion `[2, 3]`, None for none."""
    size: tuple[int, int] | None = None
    """Width and height of the image, if there is one."""

    def __getitem__(self, rows: Integers) -> FrameDetections:
        embeddings = None if self.embeddings is None else self.embeddings[rows]
        return replace(
            self, xyxy=self.xyxy[rows], scores=self.scores[rows], classes=self.classes[rows],
            embeddings=embeddings,
        )  # fmt: skip
