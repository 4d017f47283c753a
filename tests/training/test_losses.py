"""Matching and losses of one frame, by hand and against torchvision."""

import math
from itertools import permutations

import pytest
import torch
from torchvision import ops

from tfsasm.boxes import cxcywh_to_xyxy
from tfsasm.motrv2.transformer import Prediction
from tfsasm.tracking.config import NO_ID
from tfsasm.training.losses import (
    NO_TARGET,
    LossConfig,
    Matches,
    Targets,
    focal_loss,
    frame_loss,
    match_frame,
    matching_cost,
    total_loss,
)

CONFIG = LossConfig()
LEFT, MIDDLE, RIGHT = [0.2, 0.5, 0.1, 0.2], [0.5, 0.5, 0.1, 0.2], [0.8, 0.5, 0.1, 0.2]


def targets(*rows):
    """Targets from `(identity, box)`."""
    return Targets(
        torch.tensor([box for _, box in rows]).reshape(-1, 4),
        torch.tensor([identity for identity, _ in rows], dtype=torch.int64),
    )


def prediction(boxes, scores=None):
    n = len(boxes)
    scores = torch.full((n,), 0.5) if scores is None else torch.tensor(scores)
    return Prediction(
        scores.logit().reshape(n, 1), torch.tensor(boxes).reshape(n, 4), torch.zeros(n, 2)
    )


def match(ids, boxes, wanted, scores=None, iou=None):
    ids = torch.tensor(ids, dtype=torch.int64)
    iou = torch.ones(len(ids)) if iou is None else torch.tensor(iou)
    return match_frame(ids, iou, prediction(boxes, scores), wanted, CONFIG)


PEOPLE = targets((70, LEFT), (80, RIGHT))


@pytest.mark.parametrize(("ids", "boxes", "new_ids", "target"), [
    pytest.param([NO_ID] * 2, [RIGHT, LEFT], [80, 70], [1, 0], id="the nearest is assigned"),
    pytest.param([NO_ID] * 3, [RIGHT, MIDDLE, LEFT], [80, NO_ID, 70], [1, NO_TARGET, 0],
                 id="one query too many"),
    pytest.param([NO_ID], [MIDDLE], [70], [0], id="one query too few"),
    pytest.param([70, NO_ID], [RIGHT, LEFT], [70, 80], [0, 1],
                 id="a track keeps its person wherever it is"),
    pytest.param([90, NO_ID, NO_ID], [LEFT, LEFT, RIGHT], [90, 70, 80], [NO_TARGET, 0, 1],
                 id="a track whose person is absent keeps its identity and takes no target"),
    pytest.param([80, 70], [LEFT, RIGHT], [80, 70], [1, 0], id="no query is free"),
])  # fmt: skip
def test_which_target_each_query_gets(ids, boxes, new_ids, target):
    matches = match(ids, boxes, PEOPLE)
    assert matches.ids.tolist() == new_ids
    assert matches.target.tolist() == target


def test_of_two_equal_boxes_the_more_confident_is_assigned():
    matches = match([NO_ID] * 2, [LEFT, LEFT], targets((70, LEFT)), scores=[0.3, 0.8])
    assert matches.ids.tolist() == [NO_ID, 70]


def test_overlap_is_kept_where_there_is_nothing_to_compare():
    """A track whose person is absent keeps a stale value (QUIRK-35)."""
    half = [0.2, 0.5, 0.05, 0.2]
    matches = match([70, 90, NO_ID], [half, LEFT, MIDDLE], targets((70, LEFT)), iou=[1, 0.7, 0.4])
    torch.testing.assert_close(matches.iou, torch.tensor([0.5, 0.7, 0.4]))


@pytest.mark.parametrize(("ids", "wanted"), [
    pytest.param([NO_ID, 70], targets(), id="no targets"),
    pytest.param([], PEOPLE, id="no queries"),
    pytest.param([], targets(), id="neither"),
])
def test_nothing_to_match_is_a_normal_case(ids, wanted):
    matches = match(ids, [LEFT, RIGHT][: len(ids)], wanted)
    assert matches.ids.tolist() == ids
    assert matches.target.tolist() == [NO_TARGET] * len(ids)
    losses = frame_loss(
        [prediction([LEFT, RIGHT][: len(ids)])] * 3, torch.tensor(ids).long(), matches, wanted,
        CONFIG,
    )
    assert all(value.isfinite() for value in losses.values())
    assert losses["bbox"] == losses["giou"] == losses["aux1_bbox"] == 0


