"""MOTR: its network beside Deformable DETR and PyTorch's own attention; its files; tracking."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers.fakes import thin_resnet
from tfsasm.errors import InputError, WeightsError
from tfsasm.motrv2.config import ModelConfig, NetworkConfig
from tfsasm.motrv2.deformable_detr import DeformableDETR, DetrConfig, published_name
from tfsasm.motrv2.family import load_model
from tfsasm.motrv2.motr import MOTR
from tfsasm.motrv2.weights import save_model
from tfsasm.runtime.network import Queries
from tfsasm.tracking.config import default, motr
from tfsasm.tracking.load import load

PLAIN = ModelConfig(
    kind="motr", width=64, feedforward=32, encoder_layers=1, decoder_layers=2, learned_queries=300
)
SIZES = replace(PLAIN, track_attention=True)
FRAME = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)


def lively(network):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.01 if parameter.ndim > 2 else 0.1))
    return network.eval()


@pytest.fixture(scope="module", autouse=True)
def thin():
    with thin_resnet():
        yield


@pytest.fixture(scope="module", params=[SIZES, PLAIN], ids=["with track attention", "without"])
def network(request):
    return lively(MOTR(request.param))


def saved(path, network, **more):
    """As the authors saved it: heads twice, a norm that nothing uses, counters of batch norms."""
    state = {published_name(name): tensor for name, tensor in network.state_dict().items()}
    state |= {f"transformer.decoder.{name}": tensor for name, tensor in state.items()
              if name.startswith("bbox_embed.")}  # fmt: skip
    state |= {"track_embed.norm3.weight": torch.ones(64), "track_embed.norm3.bias": torch.zeros(64),
              "backbone.0.body.bn1.num_batches_tracked": torch.tensor(0)}  # fmt: skip
    torch.save({"model": state | more, "epoch": 1}, path)
    return path


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    return saved(tmp_path_factory.mktemp("motr") / "motr.pth", network)


def multihead(ours):
    """PyTorch's attention with the weights of ours."""
    theirs = nn.MultiheadAttention(64, ours.heads).eval()
    theirs.load_state_dict(ours.state_dict())
    return theirs


