"""How time and memory grow: a row for each size."""

import pytest

from tfsasm.experiments.speed import scaling
from tfsasm.experiments.speed.variants import fast_network


@pytest.fixture
def network(small_weights):
    return fast_network("tiny", small_weights)


@pytest.mark.parametrize(("grow", "first"), [
    pytest.param(lambda n: scaling.by_tracks(n, 1, (0, 3)), [0, 3], id="tracks"),
    pytest.param(lambda n: scaling.by_size(n, 1, (32, 64), 3), [32, 64], id="size of images"),
    pytest.param(lambda n: scaling.by_capacity(n, 1, (0, 2)), [0, 2], id="capacity of the memory"),
    pytest.param(lambda n: scaling.by_length(n, 20, 3), range(2, 21, 2), id="length of a video"),
])  # fmt: skip
def test_there_is_a_row_for_each_size(network, grow, first):
    rows = grow(network)
    assert [next(iter(row.values())) for row in rows] == list(first)
    assert all(value >= 0 for row in rows for value in row.values())


def test_more_views_take_more_memory(network):
    few, many = scaling.by_capacity(network, 1, (1, 10))
    assert many["state_mb"] > few["state_mb"]
