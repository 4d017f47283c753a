"""Method presets: what the tracker and its memory do, whatever the network.

A preset is a function that returns a frozen `TrackerConfig`; `docs/fidelity.md` compares them line
by line, and `docs/results.md` has the measurements behind `default()`.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from tfsasm.errors import InputError
from tfsasm.settings import (
    LifecycleConfig,
    MemoryConfig,
    MotionConfig,
    SupportConfig,
    TrackerConfig,
)

T = TypeVar("T")


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
    """Whether MOT files tell scores. The released code wrote 1."""
    order: Literal["natural", "name"] = "natural"
    """Of the images of a folder. The released code sorted their names."""


def released() -> TrackerConfig:
    """What the released code does, quirk for quirk; the published 71.2 HOTA came from it."""
    return TrackerConfig(lifecycle=LifecycleConfig(), memory=MemoryConfig())


def paper() -> TrackerConfig:
    """What the paper says: travel between frames, overlap with live tracks, an empty first slot."""
    base = released()
    memory = replace(
        base.memory, first_overlap=1.0, gap_needs_score=True, store_without_candidate=False
    )
    return replace(
        base, memory=memory, travel="frames", overlap_with="tracks", present_when_lost=False
    )


def motrv2() -> TrackerConfig:
    """Plain MOTRv2: a memory of capacity 0."""
    base = released()
    return replace(base, memory=replace(base.memory, capacity=0))


def default() -> TrackerConfig:
    """The best that measurement has found for `tiny`: it leans on the detector (docs/results.md).

    The shipped network is less sure of itself and places boxes less well than the detector it is
    given, so tracks live on the boxes they claim, at lower scores, and are looked for where they
    were going. The memory is the paper's, at a
    score that this network reaches. For published weights take `released()`.
    """
    base = paper()
    return replace(
        base,
        lifecycle=LifecycleConfig(birth_score=0.3, miss_score=0.2, miss_tolerance=20),
        refresh_score=0.2,
        report_score=0.2,
        memory=replace(base.memory, min_score=0.4),
        motion=MotionConfig(lead=1.0),
        support=SupportConfig(
            claim_iou=0.4, claim_held=1.0, again_iou=0.2, again_score=0.6, snap=True,
            required=True, birth_overlap=0.4, birth_score=0.7,
        ),
    )  # fmt: skip


PRESETS = {
    "released": Preset(released, first_id=0, exact=True, scores=False, order="name"),
    "paper": Preset(paper, first_id=1),
    "motrv2": Preset(motrv2, first_id=1),
    "default": Preset(default, first_id=1),
}


def preset(name: str) -> Preset:
    """A preset by name. Raises `InputError` that lists the names."""
    if name not in PRESETS:
        raise InputError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]


def with_settings(config: T, settings: dict[str, str]) -> T:
    """`config` with settings changed by dotted name, e.g. `{"memory.capacity": "20"}`.

    Raises `InputError` for a name that does not exist or a value of the wrong kind.
    """
    for name, text in settings.items():
        config = _with_setting(config, name, name.split("."), text)
    return config


def _with_setting(config: Any, name: str, path: list[str], text: str) -> Any:
    fields = [field.name for field in dataclasses.fields(config)]
    if path[0] not in fields:
        raise InputError(f"no setting {name!r}; {type(config).__name__} has {', '.join(fields)}")
    old = getattr(config, path[0])
    if dataclasses.is_dataclass(old) != (len(path) > 1):
        raise InputError(f"{name!r} does not name a single setting")
    if len(path) > 1:
        new = _with_setting(old, name, path[1:], text)
    else:
        new = _parse(name, text, typing.get_type_hints(type(config))[path[0]])
    return replace(config, **{path[0]: new})


def _parse(name: str, text: str, kind: Any) -> Any:
    if typing.get_origin(kind) is typing.Literal:
        choices = typing.get_args(kind)
        if text not in choices:
            raise InputError(f"{name} is one of {', '.join(choices)}, not {text!r}")
        return text
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise InputError(f"{name} is true or false, not {text!r}")
        return text.lower() in ("true", "1")
    try:
        value = kind(text)
    except ValueError as error:
        what = "whole number" if kind is int else "number"
        raise InputError(f"{name} is a {what}, not {text!r}") from error
    if not value >= 0:  # NaN neither
        raise InputError(f"{name} is at least 0, not {text!r}")
    return value
