"""Galleries: the sparse memory, and the alternatives."""

from dataclasses import replace

import numpy as np
import pytest

from helpers.people import vector, walk
from tfsasm.errors import InputError
from tfsasm.tracking import memory
from tfsasm.tracking.appearance.gallery import FAR, GalleryConfig, gallery, observe
from tfsasm.tracking.memory import Observation


def observation(people, travel=1.0):
    """One person per track, not covered, who has travelled; None for a track without detection."""
    n = len(people)
    view = np.stack([np.zeros(8, np.float32) if p is None else vector(p) for p in people])
    travelled, overlap, score = (np.full(n, value, np.float32) for value in (travel, 0, 0.9))
    return Observation(view, travelled, overlap, score, np.array([p is not None for p in people]))


KINDS = [
    GalleryConfig(), GalleryConfig(kind="ema"), GalleryConfig(kind="last"),
    *(GalleryConfig(kind="sparse", read=read) for read in ("mean", "half", "nearest")),
]


@pytest.mark.parametrize("config", KINDS, ids=lambda config: f"{config.kind} {config.read}")
def test_a_gallery_tells_people_apart_and_keeps_lost_tracks(config):
    state = gallery(config, 3, 8).written(observation([0, 1, None]), config)
    for _ in range(3):
        state = state.written(observation([0, None, None]), config)
    distances = state.distances(np.stack([vector(0), vector(1)]), config)
    np.testing.assert_allclose(distances, [[0, 1], [1, 0], [FAR, FAR]], atol=1e-6)
    assert state[:0].distances(np.zeros((2, 8), np.float32), config).shape == (0, 2)


def test_the_gallery_of_none_knows_no_distance():
    config = GalleryConfig(kind="none")
    state = gallery(config, 2, 8).written(observation([0, 1]), config)
    assert state.distances(vector(0)[None], config).tolist() == [[FAR], [FAR]]


def test_more_views_than_memory_has_room_for_are_refused():
    with pytest.raises(InputError, match=r"gallery.views is 100000000; at most 10,000 fit"):
        GalleryConfig(kind="last", views=100_000_000)


def test_the_sparse_gallery_is_the_memory_itself():
    """Whatever is written, its views are those of `memory.write`, and its mean theirs."""
    config = GalleryConfig(kind="sparse")
    state, dice = gallery(config, 4, 8), np.random.default_rng(0)
    plain = memory.empty(np.zeros((4, 8), np.float32), config.memory)
    for _ in range(40):
        people = [int(p) if p >= 0 else None for p in dice.integers(-2, 8, 4)]
        seen = observation(people, travel=float(dice.uniform(0, 0.4)))
        state, plain = state.written(seen, config), memory.write(plain, seen, config.memory)
        for name, column in vars(plain).items():
            np.testing.assert_array_equal(getattr(state.memory, name), column)
    assert plain.valid.sum() > 10
    np.testing.assert_array_equal(state.mean, memory.mean_view(plain))


@pytest.mark.parametrize(("read", "wanted"), [
    pytest.param("mean", [0, 1], id="by the mean of what is stored"),
    pytest.param("half", [1 - 0.5**0.5] * 2, id="half by that, half by the last view"),
    pytest.param("nearest", [0, 0], id="by the nearest of all"),
])
def test_the_sparse_gallery_can_be_read_in_three_ways(read, wanted):
    """He was stored again and again, and has just turned."""
    config = GalleryConfig(kind="sparse", read=read)
    state = gallery(config, 1, 8)
    for _ in range(9):
        state = state.written(observation([0]), config)
    state = state.written(observation([1], travel=0.0), config)
    distances = state.distances(np.stack([vector(0), vector(1)]), config)
    np.testing.assert_allclose(distances[0], wanted, atol=1e-6)


@pytest.mark.parametrize("overlap", [True, False])
def test_the_sparse_gallery_may_leave_out_how_much_is_covered(overlap):
    """A covered view after a clear one is a candidate only where that does not count."""
    config = GalleryConfig(kind="sparse", overlap=overlap)
    state = gallery(config, 1, 8).written(observation([0], travel=0.0), config)
    covered = replace(observation([1], travel=0.0), overlap=np.full(1, 0.9, np.float32))
    (candidate,) = state.written(covered, config).memory.candidate
    np.testing.assert_array_equal(candidate, vector(0 if overlap else 1))


def test_the_default_compares_with_a_fast_and_a_slow_average_by_halves():
    """He has turned for ten frames: the fast average has followed, the slow one not yet."""
    config = GalleryConfig()
    state = gallery(config, 1, 8)
    for person in [0] * 40 + [1] * 10:
        state = state.written(observation([person]), config)
    both = np.stack([vector(0), vector(1)])
    (fast,) = (1 - state.fast / np.linalg.norm(state.fast)) @ np.eye(8)[:, :2]
    (slow,) = (1 - state.slow / np.linalg.norm(state.slow)) @ np.eye(8)[:, :2]
    assert fast[1] < fast[0]
    assert slow[0] < slow[1]
    np.testing.assert_allclose(state.distances(both, config)[0], (fast + slow) / 2, atol=1e-6)


def test_the_slow_average_counts_a_covered_view_less_and_the_first_no_more_than_others():
    config = GalleryConfig()
    covered = replace(observation([1]), overlap=np.full(1, 0.9, np.float32))
    first = gallery(config, 1, 8).written(covered, config)
    np.testing.assert_allclose(first.distances(vector(1)[None], config), 0, atol=1e-6)
    state = first.written(observation([0]), config)
    assert state.slow[0, 0] > 8 * state.slow[0, 1] > 0


def test_travel_is_in_heights_of_the_box_and_overlap_that_with_other_detections():
    """The first track moved by half its height; the second has no detection; a third box overlaps
    the first."""
    box = walk((100, 200), (0, 0), 1)[0]
    right = np.array([50, 0, 50, 0])
    boxes = np.stack([box + right, box + 1.2 * right])
    embeddings = np.stack([vector(0), vector(1)])
    seen = observe(
        np.stack([box, box]), np.array([0, -1]), boxes, np.array([0.9, 0.8]), embeddings
    )
    np.testing.assert_allclose(seen.travel, [0.5, 0])
    np.testing.assert_allclose(seen.overlap, [0.6, np.nan], rtol=1e-6)
    assert seen.present.tolist() == [True, False]
    np.testing.assert_allclose(seen.score, [0.9, 0], rtol=1e-6)
    assert {column.dtype for column in (seen.feature, seen.travel, seen.score)} == {
        np.dtype(np.float32)
    }
