"""A query tracker whose network has several classes."""

from dataclasses import replace

import numpy as np
import pytest
import supervision as sv
import torch

from helpers.fakes import SMALL, ScriptedNetwork, box, predicted
from helpers.libraries import LIBRARIES
from helpers.scenes import NETWORK, follow, lively_model
from tfsasm.motrv2.export import Decode
from tfsasm.motrv2.network import TorchNetwork
from tfsasm.motrv2.transformer import Features
from tfsasm.runtime.network import Queries
from tfsasm.runtime.network import predicted as prediction
from tfsasm.settings import with_settings
from tfsasm.tracking.config import default, paper, released
from tfsasm.tracking.query import QueryTracker

IMAGE = np.zeros((100, 200, 3), np.uint8)
A, B = box(0.2), box(0.7)
THREE = replace(SMALL, classes=3)
CAR, NOBODY, RIDER = [0.1, 0.2, 0.9], [0.1, 0.2, 0.3], [0.2, 0.8, 0.1]


@pytest.fixture(params=LIBRARIES)
def tracker(request):
    """Of a network of three classes that predicts what the script says."""

    def make(*script, config=None):
        network = ScriptedNetwork(*script, library=LIBRARIES[request.param], classes=3)
        return QueryTracker(network, config or released())

    return make


def found(*boxes, classes=None, **data):
    cx, cy, w, h = np.array(boxes, dtype=float).reshape(-1, 4).T
    corners = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1)
    return sv.Detections(
        xyxy=corners * [200, 100, 200, 100], confidence=np.full(len(boxes), 0.9),
        class_id=None if classes is None else np.array(classes), data=data,
    )  # fmt: skip


def test_a_sure_car_is_reported_as_one(tracker):
    tracks = tracker(predicted([CAR, NOBODY], [A, B])).update(found(A, B), IMAGE)
    assert (tracks.tracker_id.tolist(), tracks.class_id.tolist()) == ([1], [2])
    assert tracks.confidence.tolist() == pytest.approx([0.9])


def test_over_a_video_tracks_have_the_names_of_the_network(tracker):
    """And not those of the detector, whose numbers mean something else."""
    def detect(frame):
        return found(A)

    detect.class_names = {2: "motorcycle"}
    [(_, tracks)] = tracker(predicted([CAR], [A])).track([IMAGE], detect)
    assert tracks.data["class_name"].tolist() == ["class 2"]


def test_a_track_is_what_it_was_when_it_was_last_seen(tracker):
    one = tracker(*(predicted([row], [A]) for row in (CAR, NOBODY, RIDER)))
    one.update(found(A), IMAGE)
    for wanted in (2, 1):
        one.update(None, IMAGE)
        [track] = one.tracks
        assert (track.id, track.class_id) == (1, wanted)


def test_the_classes_of_detections_are_not_asked_for(tracker):
    """They count otherwise: 7 is a truck of COCO's."""
    names = {"class_name": np.array(["truck", "truck"]), "plate": np.array(["x", "y"])}
    one = tracker(predicted([CAR, RIDER], [A, B]))
    tracks = one.update(found(A, B, classes=[7, 7], **names), IMAGE)
    assert tracks.class_id.tolist() == [2, 1]
    assert tracks.data["plate"].tolist() == ["x", "y"]
    assert "class_name" not in tracks.data
    assert one.class_names[2] == "class 2"


@pytest.mark.parametrize(("agnostic", "born"), [("false", [1, 2]), ("true", [1])])
def test_births_are_barred_within_a_class(tracker, agnostic, born):
    config = with_settings(default(), {"class_agnostic": agnostic})
    one = tracker(predicted([CAR, RIDER], [A, A]), config=config)
    assert one.update(found(A, A), IMAGE).tracker_id.tolist() == born


def test_the_memory_is_of_the_track_whatever_its_class(tracker):
    """Two runs in which the same scores are of other classes remember the same."""
    config = with_settings(paper(), {"min_travel": "0.01", "min_score": "0.5"})
    kept = []
    for rows in ([CAR, CAR, CAR, CAR], [CAR, RIDER, CAR, RIDER]):
        boxes = [box(0.2 + 0.1 * step) for step in range(4)]
        rows = [[0.9 if score == max(row) else 0.1 for score in row] for row in rows]
        one = tracker(*(predicted([r], [b]) for r, b in zip(rows, boxes, strict=True)),
                      config=config)  # fmt: skip
        for step in range(4):
            one.update(found(boxes[0]) if step == 0 else None, IMAGE)
        kept.append(one.state.tracks.memory)
    assert bool(kept[0].valid.any())
    for column in ("features", "valid", "travel", "gap"):
        first, second = (np.asarray(getattr(memory, column)) for memory in kept)
        np.testing.assert_array_equal(first, second)


def test_the_score_is_that_of_the_most_likely_class():
    scores = torch.tensor([CAR, RIDER])
    some = torch.zeros(2, 4)
    answer = prediction(scores, some, some, some)
    assert (answer.scores.tolist(), answer.classes.tolist()) == (
        pytest.approx([0.9, 0.8]), [2, 1]
    )  # fmt: skip
    assert answer[answer.scores > 0.85].class_scores.tolist() == [pytest.approx(CAR)]
    none = prediction(scores[:0], some[:0], some[:0], some[:0])
    assert (len(none), none.classes.tolist()) == (0, [])


def widened(model, sizes):
    """The same network with two more classes that it never sees."""
    wide = lively_model(sizes)
    state = model.state_dict()
    for name, tensor in wide.state_dict().items():
        if "class_heads" in name:
            fill = -20.0 if name.endswith("bias") else 0.0
            state[name] = torch.full_like(tensor, fill)
            state[name][1] = model.state_dict()[name][0]
    wide.load_state_dict(state)
    return wide


def test_classes_that_are_never_seen_change_nothing(scene):
    sizes = replace(NETWORK, model=THREE)
    narrow = lively_model()
    networks = TorchNetwork(narrow, NETWORK), TorchNetwork(widened(narrow, sizes.model), sizes)
    one, other = (follow(QueryTracker(network, paper()), scene, range(6)) for network in networks)
    assert sum(map(len, one)) > 10
    for ours, theirs in zip(one, other, strict=True):
        assert (theirs.class_id == 1).all()
        assert ours.tracker_id.tolist() == theirs.tracker_id.tolist()
        np.testing.assert_array_equal(ours.xyxy, theirs.xyxy)
        np.testing.assert_allclose(ours.confidence, theirs.confidence, rtol=1e-6)


def test_an_export_gives_the_scores_of_all_classes():
    model = lively_model(THREE)
    maps = [torch.rand(1, 4, 6, THREE.width) for _ in range(THREE.levels)]
    content, boxes = torch.rand(5, THREE.width), torch.full((5, 4), 0.5)
    scores = Decode(model)(content, boxes, maps)[0]
    tokens = torch.cat([level.flatten(1, 2) for level in maps], 1)
    features = Features(tokens, [(4, 6)] * THREE.levels)
    answer = TorchNetwork(model, NETWORK).decode(features, Queries(content, boxes))
    assert scores.shape == (5, 3)
    torch.testing.assert_close(answer.class_scores, scores)
