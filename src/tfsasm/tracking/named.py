"""Trackers by name: methods of this package, and the classics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tfsasm.errors import InputError
from tfsasm.settings import with_settings
from tfsasm.tracking.appearance.gallery import GalleryConfig
from tfsasm.tracking.appearance.tracker import AppearanceConfig
from tfsasm.tracking.baselines import CLASSICS, Classic, classic
from tfsasm.tracking.config import PRESETS, TrackerConfig, preset

ALIASES = {"tfsasm": "default"}

APPEARANCE = {
    "appearance": AppearanceConfig(),
    "motion": AppearanceConfig(gallery=GalleryConfig(kind="none")),
}
"""The appearance tracker, and what is left of it when it does not look at anybody."""


@dataclass(frozen=True)
class QuerySpec:
    """The network under one method. It needs pictures."""

    config: TrackerConfig

    def parameters(self) -> dict[str, Any]:
        """All settings, ready for JSON."""
        return asdict(self.config)


@dataclass(frozen=True)
class AppearanceSpec:
    """The appearance tracker under one method. It makes do without pictures, by motion alone."""

    config: AppearanceConfig
    looks: bool = True
    """It takes the camera's motion from the frames, and people's looks."""

    def parameters(self) -> dict[str, Any]:
        """All settings, ready for JSON."""
        return asdict(self.config)

TrackerSpec = QuerySpec | AppearanceSpec | Classic


def parse_trackers(texts: Sequence[str]) -> dict[str, TrackerSpec]:
    """Trackers by what they were called.

    Each text is a list with commas, of `NAME` or `NAME:SETTING=VALUE,SETTING=VALUE`. Raises
    `InputError` for an unknown name or setting, a tracker that is there twice, and an empty list.
    """
    entrants: dict[str, TrackerSpec] = {}
    for text in (part for given in texts for part in _split(given)):
        if text in entrants:
            raise InputError(f"{text} is among the trackers twice")
        entrants[text] = _entrant(text)
    if not entrants:
        raise InputError(f"no tracker; there are {', '.join(_known())}")
    return entrants


def _split(text: str) -> list[str]:
    """The trackers of a list: a part with `=` and no `:` is one more setting of the last."""
    found: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        if found and "=" in part and ":" not in part:
            found[-1] += f",{part}"
        elif part:
            found.append(part)
    return found


def _entrant(text: str) -> TrackerSpec:
    name, colon, rest = text.partition(":")
    settings = [_pair(text, part) for part in rest.split(",")] if colon else []
    if name in CLASSICS:
        return classic(name, settings)
    if name in APPEARANCE:
        return AppearanceSpec(with_settings(APPEARANCE[name], dict(settings)))
    name = ALIASES.get(name, name)
    if name not in PRESETS:
        raise InputError(f"no tracker {name!r}; there are {', '.join(_known())}")
    return QuerySpec(with_settings(preset(name).make(), dict(settings)))


def _pair(text: str, part: str) -> tuple[str, str]:
    name, equals, value = part.partition("=")
    if not equals:
        raise InputError(f"settings of a tracker are NAME:SETTING=VALUE, not {text!r}")
    return name.strip(), value.strip()


def _known() -> list[str]:
    return [*ALIASES, *PRESETS, *APPEARANCE, *CLASSICS]
