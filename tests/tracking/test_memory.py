"""The sparse memory: golden vectors, every setting in words, and properties over random lives."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.golden_data import tensor, vectors
from tfsasm.boxes import cxcywh_to_xyxy, iou_matrix
from tfsasm.tracking.config import MemoryConfig
from tfsasm.tracking.memory import Memory, Observation, empty, mean_view, read, write

RELEASED = MemoryConfig()
COLUMNS = ("features", "valid", "candidate", "captured", "overlap", "travel", "gap")


def seen(feature=1.0, *, travel=0.0, overlap=0.0, score=0.9, present=True):
    """One look at one track, of a feature with two equal values."""
    return Observation(
        torch.full((1, 2), feature), torch.tensor([travel]), torch.tensor([overlap]),
        torch.tensor([score]), torch.tensor([present]),
    )  # fmt: skip


def lived(config, *looks):
    state = empty(1, 2, config)
    for look in looks:
        state = write(state, look, config)
    return state


def views(state):
    """First values of the stored views of a single track, oldest first."""
    return state.features[0, state.valid[0], 0].tolist()


# The released code


def released_look(golden, step):
    boxes = cxcywh_to_xyxy(tensor(golden[f"{step}/in/pred_boxes"]))
    overlap = iou_matrix(boxes, boxes).fill_diagonal_(0).amax(dim=1)
    return Observation(
        tensor(golden[f"{step}/in/query_pos"]), tensor(golden[f"{step}/in/mov_dist"]), overlap,
        tensor(golden[f"{step}/in/scores"]), torch.ones(12, dtype=torch.bool),
    )  # fmt: skip


def test_twenty_steps_are_bit_equal_to_the_released_code():
    golden = vectors("mod_memory_bank")
    state = empty(12, 256, RELEASED)
    for age in range(1, 21):
        step = f"{age - 1:02d}"
        state = write(state, released_look(golden, step), RELEASED)
        out = {k.split("/")[2]: tensor(v) for k, v in golden.items() if k.startswith(f"{step}/out")}
        whole = out["mem_bank"].shape[-1] == 256
        assert torch.equal(state.travel, out["accum_dist"]), step
        assert torch.equal(state.overlap, out["best_iou"]), step
        assert torch.equal(state.candidate, out["best_features"]), step
        assert torch.equal(state.valid, ~out["mem_padding_mask"]), step
        assert torch.equal(state.features[:, :, :: 1 if whole else 16], out["mem_bank"]), step
        assert torch.equal(state.gap, age - out["mem_frames_idx"][:, -1]), step
        assert not state.candidate[~state.captured].any(), step
    assert state.valid.any(dim=1).all()  # all of them stored something, so the test saw stores


def test_the_read_of_the_released_code_is_bit_equal():
    golden = vectors("mod_transformer_memread")
    bank, valid = tensor(golden["mem_bank"]), ~tensor(golden["mem_pad"])
    state = replace(empty(11, 256, RELEASED), features=bank, valid=valid)
    assert torch.equal(read(state, tensor(golden["query_embed"])), tensor(golden["read_tgt"][0]))


# When a view is stored


@pytest.mark.parametrize(("travel", "score", "stored"), [
    pytest.param(0.05, 0.9, False, id="not far enough"),
    pytest.param(0.20, 0.9, True, id="far and clear"),
    pytest.param(0.20, 0.5, False, id="far but unsure"),
    pytest.param(0.10, 0.9, False, id="exactly the distance is not enough"),
    pytest.param(0.20, 0.8, False, id="exactly the score is not enough"),
])
def test_travel_decides_when_to_store(travel, score, stored):
    state = lived(RELEASED, seen(travel=travel, score=score))
    assert state.valid.any() == stored


def test_travel_adds_up_whatever_the_score():
    """Also while a track is lost: the accumulation has no gate (QUIRK-17)."""
    state = lived(RELEASED, *[seen(travel=0.04, score=0.1, present=False)] * 3)
    torch.testing.assert_close(state.travel, torch.tensor([0.12]))
    assert write(state, seen(score=0.9), RELEASED).valid.any()


@pytest.mark.parametrize(("frames", "stored"), [
    pytest.param(10, 0, id="ten frames of life: none"),
    pytest.param(11, 1, id="the eleventh forces a store (QUIRK-25)"),
    pytest.param(21, 1, id="ten frames later: still one"),
    pytest.param(22, 2, id="every eleventh frame"),
])
def test_waiting_decides_too(frames, stored):
    assert len(views(lived(RELEASED, *[seen(score=0.1)] * frames))) == stored


def test_a_store_starts_everything_over():
    state = lived(RELEASED, seen(3.0, travel=0.3))
    assert views(state) == [3.0]
    assert state.travel.item() == state.gap.item() == 0
    assert state.overlap.item() == 1
    assert not state.captured
    assert not state.candidate.any()


def test_a_store_can_happen_in_the_first_frame_and_in_the_next_one():
    assert views(lived(RELEASED, seen(1.0, travel=0.3), seen(2.0, travel=0.3))) == [1.0, 2.0]


# Which view is stored


@pytest.mark.parametrize(("overlaps", "kept"), [
    pytest.param([0.3, 0.2, 0.4], 2.0, id="the least covered one"),
    pytest.param([0.3, 0.3, 0.4], 2.0, id="of equals the newer one (QUIRK-24)"),
    pytest.param([0.3, float("nan"), 0.4], 1.0, id="never an unknown one (QUIRK-28)"),
    pytest.param([0.3, 0.4, 0.1], 3.0, id="the storing frame's own"),
])
def test_the_least_covered_view_since_the_last_store_is_kept(overlaps, kept):
    looks = [seen(float(k), overlap=o) for k, o in enumerate(overlaps, start=1)]
    looks[-1] = replace(looks[-1], travel=torch.tensor([0.3]))
    after_a_store = lived(RELEASED, seen(9.0, travel=0.3), *looks)
    assert views(after_a_store) == [9.0, kept]


def test_only_a_present_track_shows_a_view():
    looks = [seen(1.0, overlap=0.3), seen(2.0, overlap=0.1, present=False), seen(3.0, travel=0.3)]
    looks[2] = replace(looks[2], overlap=torch.tensor([0.9]))
    assert views(lived(RELEASED, seen(9.0, travel=0.3), *looks)) == [9.0, 1.0]


def test_the_oldest_view_is_dropped():
    config = replace(RELEASED, capacity=3)
    state = lived(config, *[seen(float(k), travel=0.3) for k in range(5)])
    assert views(state) == [2.0, 3.0, 4.0]


# Reading


def test_a_read_is_half_own_half_mean():
    state = lived(RELEASED, seen(2.0, travel=0.3), seen(6.0, travel=0.3))
    assert mean_view(state).tolist() == [[4.0, 4.0]]
    assert read(state, torch.full((1, 2), 10.0)).tolist() == [[7.0, 7.0]]


def test_a_stored_zero_vector_counts():
    """It halves the content, until enough stores push it out (QUIRK-19)."""
    state = lived(RELEASED, seen(2.0, travel=0.3, overlap=0.5))
    assert views(state) == [0.0]
    assert read(state, torch.full((1, 2), 10.0)).tolist() == [[5.0, 5.0]]


def test_an_empty_memory_keeps_the_feature_and_the_gradient():
    own = torch.randn(3, 2, requires_grad=True)
    mixed = read(empty(3, 2, RELEASED), own)
    assert not mean_view(empty(3, 2, RELEASED)).any()  # and no 0/0 on the way (QUIRK-9)
    assert torch.equal(mixed, own)
    mixed.sum().backward()
    assert torch.equal(own.grad, torch.ones(3, 2))


# The settings. Each is tried on a life in which it matters, beside the published value.

CASES = [
    pytest.param(
        {"capacity": 2}, [seen(float(k), travel=0.3) for k in (1, 2, 3)],
        [1.0, 2.0, 3.0], [2.0, 3.0], id="capacity: how many views are kept"),
    pytest.param(
        {"capacity": 0}, [seen(float(k), travel=0.3) for k in (1, 2, 3)],
        [1.0, 2.0, 3.0], [], id="capacity 0: none"),
    pytest.param(
        {"min_travel": 0.2}, [seen(1.0, travel=0.15), seen(2.0, travel=0.15)],
        [1.0, 2.0], [2.0], id="min_travel: how far between stores"),
    pytest.param(
        {"max_gap": 2}, [seen(float(k)) for k in (1, 2, 3)],
        [], [3.0], id="max_gap: how long between stores"),
    pytest.param(
        {"min_score": 0.6}, [seen(1.0, travel=0.3, score=0.7)],
        [], [1.0], id="min_score: how sure a store by travel is"),
    pytest.param(
        {"overlap_decay": 0.5},
        [seen(9.0, travel=0.3), seen(1.0, overlap=0.2), seen(2.0, overlap=0.28),
         seen(3.0, travel=0.3, overlap=0.9)],
        [9.0, 1.0], [9.0, 2.0], id="overlap_decay: an old candidate is easier to beat"),
    pytest.param(
        {"first_overlap": 1.0}, [seen(1.0, overlap=0.4), seen(2.0, travel=0.3, overlap=0.7)],
        [0.0], [1.0], id="first_overlap: a covered view may be the first (QUIRK-18)"),
    pytest.param(
        {"gap_needs_score": True}, [seen(1.0, score=0.1)] * 11 + [seen(2.0)],
        [1.0], [2.0], id="gap_needs_score: a wait is not enough (QUIRK-21)"),
    pytest.param(
        {"store_without_candidate": False},
        [seen(1.0, travel=0.3, overlap=0.4), seen(2.0), seen(3.0, overlap=0.4)],
        [0.0], [2.0], id="store_without_candidate: no zero vectors (QUIRK-19)"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "looks", "published", "changed"), CASES)
def test_every_setting_does_what_it_says(change, looks, published, changed):
    assert views(lived(RELEASED, *looks)) == published
    assert views(lived(replace(RELEASED, **change), *looks)) == changed


def test_every_setting_has_a_case():
    tried = {name for case in CASES for name in case.values[0]}
    assert tried == set(vars(RELEASED))


@pytest.mark.parametrize("change", [
    pytest.param({"overlap_decay": 0.5}, id="overlap_decay cannot lift a bar of 0 (QUIRK-23)"),
    pytest.param({"min_score": 0.0}, id="min_score leaves stores by waiting alone"),
    pytest.param({"gap_needs_score": True}, id="gap_needs_score leaves sure tracks alone"),
])
def test_a_setting_that_does_not_apply_changes_nothing(change):
    looks = [seen(float(k), overlap=0.1 * (k % 3)) for k in range(13)]
    one, other = lived(RELEASED, *looks), lived(replace(RELEASED, **change), *looks)
    assert len(views(one)) == 1
    for column in COLUMNS:
        assert torch.equal(getattr(one, column), getattr(other, column)), column


def test_without_a_candidate_the_store_waits_for_one():
    config = replace(RELEASED, store_without_candidate=False)
    waiting = lived(config, *[seen(1.0, travel=0.3, overlap=0.4)] * 15)
    assert views(waiting) == []
    assert waiting.gap.item() == 15
    assert views(write(waiting, seen(2.0), config)) == [2.0]


# Properties of random lives


def f32(*values):
    return st.sampled_from([float(np.float32(v)) for v in values])


configs = st.builds(
    MemoryConfig,
    capacity=st.integers(0, 3), min_travel=f32(0.0, 0.1, 0.2), max_gap=st.integers(0, 4),
    min_score=f32(0.0, 0.5, 0.8), overlap_decay=f32(0.0, 0.25), first_overlap=f32(0.0, 1.0),
    gap_needs_score=st.booleans(), store_without_candidate=st.booleans(),
)  # fmt: skip
look = st.tuples(
    f32(0.0, 0.05, 0.1, 0.25), f32(0.0, 0.3, 0.5, 1.0, float("nan")), f32(0.1, 0.5, 0.8, 0.9),
    st.booleans(),
)  # fmt: skip


@st.composite
def lives(draw, least=0):
    """A setting, and looks `[T][N]` at some tracks over some frames."""
    tracks, frames = draw(st.integers(least, 4)), draw(st.integers(0, 8))
    rows = st.lists(look, min_size=tracks, max_size=tracks)
    return draw(configs), tracks, draw(st.lists(rows, min_size=frames, max_size=frames))


def observation(rows, frame):
    """The features tell frames and tracks apart."""
    travel, overlap, score, present = zip(*rows, strict=True) if rows else ((),) * 4
    n = len(rows)
    feature = 1 + frame + torch.arange(n, dtype=torch.float32)[:, None] * 16 + torch.zeros(n, 2)
    return Observation(
        feature, torch.tensor(travel).float(), torch.tensor(overlap).float(),
        torch.tensor(score).float(), torch.tensor(present).bool(),
    )  # fmt: skip


def run(config, tracks, frames, choose=lambda table: table):
    state = choose(empty(tracks, 2, config))
    for number, rows in enumerate(frames):
        state = write(state, choose(observation(rows, number)), config)
    return state


def assert_same(a: Memory, b: Memory):
    for column in COLUMNS:
        torch.testing.assert_close(
            getattr(a, column), getattr(b, column), rtol=0, atol=0, equal_nan=True, msg=column
        )


def one_track_at_a_time(config, frames, track):
    """The method as SPEC 7 tells it, for one track, with ifs and a list."""
    one = np.float32(1)
    views, candidate = [], None
    bar, travel, gap = np.float32(config.first_overlap), np.float32(0), 0
    for number, rows in enumerate(frames):
        moved, overlap, score, present = rows[track]
        feature = float(observation(rows, number).feature[track, 0])
        travel, gap = travel + np.float32(moved), gap + 1
        bar = bar * (one + np.float32(config.overlap_decay))
        if present and np.float32(overlap) <= bar:
            bar, candidate = np.float32(overlap), feature
        sure = score > config.min_score
        store = travel > np.float32(config.min_travel) and sure
        if gap > config.max_gap and (sure or not config.gap_needs_score):
            store = True
        if candidate is None and not config.store_without_candidate:
            store = False
        if store:
            views = [*views, candidate or 0.0][max(0, len(views) + 1 - config.capacity) :]
            bar, travel, gap, candidate = one, np.float32(0), 0, None
    return views, candidate, bar, travel, gap


@settings(deadline=None)
@given(lives())
def test_it_does_what_a_loop_over_tracks_would(life):
    config, tracks, frames = life
    state = run(config, tracks, frames)
    for track in range(tracks):
        stored, candidate, bar, travel, gap = one_track_at_a_time(config, frames, track)
        assert views(state[track : track + 1]) == stored
        assert state.captured[track] == (candidate is not None)
        assert state.candidate[track].tolist() == [candidate or 0.0] * 2
        assert state.overlap[track] == bar
        assert state.travel[track] == travel
        assert state.gap[track] == gap


@settings(deadline=None)
@given(lives(), st.randoms(use_true_random=False))
def test_the_order_of_the_tracks_does_not_matter(life, random):
    config, tracks, frames = life
    order = torch.tensor(random.sample(range(tracks), tracks), dtype=torch.int64)
    shuffled = run(config, tracks, frames, lambda table: table[order])
    assert_same(shuffled, run(config, tracks, frames)[order])


@settings(deadline=None)
@given(lives())
def test_valid_rows_stand_on_the_right_and_the_rest_is_zero(life):
    config, tracks, frames = life
    state = run(config, tracks, frames)
    assert state.features.shape == (tracks, config.capacity, 2)
    assert torch.equal(state.valid, state.valid.sort(dim=1).values)
    assert not state.features[~state.valid].any()


@settings(deadline=None)
@given(lives(least=1), st.floats(-5, 5, width=32))
def test_reading_changes_only_tracks_that_remember_something(life, value):
    config, tracks, frames = life
    state = run(config, tracks, frames)
    own = torch.full((tracks, 2), value)
    mixed = read(state, own)
    filled = state.valid.any(dim=1)
    assert torch.equal(mixed[~filled], own[~filled])
    torch.testing.assert_close(mixed[filled], (own + mean_view(state))[filled] / 2)


@settings(deadline=None)
@given(lives())
def test_the_inputs_are_left_alone(life):
    config, tracks, frames = life
    state = run(config, tracks, frames)
    rows = frames[-1] if frames else [(0.3, 0.0, 0.9, True)] * tracks
    shown = observation(rows, 99)
    copies = state.map(torch.clone), shown.map(torch.clone)
    write(state, shown, config)
    read(state, torch.ones(tracks, 2))
    assert_same(state, copies[0])
    for name in vars(shown):
        torch.testing.assert_close(
            getattr(shown, name), getattr(copies[1], name), rtol=0, atol=0, equal_nan=True
        )


@settings(deadline=None)
@given(lives())
def test_a_capacity_of_zero_is_no_memory_at_all(life):
    config, tracks, frames = life
    state = run(replace(config, capacity=0), tracks, frames)
    own = torch.randn(tracks, 2)
    assert torch.equal(read(state, own), own)


def test_no_track_is_a_normal_case():
    nobody = empty(0, 2, RELEASED)
    state = write(nobody, observation([], 0), RELEASED)
    assert len(state) == 0
    assert state.features.shape == (0, 10, 2)
    assert read(state, torch.zeros(0, 2)).shape == (0, 2)


def test_writing_is_no_part_of_a_gradient():
    feature = torch.ones(1, 2, requires_grad=True)
    state = write(empty(1, 2, RELEASED), replace(seen(travel=0.3), feature=feature), RELEASED)
    assert not state.features.requires_grad
