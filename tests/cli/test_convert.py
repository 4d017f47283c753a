"""`tfsasm convert`: another file of the same network."""

import pytest
import torch

from helpers.fakes import SMALL
from helpers.scenes import NETWORK, lively_model
from tfsasm.motrv2.family import load_model
from tfsasm.motrv2.model import MOTRv2


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_convert_keeps_the_network(tfsasm, result, usual, small_weights, tmp_path, suffix):
    outcome = tfsasm("convert", small_weights, tmp_path / f"net{suffix}")
    assert outcome.code == 0
    count = sum(p.numel() for p in MOTRv2(SMALL).parameters())
    assert f"{count:,} parameters, short" in " ".join(outcome.out.split())
    assert result(weights=tmp_path / f"net{suffix}", end=6) == usual(end=6) != b""


def test_convert_can_halve_a_file(tfsasm, small_weights, tmp_path):
    tfsasm("convert", small_weights, tmp_path / "whole.safetensors")
    tfsasm("convert", small_weights, tmp_path / "half.safetensors", "--half")
    whole, half = (tmp_path / f"{name}.safetensors" for name in ("whole", "half"))
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    model, network = load_model(half)
    assert network == NETWORK
    own = lively_model().learned_content
    torch.testing.assert_close(model.learned_content, own, rtol=1e-3, atol=1e-3)


def test_convert_refuses(tfsasm, small_weights, tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_text("mine")
    outcome = tfsasm("convert", small_weights, path)
    assert (outcome.code, path.read_text()) == (2, "mine")
    assert "exists; give another name or --overwrite" in outcome.err
    outcome = tfsasm("convert", small_weights, tmp_path / "net.onnx")
    assert outcome.code == 2
    assert "write .safetensors or .pth, not .onnx" in outcome.err
    outcome = tfsasm("convert", path, tmp_path / "new.safetensors")
    assert outcome.code == 2
    assert "net.safetensors is not a whole safetensors file" in outcome.err
