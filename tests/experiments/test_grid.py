"""Grids of the values of settings, and slices through their scores."""

import re

import numpy as np
import pytest

from tfsasm.errors import InputError
from tfsasm.experiments.grid import choose, combinations, parse_grid, slices
from tfsasm.settings import with_settings
from tfsasm.tracking.config import default, paper

BASE = paper()


def test_a_grid_has_every_combination():
    grid = parse_grid(
        ["capacity=0, 5", "overlap_with=all,tracks", "use_detection_box=true"], default()
    )
    rows = combinations(grid, default())
    assert [row.label for row in rows] == [
        "memory.capacity=0,overlap_with=all,association.use_detection_box=true",
        "memory.capacity=0,overlap_with=tracks,association.use_detection_box=true",
        "memory.capacity=5,overlap_with=all,association.use_detection_box=true",
        "memory.capacity=5,overlap_with=tracks,association.use_detection_box=true",
    ]
    assert [row.method.memory.capacity for row in rows] == [0, 0, 5, 5]
    assert rows[3].method == with_settings(
        default(), {"capacity": "5", "overlap_with": "tracks"}
    )


@pytest.mark.parametrize(("grid", "complaint"), [
    pytest.param([], "an empty grid", id="nothing"),
    pytest.param(["capacity"], "--grid takes NAME=VALUE,VALUE, not 'capacity'", id="no values"),
    pytest.param(["capacity="], "memory.capacity is a whole number, not ''", id="an empty value"),
    pytest.param(["capacity=0,5.5"], "memory.capacity is a whole number, not '5.5'", id="half"),
    pytest.param(["capacity=-1"], "memory.capacity is at least 0", id="negative"),
    pytest.param(["travel=far"], "travel is one of layers, frames, not 'far'", id="no such choice"),
    pytest.param(["min_travel=0.1,0.10"], "memory.min_travel has 0.1 and 0.10, which are the same",
                 id="a value twice"),
    pytest.param(["capacity=1", "memory.capacity=2"], "memory.capacity is in the grid twice",
                 id="a setting twice"),
    pytest.param(["speed=1"], "no setting 'speed'", id="no such setting"),
])
def test_a_grid_is_refused(grid, complaint):
    with pytest.raises(InputError, match=re.escape(complaint)):
        parse_grid(grid, BASE)


ROWS = combinations(parse_grid(["capacity=0,5", "travel=layers,frames"], BASE), BASE)


@pytest.mark.parametrize("text", [
    "capacity=5,travel=frames", "travel=frames,capacity=5", "travel=frames, memory.capacity=5",
])  # fmt: skip
def test_a_row_is_chosen_by_its_values(text):
    assert choose(text, ROWS, BASE) is ROWS[3]


@pytest.mark.parametrize(("text", "complaint"), [
    pytest.param("capacity=5", "2 rows of the grid with capacity=5; name one, such as memory.",
                 id="several"),
    pytest.param("capacity=7,travel=frames", "no row of the grid with capacity=7", id="none"),
    pytest.param("capacity", "--against takes NAME=VALUE, not 'capacity'", id="no value"),
])
def test_a_row_is_refused(text, complaint):
    with pytest.raises(InputError, match=re.escape(complaint)):
        choose(text, ROWS, BASE)


# Slices


def sliced(*texts, best):
    """Slices of a grid whose row number `n` has a score of `n`."""
    grid = parse_grid(texts, paper())
    rows = combinations(grid, paper())
    scores = {row.label: float(number) for number, row in enumerate(rows)}
    return slices(grid, scores, rows[best].values)


def test_a_slice_goes_through_the_best_row():
    """Rows count 0 to 11: capacity by six, travel by three, min_travel by one."""
    grid = ("capacity=0,5", "travel=layers,frames", "min_travel=0,0.1,0.2")
    found = {(one.down, one.across): one for one in sliced(*grid, best=7)}
    assert set(found) == {
        ("memory.capacity", "travel"), ("memory.capacity", "memory.min_travel"),
        ("travel", "memory.min_travel"),
    }  # fmt: skip
    first = found["memory.capacity", "travel"]
    np.testing.assert_array_equal(first.scores, [[1, 4], [7, 10]])
    assert (first.rows, first.columns, first.fixed) == (("0", "5"), ("layers", "frames"),
                                                        "min_travel 0.1")  # fmt: skip
    np.testing.assert_array_equal(
        found["travel", "memory.min_travel"].scores, [[6, 7, 8], [9, 10, 11]]
    )


def test_a_setting_with_one_value_is_held():
    [one] = sliced("capacity=0,5", "travel=frames", "min_travel=0,0.1", best=0)
    assert (one.down, one.across, one.fixed) == ("memory.capacity", "memory.min_travel",
                                                 "travel frames")  # fmt: skip


def test_a_grid_of_one_setting_is_a_strip():
    [one] = sliced("capacity=0,5,10", best=1)
    assert (one.down, one.across, one.scores.tolist()) == ("", "memory.capacity", [[0, 1, 2]])
