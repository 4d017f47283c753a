"""A network without PyTorch: its graphs, and whole videos through them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import supervision as sv
import torch

from tfsasm import InputError, load
from tfsasm.motrv2.family import load_model
from tfsasm.motrv2.transformer import Features, embed_coordinates
from tfsasm.runtime.exported import MANIFEST, ExportedNetwork, embed_scores
from tfsasm.runtime.network import Queries
from tfsasm.tracking.config import PRESETS
from tfsasm.tracking.query import QueryTracker

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


@pytest.fixture(scope="module")
def opened(exported):
    """An export by each runtime; OpenVINO has a graph for the first size, and one for all others.
    """

    @cache
    def by(kind):
        network = ExportedNetwork(exported.folder, has(kind))
        network.encode([np.zeros((96, 128, 3), np.uint8)])
        return network

    return by


# The files


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


def test_the_record_has_the_scale_and_what_was_learned(exported, opened, model):
    record = json.loads((exported.folder / MANIFEST).read_text())
    assert (record["short_side"], record["max_side"], record["precision"]) == (64, 112, "float32")
    assert record["network"]["model"]["width"] == 64
    manifest = opened("onnx").manifest
    for name in ("learned_content", "learned_boxes", "proposal_content"):
        assert np.array_equal(getattr(manifest, name), getattr(model, name).numpy())


# The parts


@pytest.mark.parametrize(("kind", "height", "width", "sides"), [
    pytest.param("onnx", 96, 128, {}, id="the usual size"),
    pytest.param("onnx", 301, 203, {"short_side": 101, "max_side": 200}, id="odd and upright"),
    pytest.param("onnx", 64, 64, {"short_side": 32}, id="one cell at the coarsest level"),
    pytest.param("onnx", 1, 1, {"short_side": 1}, id="a single pixel"),
    pytest.param("openvino", 301, 203, {}, id="by OpenVINO"),
])  # fmt: skip
def test_an_image_of_any_size_is_encoded_as_by_pytorch(
    exported, opened, kind, height, width, sides
):
    network = ExportedNetwork(exported.folder, kind, **sides) if sides else opened(kind)
    in_torch = load(exported.weights, **sides).network
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    [wanted], [levels] = in_torch.encode([image]), network.encode([image])
    got = np.concatenate([level.reshape(1, -1, 64) for level in levels], axis=1)
    assert got.shape == wanted.tokens.shape
    np.testing.assert_allclose(got, wanted.tokens.numpy(), atol=1e-4)


def test_sizes_may_change_from_image_to_image(opened):
    networks = [opened(kind) for kind in RUNTIMES]
    for size in [(96, 128), (128, 96), (1, 1), (96, 128)]:
        image = np.full((*size, 3), 99, np.uint8)
        for one, other in zip(*(network.encode([image])[0] for network in networks), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)


def test_any_number_of_queries_is_decoded_as_by_pytorch(opened, model, kind):
    """One after the other, a single query first."""
    network = opened(kind)
    random = np.random.default_rng(0)
    for n, side in [(1, 96), (40, 96), (1, 9), (2, 128), (300, 9), (41, 96)]:
        [features] = network.encode([random.integers(0, 256, (side, 128, 3), dtype=np.uint8)])
        content = random.standard_normal((n, 64)).astype(np.float32)
        boxes = random.uniform(0.1, 0.9, (n, 4)).astype(np.float32)
        prediction = network.decode(features, Queries(content, boxes))
        tokens = torch.cat([torch.from_numpy(level).flatten(1, 2) for level in features], dim=1)
        encoded = Features(tokens, [level.shape[1:3] for level in features])
        first, *_, last = model.decode(encoded, Queries(*map(torch.from_numpy, (content, boxes))))
        for got, wanted in [
            (prediction.scores, last.logits[:, 0].sigmoid()), (prediction.boxes, last.boxes),
            (prediction.first_boxes, first.boxes), (prediction.embeddings, last.embeddings),
        ]:  # fmt: skip
            np.testing.assert_allclose(got, wanted.numpy(), atol=1e-4)
        got = network.interact(content, boxes, prediction.embeddings)
        wanted = model.interaction(*map(torch.from_numpy, (content, boxes, prediction.embeddings)))
        np.testing.assert_allclose(got, wanted.numpy(), atol=1e-4)


def test_no_queries_no_prediction(opened):
    network = opened("onnx")
    none = Queries(np.zeros((0, 64), np.float32), np.zeros((0, 4), np.float32))
    prediction = network.decode(network.encode([np.zeros((9, 9, 3), np.uint8)])[0], none)
    assert len(prediction) == 0
    assert prediction.embeddings.shape == (0, 64)


def test_scores_are_embedded_as_by_pytorch():
    scores = np.linspace(0, 1, 11, dtype=np.float32)
    wanted = embed_coordinates(torch.from_numpy(scores)[:, None], 64)
    np.testing.assert_allclose(embed_scores(scores, 64), wanted.numpy(), atol=1e-6)


# Whole videos


def test_a_video_is_tracked_as_by_pytorch(track, exported, tmp_path):
    def boxes(runtime):
        path = tmp_path / f"{runtime}.txt"
        weights = exported.weights if runtime == "torch" else exported.folder
        outcome = track(weights=weights, runtime=runtime, preset="default", mot_output=path)
        assert outcome.code == 0, outcome
        return np.loadtxt(path, delimiter=",")[:, :6]

    wanted = boxes("torch")
    assert len(np.unique(wanted[:, 1])) > 1
    for kind in RUNTIMES:  # within a hundredth of a pixel, of two decimals
        np.testing.assert_allclose(boxes(has(kind)), wanted, atol=0.011)


def test_the_other_outputs_and_settings_are_as_before(track, exported, tmp_path):
    outcome = track(
        "--set", "memory.capacity=3", weights=exported.folder, runtime="onnx", threads=1,
        short_side=48, output=tmp_path / "o.mp4", json_output=tmp_path / "o.json",
    )  # fmt: skip
    assert outcome.code == 0, outcome
    about = json.loads((tmp_path / "o.json").read_text())["about"]
    assert (about["runtime"], about["method"]["memory"]["capacity"]) == ("onnx", 3)
    assert (tmp_path / "o.mp4").stat().st_size > 1000


@pytest.fixture(scope="module")
def in_torch(exported):
    return load(exported.weights).network


@pytest.mark.parametrize("preset", PRESETS)
def test_what_came_with_a_detection_stays_with_its_track(in_torch, opened, scene, preset):
    """`supervision.Detections` in and out, as with PyTorch, by every preset.

    What follows the graphs is the same for all runtimes.
    """
    method = PRESETS[preset].make()
    trackers = [QueryTracker(network, method) for network in (in_torch, opened("onnx"))]
    identities = set()
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
        identities |= {*wanted.tracker_id}
    assert len(identities) > 1
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
import supervision as sv
import tfsasm
tracker = tfsasm.load(sys.argv[1], runtime="onnx", threads=1)
frame = np.full((96, 128, 3), 80, np.uint8)
for x in range(4):
    box = np.array([[20.0 + x, 10, 50 + x, 80]])
    tracks = tracker.update(sv.Detections(box, confidence=np.array([0.9])), frame)
tracker.update(None, frame)
given = list(tracker.track(sys.argv[2], sys.argv[3]))
from tfsasm.cli.main import main
try:
    main(["track", sys.argv[2], "--detections", sys.argv[3], "--runtime", "onnx", "--quiet",
          "--weights", sys.argv[1], "--output", sys.argv[4]])
except SystemExit as end:
    assert end.code == 0, end.code
loaded = {name for name in sys.modules if name.startswith(("torch", "tfsasm.motrv2"))}
sys.exit(str(loaded) if loaded or tracker.state.frame != len(given) != 12 else 0)
"""


