"""A detector's pixel boxes as the network takes them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.golden_data import synthetic_sequence, vectors
from tfsasm.detection.proposals import Proposals


def test_pixels_become_shares_of_the_image():
    found = Proposals.from_ltwh([[10, 20, 40, 60]], [0.9], width=200, height=100)
    np.testing.assert_allclose(found.boxes, [[0.15, 0.5, 0.2, 0.6]], rtol=1e-6)
    np.testing.assert_allclose(found.scores, [0.9], rtol=1e-6)
    assert found.boxes.dtype == found.scores.dtype == np.float32


def test_corner_boxes_are_the_same_boxes():
    corners = np.array([[10, 20, 50, 80], [0, 0, 200, 100]], dtype=np.float32)
    a = Proposals.from_xyxy(corners, np.array([0.9, 0.1]), 200, 100)
    b = Proposals.from_ltwh([[10, 20, 40, 60], [0, 0, 200, 100]], [0.9, 0.1], 200, 100)
    assert np.array_equal(a.boxes, b.boxes)
    assert np.array_equal(a.scores, b.scores)


@pytest.mark.parametrize("make", [
    pytest.param(Proposals.empty, id="empty"),
    pytest.param(lambda: Proposals.from_ltwh([], [], 64, 48), id="no lines"),
    pytest.param(lambda: Proposals.from_xyxy(np.zeros((0, 4)), np.zeros(0), 64, 48), id="no rows"),
])
def test_a_frame_may_have_no_detection(make):
    found = make()
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == (0,)
    assert found.boxes.dtype == found.scores.dtype == np.float32


def test_boxes_may_leave_the_image():
    """No clipping, no threshold: every detection is a query (QUIRK-4)."""
    found = Proposals.from_ltwh([[-50, 90, 100, 40]], [0.01], width=100, height=100)
    np.testing.assert_allclose(found.boxes, [[0.0, 1.1, 1.0, 0.4]], rtol=1e-6)


@settings(deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(-1e4, 1e4)] * 2, *[st.floats(0.01, 1e4)] * 2), max_size=5),
    st.integers(1, 8000), st.integers(1, 8000),
)
def test_arithmetic_is_double_with_one_rounding(rows, width, height):
    found = Proposals.from_ltwh(rows, [0.5] * len(rows), width, height)
    wanted = [
        ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height) for x, y, w, h in rows
    ]
    assert found.boxes.tolist() == [[float(np.float32(v)) for v in row] for row in wanted]


def test_proposals_of_the_released_run_are_equal():
    golden = vectors("run_tol20")
    _, lines = synthetic_sequence(40, 216, 384, nobj=6, seed=7, zero_frames=[4, 5, 13])
    for frame, wanted in enumerate(lines):
        rows = [[float(value) for value in line.split(",")] for line in wanted]
        found = Proposals.from_ltwh([r[:4] for r in rows], [r[4] for r in rows], 384, 216)
        both = np.concat([found.boxes, found.scores[:, None]], axis=1)
        assert np.array_equal(both, golden[f"f{frame:03d}/proposals"])


def test_proposals_become_detections_in_pixels_again():
    found = Proposals.from_ltwh([[10, 20, 40, 60]], [0.5], width=200, height=100)
    detections = found.in_pixels(200, 100)
    np.testing.assert_allclose(detections.xyxy, [[10, 20, 50, 80]], rtol=1e-6)
    assert detections.confidence.tolist() == [0.5]
