"""How users say how wide numbers are."""

import pytest
import torch

from tfsasm.errors import InputError
from tfsasm.motrv2.fast.precision import Precision, parse_precision

WHOLE, NARROW, HALF = torch.float32, torch.bfloat16, torch.float16


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


@pytest.mark.parametrize(("text", "said"), [
    pytest.param("fp8", "one of auto, fp32, bf16, fp16, not 'fp8'", id="an unknown kind"),
    pytest.param("", "not ''", id="nothing"),
    pytest.param("neck=bf16", "backbone, encoder, decoder, not 'neck'", id="an unknown part"),
    pytest.param("encoder=int8", "of the encoder is one of fp32", id="an unknown kind of a part"),
    pytest.param("encoder=auto", "not 'auto'", id="a part without a kind"),
    pytest.param("encoder=bf16,encoder=fp32", "encoder twice", id="a part twice"),
    pytest.param("encoder=fp16", "on a CPU take bf16", id="float16 on a CPU"),
])  # fmt: skip
def test_anything_else_is_said(text, said):
    with pytest.raises(InputError, match=said):
        parse_precision(text)
