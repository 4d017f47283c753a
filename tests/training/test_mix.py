"""Clips out of a mix of data sets: each once per epoch, by number, whoever makes them; varied as
published, with boxes that stay on the people."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
import pytest
import torch

from helpers.scenes import NETWORK
from helpers.training_data import write_crowd, write_dance
from tfsasm.errors import InputError
from tfsasm.motrv2.config import NetworkConfig, full
from tfsasm.training.data import SamplingConfig, stream, to_clip
from tfsasm.training.mix import (
    AugmentConfig,
    Mix,
    View,
    augment_of,
    draw_colour,
    draw_view,
    drift,
    moving,
    place,
    resized,
    still,
    view_of,
    within,
)
from tfsasm.training.sources import Labelled, Ragged, load_data, parse_data

PLAIN = replace(augment_of(NETWORK), flip=0.0, crop=0.0, colour=(0, 0, 0), sizes=(64,))
SYNTHETIC = SamplingConfig(frames=3, max_interval=2, sizes=((64, 48),))
CONFIG = AugmentConfig()


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return write_dance(root / "DanceTrack"), write_crowd(root / "CrowdHuman")


@pytest.fixture
def mix(places):
    """`mix(weight)`: 12 clips of videos, 3 of single images, 2 synthetic ones."""
    dance, crowd = places

    def made(weight=1, augment=PLAIN, synthetic=",clips=2", seed=0):
        texts = [f"dancetrack:{dance},weight={weight}",
                 f"crowdhuman:{crowd},detections={crowd / 'boxes.json'}"]  # fmt: skip
        texts += [f"synthetic{synthetic}"] if synthetic else []
        data = tuple(load_data(parse_data(text), 3, 1) for text in texts)
        return Mix(seed, data, 3, augment, SYNTHETIC)

    return made


class Named(Mix):
    """Says which item a number means instead of making its clip."""

    def _clip(self, one, item, rng):
        return one.spec.kind, item


def items(mix, epoch=0):
    named = Named(**vars(mix))
    start = epoch * mix.epoch
    return [named(number)[0] for number in range(start, start + mix.epoch)]


def test_an_epoch_has_every_clip_once(mix):
    made = items(mix())
    assert len(made) == len(set(made)) == 12 + 3 + 2
    assert sorted(item for kind, item in made if kind == "dancetrack") == list(range(12))


def test_epochs_are_shuffled_by_seed_and_number(mix):
    orders = [items(mix()), items(mix(), epoch=1), items(mix(seed=1))]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(orders[2])
    assert len({tuple(order) for order in orders}) == 3


def test_a_weight_of_two_takes_each_clip_twice(mix):
    made = [item for kind, item in items(mix(2)) if kind == "dancetrack"]
    assert sorted(made) == sorted([*range(12)] * 2)


def test_a_weight_of_a_half_takes_every_clip_in_two_epochs(mix):
    made = [item for epoch in (0, 1) for kind, item in items(mix(0.5), epoch)
            if kind == "dancetrack"]  # fmt: skip
    assert sorted(made) == list(range(12))


def same(one, other):
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for a, b in zip(one, other, strict=True) for name in ("image", "boxes", "ids", "detections")
    )  # fmt: skip


def test_a_clip_is_a_function_of_seed_and_number(mix):
    augment = augment_of(NETWORK)
    one, again, other = mix(augment=augment), mix(augment=augment), mix(augment=augment, seed=1)
    for number in range(6):
        assert same(one(number)[0], again(number)[0])
    assert not all(same(one(n)[0], other(n)[0]) for n in range(6))


@pytest.mark.slow
def test_processes_share_the_stream(mix):
    """Two of them, one with a worker, make what one makes alone."""
    blocks = mix(synthetic="")
    alone = list(islice(stream(blocks, workers=0), 6))
    parts = [list(islice(stream(blocks, workers=k, part=(k, 2)), 3)) for k in range(2)]
    for number, clip in enumerate(alone):
        assert torch.equal(clip.images, parts[number % 2][number // 2].images)
    later = next(stream(blocks, skip=4, workers=0, part=(1, 2)))
    assert torch.equal(later.images, alone[5].images)


# Videos


def part(frames):
    """A video whose frames are numbered by their identity."""
    truth = [np.array([[k, 0, 10, 10, k, 0]], float) for k in range(frames)]
    found = [np.array([[k, 0, 10, 10, 0.5]], float) for k in range(frames)]
    return Labelled("v", tuple(map(str, range(frames))), Ragged.of(truth, 6), Ragged.of(found, 5))


@pytest.fixture
def blank_images(monkeypatch):
    blank = np.zeros((64, 64, 3), np.uint8)
    monkeypatch.setattr("tfsasm.training.mix.image_bytes", lambda path: b"")
    monkeypatch.setattr("tfsasm.training.mix.decoded", lambda data, what: blank)


def numbers(clip):
    return [int(frame.ids[0]) for frame in clip]


def test_steps_between_frames_are_drawn_and_stay_inside(blank_images):
    """Without QUIRK-30 and -31: from 1 to 10, and never past the end."""
    random, steps = rng(), set()
    for _ in range(300):
        start = int(random.integers(0, 56))
        chosen = numbers(moving(part(60), start, 5, random, PLAIN))
        step = chosen[1] - chosen[0]
        assert chosen == [start + k * step for k in range(5)]
        assert chosen[-1] < 60
        steps.add(step)
    assert steps == set(range(1, 11))


def test_the_last_clip_of_a_video_has_step_one(blank_images):
    assert numbers(moving(part(8), 5, 3, rng(), PLAIN)) == [5, 6, 7]


def test_people_are_where_the_boxes_are(mix):
    """People are red and green and may cover one another, over dark noise."""
    for number in range(mix(synthetic="").epoch):
        [clip] = mix(synthetic="")(number)
        for frame in clip:
            for x, y, w, h in frame.boxes:
                inside = frame.image[int(y) + 3 : int(y + h) - 2, int(x) + 3 : int(x + w) - 2]
                assert np.median(inside[..., 1:].max(axis=2)) > 200


def test_the_same_draw_holds_for_all_frames(blank_images):
    """Boxes that stand still in the image stand still in the clip."""
    augment = replace(augment_of(NETWORK), max_interval=1)
    frozen = part(5)
    frozen.truth.rows[:, :5] = (20, 10, 20, 30, 7)
    for seed in range(8):
        clip = moving(frozen, 0, 5, rng(seed), augment)
        assert len({frame.image.shape for frame in clip}) == 1
        assert len({tuple(frame.boxes.flatten().round(6)) for frame in clip}) == 1


def test_an_image_that_cannot_be_read_is_named():
    with pytest.raises(InputError, match=r"^0 is not an image"):
        moving(part(3), 0, 3, rng(), PLAIN)


# Single images


def test_a_single_image_moves_and_grows(blank_images):
    one = part(1)
    one.truth.rows[:, :4] = (24, 20, 16, 24)
    clip = still(one, 0, 4, rng(), PLAIN)
    widths = [frame.boxes[0, 2] for frame in clip]
    assert widths == sorted(widths)
    assert widths[-1] > widths[0] == 16
    assert len({tuple(frame.boxes[0]) for frame in clip}) == 4
    assert [frame.ids.tolist() for frame in clip] == [[0]] * 4


def test_people_who_leave_a_single_image_are_gone(blank_images):
    edge = part(1)
    edge.truth.rows[:, :4] = (0, 0, 2, 2)
    counts = []
    for seed in range(10):
        clip = still(edge, 0, 3, rng(seed), PLAIN)
        counts.append([len(frame.boxes) for frame in clip])
        assert [len(frame.boxes) for frame in clip] == sorted(counts[-1], reverse=True)
    assert {count[0] for count in counts} == {1}
    assert {count[-1] for count in counts} == {0, 1}


def test_clips_become_tensors_with_classes(mix):
    [clip] = mix()(0)
    made = to_clip(clip)
    assert made.images.dtype == torch.uint8
    assert all((targets.labels == 0).all() for targets in made.targets)


# How they are varied


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
    pytest.param((9000, 2), 608, 1536, (4500, 1), id="a strip keeps a pixel of its height"),
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
