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

Grid = Mapping[str, tuple[str, ...]]
"""Dotted setting, such as `memory.capacity` -> its values, as they were written."""


@dataclass(frozen=True)
class GridPoint:
    """One combination: the method, and what makes it differ from the others."""

    values: dict[str, str]
    """Dotted setting -> value as written, in the order of the grid."""
    method: TrackerConfig

    @property
    def label(self) -> str:
        """`memory.capacity=5,travel=frames`; also the name of a folder."""
        return label_of(self.values)


def label_of(values: Mapping[str, str]) -> str:
    """What a combination with these values is called."""
    return ",".join(f"{name}={value}" for name, value in values.items())


def parse_grid(texts: Sequence[str], config: TrackerConfig) -> dict[str, tuple[str, ...]]:
    """A grid whose settings are each written as `NAME=VALUE,VALUE`.

    Raises `InputError` for what cannot be read, a setting that is there twice, and values that are
    no values of it or the same.
    """
    if not texts:
        raise InputError("an empty grid; give settings with values, such as capacity=0,5,10")
    grid: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals:
            raise InputError(f"--grid takes NAME=VALUE,VALUE, not {text!r}")
        setting = full_name(name.strip(), config)
        if setting in grid:
            raise InputError(f"{setting} is in the grid twice; give all its values at once")
        seen: dict[object, str] = {}
        for one in (each.strip() for each in values.split(",")):
            value = attrgetter(setting)(with_settings(config, {setting: one}))
            if value in seen:
                raise InputError(f"{setting} has {seen[value]} and {one}, which are the same")
            seen[value] = one
        grid[setting] = tuple(seen.values())
    return grid


def combinations(grid: Grid, config: TrackerConfig) -> list[GridPoint]:
    """Every combination, the last setting changing fastest."""
    named = (dict(zip(grid, values, strict=True)) for values in product(*grid.values()))
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
    grid: Grid, scores: Mapping[str, float], at_best: Mapping[str, str]
) -> list[Slice]:
    """Every two settings of the grid against each other, the others held as in the best row.

    `scores` are those of the rows by label. A grid of one setting is a single strip; settings with
    one value have nothing to show.
    """
    wide = [name for name, values in grid.items() if len(values) > 1]
    pairs = list(combinations_of(wide, 2)) or [("", name) for name in wide]
    return [_slice({"": ("",), **grid}, *pair, at_best, scores) for pair in pairs]


def _slice(
    grid: Grid, down: str, across: str, at_best: Mapping[str, str], scores: Mapping[str, float]
) -> Slice:
    def score(row: str, column: str) -> float:
        chosen = {down: row, across: column}
        return scores[label_of({name: chosen.get(name, at_best[name]) for name in at_best})]

    return Slice(
        across, grid[across], down, grid[down],
        np.array([[score(row, column) for column in grid[across]] for row in grid[down]]),
        ", ".join(
            f"{short_name(name)} {value}"
            for name, value in at_best.items() if name not in (down, across)
        ),
    )  # fmt: skip
