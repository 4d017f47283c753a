"""Every combination of the values of some settings, and slices through their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations as combinations_of
from itertools import product
from operator import attrgetter

import numpy as np

from tfsasm.errors import InputError
from tfsasm.evaluation.plots import Slice
from tfsasm.settings import full_name, pairs, short_name, with_settings
from tfsasm.tracking.config import TrackerConfig


@dataclass(frozen=True)
class Axis:
    """One setting of a grid and its values, as they were written."""

    setting: str
    """Dotted, such as `memory.capacity`."""
    values: tuple[str, ...]


@dataclass(frozen=True)
class GridPoint:
    """One combination: the method, and what makes it differ from the others."""

    values: dict[str, str]
    """Dotted setting -> value as written, in the order of the axes."""
    method: TrackerConfig

    @property
    def label(self) -> str:
        """`memory.capacity=5,travel=frames`; also the name of a folder."""
        return label_of(self.values)


def label_of(values: Mapping[str, str]) -> str:
    """What a combination with these values is called."""
    return ",".join(f"{name}={value}" for name, value in values.items())


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


def combinations(axes: Sequence[Axis], config: TrackerConfig) -> list[GridPoint]:
    """Every combination, the last axis changing fastest."""
    named = (
        dict(zip((axis.setting for axis in axes), values, strict=True))
        for values in product(*(axis.values for axis in axes))
    )
    return [GridPoint(values, with_settings(config, values)) for values in named]


def choose(text: str, rows: Sequence[GridPoint], config: TrackerConfig) -> GridPoint:
    """The only row with the values in `text`, such as `capacity=10,min_travel=0.1`.

    Raises `InputError` when there is none, or several.
    """
    given = pairs(text.split(","), "--against")
    wanted = {full_name(name, config): value for name, value in given.items()}
    found = [row for row in rows if wanted.items() <= row.values.items()]
    if len(found) != 1:
        there = f"{len(found)} rows" if found else "no row"
        raise InputError(f"{there} of the grid with {text}; name one, such as {rows[0].label}")
    return found[0]


def slices(
    axes: Sequence[Axis], scores: Mapping[str, float], at_best: Mapping[str, str]
) -> list[Slice]:
    """Every two settings of the grid against each other, the others held as in the best row.

    `scores` are those of the rows by label. A grid of one setting is a single strip; settings with
    one value have nothing to show.
    """
    wide = [axis for axis in axes if len(axis.values) > 1]
    pairs = list(combinations_of(wide, 2)) or [(Axis("", ("",)), axis) for axis in wide]
    return [_slice(down, across, at_best, scores) for down, across in pairs]


def _slice(
    down: Axis, across: Axis, at_best: Mapping[str, str], scores: Mapping[str, float]
) -> Slice:
    def score(row: str, column: str) -> float:
        chosen = {down.setting: row, across.setting: column}
        return scores[label_of({name: chosen.get(name, at_best[name]) for name in at_best})]

    fixed = {k: v for k, v in at_best.items() if k not in (down.setting, across.setting)}
    return Slice(
        across.setting, across.values, down.setting, down.values,
        np.array([[score(row, column) for column in across.values] for row in down.values]),
        ", ".join(f"{short_name(name)} {value}" for name, value in fixed.items()),
    )  # fmt: skip
