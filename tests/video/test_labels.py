"""Labels suit their boxes and leave one another alone."""

from __future__ import annotations

import numpy as np
import pytest
import supervision as sv

from tfsasm.video.annotate import Annotator, identity_color
from tfsasm.video.labels import Style, fitting, places

STYLE = Style.of(640, 480)
TEXTS = ("person #1234 0.87", "person #1234", "#1234")


def box(width, height=200.0, left=50.0, top=100.0):
    return np.array([left, top, left + width, top + height])


@pytest.mark.parametrize("text", TEXTS)
def test_a_label_has_at_most_twice_the_width_of_its_box(text):
    width = STYLE.size(text)[0]
    assert fitting(TEXTS, box(width / 2), STYLE) == text
    shorter = TEXTS[TEXTS.index(text) + 1 :][:1] or TEXTS[-1:]
    assert fitting(TEXTS, box(width / 2 - 1), STYLE) == shorter[0]


@pytest.mark.parametrize(("width", "height", "text"), [
    pytest.param(200, 9, TEXTS[0], id="flat: it hides nobody"),
    pytest.param(3, 200, TEXTS[2], id="thin: the identity stays"),
    pytest.param(10, 15, "", id="tiny: it would hide who it names"),
])
def test_a_label_hides_nobody(width, height, text):
    assert fitting(TEXTS, box(width, height), STYLE) == text


def overlaps(begins, sizes):
    """Pairs of labels that cover one another."""
    ends = begins + sizes
    return [
        (a, b) for a in range(len(begins)) for b in range(a)
        if (np.minimum(ends[a], ends[b]) > np.maximum(begins[a], begins[b])).all()
    ]  # fmt: skip


def test_a_lone_label_is_above_its_box():
    assert places(box(40)[None], np.array([[60, 20]]), (640, 480)).tolist() == [[50, 80]]


@pytest.mark.parametrize("people", [2, 4])
def test_people_in_one_place_have_labels_side_by_side(people):
    boxes = np.stack([box(40, left=50.0 + 3 * n) for n in range(people)])
    sizes = np.full((people, 2), (60, 20))
    begins = places(boxes, sizes, (640, 480))
    assert overlaps(begins, sizes) == []
    assert (places(boxes[:1], sizes[:1], (640, 480)) == begins[:1]).all(), "the oldest stays"


def test_labels_below_are_above_only_where_nothing_else_is_free():
    boxes, sizes = np.stack([box(40)] * 3), np.full((3, 2), (60, 20))
    begins = places(boxes, sizes, (640, 480), below=True)
    top, bottom = boxes[0, [1, 3]]
    assert begins[0].tolist() == [boxes[0, 0], bottom]
    assert (begins[:, 1] >= top).all()
    assert len(np.unique(begins, axis=0)) == 3


@pytest.mark.parametrize("corner", [(-30, -30), (630, 470), (900, 900)])
def test_no_label_leaves_the_image(corner):
    begins = places(box(40, 40, *corner)[None], np.array([[60, 20]]), (640, 480))
    assert ((begins >= 0) & (begins <= [640 - 60, 480 - 20])).all()


def test_a_label_that_is_larger_than_the_image_begins_in_it():
    assert places(box(40)[None], np.array([[60, 20]]), (16, 9)).tolist() == [[0, 0]]


@pytest.mark.parametrize("size", [(96, 72), (640, 480), (3840, 2160)])
def test_letters_grow_with_the_image(size):
    style = Style.of(*size)
    height = style.size("#1")[1]
    assert 8 <= height <= 0.2 * size[1]
    assert height >= 0.015 * size[1]


def people(*ids, names=("person", "car")):
    left = 70.0 * np.arange(len(ids)) + 20
    xyxy = np.stack([left, left * 0 + 90, left + 50, left * 0 + 180], axis=1)
    return sv.Detections(
        xyxy=xyxy, tracker_id=np.array(ids), data={"class_name": np.array(names[: len(ids)])}
    )


def label_width(drawn, identity):
    """Columns of the ground of a label above its box."""
    color = identity_color(identity).as_bgr()
    return int((drawn[60:86] == color).all(axis=2).any(axis=0).sum())


def test_names_of_classes_are_written_where_they_are_asked_for():
    image = np.full((240, 320, 3), 90, np.uint8)
    plain = Annotator(trail=0).annotate(image, people(7))
    named = Annotator(trail=0, names=True).annotate(image, people(7))
    assert label_width(named, 7) > label_width(plain, 7) > 0
    without = people(7)
    without.data = {}
    assert (Annotator(trail=0, names=True).annotate(image, without) == plain).all()
