"""A run as a file: what was written is read again, and what is no run is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from helpers.scenes import NETWORK
from helpers.training_data import write_dance
from tfsasm.errors import InputError
from tfsasm.motrv2.config import full, tiny
from tfsasm.training.clip import ClipConfig
from tfsasm.training.data import SyntheticBlocks
from tfsasm.training.mix import AugmentConfig
from tfsasm.training.recipes import TrainConfig, recipe_full, recipe_tiny
from tfsasm.training.runs import (
    Run,
    check_data,
    clips_of,
    named_network,
    read_run,
    save_run,
    with_epochs,
)

UNUSUAL = Run(
    NETWORK,
    TrainConfig(
        clip=ClipConfig(denoising=0.3, refresh_matched=True), freeze=("backbone", "encoder"),
        augment=AugmentConfig(sizes=(64, 80), crop_sides=(60, 70)), lengths=((0.0, 2), (0.5, 3)),
        lr=3e-5, cosine=True, loggers=(), precision="fp16",
    ),
    ("mot:a,weight=2", "synthetic"), "mot:b", "tiny", "imagenet.pth",
)  # fmt: skip


@pytest.mark.parametrize("run", [
    pytest.param(Run(tiny(), recipe_tiny()), id="tiny"),
    pytest.param(Run(full(), recipe_full(), ("dancetrack:D",)), id="full"),
    pytest.param(UNUSUAL, id="every kind of setting"),
])
def test_a_run_is_read_as_it_was_written(tmp_path, run):
    save_run(run, tmp_path)
    assert read_run(tmp_path / "config.json") == run


def test_what_is_not_there_has_its_default(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"network": {"model": {"width": 64}}, "training": {"lr": 0.001}}))
    run = read_run(path)
    assert run.network == replace(full(), model=replace(full().model, width=64))
    assert run.training == TrainConfig(lr=0.001)


@pytest.mark.parametrize(("text", "message"), [
    ("[]", "describes no run"),
    ('{"network": {}, "trainning": {}}', "describes no run"),
    ('{"network": {"model": {"wdth": 1}}}', "no setting wdth"),
    ('{"network": {"model": {}}, "training": {"lrr": 1}}', "no setting 'lrr'; did you mean lr"),
    ('{"network": {"model": {}}, "training": {"steps": "m"}}', "steps is a whole number, not 'm'"),
    ('{"network": {"model": {}}, "training": []}', "training is [], not an object"),
    ('{"network": {"model": {}}, "data": 5}', "data is 5, not a list"),
    ("{", "mine.json:1:"),
])  # fmt: skip
def test_what_is_no_run_is_refused(tmp_path, text, message):
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(InputError) as caught:
        read_run(tmp_path / "mine.json")
    assert message in str(caught.value)
    assert "mine.json" in str(caught.value)


def test_a_run_does_not_go_on_with_other_data(tmp_path):
    save_run(UNUSUAL, tmp_path)
    other = replace(UNUSUAL, data=("mot:c",))
    check_data(other, tmp_path)  # nothing was trained yet
    (tmp_path / "last.pt").touch()
    check_data(replace(UNUSUAL, validate="mot:c"), tmp_path)
    with pytest.raises(InputError, match="is of other data: mot:a,weight=2 synthetic; give"):
        check_data(other, tmp_path)


def test_a_network_is_named_or_a_file(tmp_path):
    assert named_network("tiny") == tiny()
    assert named_network("full") == full()
    (tmp_path / "n.json").write_text(NETWORK.to_json())
    assert named_network(str(tmp_path / "n.json")) == NETWORK
    with pytest.raises(InputError, match="no network 'huge': give tiny, full, motr, or"):
        named_network("huge")


def test_without_data_clips_are_synthetic_and_endless():
    clips, epoch, notes = clips_of(Run(tiny(), recipe_tiny()))
    assert isinstance(clips, SyntheticBlocks)
    assert (epoch, notes) == (None, ())


def test_epochs_are_steps(tmp_path):
    dance = write_dance(tmp_path)
    run = Run(NETWORK, TrainConfig(lengths=((0.0, 3),), batch=4), (f"dancetrack:{dance}",))
    clips, epoch, [note] = clips_of(run)
    assert epoch == 12  # two videos of eight frames
    assert "2 videos, 16 frames" in note
    assert len(clips(0)[0]) == 3
    assert with_epochs(run, 5, epoch).training.steps == 15


def test_all_data_are_named_well_before_any_is_read():
    run = Run(NETWORK, TrainConfig(), ("mot:not-there", "cars:x"))
    with pytest.raises(InputError, match="no data 'cars'"):
        clips_of(run)
