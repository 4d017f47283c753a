import numpy as np
import pytest

from tfsasm.errors import InputError
from tfsasm.evaluation.trajectories import (
    Trajectories,
    in_both,
    last_frame,
    overlaps,
    rows_by_frame,
)

ONE = [[0, 0, 10, 10]]


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(InputError, match="equally many"):
        Trajectories.of([1, 2], [1], ONE)


def test_frames_in_corners_become_numbered_rows():
    table = Trajectories.from_frames([
        ([4, 2], [[0, 0, 10, 20], [5, 5, 6, 7]]), ([], []), ([2], [[1, 1, 2, 3]]),
    ])
    assert table.frames.tolist() == [1, 1, 3]
    assert table.ids.tolist() == [4, 2, 2]
    assert table.ltwh.tolist() == [[0, 0, 10, 20], [5, 5, 1, 2], [1, 1, 1, 2]]
    assert table.ids.dtype == np.int64
    assert len(Trajectories.from_frames([([], []), ([], [])])) == 0


def test_rows_of_a_frame_keep_their_order():
    rows = rows_by_frame(np.array([5, 2, 5, 5, 2]))
    assert {frame: found.tolist() for frame, found in rows.items()} == {2: [1, 4], 5: [0, 2, 3]}
    assert rows_by_frame(np.zeros(0, dtype=np.int64)) == {}


def test_only_frames_that_both_have_are_compared():
    pairs = [(a.tolist(), b.tolist()) for a, b in in_both(np.array([1, 3, 3]), np.array([3, 4]))]
    assert pairs == [([1, 2], [0])]


@pytest.mark.parametrize(("tables", "last"), [
    pytest.param([], 0, id="no table"),
    pytest.param([Trajectories.empty()], 0, id="no box"),
    pytest.param([Trajectories.of([7], [1], ONE), Trajectories.of([9], [1], ONE)], 9, id="two"),
])
def test_the_last_frame_is_that_of_any_table(tables, last):
    assert last_frame(*tables) == last


def test_overlaps_of_nothing_have_the_shape_of_both_sides():
    none = np.zeros((0, 4))
    assert overlaps(none, np.array(ONE, dtype=float)).shape == (0, 1)
    assert overlaps(none, none).shape == (0, 0)
