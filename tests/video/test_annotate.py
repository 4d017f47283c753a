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
    draw_marks,
    identity_color,
    side_by_side,
)
from tfsasm.video.labels import Style


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
