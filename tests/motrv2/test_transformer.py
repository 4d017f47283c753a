"""Encoder and decoder: the released transformer, attention masks and empty questions."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from helpers.golden_data import released_model, tensor, vectors
from tfsasm.motrv2.config import ModelConfig
from tfsasm.motrv2.transformer import (
    Decoder,
    Encoder,
    Features,
    Queries,
    SelfAttention,
    embed_coordinates,
    embed_grid,
    inverse_sigmoid,
    level_positions,
)
from tfsasm.tracking import memory
from tfsasm.tracking.config import MemoryConfig

WIDTH, LEVELS = 16, 2
SIZES = ModelConfig(
    width=WIDTH, feedforward=32, heads=2, encoder_layers=2, decoder_layers=3, levels=LEVELS,
    points=2,
)  # fmt: skip
FULL = [(6, 8), (3, 4)]


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    encoder = Encoder(SIZES)
    for layer in encoder.layers:
        torch.nn.init.normal_(layer.self_attn.sampling_offsets.weight, std=0.3)
        torch.nn.init.normal_(layer.self_attn.attention_weights.weight, std=0.3)
    return encoder.requires_grad_(False)


@pytest.fixture(scope="module")
def decoder():
    torch.manual_seed(1)
    decoder = Decoder(SIZES)
    for layer in decoder.layers:
        torch.nn.init.normal_(layer.cross_attn.sampling_offsets.weight, std=0.3)
    return decoder.requires_grad_(False)


def encode(encoder, maps):
    shapes = [m.shape[-2:] for m in maps]
    return encoder(maps, level_positions(shapes, torch.ones(LEVELS, WIDTH)))


def maps_of(shapes, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(1, WIDTH, h, w, generator=generator) for h, w in shapes]


def questions(count, seed=3):
    generator = torch.Generator().manual_seed(seed)
    content = torch.randn(count, WIDTH, generator=generator)
    return Queries(content, torch.rand(count, 4, generator=generator) * 0.4 + 0.3)


def test_one_image_of_a_batch_can_be_taken_out():
    tokens = torch.arange(240.0).reshape(2, 60, 2)
    one = Features(tokens, FULL)[1]
    assert one.shapes == FULL
    assert torch.equal(one.tokens, tokens[1:])


# The decoder


@pytest.fixture(scope="module")
def features(encoder):
    return encode(encoder, maps_of(FULL))


def test_every_layer_answers_every_query(decoder, features):
    layers = decoder(questions(5), features)
    assert len(layers) == 3
    for answer in layers:
        assert answer.logits.shape == (5, 1)
        assert answer.boxes.shape == (5, 4)
        assert answer.embeddings.shape == (5, WIDTH)
        assert ((answer.boxes > 0) & (answer.boxes < 1)).all()


def test_nobody_may_be_asked_about(decoder, features):
    for answer in decoder(questions(0), features):
        assert len(answer) == 0
        assert answer.boxes.shape == (0, 4)


def test_the_order_of_the_queries_does_not_matter(decoder, features):
    asked, order = questions(5), torch.tensor([3, 0, 4, 1, 2])
    straight, shuffled = decoder(asked, features)[-1], decoder(asked[order], features)[-1]
    torch.testing.assert_close(shuffled.embeddings, straight.embeddings[order], rtol=0, atol=1e-5)
    torch.testing.assert_close(shuffled.boxes, straight.boxes[order], rtol=0, atol=1e-5)


def test_a_forbidden_query_is_not_seen(decoder, features):
    """The first three see one another only; the last two see all."""
    asked = questions(5)
    attention_mask = torch.zeros(5, 5, dtype=torch.bool)
    attention_mask[:3, 3:] = True
    masked, open_ = decoder(asked, features, attention_mask)[-1], decoder(asked, features)[-1]
    alone = decoder(asked[:3], features)[-1]
    torch.testing.assert_close(masked.boxes[:3], alone.boxes, rtol=0, atol=1e-5)
    assert (open_.boxes[:3] - alone.boxes).abs().max() > 1e-4


def test_boxes_keep_their_gradient_but_not_through_the_layers(decoder, features):
    """The next layer starts from a detached box: no path leads to the head of the layer before."""
    decoder.requires_grad_(True)
    try:
        layers = decoder(questions(3), features)
        weight = [head.layers[-1].weight for head in decoder.box_heads]
        own = torch.autograd.grad(layers[1].boxes.sum(), weight, allow_unused=True)
    finally:
        decoder.requires_grad_(False)
    assert own[0] is None
    assert own[1].abs().sum() > 0
    assert own[2] is None


def test_a_reference_outside_the_image_is_allowed(decoder, features):
    """Proposals may leave [0, 1] (QUIRK-5)."""
    asked = replace(questions(2), boxes=torch.tensor([[-0.2, 0.5, 0.3, 0.3], [1.4, 1.2, 2.0, 0.0]]))
    for answer in decoder(asked, features):
        assert answer.boxes.isfinite().all()
        assert answer.embeddings.isfinite().all()


@pytest.mark.parametrize(("x", "wanted"), [
    pytest.param(0.5, 0.0, id="the middle"),
    pytest.param(0.0, -11.5129, id="the lower end is finite"),
    pytest.param(1.0, 11.5129, id="so is the upper"),
    pytest.param(-3.0, -11.5129, id="below is the lower end"),
    pytest.param(7.0, 11.5129, id="above is the upper end"),
])
def test_a_logit_is_finite_everywhere(x, wanted):
    assert inverse_sigmoid(torch.tensor(x)).item() == pytest.approx(wanted, abs=1e-3)


# Attention among queries


def pair(width=32, heads=4, place_values=False):
    mine = SelfAttention(width, heads, place_values)
    theirs = nn.MultiheadAttention(width, heads, batch_first=True)
    theirs.load_state_dict(mine.state_dict())
    return mine.eval(), theirs.eval()


@pytest.mark.parametrize("gradient", [
    pytest.param(True, id="training"), pytest.param(False, id="tracking"),
])  # fmt: skip
@pytest.mark.parametrize("place_values", [
    pytest.param(True, id="values of places"), pytest.param(False, id="values of content"),
])  # fmt: skip
@pytest.mark.parametrize("queries", [1, 5, 40])
def test_it_is_multi_head_attention(queries, place_values, gradient):
    mine, theirs = pair(place_values=place_values)
    content, position = torch.randn(2, queries, 32), torch.randn(2, queries, 32)
    placed = content + position
    with torch.set_grad_enabled(gradient):
        wanted = theirs(placed, placed, placed if place_values else content, need_weights=False)[0]
        torch.testing.assert_close(mine(content, position), wanted, rtol=1e-5, atol=1e-6)


def test_what_is_forbidden_is_not_looked_at():
    mine, theirs = pair()
    x = torch.randn(1, 6, 32)
    nowhere = torch.zeros_like(x)
    attention_mask = torch.zeros(6, 6, dtype=torch.bool)
    attention_mask[:4, 4:] = True
    wanted = theirs(x, x, x, attn_mask=attention_mask, need_weights=False)[0]
    torch.testing.assert_close(mine(x, nowhere, attention_mask), wanted, rtol=1e-5, atol=1e-6)
    changed = x.clone()
    changed[:, 4:] += 1
    before, after = (mine(given, nowhere, attention_mask) for given in (x, changed))
    torch.testing.assert_close(after[:, :4], before[:, :4])
    assert not torch.allclose(after[:, 4:], before[:, 4:])


# Sine encodings, against the formulas of SPEC 3.4 and 4.3 written as loops in double


CPU = torch.device("cpu")


def wave(angle, index, features):
    phase = angle / 10000 ** (2 * (index // 2) / features)
    return math.cos(phase) if index % 2 else math.sin(phase)


@pytest.mark.parametrize(("features", "turns"), [
    pytest.param(64, 1.0, id="boxes, published"),
    pytest.param(8, 16.0, id="more turns, fewer features"),
])
def test_coordinates_are_encoded_one_behind_the_other(features, turns):
    boxes = torch.tensor([[0.1, 0.9, 0.25, 0.5], [0.0, 1.0, -0.2, 1.3]])
    found = embed_coordinates(boxes, features, turns)
    wanted = [
        [wave(value * 2 * math.pi * turns, i, features) for value in row for i in range(features)]
        for row in boxes.double().tolist()
    ]
    torch.testing.assert_close(found, torch.tensor(wanted), rtol=0, atol=2e-5)


def test_a_score_fills_the_whole_width():
    scores = torch.tensor([[0.25], [1.0]])
    found = embed_coordinates(scores, 256)
    assert found.shape == (2, 256)
    torch.testing.assert_close(found[0, :2], torch.tensor([1.0, 0.0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0, 4)])
def test_no_coordinates_have_an_empty_encoding(shape):
    assert embed_coordinates(torch.zeros(shape), 16).shape == (*shape[:-1], 64)


def test_pixels_count_from_half_and_fill_a_turn():
    height, width, features = 3, 5, 8
    found = embed_grid(height, width, features, CPU)
    assert found.shape == (1, 2 * features, height, width)
    for i in range(height):
        for j in range(width):
            y = (i + 0.5) / (height + 1e-6) * 2 * math.pi
            x = (j + 0.5) / (width + 1e-6) * 2 * math.pi
            wanted = [wave(angle, k, features) for angle in (y, x) for k in range(features)]
            torch.testing.assert_close(found[0, :, i, j], torch.tensor(wanted), rtol=0, atol=1e-5)


def test_positions_are_those_of_the_released_code():
    golden = vectors("mod_transformer_memread")
    for level in range(4):
        wanted = tensor(golden[f"pos{level}"])
        found = embed_grid(*wanted.shape[-2:], 128, CPU)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


# The released code


@pytest.fixture(scope="module")
def released():
    golden = vectors("mod_transformer_memread")
    return golden, [tensor(golden[f"src{level}"]) for level in range(4)]


def ask(golden, maps, *, remembers):
    model = released_model()
    positions = level_positions([m.shape[-2:] for m in maps], model.level_embed)
    content, boxes = tensor(golden["query_embed"]), tensor(golden["ref_pts"])
    if remembers:
        bank, valid = tensor(golden["mem_bank"]), ~tensor(golden["mem_pad"])
        state = memory.empty(torch.zeros(11, 256), MemoryConfig())
        content = memory.read(replace(state, features=bank, valid=valid), content)
    with torch.no_grad():
        return model.decode(model.encoder(maps, positions), Queries(content, boxes))


def test_the_transformer_is_that_of_the_released_code(released):
    golden, maps = released
    layers = ask(golden, maps, remembers=True)
    for answer, hidden, boxes in zip(layers, golden["hs"], golden["inter_ref"], strict=True):
        torch.testing.assert_close(answer.embeddings, tensor(hidden[0]), rtol=0, atol=1e-5)
        torch.testing.assert_close(answer.boxes, tensor(boxes[0]), rtol=0, atol=1e-5)


def test_so_it_is_without_a_memory(released):
    golden, maps = released
    answer = ask(golden, maps, remembers=False)[-1]
    for mine, key in [(answer.embeddings, "hs_nomem"), (answer.boxes, "inter_ref_nomem")]:
        torch.testing.assert_close(mine, tensor(golden[key][0]), rtol=0, atol=1e-5)
