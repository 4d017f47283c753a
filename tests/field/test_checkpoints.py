"""Checkpoints as trainers leave them: wrapped, with prefixes, of another number of classes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from helpers.fakes import SMALL
from tfsasm.detection.stored import open_detections
from tfsasm.errors import InputError, TfsasmError, WeightsError
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.family import load_model
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.weights import save_model, to_published
from tfsasm.pytorch import read_state_dict
from tfsasm.runtime.sessions import onnx_session
from tfsasm.video.source import open_video

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
    found = to_published(loaded.state_dict())
    assert all(torch.equal(tensor, found[name]) for name, tensor in state.items())
    assert f"every name begins with {prefix}; it was left out" in caplog.text


@pytest.mark.parametrize("key", ["ema", "params_ema", "teacher"])
def test_the_only_state_dict_of_a_file_is_taken_and_told(tmp_path, caplog, state, key):
    """LiheYoung/UniMatch#31, ohhhyeahhh/SiamCAR#95: weights beside other things."""
    path = saved(tmp_path / "last.pth", {"epoch": 3, "model": None, key: state, "optimizer": {}})
    loaded, _ = load_model(path)
    found = to_published(loaded.state_dict())
    assert all(torch.equal(tensor, found[name]) for name, tensor in state.items())
    assert f"the tensors are those under {key}" in caplog.text


def test_several_state_dicts_are_not_chosen_among(tmp_path, state):
    path = saved(tmp_path / "last.pth", {"student": state, "teacher": state})
    with pytest.raises(WeightsError, match="holds state dicts under student, teacher; save one"):
        load_model(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_of_a_training_that_diverged_are_named(tmp_path, suffix):
    """amazon-science/siam-mot#23: all NaN, and nobody is found."""
    model = MOTRv2(SMALL)
    with torch.no_grad():
        model.learned_content.fill_(torch.nan)
    save_model(tmp_path / f"last{suffix}", model, NETWORK)
    with pytest.raises(WeightsError, match=r"no numbers \(NaN\) in 1 of .* diverged"):
        load_model(tmp_path / f"last{suffix}")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0d71\nsize 19332096\n"
PAGE = b"<!DOCTYPE html><html><head><title>Virus scan warning</title>"


@pytest.mark.parametrize(("content", "what"), [
    pytest.param(POINTER, "a pointer of Git LFS; get the file itself", id="pointer"),
    pytest.param(PAGE, "a web page; download the file itself", id="web page"),
])  # fmt: skip
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.onnx", "w.mp4", "img/1.jpg"])
def test_what_stands_where_the_file_should_be_is_named(tmp_path, content, what, name):
    """NVlabs/CALM#7, YBIGTA/pytorch-hair-segmentation#38."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    read = {
        ".onnx": lambda: onnx_session(path, user="a detector", mend=""),
        ".mp4": lambda: open_video(path), ".jpg": lambda: list(open_video(path.parent)),
    }.get(path.suffix, lambda: load_model(path))  # fmt: skip
    with pytest.raises(TfsasmError, match=what):
        read()


@pytest.mark.parametrize("name", ["det.txt", "db.json"])
def test_a_pointer_to_detections_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(InputError, match=rf"{name} is a pointer of Git LFS"):
        open_detections(tmp_path / name)


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
    path = saved(tmp_path / "other.pth", {f"layer{n}.weight": torch.zeros(999) for n in range(400)})
    with pytest.raises(WeightsError) as caught:
        load_model(path)
    first, missing, surplus = str(caught.value).splitlines()
    assert "other.pth does not fit the network, " in first
    assert missing.startswith("  missing: ")
    assert surplus.startswith("  surplus: layer0.weight, layer1.weight, ")
    assert surplus.endswith("layer4.weight and 395 more")
