"""The network for running only: the same answers, whatever it is made of."""

import copy
from dataclasses import replace

import pytest
import torch
from torchvision.ops import FrozenBatchNorm2d

from helpers.fakes import SMALL, ThinResNet
from helpers.golden_data import released_model
from tfsasm.errors import InputError
from tfsasm.experiments.verify import rendered
from tfsasm.motrv2.backbone import MobileNetV2
from tfsasm.motrv2.fast import kernels
from tfsasm.motrv2.fast import model as module
from tfsasm.motrv2.fast.backbone import FusedBackbone, blocks_of
from tfsasm.motrv2.fast.layers import packs
from tfsasm.motrv2.fast.model import FastMOTRv2, FastSelfAttention
from tfsasm.motrv2.fast.precision import IMAGES, Precision, parse_precision
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.transformer import SelfAttention
from tfsasm.tracking.load import torch_network


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = MOTRv2(SMALL).eval().requires_grad_(False)
    for name, buffer in made.backbone.named_buffers():  # batch norms that do something
        if name.endswith(("running_mean", "bias")):
            buffer.normal_(0, 0.1)
        if name.endswith(("running_var", "weight")):
            buffer.uniform_(0.5, 1.5)
    for parameter in made.decoder.parameters():  # boxes that move
        parameter.add_(0.02 * torch.randn_like(parameter))
    return made


def answers(model, images):
    boxes = torch.rand(4, 4, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        features = model.encode(images)
        last = model.decode(features[0], model.queries(boxes, torch.ones(4)))[-1]
    return features.tokens.float(), last.boxes, last.logits


def pictures(batch=1, height=70, width=101):
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(2))


WAYS = {
    "as it is": {},
    "in many parts": {"part": 7},
    "without compiled kernels": {"library": None},
    "without oneDNN": {"packs": False},
    "without either": {"library": None, "packs": False},
}
TRITONS = pytest.param(
    {"sampling": "triton", "height": 33}, id="by Triton's kernel", marks=pytest.mark.slow
)


@pytest.mark.parametrize("way", [*(pytest.param(way, id=of) for of, way in WAYS.items()), TRITONS])
def test_answers_are_the_same_up_to_rounding(model, way, monkeypatch):
    if "part" in way:
        monkeypatch.setattr(module, "CHUNK", way["part"])
    if "library" in way:
        monkeypatch.setattr(module.kernels, "library", lambda: None)
    if "packs" in way:
        monkeypatch.setattr("tfsasm.motrv2.fast.layers.packs", lambda *_: False)
    if "sampling" in way:
        pytest.importorskip("triton")
        monkeypatch.setenv("TFSASM_SAMPLING", way["sampling"])
    fast, seen = FastMOTRv2(copy.deepcopy(model)), pictures(height=way.get("height", 70))
    for ours, theirs in zip(answers(fast, seen), answers(model, seen), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("library", [True, False], ids=["compiled", "not compiled"])
def test_bfloat16_gives_nearly_the_same(model, library, monkeypatch):
    if not library:
        monkeypatch.setattr(module.kernels, "library", lambda: None)
    fast = FastMOTRv2(copy.deepcopy(model), parse_precision("bf16"))
    ours, theirs = answers(fast, pictures()), answers(model, pictures())
    assert (ours[0] - theirs[0]).abs().max() < 0.15
    assert (ours[1] - theirs[1]).abs().max() < 0.01


def test_images_of_other_sizes_and_batches_may_follow(model):
    fast = FastMOTRv2(copy.deepcopy(model))
    for images in (pictures(), pictures(2), pictures(1, 64, 40), pictures()):
        with torch.inference_mode():
            ours, theirs = fast.encode(images), model.encode(images)
        assert ours.shapes == theirs.shapes
        torch.testing.assert_close(ours.tokens, theirs.tokens, rtol=0, atol=1e-4)


def test_it_is_not_for_saving(model):
    with pytest.raises(ValueError, match="running only"):
        FastMOTRv2(copy.deepcopy(model)).state_dict()


def test_the_published_backbone_too():
    backbone = released_model().backbone
    with torch.inference_mode():
        ours, theirs = FusedBackbone(backbone, torch.float32)(pictures()), backbone(pictures())
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * float(b.abs().max()))


def mobile_backbone(shift):
    """Batch norms know their inputs; those of block 2 are `shift` and a little."""
    torch.manual_seed(0)
    backbone = MobileNetV2().eval().requires_grad_(False)
    for norm in norms_of(backbone):
        norm.bias.uniform_(0, 1)
    last = backbone.features[1].conv[-1]
    last.weight.fill_(0.05)
    last.bias.fill_(shift)
    learn_norms(backbone, pictures())
    return backbone


def norms_of(backbone):
    return [module for module in backbone.modules() if isinstance(module, FrozenBatchNorm2d)]


def learn_norms(backbone, images):
    """The batch norms learn what their inputs are, one after the other."""
    hooks = [norm.register_forward_pre_hook(learn_statistics) for norm in norms_of(backbone)]
    with torch.inference_mode(False):
        backbone(images)
    for hook in hooks:
        hook.remove()


def learn_statistics(norm, given):
    norm.running_mean.copy_(given[0].mean((0, 2, 3)))
    norm.running_var.copy_(given[0].var((0, 2, 3)))


