"""Clips out of a mix of data sets: each once per epoch, by number, whoever makes them."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from helpers.scenes import NETWORK
from helpers.training_data import write_crowd, write_dance
from tfsasm.errors import InputError
from tfsasm.training.augment import augment_of
from tfsasm.training.data import SamplingConfig, stream, to_clip
from tfsasm.training.mix import Mix, moving, still
from tfsasm.training.sources import Labelled, Ragged, load_data, parse_data

PLAIN = replace(augment_of(NETWORK), flip=0.0, crop=0.0, colour=(0, 0, 0), sizes=(64,))
SYNTHETIC = SamplingConfig(frames=3, max_interval=2, sizes=((64, 48),))


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
    random, steps = np.random.default_rng(0), set()
    for _ in range(300):
        start = int(random.integers(0, 56))
        chosen = numbers(moving(part(60), start, 5, random, PLAIN))
        step = chosen[1] - chosen[0]
        assert chosen == [start + k * step for k in range(5)]
        assert chosen[-1] < 60
        steps.add(step)
    assert steps == set(range(1, 11))


def test_the_last_clip_of_a_video_has_step_one(blank_images):
    assert numbers(moving(part(8), 5, 3, np.random.default_rng(0), PLAIN)) == [5, 6, 7]


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
        clip = moving(frozen, 0, 5, np.random.default_rng(seed), augment)
        assert len({frame.image.shape for frame in clip}) == 1
        assert len({tuple(frame.boxes.flatten().round(6)) for frame in clip}) == 1


def test_an_image_that_cannot_be_read_is_named():
    with pytest.raises(InputError, match=r"^0 is not an image"):
        moving(part(3), 0, 3, np.random.default_rng(0), PLAIN)


# Single images


def test_a_single_image_moves_and_grows(blank_images):
    one = part(1)
    one.truth.rows[:, :4] = (24, 20, 16, 24)
    clip = still(one, 0, 4, np.random.default_rng(0), PLAIN)
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
        clip = still(edge, 0, 3, np.random.default_rng(seed), PLAIN)
        counts.append([len(frame.boxes) for frame in clip])
        assert [len(frame.boxes) for frame in clip] == sorted(counts[-1], reverse=True)
    assert {count[0] for count in counts} == {1}
    assert {count[-1] for count in counts} == {0, 1}


def test_clips_become_tensors_with_classes(mix):
    [clip] = mix()(0)
    made = to_clip(clip)
    assert made.images.dtype == torch.uint8
    assert all((targets.labels == 0).all() for targets in made.targets)
