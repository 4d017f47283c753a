"""Checkpoints as trainers leave them: wrapped, with prefixes, of another number of classes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from helpers.fakes import SMALL
from tfsasm.errors import WeightsError
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.weights import load_model, to_published
from tfsasm.pytorch import read_state_dict

NETWORK = NetworkConfig(SMALL, short_side=96, max_side=160)


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return to_published(MOTRv2(SMALL).state_dict())


def saved(path, content, network=NETWORK):
    torch.save(content, path)
    path.with_suffix(".json").write_text(network.to_json())
    return path


@pytest.mark.parametrize(("wrapper", "prefix"), [
    (None, "module."), (None, "model."), (None, "_orig_mod."), (None, "module._orig_mod."),
    ("model", "model."), ("state_dict", "module."), ("model_state_dict", "_orig_mod."),
])
def test_prefixes_and_wrappers_are_taken_off_and_told(tmp_path, caplog, state, prefix, wrapper):
    """Chiaraplizz/ST-TR#17, hou-yz/MVDet#7, HumaticsLAB/SEAM-Match-RCNN#3."""
    named = {prefix + name: tensor for name, tensor in state.items()}
    content = named if wrapper is None else {wrapper: named, "epoch": 3}
    path = saved(tmp_path / "last.pth", content)
    loaded, _ = load_model(path)
    assert all(torch.equal(v, to_published(loaded.state_dict())[n]) for n, v in state.items())
    assert f"every name begins with {prefix}; it was left out" in caplog.text


def test_a_name_that_some_tensors_share_stays(tmp_path, caplog):
    torch.save({"module.a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "some.pth")
    assert list(read_state_dict(tmp_path / "some.pth")) == ["module.a", "b"]
    assert not caplog.text


@pytest.mark.parametrize("classes", [8, 91])
def test_another_number_of_classes_names_the_setting(tmp_path, state, classes):
    heads = {
        name: torch.zeros(classes, *tensor.shape[1:]) if name.startswith("class_embed.") else tensor
        for name, tensor in state.items()
    }
    path = saved(tmp_path / "bdd100k.pth", heads)
    mend = rf'heads of {classes} classes.*one of 1; set "classes": {classes} in .*bdd100k\.json'
    with pytest.raises(WeightsError, match=mend):
        load_model(path)
    wider = replace(SMALL, classes=classes)
    model, _ = load_model(saved(path, heads, replace(NETWORK, model=wider)))
    assert len(model.decoder.class_heads[0].bias) == classes


def test_a_file_of_something_else_is_one_short_error(tmp_path):
    """megvii-research/MOTR's files have hundreds of names that a small network lacks."""
    path = saved(tmp_path / "other.pth", {f"layer{n}.weight": torch.zeros(1) for n in range(400)})
    with pytest.raises(WeightsError) as caught:
        load_model(path)
    first, missing, surplus = str(caught.value).splitlines()
    assert "other.pth does not fit the network, " in first
    assert missing.startswith("  missing: ")
    assert surplus.startswith("  surplus: layer0.weight, layer1.weight, ")
    assert surplus.endswith("layer4.weight and 395 more")
