"""Settings by short name, and every combination of their values."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from operator import attrgetter
from typing import TypeVar

from tfsasm.config import with_settings
from tfsasm.errors import InputError
from tfsasm.tracker import TrackerConfig

T = TypeVar("T")


@dataclass(frozen=True)
class Axis:
    """One setting of a grid and its values, as they were written."""

    setting: str
    """Dotted, such as `memory.capacity`."""
    values: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One combination: the method, and what makes it differ from the others."""

    values: dict[str, str]
    """Dotted setting -> value as written, in the order of the axes."""
    method: TrackerConfig

    @property
    def label(self) -> str:
        """`memory.capacity=5,travel=frames`; also the name of a folder."""
        return ",".join(f"{name}={value}" for name, value in self.values.items())


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


def parse_grid(texts: Sequence[str], config: TrackerConfig) -> list[Axis]:
    """The axes of a grid, each written as `NAME=VALUE,VALUE`.

    Raises `InputError` for what cannot be read, a setting that is there twice, and values that are
    no values of it or the same.
    """
    if not texts:
        raise InputError("an empty grid; give settings with values, such as capacity=0,5,10")
    axes: list[Axis] = []
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals:
            raise InputError(f"--grid takes NAME=VALUE,VALUE, not {text!r}")
        axis = Axis(full_name(name.strip(), config), tuple(v.strip() for v in values.split(",")))
        if axis.setting in [other.setting for other in axes]:
            raise InputError(f"{axis.setting} is in the grid twice; give all its values at once")
        _check_values(axis, config)
        axes.append(axis)
    return axes


def _check_values(axis: Axis, config: TrackerConfig) -> None:
    seen: dict[object, str] = {}
    for text in axis.values:
        value = attrgetter(axis.setting)(with_settings(config, {axis.setting: text}))
        if value in seen:
            raise InputError(f"{axis.setting} has {seen[value]} and {text}, which are the same")
        seen[value] = text


def combinations(axes: Sequence[Axis], config: TrackerConfig) -> list[Row]:
    """Every combination, the last axis changing fastest."""
    named = (
        dict(zip((axis.setting for axis in axes), values, strict=True))
        for values in product(*(axis.values for axis in axes))
    )
    return [Row(values, with_settings(config, values)) for values in named]


def choose(text: str, rows: Sequence[Row], config: TrackerConfig) -> Row:
    """The only row with the values in `text`, such as `capacity=10,min_travel=0.1`.

    Raises `InputError` when there is none, or several.
    """
    wanted: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals:
            raise InputError(f"wanted is NAME=VALUE,NAME=VALUE, not {text!r}")
        wanted[full_name(name.strip(), config)] = value.strip()
    found = [row for row in rows if wanted.items() <= row.values.items()]
    if len(found) != 1:
        there = f"{len(found)} rows" if found else "no row"
        raise InputError(f"{there} of the grid with {text}; name one, such as {rows[0].label}")
    return found[0]
