"""The sampling kernels: the released core, a slow loop, derivatives, and who is chosen when."""

from types import SimpleNamespace

import pytest
import torch

from helpers.golden_data import tensor, vectors
from helpers.samples import SHAPES, case, slow_sample
from tfsasm.errors import InputError
from tfsasm.motrv2 import deformable_attention
from tfsasm.motrv2.deformable_attention import fuses, sample
from tfsasm.motrv2.exact import in_order, is_exact
from tfsasm.motrv2.fast.kernels import library, native
from tfsasm.motrv2.sampling import gather, level_by_level, plain

KERNELS = {"plain": plain, "gather": gather, "level by level": level_by_level}
every_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
if library() is not None:
    KERNELS["native"] = native
needs_compiler = pytest.mark.skipif("native" not in KERNELS, reason="needs a C++ compiler")


@every_kernel
@pytest.mark.parametrize("seed", range(3))
def test_it_does_what_a_loop_over_everything_would(kernel, seed):
    value, locations, weights = case(seed=seed)
    found = kernel(value, SHAPES, locations, weights)
    torch.testing.assert_close(found, slow_sample(value, SHAPES, locations, weights))


@every_kernel
@pytest.mark.parametrize(("place", "seen"), [
    pytest.param((0.5 / 5, 0.5 / 3), 1.0, id="the centre of a pixel is its value"),
    pytest.param((0.0, 0.5 / 3), 0.5, id="at the border half of it"),
    pytest.param((1.0, 1.0), 0.25, id="at the far corner a quarter"),
    pytest.param((-5.0, 0.5), 0.0, id="outside nothing"),
    pytest.param((1e6, 1e6), 0.0, id="far outside nothing"),
])
def test_places_are_shares_of_a_level(kernel, place, seen):
    value = torch.zeros(1, 19, 1, 1)
    value[0, [0, 14]] = 1.0  # the first and the last pixel of the first level
    value[0, 15:] = 7.0
    locations = torch.tensor([place, (9.0, 9.0)]).reshape(1, 1, 1, 2, 1, 2)
    found = kernel(value, SHAPES, locations, torch.ones(1, 1, 1, 2, 1))
    assert found.item() == pytest.approx(seen, abs=1e-6)


@every_kernel
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("queries", [0, 1, 5])
def test_any_number_may_ask(kernel, batch, queries):
    value, locations, weights = case(batch=batch, queries=queries)
    found = kernel(value, SHAPES, locations, weights)
    assert found.shape == (batch, queries, 6)
    torch.testing.assert_close(found, plain(value, SHAPES, locations, weights))


@every_kernel
def test_tensors_may_lie_in_memory_as_they_like(kernel):
    given = [t.transpose(0, 1).contiguous().transpose(0, 1) for t in case()]
    assert not any(t.is_contiguous() for t in given)
    torch.testing.assert_close(kernel(given[0], SHAPES, *given[1:]), kernel(*with_shapes(case())))


def with_shapes(given):
    value, locations, weights = given
    return value, SHAPES, locations, weights


@every_kernel
def test_the_core_is_that_of_the_released_code(kernel):
    golden = vectors("mod_deform_attn")
    shapes = [tuple(shape) for shape in golden["shapes"].tolist()]
    value, locations, weights = (tensor(golden[key]) for key in ("value", "loc", "attn"))
    with torch.no_grad():
        found = kernel(value, shapes, locations, weights)
    torch.testing.assert_close(found, tensor(golden["out"]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kernel", [
    "plain",
    pytest.param("native", marks=needs_compiler),
])  # fmt: skip
def test_the_derivative_is_right(kernel):
    inputs = [t.requires_grad_() for t in case(batch=2, queries=2)]
    assert torch.autograd.gradcheck(
        lambda value, *rest: KERNELS[kernel](value, SHAPES, *rest), inputs
    )





@pytest.fixture
def chosen(monkeypatch):
    """The name of the kernel that `sample` would take, for a tensor and what is asked for."""

    def kernel(wanted, compiler=False, value=None, points=16):
        monkeypatch.setenv("TFSASM_SAMPLING", wanted)
        if not compiler:
            monkeypatch.setenv("TFSASM_CPU", "none")
        value = torch.zeros(1, 1) if value is None else value
        return deformable_attention.kernel_for(value, points).__name__

    return kernel


@needs_compiler
def test_with_a_compiler_our_own_is_taken(chosen):
    value = torch.zeros(1, 1)
    assert chosen("auto", compiler=True) == "native"
    assert chosen("auto", compiler=True, value=value.bfloat16()) == "native"
    assert chosen("auto", compiler=True, value=value.half()) != "native"
    assert chosen("auto", compiler=True, points=1000) != "native"


def test_without_a_compiler_it_cannot_be_asked_for(chosen):
    with pytest.raises(InputError, match=r"where a C\+\+ compiler is"):
        chosen("native")


def test_without_a_compiler_there_is_always_a_kernel(chosen):
    assert chosen("auto") == "plain"
    with torch.no_grad():
        assert chosen("auto") == chosen("gather") == "gather"
        assert chosen("plain") == "plain"


def test_another_device_gets_pytorch_alone(chosen):
    assert chosen("auto", value=torch.zeros(1, 1, device="meta")) == "plain"


def test_mps_gets_the_plain_path(chosen):
    """By what chooses; nothing of it has run there."""
    assert not fuses(torch.device("mps"), torch.float32)
    there = SimpleNamespace(device=torch.device("mps"), dtype=torch.float32)
    assert chosen("auto", value=there) == "plain"


def test_an_unknown_kernel_is_refused_by_name(chosen):
    with pytest.raises(InputError, match="is auto, native, gather, plain or triton, not 'x'"):
        chosen("x")


class Sampling(torch.nn.Module):
    def forward(self, value, locations, weights):
        return sample(value, SHAPES, locations, weights)


def test_an_export_holds_pytorch_alone():
    given = case(dtype=torch.float32)
    exported = torch.export.export(Sampling(), given)
    assert "grid_sampler" in exported.graph_module.code
    torch.testing.assert_close(exported.module()(*given), plain(given[0], SHAPES, *given[1:]))





@pytest.mark.parametrize("cpu", ["", "none"], ids=["compiled", "not compiled"])
@pytest.mark.parametrize("points", [3, 4], ids=["another number of points", "the published number"])
def test_in_order_is_plain_to_the_last_bit(cpu, points, monkeypatch):
    monkeypatch.setenv("TFSASM_CPU", cpu)
    g = torch.Generator().manual_seed(4)
    shapes = [(9, 14), (5, 7), (3, 4), (1, 1)]
    value = torch.randn(2, 174, 3, 37, generator=g)
    places = 1.4 * torch.rand(2, 40, 3, 4, points, 2, generator=g) - 0.2
    weights = torch.rand(2, 40, 3, 4, points, generator=g)
    with torch.inference_mode():
        ours, wanted = (
            k(value, shapes, places, weights) for k in (in_order, plain)
        )
    assert torch.equal(ours, wanted)
    assert ours.stride() == wanted.stride()


@needs_compiler
def test_in_order_is_compiled_where_it_can_be():
    assert is_exact(torch.zeros(1, 1, 1, 1), 16)
