"""Frozen tables: every operation makes a new one and leaves the old one alone."""

from dataclasses import FrozenInstanceError, dataclass

import numpy as np
import pytest
import torch

from tfsasm.tables import Array, Table, as_numpy, in_one_copy, lerp, namespace

LIBRARIES = pytest.mark.parametrize("library", [np, torch], ids=["numpy", "torch"])


@dataclass(frozen=True)
class Inner(Table):
    views: Array


@dataclass(frozen=True)
class Rows(Table):
    ids: Array
    inner: Inner


def table(library, *ids: int) -> Rows:
    column = np.array(ids, dtype=np.int64)
    views = np.tile(column[:, None, None], (1, 2, 3)) * 10
    return Rows(library.asarray(column), Inner(library.asarray(views)))


def content(rows: Rows) -> list[tuple[int, int]]:
    assert rows.inner.views.shape == (len(rows), 2, 3)
    return [(int(i), int(v[0, 0])) for i, v in zip(rows.ids, rows.inner.views, strict=True)]


@pytest.mark.parametrize(("index", "chosen"), [
    pytest.param([True, False, True], [1, 3], id="mask"),
    pytest.param([False, False, False], [], id="mask that keeps none"),
    pytest.param([2, 0, 0], [3, 1, 1], id="integers, repeated"),
    pytest.param(np.zeros(0, dtype=np.int64), [], id="no integers"),
    pytest.param(slice(1, None), [2, 3], id="slice"),
    pytest.param(slice(0), [], id="empty slice"),
])
@LIBRARIES
def test_rows_are_chosen_in_every_column_nested_ones_too(library, index, chosen):
    if not isinstance(index, slice):
        index = library.asarray(index)
    assert content(table(library, 1, 2, 3)[index]) == [(i, 10 * i) for i in chosen]


@pytest.mark.parametrize(("parts", "joined"), [
    pytest.param([[1, 2], [3]], [1, 2, 3], id="one below the other"),
    pytest.param([[], [3]], [3], id="an empty one first"),
    pytest.param([[], []], [], id="only empty ones"),
    pytest.param([[5]], [5], id="a single one"),
])
@LIBRARIES
def test_tables_are_joined_in_order(library, parts, joined):
    whole = Rows.cat([table(library, *part) for part in parts])
    assert type(whole) is Rows
    assert type(whole.inner) is Inner
    assert namespace(whole.ids) is library
    assert content(whole) == [(i, 10 * i) for i in joined]


@LIBRARIES
def test_map_makes_a_new_table(library):
    rows = table(library, 1, 2)
    doubled = rows.map(lambda column: column * 2)
    assert content(doubled) == [(2, 20), (4, 40)]
    assert content(rows) == [(1, 10), (2, 20)]


def test_a_table_can_go_to_another_device():
    moved = table(torch, 1, 2).to("meta")
    assert moved.ids.device.type == moved.inner.views.device.type == "meta"
    assert len(moved) == 2


def test_a_table_cannot_be_edited():
    with pytest.raises(FrozenInstanceError):
        table(np, 1).ids = np.array([2])


@LIBRARIES
def test_a_column_of_either_library_comes_back_as_numpy(library):
    column = table(library, 1, 2).ids
    assert isinstance(as_numpy(column), np.ndarray)
    assert as_numpy(column).tolist() == [1, 2]


@LIBRARIES
def test_a_table_comes_to_the_host_as_numpy(library):
    found = table(library, 1, 2).on_host()
    assert all(isinstance(column, np.ndarray) for column in found.columns)
    assert content(found) == [(1, 10), (2, 20)]


@pytest.mark.parametrize("rows", [3, 0])
def test_one_copy_of_many_columns_keeps_every_value(rows):
    columns = [
        np.array([-(2**63), 2**53, -1]), np.array([np.nan, np.inf, 0.1], np.float32),
        np.array([True, False, True]), np.arange(18, dtype=np.float32).reshape(3, 2, 3) / 7,
        np.zeros((3, 0), np.float32),
    ]  # fmt: skip
    found = in_one_copy([torch.from_numpy(column[:rows]) for column in columns])
    for one, wanted in zip(found, columns, strict=True):
        assert one.dtype == wanted.dtype
        np.testing.assert_array_equal(one, wanted[:rows])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
@LIBRARIES
def test_interpolation_is_exact_at_both_ends(library, share):
    start, end = (library.asarray(np.float32(values)) for values in ([0.1, 3], [0.7, -1e8]))
    found = as_numpy(lerp(start, end, share))
    if share in (0.0, 1.0):
        assert np.array_equal(found, as_numpy(end if share else start))
    wanted = (1 - share) * as_numpy(start).astype(float) + share * as_numpy(end).astype(float)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