def test_neither_torch_nor_the_network_is_needed(exported, scene, tmp_path):
    """In a process of its own, where importing torch fails; `tfsasm track` needs none either."""
    given = (exported.folder, scene.folder, scene.detections, tmp_path)
    command = [sys.executable, "-c", WITHOUT_TORCH, *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("*.tracked.mp4"))


# What cannot be used


def copied(exported, tmp_path):
    return Path(shutil.copytree(exported.folder, tmp_path / "copy"))


def rewritten(folder, **changes):
    record = json.loads((folder / MANIFEST).read_text()) | changes
    (folder / MANIFEST).write_text(json.dumps(record))


@pytest.mark.parametrize(("damage", "parts"), [
    pytest.param(lambda f: shutil.rmtree(f), ["does not exist"], id="no folder"),
    pytest.param(lambda f: (f / MANIFEST).unlink(), [f"has no {MANIFEST}"], id="no record"),
    pytest.param(lambda f: (f / MANIFEST).write_text("{"), [MANIFEST, "again"], id="no JSON"),
    pytest.param(lambda f: (f / MANIFEST).write_text("[]"), [MANIFEST, "again"], id="a list"),
    pytest.param(lambda f: (f / MANIFEST).write_text('{"format": 1}'), ["is missing"], id="empty"),
    pytest.param(lambda f: rewritten(f, format=2), ["format is 2, not 1"], id="another format"),
    pytest.param(lambda f: rewritten(f, levels="3"), ['levels is "3"'], id="text for a number"),
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
        load(folder, runtime=has("onnx"))
    for part in parts:
        assert part in str(refused.value)


@pytest.mark.parametrize(("damage", "part"), [
    pytest.param(lambda f: (f / "decode.onnx").unlink(), "no decode.xml", id="a graph"),
    pytest.param(lambda f: (f / "encode.onnx").write_bytes(b"x"), "be opened", id="not a graph"),
    pytest.param(
        lambda f: shutil.copy(f / "interact.onnx", f / "encode.onnx"), "inputs content",
        id="another graph"),
    pytest.param(
        lambda f: rewritten(f, learned_content=[[0.0] * 32] * 3, proposal_content=[[0.0] * 32]),
        "32 channels", id="another width", marks=pytest.mark.slow),
])  # fmt: skip
def test_openvino_refuses_a_damaged_export_too(exported, tmp_path, damage, part):
    folder = copied(exported, tmp_path)
    damage(folder)
    with pytest.raises(InputError, match=part):
        load(folder, runtime=has("openvino"))


def test_an_error_of_a_runtime_without_words_is_told_by_its_name(exported, monkeypatch):
    def fails(*given):
        raise AssertionError

    monkeypatch.setattr(ExportedNetwork, "interact", fails)
    with pytest.raises(InputError, match=r"do not fit its .*\(AssertionError\); make it again"):
        ExportedNetwork(exported.folder)


@pytest.mark.parametrize(("options", "part"), [
    pytest.param({"short_side": 0}, "short_side is 0", id="no size"),
    pytest.param({"device": "cuda"}, "no device 'cuda'", id="no such device"),
    pytest.param({"precision": "bf16"}, "an export has its own precision", id="a precision"),
    pytest.param({"exact": True}, "an export has its own precision", id="another order of sums"),
    pytest.param({"device": "abacus"}, "no device 'abacus'", id="no such kind of device"),
])
def test_a_setting_that_cannot_be_is_refused(exported, kind, options, part):
    with pytest.raises(InputError, match=part):
        load(exported.folder, runtime=has(kind), **options)


def test_an_export_is_not_loaded_by_pytorch(exported):
    with pytest.raises(InputError, match="is an export; choose the runtime onnx"):
        load(exported.folder)


@pytest.mark.parametrize(("kind", "package", "command"), [
    ("onnx", "onnxruntime", "pip install onnxruntime"),
    ("openvino", "openvino", 'pip install "tfsasm[openvino]"'),
])
def test_a_missing_runtime_is_named_with_the_remedy(exported, monkeypatch, kind, package, command):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError) as refused:
        load(exported.folder, runtime=kind)
    assert command in str(refused.value)


@pytest.mark.parametrize(("options", "part"), [
    pytest.param({"runtime": "torch"}, "is an export; choose the runtime onnx",
                 id="export for torch"),
    pytest.param({"weights": "tiny"}, "tiny does not exist; give the folder that tfsasm",
                 id="weights"),
])
def test_weights_and_runtime_go_together(track, exported, tmp_path, options, part):
    given = {"weights": exported.folder, "runtime": "onnx", "mot_output": tmp_path / "o.txt"}
    outcome = track(**given | options)
    assert (outcome.code, outcome.out) == (2, "")
    assert part in outcome.err
