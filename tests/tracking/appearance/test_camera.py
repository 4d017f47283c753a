"""The camera's motion from what is no detection."""

import numpy as np
import pytest

from tfsasm.tracking.appearance.camera import CameraConfig, CameraMotion

PERSON = np.array([[100.0, 80, 200, 300]])


@pytest.mark.parametrize("shift", [0, 9], ids=["still", "panned"])
def test_the_camera_is_estimated_from_what_is_not_a_person(shift):
    rng = np.random.default_rng(0)
    wide = np.kron(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    camera = CameraMotion(CameraConfig())
    warps = []
    for x, colour in ((0, 0), (shift, 255)):
        image = wide[:, x : x + 450].copy()
        image[80:300, 100 + x : 200 + x] = colour
        warps.append(camera.update(image, PERSON))
    assert warps[0] is None
    if shift:
        np.testing.assert_allclose(warps[1], [[1, 0, -shift], [0, 1, 0]], atol=0.5)
    else:
        assert warps[1] is None


def test_frames_of_another_size_or_without_corners_have_no_motion():
    camera = CameraMotion(CameraConfig())
    for height in (200, 240, 240):
        assert camera.update(np.zeros((height, 320, 3), np.uint8), PERSON) is None


@pytest.mark.parametrize(("height", "width"), [(4, 60_000), (60_000, 4), (1, 1), (1, 40_000)])
def test_a_frame_may_have_any_shape(height, width):
    camera, rng = CameraMotion(CameraConfig()), np.random.default_rng(0)
    for _ in range(3):
        image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        warp = camera.update(image, PERSON)
        assert warp is None or np.isfinite(warp).all()
