"""Recipes: what belongs to a network, and what the second cycle needs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tfsasm.errors import InputError
from tfsasm.motrv2.config import ModelConfig, full, motr, tiny
from tfsasm.settings import pairs, with_settings
from tfsasm.training.mix import AugmentConfig, augment_of
from tfsasm.training.recipes import (
    TrainConfig,
    check_recipe,
    published_epochs,
    recipe,
    recipe_finetune,
    recipe_full,
    recipe_motr,
    recipe_tiny,
    sampling_of,
)
from tfsasm.training.trainer import clip_length, schedule


def of_tiny(config):
    return replace(config, augment=augment_of(tiny()))


def test_each_network_has_its_recipe():
    assert recipe(tiny()) == of_tiny(recipe_tiny())
    assert recipe(full()) == recipe_full()


def test_the_published_recipe_has_the_papers_clips():
    """SPEC 9.3, 9.4, 9.9: eight clips of five frames a step; drops and insertions (QUIRK-34)."""
    config = recipe_full()
    assert (config.batch, config.lengths, config.augment) == (8, ((0.0, 5),), AugmentConfig())
    assert (config.clip.denoising, config.clip.track_drop) == (0.05, 0.1)
    assert (config.clip.false_tracks, config.clip.checkpointing) == (0.3, True)


@pytest.mark.parametrize(("data", "epochs", "drop", "growth"), [
    pytest.param("mot17", 200, 100, {50: 3, 90: 4, 150: 5}, id="MOT17"),
    pytest.param("dancetrack", 20, 10, {5: 3, 9: 4, 15: 5}, id="DanceTrack"),
    pytest.param("bdd100k", 20, 16, {6: 3, 12: 4}, id="BDD100K"),
    pytest.param("mot", 20, 10, {5: 3, 9: 4, 15: 5}, id="own folders, as DanceTrack"),
])  # fmt: skip
def test_motr_is_trained_as_in_its_paper(data, epochs, drop, growth):
    """arXiv 2105.03247, section 4.2: epochs, the rate's drop, and when clips grow from 2 frames."""
    assert published_epochs(motr(), data) == epochs
    config = replace(recipe(motr(), data=data), steps=10 * epochs)
    assert replace(config, steps=recipe_motr().steps) == recipe_motr(data)
    assert (config.lr, config.batch) == (2e-4, 8)
    assert (config.clip.track_drop, config.clip.false_tracks, config.clip.keep_iou) == (
        0.1, 0.3, 0.5
    )
    rates = [schedule(10 * epoch, config) for epoch in range(epochs)]
    assert rates == [1.0] * drop + [0.1] * (epochs - drop)
    lengths = [clip_length(10 * epoch, config) for epoch in range(epochs)]
    assert lengths == [max([2, *(n for at, n in growth.items() if at <= epoch)])
                       for epoch in range(epochs)]  # fmt: skip


def test_trained_box_heads_are_left_alone():
    assert recipe(tiny(), 2, from_checkpoint=True) == of_tiny(recipe_tiny(2))
    assert not recipe_tiny(2).neutral_box_heads
    wanted = replace(recipe_tiny(), neutral_box_heads=False)
    assert recipe(tiny(), from_checkpoint=True) == of_tiny(wanted)


def test_own_data_fine_tune_a_checkpoint():
    wanted = of_tiny(recipe_finetune())
    assert recipe(tiny(), from_checkpoint=True, data="mot") == wanted
    assert recipe(tiny(), data="mot") == of_tiny(recipe_tiny())
    assert recipe(full(), from_checkpoint=True, data="mot") == recipe_full()


@pytest.mark.parametrize(("network", "from_checkpoint"), [(tiny(), False), (full(), True)])
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


@pytest.mark.parametrize("text", [
    "log_every=0", "steps=0", "max_interval=0", "max_side=0", "average=2", "decay_from=1.5",
    "flip=2", "crop=1.1", "track_drop=2", "false_tracks=7", "focal_alpha=3", "lr=inf",
    "clip_norm=0", "clip_norm=inf", "lengths=", "lengths=0.5x2", "lengths=0x0", "lengths=0x2,0x3",
    "lengths=0x2,1x3", "lengths=0x2,0.9x3,0.5x4", "sizes=", "sizes=0", "before_crop=",
    "crop_sides=5x1", "crop_sides=0x0", "seed=99999999999999999999",
])  # fmt: skip
def test_what_no_run_can_be_is_named(text):
    name = text.partition("=")[0]
    with pytest.raises(InputError, match=name):
        check_recipe(with_settings(recipe_full(), pairs([text])))


@pytest.mark.parametrize("text", [
    "decay_from=1", "lengths=0x1", "flip=1", "average=0", "warmup=0", "sizes=1", "colour=0,0,0",
])
def test_extreme_settings_are_settings(text):
    check_recipe(with_settings(recipe_full(), pairs([text])))
