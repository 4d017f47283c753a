"""Layers with what follows them; convolutions of bytes against those of float32."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tfsasm.motrv2.fast import kernels
from tfsasm.motrv2.fast.layers import PackedConv, PackedLinear, QuantisedConv
from tfsasm.motrv2.fast.precision import Scale

ACTIVATIONS = {"none": lambda x: x, "relu": F.relu, "relu6": F.relu6}

needs_kernels = pytest.mark.skipif(not kernels.library(), reason="needs the compiled kernels")

needs_amx = pytest.mark.skipif(  # without VNNI oneDNN's sums overflow; int8 is refused there
    not kernels.has_amx(), reason="needs AMX and the compiled kernels"
)


def image(channels, *sides, seed=0):
    x = torch.randn(1, channels, *sides, generator=torch.Generator().manual_seed(seed))
    return x.to(memory_format=torch.channels_last)


def scale_of(x):
    low, high = min(0.0, float(x.min())), float(x.max())
    return Scale((high - low) / 255, round(-low / (high - low) * 255))


@needs_kernels
def test_numbers_are_rounded_to_the_nearest_byte_and_cut_off():
    scale = Scale(0.5, 10)
    x = torch.tensor([-99.0, -5.0, 0.0, 0.2, 0.3, 99.0, 999.0]).view(1, 7, 1, 1)
    assert scale.bytes_of(x).flatten().tolist() == [0, 0, 10, 10, 11, 208, 255]


@needs_amx
@pytest.mark.parametrize("groups", [1, 32])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("skips", [True, False], ids=["with a sum", "alone"])
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "from 0"])
def test_answers_are_those_of_numbers_but_for_rounding(groups, activation, skips, signed):
    if skips and activation == "relu6":
        pytest.skip("no backbone has this, and PyTorch neither")
    torch.manual_seed(0)
    conv = nn.Conv2d(32, 32, 3, 1, 1, groups=groups).requires_grad_(False)
    x = image(32, 12, 13) if signed else image(32, 12, 13).relu()
    skip = image(32, 12, 13, seed=1) if skips else torch.zeros(())
    wanted = ACTIVATIONS[activation](conv(x) + skip)
    given, gives, beside = scale_of(x), scale_of(wanted), scale_of(skip) if skips else None
    made = QuantisedConv(conv, conv.weight, conv.bias, given, gives, activation, beside)
    found = made(given.bytes_of(x), beside.bytes_of(skip) if skips else None)
    found = gives.numbers_of(found)
    assert 0 < (found - wanted).norm() < 0.03 * wanted.norm()


@needs_amx
@pytest.mark.parametrize("activation", ["none", "relu"])
@pytest.mark.parametrize("level", ["avx512", "amx"])
@pytest.mark.parametrize(("channels", "answers", "sides"), [
    pytest.param(64, 256, (9, 11), id="rows that fill no tile"),
    pytest.param(128, 32, (4, 8), id="rows of one tile"),
    pytest.param(96, 32, (4, 8), id="channels that fill no tile"),
])
def test_products_are_added_to_bytes(activation, level, channels, answers, sides, monkeypatch):
    if level not in kernels.levels():
        pytest.skip(f"this processor has no {level}")
    monkeypatch.setenv(kernels.ENVIRONMENT, level)
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, answers, 1).requires_grad_(False)
    x, skip = image(channels, *sides).relu(), image(answers, *sides, seed=1)
    wanted = ACTIVATIONS[activation](conv(x) + skip)
    given, gives, beside = scale_of(x), scale_of(wanted), scale_of(skip)
    made = QuantisedConv(conv, conv.weight, conv.bias, given, gives, activation, beside)
    found = made(given.bytes_of(x), beside.bytes_of(skip))
    assert found.is_contiguous(memory_format=torch.channels_last)
    found = gives.numbers_of(found)
    assert 0 < (found - wanted).norm() < 0.02 * wanted.norm()


@needs_amx
def test_answers_may_be_float32_and_images_of_any_size():
    conv = nn.Conv2d(16, 8, 3, 2, 1).requires_grad_(False)
    for sides in ((9, 10), (4, 5)):
        x = image(16, *sides)
        made = QuantisedConv(conv, conv.weight, conv.bias, scale_of(x), None)
        found = made(scale_of(x).bytes_of(x))
        assert found.dtype == torch.float32
        assert (found - conv(x)).norm() < 0.02 * conv(x).norm()


@pytest.mark.parametrize("packs", [True, False], ids=["oneDNN", "PyTorch"])
def test_layers_with_what_follows_them(packs, monkeypatch):
    if not packs:
        monkeypatch.setattr("tfsasm.motrv2.fast.layers.packs", lambda *_: False)
    layer, conv = nn.Linear(6, 5), nn.Conv2d(6, 4, 3, padding=1)
    x, image = torch.randn(3, 6), torch.randn(1, 6, 5, 7)
    with torch.inference_mode():
        packed = PackedLinear(layer.weight, layer.bias, torch.float32)
        torch.testing.assert_close(packed(x), layer(x))
        torch.testing.assert_close(packed(x, "relu"), layer(x).relu())
        for name, after in {"none": lambda y: y, "relu": torch.relu}.items():
            fused = PackedConv(conv, conv.weight, conv.bias, torch.float32, name)
            skip = torch.randn(1, 4, 5, 7)
            wanted = after(conv(image) + skip)
            torch.testing.assert_close(fused(image), after(conv(image)))
            torch.testing.assert_close(fused(image, skip), wanted)
