"""The past of identities, told from the memory before and after each frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.fakes import SureNetwork
from helpers.people import detections, walk
from tfsasm.settings import with_settings
from tfsasm.tracking import memory
from tfsasm.tracking.appearance.tracker import AppearanceConfig, AppearanceTracker
from tfsasm.tracking.config import MemoryConfig, default, released
from tfsasm.tracking.history import History, Match, View, compared, remembered
from tfsasm.tracking.memory import Observation
from tfsasm.tracking.query import QueryTracker

CONFIG = MemoryConfig(
    capacity=2, min_travel=0.5, max_gap=4, first_overlap=1.0, store_without_candidate=False
)
ONE = np.array([7])


class Told:
    """A tracker of one identity whose memory is shown what the test says."""

    def __init__(self, config=CONFIG):
        self.memory_config = config
        self._memory = memory.empty(np.zeros((1, 2), np.float32), config)
        self._view = np.zeros((1, 2), np.float32)

    def see(self, view, *, travel=0.0, overlap=0.0, present=True):
        self._view = np.full((1, 2), view, np.float32)
        seen = Observation(self._view, np.float32([travel]), np.float32([overlap]),
                           np.float32([0.9]), np.array([present]))  # fmt: skip
        self._memory = memory.write(self._memory, seen, self.memory_config)

    @property
    def remembered(self):
        mean = memory.mean_view(self._memory)
        return remembered(ONE, self._view, [mean], self._memory, np.array([True]))


def told(*frames, config=CONFIG):
    """The history of 7 after frames 1, 2, ..., each as `see` takes it."""
    tracker = Told(config)
    history = History(tracker)
    for number, (view, settings) in enumerate(frames, start=1):
        tracker.see(view, **settings)
        history.update(number)
    return history[7]


def test_a_view_is_stored_once_it_has_moved_far_enough():
    past = told((1, {}), (2, {"overlap": 0.3}), (3, {"travel": 0.6, "overlap": 0.2}))
    assert past.views == [View(seen=1, stored=3, why="travelled", covered=0.0)]


def test_a_view_is_stored_when_it_is_time():
    past = told(*[(number, {"overlap": number / 10}) for number in range(1, 7)])
    assert past.views == [View(seen=1, stored=5, why="waited", covered=pytest.approx(0.1))]
    assert past.candidate == 6


def test_the_view_of_the_frame_itself_may_be_stored():
    past = told((1, {"overlap": 0.5}), (2, {"travel": 0.6, "overlap": 0.1}))
    assert past.views == [View(seen=2, stored=2, why="travelled", covered=0.5)]  # at most


def test_the_oldest_view_makes_room():
    far = {"travel": 0.6}
    past = told((1, far), (2, far), (3, {}), (4, far))
    assert [(view.seen, view.dropped) for view in past.views] == [(1, 4), (2, None), (4, None)]


def test_a_view_that_stays_the_same_is_that_of_its_first_frame():
    """A tie goes to the newer view, but the two cannot be told apart, nor need they be."""
    assert told((1, {}), (1, {}), (1, {"travel": 1.0})).views[0].seen == 1


def test_a_store_without_a_view_is_told_as_that():
    config = replace(CONFIG, store_without_candidate=True, first_overlap=0.0)
    past = told((1, {"overlap": 0.5}), (2, {"overlap": 0.5, "travel": 0.6}), config=config)
    assert past.views == [View(seen=None, stored=2, why="travelled", covered=0.0)]


def test_no_memory_no_views():
    past = told((1, {}), (2, {"travel": 1.0}), config=replace(CONFIG, capacity=0))
    assert past.views == []


def test_a_frame_that_is_not_written_changes_nothing():
    tracker = Told()
    tracker.see(1, travel=0.6)
    state = tracker.remembered.memory
    assert not np.any(compared(state, state))


# Of the trackers


def test_the_appearance_tracker_tells_how_like_itself_an_identity_was():
    tracker = AppearanceTracker()
    history = History(tracker)
    paths = [walk((100, 100), (0, 0), 40), walk((300, 100), (0, 0), 40)]
    for number, boxes in enumerate(zip(*paths, strict=True), start=1):
        tracker.update(detections(boxes, [0, 1]))
        history.update(number)
        assert history[1].views == history[2].views
    assert [view.stored for view in history[1].views] == [11, 22, 33]
    assert all(view.why == "waited" and view.covered == 0 for view in history[1].views)
    assert history[3].views == []


def test_a_match_names_the_second_and_how_sure_it_is():
    tracker = AppearanceTracker()
    history = History(tracker)
    rng = np.random.default_rng(0)
    paths = [walk((100, 100), (0, 0), 60), walk((300, 100), (0, 0), 60)]
    for number, boxes in enumerate(zip(*paths, strict=True), start=1):
        found = detections(boxes, [0, 1])
        found.data["embedding"] += rng.normal(0, 0.05, (2, 8)).astype(np.float32)
        tracker.update(found)
        history.update(number)
    one = history[1].match
    assert (one.frame, one.second) == (60, 2)
    assert one.distance < 0.1 < 0.8 < one.second_distance
    assert one.sure > 0.99

    mixed = detections([path[-1] for path in paths], [0, 1])
    mixed.data["embedding"][0] = [0.6, 0.8, 0, 0, 0, 0, 0, 0]  # the first looks like the second
    tracker.update(mixed)
    history.update(61)
    assert history[1].match.sure < 0.5
    assert history[2].match.sure > 0.5


def test_one_alone_has_no_second():
    tracker = AppearanceTracker()
    history = History(tracker)
    for number, person in enumerate((0, 1), start=1):
        tracker.update(detections([walk((100, 100), (0, 0), 1)[0]], [person]))
        history.update(number)
    assert history[1].match == Match(2, pytest.approx(1), None, None, None)


def test_beside_two_averages_the_sparse_memory_is_recorded():
    """Told from the tracker's state alone, it stores what the gallery of that kind would."""
    histories = {}
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.05, (50, 2, 8)).astype(np.float32)
    paths = [walk((100, 100), (2, 0), 50), walk((300, 100), (-2, 0), 50)]
    for kind in ("two", "sparse"):
        config = with_settings(AppearanceConfig(), {"gallery.kind": kind})
        tracker = AppearanceTracker(config=config)
        histories[kind] = History(tracker)
        for number, boxes in enumerate(zip(*paths, strict=True), start=1):
            found = detections(boxes, [0, 1])
            found.data["embedding"] += noise[number - 1]
            tracker.update(found)
            histories[kind].update(number)
    two, sparse = histories["two"], histories["sparse"]
    assert two.beside
    assert not sparse.beside
    assert len(two[1].views) > 3
    for identity in (1, 2):
        seen = [[(view.seen, view.stored, view.why) for view in history[identity].views]
                for history in (two, sparse)]  # fmt: skip
        assert seen[0] == seen[1]


@pytest.mark.parametrize("kind", ["ema", "last", "none"])
def test_other_galleries_have_no_sparse_memory(kind):
    tracker = AppearanceTracker(config=with_settings(AppearanceConfig(), {"gallery.kind": kind}))
    history = History(tracker)
    tracker.update(detections([walk((100, 100), (0, 0), 1)[0]], [0]))
    history.update(1)
    assert tracker.remembered is None
    assert history[1].views == []


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("config", [released(), default()], ids=["released", "default"])
def test_the_query_tracker_tells_its_memory_too(library, config):
    module = pytest.importorskip(library)
    tracker = QueryTracker(SureNetwork(module), config)
    history, image = History(tracker), np.zeros((100, 200, 3), np.uint8)
    boxes = np.array([[30.0, 30, 50, 90], [120, 30, 140, 90]])
    for number in range(1, 25):
        tracker.update(detections(boxes), image)
        history.update(number)
    tracks = tracker.state.tracks
    stored = dict(zip((tracks.ids + 1).tolist(), tracks.memory.valid.sum(1).tolist(), strict=True))
    assert {identity: len(history[identity].views) for identity in stored} == stored
    assert history[1].views[0].stored == 11
    assert history[1].match.frame == 24
