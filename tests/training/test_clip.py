"""A training clip: the released matcher's numbers, and what goes on from frame to frame."""

from dataclasses import replace

import pytest
import torch

from helpers.fakes import SMALL
from helpers.golden_data import released_model, tensor, vectors
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.transformer import Prediction, Queries
from tfsasm.tracking.config import NO_ID
from tfsasm.training.clip import (
    Clip,
    ClipConfig,
    ClipTracks,
    FrameDetections,
    clip_loss,
    next_tracks,
    noise_boxes,
)
from tfsasm.training.losses import NO_TARGET, Matches, Targets, frame_loss, match_frame, total_loss

CONFIG = ClipConfig()


# The released code


def released_frame(golden, frame):
    keys = [key for key in golden if key.startswith(f"{frame}/")]
    return {key.partition("/")[2]: tensor(golden[key]) for key in keys}


@torch.no_grad()
def test_four_frames_are_matched_and_judged_as_by_the_released_code():
    """All 120 losses, and the state that goes on to the next frame."""
    golden, model = vectors("mod_clip_matcher"), released_model()
    carried, losses, count = None, [], 0
    for number in range(4):
        frame = released_frame(golden, number)
        wanted = Targets(frame["gt_boxes"], frame["gt_ids"].long())
        tracks = ClipTracks.unassigned(Queries(frame["new_query_pos"], frame["new_ref"]))
        tracks = tracks if carried is None else ClipTracks.cat([tracks, carried])
        assert torch.equal(tracks.ids, frame["pre_obj"])
        layers = [
            Prediction(logits, boxes, frame["hs"])
            for logits, boxes in zip(frame["logits"], frame["boxes"], strict=True)
        ]
        normal, denoised = [p[: len(tracks)] for p in layers], [p[len(tracks) :] for p in layers]
        matches = match_frame(tracks.ids, tracks.iou, normal[-1], wanted, CONFIG.loss)
        assert torch.equal(matches.ids, frame["obj"])
        assert torch.equal(matches.target, frame["matched"])
        torch.testing.assert_close(matches.iou, frame["iou"], rtol=0, atol=1e-6)
        losses.append(
            frame_loss(normal, tracks.ids, matches, wanted, CONFIG.loss, denoised=denoised)
        )
        count += len(wanted)
        carried = next_tracks(model, tracks, normal[-1], matches, CONFIG)
        if number < 3:
            assert torch.equal(carried.ids, frame["next_obj"])
            for mine, theirs in [(carried.queries.content, "next_query_pos"),
                                 (carried.queries.boxes, "next_ref")]:  # fmt: skip
                torch.testing.assert_close(mine, frame[theirs], rtol=0, atol=1e-6)

    assert count == golden["num_samples"]
    total, parts = total_loss(losses, count, CONFIG.loss)
    released = dict(zip(golden["loss_names"].tolist(), golden["loss_values"], strict=True))
    assert len(released) == 120
    assert set(parts) == set(released)
    for name, value in released.items():
        assert float(parts[name]) == pytest.approx(float(value), rel=0, abs=1e-6), name
    assert float(total) == pytest.approx(float(golden["total"]), rel=1e-6)


# What goes on

IDS = [70, 80, 90, NO_ID, NO_ID]
SCORES = [0.9, 0.2, 0.9, 0.6, 0.3]
IOU = [0.9, 0.8, 0.4, 1.0, 1.0]
TARGET = [0, 1, NO_TARGET, NO_TARGET, NO_TARGET]


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return MOTRv2(SMALL)


def next_of(model, config, seed=0):
    n = len(IDS)
    tracks = ClipTracks(
        torch.tensor(IDS), torch.ones(n), Queries(torch.randn(n, SMALL.width), torch.rand(n, 4))
    )
    prediction = Prediction(
        torch.tensor(SCORES).logit()[:, None], torch.rand(n, 4), torch.randn(n, SMALL.width)
    )
    matches = Matches(torch.tensor(IDS), torch.tensor(TARGET), torch.tensor(IOU))
    generator = torch.Generator().manual_seed(seed)
    carried = next_tracks(model, tracks, prediction, matches, config, generator)
    came_from = [tracks.queries.boxes.tolist(), prediction.boxes.tolist()]
    rows, refreshed = [], []
    for box in carried.queries.boxes.tolist():
        source = next(k for k, boxes in enumerate(came_from) if box in boxes)
        rows.append(came_from[source].index(box))
        refreshed.append(bool(source))
    return rows, carried.ids.tolist(), refreshed


