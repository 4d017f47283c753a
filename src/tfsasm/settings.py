"""NAME=VALUE on frozen dataclasses: the one parser of settings, for commands and for names.

A dataclass of dataclasses has dotted names, such as `memory.capacity`; the last part is enough
where it is unique. Values are read by the type hints.
"""

import dataclasses
import difflib
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from tfsasm.errors import InputError, first_few

T = TypeVar("T")

_MOST = 12  # settings that a message lists

ALSO_CALLED = {
    "max_lost_frames": ("patience", "max_age", "track_buffer", "lost_track_buffer"),
    "miss_tolerance": ("patience", "max_age", "track_buffer", "lost_track_buffer"),
    "hits": ("min_hits", "n_init", "minimum_consecutive_frames"),
    "birth_score": ("new_track_thresh", "track_activation_threshold", "det_thresh"),
    "high_score": ("track_high_thresh", "track_thresh"),
    "low_score": ("track_low_thresh",),
    "gate": ("match_thresh", "iou_threshold", "minimum_iou_threshold"),
    "veto": ("appearance_thresh", "max_cosine_distance"),
    "capacity": ("nn_budget", "memory_length"),
}
"""Settings by what they are called in other trackers, and were here."""


def pairs(texts: Sequence[str], option: str = "--set") -> dict[str, str]:
    """Names and values of texts `NAME=VALUE`; of a name that is there twice the last value.

    Raises `InputError` that names `option` for a text without `=`.
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"{option} takes NAME=VALUE, not {text!r}")
        found[name.strip()] = value.strip()
    return found


def with_settings(config: T, changes: Mapping[str, str]) -> T:
    """`config`, a frozen dataclass, with settings changed by full or short name.

    Raises `InputError` for a name that does not exist and a value of the wrong kind.
    """
    for name, text in changes.items():
        setting = full_name(name, config)
        config = _changed(config, setting.split("."), setting, text)
    return config


def _changed(config: Any, path: list[str], name: str, text: str) -> Any:
    first, *rest = path
    if rest:
        value = _changed(getattr(config, first), rest, name, text)
    else:
        value = parse_value(name, text, typing.get_type_hints(type(config))[first])
    return dataclasses.replace(config, **{first: value})


def parse_value(name: str, text: str, kind: Any) -> Any:
    """The value that `text` means for a setting `name` of the type `kind`.

    Kinds are bool, int, float, str and Literal; Optional of these (`none`); and tuples, `a,b,c` or,
    of a fixed number, `800x1440`. Numbers are at least 0. Raises `InputError`.
    """
    inner = typing.get_args(kind)
    if type(None) in inner:
        if text.lower() == "none":
            return None
        (kind,) = (part for part in inner if part is not type(None))
        inner = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Literal:
        if text not in inner:
            raise InputError(f"{name} is one of {', '.join(inner)}, not {text!r}")
        return text
    if typing.get_origin(kind) is tuple:
        fixed = inner[-1] is not ...
        if not text and not fixed:
            return ()
        parts = re.split("[x,]" if fixed else ",", text)
        if fixed and len(parts) != len(inner):
            wanted = "HEIGHTxWIDTH, such as 800x1440" if len(inner) == 2 else f"{len(inner)} values"
            raise InputError(f"{name} is {wanted}, not {text!r}")
        kinds = inner if fixed else inner[:1] * len(parts)
        return tuple(parse_value(name, *one) for one in zip(parts, kinds, strict=True))
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise InputError(f"{name} is true or false, not {text!r}")
        return text.lower() in ("true", "1")
    if kind is str:
        return text
    try:
        value = kind(text)
    except ValueError as error:
        what = "whole number" if kind is int else "number"
        raise InputError(f"{name} is a {what}, not {text!r}") from error
    if not value >= 0:  # NaN neither
        raise InputError(f"{name} is at least 0, not {text!r}")
    return value


def setting_names(config: Any, prefix: str = "") -> Iterator[str]:
    """The dotted names of all single settings."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from setting_names(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def full_name(name: str, config: Any) -> str:
    """The dotted name of the setting that `name` means: itself, or the only one that ends so.

    Raises `InputError` for a name that no setting has, or several.
    """
    known = list(setting_names(config))
    if name in known:
        return name
    alike = [setting for setting in known if setting.endswith(f".{name}")]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise InputError(f"{name} may be {' or '.join(alike)}; give one of these")
    last = {short_name(setting): setting for setting in known}
    word = short_name(name)
    also = [last[own] for own, others in ALSO_CALLED.items() if word in others and own in last]
    parts = [last[own] for own in last if word in own and len(word) > 3]
    close = also or [*parts, *(last[own] for own in difflib.get_close_matches(word, last))]
    listed = first_few([*dict.fromkeys(close)] or known, _MOST)
    raise InputError(f"no setting {name!r}; {'did you mean' if close else 'there are'} {listed}")


def short_name(setting: str) -> str:
    """The last part of a dotted name."""
    return setting.rpartition(".")[2]


def at_least_one(settings: Any, *names: str) -> None:
    """Raises `InputError` for a setting that is a whole number below 1."""
    for name in names:
        if getattr(settings, name) < 1:
            raise InputError(f"{name} is {getattr(settings, name)}; give a whole number from 1 up")
