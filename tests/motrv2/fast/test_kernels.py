"""The C++ kernels against PyTorch in float64, at every level of instructions."""

import ctypes
import shutil
import subprocess
from importlib.util import module_from_spec
from pathlib import Path

import pytest
import torch

from helpers.samples import SHAPES, case
from tfsasm.errors import InputError
from tfsasm.motrv2.deformable_attention import plain, sampling_locations
from tfsasm.motrv2.fast import kernels

SOURCES = (Path(__file__).parents[3] / "hatch_build.py").is_file()
needs_kernels = pytest.mark.skipif(
    kernels.library() is None, reason="tfsasm was built without its C++ kernels"
)


def case_of_queries(queries, heads, points, width, sides, seed=0):
    """What `attend` takes, in float64."""
    g = torch.Generator().manual_seed(seed)
    tokens, levels = sum(h * w for h, w in SHAPES), len(SHAPES)
    value = torch.randn(tokens, heads, width, generator=g, dtype=torch.float64)
    outputs = 3 * heads * levels * points
    projected = 2 * torch.randn(queries, outputs, generator=g, dtype=torch.float64)
    return value, projected, torch.rand(queries, sides, generator=g, dtype=torch.float64)


def by_pytorch(value, projected, reference, points):
    """`attend` step by step."""
    heads, levels = value.shape[1], len(SHAPES)
    third = projected.shape[1] // 3
    offsets, logits = projected.split((2 * third, third), 1)
    grid = (heads, levels, points)
    weights = logits.unflatten(1, (heads, -1)).softmax(-1).unflatten(-1, grid[1:])
    anchors = reference[:, None].expand(-1, levels, -1)
    places = sampling_locations(offsets.unflatten(1, (*grid, 2)), SHAPES, anchors, points)
    return plain(value[None], SHAPES, places[None], weights[None])[0]


@needs_kernels
@pytest.mark.parametrize("sides", [
    pytest.param(2, id="about points"),
    pytest.param(4, id="within boxes"),
])
@pytest.mark.parametrize(("queries", "heads", "points", "width"), [
    pytest.param(0, 2, 4, 16, id="no queries"),
    pytest.param(1, 1, 1, 1, id="one of everything"),
    pytest.param(7, 8, 4, 32, id="the published sizes"),
    pytest.param(300, 4, 3, 24, id="points and channels that fill no vector"),
    pytest.param(2, 2, 32, 48, id="as many points as there may be"),
])
def test_attending_is_what_pytorch_does_in_float64(queries, heads, points, width, sides):
    given = case_of_queries(queries, heads, points, width, sides)
    value, projected, reference = (t.float() for t in given)
    found = kernels.attend(value, SHAPES, projected, reference, points)
    torch.testing.assert_close(found.double(), by_pytorch(*given, points), rtol=0, atol=2e-5)


@needs_kernels
@pytest.mark.parametrize("width", [16, 24, 32, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bfloat16_values_are_summed_in_float32(dtype, width):
    value, projected, reference = case_of_queries(9, 4, 4, width, 2)
    value, projected = value.bfloat16(), projected.to(dtype)
    found = kernels.attend(value, SHAPES, projected, reference.float(), 4)
    wanted = by_pytorch(value.double(), projected.double(), reference, 4)
    assert found.dtype == dtype
    error = 2e-5 if dtype == torch.float32 else 2e-2  # one rounding at the very end
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=error)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_may_lie_token_by_token_or_head_by_head(dtype):
    value, projected, reference = case_of_queries(20, 4, 4, 32, 2)
    given = value.to(dtype), projected.to(dtype), reference.float()
    apart = given[0].transpose(0, 1).contiguous().transpose(0, 1)
    found, wanted = (kernels.attend(v, SHAPES, *given[1:], 4) for v in (apart, given[0]))
    assert torch.equal(found, wanted)


@needs_kernels
def test_kernels_of_another_version_are_not_used_and_told_to_be_built_again(monkeypatch, caplog):
    fresh = module_from_spec(kernels.__spec__)  # one that has loaded no library yet
    kernels.__spec__.loader.exec_module(fresh)
    monkeypatch.setattr(ctypes, "CDLL", lambda path: ctypes.PyDLL(None))  # has no such functions
    assert fresh.library() is None
    assert "run python hatch_build.py" in caplog.text


@needs_kernels
def test_sampling_bfloat16_values_is_sampling_their_numbers():
    value, locations, weights = case(width=40, dtype=torch.float32)
    found = kernels.native(value.bfloat16(), SHAPES, locations, weights)
    wanted = plain(value.bfloat16().double(), SHAPES, locations.double(), weights.double())
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-5)


