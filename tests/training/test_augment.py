"""How clips of real data are varied: the published figures, and boxes that stay on the people."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tfsasm.motrv2.config import NetworkConfig, full
from tfsasm.training.augment import (
    AugmentConfig,
    View,
    augment_of,
    draw_colour,
    draw_view,
    drift,
    place,
    recoloured,
    resized,
    view_of,
    within,
)

CONFIG = AugmentConfig()


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_published_figures_are_the_defaults():
    """SPEC 9.1 to 9.3; the interval without QUIRK-30."""
    assert augment_of(full()) == CONFIG
    assert (CONFIG.max_interval, CONFIG.flip, CONFIG.crop) == (10, 0.5, 0.5)
    assert CONFIG.sizes == (608, 640, 672, 704, 736, 768, 800, 832, 864, 896, 928, 960, 992)
    assert (CONFIG.max_side, CONFIG.before_crop) == (1536, (800, 1000, 1200))
    assert (CONFIG.crop_sides, CONFIG.colour, CONFIG.crowd_shift) == ((800, 1200), (5, 30, 30), 50)


def test_a_smaller_network_has_smaller_clips():
    small = augment_of(NetworkConfig(short_side=80, max_side=154))
    assert small.sizes[0] == 61
    assert small.sizes[-1] == 99
    assert (small.max_side, small.before_crop, small.crop_sides) == (154, (80, 100, 120), (80, 120))


@pytest.mark.parametrize(("size", "short", "longest", "wanted"), [
    pytest.param((1920, 1080), 800, 1536, (1422, 800), id="the shorter side decides"),
    pytest.param((1920, 1080), 992, 1536, (1536, 864), id="the longer side is bounded"),
    pytest.param((1080, 1920), 800, 1536, (800, 1422), id="upright"),
    pytest.param((1000, 1000), 608, 1536, (608, 608), id="square"),
    pytest.param((1422, 800), 800, 1536, (1422, 800), id="nothing to do"),
    pytest.param((4000, 1000), 1200, None, (4800, 1200), id="no bound before a crop"),
])  # fmt: skip
def test_sizes_follow_the_published_rule(size, short, longest, wanted):
    assert resized(size, short, longest) == wanted


def views(count=400, size=(1920, 1080), config=CONFIG):
    random = rng(1)
    return [draw_view(size, random, config) for _ in range(count)]


def test_half_of_the_clips_are_mirrored_and_half_are_cut():
    made = views()
    assert np.mean([view.flip for view in made]) == pytest.approx(0.5, abs=0.08)
    assert np.mean([view.cut for view in made]) == pytest.approx(0.5, abs=0.08)


def test_views_stay_inside_the_image_and_the_bounds():
    for view in views():
        left, top, right, bottom = view.region
        assert 0 <= left < right <= 1920
        assert 0 <= top < bottom <= 1080
        assert min(view.size) <= 992
        assert max(view.size) <= 1536
        if not view.cut:
            assert view.region == (0, 0, 1920, 1080)
            assert min(view.size) in CONFIG.sizes or max(view.size) == 1536


def test_what_is_cut_out_keeps_its_shape():
    for view in views():
        across = view.size[0] / (view.region[2] - view.region[0])
        down = view.size[1] / (view.region[3] - view.region[1])
        assert across == pytest.approx(down, rel=0.01)


def red_box(image):
    """Left, top, right, bottom of what is red."""
    rows, columns = np.nonzero(image[..., 2] > 128)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize("seed", range(6))
def test_boxes_stay_on_the_people(seed):
    image = np.zeros((200, 300, 3), np.uint8)
    image[80:140, 120:150] = (0, 0, 255)
    config = augment_of(NetworkConfig(short_side=160, max_side=300))
    view = draw_view((300, 200), rng(seed), config)
    boxes, seen = place(np.array([[120.0, 80, 30, 60]]), view)
    picture = view_of(image, view)
    assert picture.shape == (view.size[1], view.size[0], 3)
    if seen[0] and min(boxes[0, 2:]) > 4:
        x, y, w, h = boxes[0]
        assert red_box(picture) == pytest.approx((x, y, x + w, y + h), abs=1.6)


def test_a_view_of_all_is_the_image_itself():
    image = rng().integers(0, 255, (20, 30, 3), dtype=np.uint8)
    assert np.array_equal(view_of(image, View((0, 0, 30, 20), (30, 20))), image)
    mirrored = view_of(image, View((0, 0, 30, 20), (30, 20), flip=True))
    assert np.array_equal(mirrored, image[:, ::-1])


@pytest.mark.parametrize(("cut", "box"), [
    pytest.param(True, [0, 0, 10, 20], id="cut: it ends at the border"),
    pytest.param(False, [-10, 0, 20, 20], id="published otherwise: it goes on (QUIRK-37)"),
])
def test_boxes_that_leave_the_picture(cut, box):
    view = View((10, 0, 30, 20), (20, 20), cut=cut)
    boxes, seen = place(np.array([[0.0, 0, 20, 20], [0, 0, 5, 5]]), view)
    assert boxes[0].tolist() == box
    assert seen.tolist() == [True, False]  # the other one is outside


def test_a_mirrored_box_is_as_far_from_the_other_side():
    boxes, _ = place(np.array([[10.0, 5, 20, 30]]), View((0, 0, 100, 50), (100, 50), flip=True))
    assert boxes.tolist() == [[70, 5, 20, 30]]


# Single images that move


def test_a_single_image_loses_strips_at_two_sides_per_frame():
    regions = drift((1000, 800), 5, rng(2), CONFIG)
    assert regions[0] == (0, 0, 1000, 800)
    for before, after in pairwise(regions):
        scale = (before[2] - before[0]) / 1000, (before[3] - before[1]) / 800
        lost = [(after[0] - before[0]) / scale[0], (before[2] - after[2]) / scale[0],
                (after[1] - before[1]) / scale[1], (before[3] - after[3]) / scale[1]]  # fmt: skip
        for one, other in (lost[:2], lost[2:]):
            assert min(one, other) == pytest.approx(0, abs=1e-9)
            assert 1 <= max(one, other) <= 50 + 1e-9
            assert max(one, other) == pytest.approx(round(max(one, other)))


def test_small_images_move_less():
    [_, region] = drift((80, 40), 2, rng(0), CONFIG)
    assert region[2] - region[0] >= 70
    assert region[3] - region[1] >= 35


def test_a_part_of_a_part_is_a_part_of_the_whole():
    assert within((100, 0, 300, 100), (50, 50, 100, 100), (100, 100)) == (200, 50, 300, 100)


# Colours


def test_each_channel_is_left_alone_half_of_the_time():
    random = rng(3)
    gains = np.array([draw_colour(random, CONFIG) for _ in range(600)])
    assert (np.abs(gains) <= (5, 30, 30)).all()
    assert (np.abs(gains).max(axis=0) >= (4, 27, 27)).all()
    assert (gains[:, 1] == 0).mean() == pytest.approx(0.5, abs=0.08)


def test_colours_change_in_opencvs_units():
    image = np.full((2, 2, 3), (40, 40, 200), np.uint8)
    brighter = recoloured(image, (0, 0, 30))
    assert brighter[..., 2].max() == 230
    assert recoloured(image, (0, 0, 0)) is image
