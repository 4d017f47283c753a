"""Box formats and overlaps, against arithmetic done by hand and against torchvision."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import ops

from tfsasm import boxes

coordinate = st.floats(-2, 2, width=32)
size = st.floats(0.0078125, 2, width=32)
cxcywh = st.lists(st.tuples(coordinate, coordinate, size, size), min_size=0, max_size=6)


def table(rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def test_corners_of_a_box():
    found = boxes.cxcywh_to_xyxy(torch.tensor([0.5, 0.4, 0.2, 0.1]))
    torch.testing.assert_close(found, torch.tensor([0.4, 0.35, 0.6, 0.45]))


def test_no_pixel_is_added():
    assert boxes.area(torch.tensor([10.0, 10.0, 20.0, 30.0])) == 200
    assert boxes.cxcywh_to_xyxy(torch.tensor([4.5, 2.0, 9.0, 4.0])).tolist() == [0, 0, 9, 4]


def test_corners_are_rounded_as_in_the_released_code():
    """Half the size first, then the difference, in float32 (SPEC 1)."""
    cx, w = torch.tensor(0.1), torch.tensor(0.3)
    x1, _, x2, _ = boxes.cxcywh_to_xyxy(torch.stack([cx, cx, w, w])).unbind()
    assert x1 == cx - w * 0.5
    assert x2 == cx + w * 0.5


@settings(deadline=None)
@given(cxcywh)
def test_conversion_there_and_back(rows):
    there = table(rows)
    back = ops.box_convert(boxes.cxcywh_to_xyxy(there), "xyxy", "cxcywh")
    torch.testing.assert_close(back, there, atol=1e-6, rtol=1e-5)


@settings(deadline=None)
@given(cxcywh, cxcywh)
def test_overlaps_agree_with_torchvision(a, b):
    a, b = (boxes.cxcywh_to_xyxy(table(rows)) for rows in (a, b))
    iou, giou = boxes.iou_matrix(a, b), boxes.giou_matrix(a, b)
    assert iou.shape == giou.shape == (len(a), len(b))
    torch.testing.assert_close(iou, ops.box_iou(a, b), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        giou, ops.generalized_box_iou(a, b).reshape(giou.shape), atol=1e-4, rtol=1e-4
    )


@settings(deadline=None)
@given(cxcywh)
def test_pairs_are_the_diagonal_of_the_matrix(rows):
    a = boxes.cxcywh_to_xyxy(table(rows))
    b = a.flip(0)
    assert torch.equal(boxes.iou_pairs(a, b), boxes.iou_matrix(a, b).diagonal())
    assert torch.equal(boxes.giou_pairs(a, b), boxes.giou_matrix(a, b).diagonal())


SQUARE = [0.0, 0.0, 2.0, 2.0]


@pytest.mark.parametrize(("other", "iou", "giou"), [
    pytest.param(SQUARE, 1, 1, id="the same box"),
    pytest.param([1.0, 0.0, 3.0, 2.0], 1 / 3, 1 / 3, id="half of it"),
    pytest.param([2.0, 0.0, 4.0, 2.0], 0, 0, id="side by side"),
    pytest.param([4.0, 0.0, 6.0, 2.0], 0, -1 / 3, id="a gap as wide as a box"),
    pytest.param([0.0, 0.0, 1.0, 1.0], 1 / 4, 1 / 4, id="inside"),
    pytest.param([2.0, 2.0, 3.0, 3.0], 0, -4 / 9, id="a shared corner"),
])
def test_overlap_by_hand(other, iou, giou):
    a, b = torch.tensor([SQUARE]), torch.tensor([other])
    torch.testing.assert_close(boxes.iou_pairs(a, b), torch.tensor([float(iou)]))
    torch.testing.assert_close(boxes.giou_pairs(a, b), torch.tensor([float(giou)]))


def test_two_empty_boxes_have_no_overlap_to_speak_of():
    """There is no epsilon: 0/0 is NaN, and the memory knows what to do with it (QUIRK-28)."""
    point = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    assert boxes.iou_matrix(point, point).isnan().all()
    assert boxes.iou_matrix(point, torch.tensor([SQUARE])).item() == 0
