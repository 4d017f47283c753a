"""The sparse memory: golden vectors, every setting in words, and properties over random lives."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.golden_data import vectors
from helpers.libraries import LIBRARIES, on_arrays_of
from tfsasm.boxes import cxcywh_to_xyxy, iou_matrix
from tfsasm.tables import as_numpy
from tfsasm.tracking import memory as module
from tfsasm.tracking.config import MemoryConfig
from tfsasm.tracking.memory import Observation

RELEASED = MemoryConfig()
COLUMNS = ("features", "valid", "candidate", "captured", "overlap", "travel", "gap")


@pytest.fixture(scope="module", params=LIBRARIES.values(), ids=LIBRARIES)
def memory(request):
    """The functions of the memory on arrays of either library."""
    return on_arrays_of(request.param, module, "empty", "write", "read", "mean_view")


def f32_array(values):
    return np.array(values, dtype=np.float32)


def seen(feature=1.0, *, travel=0.0, overlap=0.0, score=0.9, present=True):
    """One track in one frame, with a feature of two equal values."""
    return Observation(
        f32_array([[feature] * 2]), f32_array([travel]), f32_array([overlap]), f32_array([score]),
        np.array([present]),
    )  # fmt: skip


def lived(memory, config, *frames):
    state = memory.empty(np.zeros((1, 2), np.float32), config)
    for frame in frames:
        state = memory.write(state, frame, config)
    return state


def views(state):
    """First values of the stored views of a single track, oldest first."""
    return state.features[0, state.valid[0], 0].tolist()


# The released code


def released_observation(golden, step):
    boxes = cxcywh_to_xyxy(golden[f"{step}/in/pred_boxes"])
    iou = iou_matrix(boxes, boxes)
    np.fill_diagonal(iou, 0)
    return Observation(
        golden[f"{step}/in/query_pos"], golden[f"{step}/in/mov_dist"], iou.max(axis=1),
        golden[f"{step}/in/scores"], np.ones(12, dtype=bool),
    )  # fmt: skip


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
def test_an_empty_memory_is_of_the_library_of_its_features(library):
    features = library.zeros((2, 3))
    state = module.empty(features, RELEASED)
    columns = [getattr(state, name) for name in COLUMNS]
    assert {type(column) for column in columns} == {type(features)}
    assert [as_numpy(column).dtype.name for column in columns] == [
        "float32", "bool", "float32", "bool", "float32", "float32", "int64"
    ]


def test_twenty_steps_are_bit_equal_to_the_released_code(memory):
    golden = vectors("mod_memory_bank")
    state = memory.empty(np.zeros((12, 256), np.float32), RELEASED)
    for age in range(1, 21):
        step = f"{age - 1:02d}"
        state = memory.write(state, released_observation(golden, step), RELEASED)
        out = {k.split("/")[2]: v for k, v in golden.items() if k.startswith(f"{step}/out")}
        whole = out["mem_bank"].shape[-1] == 256
        assert np.array_equal(state.travel, out["accum_dist"]), step
        assert np.array_equal(state.overlap, out["best_iou"]), step
        assert np.array_equal(state.candidate, out["best_features"]), step
        assert np.array_equal(state.valid, ~out["mem_padding_mask"]), step
        assert np.array_equal(state.features[:, :, :: 1 if whole else 16], out["mem_bank"]), step
        assert np.array_equal(state.gap, age - out["mem_frames_idx"][:, -1]), step
        assert not state.candidate[~state.captured].any(), step
    assert state.valid.any(axis=1).all()  # all of them stored something, so the test saw stores


def test_the_read_of_the_released_code_is_bit_equal(memory):
    golden = vectors("mod_transformer_memread")
    blank = memory.empty(np.zeros((11, 256), np.float32), RELEASED)
    state = replace(blank, features=golden["mem_bank"], valid=~golden["mem_pad"])
    mixed = memory.read(state, golden["query_embed"])
    assert np.array_equal(mixed, golden["read_tgt"][0])


# When a view is stored


@pytest.mark.parametrize(("travel", "score", "stored"), [
    pytest.param(0.05, 0.9, False, id="not far enough"),
    pytest.param(0.20, 0.9, True, id="far and clear"),
    pytest.param(0.20, 0.5, False, id="far but unsure"),
    pytest.param(0.10, 0.9, False, id="exactly the distance is not enough"),
    pytest.param(0.20, 0.8, False, id="exactly the score is not enough"),
])
def test_travel_decides_when_to_store(memory, travel, score, stored):
    state = lived(memory, RELEASED, seen(travel=travel, score=score))
    assert state.valid.any() == stored


def test_travel_adds_up_whatever_the_score(memory):
    """Also while a track is lost: the accumulation has no gate (QUIRK-17)."""
    state = lived(memory, RELEASED, *[seen(travel=0.04, score=0.1, present=False)] * 3)
    np.testing.assert_allclose(state.travel, [0.12], rtol=1e-6)
    assert memory.write(state, seen(score=0.9), RELEASED).valid.any()


@pytest.mark.parametrize(("frames", "stored"), [
    pytest.param(10, 0, id="ten frames of life: none"),
    pytest.param(11, 1, id="the eleventh forces a store (QUIRK-25)"),
    pytest.param(21, 1, id="ten frames later: still one"),
    pytest.param(22, 2, id="every eleventh frame"),
])
def test_waiting_decides_too(memory, frames, stored):
    assert len(views(lived(memory, RELEASED, *[seen(score=0.1)] * frames))) == stored


def test_a_store_starts_everything_over(memory):
    state = lived(memory, RELEASED, seen(3.0, travel=0.3))
    assert views(state) == [3.0]
    assert state.travel.item() == state.gap.item() == 0
    assert state.overlap.item() == 1
    assert not state.captured
    assert not state.candidate.any()


def test_a_store_can_happen_in_the_first_frame_and_in_the_next_one(memory):
    assert views(lived(memory, RELEASED, seen(1.0, travel=0.3), seen(2.0, travel=0.3))) == [
        1.0,
        2.0,
    ]


# Which view is stored


@pytest.mark.parametrize(("overlaps", "kept"), [
    pytest.param([0.3, 0.2, 0.4], 2.0, id="the least covered one"),
    pytest.param([0.3, 0.3, 0.4], 2.0, id="of equals the newer one (QUIRK-24)"),
    pytest.param([0.3, float("nan"), 0.4], 1.0, id="never an unknown one (QUIRK-28)"),
    pytest.param([0.3, 0.4, 0.1], 3.0, id="the storing frame's own"),
])
def test_the_least_covered_view_since_the_last_store_is_kept(memory, overlaps, kept):
    frames = [seen(float(k), overlap=o) for k, o in enumerate(overlaps, start=1)]
    frames[-1] = replace(frames[-1], travel=f32_array([0.3]))
    after_a_store = lived(memory, RELEASED, seen(9.0, travel=0.3), *frames)
    assert views(after_a_store) == [9.0, kept]


def test_only_a_present_track_shows_a_view(memory):
    frames = [seen(1.0, overlap=0.3), seen(2.0, overlap=0.1, present=False), seen(3.0, travel=0.3)]
    frames[2] = replace(frames[2], overlap=f32_array([0.9]))
    assert views(lived(memory, RELEASED, seen(9.0, travel=0.3), *frames)) == [9.0, 1.0]


def test_the_oldest_view_is_dropped(memory):
    config = replace(RELEASED, capacity=3)
    state = lived(memory, config, *[seen(float(k), travel=0.3) for k in range(5)])
    assert views(state) == [2.0, 3.0, 4.0]


# Reading


def test_a_read_is_half_own_half_mean(memory):
    state = lived(memory, RELEASED, seen(2.0, travel=0.3), seen(6.0, travel=0.3))
    assert memory.mean_view(state).tolist() == [[4.0, 4.0]]
    assert memory.read(state, f32_array([[10, 10]])).tolist() == [[7.0, 7.0]]


def test_a_stored_zero_vector_counts(memory):
    """It halves the content, until enough stores push it out (QUIRK-19)."""
    state = lived(memory, RELEASED, seen(2.0, travel=0.3, overlap=0.5))
    assert views(state) == [0.0]
    assert memory.read(state, f32_array([[10, 10]])).tolist() == [[5.0, 5.0]]


def test_an_empty_memory_keeps_the_feature(memory):
    own = np.random.default_rng(0).random((3, 2), dtype=np.float32)
    state = memory.empty(own, RELEASED)
    assert not memory.mean_view(state).any()  # and no 0/0 on the way (QUIRK-9)
    assert np.array_equal(memory.read(state, own), own)


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
        [], [1.0], id="min_score: the least score of a store by travel"),
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


@pytest.mark.parametrize(("change", "frames", "published", "changed"), CASES)
def test_every_setting_does_what_it_says(memory, change, frames, published, changed):
    assert views(lived(memory, RELEASED, *frames)) == published
    assert views(lived(memory, replace(RELEASED, **change), *frames)) == changed


def test_every_setting_has_a_case():
    tried = {name for case in CASES for name in case.values[0]}
    assert tried == set(vars(RELEASED))


@pytest.mark.parametrize("change", [
    pytest.param({"overlap_decay": 0.5}, id="overlap_decay cannot lift a bar of 0 (QUIRK-23)"),
    pytest.param({"min_score": 0.0}, id="min_score leaves stores by waiting alone"),
    pytest.param({"gap_needs_score": True}, id="gap_needs_score leaves confident tracks alone"),
])
def test_a_setting_that_does_not_apply_changes_nothing(memory, change):
    frames = [seen(float(k), overlap=0.1 * (k % 3)) for k in range(13)]
    one, other = (
        lived(memory, RELEASED, *frames),
        lived(memory, replace(RELEASED, **change), *frames),
    )
    assert len(views(one)) == 1
    for column in COLUMNS:
        assert np.array_equal(getattr(one, column), getattr(other, column)), column


def test_without_a_candidate_the_store_waits_for_one(memory):
    config = replace(RELEASED, store_without_candidate=False)
    waiting = lived(memory, config, *[seen(1.0, travel=0.3, overlap=0.4)] * 15)
    assert views(waiting) == []
    assert waiting.gap.item() == 15
    assert views(memory.write(waiting, seen(2.0), config)) == [2.0]


# Properties of random lives


LIVES = settings(deadline=None, max_examples=60)


def f32(*values):
    return st.sampled_from([float(np.float32(v)) for v in values])


configs = st.builds(
    MemoryConfig,
    capacity=st.integers(0, 3), min_travel=f32(0.0, 0.1, 0.2), max_gap=st.integers(0, 4),
    min_score=f32(0.0, 0.5, 0.8), overlap_decay=f32(0.0, 0.25), first_overlap=f32(0.0, 1.0),
    gap_needs_score=st.booleans(), store_without_candidate=st.booleans(),
)  # fmt: skip
view = st.tuples(
    f32(0.0, 0.05, 0.1, 0.25), f32(0.0, 0.3, 0.5, 1.0, float("nan")), f32(0.1, 0.5, 0.8, 0.9),
    st.booleans(),
)  # fmt: skip


@st.composite
def lives(draw, least=0):
    """A setting, and what `[T]` frames show of `[N]` tracks."""
    tracks, frames = draw(st.integers(least, 4)), draw(st.integers(0, 8))
    rows = st.lists(view, min_size=tracks, max_size=tracks)
    return draw(configs), tracks, draw(st.lists(rows, min_size=frames, max_size=frames))


def observation(rows, frame):
    """The features tell frames and tracks apart."""
    travel, overlap, score, present = zip(*rows, strict=True) if rows else ((),) * 4
    feature = 1 + frame + np.arange(len(rows))[:, None] * 16 + np.zeros((len(rows), 2))
    return Observation(
        f32_array(feature), f32_array(travel), f32_array(overlap), f32_array(score),
        np.array(present, dtype=bool),
    )  # fmt: skip


def run(memory, config, tracks, frames, choose=lambda table: table):
    state = choose(memory.empty(np.zeros((tracks, 2), np.float32), config))
    for number, rows in enumerate(frames):
        state = memory.write(state, choose(observation(rows, number)), config)
    return state


def assert_same(a, b):
    for column, value in vars(a).items():
        np.testing.assert_array_equal(value, getattr(b, column), err_msg=column)


def one_track_at_a_time(config, frames, track):
    """The method as SPEC 7 describes it, for one track, with ifs and a list."""
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
        confident = score > config.min_score
        store = travel > np.float32(config.min_travel) and confident
        if gap > config.max_gap and (confident or not config.gap_needs_score):
            store = True
        if candidate is None and not config.store_without_candidate:
            store = False
        if store:
            views = [*views, candidate or 0.0][max(0, len(views) + 1 - config.capacity) :]
            bar, travel, gap, candidate = one, np.float32(0), 0, None
    return views, candidate, bar, travel, gap


@LIVES
@given(lives())
def test_it_does_what_a_loop_over_tracks_would(memory, life):
    config, tracks, frames = life
    state = run(memory, config, tracks, frames)
    assert state.features.shape == (tracks, config.capacity, 2)
    assert np.array_equal(state.valid, np.sort(state.valid, axis=1))  # on the right
    assert not state.features[~state.valid].any()
    for track in range(tracks):
        stored, candidate, bar, travel, gap = one_track_at_a_time(config, frames, track)
        assert views(state[track : track + 1]) == stored
        assert state.captured[track] == (candidate is not None)
        assert state.candidate[track].tolist() == [candidate or 0.0] * 2
        assert state.overlap[track] == bar
        assert state.travel[track] == travel
        assert state.gap[track] == gap


@LIVES
@given(lives(), st.randoms(use_true_random=False))
def test_the_order_of_the_tracks_does_not_matter(memory, life, random):
    config, tracks, frames = life
    order = np.array(random.sample(range(tracks), tracks), dtype=np.int64)
    shuffled = run(memory, config, tracks, frames, lambda table: table[order])
    assert_same(shuffled, run(memory, config, tracks, frames)[order])


@LIVES
@given(lives(least=1), st.floats(-5, 5, width=32))
def test_reading_changes_only_tracks_that_remember_something_and_no_input(memory, life, value):
    config, tracks, frames = life
    state = run(memory, config, tracks, frames)
    own = np.full((tracks, 2), value, dtype=np.float32)
    shown = observation(frames[-1] if frames else [(0.3, 0.0, 0.9, True)] * tracks, 99)
    library = memory.library
    given, shown = state.map(library.asarray), shown.map(library.asarray)
    copies = [table.map(lambda column: as_numpy(column).copy()) for table in (given, shown)]
    mixed = as_numpy(module.read(given, library.asarray(own.copy())))
    filled = state.valid.any(axis=1)
    assert np.array_equal(mixed[~filled], own[~filled])
    assert np.array_equal(mixed[filled], ((own + memory.mean_view(state)) / 2)[filled])
    module.write(given, shown, config)
    assert_same(given.map(as_numpy), copies[0])
    assert_same(shown.map(as_numpy), copies[1])


def test_no_track_is_a_normal_case(memory):
    nothing = np.zeros((0, 2), np.float32)
    state = memory.write(memory.empty(nothing, RELEASED), observation([], 0), RELEASED)
    assert len(state) == 0
    assert state.features.shape == (0, 10, 2)
    assert memory.read(state, nothing).shape == (0, 2)
