"""Precision as users name it, and what rounding does to a convolution."""

import pytest
import torch
import torch.nn.functional as F

from tfsasm.errors import InputError
from tfsasm.motrv2.fast.precision import (
    ActivationStatistics,
    Inputs,
    Precision,
    Scale,
    mean_answer,
    parse_precision,
    rounded,
    rounding_noise,
)

WHOLE, NARROW, HALF, BYTES = torch.float32, torch.bfloat16, torch.float16, torch.int8


@pytest.mark.parametrize(("text", "wanted"), [
    pytest.param("auto", Precision(), id="nothing in particular"),
    pytest.param("bf16", Precision(NARROW, NARROW, NARROW), id="one kind for all"),
    pytest.param("backbone=bf16,encoder=fp32,decoder=bf16", Precision(NARROW, WHOLE, NARROW),
                 id="a kind for each"),
    pytest.param("encoder=bf16", Precision(WHOLE, NARROW, WHOLE), id="those not named are whole"),
    pytest.param("decoder=bf16, encoder=bf16", Precision(WHOLE, NARROW, NARROW), id="with spaces"),
])  # fmt: skip
def test_all_parts_or_single_ones(text, wanted):
    assert parse_precision(text) == wanted


def test_float16_is_for_gpus():
    assert parse_precision("encoder=fp16", "cuda") == Precision(encoder=HALF)


@pytest.mark.parametrize("text", ["auto", "fp32", "encoder=fp32"])
def test_mps_is_float32(text):
    assert parse_precision(text, "mps") == Precision()
    with pytest.raises(InputError, match="on mps nothing but fp32"):
        parse_precision("encoder=bf16", "mps")


@pytest.mark.parametrize(("text", "wanted"), [
    pytest.param("int8", Precision(BYTES, BYTES, NARROW), id="in all parts but the decoder"),
    pytest.param("encoder=int8", Precision(WHOLE, BYTES, WHOLE), id="in one"),
])
def test_bytes_need_amx(text, wanted, monkeypatch):
    monkeypatch.setattr("tfsasm.motrv2.fast.kernels.has_amx", lambda: True)
    assert parse_precision(text) == wanted
    with pytest.raises(InputError, match=r"needs a processor with AMX.*take bf16 or fp32"):
        parse_precision(text, "cuda")
    monkeypatch.setattr("tfsasm.motrv2.fast.kernels.has_amx", lambda: False)
    with pytest.raises(InputError, match=r"needs a processor with AMX.*take bf16 or fp32"):
        parse_precision(text)


@pytest.mark.parametrize(("text", "said"), [
    pytest.param("fp8", "one of auto, fp32, bf16, fp16, int8, not 'fp8'", id="an unknown kind"),
    pytest.param("", "not ''", id="nothing"),
    pytest.param("neck=bf16", "backbone, encoder, decoder, not 'neck'", id="an unknown part"),
    pytest.param("encoder=int4", "of the encoder is one of fp32", id="an unknown kind of a part"),
    pytest.param("decoder=int8", "take bf16 for the decoder", id="bytes in the decoder"),
    pytest.param("encoder=auto", "not 'auto'", id="a part without a kind"),
    pytest.param("encoder=bf16,encoder=fp32", "encoder twice", id="a part twice"),
    pytest.param("encoder=fp16", "on a CPU take bf16", id="float16 on a CPU"),
])  # fmt: skip
def test_anything_else_is_said(text, said):
    with pytest.raises(InputError, match=said):
        parse_precision(text)


# What batch norms tell of a convolution's inputs, against inputs themselves

MANY = 400_000


def normal(mean, spread, generator):
    """Values `[MANY, C]` of channels that know nothing of one another."""
    return mean + spread * torch.randn(MANY, len(mean), generator=generator, dtype=torch.float64)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize(("name", "function"), [
    ("none", lambda x: x), ("relu", torch.relu), ("relu6", lambda x: x.clamp(0, 6))
])  # fmt: skip
def test_what_leaves_an_activation(name, function, generator):
    mean = torch.tensor([0.0, -2.0, 2.0, 5.5, 9.0, -40.0, 1.0], dtype=torch.float64)
    spread = torch.tensor([1.0, 1.0, 0.5, 2.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    told = ActivationStatistics(mean, spread**2).after(name)
    seen = function(normal(mean, spread, generator))
    torch.testing.assert_close(told.mean, seen.mean(0), rtol=0.01, atol=0.01)
    torch.testing.assert_close(told.variance, seen.var(0), rtol=0.03, atol=0.01)


def test_a_sum_of_two():
    a, b = (
        ActivationStatistics(torch.ones(2), torch.ones(2)),
        ActivationStatistics(torch.ones(2), 2 * torch.ones(2)),
    )
    both = a + b
    assert both.mean.tolist() == [2, 2]
    assert both.variance.tolist() == [3, 3]


@pytest.mark.parametrize("groups", [1, 2, 4], ids=["all with all", "two groups", "depthwise"])
def test_the_mean_answer_is_that_of_an_even_picture(groups, generator):
    weight = torch.randn(8, 4 // groups, 3, 3, generator=generator, dtype=torch.float64)
    mean = torch.randn(4, generator=generator, dtype=torch.float64)
    even = mean[None, :, None, None].expand(1, 4, 3, 3)
    wanted = F.conv2d(even, weight, groups=groups).flatten()
    torch.testing.assert_close(mean_answer(weight, mean), wanted)


@pytest.mark.parametrize(("mean", "low", "high"), [
    pytest.param(0.0, 0.001, 0.005, id="inputs about zero"),
    pytest.param(100.0, 0.1, 0.5, id="inputs that hardly differ"),
])
def test_noise_is_what_rounding_does(mean, low, high, generator):
    weight = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    given = ActivationStatistics(torch.full((5,), mean).double(), torch.ones(5).double())
    x = normal(given.mean, given.variance.sqrt(), generator)
    answers = x @ weight.T
    narrow, rounded = (t.to(torch.bfloat16).double() for t in (x, weight))
    seen = ((narrow @ rounded.T - answers) ** 2).mean().sqrt() / answers.var(0).mean().sqrt()
    told = rounding_noise(weight[..., None, None], Inputs.of(given), answers.std(0), NARROW)
    assert low < told < high
    assert told == pytest.approx(float(seen), rel=0.6)  # the same few weights: no average


# Bytes


def known(mean, spread):
    mean, spread = (torch.tensor(x, dtype=torch.float64) for x in (mean, spread))
    return ActivationStatistics(mean, spread**2)


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


def test_noise_is_as_large_as_foretold():
    torch.manual_seed(0)
    given = known([0.3] * 16, [1.0] * 16)
    weight = torch.randn(32, 16, 1, 1, dtype=torch.float64)
    x = 0.3 + torch.randn(1, 16, 100, 100, dtype=torch.float64)
    inputs = Inputs.of(given)
    scale = inputs.scale
    bytes_of_x = ((x / scale.step).round() + scale.zero).clamp(0, 255)
    whole = rounded(weight, BYTES)
    seen = F.conv2d(scale.numbers_of(bytes_of_x).double(), whole) - F.conv2d(x, weight)
    spread = torch.full((32,), 2.0, dtype=torch.float64)
    told = rounding_noise(weight, inputs, spread, BYTES)
    assert told == pytest.approx(float(seen.square().mean().sqrt() / 2), rel=0.1)