@pytest.mark.parametrize(("shift", "count"), [
    pytest.param(0.0, 0, id="rounding spoils none"),
    pytest.param(10.0, 3, id="one, and so those before it"),
])
def test_blocks_that_rounding_would_spoil_stay_float32(shift, count):
    backbone, images = mobile_backbone(shift), pictures()
    rounded = FusedBackbone(backbone, torch.bfloat16)
    kinds = [block.dtype for block in rounded.blocks]
    assert kinds == [torch.float32] * count + [torch.bfloat16] * (len(kinds) - count)
    assert FusedBackbone(backbone, torch.float32).float32_blocks == 0
    with torch.inference_mode():
        ours, theirs = rounded(images)[0].float(), backbone(images)[0]
    assert (ours - theirs).norm() < 0.06 * theirs.norm()  # 0.4 if all blocks were rounded


def test_a_bias_makes_up_for_what_rounded_weights_miss_on_average():
    if not packs(torch.bfloat16, torch.device("cpu")):
        pytest.skip("oneDNN has no bfloat16 on this processor, and elsewhere a bias is rounded too")
    blocks, _ = blocks_of(mobile_backbone(shift=10.0))
    (layer, inputs), *_ = blocks[2].inputs(blocks[1].answers(IMAGES))
    given = inputs.given
    assert given.mean.tolist() == [10.0] * len(given.mean)
    even = given.mean.float().view(1, -1, 1, 1)
    with torch.inference_mode():
        wanted = layer.made(inputs, torch.float32)(even)
        nothing = replace(inputs, given=replace(given, mean=torch.zeros_like(given.mean)))
        error, uncorrected = (
            (layer.made(known, torch.bfloat16)(even.bfloat16()).float() - wanted).abs().max()
            for known in (inputs, nothing)
        )
    assert error < 0.005 < 0.1 < uncorrected


needs_amx = pytest.mark.skipif(not kernels.has_amx(), reason="needs AMX and the compiled kernels")


@needs_amx
@pytest.mark.parametrize(("shift", "whole"), [
    pytest.param(0.0, 1, id="all but the one that takes images"),
    pytest.param(10.0, 3, id="without those that rounding would spoil"),
])
def test_blocks_may_be_of_bytes(shift, whole):
    backbone, images = mobile_backbone(shift), pictures()
    rounded = FusedBackbone(backbone, torch.int8)
    assert rounded.whole == whole
    with torch.inference_mode():
        ours, theirs = rounded(images)[0], backbone(images)[0]
    assert ours.dtype == torch.uint8
    ours = rounded.scales[0].numbers_of(ours)
    assert (ours - theirs).norm() < 0.3 * theirs.norm()  # 1 without what the batch norms tell


@needs_amx
def test_residual_blocks_with_shortcuts_may_be_of_bytes():
    torch.manual_seed(0)
    backbone, images = ThinResNet().eval().requires_grad_(False), pictures(height=40, width=60)
    learn_norms(backbone, images)
    rounded = FusedBackbone(backbone, torch.int8)
    assert rounded.whole == 1
    with torch.inference_mode():
        ours, theirs = rounded.scales[0].numbers_of(rounded(images)[0]), backbone(images)[0]
    assert (ours - theirs).norm() < 0.2 * theirs.norm()


@needs_amx
def test_the_packaged_network_gives_nearly_the_same_in_bytes():
    (image, _), = rendered(1)
    whole, rounded = (torch_network("tiny", precision=kind) for kind in ("fp32", "int8"))
    ours, theirs = (network.encode([image])[0].tokens.float() for network in (rounded, whole))
    assert 0 < (ours - theirs).norm() < 0.08 * theirs.norm()


@needs_amx
def test_sizes_that_fill_no_tile_are_refused_in_bytes_alone(model):
    narrow = replace(SMALL, heads=8)
    FastMOTRv2(MOTRv2(narrow), parse_precision("bf16"))
    with pytest.raises(InputError, match="no int8 for an encoder of these sizes"):
        FastMOTRv2(MOTRv2(narrow), parse_precision("int8"))


@pytest.mark.parametrize("part", ["backbone", "encoder", "decoder"])
def test_a_part_may_be_bfloat16_alone(model, part):
    fast = FastMOTRv2(copy.deepcopy(model), Precision(**{part: torch.bfloat16}))
    with torch.inference_mode():
        tokens = fast.encode(pictures()).tokens
    assert tokens.dtype == (torch.bfloat16 if part == "decoder" else torch.float32)
    ours, theirs = answers(fast, pictures()), answers(model, pictures())
    assert 0 < (ours[1] - theirs[1]).abs().max() < 0.01


@pytest.mark.parametrize(
    "place_values", [True, False], ids=["values of places", "values of content"]
)
@pytest.mark.parametrize("queries", [0, 1, 7])
@pytest.mark.parametrize("masked", [True, False], ids=["some may not look", "all may look"])
def test_self_attention(place_values, queries, masked):
    g = torch.Generator().manual_seed(5)
    usual = SelfAttention(16, 4, place_values).requires_grad_(False)
    usual.in_proj_bias.normal_(generator=g)
    content, position = torch.randn(2, 1, queries, 16, generator=g)
    attention_mask = torch.rand(queries, queries, generator=g) < 0.3 if masked else None
    if masked:
        attention_mask.fill_diagonal_(False)
    with torch.inference_mode():
        ours = FastSelfAttention(usual)(content, position, attention_mask)
        wanted = usual(content, position, attention_mask)
        torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-5)
