"""Frozen tables: every operation makes a new one and leaves the old one alone."""

from dataclasses import FrozenInstanceError, dataclass

import pytest
import torch
from torch import Tensor

from tfsasm.tables import Table


@dataclass(frozen=True)
class Inner(Table):
    views: Tensor


@dataclass(frozen=True)
class Table(Table):
    ids: Tensor
    inner: Inner


def table(*ids: int) -> Table:
    column = torch.tensor(ids, dtype=torch.int64)
    return Table(column, Inner(column[:, None, None].expand(-1, 2, 3) * 10))


def content(rows: Table) -> list[tuple[int, int]]:
    assert rows.inner.views.shape == (len(rows), 2, 3)
    return [(int(i), int(v[0, 0])) for i, v in zip(rows.ids, rows.inner.views, strict=True)]


@pytest.mark.parametrize(("index", "chosen"), [
    pytest.param(torch.tensor([True, False, True]), [1, 3], id="mask"),
    pytest.param(torch.tensor([False, False, False]), [], id="mask that keeps nobody"),
    pytest.param(torch.tensor([2, 0, 0]), [3, 1, 1], id="integers, repeated"),
    pytest.param(torch.tensor([], dtype=torch.int64), [], id="no integers"),
    pytest.param(slice(1, None), [2, 3], id="slice"),
    pytest.param(slice(0), [], id="empty slice"),
])
def test_rows_are_chosen_in_every_column_nested_ones_too(index, chosen):
    assert content(table(1, 2, 3)[index]) == [(i, 10 * i) for i in chosen]


@pytest.mark.parametrize(("parts", "joined"), [
    pytest.param([[1, 2], [3]], [1, 2, 3], id="one below the other"),
    pytest.param([[], [3]], [3], id="an empty one first"),
    pytest.param([[], []], [], id="only empty ones"),
    pytest.param([[5]], [5], id="a single one"),
])
def test_tables_are_joined_in_order(parts, joined):
    whole = Table.cat([table(*part) for part in parts])
    assert type(whole) is Table
    assert type(whole.inner) is Inner
    assert content(whole) == [(i, 10 * i) for i in joined]


def test_map_makes_a_new_table():
    rows = table(1, 2)
    doubled = rows.map(lambda column: column * 2)
    assert content(doubled) == [(2, 20), (4, 40)]
    assert content(rows) == [(1, 10), (2, 20)]


def test_a_table_can_go_to_another_device():
    moved = table(1, 2).to("meta")
    assert moved.ids.device.type == moved.inner.views.device.type == "meta"
    assert len(moved) == 2


def test_a_table_cannot_be_edited():
    with pytest.raises(FrozenInstanceError):
        table(1).ids = torch.tensor([2])
