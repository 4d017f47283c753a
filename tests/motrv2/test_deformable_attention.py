"""Multi-scale deformable attention: the released module, and the formula by hand."""

import pytest
import torch
from torch.nn.functional import softmax

from helpers.golden_data import released_model, tensor, vectors
from helpers.samples import SHAPES, slow_sample
from tfsasm.motrv2.deformable_attention import DeformableAttention


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
