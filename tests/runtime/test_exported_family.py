"""MOTR and CO-MOT exported: the same tracks as PyTorch's, without detections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tfsasm.motrv2.config import ModelConfig, NetworkConfig
from tfsasm.motrv2.family import build
from tfsasm.motrv2.weights import save_model
from tfsasm.tracking.load import load

pytestmark = pytest.mark.slow

SMALL = ModelConfig(
    backbone="mobilenetv2", width=32, heads=4, feedforward=32, encoder_layers=1, decoder_layers=2,
    levels=3,
)  # fmt: skip
KINDS = [
    pytest.param(replace(SMALL, kind="motr", track_attention=True, learned_queries=300), "motr",
                 id="MOTR"),
    pytest.param(replace(SMALL, queries_per_track=3, learned_queries=60), "motrv2", id="CO-MOT"),
]  # fmt: skip
FRAMES = np.random.default_rng(0).integers(0, 255, (4, 64, 96, 3), dtype=np.uint8)


def saved(path, sizes):
    """A network that is sure of some of its learned queries, and of their tracks less."""
    torch.manual_seed(0)
    network = build(sizes)
    heads = network if sizes.kind == "motr" else network.decoder
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.05)
        heads.class_heads[-1].weight.mul_(20)
        heads.class_heads[-1].bias.fill_(0.5)
        heads.box_heads[0].layers[-1].bias[2:] = -1.0
    save_model(path, network, NetworkConfig(sizes, short_side=64, max_side=96))
    return path


@pytest.mark.parametrize(("sizes", "preset"), KINDS)
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_an_export_tracks_as_pytorch_does(tfsasm, tmp_path, sizes, preset, runtime):
    pytest.importorskip("onnxscript")
    pytest.importorskip({"onnx": "onnxruntime"}.get(runtime, runtime))
    path = saved(tmp_path / "network.safetensors", sizes)
    outcome = tfsasm("export", "--weights", path, "--output", tmp_path / "made")
    assert outcome.code == 0, outcome.err
    assert "compared with PyTorch on noise" in outcome.out
    one, other = load(path, exact=sizes.kind != "motr"), load(tmp_path / "made", runtime=runtime)
    assert one.network.preset == other.network.preset == preset
    assert one.config == other.config
    seen = 0
    for frame in FRAMES:
        wanted, found = one.update([], frame), other.update([], frame)
        assert found.tracker_id.tolist() == wanted.tracker_id.tolist()
        np.testing.assert_allclose(found.xyxy, wanted.xyxy, atol=0.02)
        seen += len(found)
    assert seen > 4
    assert len(other.state.tracks) > 1, "so that tracks attend to one another"
