"""The network's four calls, its initial values, and the released network on a frame."""

import math
from dataclasses import replace

import pytest
import torch

from helpers.fakes import SMALL
from helpers.golden_data import released_model, tensor, vectors
from tfsasm.motrv2.config import ModelConfig
from tfsasm.motrv2.model import MOTRv2, denoising_mask
from tfsasm.motrv2.network import prepare
from tfsasm.motrv2.transformer import Prediction, Queries, embed_coordinates, embed_grid


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return MOTRv2(SMALL).eval().requires_grad_(False)


def found(count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 4, generator=generator)
    return boxes, torch.rand(count, generator=generator)


# Asking


def test_learned_queries_come_before_proposals(small):
    boxes, scores = found(2)
    asked = small.queries(boxes, scores)
    assert len(asked) == 5
    assert torch.equal(asked.boxes, torch.cat([small.learned_boxes, boxes]))
    assert torch.equal(asked.content[:3], small.learned_content)
    content = embed_coordinates(scores[:, None], 64) + small.proposal_content
    torch.testing.assert_close(asked.content[3:], content)


@pytest.mark.parametrize(("learned", "proposals"), [
    pytest.param(3, 0, id="no proposals"), pytest.param(0, 2, id="no learned queries"),
    pytest.param(0, 0, id="neither"),
])
@torch.no_grad()
def test_a_frame_may_have_nothing_to_ask(learned, proposals):
    model = MOTRv2(replace(SMALL, learned_queries=learned)).eval()
    asked = model.queries(*found(proposals))
    assert len(asked) == learned + proposals
    features = model.encode(torch.zeros(1, 3, 64, 64))
    for answer in model.decode(features, asked):
        assert len(answer) == learned + proposals
        assert answer.embeddings.shape[1] == SMALL.width


def test_denoising_queries_share_one_content(small):
    boxes = torch.rand(3, 4)
    asked = small.denoising_queries(boxes)
    assert torch.equal(asked.boxes, boxes)
    assert torch.equal(asked.content, small.denoising_content.repeat(3, 1))


def test_denoising_queries_see_and_are_not_seen():
    attention_mask = denoising_mask(2, 1)
    assert attention_mask.tolist() == [[False, False, True], [False, False, True], [False] * 3]
    assert denoising_mask(2, 0).shape == (2, 2)


# Encoding


@pytest.mark.parametrize(("levels", "shapes"), [
    pytest.param(3, [(9, 13), (5, 7), (3, 4)], id="three levels"),
    pytest.param(4, [(9, 13), (5, 7), (3, 4), (2, 2)], id="four: one more of stride 64"),
])
@torch.no_grad()
def test_levels_lie_one_behind_the_other(levels, shapes):
    model = MOTRv2(replace(SMALL, levels=levels)).eval()
    features = model.encode(torch.randn(2, 3, 65, 100))
    assert features.shapes == shapes
    assert features.tokens.shape == (2, sum(h * w for h, w in shapes), SMALL.width)


def test_images_of_a_batch_do_not_meet(small):
    images = torch.randn(3, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    together = small.encode(images)
    for index in range(3):
        alone = small.encode(images[index : index + 1])
        torch.testing.assert_close(together[index].tokens, alone.tokens, rtol=0, atol=1e-4)


def test_a_single_pixel_can_be_encoded(small):
    features = small.encode(torch.zeros(1, 3, 1, 1))
    assert features.shapes == [(1, 1)] * 3
    assert features.tokens.isfinite().all()


def test_levels_are_three_or_four():
    with pytest.raises(ValueError, match="levels must be 3 or 4, not 5"):
        MOTRv2(replace(SMALL, levels=5))


# Refreshing


def carried(count, seed=4):
    generator = torch.Generator().manual_seed(seed)
    stored = Queries(
        torch.randn(count, 64, generator=generator), torch.rand(count, 4, generator=generator)
    )
    answer = Prediction(
        torch.zeros(count, 1), torch.rand(count, 4, generator=generator),
        torch.randn(count, 64, generator=generator),
    )  # fmt: skip
    return stored, answer


def test_an_unseen_track_stays_frozen(small):
    stored, answer = carried(3)
    seen = torch.tensor([True, False, True])
    fresh = small.refresh(stored, answer, seen)
    assert torch.equal(fresh.boxes[seen], answer.boxes[seen])
    assert torch.equal(fresh.boxes[~seen], stored.boxes[~seen])
    assert torch.equal(fresh.content[~seen], stored.content[~seen])
    assert (fresh.content[seen] - stored.content[seen]).abs().min(1).values.sum() > 0


def test_a_frozen_track_is_still_looked_at(small):
    """It keeps attending, and is attended to (QUIRK-13)."""
    stored, answer = carried(3)
    seen = torch.tensor([True, False, True])
    beside = small.refresh(stored, answer, seen).content[seen]
    alone = small.refresh(stored[seen], answer[seen], torch.tensor([True, True])).content
    assert (beside - alone).abs().max() > 1e-4


def test_no_track_is_a_normal_case(small):
    stored, answer = carried(0)
    fresh = small.refresh(stored, answer, torch.zeros(0, dtype=torch.bool))
    assert (fresh.content.shape, fresh.boxes.shape) == ((0, 64), (0, 4))


def test_the_next_box_carries_no_gradient(small):
    stored, answer = carried(2)
    boxes = answer.boxes.clone().requires_grad_()
    embeddings = answer.embeddings.clone().requires_grad_()
    fresh = small.refresh(
        stored, Prediction(answer.logits, boxes, embeddings), torch.tensor([True, True])
    )
    assert not fresh.boxes.requires_grad
    assert fresh.content.requires_grad


# Sizes and settings


@pytest.mark.parametrize(("change", "shifted"), [
    pytest.param({"box_turns": 16.0}, True, id="box_turns: another encoding of boxes"),
    pytest.param({"place_values": True}, True, id="place_values: attention passes on places"),
    pytest.param({}, False, id="none"),
])
@torch.no_grad()
def test_departures_of_the_small_network_use_the_same_numbers(small, change, shifted):
    other = MOTRv2(replace(SMALL, **change)).eval()
    other.load_state_dict(small.state_dict())
    features = small.encode(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(6)))
    asked = small.queries(*found(3))
    one, two = (m.decode(features, asked)[-1].embeddings for m in (small, other))
    assert bool((one - two).abs().max() > 1e-3) == shifted
    stored, answer = carried(3)
    seen = torch.ones(3, dtype=torch.bool)
    one, two = (m.refresh(stored, answer, seen).content for m in (small, other))
    assert bool((one - two).abs().max() > 1e-3) == shifted


