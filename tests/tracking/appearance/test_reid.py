"""Re-identification networks as embedders."""

import numpy as np
import pytest

from tfsasm.detection.yolox import release_file
from tfsasm.errors import InputError
from tfsasm.tracking.appearance.embedders import embedder


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
