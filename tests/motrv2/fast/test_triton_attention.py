"""The Triton kernels against PyTorch in float64: on the GPU where one is, else by the interpreter.

`conftest.py` turns the interpreter on before Triton is imported.
"""

import logging
import math
import os
import subprocess
import sys

import pytest
import torch

from helpers.samples import SHAPES
from tfsasm.errors import InputError
from tfsasm.motrv2 import deformable_attention
from tfsasm.motrv2.deformable_attention import DeformableAttention, fuses, plain

pytest.importorskip("triton")

from tfsasm.motrv2.fast import triton_attention

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

SIZES = {  # no more of each than it takes: the interpreter is slow
    "one of everything": {"queries": 1, "heads": 1, "points": 1, "width": 1},
    "no query": {"queries": 0},
    "the published points and channels": {"queries": 5, "heads": 1, "points": 4, "batch": 1,
                                          "width": 32},
    "points and channels that fill no block": {"queries": 7, "points": 3, "batch": 1, "width": 24},
    "several images and blocks": {"queries": 9, "heads": 1, "points": 1, "width": 66},
    "places about points": {"sides": 2, "heads": 1, "points": 3, "batch": 1, "width": 3},
}


def case(sides=4, queries=3, heads=2, points=2, width=4, batch=2, dtype=torch.float64):
    """Value, offsets, logits and reference of `attend`; some places are outside."""
    g = torch.Generator().manual_seed(0)
    tokens, levels = sum(h * w for h, w in SHAPES), len(SHAPES)
    grid = (batch, queries, heads, levels, points)
    shapes = (batch, tokens, heads, width), (*grid, 2), grid
    value, offsets, logits = (torch.randn(*shape, generator=g) for shape in shapes)
    reference = 1.2 * torch.rand(batch, queries, levels, sides, generator=g) - 0.1
    return [t.to(DEVICE, dtype) for t in (value, 2 * offsets, 2 * logits, reference)]


def by_triton(value, *given):
    return triton_attention.attend(value, SHAPES, *given)


def by_pytorch(value, *given):
    return deformable_attention.attend(value, SHAPES, *given, kernel=plain)


def with_gradients(attend, given, toward=None):
    """The answer, and the gradients of all that was given, for one `toward` of the answer."""
    given = [t.detach().requires_grad_() for t in given]
    answer = attend(*given)
    if toward is None:
        toward = torch.linspace(-1, 1, answer.numel(), device=DEVICE)
    return answer.detach(), *torch.autograd.grad(answer, given, toward.view_as(answer).to(answer))


def assert_like_pytorch(given):
    for found, wanted in zip(
        with_gradients(by_triton, given), with_gradients(by_pytorch, given), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_answers_and_gradients_are_those_of_pytorch(sizes):
    assert_like_pytorch(case(**sizes))


@pytest.mark.parametrize(("dtype", "error"), [
    pytest.param(torch.float32, 3e-6, id="float32"),
    pytest.param(torch.bfloat16, 4e-3, id="bfloat16"),
    pytest.param(torch.float16, 5e-4, id="float16", marks=pytest.mark.slow),
])  # fmt: skip
def test_short_numbers_are_summed_in_float32(dtype, error):
    """So the error is that of one rounding at the end, however many points there are."""
    given = case(queries=5, heads=1, points=6, width=24, batch=1, dtype=dtype)
    toward = torch.linspace(-1, 1, 120, device=DEVICE).to(dtype).double()
    exactly = with_gradients(by_pytorch, [t.double() for t in given], toward)
    for found, wanted in zip(with_gradients(by_triton, given, toward), exactly, strict=True):
        assert found.dtype == dtype
        assert (found.double() - wanted).norm() < error * wanted.norm()


def test_a_place_may_be_anywhere():
    corners = torch.tensor([
        corner for reach in (0.0, 0.3, 1.0, 1e9)
        for corner in ([-reach, -reach], [1 + reach, -reach], [-reach, 1.0], [0.5, 1 + reach])
    ])
    value, offsets, logits, reference = case(2, queries=16, heads=1, points=1, batch=1)
    places = corners[None, :, None].expand_as(reference).to(reference)
    assert_like_pytorch([value, torch.zeros_like(offsets), logits, places])


@pytest.mark.parametrize("reach", [math.inf, -math.inf])
def test_a_place_at_infinity_is_outside(reach):
    """It is no number that a pixel could have: without a bound the answer would be NaN."""
    value, offsets, logits, reference = case(2, queries=1, heads=1, points=1, batch=1, width=1)
    assert not by_triton(value, offsets, logits, torch.full_like(reference, reach)).any()


def test_tensors_may_lie_in_memory_as_they_like():
    """Offsets and logits may be parts of one table, references one for all levels."""
    value, offsets, logits, reference = case(2, batch=1)
    table = torch.cat([offsets.flatten(2), logits.flatten(2)], -1)
    first, second = table.split((offsets[0, 0].numel(), logits[0, 0].numel()), -1)
    anchors = reference[:, :, :1].expand(-1, -1, len(SHAPES), -1)
    found = by_triton(
        value.transpose(0, 1).contiguous().transpose(0, 1),
        first.unflatten(-1, offsets.shape[2:]), second.unflatten(-1, logits.shape[2:]), anchors,
    )  # fmt: skip
    torch.testing.assert_close(found, by_pytorch(value, offsets, logits, anchors))
    turned = [t.mT.contiguous().mT for t in (offsets, logits, anchors)]
    torch.testing.assert_close(by_triton(value, *turned), found)


@pytest.mark.parametrize("check", [
    "test_schema", "test_autograd_registration", "test_faketensor",
    pytest.param("test_aot_dispatch_dynamic", marks=pytest.mark.slow),
])  # fmt: skip
def test_pytorch_knows_the_operation(check):
    """Its schema, its shapes, its gradient, and that it may be traced with free sizes."""
    given = [t.requires_grad_() for t in case(queries=1, heads=1, points=1, batch=1, width=1)]
    sizes = [side for shape in SHAPES for side in shape]
    operation = torch.ops.tfsasm.deformable_attention.default
    torch.library.opcheck(operation, (*given, sizes), test_utils=check)


class Whole(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.attention = DeformableAttention(width=8, heads=2, levels=2, points=2).to(DEVICE)

    def forward(self, query, source, reference):
        return self.attention(query, source, SHAPES, reference)


@pytest.fixture
def asked_for(monkeypatch):
    monkeypatch.setenv("TFSASM_SAMPLING", "triton")


def inputs():
    g = torch.Generator().manual_seed(1)
    given = torch.randn(1, 3, 8, generator=g), torch.randn(1, 19, 8, generator=g)
    return *(t.to(DEVICE) for t in given), torch.rand(1, 3, 2, 2, generator=g).to(DEVICE)


def test_an_export_holds_one_node_of_it(asked_for):
    module = Whole()
    exported = torch.export.export(module, inputs(), strict=False)
    names = [str(node.target) for node in exported.graph.nodes]
    assert names.count("tfsasm.deformable_attention.default") == 1
    torch.testing.assert_close(exported.module()(*inputs()), module(*inputs()))


@pytest.mark.parametrize("gradient", [
    pytest.param(True, id="training", marks=pytest.mark.slow), pytest.param(False, id="tracking"),
])  # fmt: skip
def test_it_is_compiled_around_without_a_break(asked_for, gradient):
    module = Whole().requires_grad_(gradient)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*inputs()), module(*inputs()))


