"""From a decoded frame to the network's pixels."""

import numpy as np
import pytest
import torch

from helpers.golden_data import tensor, vectors
from tfsasm.motrv2.network import normalise, prepare
from tfsasm.runtime.preprocess import MEAN, STD, resized_shape


@pytest.mark.parametrize(("height", "width", "wanted"), [
    pytest.param(1080, 1920, (800, 1422), id="full HD"),
    pytest.param(720, 1280, (800, 1422), id="HD, the same shape"),
    pytest.param(480, 640, (800, 1066), id="4:3"),
    pytest.param(1200, 1600, (800, 1066), id="4:3, large"),
    pytest.param(1088, 608, (1431, 800), id="upright"),
    pytest.param(1080, 1080, (800, 800), id="square"),
    pytest.param(500, 2000, (384, 1536), id="wide: the long side decides"),
    pytest.param(161, 161, (799, 799), id="a pixel short (QUIRK-1)"),
    pytest.param(289, 400, (799, 1107), id="another one"),
    pytest.param(40, 147, (417, 1535), id="and on the long side"),
    pytest.param(1, 1, (800, 800), id="a single pixel"),
    pytest.param(1, 4096, (1, 1536), id="never less than a pixel"),
])
def test_images_are_scaled_as_in_the_released_code(height, width, wanted):
    assert resized_shape(height, width, 800, 1536) == wanted


def test_every_size_named_in_the_specification_is_a_pixel_short():
    for side in (161, 167, 193, 194, 195, 199, 289):
        assert resized_shape(side, side + 1, 800, 1536)[0] == 799
    for side in (147, 173):
        assert resized_shape(side // 4, side, 800, 1536)[1] == 1535


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