@pytest.mark.parametrize(("change", "rows", "ids", "refreshed"), [
    pytest.param(
        {}, [0, 1, 2, 3], [70, 80, NO_ID, NO_ID], [True, False, True, True],
        id="published: identities and sure strays; a bad box is free again"),
    pytest.param(
        {"keep_score": 0.7}, [0, 1, 2], [70, 80, NO_ID], [True, False, True],
        id="keep_score: fewer strays"),
    pytest.param(
        {"keep_iou": 0.85}, [0, 1, 2, 3], [70, NO_ID, NO_ID, NO_ID],
        [True, False, True, True], id="keep_iou: identities are lost sooner"),
    pytest.param(
        {"refresh_score": 0.7}, [0, 1, 2, 3], [70, 80, NO_ID, NO_ID],
        [True, False, True, False], id="refresh_score: only surer ones are refreshed"),
    pytest.param(
        {"refresh_matched": True}, [0, 1, 2, 3], [70, 80, NO_ID, NO_ID],
        [True, True, True, True], id="refresh_matched: an unsure track that has its target too"),
    pytest.param(
        {"track_drop": 1.0}, [3], [NO_ID], [True], id="track_drop: tracks are lost on purpose"),
    pytest.param(
        {"keep_score": 0.7, "false_tracks": 1.0}, [0, 1, 2, 3, 4],
        [70, 80, NO_ID, NO_ID, NO_ID], [True, False, True, True, False],
        id="false_tracks: the surest strays go along, as many as tracks were drawn"),
])  # fmt: skip
def test_which_tracks_are_kept_for_the_next_frame(small, change, rows, ids, refreshed):
    assert next_of(small, replace(CONFIG, **change)) == (rows, ids, refreshed)


def test_a_share_of_the_tracks_is_dropped(small):
    kept = [len(next_of(small, replace(CONFIG, track_drop=0.5), seed)[0]) - 1 for seed in range(40)]
    assert 0.35 < sum(kept) / (3 * len(kept)) < 0.65


def test_new_queries_have_no_identity():
    new = ClipTracks.unassigned(Queries(torch.zeros(2, 4), torch.zeros(2, 4)))
    assert new.ids.tolist() == [NO_ID] * 2
    assert new.iou.tolist() == [1, 1]  # SPEC 5.3


# Denoising


def test_noise_is_a_share_of_the_box():
    boxes = torch.tensor([[0.5, 0.4, 0.2, 0.1]]).repeat(500, 1)
    noised = noise_boxes(boxes, 0.05, torch.Generator().manual_seed(1))
    moved = (noised - boxes) / boxes[:, [2, 3, 2, 3]]
    assert moved.abs().max() <= 0.05 + 1e-6
    assert (moved.amax(0) > 0.045).all()
    assert (moved.amin(0) < -0.045).all()
    assert torch.equal(noise_boxes(boxes, 0.0, None), boxes)
    assert noise_boxes(boxes[:0], 0.05, None).shape == (0, 4)


# A clip through a small network


def clip(*people_per_frame):
    """Frames of noise with so many people, seen by a detector that misses the first of them."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(len(people_per_frame), 3, 64, 96, generator=generator)
    targets, found = [], []
    for count in people_per_frame:
        boxes = torch.rand(count, 4, generator=generator) * 0.3 + 0.2
        targets.append(Targets(boxes, torch.arange(count)))
        found.append(FrameDetections(boxes[1:], torch.full((max(count - 1, 0),), 0.9)))
    return Clip(images, targets, found)


def loss_of(model, made, config=CONFIG, seed=5):
    return clip_loss(model, made, config, torch.Generator().manual_seed(seed))


def test_a_clip_has_a_loss_for_every_frame_and_layer(small):
    total, parts = loss_of(small, clip(2, 3))
    kinds = {"loss_ce", "loss_bbox", "loss_giou"}
    layers = {"", "aux0_"}
    denoising = {f"ps{k}_{kind}" for k in (0, 1) for kind in kinds - {"loss_ce"}}
    wanted = {layer + kind for layer in layers for kind in kinds} | denoising
    assert set(parts) == {f"frame_{f}_{name}" for f in (0, 1) for name in wanted}
    assert total.isfinite()


def test_the_same_seed_gives_the_same_loss(small):
    made = clip(2, 2)
    one, other, third = (loss_of(small, made, seed=seed)[0] for seed in (5, 5, 6))
    assert one == other
    assert one != third


def test_denoising_queries_are_masked_from_the_others(small):
    """With it and without it, the losses of the normal queries are the same."""
    made = clip(2, 3)
    with_it, without = (
        loss_of(small, made, replace(CONFIG, denoising=share))[1] for share in (0.05, 0.0)
    )
    assert not any("ps" in name for name in without)
    for name, value in without.items():
        torch.testing.assert_close(value, with_it[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("people", [
    pytest.param((0, 0, 0), id="no person in any frame"),
    pytest.param((0, 2, 0), id="somebody in the middle"),
    pytest.param((2, 0, 2), id="no person in the middle"),
    pytest.param((3,), id="a single frame"),
])
def test_an_empty_frame_is_a_normal_case(small, people):
    small.zero_grad()
    total, _ = loss_of(small, clip(*people))
    assert total.isfinite()
    total.backward()
    gradients = [p.grad for p in small.parameters() if p.grad is not None]
    assert gradients
    assert all(g.isfinite().all() for g in gradients)


def test_gradients_go_back_through_time(small):
    """Only the second frame is judged, and yet the interaction after the first one learns."""
    small.zero_grad()
    config = replace(CONFIG, refresh_matched=True, keep_iou=-1.0)
    _, parts = loss_of(small, clip(3, 3), config)
    sum(value for name, value in parts.items() if name.startswith("frame_1")).backward()
    learned = small.interaction.linear_feat2.weight.grad
    assert learned is not None
    assert learned.abs().sum() > 0


def test_a_clip_can_go_to_another_device():
    moved = clip(2, 0).to(torch.device("meta"))
    assert moved.images.device.type == "meta"
    assert moved.targets[0].boxes.device.type == moved.detections[0].scores.device.type == "meta"
