"""The settings of the query tracker, and its presets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from tfsasm.errors import InputError

NO_ID = -1
"""The identity of a query without one."""


@dataclass(frozen=True)
class LifecycleConfig:
    """Births, losses and deaths as published. The inequalities differ on purpose (QUIRK-10)."""

    birth_score: float = 0.5
    """A query without identity at or above it is born."""
    miss_score: float = 0.5
    """A track strictly below it is absent in this frame."""
    miss_tolerance: int = 20
    """Consecutive absent frames after which a track dies, the last one included."""


MOST_VIEWS = 10_000  # per track; the features of more would ask for gigabytes


@dataclass(frozen=True)
class MemoryConfig:
    """When the sparse memory stores and what it prefers.

    The defaults are the published run (SPEC 8). `docs/fidelity.md` has what each departs from.
    """

    capacity: int = 10
    """Views kept per track; the oldest is dropped first. 0 turns the memory off."""
    min_travel: float = 0.1
    """Travel since the last store that makes a new one, in the unit of `Observation.travel`."""
    max_gap: int = 10
    """Frames without a store after which one is forced (strictly more than)."""
    min_score: float = 0.8
    """A store by travel needs a score strictly above this."""
    overlap_decay: float = 0.0
    """Per frame, the bar for a new candidate rises by this share (the paper's lambda; off)."""
    first_overlap: float = 0.0
    """Bar before the first store: 0 as released (only wholly free views), 1 as in the paper."""
    gap_needs_score: bool = False
    """Gap stores need `min_score` too. Released code: they do not (SPEC QUIRK-21)."""
    store_without_candidate: bool = True
    """A store with no candidate writes a zero vector, as released (SPEC QUIRK-19)."""

    def __post_init__(self) -> None:
        if self.capacity > MOST_VIEWS:
            raise InputError(f"memory.capacity is {self.capacity}; at most {MOST_VIEWS:,} fit")


@dataclass(frozen=True)
class MotionConfig:
    """How far the reference of a track runs ahead. The default is the released code: not at all."""

    lead: float = 0.0
    """Share of the predicted displacement; 0: the reference box stays where the track was seen."""
    gain: float = 0.3
    """Weight of the latest displacement in the velocity."""
    fade: float = 0.9
    """Share of the velocity that is left after each frame of absence."""


@dataclass(frozen=True)
class AssociationConfig:
    """What the tracker takes from the detector. The defaults are the released code: nothing."""

    match_iou: float = 1.0
    """A live track is matched with at most one detection, whose IoU with its box is at least this;
    1: none."""
    reference_weight: float = 0.0
    """Share of that IoU measured from the reference box of the track, not from its prediction."""
    second_iou: float = 1.0
    """A second association: a live track without a match may take an unmatched detection of at
    least `second_score` whose IoU with the reference box is at least this; 1: none."""
    second_score: float = 0.0
    """Detector's score that the second association needs."""
    use_detection_box: bool = False
    """A track takes over the box of the detection that it is matched with."""
    match_required: bool = False
    """A track without a match counts as absent, however sure the network is."""
    detection_weight: float = 0.0
    """A track's score is at least this share of its detection's."""
    duplicate_iou: float = 1.0
    """No birth on a present track or on a better new one: the largest IoU allowed."""
    birth_score: float = 0.0
    """Detector's score that a birth needs; above 0, learned queries are never born."""


@dataclass(frozen=True)
class TrackerConfig:
    """The method, whatever the network. Defaults are what the released code does.

    `docs/fidelity.md` has a row for every setting that names a departure.
    """

    lifecycle: LifecycleConfig = field(default_factory=LifecycleConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    refresh_score: float = 0.5
    """A track above it is updated by this frame's prediction; the others stay frozen (QUIRK-13)."""
    report_score: float = 0.5
    """Tracks above it are reported."""
    report_area: float = 100.0
    """Boxes above it are reported, in square pixels of the original image."""
    travel: Literal["layers", "frames"] = "layers"
    """What moves a track towards its next store: from the first to the last decoder layer
    (released, QUIRK-15), or from frame to frame (the paper)."""
    overlap_with: Literal["all", "tracks"] = "all"
    """Whose boxes cover a track: all queries, its own duplicate proposal included (released,
    QUIRK-20), or tracks only (the paper)."""
    stored: Literal["incoming", "embedding", "refreshed"] = "incoming"
    """Which feature the memory sees: the content that entered the frame (released, QUIRK-22), the
    decoder's output, or the content made for the next frame."""
    present_at_birth: bool = True
    """Whether a new track's view may be kept. Its incoming content is a mere score (QUIRK-22)."""
    present_when_lost: bool = True
    """Whether an absent track's view may be kept, as released (QUIRK-21)."""
    motion: MotionConfig = field(default_factory=MotionConfig)
    """Where the reference box of a track is put; released: where it was last seen."""
    association: AssociationConfig = field(default_factory=AssociationConfig)
    """What is taken from the detector rather than from the network; released: nothing."""
    class_agnostic: bool = False
    """Whether a track may be matched with a detection of another class, and one of another class
    bars a birth. Where nothing is taken from the detector there are neither (released)."""


@dataclass(frozen=True)
class Preset:
    """A named method."""

    make: Callable[[], TrackerConfig]
    first_id: int
    """First identity in MOT files. Users see 1; the released code wrote 0."""
    exact: bool = False
    """Whether numbers are to be those of the released code to the last bit, where that is possible;
    see `tfsasm.load`."""
    scores: bool = True
    """Whether MOT files hold scores. The released code wrote 1."""
    order: Literal["natural", "name"] = "natural"
    """Of the images of a folder. The released code sorted their names."""


def released() -> TrackerConfig:
    """What the released code does, quirk for quirk; the published 71.2 HOTA came from it."""
    return TrackerConfig()


def paper() -> TrackerConfig:
    """As in the paper: travel between frames, overlap with live tracks, an empty first slot."""
    memory = MemoryConfig(first_overlap=1.0, gap_needs_score=True, store_without_candidate=False)
    return TrackerConfig(
        memory=memory, travel="frames", overlap_with="tracks", present_when_lost=False
    )


def motrv2() -> TrackerConfig:
    """Plain MOTRv2: a memory of capacity 0."""
    return TrackerConfig(memory=MemoryConfig(capacity=0))


def motr() -> TrackerConfig:
    """MOTR, the first version (SPEC 11.5): no detections, and every live track is updated."""
    return TrackerConfig(
        lifecycle=LifecycleConfig(birth_score=0.7, miss_score=0.6, miss_tolerance=5),
        memory=MemoryConfig(capacity=0), refresh_score=-1.0, report_score=0.7,
    )  # fmt: skip


def default() -> TrackerConfig:
    """The best that measurement has found for `tiny`: it relies on the detector (docs/results.md).

    The shipped network has lower scores and places boxes less well than the detector it is given,
    so tracks take the boxes of the detections they are matched with, at lower scores, and their
    reference boxes are predicted ahead. The memory is the paper's, at a score that this network
    reaches. For published weights take `released()`.
    """
    base = paper()
    return replace(
        base, lifecycle=LifecycleConfig(birth_score=0.3, miss_score=0.2, miss_tolerance=20),
        refresh_score=0.2, report_score=0.2, memory=replace(base.memory, min_score=0.4),
        motion=MotionConfig(lead=1.0),
        association=AssociationConfig(
            match_iou=0.4, reference_weight=1.0, second_iou=0.2, second_score=0.6,
            use_detection_box=True, match_required=True, duplicate_iou=0.4, birth_score=0.7,
        ),
    )  # fmt: skip


PRESETS = {
    "released": Preset(released, first_id=0, exact=True, scores=False, order="name"),
    "paper": Preset(paper, first_id=1),
    "motrv2": Preset(motrv2, first_id=1),
    "motr": Preset(motr, first_id=1),
    "default": Preset(default, first_id=1),
}


def preset(name: str) -> Preset:
    """A preset by name. Raises `InputError` that lists the names."""
    if name not in PRESETS:
        raise InputError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]
