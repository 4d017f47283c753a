"""The camera's motion from what is no detection."""

import cv2
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


NOBODY = np.zeros((0, 4))


def scene():
    """A blurred pattern `[480, 640, 3]`, as lenses make them."""
    blocks = np.random.default_rng(3).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    return cv2.GaussianBlur(np.kron(blocks, np.ones((16, 16, 1), np.uint8)), (0, 0), 3)


def test_a_drift_too_slow_to_be_seen_between_two_frames_arrives_in_the_end():
    camera, whole = CameraMotion(CameraConfig()), scene()
    shifts = []
    for k in range(30):
        moved = cv2.warpAffine(whole, np.array([[1, 0, 0.2 * k], [0, 1, 0]]), (640, 480))
        warp = camera.update(moved[40:440, 100:540], NOBODY)
        shifts.append(0.0 if warp is None else warp[0, 2])
    assert sum(shifts) == pytest.approx(0.2 * 29, abs=0.8)
    assert np.count_nonzero(shifts) < 20


@pytest.mark.parametrize("noise", [0.0, 4.0])
def test_a_camera_that_stands_has_no_motion_whatever_passes_by(noise):
    camera, rng, whole = CameraMotion(CameraConfig()), np.random.default_rng(0), scene()
    for k in range(0, 20, 3):
        image = whole + rng.normal(0, noise, whole.shape)
        image[100:400, 30 * k : 30 * k + 120] = 200
        image = image.clip(0, 255).astype(np.uint8)
        assert camera.update(image, np.array([[30.0 * k, 100, 30 * k + 120, 400]])) is None


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
