"""A network without PyTorch: its graphs, and whole videos through them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import supervision as sv
import torch

from helpers.golden_data import released_model, synthetic_sequence, vectors
from tfsasm import InputError, load
from tfsasm import runtime as runtime_module
from tfsasm.cli.export import largest_difference
from tfsasm.motrv2.config import full
from tfsasm.motrv2.export import export
from tfsasm.motrv2.transformer import Features, Queries
from tfsasm.motrv2.weights import load_model
from tfsasm.runtime import exported as runtime
from tfsasm.runtime import tracker as tracker_module
from tfsasm.runtime.manifest import MANIFEST
from tfsasm.tracking.config import PRESETS, released
from tfsasm.tracking.load import load_exported

RUNTIMES = ["onnx", "openvino"]


@pytest.fixture(params=RUNTIMES)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def model(exported):
    return load_model(exported.weights)[0]


def has(kind):
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}[kind])
    return kind


# The files


def test_the_command_tells_what_it_wrote_and_how_near_it_is(exported):
    lines = exported.said.read_text().splitlines()
    files = ("decode.onnx", "encode.onnx", "interact.onnx", MANIFEST)
    assert [Path(line.removeprefix("wrote ")).name for line in lines[:-1]] == [*files]
    assert sorted(path.name for path in exported.folder.iterdir()) == sorted(files)
    assert lines[-1].startswith("compared with PyTorch on noise: boxes and scores within ")
    assert float(lines[-1].rpartition(" ")[2]) < 1e-5


@pytest.mark.parametrize(("graph", "inputs", "samples"), [
    pytest.param("encode", {"image": [None, None, 3]}, 3, id="encode"),
    pytest.param(
        "decode", {"content": [None, 64], "boxes": [None, 4]} | {
            f"level_{n}": [1, None, None, 64] for n in range(3)
        }, 6, id="decode"),
    pytest.param(
        "interact", {"content": [None, 64], "boxes": [None, 4], "embeddings": [None, 64]}, 0,
        id="interact"),
])  # fmt: skip
def test_graphs_are_plain_onnx_of_free_sizes(exported, graph, inputs, samples):
    """Three levels are sampled once per layer, by the operator that runtimes know."""
    made = onnx.load(exported.folder / f"{graph}.onnx")
    onnx.checker.check_model(made, full_check=True)
    assert [(entry.domain, entry.version) for entry in made.opset_import] == [("", 18)]
    found = {
        entry.name: [side.dim_value or None for side in entry.type.tensor_type.shape.dim]
        for entry in made.graph.input
    }
    assert found == inputs
    assert sum(node.op_type == "GridSample" for node in made.graph.node) == samples


def test_the_record_has_the_scale_and_what_was_learned(exported, model):
    told = json.loads((exported.folder / MANIFEST).read_text())
    assert (told["short_side"], told["max_side"], told["precision"]) == (64, 112, "float32")
    assert told["network"]["model"]["width"] == 64
    network = runtime.ExportedNetwork(exported.folder)
    for name in ("learned_content", "learned_boxes", "proposal_content"):
        assert np.array_equal(getattr(network.manifest, name), getattr(model, name).numpy())


# The parts


@pytest.mark.parametrize(("height", "width", "short_side"), [
    pytest.param(96, 128, 64, id="the usual size"),
    pytest.param(301, 203, 101, id="odd and upright"),
    pytest.param(64, 64, 32, id="one cell at the coarsest level"),
    pytest.param(1, 1, 1, id="a single pixel"),
])  # fmt: skip
def test_an_image_of_any_size_is_encoded_as_by_pytorch(
    exported, model, kind, height, width, short_side
):
    network = runtime.ExportedNetwork(
        exported.folder, has(kind), short_side=short_side, max_side=200
    )
    tracker = load(exported.weights, short_side=short_side, max_side=200)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    wanted = tracker._encode(image)
    got = np.concatenate([level.reshape(1, -1, 64) for level in network.encode(image)], axis=1)
    assert got.shape == wanted.tokens.shape
    np.testing.assert_allclose(got, wanted.tokens.numpy(), atol=1e-4)


def test_sizes_may_change_from_image_to_image(exported):
    """OpenVINO has a graph for the first size, and one for all others."""
    networks = [runtime.ExportedNetwork(exported.folder, has(kind)) for kind in RUNTIMES]
    for size in [(96, 128), (128, 96), (96, 128)]:
        image = np.full((*size, 3), 99, np.uint8)
        for one, other in zip(*(network.encode(image) for network in networks), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)


def test_any_number_of_queries_is_answered_as_by_pytorch(exported, model, kind):
    """One after the other, a single query first."""
    network = runtime.ExportedNetwork(exported.folder, has(kind))
    random = np.random.default_rng(0)
    for n, side in [(1, 96), (40, 96), (1, 9), (2, 128), (300, 9), (41, 96)]:
        features = network.encode(random.integers(0, 256, (side, 128, 3), dtype=np.uint8))
        content = random.standard_normal((n, 64)).astype(np.float32)
        boxes = random.uniform(0.1, 0.9, (n, 4)).astype(np.float32)
        answer = network.decode(features, tracker_module.Queries(content, boxes))
        tokens = torch.cat([torch.from_numpy(level).flatten(1, 2) for level in features], dim=1)
        asked = Features(tokens, [level.shape[1:3] for level in features])
        first, *_, last = model.decode(asked, Queries(*map(torch.from_numpy, (content, boxes))))
        for got, wanted in [
            (answer.scores, last.logits[:, 0].sigmoid()), (answer.boxes, last.boxes),
            (answer.first_boxes, first.boxes), (answer.embeddings, last.embeddings),
        ]:  # fmt: skip
            np.testing.assert_allclose(got, wanted.numpy(), atol=1e-4)
        got = network.interact(content, boxes, answer.embeddings)
        wanted = model.interaction(*map(torch.from_numpy, (content, boxes, answer.embeddings)))
        np.testing.assert_allclose(got, wanted.numpy(), atol=1e-4)


def test_no_queries_no_answer(exported):
    network = runtime.ExportedNetwork(exported.folder)
    none = tracker_module.Queries(np.zeros((0, 64), np.float32), np.zeros((0, 4), np.float32))
    answer = network.decode(network.encode(np.zeros((9, 9, 3), np.uint8)), none)
    assert len(answer) == 0
    assert answer.embeddings.shape == (0, 64)


# Whole videos


def lines_of(outcome, path):
    assert outcome.code == 0, outcome
    return [line.split(",") for line in path.read_text().splitlines()]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_video_is_tracked_as_by_pytorch(track, exported, tmp_path, kind, preset):
    told = {}
    for name in ("torch", has(kind)):
        path = tmp_path / f"{name}.txt"
        weights = exported.weights if name == "torch" else exported.folder
        outcome = track(weights=weights, runtime=name, preset=preset, mot_output=path)
        told[name] = lines_of(outcome, path)
    wanted, got = told["torch"], told[kind]
    assert [row[:2] for row in got] == [row[:2] for row in wanted]
    assert len({row[1] for row in wanted}) > 1
    np.testing.assert_allclose(
        np.array([row[2:6] for row in got], float), np.array([row[2:6] for row in wanted], float),
        atol=0.011,  # of pixels with two decimals
    )  # fmt: skip


def test_the_other_outputs_and_settings_are_as_before(track, exported, tmp_path):
    outcome = track(
        "--set", "memory.capacity=3", weights=exported.folder, runtime="onnx", threads=1,
        short_side=48, output=tmp_path / "o.mp4", json_output=tmp_path / "o.json",
    )  # fmt: skip
    assert outcome.code == 0, outcome
    about = json.loads((tmp_path / "o.json").read_text())["about"]
    assert (about["runtime"], about["method"]["memory"]["capacity"]) == ("onnx", 3)
    assert (tmp_path / "o.mp4").stat().st_size > 1000


def test_what_came_with_a_detection_stays_with_its_track(exported, scene):
    """`supervision.Detections` in and out, as of `tfsasm.load`."""
    method = PRESETS["paper"].make()
    trackers = load(exported.weights, method), load_exported(exported.folder, "onnx", method)
    for image, lines in zip(scene.images, scene.lines, strict=True):
        boxes = np.array([[float(v) for v in x.split(",")] for x in lines]).reshape(-1, 5)
        boxes[:, 2:4] += boxes[:, :2]
        given = sv.Detections(
            boxes[:, :4], confidence=boxes[:, 4], class_id=np.arange(len(boxes)),
            data={"name": np.array([f"box {n}" for n in range(len(boxes))])},
        )  # fmt: skip
        wanted, got = (tracker.update(given, image) for tracker in trackers)
        assert got.tracker_id.tolist() == wanted.tracker_id.tolist()
        assert got.class_id.tolist() == wanted.class_id.tolist()
        assert [*got.data.get("name", ())] == [*wanted.data.get("name", ())]
        np.testing.assert_allclose(got.xyxy, wanted.xyxy, atol=1e-2)
    trackers[1].reset()
    assert len(trackers[1].state.tracks) == trackers[1].state.next_id == 0


WITHOUT_TORCH = """
import sys
class Nothing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "torch":
            raise ImportError("no torch here")
