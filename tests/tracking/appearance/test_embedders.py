"""Colour histograms, and embedders by name."""

import subprocess
import sys

import numpy as np
import pytest

from tfsasm.detection.yolox import release_file
from tfsasm.errors import InputError
from tfsasm.tracking.appearance.embedders import HistogramEmbedder, embedder


def test_histograms_tell_colours_apart_and_do_not_depend_on_the_other_boxes():
    image = np.full((200, 300, 3), 90, np.uint8)
    image[50:150, 20:60], image[50:150, 120:160] = (200, 30, 30), (30, 30, 200)
    left, top = np.array([20.0, 120, 22, -20]), np.array([50.0, 50, 52, 50])
    boxes = np.stack([left, top, left + 38, top + 98], axis=1)
    histogram = HistogramEmbedder()
    embeddings = histogram(image, boxes)
    alike = embeddings @ embeddings.T
    np.testing.assert_allclose(np.diag(alike), 1, atol=1e-5)
    assert alike[0, 2] > 0.9 > 0.5 > alike[0, 1]
    for row in range(4):
        np.testing.assert_allclose(
            histogram(image, boxes[row : row + 1])[0], embeddings[row], atol=1e-6
        )
    assert histogram(image, boxes[:0]).shape == (0, embeddings.shape[1])


@pytest.mark.parametrize(("arguments", "message"), [
    pytest.param(("osnet",), "needs the ONNX file", id="no weights"),
    pytest.param(("eyes",), "no embedder 'eyes'", id="unknown name"),
    pytest.param(("hist", "x.onnx"), "takes no weights", id="weights of no use"),
    pytest.param(("hist", None, ["bins=3"]), "no setting 'bins'", id="unknown setting"),
    pytest.param(("hist", None, ["bins"]), "NAME=VALUE", id="setting without value"),
])
def test_embedders_that_cannot_be_made_are_explained(arguments, message):
    with pytest.raises(InputError, match=message):
        embedder(*arguments)


def test_the_default_is_a_histogram_and_none_is_no_embedder():
    assert embedder("none") is None
    assert isinstance(embedder(), HistogramEmbedder)
    assert embedder("hist", None, ["hues=4"])(
        np.zeros((9, 9, 3), np.uint8), np.zeros((0, 4))
    ).shape == (0, 3 * 4 * 3 * 4)


def test_the_appearance_tracker_runs_without_torch():
    code = """
import sys
import numpy as np, supervision as sv
from tfsasm.tracking.appearance import AppearanceTracker, embedder
tracker = AppearanceTracker(embedder("hist"))
box = sv.Detections(xyxy=np.array([[10.0, 10, 30, 60]]), confidence=np.array([0.9]))
for _ in range(3):
    tracks = tracker.update(box, np.zeros((80, 80, 3), np.uint8))
assert tracks.tracker_id.tolist() == [1]
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# Re-identification networks


@pytest.fixture
def network(tmp_path):
    """An ONNX file that gives the mean of each colour."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT

    def make(batch="B", height=32, channels=3):
        node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
        graph = helper.make_graph(
            [node], "g",
            [helper.make_tensor_value_info("x", kind, [batch, channels, height, 16])],
            [helper.make_tensor_value_info("y", kind, [batch, channels])],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save(model, tmp_path / "reid.onnx")
        return tmp_path / "reid.onnx"

    return make


@pytest.mark.parametrize("batch", ["B", 2], ids=["any batch", "batches of two"])
def test_a_reid_file_gets_rgb_crops(network, batch):
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, :50, 0], image[:, 50:, 2] = 200, 200  # blue, then red
    boxes = np.array([[0.0, 0, 50, 100], [50, 0, 100, 100], [50, 0, 100, 100]])
    embeddings = embedder("reid", network(batch), ["imagenet=false"])(image, boxes)
    np.testing.assert_allclose(embeddings, [[0, 0, 1], [1, 0, 0], [1, 0, 0]], atol=1e-6)
    bgr = embedder("osnet", network(batch), ["imagenet=false", "rgb=false"])(image, boxes[:1])
    np.testing.assert_allclose(bgr, [[1, 0, 0]], atol=1e-6)


def test_files_that_are_no_reid_network_are_explained(network, tmp_path):
    for weights, message in (
        (tmp_path / "no.onnx", "does not exist"), (__file__, "cannot be opened"),
        (network(channels=4), r"takes \[B, 3, H, W\]"),
        (release_file("yolox-nano"), "57,120 values for an image, which is no embedding"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            embedder("reid", weights)


def test_a_reid_network_says_what_it_is(network):
    assert repr(embedder("reid", path := network())) == f"ReidEmbedder({str(path)!r}, 3 values)"


@pytest.mark.parametrize("setting", ["height", "width", "batch"])
def test_a_vision_model_of_no_size_is_refused(setting):
    with pytest.raises(InputError, match=f"{setting} is 0; give a whole number from 1 up"):
        embedder("hf:any", None, [f"{setting}=0"])


@pytest.fixture(scope="module")
def vision_folder(tmp_path_factory):
    """A small vision transformer, saved as the hub has it."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vit")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        image_size=32, patch_size=16,
    )  # fmt: skip
    transformers.ViTModel(config).save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_a_vision_model_from_a_folder_is_an_embedder(vision_folder):
    image = np.random.default_rng(0).integers(0, 255, (100, 100, 3), dtype=np.uint8)
    boxes = np.array([[0.0, 0, 50, 100], [50, 0, 100, 100], [0, 0, 50, 100]])
    vision = embedder(f"hf:{vision_folder}", None, ["batch=2"])
    embeddings = vision(image, boxes)
    assert embeddings.shape == (3, 16)
    np.testing.assert_allclose(embeddings[0], embeddings[2], atol=1e-5)
    assert np.abs(embeddings[0] - embeddings[1]).max() > 1e-3
    assert vision(image, boxes[:0]).shape == (0, 16)
