"""What a frame needs, and the least that it can take on this machine."""

from dataclasses import replace

import pytest
import torch

from helpers.fakes import SMALL
from tfsasm.experiments.speed import limits
from tfsasm.experiments.speed.limits import Bandwidth, Layer, Shape
from tfsasm.motrv2.config import NetworkConfig

NETWORK = NetworkConfig(SMALL, short_side=64, max_side=96)

FAST = Bandwidth(memory=100.0, cache=1000.0)


@pytest.fixture(scope="module")
def frame():
    """What a frame with 10 queries needs, and its layers."""
    return limits.needs(NETWORK, 64, 96, queries=10)


@pytest.fixture
def rates(monkeypatch):
    """Rates as a machine might have them, without a machine."""
    table = {"fp32": 100.0, "bf16": 1000.0, "int8": 2000.0}
    monkeypatch.setattr(limits, "matrix_rate", lambda shape, kind: table[kind])


def test_the_layers_of_a_frame_have_its_operations(frame):
    needed, layers = frame
    found = {}
    for layer in layers:
        if layer.shape:
            found[layer.part] = found.get(layer.part, 0) + layer.rows * layer.shape.flop / 1e9
    assert found["backbone"] == pytest.approx(needed["backbone"])
    assert found["encoder"] == pytest.approx(needed["encoder"], rel=0.02)
    assert 0.5 * needed["decoder"] < found["decoder"] < needed["decoder"]  # less self-attention


def test_operations_of_the_first_convolution_are_among_those_of_the_backbone(frame):
    assert frame[0]["backbone"] > 2 * 32 * 3 * 9 * 32 * 48 / 1e9


def test_more_queries_need_more_of_the_decoder_alone(frame):
    needed, more = frame[0], limits.needs(NETWORK, 64, 96, queries=20)[0]
    assert more["decoder"] > needed["decoder"]
    assert more["encoder"] == needed["encoder"]


@pytest.mark.parametrize(("layer", "kind", "ms"), [
    pytest.param(Layer("encoder", 1000, 10_000, Shape(500, 1000)), "fp32", 100.0, id="products"),
    pytest.param(Layer("encoder", 1000, 10_000, Shape(500, 1000)), "bf16", 10.0, id="in bf16"),
    pytest.param(Layer("encoder", 50_000_000, 1, Shape(5, 5)), "fp32", 2.0, id="memory"),
    pytest.param(Layer("encoder", 50_000_000, 1, Shape(5, 5)), "int8", 0.5, id="memory in int8"),
])  # fmt: skip
def test_a_layer_needs_the_longer_of_products_and_memory(rates, layer, kind, ms):
    assert limits.limits([layer], kind, FAST)["encoder"].ms == pytest.approx(ms)


def test_a_sampling_needs_what_the_cache_takes_to_read_and_stays_bfloat16(rates):
    products = Layer("encoder", 0, 1, Shape(1, 1))
    given = [Layer("encoder", 50_000_000), products]
    found = {kind: limits.limits(given, kind, FAST)["encoder"].ms for kind in limits.kinds()}
    assert found["fp32"] == pytest.approx(0.2)
    assert found["bf16"] == pytest.approx(0.1) == found.get("int8", 0.1)


def test_layers_of_one_shape_are_measured_once(monkeypatch):
    measured = []

    def rate(shape, kind):
        measured.append((shape, kind))
        return 1.0

    monkeypatch.setattr(limits, "matrix_rate", rate)
    one = Layer("encoder", 0, 1, Shape(8, 8))
    limits.limits([one, replace(one, rows=9), replace(one, shape=Shape(8, 9))], "fp32", FAST)
    assert measured == [(Shape(8, 8), "fp32"), (Shape(8, 9), "fp32")]


@pytest.mark.parametrize("shape", [Shape(16, 32), Shape(16, 32, 3, 2)], ids=["linear", "conv"])
@pytest.mark.parametrize("kind", limits.kinds())
def test_a_rate_is_measured_in_every_kind(shape, kind):
    assert limits.matrix_rate(shape, kind) > 0


def test_the_bandwidth_of_memory_and_cache_is_measured():
    threads = torch.get_num_threads()
    found = limits.bandwidth()
    assert torch.get_num_threads() == threads
    assert found.memory > 0
    assert found.cache > 0
