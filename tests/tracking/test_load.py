"""Query trackers from checkpoints; the public names of the package."""

from dataclasses import replace

import pytest
import torch

import tfsasm
from helpers.fakes import SMALL
from helpers.scenes import NETWORK, all_same, follow
from tfsasm.errors import InputError, WeightsError
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.family import build, load_model
from tfsasm.motrv2.network import TorchNetwork
from tfsasm.motrv2.weights import save_model, to_published
from tfsasm.tracking.config import default, released
from tfsasm.tracking.load import embedded, load, own_preset
from tfsasm.tracking.query import QueryTracker


def test_loading_takes_the_scale_from_the_file_or_from_the_caller(small_weights):
    tracker = load(small_weights)
    assert (tracker.network.config, tracker.config) == (NETWORK, default())
    other = load(small_weights, released(), short_side=96).network.config
    assert (other.short_side, other.max_side) == (96, NETWORK.max_side)
    other = load(str(small_weights), max_side=64).network.config
    assert (other.short_side, other.max_side) == (NETWORK.short_side, 64)


def test_the_scale_matters(scene, small_weights):
    one = load(small_weights, released())
    other = load(small_weights, released(), short_side=96, max_side=200)
    assert not all_same(follow(one, scene, range(3)), follow(other, scene, range(3)))


def test_a_loaded_network_tracks_as_the_saved_one(scene, small_weights):
    """Batch norms are folded on loading: the same tracks within rounding."""
    trackers = (
        QueryTracker(TorchNetwork(*load_model(small_weights)), released()),
        load(small_weights, released()),
    )
    for one, other in zip(*(follow(tracker, scene, range(6)) for tracker in trackers), strict=True):
        assert one.tracker_id.tolist() == other.tracker_id.tolist()
        assert one.xyxy == pytest.approx(other.xyxy, abs=0.05)


@pytest.mark.parametrize(("given", "word"), [
    pytest.param({"short_side": 0}, "short_side is 0", id="no pixels"),
    pytest.param({"max_side": -5}, "max_side is -5", id="less than none"),
    pytest.param({"device": "gpu"}, "'gpu'", id="a device that does not exist"),
    pytest.param({"device": "cuda:99"}, "'cuda:99'", id="a device that is not here"),
])
def test_loading_refuses_what_cannot_be(small_weights, given, word):
    with pytest.raises(InputError) as caught:
        load(small_weights, **given)
    assert word in str(caught.value)
    assert "give" in str(caught.value)


def test_weights_that_are_not_there_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"no checkpoint at .*lost.pth"):
        load(tmp_path / "lost.pth")


def test_the_embedded_network_is_in_the_package_and_small():
    path = embedded("tiny")
    assert path.is_file(), f"{path.name} is missing from the package"
    assert path.stat().st_size <= 20e6


def test_the_embedded_network_is_what_is_loaded(scene):
    tracker = tfsasm.load()
    assert tracker.network.parameters > 1e6
    tracks = follow(tracker, scene, range(2))
    assert tracker.state.frame == len(tracks) == 2
    tracker.reset()
    assert all_same(tracks, follow(tracker, scene, range(2)))


@pytest.mark.parametrize(("settings", "message"), [
    pytest.param({"precision": "fp16"}, "take bf16 or fp32", id="float16 on a CPU"),
    pytest.param({"precision": "fp8"}, "precision is one of auto, fp32", id="an unknown kind"),
    pytest.param({"precision": "neck=bf16"}, "has the parts backbone", id="an unknown part"),
    pytest.param({"precision": "bf16", "exact": True}, "another order", id="bfloat16 and exact"),
])
def test_a_precision_that_cannot_be_is_refused(small_weights, settings, message):
    with pytest.raises(InputError, match=message):
        load(small_weights, device="cpu", **settings)


@pytest.mark.parametrize("name", tfsasm.__all__)
def test_every_public_name_is_there_with_a_docstring(name):
    assert name in dir(tfsasm)
    value = getattr(tfsasm, name)
    assert name == "__version__" or value.__doc__


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no attribute 'trakcer'"):
        tfsasm.trakcer  # noqa: B018


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_which_network_a_file_has_is_known_without_its_numbers(tmp_path, suffix, caplog):
    """And nothing is said of the file, which is when it is loaded."""
    sizes = replace(SMALL, kind="motr", track_attention=True)
    model, path = build(sizes), tmp_path / f"motr{suffix}"
    with torch.no_grad():
        model.learned.fill_(torch.nan)
    save_model(path, model, NetworkConfig(sizes))
    if suffix == ".pth":
        wrapped = {f"module.{k}": v for k, v in to_published(model.state_dict()).items()}
        torch.save({"model": wrapped}, path)
    assert own_preset(path) == "motr"
    assert not caplog.records
    with pytest.raises(WeightsError, match="no numbers"):
        load(path)