def test_the_module_trains_with_it(monkeypatch):
    def gradients(sampling):
        monkeypatch.setenv("TFSASM_SAMPLING", sampling)
        module = Whole()
        module(*inputs()).square().sum().backward()
        return [parameter.grad for parameter in module.parameters()]

    for found, wanted in zip(gradients("triton"), gradients("plain"), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_gpu_is_given_it_and_may_be_spared(monkeypatch, caplog):
    gpu = torch.device("cuda")
    monkeypatch.setenv("TFSASM_SAMPLING", "plain")
    assert not fuses(gpu, torch.float32)
    monkeypatch.setenv("TFSASM_SAMPLING", "auto")
    assert not fuses(torch.device("cpu"), torch.float32)
    with caplog.at_level(logging.WARNING):
        assert fuses(gpu, torch.float32) == torch.cuda.is_available()
    if not torch.cuda.is_available():  # it was tried, and did not run
        assert "does not run on cuda" in caplog.text
        assert "PyTorch serves" in caplog.text


def test_a_device_on_which_it_is_wrong_is_left_to_pytorch(asked_for, monkeypatch, caplog):
    place = torch.device(DEVICE.type, 0)  # another name of it, that nothing is known of yet
    right = triton_attention.attend
    monkeypatch.setattr(triton_attention, "attend", lambda *given: 1.01 * right(*given))
    with pytest.raises(InputError, match=r"TFSASM_SAMPLING=triton needs a GPU and Triton"):
        fuses(place, torch.float64)
    assert "is wrong by" in caplog.text


COMPILE = """
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from tfsasm.motrv2.fast import triton_attention

SIZES = dict(HEADS=3, WIDTH=24, LEVELS=2, POINTS=2, BOXES=True, BLOCK=32, CHANNELS=32, PADDED=4,
             SUM=tl.float32)
KINDS = dict.fromkeys(["value", "offsets", "logits", "out", "grad"], "*bf16")
KINDS |= dict.fromkeys(["reference", "to_value", "to_places", "to_logits"], "*fp32")
KINDS |= {"levels": "*i32"} | dict.fromkeys(SIZES, "constexpr")
for kernel in (triton_attention.forward, triton_attention.backward):
    kinds = {name: KINDS.get(name, "i32") for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=kinds, constexprs=SIZES)
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    print(kernel.__name__, len(made.asm["cubin"]) > 0)
"""


@pytest.mark.slow
def test_the_kernels_compile_for_a_gpu_that_is_not_here(tmp_path):
    """The interpreter takes more than the compiler does; this is for sm_90."""
    around = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], capture_output=True, text=True,
        env=around | {"TRITON_CACHE_DIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["forward", "True", "backward", "True"]