sys.meta_path.insert(0, Nothing())
import numpy as np
import tfsasm.runtime
tracker = tfsasm.runtime.load(sys.argv[1], "onnx", threads=1)
frame = np.full((96, 128, 3), 80, np.uint8)
for x in range(4):
    tracks = tracker.update([[20 + x, 10, 50 + x, 80]], [0.9], frame)
tracker.update([], [], frame)
loaded = {name for name in sys.modules if name.startswith(("torch", "tfsasm.model"))}
sys.exit(str(loaded) if loaded or tracker.state.frame != 5 else 0)
"""


def test_neither_torch_nor_the_network_is_needed(exported):
    """In a process of its own, where importing torch fails."""
    command = [sys.executable, "-c", WITHOUT_TORCH, str(exported.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("xyxy", "scores", "part"), [
    pytest.param([[0, 0, 5, 5], [5, 5, 5, 9]], [1, 1], "detection 1", id="no width"),
    pytest.param([[0, 0, 5, np.nan]], [1], "detection 0", id="not a number"),
])
def test_a_bad_detection_is_refused_and_the_state_kept(exported, xyxy, scores, part):
    tracker = runtime_module.load(exported.folder)
    with pytest.raises(InputError, match=part):
        tracker.update(xyxy, scores, np.zeros((9, 9, 3), np.uint8))
    assert tracker.state.frame == 0


# What cannot be used


def copied(exported, tmp_path):
    return Path(shutil.copytree(exported.folder, tmp_path / "copy"))


def rewritten(folder, **changes):
    told = json.loads((folder / MANIFEST).read_text()) | changes
    (folder / MANIFEST).write_text(json.dumps(told))


@pytest.mark.parametrize(("damage", "parts"), [
    pytest.param(lambda f: shutil.rmtree(f), ["does not exist"], id="no folder"),
    pytest.param(lambda f: (f / MANIFEST).unlink(), [f"has no {MANIFEST}"], id="no record"),
    pytest.param(lambda f: (f / MANIFEST).write_text("{"), [MANIFEST, "again"], id="no JSON"),
    pytest.param(lambda f: (f / MANIFEST).write_text("[]"), [MANIFEST, "again"], id="a list"),
    pytest.param(lambda f: (f / MANIFEST).write_text('{"format": 1}'), ["is missing"], id="empty"),
    pytest.param(lambda f: rewritten(f, format=2), ["format is 2, not 1"], id="another format"),
    pytest.param(lambda f: rewritten(f, levels="3"), ["levels is '3'"], id="text for a number"),
    pytest.param(lambda f: rewritten(f, short_side=0), ["short_side is 0"], id="no size"),
    pytest.param(lambda f: rewritten(f, learned_boxes=[[1, 2]]), ["learned_boxes"], id="no boxes"),
    pytest.param(
        lambda f: rewritten(f, proposal_content=[[1, None]]), ["proposal_content"], id="no number"),
    pytest.param(
        lambda f: rewritten(f, learned_content=[[0.0] * 64]), ["learned_boxes", "1 x 4"],
        id="contents and boxes of different numbers"),
    pytest.param(lambda f: rewritten(f, levels=4), ["encode.onnx", "level_3"], id="other levels"),
    pytest.param(
        lambda f: rewritten(f, learned_content=[[0.0] * 32] * 3, proposal_content=[[0.0] * 32]),
        [MANIFEST, "32 channels"], id="another width"),
    pytest.param(lambda f: (f / "decode.onnx").unlink(), ["decode.onnx", "export"], id="a graph"),
    pytest.param(
        lambda f: (f / "encode.onnx").write_bytes(b"x" * 99), ["encode.onnx", "cannot be opened"],
        id="not a graph"),
    pytest.param(
        lambda f: shutil.copy(f / "encode.onnx", f / "interact.onnx"),
        ["interact.onnx", "inputs image"], id="another graph"),
])  # fmt: skip
def test_a_damaged_export_is_refused(exported, tmp_path, damage, parts):
    folder = copied(exported, tmp_path)
    damage(folder)
    with pytest.raises(InputError) as refused:
        runtime_module.load(folder, has("onnx"))
    for part in parts:
        assert part in str(refused.value)


@pytest.mark.parametrize(("damage", "part"), [
    pytest.param(lambda f: (f / "decode.onnx").unlink(), "no decode.xml", id="a graph"),
    pytest.param(lambda f: (f / "encode.onnx").write_bytes(b"x"), "be opened", id="not a graph"),
    pytest.param(
        lambda f: shutil.copy(f / "encode.onnx", f / "interact.onnx"), "inputs image",
        id="another graph"),
    pytest.param(
        lambda f: rewritten(f, learned_content=[[0.0] * 32] * 3, proposal_content=[[0.0] * 32]),
        "32 channels", id="another width"),
])  # fmt: skip
def test_openvino_refuses_a_damaged_export_too(exported, tmp_path, damage, part):
    folder = copied(exported, tmp_path)
    damage(folder)
    with pytest.raises(InputError, match=part):
        runtime_module.load(folder, has("openvino"))


@pytest.mark.parametrize(("options", "part"), [
    pytest.param({"short_side": 0}, "short_side is 0", id="no size"),
    pytest.param({"device": "cuda"}, "no device 'cuda'", id="no such device"),
    pytest.param({"device": "abacus"}, "no device 'abacus'", id="no such kind of device"),
])
def test_a_setting_that_cannot_be_is_refused(exported, kind, options, part):
    with pytest.raises(InputError, match=part):
        runtime_module.load(exported.folder, has(kind), **options)


@pytest.mark.parametrize(("kind", "package", "command"), [
    ("onnx", "onnxruntime", 'pip install "tfsasm[onnx]"'),
    ("openvino", "openvino", 'pip install "tfsasm[openvino]"'),
])
def test_a_missing_runtime_is_told_with_the_remedy(exported, monkeypatch, kind, package, command):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError) as refused:
        runtime_module.load(exported.folder, kind)
    assert command in str(refused.value)


@pytest.mark.parametrize(("options", "part"), [
    pytest.param({"runtime": "torch"}, "is an export; add --runtime onnx", id="export for torch"),
    pytest.param({"weights": "tiny"}, "tfsasm export --format onnx --weights tiny", id="weights"),
])
def test_weights_and_runtime_go_together(track, exported, tmp_path, options, part):
    given = {"weights": exported.folder, "runtime": "onnx", "mot_output": tmp_path / "o.txt"}
    outcome = track(**given | options)
    assert (outcome.code, outcome.out) == (2, "")
    assert part in outcome.err


# The released code, the whole network

SIZE, SIDES = (216, 384), (256, 480)


@pytest.mark.slow
@pytest.mark.parametrize("kind", RUNTIMES)
def test_forty_frames_are_those_of_the_released_code(tmp_path, kind):
    """Through the exported graphs: identities and result lines as released, boxes within 1e-4."""
    model, golden = released_model(), vectors("run_tol20")
    export(model, full(), tmp_path, has(kind))
    network = runtime.ExportedNetwork(
        tmp_path, kind, threads=torch.get_num_threads(), short_side=SIDES[0], max_side=SIDES[1]
    )
    assert largest_difference(model, network) < 1e-4
    config = replace(released(), lifecycle=replace(released().lifecycle, miss_tolerance=20))
    frames, detections = synthetic_sequence(40, *SIZE, nobj=6, seed=7, zero_frames=[4, 5, 13])
    tracker, lines = runtime_module.RuntimeTracker(network, config), []
    for index, (frame, found) in enumerate(zip(frames, detections, strict=True)):
        assert zlib.crc32(frame.tobytes()) == golden["frame_crc32"][index]
        rows = np.array([[float(v) for v in line.split(",")] for line in found]).reshape(-1, 5)
        rows[:, 2:4] += rows[:, :2]
        told = tracker.update(rows[:, :4], rows[:, 4], np.ascontiguousarray(frame[..., ::-1]))
        tracks, wanted = tracker.state.tracks, f"f{index:03d}/out/"
        assert tracks.ids.tolist() == golden[f"{wanted}obj_idxes"].tolist()
        assert tracks.missed.tolist() == golden[f"{wanted}disappear_time"].tolist()
        assert np.array_equal(tracks.memory.valid, ~golden[f"{wanted}mem_padding_mask"])
        for mine, theirs in [
            (tracks.queries.boxes, "ref_pts"), (tracks.memory.features, "mem_bank"),
            (tracks.memory.travel, "accum_dist"), (tracks.queries.content, "query_pos"),
        ]:  # fmt: skip
            np.testing.assert_allclose(mine, golden[f"{wanted}{theirs}"], rtol=0, atol=1e-4)
        for identity, (x1, y1, x2, y2) in zip(told.ids, told.xyxy, strict=True):
            lines.append([index + 1, identity, x1, y1, x2 - x1, y2 - y1])
    theirs = np.array([line.split(",")[:6] for line in golden["lines"]], float)
    assert np.array_equal(np.array(lines)[:, :2], theirs[:, :2])
    np.testing.assert_allclose(np.array(lines)[:, 2:], theirs[:, 2:], rtol=0, atol=0.011)
