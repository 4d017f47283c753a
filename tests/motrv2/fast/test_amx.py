"""The encoder by AMX against the encoder in float64; skipped where the processor has no AMX."""

import copy
from dataclasses import replace

import pytest
import torch

from helpers.fakes import SMALL
from tfsasm.motrv2.config import ModelConfig, full, tiny
from tfsasm.motrv2.fast import kernels
from tfsasm.motrv2.fast.amx import TiledEncoder, serves
from tfsasm.motrv2.transformer import Encoder, pixel_centres

CPU = torch.device("cpu")

pytestmark = pytest.mark.skipif(
    not kernels.has_amx(), reason="needs a processor with AMX, Linux and the compiled kernels"
)


def encoder(config):
    """One whose points, weights and norms all differ."""
    torch.manual_seed(0)
    made = Encoder(config).eval().requires_grad_(False)
    for layer in made.layers:
        layer.self_attn.sampling_offsets.weight.normal_(0, 0.02)
        layer.self_attn.attention_weights.weight.normal_(0, 0.05)
        for norm in (layer.norm1, layer.norm2):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.2)
    return made


def inputs(config, height, width):
    """Tokens, positions, sides of the levels and centres of the tokens, float32."""
    shapes = [(-(-height >> i) or 1, -(-width >> i) or 1) for i in range(config.levels)]
    g = torch.Generator().manual_seed(1)
    count = sum(h * w for h, w in shapes)
    tokens, position = torch.randn(2, count, config.width, generator=g)
    return tokens, position, shapes, pixel_centres(shapes, tokens[None])[0, :, 0].contiguous()


def in_float64(made, tokens, position, shapes, reference):
    made, x = copy.deepcopy(made).double(), tokens[None].double()
    anchors = reference.double()[None, :, None].expand(-1, -1, len(shapes), -1)
    for layer in made.layers:
        x = layer(x, position[None].double(), shapes, anchors)
    return x[0]


SIZES = {
    "the published sizes": replace(full().model, encoder_layers=2),
    "the packaged ones, with points that fill no vector": tiny().model,
    "queries that fill no tile": SMALL,
}


@pytest.mark.parametrize("config", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize(("dtype", "most"), [(torch.bfloat16, 0.005), (torch.int8, 0.02)])
@pytest.mark.parametrize(("height", "width"), [
    pytest.param(1, 1, id="a token for each level"),
    pytest.param(11, 17, id="blocks that are not full"),
])
def test_answers_are_those_of_float64_but_for_rounding(config, dtype, most, height, width):
    made, given = encoder(config), inputs(config, height, width)
    wanted, found = in_float64(made, *given), given[0].clone()
    TiledEncoder(list(made.layers), config, dtype)(found, *given[1:])
    assert 0 < (found - wanted).norm() < most * wanted.norm()


def test_threads_change_nothing():
    made, (tokens, *rest) = encoder(SMALL), inputs(SMALL, 20, 30)
    tiled, threads = TiledEncoder(list(made.layers), SMALL, torch.int8), torch.get_num_threads()
    answers = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            answers.append(tokens.clone())
            tiled(answers[-1], *rest)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*answers)


def test_an_encoder_without_layers_changes_nothing():
    tokens, *rest = inputs(SMALL, 3, 3)
    found = tokens.clone()
    TiledEncoder([], SMALL, torch.bfloat16)(found, *rest)
    assert torch.equal(found, tokens)


@pytest.mark.parametrize(("config", "dtype", "device"), [
    pytest.param(SMALL, torch.float32, CPU, id="float32"),
    pytest.param(SMALL, torch.int8, torch.device("meta"), id="elsewhere"),
    pytest.param(replace(SMALL, width=96), torch.int8, CPU, id="a width that fills no tile"),
    pytest.param(replace(SMALL, heads=8), torch.int8, CPU, id="heads that fill no vector"),
    pytest.param(ModelConfig(points=20), torch.int8, CPU, id="too many points"),
])
def test_what_it_is_not_for(config, dtype, device):
    assert serves(SMALL, torch.int8, CPU)
    assert not serves(config, dtype, device)
    with pytest.raises(ValueError, match="no AMX here"):
        TiledEncoder(list(Encoder(config).to(device).layers), config, dtype)


def test_a_lower_level_may_be_chosen(monkeypatch):
    monkeypatch.setenv(kernels.ENVIRONMENT, "avx512")
    assert not serves(SMALL, torch.int8, CPU)
