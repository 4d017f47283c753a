"""MOTRv2 as a `Network`: from frames to predictions."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.fakes import SMALL
from helpers.golden_data import tensor, vectors
from helpers.scenes import NETWORK, lively_model
from helpers.waits import HostWaits
from tfsasm.errors import InputError
from tfsasm.motrv2.fast.model import FastMOTRv2
from tfsasm.motrv2.network import TorchNetwork, normalise, prepare, prepare_there
from tfsasm.runtime.network import Queries
from tfsasm.runtime.preprocess import MEAN, STD


def test_the_network_sees_red_first():
    blue = np.zeros((4, 4, 3), dtype=np.uint8)
    blue[..., 0] = 255  # OpenCV's order
    seen = prepare(blue, 4, 8)
    assert seen.shape == (1, 3, 4, 4)
    assert seen.dtype == torch.float32
    for channel, value in enumerate((0.0, 0.0, 1.0)):
        wanted = (value - MEAN[channel]) / STD[channel]
        assert seen[0, channel].flatten().tolist() == pytest.approx([wanted] * 16, abs=1e-6)


def test_a_batch_is_normalised_image_by_image():
    batch = torch.randint(0, 256, (3, 3, 4, 5), dtype=torch.uint8)
    together = normalise(batch)
    assert together.dtype == torch.float32
    for index in range(3):
        assert torch.equal(together[index], normalise(batch[index : index + 1])[0])


def test_a_single_pixel_is_an_image():
    assert prepare(np.full((1, 1, 3), 128, dtype=np.uint8), 32, 64).shape == (1, 3, 32, 32)


def test_a_reversed_view_is_an_image():
    """Such as RGB turned into BGR by `[..., ::-1]`."""
    rgb = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert torch.equal(prepare(rgb[..., ::-1], 8, 8), prepare(rgb[..., ::-1].copy(), 8, 8))


def test_the_first_frame_of_the_released_run_is_equal():
    golden = vectors("run_tol20")
    frame = vectors("run_tol20_frame0")["frame0"]
    seen = prepare(frame[..., ::-1], 256, 480)
    assert list(seen.shape) == golden["f000/net/img_shape"].tolist()
    assert torch.equal(seen[:, :, ::2, ::2], tensor(golden["f000/net/img_sub"]))


@pytest.mark.parametrize(("height", "width"), [
    pytest.param(200, 300, id="smaller"),
    pytest.param(48, 60, id="larger"),
    pytest.param(1, 1, id="a single pixel"),
])  # fmt: skip
def test_a_gpu_resizes_as_opencv_does_up_to_rounding(height, width):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(2)]
    found = prepare_there(torch.from_numpy(np.stack(frames)), 96, 160)
    wanted = torch.cat([prepare(frame, 96, 160) for frame in frames])
    levels = 255 * torch.tensor(STD)[:, None, None] * (found - wanted).abs()
    assert levels.max() < 1.01
    assert (levels > 0.5).float().mean() < 0.2


@pytest.fixture(scope="module")
def network():
    return TorchNetwork(lively_model().requires_grad_(True), NETWORK)


def images(count):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(count)]


def test_images_in_a_batch_have_the_features_of_single_ones(network):
    batch = images(3)
    for image, features in zip(batch, network.encode(batch), strict=True):
        [alone] = network.encode([image])
        assert features.shapes == alone.shapes
        torch.testing.assert_close(features.tokens, alone.tokens, rtol=0, atol=1e-4)


def test_a_prediction_has_the_boxes_of_the_first_and_of_the_last_layer(network):
    [features] = network.encode(images(1))
    boxes, scores = np.full((2, 4), 0.5, np.float32), np.float32([0.9, 0.2])
    queries = network.queries(network.asarray(boxes), network.asarray(scores))
    assert len(queries) == network.learned + 2
    prediction = network.decode(features, queries)
    with torch.no_grad():
        first, *_, last = network.model.decode(features, queries)
    assert torch.equal(prediction.first_boxes, first.boxes)
    assert torch.equal(prediction.boxes, last.boxes)
    assert torch.equal(prediction.scores, last.logits[:, 0].sigmoid())
    assert torch.equal(prediction.embeddings, last.embeddings)


def test_nothing_that_a_network_computes_has_a_gradient(network):
    """So that a tracker may run on a network that is being trained."""
    [features] = network.encode(images(1))
    none = Queries(torch.zeros(1, 64), torch.full((1, 4), 0.5))
    prediction = network.decode(features, none)
    content = network.interact(none.content, none.boxes, prediction.embeddings)
    for value in (features.tokens, prediction.boxes, prediction.embeddings, content):
        assert not value.requires_grad


# What makes the host wait for a GPU


@pytest.mark.parametrize("there", [False, True])
def test_images_of_one_size_inside_the_network_are_a_batch(there):
    """Whatever their own sizes."""
    network = TorchNetwork(lively_model(), NETWORK, resize_there=there)
    noise = np.random.default_rng(0)
    frames = [noise.integers(0, 256, (*size, 3), np.uint8) for size in ((96, 128), (192, 256))]
    assert {network.input_size(*frame.shape[:2]) for frame in frames} == {(64, 85)}
    for frame, features in zip(frames, network.encode(frames), strict=True):
        alone = network.encode([frame])[0]
        torch.testing.assert_close(features.tokens, alone.tokens, atol=1e-5, rtol=0)
        assert features.shapes == alone.shapes


def test_frames_that_are_too_many_for_a_gpu_are_told_with_the_mend(monkeypatch):
    network = TorchNetwork(lively_model(), NETWORK)

    def full(pixels):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    monkeypatch.setattr(network.model, "encode", full)
    with pytest.raises(InputError, match=r"no memory for 3 frames at once; give fewer \(--streams"):
        network.encode([np.zeros((8, 8, 3), np.uint8)] * 3)


def parts(device):
    """The network's part of a frame: what is computed once its arrays are on the device."""
    model = lively_model(replace(SMALL, heads=1, decoder_layers=1)).to(device)
    network = TorchNetwork(FastMOTRv2(model), NETWORK, resize_there=True)
    frames = torch.from_numpy(np.stack(images(1))).to(device)
    boxes, scores = torch.full((3, 4), 0.5).to(device), torch.ones(3).to(device)

    @torch.inference_mode()
    def frame():
        features = network.model.encode(prepare_there(frames, 16, 28))
        queries = network.queries(boxes, scores)
        prediction = network.decode(features, queries)
        return network.interact(queries.content, prediction.boxes, prediction.embeddings)

    return frame


def test_the_host_waits_for_nothing_in_the_network(monkeypatch):
    """By the operations that are called, on a CPU with the kernel that a GPU has."""
    pytest.importorskip("triton")
    monkeypatch.setenv("TFSASM_SAMPLING", "triton")
    frame = parts("cpu")
    frame()  # after which what depends on the size is kept
    with HostWaits() as waits:
        frame()
    assert waits.names == []


@pytest.mark.cuda
def test_the_host_waits_for_nothing_on_a_gpu():
    frame = parts("cuda")
    frame()
    torch.cuda.set_sync_debug_mode("error")
    try:
        frame()
    finally:
        torch.cuda.set_sync_debug_mode("default")
