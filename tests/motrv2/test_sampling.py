"""The sampling kernels: the released core, a slow loop, derivatives, and who is chosen when."""

import pytest
import torch

from helpers.golden_data import tensor, vectors
from helpers.samples import SHAPES, case, slow_sample
from tfsasm.errors import InputError
from tfsasm.motrv2 import deformable_attention
from tfsasm.motrv2.deformable_attention import gather, level_by_level, plain, sample
from tfsasm.motrv2.fast.kernels import library, native

KERNELS = {"plain": plain, "gather": gather, "level by level": level_by_level}
try:
    from tfsasm.motrv2.fused import fused

    KERNELS["fused"] = fused
except ImportError:
    fused = None
every_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
if library() is not None:
    KERNELS["native"] = native
needs_compiler = pytest.mark.skipif("native" not in KERNELS, reason="needs a C++ compiler")
needs_numba = pytest.mark.skipif(fused is None, reason='needs numba: pip install "tfsasm[fast]"')


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
    "plain", pytest.param("fused", marks=needs_numba),
    pytest.param("native", marks=needs_compiler),
])  # fmt: skip
def test_the_derivative_is_right(kernel):
    inputs = [t.requires_grad_() for t in case(batch=2, queries=2)]
    assert torch.autograd.gradcheck(
        lambda value, *rest: KERNELS[kernel](value, SHAPES, *rest), inputs
    )


@needs_numba
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_the_work_without_a_trace(threads, monkeypatch):
    monkeypatch.setattr("tfsasm.motrv2.fused._SMALL", 1)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found, wanted = outcome(fused), outcome(plain)
    finally:
        torch.set_num_threads(before)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


def outcome(kernel):
    """The sum and its gradients, in float32 as the network has them."""
    given = [t.requires_grad_() for t in case(queries=7, width=16, dtype=torch.float32)]
    out = kernel(given[0], SHAPES, *given[1:])
    out.backward(torch.linspace(-1, 1, out.numel()).view_as(out))
    return [out, *(t.grad for t in given)]


@needs_numba
def test_what_is_not_a_number_stays_where_it_is():
    value, locations, weights = case(batch=1, queries=3, dtype=torch.float32)
    locations[0, 1, 0, 0, 0] = torch.nan
    weights[0, 2] = torch.nan
    found = fused(value, SHAPES, locations, weights)
    assert found[0, :2].isfinite().all()
    assert found[0, 2].isnan().any()


@pytest.fixture
def chosen(monkeypatch):
    """The name of the kernel that `sample` would take, for a tensor and what is asked for."""

    def kernel(asked, numba=True, compiler=False, value=None, points=16):
        monkeypatch.setenv(deformable_attention.ENVIRONMENT, asked)
        monkeypatch.setattr(deformable_attention, "_has_numba", lambda: numba)
        if not compiler:
            monkeypatch.setattr(deformable_attention.kernels, "library", lambda: None)
        return deformable_attention._kernel(
            torch.zeros(1, 1) if value is None else value, points
        ).__name__

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


@needs_numba
def test_the_quickest_that_serves_is_taken(chosen):
    assert chosen("auto") == "fused"
    assert chosen("fused") == "fused"
    assert chosen("auto", value=torch.zeros(1, 1, dtype=torch.bfloat16)) == "plain"
    assert chosen("plain") == "plain"
    with torch.no_grad():
        assert chosen("gather") == "gather"


def test_without_numba_there_is_always_a_way(chosen):
    assert chosen("auto", numba=False) == "plain"
    with torch.no_grad():
        assert chosen("auto", numba=False) == "gather"
    with pytest.raises(InputError, match=r"pip install .*fast"):
        chosen("fused", numba=False)


def test_another_device_gets_pytorch_alone(chosen):
    assert chosen("auto", value=torch.zeros(1, 1, device="meta")) == "plain"


def test_an_unknown_kernel_is_refused_by_name(chosen):
    with pytest.raises(InputError, match="is auto, native, fused, gather or plain, not 'x'"):
        chosen("x")


class Sampling(torch.nn.Module):
    def forward(self, value, locations, weights):
        return sample(value, SHAPES, locations, weights)


def test_an_export_holds_pytorch_alone():
    given = case(dtype=torch.float32)
    exported = torch.export.export(Sampling(), given)
    assert "grid_sampler" in exported.graph_module.code
    torch.testing.assert_close(exported.module()(*given), plain(given[0], SHAPES, *given[1:]))


@needs_numba
def test_a_system_on_which_nothing_can_be_kept_compiles_every_time(monkeypatch):
    from tfsasm.motrv2 import fused as module

    numba, compile_ = module.numba, module.numba.njit

    def njit(*, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return compile_(**options)

    monkeypatch.setattr(numba, "njit", njit)
    module._kernels.cache_clear()
    given = case(width=5)
    torch.testing.assert_close(fused(given[0], SHAPES, *given[1:]), plain(*with_shapes(given)))
    module._kernels.cache_clear()


@pytest.mark.parametrize("quick", [True, False], ids=["compiled", "not to the last bit here"])
@pytest.mark.parametrize("points", [3, 4], ids=["another number of points", "the published number"])
def test_in_order_is_plain_to_the_last_bit(quick, points, monkeypatch):
    if not quick:
        monkeypatch.setattr(deformable_attention, "_is_plain", lambda points: False)
    g = torch.Generator().manual_seed(4)
    shapes = [(9, 14), (5, 7), (3, 4), (1, 1)]
    value = torch.randn(2, 174, 3, 37, generator=g)
    places = 1.4 * torch.rand(2, 40, 3, 4, points, 2, generator=g) - 0.2
    weights = torch.rand(2, 40, 3, 4, points, generator=g)
    with torch.inference_mode():
        ours, wanted = (
            k(value, shapes, places, weights) for k in (deformable_attention.in_order, plain)
        )
    assert torch.equal(ours, wanted)
    assert ours.stride() == wanted.stride()


@needs_compiler
def test_in_order_is_compiled_where_it_can_be():
    assert deformable_attention._is_plain(16)
