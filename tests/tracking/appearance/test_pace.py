"""How people move here, and what that is worth to a lost track."""

import numpy as np
import pytest

from tfsasm.tracking.appearance import motion
from tfsasm.tracking.appearance.association import (
    AppearanceWeightConfig,
    Candidates,
    MatchConfig,
    by_place_and_looks,
)
from tfsasm.tracking.appearance.motion import (
    Displacements,
    KalmanConfig,
    Persistence,
    PersistenceConfig,
    paced,
)

CONFIG = PersistenceConfig(frames=5, fewest=4)


def watch(place, frames=60, gone=(), config=CONFIG):
    """What is learned from people 100 pixels high whose centres are `place(frame)` `[N, 2]`."""
    ways, learned = motion.begin_displacements(place(0)), Persistence()
    last, missed = place(0), np.zeros(len(place(0)), dtype=int)
    for frame in range(1, frames):
        present = np.full(len(last), frame not in gone)
        last = np.where(present[:, None], place(frame), last)
        boxes = np.hstack([last, np.full((len(last), 2), 100.0)])
        returned = present & (missed > 0)
        ways, learned = motion.advance(ways, boxes, present, returned, learned, config)
        missed = np.where(present, 0, missed + 1)
    return learned


def walk(frame):
    return np.array([[3.0 * frame, 50], [400 - 2.0 * frame, 80]])


def dance(frame):
    """Back and forth in ten frames: the way of five is undone in the next five."""
    return np.array([[100 + 20 * np.sin(frame * np.pi / 5 + 0.4), 50.0]])


def test_pedestrians_go_on_as_they_went():
    assert watch(walk).share(CONFIG.fewest) == pytest.approx(1)


def test_dancers_swing_back():
    learned = watch(dance)
    assert learned.along == pytest.approx(-learned.square)
    assert learned.share(CONFIG.fewest) == 0


def test_people_who_do_either_count_by_how_far_they_go():
    """A step of 1 is repeated, a step of 2 undone: (1 - 4) / (1 + 4), and no less than 0."""
    ways = np.array([[1.0, 0], [0, 2]]), np.array([[1.0, 0], [0, -1]])
    learned = Persistence().learn(*ways, most=100)
    assert (learned.along, learned.square) == (-1, 5)
    assert Persistence().learn(*ways[::-1], most=100).share(2) == 0
    assert Persistence().learn(ways[0], ways[0] * 0.4, most=100).share(2) == pytest.approx(0.4)


def test_until_enough_was_seen_everybody_goes_on():
    assert watch(dance, frames=20).share(CONFIG.fewest) == 1


def test_people_who_stand_still_say_nothing():
    assert watch(lambda frame: np.array([[10.0, 10]])).share(CONFIG.fewest) == 1


def test_a_way_with_a_gap_in_it_says_nothing():
    """Missed in every fifth frame: no way of five frames is ever seen whole."""
    assert watch(walk, gone=range(4, 60, 5)).count == 0


def test_old_ways_fade():
    first = np.ones((100, 2))
    learned = Persistence().learn(first, first, most=50)
    for _ in range(10):
        learned = learned.learn(first[:50], -first[:50], most=50)
    assert learned.share(1) == 0


def test_ways_move_with_the_camera():
    """It zooms in and turns by a right angle; a way is in lengths of the box, which zoom too."""
    ways = Displacements(np.array([[10.0, 20]]), np.array([[0.5, 0]]), np.array([3]))
    moved = motion.move_displacements(ways, np.array([[0.0, -2, 5], [2, 0, -1]]))
    np.testing.assert_allclose(moved.start, [[-35, 19]])
    np.testing.assert_allclose(moved.before, [[0, 0.5]])


@pytest.mark.parametrize("height", [1e-160, 1.0, 5.0])
def test_a_flat_box_does_not_outweigh_everybody(height):
    """Ten dancers, and one walker of whom the border of the image leaves a strip."""

    def boxes(frame):
        dancers = np.repeat(dance(frame), 10, axis=0)
        centres = np.vstack([dancers, [[3.0 * frame, 50]]])
        return np.hstack([centres, [[40, 100.0]] * 10 + [[20, height]]])

    ways, learned = motion.begin_displacements(boxes(0)[:, :2]), Persistence()
    here = np.ones(11, dtype=bool)
    for frame in range(1, 60):
        ways, learned = motion.advance(ways, boxes(frame), here, ~here, learned, CONFIG)
    assert learned.share(CONFIG.fewest) < 0.5


def test_a_change_of_way_is_news_of_people_who_go_on():
    config = KalmanConfig(velocity=0.01, news=1.5)
    assert paced(config, 0.0) == config
    assert paced(config, 0.4).velocity == pytest.approx(0.016)


@pytest.mark.parametrize(("persistence", "missed", "match"), [
    pytest.param(0.2, 5, True, id="a dancer comes back to where she was lost"),
    pytest.param(1.0, 5, False, id="a pedestrian does not"),
    pytest.param(0.2, 0, False, id="who was seen a frame ago is where he was going"),
])
def test_a_lost_track_may_be_where_it_was_last_seen(persistence, missed, match):
    last, expected = np.array([[0.0, 0, 40, 100]]), np.array([[200.0, 0, 240, 100]])
    unknown = np.full((1, 1), np.nan)
    pairs = Candidates(
        expected, last, np.array([missed]), last, unknown, unknown, 0.0, persistence, None,
        MatchConfig(), AppearanceWeightConfig(),
    )  # fmt: skip
    cost, allowed = by_place_and_looks(pairs)
    assert allowed.tolist() == [[match]]
    if match:
        assert cost == pytest.approx(1 - MatchConfig().stay)
