"""Box formats and overlaps in both libraries, against arithmetic done by hand and torchvision."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import ops

from helpers.libraries import LIBRARIES, on_arrays_of
from tfsasm import boxes as module

coordinate = st.floats(-2, 2, width=32)
size = st.floats(0.0078125, 2, width=32)
cxcywh = st.lists(st.tuples(coordinate, coordinate, size, size), min_size=0, max_size=6)
SQUARE = [0.0, 0.0, 2.0, 2.0]


@pytest.fixture(scope="module", params=LIBRARIES.values(), ids=LIBRARIES)
def boxes(request):
    """The functions on arrays of either library."""
    names = [name for name, value in vars(module).items() if callable(value) and name.islower()]
    return on_arrays_of(request.param, module, *names)


def table(rows):
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


# Formats


def test_corners_of_a_box(boxes):
    found = boxes.cxcywh_to_xyxy(np.float32([0.5, 0.4, 0.2, 0.1]))
    np.testing.assert_allclose(found, [0.4, 0.35, 0.6, 0.45], rtol=1e-6)


def test_no_pixel_is_added(boxes):
    assert boxes.area(np.float32([10, 10, 20, 30])) == 200
    assert boxes.cxcywh_to_xyxy(np.float32([4.5, 2, 9, 4])).tolist() == [0, 0, 9, 4]
    assert boxes.xyxy_to_ltwh(table([10, 20, 50, 80])).tolist() == [[10, 20, 40, 60]]
    assert boxes.ltwh_to_xyxy(table([10, 20, 40, 60])).tolist() == [[10, 20, 50, 80]]


def test_corners_are_rounded_as_in_the_released_code(boxes):
    """Half the size first, then the difference, in float32 (SPEC 1)."""
    cx, w = np.float32(0.1), np.float32(0.3)
    x1, _, x2, _ = boxes.cxcywh_to_xyxy(np.float32([cx, cx, w, w]))
    assert x1 == cx - w * np.float32(0.5)
    assert x2 == cx + w * np.float32(0.5)


@settings(deadline=None, max_examples=50)
@given(rows=cxcywh)
def test_conversion_there_and_back(boxes, rows):
    there = table(rows)
    corners = torch.from_numpy(boxes.cxcywh_to_xyxy(there))
    back = ops.box_convert(corners, "xyxy", "cxcywh")
    np.testing.assert_allclose(back, there, atol=1e-6, rtol=1e-5)


def test_boxes_are_cut_at_the_border_of_the_image():
    found = module.clipped(table([[-5, 3, 20, 30], [2, 2, 4, 4]]), 10, 20)
    assert found.tolist() == [[0, 3, 10, 20], [2, 2, 4, 4]]
    assert found.dtype == np.float32


def test_a_box_grows_by_a_share_of_its_size_on_every_side(boxes):
    assert boxes.grown(table([10, 10, 20, 30]), 0.5).tolist() == [[5, 0, 25, 40]]


# Overlaps


@settings(deadline=None, max_examples=50)
@given(a=cxcywh, b=cxcywh)
def test_overlaps_agree_with_torchvision(boxes, a, b):
    a, b = (boxes.cxcywh_to_xyxy(table(rows)) for rows in (a, b))
    iou, giou = boxes.iou_matrix(a, b), boxes.giou_matrix(a, b)
    assert iou.shape == giou.shape == (len(a), len(b))
    theirs = torch.from_numpy(a), torch.from_numpy(b)
    np.testing.assert_allclose(iou, ops.box_iou(*theirs), atol=1e-4, rtol=1e-4)
    wanted = ops.generalized_box_iou(*theirs).reshape(giou.shape)
    np.testing.assert_allclose(giou, wanted, atol=1e-4, rtol=1e-4)


@settings(deadline=None, max_examples=50)
@given(rows=cxcywh)
def test_pairs_are_the_diagonal_of_the_matrix(boxes, rows):
    a = boxes.cxcywh_to_xyxy(table(rows))
    b = a[::-1]
    assert np.array_equal(boxes.iou_pairs(a, b), boxes.iou_matrix(a, b).diagonal())
    assert np.array_equal(boxes.giou_pairs(a, b), boxes.giou_matrix(a, b).diagonal())


@settings(deadline=None, max_examples=50)
@given(a=cxcywh, b=cxcywh)
def test_both_libraries_give_the_same_bits(a, b):
    a, b = table(a), table(b)
    theirs = torch.from_numpy(a), torch.from_numpy(b)
    for function in (module.iou_matrix, module.giou_matrix):
        assert np.array_equal(function(a, b), function(*theirs).numpy(), equal_nan=True)


@pytest.mark.parametrize(("other", "iou", "giou"), [
    pytest.param(SQUARE, 1, 1, id="the same box"),
    pytest.param([1.0, 0.0, 3.0, 2.0], 1 / 3, 1 / 3, id="half of it"),
    pytest.param([2.0, 0.0, 4.0, 2.0], 0, 0, id="side by side"),
    pytest.param([4.0, 0.0, 6.0, 2.0], 0, -1 / 3, id="a gap as wide as a box"),
    pytest.param([0.0, 0.0, 1.0, 1.0], 1 / 4, 1 / 4, id="inside"),
    pytest.param([2.0, 2.0, 3.0, 3.0], 0, -4 / 9, id="a shared corner"),
])
def test_overlap_by_hand(boxes, other, iou, giou):
    a, b = table(SQUARE), table(other)
    np.testing.assert_allclose(boxes.iou_pairs(a, b), [iou], rtol=1e-6)
    np.testing.assert_allclose(boxes.giou_pairs(a, b), [giou], rtol=1e-6)


@pytest.mark.parametrize(("other", "iou"), [
    pytest.param([5.0, 0.0, 9.0, 2.0], 1, id="as high, wherever it is"),
    pytest.param([0.0, 1.0, 2.0, 3.0], 1 / 3, id="half of the height"),
    pytest.param([0.0, 2.0, 2.0, 4.0], 0, id="one above the other"),
])
def test_overlap_of_the_heights(boxes, other, iou):
    found = boxes.height_iou(table(SQUARE), table(other), 1e-9)
    np.testing.assert_allclose(found, [[iou]], rtol=1e-6)


def test_two_boxes_without_area_have_no_overlap(boxes):
    """There is no epsilon: 0/0 is NaN, and the memory knows what to do with it (QUIRK-28)."""
    point = table([1.0, 1.0, 1.0, 1.0])
    assert np.isnan(boxes.iou_matrix(point, point)).all()
    assert boxes.iou_matrix(point, table(SQUARE)).item() == 0
    assert boxes.iou_matrix(point, point, 1e-9).item() == 0


# Non-maximum suppression


@pytest.mark.parametrize(("scores", "kept"), [
    pytest.param([0.5, 0.9, 0.3], [1, 2], id="the one of higher score"),
    pytest.param([0.5, 0.5, 0.9], [2, 0], id="of equals the first"),
])
def test_of_two_boxes_in_one_place_one_is_kept(scores, kept):
    boxes = table([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]])
    assert module.suppress(boxes, np.float32(scores), 0.5).tolist() == kept


def test_no_box_is_suppressed_by_one_that_is_suppressed_itself():
    boxes = table([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]])
    assert module.suppress(boxes, np.float32([0.9, 0.8, 0.7]), 0.4).tolist() == [0, 2]
    assert len(module.suppress(boxes[:0], np.float32([]), 0.4)) == 0


@pytest.mark.parametrize("threshold", [0.3, 0.45, 0.6, 0.7])
def test_suppression_keeps_what_torchvision_keeps(threshold):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        corners = rng.uniform(0, 100, (60, 2))
        boxes = np.hstack([corners, corners + rng.uniform(1, 60, (60, 2))]).astype(np.float32)
        scores = rng.random(60, dtype=np.float32).round(1)
        wanted = ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold)
        assert module.suppress(boxes, scores, threshold).tolist() == wanted.tolist()
