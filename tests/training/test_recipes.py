"""Recipes: what belongs to a network, and what the second cycle needs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tfsasm.errors import InputError
from tfsasm.motrv2.config import ModelConfig, full, tiny
from tfsasm.training.recipes import TrainConfig, recipe, recipe_tiny, sampling_of
from tfsasm.training.trainer import schedule


def test_each_network_has_its_recipe():
    assert recipe("tiny") == (tiny(), recipe_tiny())
    assert recipe("full") == (full(), TrainConfig())


def test_trained_box_heads_are_left_alone():
    assert recipe("tiny", 2, from_checkpoint=True)[1] == recipe_tiny(2)
    assert not recipe_tiny(2).neutral_box_heads
    wanted = replace(recipe_tiny(), neutral_box_heads=False)
    assert recipe("tiny", from_checkpoint=True)[1] == wanted


@pytest.mark.parametrize(("network", "from_checkpoint"), [("tiny", False), ("full", True)])
def test_the_second_cycle_is_that_of_tiny_and_needs_a_start(network, from_checkpoint):
    with pytest.raises(InputError, match="continues from --init FILE"):
        recipe(network, 2, from_checkpoint=from_checkpoint)


@pytest.mark.parametrize(("cycle", "frames"), [(1, 5), (2, 6)])
def test_clips_are_long_enough_for_the_whole_run(cycle, frames):
    assert sampling_of(recipe_tiny(cycle), tiny()).frames == frames


@pytest.mark.parametrize(("network", "sizes"), [
    (tiny(), {(384, 288), (512, 288), (448, 288)}),
    (full(), {(1067, 800), (1422, 800), (1244, 800)}),
])
def test_clips_come_in_the_size_that_the_network_is_saved_with(network, sizes):
    assert set(sampling_of(TrainConfig(), network).sizes) == sizes


@pytest.mark.parametrize("cycle", [1, 2])
def test_the_recipe_of_tiny_fits_its_network(cycle):
    config = recipe_tiny(cycle)
    assert isinstance(tiny().model, ModelConfig)
    assert config.backbone_lr == 0
    assert config.lengths[0][0] == 0
    shares, frames = zip(*config.lengths, strict=True)
    assert list(shares) == sorted(shares)
    assert list(frames) == sorted(frames)
    assert schedule(config.steps, config) == pytest.approx(0)