def test_matching_leaves_its_inputs_alone():
    ids, iou = torch.tensor([NO_ID, 70]), torch.tensor([1.0, 0.3])
    match_frame(ids, iou, prediction([RIGHT, LEFT]), PEOPLE, CONFIG)
    assert ids.tolist() == [NO_ID, 70]
    torch.testing.assert_close(iou, torch.tensor([1.0, 0.3]))


def test_the_cost_by_hand():
    """SPEC 9.5: a score of a half, boxes side by side, 0.1 apart."""
    cost = matching_cost(prediction([LEFT]), targets((70, [0.3, 0.5, 0.1, 0.2])), CONFIG)
    focal = 0.25 * 0.25 * math.log(2) - 0.75 * 0.25 * math.log(2)
    torch.testing.assert_close(cost, torch.tensor([[5 * 0.1 + 2 * focal - 2 * 0.0]]))


@pytest.mark.parametrize("seed", range(5))
def test_the_matching_is_the_cheapest_one(seed):
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(5, 4, generator=generator) * 0.3 + 0.2
    given = prediction(boxes.tolist(), torch.rand(5, generator=generator).tolist())
    wanted = targets(*enumerate((torch.rand(3, 4, generator=generator) * 0.3 + 0.2).tolist()))
    matches = match_frame(torch.full((5,), NO_ID), torch.ones(5), given, wanted, CONFIG)
    cost = matching_cost(given, wanted, CONFIG)
    taken = sum(cost[q, g] for q, g in enumerate(matches.target.tolist()) if g != NO_TARGET)
    cheapest = min(
        sum(cost[q, g] for g, q in enumerate(queries)) for queries in permutations(range(5), 3)
    )
    torch.testing.assert_close(taken, cheapest)


def test_the_focal_loss_is_the_published_one():
    logits, wanted = torch.randn(20, 1), torch.randint(0, 2, (20, 1)).float()
    for alpha, gamma in ((0.25, 2.0), (0.4, 1.0)):
        theirs = ops.sigmoid_focal_loss(logits, wanted, alpha, gamma, reduction="sum")
        mine = focal_loss(logits, wanted, LossConfig(focal_alpha=alpha, focal_gamma=gamma))
        torch.testing.assert_close(mine, theirs)


def test_box_losses_are_sums_over_the_pairs():
    boxes = [[0.25, 0.5, 0.1, 0.2], RIGHT, MIDDLE]
    matches = match([NO_ID] * 3, boxes, PEOPLE)
    losses = frame_loss([prediction(boxes)], torch.full((3,), NO_ID), matches, PEOPLE, CONFIG)
    assert set(losses) == {"ce", "bbox", "giou"}
    torch.testing.assert_close(losses["bbox"], torch.tensor(0.05))
    near = cxcywh_to_xyxy(torch.tensor([boxes[0], LEFT]))
    giou = ops.generalized_box_iou(near[:1], near[1:])[0, 0]
    torch.testing.assert_close(losses["giou"], 1 - giou)


def test_a_query_without_a_target_is_background_even_with_an_identity():
    wanted = torch.tensor([[1.0], [0.0], [0.0]])
    given = prediction([LEFT, RIGHT, MIDDLE], [0.9, 0.6, 0.2])
    ids = torch.tensor([70, 90, NO_ID])
    matches = match_frame(ids, torch.ones(3), given, targets((70, LEFT)), CONFIG)
    losses = frame_loss([given], ids, matches, targets((70, LEFT)), CONFIG)
    torch.testing.assert_close(losses["ce"], focal_loss(given.logits, wanted, CONFIG))


def test_inner_layers_match_for_themselves_among_the_same_queries():
    """The last layer takes the second query for the person, the first layer the first one."""
    first, last = prediction([LEFT, RIGHT]), prediction([MIDDLE, LEFT])
    wanted = targets((70, LEFT))
    ids = torch.tensor([NO_ID, NO_ID])
    matches = match_frame(ids, torch.ones(2), last, wanted, CONFIG)
    assert matches.target.tolist() == [NO_TARGET, 0]
    losses = frame_loss([first, last], ids, matches, wanted, CONFIG)
    torch.testing.assert_close(losses["aux0_bbox"], torch.tensor(0.0))

    tracked = torch.tensor([NO_ID, 70])  # an inherited identity holds in every layer
    matches = match_frame(tracked, torch.ones(2), last, wanted, CONFIG)
    losses = frame_loss([first, last], tracked, matches, wanted, CONFIG)
    torch.testing.assert_close(losses["aux0_bbox"], torch.tensor(0.6))


