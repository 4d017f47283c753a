"""Settings by name: NAME=VALUE on any frozen dataclass."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

import pytest

from tfsasm.errors import InputError
from tfsasm.settings import full_name, pairs, setting_names, short_name, with_settings


@dataclass(frozen=True)
class Memory:
    capacity: int = 10
    score: float = 0.8
    always: bool = False


@dataclass(frozen=True)
class Birth:
    score: float = 0.5


@dataclass(frozen=True)
class Config:
    memory: Memory = field(default_factory=Memory)
    birth: Birth = field(default_factory=Birth)
    travel: Literal["layers", "frames"] = "layers"
    labels: tuple[str, ...] = ("person",)
    classes: tuple[int, ...] = (0,)
    size: tuple[int, int] | None = None
    legacy: bool | None = None
    device: str = "cpu"


def test_texts_become_names_and_values():
    assert pairs(["a=1", "memory.b = x=y", "a=2"]) == {"a": "2", "memory.b": "x=y"}
    assert pairs([]) == {}


def test_a_text_without_a_value_is_refused_by_the_name_of_its_option():
    with pytest.raises(InputError, match=re.escape("--embedder-set takes NAME=VALUE, not 'rgb'")):
        pairs(["rgb"], "--embedder-set")


@pytest.mark.parametrize(("name", "text", "value"), [
    pytest.param("memory.capacity", "3", 3, id="a whole number"),
    pytest.param("capacity", "0", 0, id="by its short name"),
    pytest.param("birth.score", "3", 3.0, id="a number"),
    pytest.param("always", "true", True, id="true"),
    pytest.param("always", "True", True, id="True"),
    pytest.param("always", "1", True, id="1 for true"),
    pytest.param("legacy", "FALSE", False, id="FALSE"),
    pytest.param("legacy", "0", False, id="0 for false"),
    pytest.param("legacy", "none", None, id="none"),
    pytest.param("travel", "frames", "frames", id="one of a few words"),
    pytest.param("device", "cuda:1", "cuda:1", id="text"),
    pytest.param("labels", "rider,person", ("rider", "person"), id="several words"),
    pytest.param("classes", "0,2", (0, 2), id="several numbers"),
    pytest.param("size", "800x1440", (800, 1440), id="a size"),
    pytest.param("size", "800,1440", (800, 1440), id="a size with a comma"),
    pytest.param("size", "None", None, id="no size"),
])  # fmt: skip
def test_a_setting_is_changed_by_its_name_and_nothing_else_is(name, text, value):
    changed, setting = with_settings(Config(), {name: text}), full_name(name, Config())
    for each in setting_names(Config()):
        usual = attribute(Config(), each)
        assert attribute(changed, each) == (value if each == setting else usual)
    assert type(attribute(changed, setting)) is type(value)


def attribute(config, setting):
    for part in setting.split("."):
        config = getattr(config, part)
    return config


def test_settings_add_up_and_leave_the_given_configuration_alone():
    config = Config()
    changed = with_settings(config, {"capacity": "3", "birth.score": "0.25"})
    assert changed == Config(Memory(capacity=3), Birth(0.25))
    assert config == Config()
    assert with_settings(config, {}) is config


@pytest.mark.parametrize(("name", "text", "message"), [
    pytest.param("memory.capacity", "many", "memory.capacity is a whole number, not 'many'",
                 id="text"),
    pytest.param("capacity", "2.5", "memory.capacity is a whole number, not '2.5'",
                 id="a fraction"),
    pytest.param("capacity", "-1", "memory.capacity is at least 0, not '-1'",
                 id="less than nothing"),
    pytest.param("birth.score", "", "birth.score is a number, not ''", id="nothing"),
    pytest.param("birth.score", "nan", "birth.score is at least 0, not 'nan'", id="NaN"),
    pytest.param("always", "yes", "memory.always is true or false, not 'yes'",
                 id="neither true nor false"),
    pytest.param("legacy", "maybe", "legacy is true or false, not 'maybe'", id="an optional one"),
    pytest.param("travel", "far", "travel is one of layers, frames, not 'far'", id="no choice"),
    pytest.param("size", "640", "size is HEIGHTxWIDTH, such as 800x1440, not '640'", id="one side"),
    pytest.param("size", "axb", "size is a whole number, not 'a'", id="sides of letters"),
    pytest.param("classes", "0,,1", "classes is a whole number, not ''", id="an empty place"),
])  # fmt: skip
def test_a_value_of_the_wrong_kind_is_explained(name, text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        with_settings(Config(), {name: text})


@pytest.mark.parametrize(("name", "message"), [
    pytest.param("score", "score may be memory.score or birth.score; give one of these",
                 id="two have it"),
    pytest.param("capcity", "no setting 'capcity'; did you mean memory.capacity", id="misspelt"),
    pytest.param("birth.capacity", "no setting 'birth.capacity'; did you mean memory.capacity",
                 id="in the wrong place"),
    pytest.param("xyz", "no setting 'xyz'; there are memory.capacity, memory.score, ",
                 id="like nothing"),
    pytest.param("nn_budget", "did you mean memory.capacity", id="of another tracker"),
    pytest.param("memory", "no setting 'memory'", id="a whole group"),
    pytest.param("memory.capacity.x", "no setting 'memory.capacity.x'", id="too deep"),
    pytest.param("", "no setting ''", id="empty"),
])  # fmt: skip
def test_a_name_that_means_no_single_setting_is_refused(name, message):
    with pytest.raises(InputError, match=re.escape(message)):
        with_settings(Config(), {name: "3"})


def test_every_setting_has_a_full_and_a_short_name():
    assert list(setting_names(Config())) == [
        "memory.capacity", "memory.score", "memory.always", "birth.score", "travel", "labels",
        "classes", "size", "legacy", "device",
    ]  # fmt: skip
    assert all(full_name(name, Config()) == name for name in setting_names(Config()))
    assert (short_name("memory.capacity"), short_name("travel")) == ("capacity", "travel")