@needs_kernels
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
    copy, with_position = torch.empty_like(y), torch.empty_like(y)
    kernels.add_norm(x, y, norm.float(), copy, position, with_position)
    error = 1e-5 if dtype == torch.float32 else 4e-2
    torch.testing.assert_close(x.double(), wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(copy.double(), wanted, rtol=0, atol=error)
    torch.testing.assert_close(with_position.double(), wanted + position, rtol=0, atol=error)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [
    pytest.param((2, 40, 6, 9), id="channels that fill no vector"),
    pytest.param((1, 64, 7, 4), id="odd sides"),
    pytest.param((1, 3, 1, 1), id="one pixel"),
    pytest.param((0, 16, 2, 2), id="no image"),
])
def test_pooling_is_pytorchs_to_the_last_bit(dtype, shape):
    x = torch.randn(shape).to(dtype).to(memory_format=torch.channels_last)
    assert torch.equal(kernels.max_pool(x), torch.nn.functional.max_pool2d(x, 3, 2, 1))


@needs_kernels
@pytest.mark.parametrize("level", kernels.LEVELS)
def test_every_level_of_the_processor_gives_the_same_up_to_rounding(level, monkeypatch):
    if level not in kernels.levels():
        pytest.skip(f"this processor has no {level}")
    monkeypatch.setenv(kernels.ENVIRONMENT, level)
    given = case(width=40, dtype=torch.float32)
    value, locations, weights = (t.requires_grad_() for t in given)
    found = kernels.native(value, SHAPES, locations, weights)
    wanted = plain(value.double(), SHAPES, locations.double(), weights.double())
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-5)
    gradients = torch.autograd.grad(found.square().sum(), (value, locations, weights))
    expected = torch.autograd.grad(wanted.square().sum(), (value, locations, weights))
    torch.testing.assert_close(gradients, expected, rtol=1e-4, atol=1e-3)
    given = case_of_queries(9, 4, 4, 32, 4)
    value, projected, reference = (t.float() for t in given)
    found = kernels.attend(value, SHAPES, projected, reference, 4)
    torch.testing.assert_close(found.double(), by_pytorch(*given, 4), rtol=0, atol=2e-5)


@needs_kernels
def test_a_level_that_the_processor_has_not_is_refused_by_name(monkeypatch):
    monkeypatch.setenv(kernels.ENVIRONMENT, "avx9")
    with pytest.raises(InputError, match=r"TFSASM_CPU is one of none, base.*not 'avx9'"):
        kernels.level()


def test_compiled_kernels_can_be_switched_off(monkeypatch):
    monkeypatch.setenv(kernels.ENVIRONMENT, "none")
    assert kernels.library() is None
    assert kernels.levels() == ()
    assert not kernels.serves(torch.zeros(1), 1)
    assert "none" in kernels.describe()


@needs_kernels
def test_the_highest_level_is_used_and_described(monkeypatch):
    monkeypatch.delenv(kernels.ENVIRONMENT, raising=False)
    assert kernels.level() == kernels.levels()[-1]
    assert kernels.level() in kernels.describe()


@needs_kernels
@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm")
def test_the_library_shows_nothing_but_kernels():
    # A shared symbol of the standard library would bring the instructions of any level to all.
    listing = subprocess.run(
        ["nm", "-D", "--defined-only", kernels.library()._name],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    names = {line.split()[-1].lstrip("_") for line in listing.splitlines()}
    common = {"highest_level", "has_threads", "interface"}
    assert common < names
    assert {name.rpartition("_")[2] for name in names - common} <= set(kernels.LEVELS)


@pytest.mark.skipif(not SOURCES or shutil.which("c++") is None, reason="needs c++ and the sources")
def test_a_source_tree_has_them_where_a_compiler_is(monkeypatch):
    monkeypatch.delenv(kernels.ENVIRONMENT, raising=False)
    assert kernels.library() is not None, "run `make setup` or `python hatch_build.py`"
