"""The stages of a frame: they add up, and timing leaves nothing behind."""

import time

import pytest

from helpers.scenes import NETWORK, lively_model
from tfsasm.experiments.speed.stages import measure, write_clip
from tfsasm.motrv2 import network as torch_network
from tfsasm.motrv2.network import TorchNetwork
from tfsasm.runtime.exported import ExportedNetwork
from tfsasm.tracking import memory

WHOLE = {"decode", "preprocess", "memory read", "decoder", "lifecycle", "memory write",
         "interaction", "output"}  # fmt: skip


@pytest.fixture
def clip(tmp_path):
    """Two small frames."""
    write_clip(tmp_path / "clip.mp4", 48, 64, 2)
    return tmp_path / "clip.mp4"


def test_in_pytorch_backbone_and_encoder_are_stages_of_their_own(clip):
    network = TorchNetwork(lively_model(), NETWORK)
    functions = torch_network.prepare, memory.read, memory.write
    began = time.perf_counter()
    found = measure(network, NETWORK.model.width, clip, 3)
    spent = time.perf_counter() - began
    assert set(found.stages) == WHOLE | {"backbone", "encoder"}
    assert all(ms >= 0 for ms in found.stages.values())
    assert found.total == pytest.approx(sum(found.stages.values()))
    assert 2 * found.total <= 1e3 * spent
    assert (torch_network.prepare, memory.read, memory.write) == functions
    assert "forward" not in vars(network.model.backbone)
    assert "decode" not in vars(network)


def test_an_exported_network_encodes_in_one_stage(exported, clip):
    network = ExportedNetwork(exported.folder)
    found = measure(network, network.manifest.width, clip, 3)
    assert set(found.stages) == WHOLE | {"backbone and encoder"}
