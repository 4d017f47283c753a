"""What the options of a command ask for, in the terms of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tfsasm.appearance import AppearanceConfig, AppearanceTracker, embedder
from tfsasm.config import preset, with_settings
from tfsasm.errors import InputError
from tfsasm.tracker import TrackerConfig


class MethodOptions(Protocol):
    """The options of every command that tracks."""

    @property
    def preset(self) -> str:
        """The method."""
        ...

    @property
    def set(self) -> tuple[str, ...]:
        """Its single settings, as NAME=VALUE."""
        ...

    @property
    def miss_tolerance(self) -> int | None:
        """Frames after which an absent track dies."""
        ...

    @property
    def score_threshold(self) -> float | None:
        """Score for birth, presence and report."""
        ...


def method_of(job: MethodOptions) -> TrackerConfig:
    """The preset with what the command line changes."""
    settings: dict[str, str] = {}
    if job.miss_tolerance is not None:
        settings["lifecycle.miss_tolerance"] = str(job.miss_tolerance)
    if job.score_threshold is not None:
        for name in ("lifecycle.birth_score", "lifecycle.miss_score", "report_score"):
            settings[name] = str(job.score_threshold)
    settings |= dict(_pair(setting) for setting in job.set)
    return with_settings(preset(job.preset).make(), settings)


class LooksOptions(Protocol):
    """The options of every command that may follow by motion and looks."""

    @property
    def set(self) -> tuple[str, ...]:
        """Single settings of the method, as NAME=VALUE."""
        ...

    @property
    def embedder(self) -> str | None:
        """What people are seen by."""
        ...

    @property
    def embedder_weights(self) -> Path | None:
        """Its file."""
        ...

    @property
    def embedder_set(self) -> tuple[str, ...]:
        """Its single settings, as NAME=VALUE."""
        ...


def looks_of(job: LooksOptions) -> AppearanceTracker:
    """The appearance tracker that the command line asks for."""
    config = with_settings(AppearanceConfig(), dict(_pair(setting) for setting in job.set))
    return AppearanceTracker(
        embedder(job.embedder, job.embedder_weights, job.embedder_set), config
    )


def _pair(setting: str) -> tuple[str, str]:
    name, equals, value = setting.partition("=")
    if not equals:
        raise InputError(f"--set takes NAME=VALUE, not {setting!r}")
    return name, value
