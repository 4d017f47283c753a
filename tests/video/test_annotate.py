"""Drawing leaves its input alone, and marks may lie anywhere."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import supervision as sv

from tfsasm.video.annotate import (
    FALSE_POSITIVE,
    Annotator,
    Mark,
    Style,
    draw_marks,
    fitting,
    identity_color,
    places,
    side_by_side,
)


def grey(level: int = 90, width: int = 64, height: int = 48) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def tracks(*ids: int, scores: bool = True, width: int = 200) -> sv.Detections:
    left = np.arange(len(ids)) * 60.0 + 20
    xyxy = np.stack([left, left * 0 + 50, left + 40, left * 0 + width - 60], axis=1)
    confidence = np.full(len(ids), 0.875, np.float32) if scores else None
    return sv.Detections(xyxy=xyxy, confidence=confidence, tracker_id=np.array(ids, int))


@pytest.mark.parametrize(
    "detections",
    [
        pytest.param(tracks(1, 2), id="tracks"),
        pytest.param(tracks(1, 2, scores=False), id="no scores"),
        pytest.param(sv.Detections(xyxy=tracks(1).xyxy), id="no identities"),
        pytest.param(tracks(-1, 3), id="one without identity"),
        pytest.param(tracks(10**12), id="a large identity"),
    ],
)
def test_drawing_marks_a_copy(detections):
    image = grey(90, 320, 200)
    drawn = Annotator().annotate(image, detections)
    assert (image == 90).all()
    assert drawn.shape == image.shape
    assert (drawn[50:140, 20] != 90).any()  # the left side of the first box


def test_identity_and_score_stand_apart():
    """By one space of this font #1 0.88 reads as 10.88."""
    track = sv.Detections(
        xyxy=np.array([[20.0, 100, 600, 440]]), confidence=np.array([0.88]),
        tracker_id=np.array([1]),
    )  # fmt: skip
    drawn = Annotator().annotate(grey(90, 640, 480), track)
    wide, tall = Style.of(640, 480).size("#1  0.88")
    columns = (drawn[100 - tall // 2] != 90).any(axis=1)
    assert columns.sum() == pytest.approx(wide, abs=1)


@pytest.mark.parametrize("size", [(320, 200), (1, 1), (3840, 2160)])
@pytest.mark.parametrize("detections", [sv.Detections.empty(), tracks()], ids=["none", "0 rows"])
def test_a_frame_without_tracks_stays_as_it_is(size, detections):
    image = grey(90, *size)
    image.flags.writeable = False
    drawn = Annotator().annotate(image, detections)
    assert (drawn == image).all()
    assert drawn is not image


@pytest.mark.parametrize(
    "box",
    [
        pytest.param([-50, -50, 400, 300], id="larger than the image"),
        pytest.param([900, 900, 950, 950], id="outside"),
        pytest.param([-1e9, 0, 1e9, 10], id="absurd"),
        pytest.param([30, 30, 20, 20], id="inside out"),
    ],
)
@pytest.mark.parametrize("size", [(320, 200), (1, 1)])
def test_no_box_breaks_the_drawing(box, size):
    detections = sv.Detections(xyxy=np.array([box], float), tracker_id=np.array([1]))
    assert Annotator().annotate(grey(90, *size), detections).shape == (size[1], size[0], 3)


def test_a_trail_follows_its_identity_until_reset():
    image = grey(90, 320, 200)
    annotator, still = Annotator(), Annotator(trail=0)
    for step in range(5):
        moved = tracks(4)
        moved.xyxy += [40.0 * step, 5, 40 * step, 5]
        drawn, without = annotator.annotate(image, moved), still.annotate(image, moved)
    path = drawn[140:148, 40:190]
    color = identity_color(4).as_bgr()
    assert (path == color).all(axis=2).sum() > 100
    assert (without[140:148, 40:170] == 90).all()
    annotator.reset()
    assert (annotator.annotate(image, moved) == without).all()


def test_the_colour_belongs_to_the_identity():
    image = grey(90, 640, 200)
    alone = Annotator(trail=0).annotate(image, tracks(7))
    among = Annotator(trail=0).annotate(image, tracks(7, 3, 9))
    assert (alone[50:140, 20] == among[50:140, 20]).all()


def test_neighbouring_identities_look_different():
    lab = [
        cv2.cvtColor(np.float32([[identity_color(i).as_bgr()]]) / 255, cv2.COLOR_BGR2LAB)[0, 0]
        for i in range(1, 21)
    ]
    apart = [np.linalg.norm(a - b) for i, a in enumerate(lab) for b in lab[:i]]
    assert min(apart) > 10  # about 2 can just be seen


@pytest.mark.parametrize("size", [(1920, 1080), (320, 200), (16, 9), (1, 1)])
@pytest.mark.parametrize("title", ["", "memory on", "a title that is far too long " * 5])
def test_two_runs_stand_side_by_side(size, title):
    width, height = size
    left, right = grey(60, width, height), grey(200, 2 * width, 2 * height)
    both = side_by_side(left, right, (title, "right"))
    assert both.dtype == np.uint8
    strip, gap = both.shape[0] - height, both.shape[1] - 2 * width
    assert strip >= 18
    assert (both[strip:, :width] == 60).all()
    assert (both[strip:, width + gap :] == 200).all()
    letters = (both[:strip, :width] > 128).any(axis=(0, 2))
    assert letters.any() == (bool(title) and width > 100)
    assert not letters[[0, -1]].any()  # the text fits


@pytest.mark.parametrize("ltwh", [
    pytest.param([-50, -50, 20, 20], id="outside, above"),
    pytest.param([500, 500, 20, 20], id="outside, below"),
    pytest.param([0, 0, 64, 48], id="all of the image"),
    pytest.param([-1e9, 0, 1e12, 10], id="beyond any image"),
    pytest.param([5, 5, 0, 0], id="nothing"),
])
def test_marks_may_lie_anywhere(ltwh):
    image = np.zeros((48, 64, 3), np.uint8)
    mark = Mark(np.array(ltwh, dtype=float), FALSE_POSITIVE, "false")
    assert draw_marks(image, [mark]).shape == (48, 64, 3)
    assert (image == FALSE_POSITIVE).all(axis=2).any(), "its label is visible"


# Labels suit their boxes and leave one another alone

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
