"""CO-MOT: files by their names and shapes, sets of queries as one track, tracking without boxes."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from helpers.fakes import SMALL
from tfsasm.errors import InputError, WeightsError
from tfsasm.motrv2.config import ModelConfig, NetworkConfig
from tfsasm.motrv2.family import load_model
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.weights import save_model, to_published
from tfsasm.tracking.config import default, motrv2, paper, released
from tfsasm.tracking.load import load

SIZES = ModelConfig(
    backbone=SMALL.backbone, width=64, feedforward=32, encoder_layers=1, decoder_layers=2, levels=3,
    learned_queries=4,
)  # fmt: skip
FRAME = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
SETS, WIDTH = SIZES.learned_queries, SIZES.width


def content_offsets(rows):
    return torch.linspace(-0.1, 0.1, rows * WIDTH).reshape(rows, WIDTH)


def box_offsets(rows):
    return torch.linspace(-0.01, 0.01, rows * 4).reshape(rows, 4)


def published(rows=2 * SETS, **more):
    """A state dict as CO-MOT's: what MOTRv2 has, the attention's projection under another name."""
    torch.manual_seed(0)
    state = to_published(MOTRv2(SIZES).state_dict())
    state = {name.replace("in_proj_", "in_proj."): tensor for name, tensor in state.items()}
    del state["yolox_embed.weight"]
    state |= {"query_embed_offset.weight": content_offsets(rows),
              "position_offset.weight": box_offsets(rows)}  # fmt: skip
    return {name: tensor for name, tensor in (state | more).items() if tensor is not None}


def saved(path, state):
    torch.save({"model": state, "epoch": 1}, path)
    path.with_suffix(".json").write_text(NetworkConfig(SIZES, short_side=64).to_json())
    return path


@pytest.mark.parametrize("rows", [
    pytest.param(2 * SETS, id="two rows a set, those beside the learned query"),
    pytest.param(3 * SETS, id="three rows a set"),
    pytest.param(2, id="two rows for all sets"),
    pytest.param(3, id="three rows for all sets"),
])
def test_a_set_is_a_learned_query_and_what_stands_beside_it(tmp_path, rows):
    state = published(rows)
    model, config = load_model(saved(tmp_path / "comot.pth", state))
    assert (config.model.learned_queries, config.model.queries_per_track) == (3 * SETS, 3)
    for found, base, offsets in (
        (model.learned_content, state["query_embed.weight"], content_offsets(rows)),
        (model.learned_boxes, state["position.weight"], box_offsets(rows)),
    ):
        beside = 3 if rows % 3 == 0 else 2
        for one in range(SETS):
            first = 0 if rows in (2, 3) else one * beside
            moved = base[one] + offsets[first : first + beside]
            expected = moved if beside == 3 else torch.cat([base[one : one + 1], moved])
            torch.testing.assert_close(found[3 * one : 3 * one + 3], expected)


def test_every_other_tensor_is_taken_as_it_is(tmp_path):
    state = published()
    model, _ = load_model(saved(tmp_path / "comot.pth", state))
    loaded = to_published(model.state_dict())
    own = {"position_offset.weight", "query_embed_offset.weight"}
    same = {name.replace("in_proj.", "in_proj_"): tensor for name, tensor in state.items()
            if name not in own | {"position.weight", "query_embed.weight"}}  # fmt: skip
    assert set(loaded) - set(same) == {"position.weight", "query_embed.weight",
                                       "yolox_embed.weight"}  # fmt: skip
    assert all(torch.equal(loaded[name], tensor) for name, tensor in same.items())


@pytest.mark.parametrize(("change", "words"), [
    pytest.param({"extra": torch.zeros(1)}, "surplus: extra", id="something else"),
    pytest.param({"position_offset.weight": None}, "position.weight needs one table of offsets of "
                 "width 4, not query_embed_offset.weight", id="no offsets of boxes"),
    pytest.param({"position_offset.weight": torch.zeros(5, 4)},
                 "4 sets needs offsets of 2, 3, 8 or 12 rows", id="offsets of other sets"),
    pytest.param({"query_embed.weight": None}, "without a table query_embed", id="no content"),
    pytest.param({"bbox_embed.0.layers.0.bias": None, "transformer.decoder.bbox_embed.0.layers.0."
                  "bias": None}, "missing: bbox_embed.0.layers.0.bias", id="a head is missing"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(tmp_path, change, words):
    with pytest.raises(WeightsError, match=words):
        load_model(saved(tmp_path / "comot.pth", published(**change)))


def test_a_head_that_is_one_number_is_refused(tmp_path):
    path = saved(tmp_path / "comot.pth", published(**{"class_embed.0.bias": torch.tensor(0.0)}))
    path.with_suffix(".json").unlink()
    with pytest.raises(WeightsError, match="does not fit the network"):
        load_model(path)


def test_it_can_be_rewritten_as_ours_and_back(tmp_path):
    model, config = load_model(saved(tmp_path / "comot.pth", published()))
    for name in ("ours.safetensors", "ours.pth"):
        save_model(tmp_path / name, model, config)
        again, same = load_model(tmp_path / name)
        assert same == config
        assert torch.equal(again.learned_content, model.learned_content)
        assert load(tmp_path / name).config == motrv2()


# Tracking


@pytest.fixture(scope="module")
def sure(tmp_path_factory):
    """Every query sees a person, whatever the image; those of a set at places of their own."""
    state = published()
    for layer in range(2):
        state[f"class_embed.{layer}.weight"].zero_()
        state[f"class_embed.{layer}.bias"].fill_(2.0)
        state[f"bbox_embed.{layer}.layers.2.bias"].zero_()
    state["position.weight"] = torch.full((SETS, 4), 0.4)
    state["position_offset.weight"] = torch.full((2 * SETS, 4), 0.05)
    return saved(tmp_path_factory.mktemp("sure") / "sure.pth", state)


def test_a_set_is_one_track(sure):
    tracker = load(sure)
    assert tracker.config == motrv2()
    for frame in (1, 2, 3):
        tracks = tracker.update([], FRAME)
        # learned sets are new each frame, and this network does not see what is tracked
        assert sorted(tracks.tracker_id) == list(range(1, SETS * frame + 1))
    assert len(tracker.update(np.array([[10, 10, 50, 50, 0.9]]), FRAME)) == SETS * 4, "no boxes"


def test_each_query_of_a_set_goes_on_from_its_own_box(sure):
    tracker = load(sure)
    tracker.update([], FRAME)
    queries = tracker.state.tracks.queries
    assert queries.content.shape == (SETS, 3 * WIDTH)
    first, second, _ = queries.members.split(4, dim=1)
    assert not torch.allclose(first, second, atol=1e-3)
    torch.testing.assert_close(queries.boxes, first)


def test_decoder_and_interaction_see_single_queries(sure):
    network, model = load(sure).network, load(sure, exact=True).network.single.model
    features = network.encode([FRAME])[0]
    sets = network.queries(torch.zeros(0, 4), torch.zeros(0))
    queries = model.queries(torch.zeros(0, 4), torch.zeros(0))
    answer = network.decode(features, sets)
    with torch.inference_mode():
        last = model.decode(features, queries)[-1]
        content = model.interaction(queries.content, last.boxes, last.embeddings)
    torch.testing.assert_close(answer.members.reshape(-1, 4), last.boxes, atol=1e-5, rtol=0)
    torch.testing.assert_close(answer.embeddings.reshape(-1, WIDTH), last.embeddings, atol=1e-4,
                               rtol=0)  # fmt: skip
    found = network.interact(sets.content, answer.members, answer.embeddings)
    torch.testing.assert_close(found.reshape(-1, WIDTH), content, atol=1e-4, rtol=0)


def test_the_memory_holds_a_view_of_each_query(sure):
    method = released()
    tracker = load(sure, method)
    for _ in range(method.memory.max_gap + 2):
        tracker.update([], FRAME)
    kept = tracker.state.tracks.memory
    assert kept.features.shape[1:] == (method.memory.capacity, 3 * WIDTH)
    assert kept.valid.any()


@pytest.mark.parametrize(("method", "words"), [
    pytest.param(default(), "takes no detections; choose the preset motrv2", id="detections"),
    pytest.param({"motion.lead": "1"}, "motion.lead is for networks with one query", id="motion"),
])
def test_a_method_that_it_cannot_follow_is_refused(sure, method, words):
    if isinstance(method, dict):
        from tfsasm.settings import with_settings

        method = with_settings(paper(), method)
    with pytest.raises(InputError, match=words):
        load(sure, method)


def test_the_commands_need_no_detections(tfsasm, scene, sure, tmp_path):
    outcome = tfsasm("track", scene.folder, "--weights", sure, "--mot-output", tmp_path / "o.txt",
                     "--end", "2")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "2 frames, 8 identities" in outcome.out
    outcome = tfsasm("track", scene.folder, "--weights", sure, "--preset", "paper", "--end", "2",
                     "--mot-output", tmp_path / "paper.txt")  # fmt: skip
    assert outcome.code == 0, outcome.err
    outcome = tfsasm("track", scene.folder, "--weights", sure, "--detector", "yolox-nano",
                     "--mot-output", tmp_path / "p.txt")  # fmt: skip
    assert outcome.code == 2
    assert "finds objects itself; leave --detector and --detections out" in outcome.err


def test_a_data_set_is_evaluated_without_stored_boxes(tfsasm, sure, tmp_path):
    outcome = tfsasm("synth", "--output", tmp_path / "clips", "--sequences", "1", "--frames", "3")
    assert outcome.code == 0, outcome.err
    [boxes] = (tmp_path / "clips").rglob("det.txt")
    boxes.unlink()
    outcome = tfsasm("evaluate", "--root", tmp_path / "clips", "--weights", sure,
                     "--output", tmp_path / "results", "--quiet")  # fmt: skip
    assert outcome.code == 0, outcome.err
    scores = json.loads((tmp_path / "results" / "scores.json").read_text())
    assert scores["settings"]["method"] == asdict(motrv2())
    outcome = tfsasm("ablate", "--root", tmp_path / "clips", "--weights", sure, "--quiet",
                     "--grid", "miss_tolerance=20", "--output", tmp_path / "grid")  # fmt: skip
    assert outcome.code == 0, outcome.err
    rows = json.loads((tmp_path / "grid" / "ablation.json").read_text())["rows"]
    assert rows["lifecycle.miss_tolerance=20"]["combined"] == scores["combined"]
    outcome = tfsasm("evaluate", "--root", tmp_path / "clips", "--weights", sure,
                     "--output", tmp_path / "more", "--detector", "yolox-nano")  # fmt: skip
    assert outcome.code == 2
    assert "finds objects itself" in outcome.err


def test_every_way_to_run_it_tracks_the_same(tfsasm, sure):
    outcome = tfsasm("verify", "--weights", sure, "--frames", "2", "--variants",
                     "exact,plain,fast-fp32,fast-bf16")  # fmt: skip
    assert outcome.code == 0, outcome.out + outcome.err
    assert outcome.out.count("the same") == 4
