"""Frames checked, and resized as in the released code."""

import numpy as np
import pytest

from tfsasm.errors import InputError
from tfsasm.runtime.preprocess import as_bgr, resized_rgb, resized_shape


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


def test_pixels_become_rgb():
    blue = np.zeros((4, 4, 3), dtype=np.uint8)
    blue[..., 0] = 255  # OpenCV's order
    assert resized_rgb(blue, 4, 8)[0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize("frame", [
    pytest.param(np.full((2, 3), 7, np.uint8), id="grey"),
    pytest.param(np.full((2, 3, 1), 7, np.uint8), id="grey with an axis"),
    pytest.param(np.full((2, 3, 4), 7, np.uint8), id="BGRA"),
    pytest.param(np.full((2, 3, 3), 7, np.uint8), id="BGR"),
])
def test_frames_become_bgr(frame):
    assert as_bgr(frame).tolist() == np.full((2, 3, 3), 7).tolist()


@pytest.mark.parametrize(("frame", "message"), [
    pytest.param(np.zeros((2, 3, 3)), "not float64", id="floats"),
    pytest.param(np.zeros((2, 3, 2), np.uint8), "not 2", id="two channels"),
    pytest.param(np.zeros((0, 3, 3), np.uint8), "no pixels", id="empty"),
    pytest.param("frame.png", "not str", id="a name"),
])
def test_what_is_no_frame_is_refused(frame, message):
    with pytest.raises(InputError, match=message):
        as_bgr(frame)
