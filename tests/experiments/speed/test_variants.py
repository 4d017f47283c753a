"""Variants of the same network: one answer, and what they need."""

import importlib.util
import sys

import numpy as np
import pytest
import torch

from helpers.scenes import NETWORK
from tfsasm.errors import InputError
from tfsasm.experiments.speed import variants
from tfsasm.experiments.speed.variants import check_variants, load_network, make_variant
from tfsasm.motrv2.family import load_model


@pytest.mark.parametrize("name", ["exact", "fast-fp32", "onnx"])
def test_a_variant_gives_the_same_predictions_as_plain_pytorch(exported, name):
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    boxes, scores = np.full((3, 4), 0.4, np.float32), np.full(3, 0.9, np.float32)

    def predicted(name):
        network = make_variant(name, *load_model(exported.weights), exported.folder)
        queries = network.queries(network.asarray(boxes), network.asarray(scores))
        return np.asarray(network.decode(network.encode([image])[0], queries).boxes)

    np.testing.assert_allclose(predicted(name), predicted("plain"), rtol=0, atol=1e-4)


def test_the_published_network_without_weights_is_random_but_the_same_each_time(monkeypatch):
    monkeypatch.setattr(variants, "full", lambda: NETWORK)  # the published size takes longer
    first, second = (load_network("full", None)[0].learned_boxes for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "onnxscript"])
def test_a_runtime_that_is_missing_is_named_with_the_command_that_installs_it(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda wanted: None if wanted == name else find(wanted)
    )
    with pytest.raises(InputError, match="pip install"):
        check_variants(["plain", "openvino" if name == "openvino" else "onnx"])


@pytest.mark.parametrize(("name", "message"), [
    pytest.param("quick", "fast-PRECISION", id="an unknown variant"),
    pytest.param("fast-fp8", "not 'fp8'", id="an unknown precision"),
])  # fmt: skip
def test_what_is_no_variant_is_refused(name, message):
    with pytest.raises(InputError, match=message):
        check_variants([name])
