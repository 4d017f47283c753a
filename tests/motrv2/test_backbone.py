"""The backbones: torchvision's networks up to their last stage, with frozen batch norms."""

import pytest
import torch
from torchvision.models import mobilenet_v2, resnet
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.ops import FrozenBatchNorm2d

from helpers.fakes import ThinResNet
from tfsasm.motrv2.backbone import MobileNetV2, ResNet50, fold_batch_norms

STAGES = {
    "resnet50": ["layer2", "layer3", "layer4"],
    "mobilenetv2": ["features.6", "features.13", "features.17"],
}


@pytest.fixture(scope="module", params=["resnet50", "mobilenetv2"])
def pair(request):
    """A backbone of ours and torchvision's network, with the same numbers, in double."""
    torch.manual_seed(0)
    if request.param == "resnet50":  # with one narrow block a stage
        ours = ThinResNet().eval()
        theirs = resnet.ResNet(
            resnet.Bottleneck, [1] * 4, width_per_group=4, norm_layer=FrozenBatchNorm2d
        ).eval()
    else:
        ours, theirs = MobileNetV2().eval(), mobilenet_v2(norm_layer=FrozenBatchNorm2d).eval()
    for part in theirs.modules():
        if isinstance(part, FrozenBatchNorm2d):
            part.weight.uniform_(0.7, 1.3)
            part.running_var.uniform_(0.7, 1.3)
            part.bias.normal_(0, 0.1)
            part.running_mean.normal_(0, 0.1)
    outside = ("fc.", "classifier.", "features.18.")
    ours.load_state_dict({
        name: value for name, value in theirs.state_dict().items() if not name.startswith(outside)
    })
    return request.param, ours.double(), theirs.double()


@torch.no_grad()
def test_maps_are_those_of_torchvisions_stages(pair):
    name, ours, theirs = pair
    image = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    wanted = create_feature_extractor(theirs, STAGES[name])(image)
    for mine, key, channels in zip(ours(image), STAGES[name], ours.channels, strict=True):
        assert mine.shape[1] == channels
        assert torch.equal(mine, wanted[key])


@torch.no_grad()
def test_folding_the_norms_changes_nothing_but_the_time(pair):
    _, ours, _ = pair
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    folded = fold_batch_norms(ours)
    assert not any(isinstance(part, FrozenBatchNorm2d) for part in folded.modules())
    image = torch.randn(1, 3, 32, 48, dtype=torch.float64)
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


def test_the_published_backbone_has_the_published_entries():
    """53 convolutions and 212 buffers (SPEC 3.1)."""
    with torch.device("meta"):
        backbone = ResNet50()
    assert len(list(backbone.parameters())) == 53
    assert len(list(backbone.buffers())) == 212
    frozen = [p for name, p in backbone.named_parameters() if name.startswith(backbone.frozen)]
    assert (len(frozen), sum(p.numel() for p in frozen)) == (11, 222_400)
