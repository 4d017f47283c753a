"""Small pictures of views: which, how large, how many."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from tfsasm.tracking.pictures import HEIGHT, WIDTH, Pictures

IMAGE = np.full((200, 300, 3), 90, np.uint8)
IMAGE[50:150, 100:150] = (20, 200, 20)


def read(text):
    return cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)


def test_a_picture_is_what_was_inside_the_box():
    pictures = Pictures()
    pictures.see(1, 7, IMAGE, np.array([100.0, 50, 150, 150]))
    pictures.keep(1, 7)
    [(frame, text)] = pictures.of(1)
    image = read(text)
    assert frame == 7
    assert image.shape == (HEIGHT, HEIGHT // 2, 3)
    assert np.abs(image.reshape(-1, 3).mean(0) - [20, 200, 20]).max() < 6


@pytest.mark.parametrize("xyxy", [
    pytest.param([-50.0, -50, 20, 20], id="over the border"),
    pytest.param([0.0, 0, 300, 10], id="wide"),
    pytest.param([10.2, 10.2, 10.4, 10.4], id="less than a pixel"),
])  # fmt: skip
def test_a_picture_has_a_size_whatever_the_box(xyxy):
    pictures = Pictures()
    pictures.see(1, 1, IMAGE, np.array(xyxy))
    pictures.keep(1, 1)
    [(_, text)] = pictures.of(1)
    height, width = read(text).shape[:2]
    assert 0 < height <= HEIGHT
    assert 0 < width <= WIDTH


def test_a_box_outside_of_the_image_has_no_picture_nor_that_of_before():
    pictures = Pictures()
    pictures.see(1, 1, IMAGE, np.array([0.0, 0, 10, 10]))
    pictures.see(1, 2, IMAGE, np.array([400.0, 0, 450, 10]))
    pictures.keep(1, 2)
    assert not [*pictures.of(1)]


def test_only_the_view_that_was_stored_is_kept():
    pictures = Pictures()
    pictures.see(1, 5, IMAGE, np.array([0.0, 0, 50, 50]))
    pictures.keep(1, 4)
    assert not [*pictures.of(1)]


def test_all_pictures_fit_and_the_newest_stay():
    pictures = Pictures(most=20_000)
    noise = np.random.default_rng(0).integers(0, 255, IMAGE.shape, np.uint8)
    for frame in range(1, 60):
        for identity in (1, 2):
            if identity == 1 or frame < 4:
                pictures.see(identity, frame, noise, np.array([0.0, 0, 50, 90]))
                pictures.keep(identity, frame)
    frames = {identity: [frame for frame, _ in pictures.of(identity)] for identity in (1, 2)}
    size = sum(len(base64.b64decode(text)) for i in (1, 2) for _, text in pictures.of(i))
    assert size <= 20_000
    assert frames[1][-1] == 59
    assert frames[2][-1] == 3
