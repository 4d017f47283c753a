"""Method presets: what the tracker and its memory do, whatever the network.

A preset is a function that returns a frozen `TrackerConfig`; `docs/fidelity.md` compares them line
by line, and `docs/results.md` has the measurements behind `default()`.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from tfsasm.errors import InputError

T = TypeVar("T")


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


def _pair(setting: str) -> tuple[str, str]:
    name, equals, value = setting.partition("=")
    if not equals:
        raise InputError(f"--set takes NAME=VALUE, not {setting!r}")
    return name, value


def setting_names(config: object, prefix: str = "") -> Iterator[str]:
    """The dotted names of all single settings of a method."""
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from setting_names(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def full_name(name: str, config: object) -> str:
    """The dotted name of the setting that `name` means: itself, or the only one that ends so.

    Raises `InputError` for a name that is nobody's, or several settings'.
    """
    known = list(setting_names(config))
    if name in known:
        return name
    alike = [setting for setting in known if setting.endswith(f".{name}")]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise InputError(f"{name} may be {' or '.join(alike)}; say which")
    last = {setting.rpartition(".")[2]: setting for setting in known}
    close = [last[word] for word in difflib.get_close_matches(name.rpartition(".")[2], last)]
    raise InputError(f"no setting {name!r}; there are {', '.join(close or known)}")


def short_name(setting: str) -> str:
    """The last part of a dotted name."""
    return setting.rpartition(".")[2]


def settings_of(pairs: Sequence[tuple[str, str]], config: T) -> T:
    """`config` with settings changed by full or short name. Raises `InputError`."""
    return with_settings(config, {full_name(name, config): value for name, value in pairs})
