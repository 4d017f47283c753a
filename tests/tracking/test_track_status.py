"""Birth, absence and death, on scores alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tfsasm.tracking.association import update_status
from tfsasm.tracking.config import NO_ID, LifecycleConfig

CONFIG = LifecycleConfig(miss_tolerance=3)


def judge(ids, missed, scores, next_id=7, config=CONFIG, **settings):
    return update_status(
        torch.tensor(ids, dtype=torch.int64), torch.tensor(missed, dtype=torch.int64),
        torch.tensor(scores), next_id, config, **settings,
    )  # fmt: skip


JUST_BELOW = torch.tensor(0.5).nextafter(torch.tensor(0.0)).item()


@pytest.mark.parametrize(("score", "is_born"), [
    pytest.param(0.9, True, id="sure"),
    pytest.param(0.5, True, id="exactly at the bar is born (QUIRK-10)"),
    pytest.param(JUST_BELOW, False, id="a hair below the bar"),
    pytest.param(0.0, False, id="surely nobody"),
])
def test_a_birth_is_decided_by_the_score(score, is_born):
    census = judge([NO_ID], [0], [score])
    assert census.born.tolist() == [is_born]
    assert census.ids.tolist() == ([7] if is_born else [NO_ID])
    assert census.next_id == 7 + is_born


@pytest.mark.parametrize(("score", "missed_before", "missed", "lives"), [
    pytest.param(0.9, 2, 0, True, id="seen again: the count starts over"),
    pytest.param(0.5, 2, 0, True, id="exactly at the bar is not absent (QUIRK-10)"),
    pytest.param(JUST_BELOW, 0, 1, True, id="a hair below is absent"),
    pytest.param(0.1, 1, 2, True, id="absent, with patience left"),
    pytest.param(0.1, 2, 3, False, id="dies in the last tolerated frame itself"),
    pytest.param(0.1, 9, 10, False, id="dies beyond it"),
])
def test_absence_and_death_are_counted(score, missed_before, missed, lives):
    census = judge([4], [missed_before], [score])
    assert census.missed.tolist() == [missed]
    assert census.ids.tolist() == ([4] if lives else [NO_ID])
    assert census.born.tolist() == [False]
    assert census.next_id == 7


@pytest.mark.parametrize(("score", "missed"), [
    pytest.param(0.80, 0, id="above both bars: seen"),
    pytest.param(0.55, 2, id="between the bars: the count stands still"),
    pytest.param(0.30, 3, id="below both bars: absent"),
])
def test_two_bars_may_differ(score, missed):
    config = LifecycleConfig(birth_score=0.6, miss_score=0.5, miss_tolerance=9)
    assert judge([4], [2], [score], config=config).missed.tolist() == [missed]
    assert judge([NO_ID], [0], [score], config=config).born.tolist() == [score >= 0.6]


@pytest.mark.parametrize(("config", "scores", "ids"), [
    pytest.param(LifecycleConfig(), [0.5, 0.4], [7, NO_ID], id="published"),
    pytest.param(LifecycleConfig(birth_score=0.3), [0.5, 0.4], [7, 8], id="birth_score lower"),
    pytest.param(LifecycleConfig(birth_score=0.7), [0.5, 0.4], [NO_ID, NO_ID], id="and higher"),
])
def test_birth_score_is_the_bar_of_births(config, scores, ids):
    assert judge([NO_ID, NO_ID], [0, 0], scores, config=config).ids.tolist() == ids


@pytest.mark.parametrize(("tolerance", "frames"), [(1, 1), (2, 2), (20, 20)])
def test_a_track_dies_in_its_last_tolerated_frame(tolerance, frames):
    config = LifecycleConfig(miss_tolerance=tolerance)
    ids, missed, lived = torch.tensor([4]), torch.tensor([0]), 0
    while ids[0] != NO_ID:
        census = update_status(ids, missed, torch.tensor([0.1]), 7, config)
        ids, missed, lived = census.ids, census.missed, lived + 1
    assert lived == frames


def test_new_numbers_follow_the_order_of_the_queries():
    ids, missed = [NO_ID, 3, NO_ID, NO_ID, 1], [0] * 5
    census = judge(ids, missed, [0.9, 0.9, 0.2, 0.6, 0.9], next_id=4)
    assert census.ids.tolist() == [4, 3, NO_ID, 5, 1]
    assert census.born.tolist() == [True, False, False, True, False]
    assert census.next_id == 6


def test_everything_is_judged_before_anybody_changes():
    """Whoever dies in a frame isn't reborn in it, whoever is born is not absent in it."""
    config = LifecycleConfig(birth_score=0.5, miss_score=0.8, miss_tolerance=1)
    census = judge([4, NO_ID], [0, 0], [0.6, 0.6], config=config)
    assert census.ids.tolist() == [NO_ID, 7]
    assert census.missed.tolist() == [1, 0]


def test_a_query_can_be_barred_from_birth():
    barred = torch.tensor([True, False, False])
    census = judge([NO_ID, NO_ID, 2], [0, 0, 1], [0.9, 0.9, 0.9], may_be_born=barred)
    assert census.ids.tolist() == [7, NO_ID, 2]
    assert census.missed.tolist() == [0, 0, 0]
    assert census.next_id == 8


def test_a_frame_without_queries():
    census = judge([], [], [])
    assert census.ids.shape == census.missed.shape == census.born.shape == (0,)
    assert census.next_id == 7


queries = st.lists(
    st.tuples(st.booleans(), st.integers(0, 3), st.sampled_from([0.0, JUST_BELOW, 0.5, 0.9])),
    max_size=8,
)


@settings(deadline=None)
@given(queries)
def test_an_identity_is_given_once_and_never_handed_on(rows):
    ids = torch.tensor([k if old else NO_ID for k, (old, _, _) in enumerate(rows)]).long()
    missed = torch.tensor([m for _, m, _ in rows]).long()
    scores = torch.tensor([s for _, _, s in rows])
    before = ids.clone(), missed.clone()
    census = update_status(ids, missed, scores, len(rows), CONFIG)

    assert torch.equal(ids, before[0])  # the inputs are left alone
    assert torch.equal(missed, before[1])
    live = census.ids[census.ids != NO_ID].tolist()
    assert len(set(live)) == len(live)
    kept = (ids != NO_ID) & (census.ids != NO_ID)
    assert torch.equal(census.ids[kept], ids[kept])
    assert census.ids[census.born].tolist() == list(range(len(rows), census.next_id))
    assert not (census.born & (ids != NO_ID)).any()
