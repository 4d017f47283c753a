"""Convolutions of bytes against those of float32."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tfsasm.motrv2.fast import kernels
from tfsasm.motrv2.fast.precision import ActivationStatistics
from tfsasm.motrv2.fast.quantised import QuantisedConv, Scale, byte_noise, rounded, serves

ACTIVATIONS = {"none": lambda x: x, "relu": F.relu, "relu6": F.relu6}

needs_kernels = pytest.mark.skipif(
    not serves(), reason="needs oneDNN's convolutions of bytes and the compiled kernels"
)


def known(mean, spread):
    mean, spread = (torch.tensor(x, dtype=torch.float64) for x in (mean, spread))
    return ActivationStatistics(mean, spread**2)


def image(channels, *sides, seed=0):
    x = torch.randn(1, channels, *sides, generator=torch.Generator().manual_seed(seed))
    return x.to(memory_format=torch.channels_last)


def scale_of(x):
    low, high = min(0.0, float(x.min())), float(x.max())
    return Scale((high - low) / 255, round(-low / (high - low) * 255))


@pytest.mark.parametrize(("mean", "spread", "activation", "low", "high"), [
    pytest.param([0.0, 2.0], [1.0, 1.0], "none", -5.0, 7.0, id="about a mean"),
    pytest.param([0.0, 2.0], [1.0, 1.0], "relu", 0.0, 7.0, id="from 0"),
    pytest.param([0.0, 2.0], [1.0, 1.0], "relu6", 0.0, 6.0, id="from 0 to 6"),
    pytest.param([9.0], [0.1], "none", 0.0, 9.5, id="0 is always there"),
])
def test_bytes_reach_as_far_as_the_numbers(mean, spread, activation, low, high):
    scale = Scale.of(known(mean, spread), activation)
    ends = scale.numbers_of(torch.tensor([0, scale.zero, 255], dtype=torch.uint8))
    assert ends[1] == 0
    torch.testing.assert_close(ends[[0, 2]], torch.tensor([low, high]), rtol=0, atol=scale.step)


def test_bytes_of_what_is_always_0():
    scale = Scale.of(known([-9.0], [0.1]), "relu")
    assert scale.zero == 0
    assert scale.step > 0


@needs_kernels
def test_numbers_are_rounded_to_the_nearest_byte_and_cut_off():
    scale = Scale(0.5, 10)
    x = torch.tensor([-99.0, -5.0, 0.0, 0.2, 0.3, 99.0, 999.0]).view(1, 7, 1, 1)
    assert scale.bytes_of(x).flatten().tolist() == [0, 0, 10, 10, 11, 208, 255]


@needs_kernels
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
    made = QuantisedConv(conv, conv.weight, conv.bias, given, gives, activation)
    found = made(given.bytes_of(x), beside.bytes_of(skip) if skips else None, beside)
    found = gives.numbers_of(found)
    assert 0 < (found - wanted).norm() < 0.03 * wanted.norm()


@needs_kernels
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
    made = QuantisedConv(conv, conv.weight, conv.bias, given, gives, activation)
    found = made(given.bytes_of(x), beside.bytes_of(skip), beside)
    assert found.is_contiguous(memory_format=torch.channels_last)
    found = gives.numbers_of(found)
    assert 0 < (found - wanted).norm() < 0.02 * wanted.norm()


@needs_kernels
def test_answers_may_be_float32_and_images_of_any_size():
    conv = nn.Conv2d(16, 8, 3, 2, 1).requires_grad_(False)
    for sides in ((9, 10), (4, 5)):
        x = image(16, *sides)
        made = QuantisedConv(conv, conv.weight, conv.bias, scale_of(x), None)
        found = made(scale_of(x).bytes_of(x))
        assert found.dtype == torch.float32
        assert (found - conv(x)).norm() < 0.02 * conv(x).norm()


def test_noise_is_as_large_as_foretold():
    torch.manual_seed(0)
    given = known([0.3] * 16, [1.0] * 16)
    weight = torch.randn(32, 16, 1, 1, dtype=torch.float64)
    x = 0.3 + torch.randn(1, 16, 100, 100, dtype=torch.float64)
    scale = Scale.of(given, "none")
    bytes_of_x = ((x / scale.step).round() + scale.zero).clamp(0, 255)
    seen = F.conv2d(scale.numbers_of(bytes_of_x).double(), rounded(weight)) - F.conv2d(x, weight)
    spread = torch.full((32,), 2.0, dtype=torch.float64)
    told = byte_noise(weight, given, scale, spread)
    assert told == pytest.approx(float(seen.square().mean().sqrt() / 2), rel=0.1)


def test_kernels_may_be_missing(monkeypatch):
    monkeypatch.setenv(kernels.ENVIRONMENT, "none")
    assert not serves()
