"""What the options of a command ask for, in the terms of the package."""

from __future__ import annotations

from tfsasm.appearance import AppearanceConfig, Embedder, embedder
from tfsasm.config import preset, with_settings
from tfsasm.errors import InputError
from tfsasm.jobs.shared import Embedding, Following, MethodOptions
from tfsasm.tracker import TrackerConfig


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


def looks_of(job: Following) -> AppearanceConfig:
    """The appearance tracker's method with what the command line changes."""
    return with_settings(AppearanceConfig(), dict(_pair(setting) for setting in job.set))


def embedder_of(job: Embedding) -> Embedder | None:
    """What the appearance tracker sees people by. Raises `InputError`, as `embedder` does."""
    return embedder(job.embedder, job.embedder_weights, job.embedder_set)


def _pair(setting: str) -> tuple[str, str]:
    name, equals, value = setting.partition("=")
    if not equals:
        raise InputError(f"--set takes NAME=VALUE, not {setting!r}")
    return name, value