def test_denoising_layers_are_named_last_one_first():
    wanted = targets((70, LEFT))
    layers = [prediction([[0.2 + shift, 0.5, 0.1, 0.2]]) for shift in (0.3, 0.2, 0.1)]
    empty = Matches(torch.zeros(0).long(), torch.zeros(0).long(), torch.zeros(0))
    losses = frame_loss(
        [prediction([])] * 3, torch.zeros(0).long(), empty, wanted, CONFIG, denoised=layers
    )
    found = {name: round(value.item(), 4) for name, value in losses.items() if "ps" in name}
    assert {k: v for k, v in found.items() if "bbox" in k} == {
        "ps0_bbox": 0.1, "ps1_bbox": 0.3, "ps2_bbox": 0.2}
    assert "ps0_ce" not in losses  # QUIRK-36


def test_only_the_pairs_receive_a_box_gradient():
    given = prediction([LEFT, MIDDLE, RIGHT])
    boxes = given.boxes.clone().requires_grad_()
    given = Prediction(given.logits, boxes, given.embeddings)
    wanted = targets((70, [0.21, 0.52, 0.11, 0.2]))
    ids = torch.full((3,), NO_ID)
    losses = frame_loss([given], ids, match_frame(ids, torch.ones(3), given, wanted, CONFIG),
                        wanted, CONFIG)  # fmt: skip
    (losses["bbox"] + losses["giou"]).backward()
    assert boxes.grad[0].abs().sum() > 0
    assert boxes.grad[1:].abs().sum() == 0


@pytest.mark.parametrize(("name", "weight"), [("ce", 2.0), ("aux4_bbox", 5.0), ("ps0_giou", 2.0)])
def test_weights_go_by_the_kind_of_loss(name, weight):
    total, _ = total_loss([{name: torch.tensor(3.0)}], 1, CONFIG)
    assert total == 3 * weight


@pytest.mark.parametrize(("count", "normaliser"), [
    pytest.param(4, 4, id="by the number of targets"),
    pytest.param(0, 1, id="at least one"),
])
def test_the_total_is_weighted_and_normalised_once(count, normaliser):
    one, three, seven = torch.tensor([1.0, 3.0, 7.0])
    frames = [{"ce": one, "aux0_bbox": three}, {"ps1_giou": seven}]
    total, parts = total_loss(frames, count, CONFIG)
    assert {name: value.item() * normaliser for name, value in parts.items()} == {
        "frame_0_loss_ce": 1, "frame_0_aux0_loss_bbox": 3, "frame_1_ps1_loss_giou": 7}
    assert total.item() * normaliser == pytest.approx(2 * 1 + 5 * 3 + 2 * 7)


# Several classes


def two_classes(*scores):
    """Queries that all claim the middle, with a score for either class."""
    logits = torch.tensor(scores).logit()
    return Prediction(logits, torch.tensor([MIDDLE] * len(scores)), torch.zeros(len(scores), 2))


def test_a_target_is_assigned_by_its_own_class():
    """Of two boxes that are alike: the second query is surest of all, but of the other class."""
    wanted = Targets(torch.tensor([MIDDLE]), torch.tensor([70]), torch.tensor([1]))
    queries = two_classes([0.1, 0.6], [0.9, 0.1])
    ids = torch.tensor([NO_ID, NO_ID])
    assert match_frame(ids, torch.ones(2), queries, wanted, CONFIG).ids.tolist() == [70, NO_ID]


def test_only_the_class_of_the_target_is_wanted():
    wanted = Targets(torch.tensor([MIDDLE]), torch.tensor([70]), torch.tensor([1]))
    queries = two_classes([0.3, 0.6])
    queries.logits.requires_grad_()
    ids = torch.tensor([NO_ID])
    matches = match_frame(ids, torch.ones(1), queries, wanted, CONFIG)
    frame_loss([queries], ids, matches, wanted, CONFIG)["ce"].backward()
    first, second = queries.logits.grad[0].tolist()
    assert first > 0 > second  # down with the other class, up with this one