def test_initial_values_are_the_published_ones():
    """SPEC 4.8."""
    model = MOTRv2(replace(SMALL, decoder_layers=3, learned_queries=500))
    for head in model.decoder.class_heads:
        torch.testing.assert_close(head.bias, torch.tensor([-math.log(99)]))
        assert torch.equal(head.weight, model.decoder.class_heads[0].weight)
    for index, head in enumerate(model.decoder.box_heads):
        first, _, last = head.layers
        assert not last.weight.any()
        assert last.bias.tolist() == ([0, 0, -2, -2] if index == 0 else [0, 0, 0, 0])
        assert torch.equal(first.weight, model.decoder.box_heads[0].layers[0].weight)
    assert 0 <= model.learned_boxes.min() < 0.01
    assert 0.99 < model.learned_boxes.max() <= 1
    assert model.learned_content.std().item() == pytest.approx(1, abs=0.05)
    assert model.level_embed.std().item() == pytest.approx(1, abs=0.3)
    for projection in model.projections:
        assert not projection[0].bias.any()
    star = model.encoder.layers[0].self_attn.sampling_offsets
    assert not star.weight.any()
    assert star.bias.abs().max() == SMALL.points
    attention = model.interaction.self_attn
    assert not attention.in_proj_bias.any()
    limit = math.sqrt(6 / (4 * SMALL.width))  # xavier of the joint 3C x C matrix
    assert 0.9 * limit < attention.in_proj_weight.abs().max() <= limit


def test_heads_are_copies_and_not_the_same():
    model = MOTRv2(SMALL)
    first, second = model.decoder.class_heads[:2]
    assert first.weight.data_ptr() != second.weight.data_ptr()
    first, second = (head.layers[0].weight for head in model.decoder.box_heads[:2])
    assert first.data_ptr() != second.data_ptr()


def test_the_published_network_has_the_published_size():
    """SPEC 4.6: parameters without buffers and without the second names of the box heads."""
    with torch.device("meta"):
        model = MOTRv2(ModelConfig())
    assert sum(p.numel() for p in model.parameters()) == 41_875_718


# The released network


@torch.no_grad()
def test_query_interaction_is_that_of_the_released_code():
    golden = vectors("mod_qim")
    given = {key.partition("/")[2]: tensor(golden[key]) for key in golden if key.startswith("in/")}
    live = given["obj_idxes"] >= 0
    assert not live.all()
    given = {key: value[live] for key, value in given.items()}
    logits = given["scores"].logit()[:, None]
    fresh = released_model().refresh(
        Queries(given["query_pos"], given["ref_pts"]),
        Prediction(logits, given["pred_boxes"], given["output_embedding"]),
        given["scores"] > 0.5,
    )
    torch.testing.assert_close(fresh.content, tensor(golden["out/query_pos"]), rtol=0, atol=1e-5)
    assert torch.equal(fresh.boxes, tensor(golden["out/ref_pts"]))


@pytest.fixture(scope="module")
def first_frame():
    image = vectors("run_tol20_frame0")["frame0"][..., ::-1]
    return prepare(image, 256, 480), vectors("run_tol20")


@torch.no_grad()
def test_the_pyramid_of_a_frame_is_that_of_the_released_code(first_frame):
    image, golden = first_frame
    model = released_model()
    stages = model.backbone(image)
    found = {f"feat{level}": stage for level, stage in enumerate(stages)}
    for level, project in enumerate(model.projections):
        found[f"proj{level}"] = project(stages[min(level, 2)])
    for level, stage in enumerate(stages):
        found[f"pos{level}"] = embed_grid(*stage.shape[-2:], 128, stage.device)
    assert len(found) == 10
    for name, mine in found.items():
        wanted = tensor(golden[f"f000/net/{name}_sub"])
        tolerance = 5e-5 if name.startswith("feat") else 2e-5  # features are as large as 23
        seen = mine[:, ::8, ::4, ::4]
        torch.testing.assert_close(seen, wanted, rtol=0, atol=tolerance, msg=name)


@torch.no_grad()
def test_the_answers_of_a_frame_are_those_of_the_released_code(first_frame):
    image, golden = first_frame
    model = released_model()
    features = model.encode(image)
    wanted = tensor(golden["f000/net/memory_sub"])
    torch.testing.assert_close(features.tokens[:, ::29], wanted, rtol=0, atol=2e-5)
    proposals = tensor(golden["f000/proposals"])
    layers = model.decode(features, model.queries(proposals[:, :4], proposals[:, 4]))
    for index, answer in enumerate(layers):
        hidden, boxes = (tensor(golden[f"f000/net/{key}"][index, 0]) for key in ("hs", "inter_ref"))
        torch.testing.assert_close(answer.embeddings, hidden, rtol=0, atol=2e-5)
        torch.testing.assert_close(answer.boxes, boxes, rtol=0, atol=5e-6)
