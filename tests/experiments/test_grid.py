"""Short names of settings, and grids of their values."""

import re

import pytest

from tfsasm.errors import InputError
from tfsasm.experiments.grid import choose, combinations, parse_grid
from tfsasm.settings import with_settings
from tfsasm.tracking.config import default, paper

BASE = paper()


def test_a_grid_has_every_combination():
    axes = parse_grid(["capacity=0, 5", "overlap_with=all,tracks", "snap=true"], default())
    rows = combinations(axes, default())
    assert [row.label for row in rows] == [
        "memory.capacity=0,overlap_with=all,support.snap=true",
        "memory.capacity=0,overlap_with=tracks,support.snap=true",
        "memory.capacity=5,overlap_with=all,support.snap=true",
        "memory.capacity=5,overlap_with=tracks,support.snap=true",
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
    pytest.param("capacity", "wanted is NAME=VALUE", id="no value"),
])
def test_a_row_is_refused(text, complaint):
    with pytest.raises(InputError, match=re.escape(complaint)):
        choose(text, ROWS, BASE)
