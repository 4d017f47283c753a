"""What a frame needs."""

import os

import pytest

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


def test_the_peak_of_a_process_of_its_own_is_that_of_its_work():
    megabytes = 600
    assert machine.peak_mb(bytearray, megabytes * 2**20) > megabytes + 50


def test_a_process_that_dies_is_an_error():
    with pytest.raises(RuntimeError, match="the process that measures memory died"):
        machine.peak_mb(os._exit, 3)
