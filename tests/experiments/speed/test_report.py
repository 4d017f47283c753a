"""Memory of variants, each measured in a process of its own."""

import os

import pytest

from tfsasm.experiments.speed.report import peak_mb


def test_the_peak_of_a_process_of_its_own_is_that_of_its_work():
    megabytes = 600
    assert peak_mb(bytearray, megabytes * 2**20) > megabytes + 50


@pytest.mark.slow
def test_a_process_that_dies_is_an_error():
    with pytest.raises(RuntimeError, match="the process that measures memory died"):
        peak_mb(os._exit, 3)
