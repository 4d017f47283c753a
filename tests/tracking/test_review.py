"""What to review."""

from __future__ import annotations

import pytest

from tfsasm.tracking.review import Identity, ReviewItem, review_items

RATE = 10


def identity(left, frames, matches=()):
    """One that stands at a place; `matches` are (frame, second, percent)."""
    one = Identity([*frames])
    one.boxes = [10 * left, 100, 200, 600] * len(one.frames)
    for frame, second, sure in matches:
        one.matches += [frame, 100, second, 90, sure]
    return one


def review(**identities):
    return review_items({int(name[1:]): one for name, one in identities.items()}, RATE)


def test_a_long_absence_is_listed_and_a_short_one_is_not():
    found = review(_1=identity(0, [1, 2, 30]), _2=identity(500, [1, 2, 10]))
    assert found == [ReviewItem(1, 30, "is back after 2.8 s")]


@pytest.mark.parametrize(("left", "begins", "expected"), [
    pytest.param(10, 15, [ReviewItem(2, 15, "begins where #1 ended", 1)], id="near and soon"),
    pytest.param(300, 15, [], id="far away"), pytest.param(10, 40, [], id="late"),
    pytest.param(10, 10, [], id="while the other was there"),
])  # fmt: skip
def test_a_birth_where_another_ended(left, begins, expected):
    assert review(_1=identity(0, range(1, 11)), _2=identity(left, range(begins, 60))) == expected


@pytest.mark.parametrize(("matches", "left", "frames"), [
    pytest.param([(3, 2, 40)], 30, [3], id="like one beside it"),
    pytest.param([(3, 2, 60)], 30, [], id="surely itself"),
    pytest.param([(3, 2, -1)], 30, [], id="appearance does not count yet"),
    pytest.param([(3, 2, 40)], 300, [], id="like one far away"),
    pytest.param([(3, 2, 40), (4, 2, 30), (8, 2, 90), (9, 2, 10)], 30, [3, 9],
                 id="said once, until it was sure again"),
])  # fmt: skip
def test_an_appearance_that_is_more_like_another(matches, left, frames):
    found = review(_1=identity(0, range(1, 20), matches), _2=identity(left, range(1, 20)))
    assert found == [ReviewItem(1, frame, "looks more like #2", 2) for frame in frames]


def test_one_who_is_lost_may_have_come_from_farther_away():
    found = review(_1=identity(0, range(1, 20), [(15, 2, 40)]), _2=identity(100, range(1, 10)))
    assert found == [ReviewItem(1, 15, "looks more like #2", 2)]
