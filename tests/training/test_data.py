"""Training clips: a function of (seed, block), in which ground truth and image stay together."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from helpers.scenes import drawn_blocks, drawn_clip
from tfsasm.datasets.synthetic.config import SyntheticFrame
from tfsasm.runtime.preprocess import MEAN, STD
from tfsasm.training import data
from tfsasm.training.data import (
    SamplingConfig,
    SyntheticBlocks,
    augment,
    cut,
    normalised,
    recoloured,
    stream,
    to_clip,
)

PLAIN = SamplingConfig(flip=0, backwards=0, colour=(0, 0, 0), lost_detections=0, blank=0)
SMALL = SamplingConfig(frames=2, max_interval=2, sequences=2, sizes=((64, 48), (48, 64)), blank=0.2)


def rng(seed=0):
    return np.random.default_rng(seed)


def numbered(count):
    """Frames that carry their number as the identity of their only person."""
    image, box, found = np.zeros((4, 4, 3), np.uint8), np.ones((1, 4)), np.ones((1, 5))
    return [SyntheticFrame(image, box, np.array([n]), np.ones(1), found) for n in range(count)]


def numbers(clips):
    return [[int(frame.ids[0]) for frame in clip] for clip in clips]


def same(one, other):
    """Whether two raw clips are the same, pixel by pixel."""
    fields = ("image", "boxes", "ids", "detections")
    return len(one) == len(other) and all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for a, b in zip(one, other, strict=True) for name in fields
    )  # fmt: skip


# Cutting


@pytest.mark.parametrize("seed", range(8))
def test_clips_cut_a_sequence_up_without_overlap_or_rest(seed):
    sampling = replace(PLAIN, frames=4, max_interval=3)
    cuts = numbers(cut(numbered(sampling.sequence_frames), rng(seed), sampling))
    assert sorted(n for clip in cuts for n in clip) == list(range(24))
    assert {len(clip) for clip in cuts} == {4}
    assert len({int(step) for clip in cuts for step in np.diff(clip)}) == 1


def test_every_interval_is_drawn():
    sampling = replace(PLAIN, frames=2, max_interval=3)
    frames = numbered(sampling.sequence_frames)
    steps = {b - a for seed in range(20) for a, b in numbers(cut(frames, rng(seed), sampling))}
    assert steps == {1, 2, 3}


def test_a_sequence_is_as_long_as_every_interval_needs():
    assert SamplingConfig(frames=5, max_interval=3).sequence_frames == 30
    assert SamplingConfig(frames=4, max_interval=4).sequence_frames == 48


def test_a_rest_that_makes_no_clip_is_left_out():
    assert numbers(cut(numbered(7), rng(), replace(PLAIN, frames=3, max_interval=1))) == [
        [0, 1, 2], [3, 4, 5]
    ]  # fmt: skip


# Varying


def test_without_augmentation_a_clip_stays_as_it_is():
    clip = drawn_clip(0)
    assert same(augment(clip, rng(), PLAIN), clip)


def test_backwards_is_the_same_clip_from_its_end():
    clip = drawn_clip(0)
    assert same(augment(clip, rng(), replace(PLAIN, backwards=1)), clip[::-1])


def test_a_flip_mirrors_image_boxes_and_detections():
    clip = drawn_clip(0)
    flipped = augment(clip, rng(), replace(PLAIN, flip=1))
    for before, after in zip(clip, flipped, strict=True):
        assert np.array_equal(after.image, before.image[:, ::-1])
        assert np.array_equal(after.ids, before.ids)
        for one, other in ((before.boxes, after.boxes), (before.detections, after.detections)):
            assert other[:, 0] + other[:, 2] == pytest.approx(64 - one[:, 0])  # right edge
            assert np.array_equal(other[:, 1:], one[:, 1:])  # scores too


def test_the_person_is_where_the_flipped_box_is():
    """A red person on dark noise, found again by colour."""
    [frame] = augment(drawn_clip(3, frames=1), rng(), replace(PLAIN, flip=1))
    x, y, w, h = frame.boxes[0].round().astype(int)
    inside = frame.image[y + 2 : y + h - 2, x + 2 : x + w - 2, 2]
    assert np.median(inside) == 255


def test_a_flip_twice_is_nothing():
    clip, flip = drawn_clip(0), replace(PLAIN, flip=1)
    back = augment(augment(clip, rng(), flip), rng(), flip)
    assert back[0].boxes == pytest.approx(clip[0].boxes)
    assert np.array_equal(back[0].image, clip[0].image)


def test_the_given_clip_is_left_alone():
    clip, untouched = drawn_clip(0), drawn_clip(0)
    augment(clip, rng(), replace(SMALL, flip=1, lost_detections=0.5))
    assert same(clip, untouched)


def test_colours_change_alike_in_all_frames():
    frame = drawn_clip(0, frames=1)[0]
    shifted = augment([frame] * 3, rng(1), replace(PLAIN, colour=(8, 40, 40)))
    assert not np.array_equal(shifted[0].image, frame.image)
    assert all(np.array_equal(other.image, shifted[0].image) for other in shifted)
    assert np.array_equal(shifted[0].boxes, frame.boxes)


def test_colours_change_in_opencvs_units():
    image = np.full((2, 2, 3), (40, 40, 200), np.uint8)
    brighter = recoloured(image, (0, 0, 30))
    assert brighter[..., 2].max() == 230
    assert recoloured(image, (0, 0, 0)) is image


def test_detections_are_lost_apart_and_truth_never():
    clip = drawn_clip(0) * 100
    kept = augment(clip, rng(), replace(PLAIN, lost_detections=0.25))
    counts = [len(frame.detections) for frame in kept]
    assert set(counts) == {0, 1, 2}
    assert sum(counts) / 600 == pytest.approx(0.75, abs=0.06)
    assert {len(frame.boxes) for frame in kept} == {2}
    for before, after in zip(clip, kept, strict=True):
        rows = before.detections.tolist()
        assert all(row in rows for row in after.detections.tolist())


def test_a_blank_clip_keeps_all_but_its_images():
    clip = drawn_clip(0)
    blank = augment(clip, rng(), replace(PLAIN, blank=1))
    for before, after in zip(clip, blank, strict=True):
        assert (after.image == 114).all()
        assert np.array_equal(after.detections, before.detections)
        assert np.array_equal(after.boxes, before.boxes)


@pytest.mark.parametrize(("name", "value", "share"), [
    ("flip", 0.5, 0.5), ("backwards", 0.2, 0.2), ("blank", 0.1, 0.1),
])  # fmt: skip
def test_chances_are_what_they_say(name, value, share):
    clip, random = numbered(2), rng(0)
    clip = [replace(frame, boxes=np.array([[0.0, 0, 1, 1]])) for frame in clip]
    happened = {
        "flip": lambda made: made[0].boxes[0, 0] != 0,
        "backwards": lambda made: made[0].ids[0] == 1,
        "blank": lambda made: made[0].image.any(),
    }[name]
    drawn = [happened(augment(clip, random, replace(PLAIN, **{name: value}))) for _ in range(600)]
    assert np.mean(drawn) == pytest.approx(share, abs=0.07)


# Tensors


def test_targets_and_proposals_are_normalised_and_the_image_is_rgb():
    image = np.zeros((50, 100, 3), np.uint8)
    image[..., 0] = 200  # blue
    frame = SyntheticFrame(
        image, np.array([[10.0, 20, 30, 10]]), np.array([7]), np.ones(1),
        np.array([[80.0, 0, 40, 50, 0.6]]),
    )  # fmt: skip
    clip = to_clip([frame, frame])
    assert clip.images.shape == (2, 3, 50, 100)
    assert clip.images.dtype == torch.uint8
    assert [int(channel.max()) for channel in clip.images[0]] == [0, 0, 200]
    torch.testing.assert_close(clip.targets[0].boxes, torch.tensor([[0.25, 0.5, 0.3, 0.2]]))
    assert clip.targets[0].ids.tolist() == [7]
    assert clip.targets[0].ids.dtype == torch.int64
    torch.testing.assert_close(clip.detections[1].boxes, torch.tensor([[1.0, 0.5, 0.4, 1.0]]))
    torch.testing.assert_close(clip.detections[1].scores, torch.tensor([0.6]))


def test_a_frame_without_people_is_a_normal_frame():
    empty = SyntheticFrame(
        np.zeros((8, 8, 3), np.uint8), np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0),
        np.zeros((0, 5)),
    )  # fmt: skip
    clip = to_clip([empty])
    assert (len(clip.targets[0]), len(clip.detections[0])) == (0, 0)
    assert clip.targets[0].boxes.shape == (0, 4)


def test_images_are_normalised_for_the_network_last():
    clip = to_clip(drawn_clip(0))
    ready = normalised(clip)
    back = ready.images * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
    torch.testing.assert_close((back * 255).round().byte(), clip.images)


@pytest.mark.parametrize(("frames", "length"), [(None, 3), (2, 2), (1, 1), (9, 3)])
def test_a_clip_can_be_shortened(frames, length):
    short = normalised(to_clip(drawn_clip(0)), frames)
    assert len(short.images) == len(short.targets) == len(short.detections) == length


# The stream


@pytest.fixture(scope="module")
def blocks():
    """Two blocks of rendered clips, each made twice."""
    return [[SyntheticBlocks(7, SMALL)(index) for _ in range(2)] for index in (0, 1)]


def test_a_block_is_a_function_of_seed_and_number(blocks):
    for one, other in blocks:
        assert len(one) == len(other) == 4  # two sequences of four frames
        assert all(same(*pair) for pair in zip(one, other, strict=True))


def test_blocks_and_seeds_differ(blocks):
    other = SyntheticBlocks(8, SMALL)(0)
    seen = [blocks[0][0], blocks[1][0], other]
    for one in range(3):
        for two in range(one):
            assert not any(same(a, b) for a in seen[one] for b in seen[two])


def test_rendered_clips_hold_people_and_detections(blocks):
    frames = [frame for block in blocks for clip in block[0] for frame in clip]
    assert sum(len(frame.boxes) for frame in frames) > len(frames)
    assert sum(len(frame.detections) for frame in frames) > len(frames) / 2
    assert {frame.image.shape for frame in frames} <= {(48, 64, 3), (64, 48, 3)}
    assert all(len(set(frame.ids.tolist())) == len(frame.boxes) for frame in frames)


def images(clips):
    return [clip.images for clip in clips]


@pytest.mark.parametrize("skip", range(5))
def test_skipping_is_slicing(skip):
    """A run that resumes sees what it would have seen."""
    whole = images(islice(stream(drawn_blocks, workers=0), 8))
    rest = images(islice(stream(drawn_blocks, skip=skip, workers=0), 8 - skip))
    assert len(rest) == 8 - skip
    assert all(torch.equal(*pair) for pair in zip(whole[skip:], rest, strict=True))


class Defective:
    """A `DataLoader` whose processes end with an error, or when they are told."""

    def __init__(self, numbers, **how):
        self.running = how["num_workers"]

    def __iter__(self):
        return self

    def __next__(self):
        raise ZeroDivisionError

    def _shutdown_workers(self):
        self.running = 0


def test_an_error_leaves_no_process_that_makes_clips(monkeypatch):
    """While its traceback is kept, so are they, and the end of Python waits for them."""
    made = []
    monkeypatch.setattr(
        data, "DataLoader", lambda *given, **how: made.append(Defective(*given, **how)) or made[0]
    )
    with pytest.raises(ZeroDivisionError) as caught:
        next(stream(drawn_blocks, workers=2))
    assert (caught.type, made[0].running) == (ZeroDivisionError, 0)


def test_the_stream_is_made_of_the_blocks():
    got = images(islice(stream(drawn_blocks, workers=0), 6))
    wanted = [to_clip(clip).images for index in range(3) for clip in drawn_blocks(index)]
    assert all(torch.equal(*pair) for pair in zip(got, wanted, strict=True))


def test_only_the_blocks_that_are_needed_are_made():
    made = []

    def spied(index):
        made.append(index)
        return drawn_blocks(index)

    next(stream(spied, skip=6, workers=0))
    assert made == [0, 3]  # the first tells how long a block is
