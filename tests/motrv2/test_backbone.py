"""The trunks are torchvision's, name by name and number by number."""

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2, resnet50
from torchvision.models.feature_extraction import create_feature_extractor

from tfsasm.motrv2.backbone import (
    TRUNKS,
    FrozenBatchNorm2d,
    InvertedResidual,
    MobileNetV2,
    ResNet50,
    fold_batch_norms,
)

TAPS = {
    "resnet50": ["layer2", "layer3", "layer4"],
    "mobilenetv2": ["features.6", "features.13", "features.17"],
}


@torch.no_grad()
def shake(module):
    """Statistics and affine parts that matter, in every batch norm."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d | FrozenBatchNorm2d):
            part.weight.uniform_(0.7, 1.3)
            part.bias.normal_(0, 0.1)
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.7, 1.3)
    return module.eval()


@pytest.fixture(scope="module", params=["resnet50", "mobilenetv2"])
def pair(request):
    """A trunk of ours and torchvision's network, with the same numbers, in double."""
    torch.manual_seed(0)
    theirs = shake({"resnet50": resnet50, "mobilenetv2": mobilenet_v2}[request.param]())
    ours = TRUNKS[request.param]().eval()
    state = {k: v for k, v in theirs.state_dict().items() if not k.endswith("num_batches_tracked")}
    outside = ("fc.", "classifier.", "features.18.")
    ours.load_state_dict({k: v for k, v in state.items() if not k.startswith(outside)})
    return request.param, ours.double(), theirs.double()


@torch.no_grad()
def test_a_trunk_is_torchvisions(pair):
    name, ours, theirs = pair
    image = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    wanted = create_feature_extractor(theirs, TAPS[name])(image)
    for mine, key, channels in zip(ours(image), TAPS[name], ours.channels, strict=True):
        assert mine.shape[1] == channels
        torch.testing.assert_close(mine, wanted[key])


@torch.no_grad()
def test_folding_the_norms_changes_nothing_but_the_time(pair):
    _, ours, _ = pair
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    folded = fold_batch_norms(ours)
    assert not any(isinstance(part, FrozenBatchNorm2d) for part in folded.modules())
    image = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    for a, b in zip(folded(image), ours(image), strict=True):
        torch.testing.assert_close(a, b)
    for name, value in ours.state_dict().items():  # the original is left alone
        assert torch.equal(value, before[name])


@torch.no_grad()
@pytest.mark.parametrize(("size", "maps"), [
    pytest.param((64, 96), [(8, 12), (4, 6), (2, 3)], id="divisible"),
    pytest.param((65, 97), [(9, 13), (5, 7), (3, 4)], id="one pixel more: rounded up"),
    pytest.param((1, 1), [(1, 1), (1, 1), (1, 1)], id="a single pixel"),
])
def test_each_stage_halves_the_size_rounded_up(size, maps):
    found = MobileNetV2()(torch.zeros(1, 3, *size))
    assert [tuple(m.shape[-2:]) for m in found] == maps


def test_a_frozen_norm_is_a_batch_norm_that_learns_nothing():
    mine, theirs = FrozenBatchNorm2d(4), shake(nn.BatchNorm2d(4))
    state = theirs.state_dict()
    del state["num_batches_tracked"]
    mine.load_state_dict(state)
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(mine(x), theirs(x))
    torch.testing.assert_close(mine.train()(x), theirs(x))  # also in training
    assert not list(mine.parameters())


def test_the_published_trunk_has_the_published_entries():
    """53 convolutions and 212 buffers (SPEC 3.1)."""
    with torch.device("meta"):
        trunk = ResNet50()
    assert len(list(trunk.parameters())) == 53
    assert len(list(trunk.buffers())) == 212
    frozen = [p for name, p in trunk.named_parameters() if name.startswith(trunk.frozen)]
    assert (len(frozen), sum(p.numel() for p in frozen)) == (11, 222_400)


@pytest.mark.parametrize(("inputs", "stride", "skips"), [
    pytest.param(8, 1, True, id="alike"), pytest.param(8, 2, False, id="other size"),
    pytest.param(4, 1, False, id="other width"),
])
def test_a_block_skips_only_where_the_shapes_allow(inputs, stride, skips):
    assert InvertedResidual(inputs, 8, stride, 2).skips == skips
