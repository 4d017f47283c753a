"""Trackers by name: presets of this package and classic ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from tfsasm.errors import InputError
from tfsasm.runtime.network import Network
from tfsasm.settings import pairs, with_settings
from tfsasm.tracking.appearance.embedders import Embedder
from tfsasm.tracking.appearance.gallery import GalleryConfig
from tfsasm.tracking.appearance.tracker import AppearanceConfig, AppearanceTracker
from tfsasm.tracking.baselines import CLASSICS, USE_FRAMES, ClassicTracker, declared, parse
from tfsasm.tracking.config import PRESETS, TrackerConfig, preset
from tfsasm.tracking.query import QueryTracker

ALIASES = {"tfsasm": "default"}

APPEARANCE = {
    "appearance": AppearanceConfig(),
    "motion": AppearanceConfig(gallery=GalleryConfig(kind="none")),
}
"""The appearance tracker, with and without appearance embeddings."""


@dataclass(frozen=True)
class QuerySpec:
    """The query tracker under one method."""

    config: TrackerConfig
    needs_images: ClassVar[bool] = True
    uses_images: ClassVar[bool] = True

    def make(self, network: Network | None, embedder: Embedder | None) -> QueryTracker:
        """The tracker, on that network."""
        if network is None:
            raise InputError("a query tracker needs a network")
        return QueryTracker(network, self.config)

    def parameters(self) -> dict[str, Any]:
        """All settings, ready for JSON."""
        return asdict(self.config)


@dataclass(frozen=True)
class AppearanceSpec:
    """The appearance tracker under one method. Without images it tracks by motion alone."""

    config: AppearanceConfig
    needs_images: ClassVar[bool] = False
    uses_images: ClassVar[bool] = True

    def make(self, network: Network | None, embedder: Embedder | None) -> AppearanceTracker:
        """The tracker, with that embedder."""
        return AppearanceTracker(embedder, self.config)

    def parameters(self) -> dict[str, Any]:
        """All settings, ready for JSON."""
        return asdict(self.config)


@dataclass(frozen=True)
class ClassicSpec:
    """One of `CLASSICS`, with the parameters that are not at their defaults."""

    name: str
    changed: Mapping[str, Any]
    needs_images: ClassVar[bool] = False

    @property
    def uses_images(self) -> bool:
        """Whether it estimates the camera's motion from the frames."""
        return self.name in USE_FRAMES

    def make(self, network: Network | None, embedder: Embedder | None) -> ClassicTracker:
        """The tracker, which needs neither."""
        return ClassicTracker(self.name, self.changed)

    def parameters(self) -> dict[str, Any]:
        """All parameters, ready for JSON: a class by its name."""
        values = declared(self.name) | dict(self.changed)
        return {k: v.__name__ if isinstance(v, type) else v for k, v in values.items()}


TrackerSpec = QuerySpec | AppearanceSpec | ClassicSpec


def parse_trackers(texts: Sequence[str]) -> dict[str, TrackerSpec]:
    """Trackers by what they were called.

    Each text is a list with commas, of `NAME` or `NAME:SETTING=VALUE,SETTING=VALUE`. Raises
    `InputError` for an unknown name or setting, a tracker that is there twice, and an empty list.
    """
    specs: dict[str, TrackerSpec] = {}
    for text in (part for given in texts for part in _split(given)):
        if text in specs:
            raise InputError(f"{text} is among the trackers twice")
        name, settings = named(text)
        specs[text] = tracker_spec(name, settings)
    if not specs:
        raise InputError(f"no tracker; there are {_in_words()}")
    return specs


def _split(text: str) -> list[str]:
    """The trackers of a list: a part with `=` and no `:` is one more setting of the last."""
    found: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        if found and "=" in part and ":" not in part:
            found[-1] += f",{part}"
        elif part:
            found.append(part)
    return found


def named(text: str) -> tuple[str, dict[str, str]]:
    """Name and settings of `NAME` or `NAME:SETTING=VALUE,SETTING=VALUE`.

    Raises `InputError` for an unknown name.
    """
    name, colon, rest = text.partition(":")
    if name not in known_trackers():
        raise InputError(f"no tracker {name!r}; there are {_in_words()}")
    return name, pairs(rest.split(","), f"tracker {name}") if colon else {}


def tracker_spec(name: str, settings: Mapping[str, str]) -> TrackerSpec:
    """A tracker of `known_trackers` with single settings. Raises `InputError`."""
    if name in CLASSICS:
        return ClassicSpec(name, parse(name, settings))
    if name in APPEARANCE:
        return AppearanceSpec(with_settings(APPEARANCE[name], settings))
    return QuerySpec(with_settings(preset(ALIASES.get(name, name)).make(), settings))


def known_trackers() -> list[str]:
    """All names, those of one kind beside one another."""
    return [*ALIASES, *PRESETS, *APPEARANCE, *CLASSICS]


def _in_words() -> str:
    """All names, and what each kind needs."""
    return (
        f"{', '.join([*ALIASES, *PRESETS])} (the query tracker: weights of its network, such as "
        f"tiny), {', '.join(APPEARANCE)} (need nothing more), {', '.join(CLASSICS)} "
        '(need pip install "tfsasm[baselines]")'
    )
