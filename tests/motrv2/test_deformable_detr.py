"""Deformable DETR: as transformers computes it, by its published names; files that are none."""

from __future__ import annotations

import re

import pytest
import torch

from helpers.fakes import thin_resnet
from tfsasm.errors import WeightsError
from tfsasm.motrv2.config import ModelConfig
from tfsasm.motrv2.deformable_detr import (
    DeformableDETR,
    DetrConfig,
    load_detr,
    published_name,
    recognise,
)

SIZES = ModelConfig(
    width=64, feedforward=32, encoder_layers=1, decoder_layers=2, learned_queries=7, classes=3
)
VARIANTS = [
    pytest.param(False, False, id="plain"),
    pytest.param(True, False, id="boxes refined from layer to layer"),
    pytest.param(True, True, id="two stages"),
]


def checkpoint(network):
    """As the authors saved it, the heads' second names included."""
    state = {published_name(name): tensor for name, tensor in network.state_dict().items()}
    if network.variant.refine:
        aliases = ["bbox_embed."] + ["class_embed."] * network.variant.two_stage
        state |= {f"transformer.decoder.{name}": tensor for name, tensor in state.items()
                  if name.startswith(tuple(aliases))}  # fmt: skip
    return state


def lively(network):
    """Weights that are far from their initial values, so that each of them counts."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point() and "running_var" not in name:
                tensor.add_(torch.randn_like(tensor) * (0.01 if tensor.ndim > 2 else 0.1))
    return network.eval()


RENAMED = [  # of transformers, of the authors
    (r"^model\.", "transformer."),
    (r"^transformer\.backbone\.model\.", "backbone.0.body."),
    (r"^transformer\.input_proj\.", "input_proj."),
    (r"^transformer\.query_position_embeddings\.", "query_embed."),
    (r"\.mlp\.fc(\d)", r".linear\1"),
    (r"(encoder\.layers\.\d+)\.self_attn_layer_norm", r"\1.norm1"),
    (r"(encoder\.layers\.\d+)\.final_layer_norm", r"\1.norm2"),
    (r"(decoder\.layers\.\d+)\.self_attn_layer_norm", r"\1.norm2"),
    (r"(decoder\.layers\.\d+)\.encoder_attn_layer_norm", r"\1.norm1"),
    (r"(decoder\.layers\.\d+)\.final_layer_norm", r"\1.norm3"),
    (r"\.encoder_attn\.", ".cross_attn."),
    (r"(decoder\.layers\.\d+\.self_attn)\.o_proj", r"\1.out_proj"),
]


def of_the_authors(state):
    """The names of a model of transformers as in the authors' files."""
    renamed = {}
    for name, tensor in state.items():
        for pattern, published in RENAMED:
            name = re.sub(pattern, published, name)
        renamed[name] = tensor
    for name in [name for name in renamed if ".q_proj." in name]:
        parts = [renamed.pop(name.replace(".q_proj.", f".{part}_proj.")) for part in "qkv"]
        renamed[name.replace(".q_proj.", ".in_proj_")] = torch.cat(parts)
    return renamed