@torch.inference_mode()
def test_without_tracks_it_is_deformable_detr(network):
    """Which is tested beside that of transformers."""
    detr = DeformableDETR(DetrConfig(SIZES, refine=True, two_stage=False)).eval()
    detr.load_state_dict(network.state_dict(), strict=False)
    image = torch.randn(1, 3, 64, 96)
    logits, boxes = detr(image)
    last = network.decode(network.encode(image), network.queries(None, None))[-1]
    torch.testing.assert_close(last.logits, logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(last.boxes, boxes, rtol=0, atol=1e-6)


@torch.inference_mode()
def test_tracks_attend_to_one_another_before_all_attend_to_all():
    network = lively(MOTR(SIZES))
    layer = network.layers[0]
    features = network.encode(torch.randn(1, 3, 64, 96))
    content, position = torch.randn(2, 1, 303, 64)
    places = torch.rand(1, 303, 2)
    tracks, of_tracks = content[0, 300:, None], position[0, 300:, None]
    with_position = tracks + of_tracks
    attended, _ = multihead(layer.update_attn)(with_position, with_position, tracks)
    changed = content.clone()
    changed[0, 300:] = layer.norm4(tracks + attended)[:, 0]
    expected = super(type(layer), layer).forward(changed, position, places, features)
    actual = layer(content, position, places, features)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_both_halves_of_a_query_take_the_frame_in(network):
    part = network.interaction
    content, output = torch.randn(3, 128), torch.randn(3, 64)
    position, feature = content[:, None].chunk(2, dim=-1)
    embedding = output[:, None]
    key = position + embedding
    x = part.norm1(embedding + multihead(part.self_attn)(key, key, embedding)[0])
    x = part.norm2(x + part.linear2(F.relu(part.linear1(x))))
    expected = torch.cat([
        part.norm_pos(position + part.linear_pos2(F.relu(part.linear_pos1(x)))),
        part.norm_feat(feature + part.linear_feat2(F.relu(part.linear_feat1(x)))),
    ], dim=-1)[:, 0]  # fmt: skip
    torch.testing.assert_close(part(content, None, output), expected, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_only_the_centre_of_a_track_says_where_to_look(network):
    features = network.encode(torch.randn(1, 3, 64, 96))
    content = torch.randn(2, 128)
    boxes = torch.tensor([[0.2, 0.3, 0.1, 0.1], [0.6, 0.5, 0.2, 0.4]])
    one = network.decode(features, Queries(content, boxes))[-1].boxes
    other = network.decode(features, Queries(content, boxes * torch.tensor([1, 1, 2, 3])))[-1].boxes
    moved = network.decode(features, Queries(content, boxes + 0.1))[-1].boxes
    assert torch.equal(one, other)
    assert not torch.allclose(one, moved, atol=1e-3)


def test_a_published_file_is_recognised_by_its_names(network, file):
    tracker = load(file, short_side=64)
    assert tracker.config == motr()
    assert tracker.network.config == NetworkConfig(network.config, short_side=64)
    loaded = tracker.network.model.state_dict()
    for name, tensor in network.state_dict().items():
        if not name.startswith("backbone."):  # whose norms are folded
            assert torch.equal(loaded[name], tensor), name


@pytest.mark.parametrize(("more", "words"), [
    pytest.param({"memory_bank.save_proj.weight": torch.zeros(1)}, "with a memory bank",
                 id="a memory bank"),
    pytest.param({"extra": torch.zeros(1)}, "surplus: extra", id="something else"),
    pytest.param({"transformer.level_embed": torch.zeros(5, 64)}, "levels must be 3 or 4, not 5",
                 id="levels that there are not"),
])  # fmt: skip
def test_a_file_of_another_kind_is_refused(network, tmp_path, more, words):
    with pytest.raises(WeightsError, match=words):
        load(saved(tmp_path / "motr.pth", network, **more))


def test_what_leans_on_detections_is_refused(file):
    with pytest.raises(InputError, match=r"choose the preset motr$"):
        load(file, default())
    with pytest.raises(InputError, match="computes in fp32, not in bf16"):
        load(file, precision="bf16")


@pytest.fixture(scope="module")
def sure(tmp_path_factory):
    """Three learned queries that see a person whatever the image, and so does every track."""
    network = MOTR(replace(SIZES, decoder_layers=1, learned_queries=3))
    with torch.no_grad():
        network.reference.weight.zero_()  # in the middle
        network.class_heads[0].weight.zero_()
        network.class_heads[0].bias.fill_(2.0)
        network.box_heads[0].reset(size_bias=-1.0)
    return saved(tmp_path_factory.mktemp("sure") / "sure.pth", network)


def test_ways_to_run_it_are_compared(sure, tfsasm, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    model, config = load_model(sure)
    weights = tmp_path / "small.safetensors"
    save_model(weights, model, replace(config, short_side=64, max_side=96))
    outcome = tfsasm("verify", "--weights", weights, "--frames", 1, "--variants",
                     "exact,plain,fast-fp32")  # fmt: skip
    assert outcome.code == 0
    assert outcome.out.count("agrees") == 2
    assert "a MOTR is run in plain, exact, onnx, openvino, not" in outcome.out


def test_it_tracks_without_detections(sure):
    tracker = load(sure, short_side=64)
    for frame in (1, 2, 3):
        tracks = tracker.update([], FRAME)
        # learned queries are new each frame, and this network does not see what is tracked
        assert sorted(tracks.tracker_id) == list(range(1, 3 * frame + 1))
    assert tracks.xyxy.min() > 0
    assert len(tracker.update(np.array([[10, 10, 50, 50, 0.9]]), FRAME)) == 12, "boxes are ignored"


def test_the_command_needs_no_detector(tfsasm, scene, sure, tmp_path):
    arguments = ["track", scene.folder, "--weights", sure, "--preset", "motr", "--short-side", "64",
                 "--mot-output", tmp_path / "o.txt", "--end", "2"]  # fmt: skip
    outcome = tfsasm(*arguments)
    assert outcome.code == 0, outcome.err
    assert "2 frames, 6 identities" in outcome.out
    outcome = tfsasm(*arguments, "--detector", "yolox-nano", "--overwrite")
    assert outcome.code == 2
    assert "finds objects itself; leave --detector and --detections out" in outcome.err
