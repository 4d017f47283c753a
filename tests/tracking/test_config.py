"""Presets are what they say, and a setting is changed by its name."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from tfsasm.errors import InputError
from tfsasm.settings import with_settings
from tfsasm.tracking.config import (
    PRESETS,
    TrackerConfig,
    default,
    motr,
    motrv2,
    paper,
    preset,
    released,
)


def settings(config):
    """Every setting by its dotted name."""
    flat = {}
    for name, value in asdict(config).items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        flat |= {f"{name}.{key}".rstrip("."): found for key, found in inner}
    return flat


def departures(config):
    """What differs from the released method."""
    plain = settings(released())
    return {name: value for name, value in settings(config).items() if value != plain[name]}


RELEASED = {
    "lifecycle.birth_score": 0.5, "lifecycle.miss_score": 0.5, "lifecycle.miss_tolerance": 20,
    "memory.capacity": 10, "memory.min_travel": 0.1, "memory.max_gap": 10, "memory.min_score": 0.8,
    "memory.overlap_decay": 0.0, "memory.first_overlap": 0.0, "memory.gap_needs_score": False,
    "memory.store_without_candidate": True,
    "refresh_score": 0.5, "report_score": 0.5, "report_area": 100.0,
    "travel": "layers", "overlap_with": "all", "stored": "incoming",
    "present_at_birth": True, "present_when_lost": True,
    "motion.lead": 0.0, "motion.gain": 0.3, "motion.fade": 0.9,
    "association.match_iou": 1.0, "association.reference_weight": 0.0,
    "association.use_detection_box": False,
    "association.second_iou": 1.0, "association.second_score": 0.0,
    "association.match_required": False, "association.detection_weight": 0.0,
    "association.duplicate_iou": 1.0,
    "association.birth_score": 0.0, "class_agnostic": False,
}  # fmt: skip


def test_released_is_the_published_run_setting_by_setting():
    assert settings(released()) == RELEASED


def test_released_is_what_a_tracker_does_unasked():
    assert released() == TrackerConfig()


@pytest.mark.parametrize(("make", "changes"), [
    pytest.param(released, {}, id="released"),
    pytest.param(motrv2, {"memory.capacity": 0}, id="motrv2: no memory, all else the same"),
    pytest.param(paper, {
        "memory.first_overlap": 1.0, "memory.gap_needs_score": True,
        "memory.store_without_candidate": False, "travel": "frames", "overlap_with": "tracks",
        "present_when_lost": False,
    }, id="paper: what the paper says and the code does not do"),
])  # fmt: skip
def test_presets_are_what_they_say(make, changes):
    assert departures(make()) == changes


def test_presets_by_name():
    made = {name: preset(name).make() for name in PRESETS}
    assert made == {
        "released": released(), "paper": paper(), "motrv2": motrv2(), "motr": motr(),
        "default": default(),
    }  # fmt: skip
    assert {name: preset(name).first_id for name in PRESETS} == {
        "released": 0, "paper": 1, "motrv2": 1, "motr": 1, "default": 1
    }  # fmt: skip


def test_an_unknown_preset_is_told_what_there_is():
    with pytest.raises(InputError, match="no preset 'best'; there are released, paper, motrv2"):
        preset("best")


# Single settings

OTHER = {"travel": "frames", "overlap_with": "tracks", "stored": "refreshed"}


@pytest.mark.parametrize("name", RELEASED)
def test_every_setting_can_be_changed_by_name(name):
    """And nothing else changes with it."""
    old = RELEASED[name]
    if isinstance(old, bool):
        text, new = str(not old).lower(), not old
    elif isinstance(old, str):
        text = new = OTHER[name]
    else:
        text, new = str(old + 3), old + 3
    changed = with_settings(released(), {name: text})
    assert settings(changed) == RELEASED | {name: new}
    assert type(settings(changed)[name]) is type(old)
