"""The C++ kernels: against PyTorch in float64, and what happens where they cannot be built."""

import os
import subprocess
import sys

import pytest
import torch

from helpers.samples import SHAPES, case
from tfsasm.motrv2.deformable_attention import plain, sampling_locations
from tfsasm.motrv2.fast import kernels

HERE = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
needs_compiler = pytest.mark.skipif(kernels.library() is None, reason="needs a C++ compiler")


def asked_case(queries, heads, points, width, sides, seed=0):
    """What `attend` takes, in float64."""
    g = torch.Generator().manual_seed(seed)
    tokens, levels = sum(h * w for h, w in SHAPES), len(SHAPES)
    value = torch.randn(tokens, heads, width, generator=g, dtype=torch.float64)
    asked = 2 * torch.randn(queries, 3 * heads * levels * points, generator=g, dtype=torch.float64)
    return value, asked, torch.rand(queries, sides, generator=g, dtype=torch.float64)


def by_pytorch(value, asked, reference, points):
    """`attend` step by step."""
    heads, levels = value.shape[1], len(SHAPES)
    offsets, logits = asked.split((2 * asked.shape[1] // 3, asked.shape[1] // 3), 1)
    grid = (heads, levels, points)
    weights = logits.unflatten(1, (heads, -1)).softmax(-1).unflatten(-1, grid[1:])
    anchors = reference[:, None].expand(-1, levels, -1)
    places = sampling_locations(offsets.unflatten(1, (*grid, 2)), SHAPES, anchors, points)
    return plain(value[None], SHAPES, places[None], weights[None])[0]


@needs_compiler
@pytest.mark.parametrize("sides", [
    pytest.param(2, id="about points"),
    pytest.param(4, id="within boxes"),
])
@pytest.mark.parametrize(("queries", "heads", "points", "width"), [
    pytest.param(0, 2, 4, 16, id="nobody asks"),
    pytest.param(1, 1, 1, 1, id="one of everything"),
    pytest.param(7, 8, 4, 32, id="the published sizes"),
    pytest.param(300, 4, 3, 24, id="points and channels that fill no vector"),
    pytest.param(2, 2, 32, 48, id="as many points as there may be"),
])
def test_attending_is_what_pytorch_does_in_float64(queries, heads, points, width, sides):
    given = asked_case(queries, heads, points, width, sides)
    value, asked, reference = (t.float() for t in given)
    found = kernels.attend(value, SHAPES, asked, reference, points)
    torch.testing.assert_close(found.double(), by_pytorch(*given, points), rtol=0, atol=2e-5)


@needs_compiler
@pytest.mark.parametrize("width", [16, 24, 32, 64])
@pytest.mark.parametrize("asking", [torch.float32, torch.bfloat16])
def test_narrow_values_are_summed_in_float32(asking, width):
    value, asked, reference = asked_case(9, 4, 4, width, 2)
    value, asked = value.bfloat16(), asked.to(asking)
    found = kernels.attend(value, SHAPES, asked, reference.float(), 4)
    wanted = by_pytorch(value.double(), asked.double(), reference, 4)
    assert found.dtype == asking
    error = 2e-5 if asking == torch.float32 else 2e-2  # one rounding at the very end
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=error)


@needs_compiler
def test_sampling_narrow_values_is_sampling_their_numbers():
    value, locations, weights = case(width=40, dtype=torch.float32)
    found = kernels.native(value.bfloat16(), SHAPES, locations, weights)
    wanted = plain(value.bfloat16().double(), SHAPES, locations.double(), weights.double())
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-5)


@needs_compiler
@pytest.mark.parametrize("rows", [0, 1, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sum_is_normalised_in_place(rows, dtype):
    norm = torch.nn.LayerNorm(24)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x, position = torch.randn(rows, 24) + 3, torch.randn(rows, 24)
    y = torch.randn(rows, 24).to(dtype)
    with torch.no_grad():
        wanted = norm.double()(x.double() + y.double())
    copy, placed = torch.empty_like(y), torch.empty_like(y)
    kernels.add_norm(x, y, norm.float(), x, copy, position, placed)
    error = 1e-5 if dtype == torch.float32 else 4e-2
    torch.testing.assert_close(x.double(), wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(copy.double(), wanted, rtol=0, atol=error)
    torch.testing.assert_close(placed.double(), wanted + position, rtol=0, atol=error)


@pytest.mark.parametrize("compiler", [
    pytest.param("", id="none is to be used"),
    pytest.param("no-such-compiler", id="it is not there"),
    pytest.param("false", id="it fails"),
    pytest.param("true", id="it makes nothing"),
])
def test_without_a_compiler_there_is_silence(compiler, tmp_path):
    code = "from tfsasm.model import native; print(native.library())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**HERE, "TFSASM_CXX": compiler, "TFSASM_CACHE": str(tmp_path)},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("None\n", "")


@needs_compiler
def test_the_library_is_kept_and_where_that_cannot_be_it_works_all_the_same(tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    code = "from tfsasm.model import native; print(native.library() is not None)"
    for folder in (tmp_path / "cache", blocked):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**HERE, "TFSASM_CACHE": str(folder)},
        )  # fmt: skip
        assert (done.stdout, done.stderr) == ("True\n", "")
    assert [path.suffix for path in (tmp_path / "cache" / "kernels").iterdir()] == [".so"]


