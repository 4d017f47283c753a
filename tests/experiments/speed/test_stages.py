"""The stages of a frame: they add up, and timing leaves nothing behind."""

import pytest
import torch

from helpers.scenes import NETWORK, lively_model
from tfsasm.experiments.speed.stages import (
    Clock,
    Workload,
    measure,
    prepare_variant,
    some_proposals,
    steady,
    write_clip,
)
from tfsasm.motrv2.network import TorchNetwork
from tfsasm.motrv2.weights import load_model
from tfsasm.runtime.exported import ExportedNetwork

WHOLE = {"decode", "preprocess", "memory read", "decoder", "lifecycle", "memory write",
         "interaction", "output"}  # fmt: skip


def measured(network, config, folder):
    """Two small frames with three tracks."""
    video = folder / "clip.mp4"
    write_clip(video, 48, 64, 2)
    work = Workload(video, config, steady(), some_proposals(3), tracks=3)
    return measure(prepare_variant(network, work), work, folder / "out.mp4")


def test_in_pytorch_backbone_and_encoder_are_stages_of_their_own(tmp_path):
    found = measured(TorchNetwork(lively_model(), NETWORK), NETWORK, tmp_path)
    assert set(found.stages) == WHOLE | {"backbone", "encoder"}
    assert all(spent >= 0 for spent in found.stages.values())
    assert found.total == pytest.approx(sum(found.stages.values()))


def test_an_exported_network_encodes_in_one_stage(exported, tmp_path):
    config = load_model(exported.weights)[1]
    found = measured(ExportedNetwork(exported.folder), config, tmp_path)
    assert set(found.stages) == WHOLE | {"backbone and encoder"}


def test_a_clock_restores_what_it_watches():
    clock, layer = Clock(), torch.nn.Linear(2, 2)
    with clock.watch(layer, "forward", "layer"):
        layer(torch.zeros(1, 2))
    assert clock.spent["layer"] > 0
    assert "forward" not in vars(layer)


def test_the_stages_inside_another_are_subtracted_from_it():
    clock = Clock({"outer": 3.0, "inner": 1.0})
    clock.own("outer", "inner", "absent")
    assert clock.spent["outer"] == 2.0
