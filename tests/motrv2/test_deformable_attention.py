"""Multi-scale deformable attention: the released module, and the formula by hand. Its sampling
kernels: the released core, a slow loop, derivatives, and who is chosen when.
"""

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import softmax

from helpers.golden_data import released_model, tensor, vectors
from helpers.samples import SHAPES, case, slow_sample
from tfsasm.errors import InputError
from tfsasm.motrv2.deformable_attention import (
    DeformableAttention,
    fuses,
    gather,
    in_order,
    is_exact,
    kernel_for,
    level_by_level,
    plain,
    sample,
)
from tfsasm.motrv2.fast.kernels import library, native


def module(points=2, seed=0):
    torch.manual_seed(seed)
    attention = DeformableAttention(width=8, heads=2, levels=2, points=points).double()
    for layer in (attention.sampling_offsets, attention.attention_weights):
        torch.nn.init.normal_(layer.weight, std=0.5)
    return attention


def by_hand(attention, query, source, reference):
    """SPEC 4.1: offsets in (head, level, point, xy) order, softmax over level and point."""
    (batch, queries), points = query.shape[:2], attention.points
    value = attention.value_proj(source).reshape(batch, -1, 2, 4)
    offsets = attention.sampling_offsets(query).reshape(batch, queries, 2, 2, points, 2)
    raw = attention.attention_weights(query).reshape(batch, queries, 2, 2 * points)
    locations = torch.zeros_like(offsets)
    for level, (h, w) in enumerate(SHAPES):
        place = reference[:, :, level, None, None]
        if reference.shape[-1] == 2:
            moved = offsets[:, :, :, level] / torch.tensor([w, h])
        else:
            moved = offsets[:, :, :, level] / points * place[..., 2:] * 0.5
        locations[:, :, :, level] = place[..., :2] + moved
    weights = softmax(raw, -1).reshape(batch, queries, 2, 2, points)
    return attention.output_proj(slow_sample(value, SHAPES, locations, weights))


@pytest.mark.parametrize("points", [1, 2, 3])
@pytest.mark.parametrize("size", [
    pytest.param(2, id="around points"), pytest.param(4, id="around boxes")
])
def test_the_module_is_what_the_paper_says(size, points):
    attention = module(points)
    query, source = torch.randn(2, 3, 8).double(), torch.randn(2, 19, 8).double()
    reference = torch.rand(2, 3, 2, size).double()
    with torch.no_grad():
        found = attention(query, source, SHAPES, reference)
        torch.testing.assert_close(found, by_hand(attention, query, source, reference))


def test_nobody_may_ask():
    attention = module()
    out = attention(torch.zeros(1, 0, 8).double(), torch.randn(1, 19, 8).double(), SHAPES,
                    torch.zeros(1, 0, 2, 4).double())  # fmt: skip
    assert out.shape == (1, 0, 8)


def test_points_start_on_a_star():
    attention = DeformableAttention(width=16, heads=8, levels=2, points=3)
    star = attention.sampling_offsets.bias.reshape(8, 2, 3, 2)
    around = [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)]
    wanted = torch.tensor(around)[:, None, None] * torch.tensor([1.0, 2.0, 3.0])[:, None]
    torch.testing.assert_close(star, wanted.expand(-1, 2, -1, -1), atol=1e-6, rtol=1e-6)
    for untouched in (attention.sampling_offsets.weight, attention.attention_weights.weight,
                      attention.attention_weights.bias, attention.value_proj.bias):  # fmt: skip
        assert not untouched.any()


@torch.no_grad()
@pytest.mark.parametrize(("part", "reference", "padded", "out"), [
    pytest.param("decoder", "rp4", False, "out4_dec2", id="around boxes"),
    pytest.param("decoder", "rp4", True, "out4_dec2_masked", id="around boxes, padded"),
    pytest.param("encoder", "rp2", False, "out2_enc1", id="around points"),
])
def test_the_module_is_that_of_the_released_code(part, reference, padded, out):
    golden, model = vectors("mod_deform_attn"), released_model()
    layers = {"decoder": model.decoder.layers[2], "encoder": model.encoder.layers[1]}
    attention = layers[part].cross_attn if part == "decoder" else layers[part].self_attn
    shapes = [tuple(shape) for shape in golden["shapes"].tolist()]
    query, source, places, mask = (tensor(golden[k]) for k in ("q", "src", reference, "pad_mask"))
    hidden = mask[..., None] & padded  # of values alone: no image of ours is padded

    def hide(_module, _given, values):
        return values.masked_fill(hidden, 0.0)

    with attention.value_proj.register_forward_hook(hide):
        found = attention(query, source, shapes, places)
    torch.testing.assert_close(found, tensor(golden[out]), rtol=0, atol=1e-5)


# Sampling

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
        return kernel_for(value, points).__name__

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
        ours, wanted = (k(value, shapes, places, weights) for k in (in_order, plain))
    assert torch.equal(ours, wanted)
    assert ours.stride() == wanted.stride()


@needs_compiler
def test_in_order_is_compiled_where_it_can_be():
    assert is_exact(torch.zeros(1, 1, 1, 1), 16)
