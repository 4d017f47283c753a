"""What a frame needs."""

from helpers.fakes import SMALL
from tfsasm.experiments.speed import machine
from tfsasm.motrv2.config import NetworkConfig

NETWORK = NetworkConfig(SMALL, short_side=64, max_side=96)


def test_operations_of_the_first_convolution_are_among_those_of_the_backbone():
    needed = machine.gflop(NETWORK, 64, 96, queries=10)
    assert needed["backbone"] > 2 * 32 * 3 * 9 * 32 * 48 / 1e9


def test_more_queries_need_more_of_the_decoder_alone():
    needed, more = (machine.gflop(NETWORK, 64, 96, queries) for queries in (10, 20))
    assert more["decoder"] > needed["decoder"]
    assert more["encoder"] == needed["encoder"]
