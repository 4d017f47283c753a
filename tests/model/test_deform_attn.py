"""Multi-scale deformable attention: the released module, a slow loop, and its derivative."""

import math

import pytest
import torch
from torch.nn.functional import softmax

from golden_data import released_model, tensor, vectors
from tfsasm.model.deform_attn import DeformableAttention, gather, sample

SHAPES = [(3, 5), (2, 2)]


def case(batch=2, queries=3, heads=2, points=2, width=3, seed=0, dtype=torch.float64):
    """Values, locations and weights; some of the locations are outside."""
    g = torch.Generator().manual_seed(seed)
    pixels, levels = sum(h * w for h, w in SHAPES), len(SHAPES)
    value = torch.randn(batch, pixels, heads, width, generator=g, dtype=dtype)
    grid = (batch, queries, heads, levels, points)
    locations = torch.rand(*grid, 2, generator=g, dtype=dtype) * 1.6 - 0.3
    return value, locations, torch.rand(grid, generator=g, dtype=dtype)


def bilinear(pixels, x, y):
    """Sample `[h, w, D]` at a pixel coordinate; what lies outside counts as zero."""
    h, w, width = pixels.shape
    total = torch.zeros(width, dtype=pixels.dtype)
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < h and 0 <= column < w:
                total += (1 - abs(x - column)) * (1 - abs(y - row)) * pixels[row, column]
    return total


def slow_sample(value, shapes, locations, weights):
    batch, queries, heads, _, points, _ = locations.shape
    out = torch.zeros(batch, queries, heads, value.shape[-1], dtype=value.dtype)
    levels = value.split([h * w for h, w in shapes], dim=1)
    for b in range(batch):
        for q in range(queries):
            for m in range(heads):
                for level, (h, w) in enumerate(shapes):
                    pixels = levels[level][b, :, m].reshape(h, w, -1)
                    for k in range(points):
                        x, y = locations[b, q, m, level, k].tolist()
                        seen = bilinear(pixels, x * w - 0.5, y * h - 0.5)
                        out[b, q, m] += weights[b, q, m, level, k] * seen
    return out.flatten(2)


@pytest.mark.parametrize("seed", range(3))
def test_it_does_what_a_loop_over_everything_would(seed):
    value, locations, weights = case(seed=seed)
    found = sample(value, SHAPES, locations, weights)
    torch.testing.assert_close(found, slow_sample(value, SHAPES, locations, weights))


@pytest.mark.parametrize(("place", "seen"), [
    pytest.param((0.5 / 5, 0.5 / 3), 1.0, id="the centre of a pixel is its value"),
    pytest.param((0.0, 0.5 / 3), 0.5, id="at the border half of it"),
    pytest.param((-5.0, 0.5), 0.0, id="outside nothing"),
    pytest.param((1e6, 1e6), 0.0, id="far outside nothing"),
])
def test_places_are_shares_of_a_level(place, seen):
    value = torch.zeros(1, 19, 1, 1)
    value[0, 0] = 1.0  # the upper left pixel of the first level
    value[0, 15:] = 7.0
    locations = torch.tensor([place, (9.0, 9.0)]).reshape(1, 1, 1, 2, 1, 2)
    found = sample(value, SHAPES, locations, torch.ones(1, 1, 1, 2, 1))
    assert found.item() == pytest.approx(seen, abs=1e-6)


def test_the_derivative_is_right():
    inputs = [t.requires_grad_() for t in case(batch=1, queries=2)]
    assert torch.autograd.gradcheck(lambda v, *rest: sample(v, SHAPES, *rest), inputs)


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


def test_padding_counts_as_zero():
    attention = module()
    query, source = torch.randn(1, 3, 8).double(), torch.randn(1, 19, 8).double()
    reference = torch.rand(1, 3, 2, 2).double()
    padding = torch.zeros(1, 19, dtype=torch.bool)
    padding[0, [2, 7, 15]] = True
    value = attention.project_value(source, padding)
    assert value.shape == (1, 19, 2, 4)
    assert not value[padding].any()
    assert torch.equal(value[~padding], attention.project_value(source)[~padding])
    other = source.clone()
    other[padding] = 1e3
    found = [attention(query, s, SHAPES, reference, padding) for s in (source, other)]
    assert torch.equal(*found)


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
def test_the_core_is_that_of_the_released_code():
    golden = vectors("mod_deform_attn")
    shapes = [tuple(shape) for shape in golden["shapes"].tolist()]
    value, locations, weights = (tensor(golden[key]) for key in ("value", "loc", "attn"))
    found = sample(value, shapes, locations, weights)
    torch.testing.assert_close(found, tensor(golden["out"]), rtol=0, atol=1e-5)


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
    found = attention(query, source, shapes, places, mask if padded else None)
    torch.testing.assert_close(found, tensor(golden[out]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("queries", [0, 1, 5])
def test_gathering_rows_is_the_same_function(batch, queries):
    value, locations, weights = case(batch=batch, queries=queries)
    wanted = sample(value, SHAPES, locations, weights)
    torch.testing.assert_close(gather(value, SHAPES, locations, weights), wanted)


@pytest.mark.parametrize("location", [-1e6, -0.2, 0.0, 1.0, 1.2, 1e6])
def test_gathering_far_outside_counts_as_zero_too(location):
    value, locations, weights = case()
    locations = torch.full_like(locations, location)
    wanted = sample(value, SHAPES, locations, weights)
    torch.testing.assert_close(gather(value, SHAPES, locations, weights), wanted)


def test_quick_attention_gathers_only_without_a_gradient(monkeypatch):
    used = []
    monkeypatch.setattr(
        "tfsasm.model.deform_attn.gather", lambda *given: used.append(1) or sample(*given)
    )
    attention = DeformableAttention(16, heads=2, levels=2, points=2)
    attention.quick = True
    tokens = torch.randn(1, sum(h * w for h, w in SHAPES), 16)
    points = torch.rand(1, 4, 2, 2)
    attention(tokens[:, :4], tokens, SHAPES, points)
    assert not used
    with torch.no_grad():
        attention(tokens[:, :4], tokens, SHAPES, points)
    assert used
