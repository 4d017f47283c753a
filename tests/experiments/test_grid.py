"""Short names of settings, and grids of their values."""

import re

import pytest

from tfsasm.errors import InputError
from tfsasm.experiments.grid import choose, combinations, parse_grid
from tfsasm.settings import full_name, setting_names, settings_of
from tfsasm.tracking.config import default, paper

BASE = paper()


@pytest.mark.parametrize(("name", "setting"), [
    pytest.param("capacity", "memory.capacity", id="the last part"),
    pytest.param("memory.capacity", "memory.capacity", id="all of it"),
    pytest.param("travel", "travel", id="a setting of the tracker itself"),
    pytest.param("overlap_with", "overlap_with", id="another"),
    pytest.param("min_travel", "memory.min_travel", id="not the travel within it"),
    pytest.param("lifecycle.birth_score", "lifecycle.birth_score", id="one of two, in full"),
])
def test_a_name_is_understood(name, setting):
    assert full_name(name, BASE) == setting


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        pytest.param(
            "birth_score",
            "birth_score may be lifecycle.birth_score or association.birth_score; say which",
            id="two have it",
        ),
        pytest.param("capcity", "no setting 'capcity'; there are memory.capacity", id="misspelt"),
        pytest.param(
            "lifecycle.capacity",
            "no setting 'lifecycle.capacity'; there are memory.capacity",
            id="in the wrong place",
        ),
        pytest.param(
            "xyz", "no setting 'xyz'; there are lifecycle.birth_score, ", id="like nothing"
        ),
        pytest.param("memory", "no setting 'memory'", id="a group"),
        pytest.param("", "no setting ''", id="empty"),
    ],
)
def test_a_name_is_refused(name, complaint):
    with pytest.raises(InputError, match=re.escape(complaint)):
        full_name(name, BASE)


def test_every_setting_has_a_name():
    names = list(setting_names(BASE))
    assert {
        "memory.capacity",
        "association.use_detection_box",
        "motion.lead",
        "report_area",
    } <= set(names)
    assert len(set(names)) == len(names)
    assert all(full_name(name, BASE) == name for name in names)


def test_settings_by_short_name_change_a_method():
    changed = settings_of([("capacity", "3"), ("travel", "layers")], BASE)
    assert (changed.memory.capacity, changed.travel) == (3, "layers")
    assert settings_of([], BASE) == BASE


def test_a_grid_has_every_combination():
    axes = parse_grid(
        ["capacity=0, 5", "overlap_with=all,tracks", "use_detection_box=true"], default()
    )
    rows = combinations(axes, default())
    assert [row.label for row in rows] == [
        "memory.capacity=0,overlap_with=all,association.use_detection_box=true",
        "memory.capacity=0,overlap_with=tracks,association.use_detection_box=true",
        "memory.capacity=5,overlap_with=all,association.use_detection_box=true",
        "memory.capacity=5,overlap_with=tracks,association.use_detection_box=true",
    ]
    assert [row.method.memory.capacity for row in rows] == [0, 0, 5, 5]
    assert rows[3].method == settings_of([("capacity", "5"), ("overlap_with", "tracks")], default())


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
