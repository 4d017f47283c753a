"""The benchmark of the query tracker's memories."""

import numpy as np
import supervision as sv
import torch
from benchmarks.quality.query_memories import AveragedTracker, absences

from tfsasm.evaluation.trajectories import Trajectories
from tfsasm.settings import pairs, with_settings
from tfsasm.tracking import memory
from tfsasm.tracking.config import released
from tfsasm.tracking.load import torch_network


def test_an_absence_lasts_from_one_box_of_a_person_to_the_next():
    truth = Trajectories.of([1, 2, 5, 6, 1, 12], [7, 7, 7, 7, 8, 8], np.ones((6, 4)))
    assert list(absences(truth)) == [2, 10]


def test_the_average_of_a_track_follows_its_queries_slowly_and_is_read_as_a_view():
    everything = "lifecycle.birth_score=0 lifecycle.miss_score=0 refresh_score=0"
    config = with_settings(released(), pairs(everything.split()))
    tracker = AveragedTracker(torch_network("tiny"), config, momentum=0.75)
    image = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    given = sv.Detections(xyxy=np.array([[20.0, 10, 50, 90]]), confidence=np.array([0.9]))
    tracker.update(given, image)
    first = tracker.state.tracks
    assert torch.equal(first.memory.features[:, 0], first.queries.content)
    tracker.update(sv.Detections.empty(), image)
    then = tracker.state.tracks
    again = then[[then.ids.tolist().index(i) for i in first.ids.tolist()]]
    expected = 0.75 * first.memory.features[:, 0] + 0.25 * again.queries.content
    assert not torch.allclose(first.queries.content, again.queries.content)
    torch.testing.assert_close(again.memory.features[:, 0], expected)
    read = memory.read(again.memory, again.queries.content)
    torch.testing.assert_close(read, (again.queries.content + expected) / 2)
