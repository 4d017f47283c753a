"""MOTR in training: which of its queries go on, its own start, a run that tracks afterwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.fakes import SMALL
from helpers.training_data import write_crowd, write_dance
from tfsasm.cli.train import Options, plan_of
from tfsasm.motrv2.config import ModelConfig, NetworkConfig, motr
from tfsasm.motrv2.deformable_detr import DeformableDETR, DetrConfig
from tfsasm.motrv2.family import build, load_model
from tfsasm.motrv2.transformer import Prediction, Queries
from tfsasm.motrv2.weights import save_model, to_published
from tfsasm.tracking.config import NO_ID
from tfsasm.tracking.load import load
from tfsasm.training.clip import Clip, ClipTracks, FrameDetections, clip_loss, next_tracks
from tfsasm.training.initialise import new_model
from tfsasm.training.losses import Matches, Targets
from tfsasm.training.mix import augment_of
from tfsasm.training.recipes import recipe_motr

SIZES = ModelConfig(
    kind="motr", backbone=SMALL.backbone, width=32, heads=4, feedforward=32, encoder_layers=1,
    decoder_layers=2, levels=3, learned_queries=12, track_attention=True,
)  # fmt: skip
NETWORK = NetworkConfig(SIZES, short_side=64, max_side=96)
CONFIG = replace(recipe_motr().clip, checkpointing=False, track_drop=0.0, false_tracks=0.0)

# Six queries: two tracks, one badly placed; one whose person is absent; three without identity
IDS = [70, 80, 90, NO_ID, NO_ID, NO_ID]
IOU = [0.9, 0.4, 0.8, 1.0, 1.0, 1.0]
BOXES = [[0.2, 0.2, 0.2, 0.2], [0.5, 0.5, 0.2, 0.2], [0.8, 0.8, 0.2, 0.2],
         [0.8, 0.75, 0.2, 0.2], [0.25, 0.2, 0.2, 0.2], [0.5, 0.1, 0.1, 0.1]]  # fmt: skip


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build(SIZES)


def kept(network, config, seed=0):
    """Rows that go on, and their identities: every query has its row as the last content."""
    content = torch.arange(6.0)[:, None].expand(6, 2 * SIZES.width)
    tracks = ClipTracks(
        torch.tensor(IDS), torch.ones(6), Queries(content, torch.rand(6, 4))
    )
    embeddings = torch.randn(6, SIZES.width)
    prediction = Prediction(torch.full((6, 1), 3.0), torch.tensor(BOXES), embeddings)
    target = torch.tensor([0, 1, -1, -1, -1, -1])
    matches = Matches(torch.tensor(IDS), target, torch.tensor(IOU))
    after = next_tracks(
        network, tracks, prediction, matches, config, torch.Generator().manual_seed(seed)
    )
    rows = [BOXES.index(pytest.approx(box)) for box in after.queries.boxes.tolist()]
    return rows, after.ids.tolist()


@pytest.mark.parametrize(("change", "rows", "ids"), [
    pytest.param({}, [0, 2], [70, 90], id="well placed tracks, and nothing else, however sure"),
    pytest.param({"track_drop": 1.0}, [], [], id="all are dropped"),
    pytest.param({"false_tracks": 1.0}, [0, 2, 3, 4], [70, 90, NO_ID, NO_ID],
                 id="beside each of them the nearest without identity"),
    pytest.param({"false_tracks": 1.0, "keep_iou": 0.0}, [0, 1, 2, 3, 4, 5],
                 [70, 80, 90, NO_ID, NO_ID, NO_ID], id="all without identity, if there are few"),
])  # fmt: skip
def test_which_queries_go_on(network, change, rows, ids):
    assert kept(network, replace(CONFIG, **change)) == (rows, ids)


def test_every_track_is_updated_whatever_its_score(network):
    config = replace(CONFIG, keep_iou=0.0)
    tracks = ClipTracks(torch.tensor([7]), torch.ones(1),
                        Queries(torch.zeros(1, 2 * SIZES.width), torch.zeros(1, 4)))  # fmt: skip
    unsure = Prediction(torch.full((1, 1), -9.0), torch.full((1, 4), 0.5),
                        torch.randn(1, SIZES.width))  # fmt: skip
    matches = Matches(torch.tensor([7]), torch.tensor([0]), torch.tensor([0.9]))
    after = next_tracks(network, tracks, unsure, matches, config)
    assert torch.equal(after.queries.boxes, unsure.boxes)
    assert after.queries.content.any(dim=0).all(), "both halves"


def clip(frames=2):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(frames, 3, 64, 96, generator=generator)
    targets = Targets(torch.tensor([[0.3, 0.4, 0.2, 0.5], [0.7, 0.5, 0.2, 0.6]]), torch.arange(2))
    none = FrameDetections(torch.zeros(0, 4), torch.zeros(0))
    return Clip(images, [targets] * frames, [none] * frames)


def test_what_a_frame_teaches_goes_back_to_where_the_queries_stand(network):
    """Only the second frame is judged: its tracks learn through both halves of the interaction."""
    network.zero_grad()
    _, parts = clip_loss(network, clip(), replace(CONFIG, keep_iou=-1.0))
    assert not any("ps" in name for name in parts), "no denoising queries"
    sum(value for name, value in parts.items() if name.startswith("frame_1")).backward()
    interaction = network.interaction
    for part in (interaction.linear_pos2, interaction.linear_feat2, network.reference,
                 network.layers[1].update_attn.out_proj):  # fmt: skip
        assert part.weight.grad is not None
    assert interaction.linear_pos2.weight.grad.abs().sum() > 0
    assert network.reference.weight.grad.abs().sum() > 0


def test_losses_fall_on_a_clip_that_is_seen_again_and_again():
    torch.manual_seed(0)
    network, made = build(SIZES), clip()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        total, _ = clip_loss(network, made, CONFIG)
        total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(total.item())
    assert min(losses[-3:]) < 0.8 * losses[0], losses


# A run


def test_it_is_trained_by_its_own_recipe():
    plan = plan_of(Options(output="run", network="motr"))
    assert plan.network == motr()
    assert plan.training == replace(recipe_motr(), augment=augment_of(motr()))
    assert plan.training.lengths == ((0.0, 2), (0.25, 3), (0.45, 4), (0.75, 5))
    assert plan.training.decay_from == 0.5


def test_a_run_needs_no_detections_and_its_network_tracks(tfsasm, tmp_path):
    dance, crowd = write_dance(tmp_path / "DanceTrack"), write_crowd(tmp_path / "CrowdHuman")
    for boxes in dance.rglob("det.txt"):
        boxes.unlink()
    (tmp_path / "motr.json").write_text(NETWORK.to_json())
    words = ["train", "--network", tmp_path / "motr.json", "--data", f"dancetrack:{dance}",
             "--data", f"crowdhuman:{crowd}", "--validate", f"dancetrack:{dance}",
             "--validate-sequences", 1, "--set", "lengths=0x2", "--workers", 0, "--batch", 1,
             "--device", "cpu", "--output", tmp_path / "run"]  # fmt: skip
    for steps in (1, 2):
        outcome = tfsasm(*words, "--steps", steps)
        assert outcome.code == 0, outcome.err
    assert "resumed at step 1" in outcome.out
    assert "2 videos, 16 frames, 32 boxes\n" in outcome.out, "nothing of detections"
    model, config = load_model(tmp_path / "run" / "model.safetensors")
    assert config == NETWORK
    tracker = load(tmp_path / "run" / "model.safetensors")
    assert tracker.network.preset == "motr"
    tracker.update([], np.zeros((64, 96, 3), np.uint8))
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
    outcome = tfsasm(*words, "--steps", 2, "--set", "denoising=0.05", "--output", tmp_path / "n")
    assert "denoising queries are MOTRv2's" in outcome.err


def test_it_goes_on_from_a_published_file_whole(network, tmp_path):
    path = tmp_path / "motr.pth"
    save_model(path, network, NETWORK)
    model, report = new_model(NETWORK, recipe_motr(), init=path)
    assert report == f"started from all of {path}"
    for name, tensor in network.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_it_starts_from_deformable_detr(tmp_path):
    torch.manual_seed(1)
    detr = DeformableDETR(DetrConfig(replace(SIZES, classes=91), refine=True, two_stage=False))
    torch.save({"model": to_published(detr.state_dict())}, tmp_path / "detr.pth")
    model, report = new_model(NETWORK, recipe_motr(), init=tmp_path / "detr.pth")
    assert torch.equal(model.learned, detr.learned)
    assert torch.equal(model.reference.weight, detr.reference.weight)
    assert torch.equal(model.class_heads[0].weight, detr.class_heads[0].weight[1:2])
    assert "dropped     0" in report
    assert "track_embed" in report