def theirs_and_ours(refine, two_stage, folder):
    """A network of transformers, and ours with its weights."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("timm", reason="timm, which has its backbone, is not installed")
    theirs = lively(transformers.DeformableDetrForObjectDetection(transformers.DeformableDetrConfig(
        use_timm_backbone=True, use_pretrained_backbone=False, backbone="resnet50",
        encoder_layers=1, decoder_layers=2, num_queries=300, two_stage_num_proposals=300,
        d_model=64, encoder_ffn_dim=32, decoder_ffn_dim=32, num_labels=3, with_box_refine=refine,
        two_stage=two_stage,
    )))  # fmt: skip
    torch.save({"model": of_the_authors(theirs.state_dict())}, folder / "detr.pth")
    return theirs, load_detr(folder / "detr.pth")


@pytest.mark.parametrize(("refine", "two_stage"), VARIANTS)
def test_the_network_is_that_of_transformers(refine, two_stage, tmp_path):
    theirs, ours = theirs_and_ours(refine, two_stage, tmp_path)
    assert ours.variant == DetrConfig(ours.config, refine=refine, two_stage=two_stage)
    image = torch.randn(1, 3, 128, 162)
    with torch.inference_mode():
        logits, boxes = ours(image)
        expected = theirs(image)
    torch.testing.assert_close(logits, expected.logits[0], rtol=0, atol=1e-4)
    torch.testing.assert_close(boxes, expected.pred_boxes[0], rtol=0, atol=1e-4)
    assert boxes.std(0).min() > 0.01, "boxes that are all alike prove nothing"


def test_its_gradients_are_those_of_transformers(tmp_path):
    """Backbone, encoder, decoder and last heads, which MOTRv2 and MOTR are trained through, too."""
    theirs, ours = (network.double() for network in theirs_and_ours(True, False, tmp_path))
    ours.requires_grad_(True)
    image = torch.randn(1, 3, 96, 122, dtype=torch.float64)
    weights = torch.randn(300, 7, dtype=torch.float64)
    found = theirs(image)
    for logits, boxes in (ours(image), (found.logits[0], found.pred_boxes[0])):
        (torch.cat([logits, boxes], dim=1) * weights).sum().backward()
    wanted = of_the_authors({
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in theirs.named_parameters()
    })  # fmt: skip
    gradients = {published_name(name): p.grad for name, p in ours.named_parameters()}
    taught = {name for name, gradient in gradients.items() if gradient is not None}
    wanted = {  # theirs has one class head for all layers, and here the last layer's is asked
        name.removeprefix("transformer.decoder.").replace("class_embed.0", "class_embed.1")
        if "_embed." in name else name: one for name, one in wanted.items()
    }  # fmt: skip
    assert {name for name, one in wanted.items() if one.any()} <= taught <= wanted.keys()
    assert len(taught) == 141
    for name in taught:
        scale = wanted[name].abs().max()
        torch.testing.assert_close(gradients[name] / scale, wanted[name] / scale, rtol=0, atol=1e-6,
                                   msg=name)  # fmt: skip


@pytest.fixture(scope="module")
def thin():
    with thin_resnet():
        yield


@pytest.fixture(scope="module")
def state(thin):
    return checkpoint(DeformableDETR(DetrConfig(SIZES, refine=False, two_stage=False)))


@pytest.mark.usefixtures("thin")
@pytest.mark.parametrize(("refine", "two_stage"), VARIANTS)
def test_a_file_says_which_of_the_models_it_is(refine, two_stage, tmp_path):
    network = lively(DeformableDETR(DetrConfig(SIZES, refine=refine, two_stage=two_stage)))
    torch.save({"model": checkpoint(network)}, tmp_path / "detr.pth")
    loaded = load_detr(tmp_path / "detr.pth")
    assert (loaded.variant.refine, loaded.variant.two_stage) == (refine, two_stage)
    assert loaded.config.learned_queries == (300 if two_stage else 7)
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


@pytest.mark.parametrize(("change", "words"), [
    pytest.param({"transformer.level_embed": None}, "is not a Deformable DETR: it lacks",
                 id="another network"),
    pytest.param({"transformer.level_embed": torch.zeros(1, 64)}, "of one feature level",
                 id="a single level"),
    pytest.param({"transformer.level_embed": torch.zeros(5, 64)}, "levels must be 3 or 4, not 5",
                 id="levels that there are not"),
    pytest.param({"class_embed.1.bias": None}, "missing: class_embed.1.bias",
                 id="a head is missing"),
    pytest.param({"extra": torch.zeros(1)}, "surplus: extra", id="something else is there"),
])  # fmt: skip
def test_a_file_that_does_not_fit_says_why(state, change, words, tmp_path):
    changed = {name: tensor for name, tensor in (state | change).items() if tensor is not None}
    torch.save({"model": changed}, tmp_path / "detr.pth")
    with pytest.raises(WeightsError, match=words):
        load_detr(tmp_path / "detr.pth")


def test_the_published_sizes_are_read_from_the_tensors():
    with torch.device("meta"):
        sizes = ModelConfig(learned_queries=300, classes=91)
        network = DeformableDETR(DetrConfig(sizes, refine=False, two_stage=False))
    assert recognise(checkpoint(network), "x").model == sizes
