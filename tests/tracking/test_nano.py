"""The network `nano`: keys of YOLOX-nano's maps, pairs that agree, births."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.ops import roi_align

from tfsasm.boxes import cxcywh_to_xyxy, ltwh_to_xyxy
from tfsasm.datasets.synthetic.config import SceneConfig
from tfsasm.datasets.synthetic.sequences import render_clip
from tfsasm.detection.proposals import Proposals
from tfsasm.detection.yolox import YoloxDetector, release_file
from tfsasm.errors import InputError
from tfsasm.tracking.config import preset
from tfsasm.tracking.load import load, own_preset, torch_network
from tfsasm.tracking.nano import MAPS, SIDE, Maps, NanoNetwork, Rule, agreed, pooled, weighed
from tfsasm.tracking.query import QueryTracker

BOX = [0.5, 0.5, 0.1, 0.3]


@pytest.fixture(scope="module")
def nano():
    return load("nano").network


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def at(x, width=0.1):
    return [x, 0.5, width, 0.3]


def test_features_are_the_means_that_torchvision_takes():
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(104 // (s // 4), 104 // (s // 4), 5)).astype(np.float32)
              for s, _ in MAPS.values()]  # fmt: skip
    found = np.column_stack([rng.random((9, 2)), 0.02 + 0.4 * rng.random((9, 2))])
    found = found.astype(np.float32)  # some leave the image
    xyxy = torch.from_numpy(cxcywh_to_xyxy(found) * np.float32(SIDE))
    wanted = [
        torch.nn.functional.normalize(roi_align(
            torch.from_numpy(v).permute(2, 0, 1)[None], [xyxy], (bands, 1), 1 / stride, 2,
            aligned=True,
        ).flatten(1), dim=1)
        for v, (stride, bands) in zip(values, MAPS.values(), strict=True)
    ]  # fmt: skip
    given = pooled(Maps(values, np.full(4, SIDE, np.float32)), found)
    assert given == pytest.approx(torch.cat(wanted, 1).numpy(), abs=1e-5)


def test_the_maps_leave_the_detector_as_it_was(nano):
    """The file has one output more, not another graph: the deepest map feeds the detector."""
    [frame] = render_clip(3, SceneConfig(frames=1))
    [maps] = nano.encode([frame.image])
    assert [m.shape[:2] for m in maps.values] == [(SIDE // s, SIDE // s) for s, _ in MAPS.values()]
    assert all(np.isfinite(m).all() and m.std() > 0 for m in maps.values)
    assert YoloxDetector(release_file("yolox-nano")).find(frame.image).xyxy.shape[1] == 4


@pytest.mark.parametrize(("weights", "seen", "stray"), [
    pytest.param([[5.0]], [1], [0], id="a pair"),
    pytest.param([[-5.0]], [0], [1], id="too far apart"),
    pytest.param([[5.0, 5.0]], [1], [0.5, 0.5], id="a person with two boxes is seen"),
    pytest.param([[8.0], [2.0]], [1, 0], [0], id="two on one box: the nearer has it"),
    pytest.param([[6.0, 8.0], [9.0, -9.0]], [1, 1], [0, 0], id="each has the box that suits it"),
    pytest.param(np.zeros((2, 0)), [0, 0], [], id="nothing found"),
    pytest.param(np.zeros((0, 2)), [], [1, 1], id="nobody tracked"),
])
def test_pairs_agree(weights, seen, stray):
    share, hidden, free = agreed(np.array(weights, np.float32))
    assert 1 - hidden == pytest.approx(np.array(seen), abs=0.2)
    assert free == pytest.approx(np.array(stray), abs=0.2)
    assert share.sum(1) + hidden == pytest.approx(np.ones(len(hidden)), abs=1e-4)


@pytest.mark.parametrize(("found", "scores", "tracked", "born"), [
    pytest.param([at(0.5)], [0.9], [], [True], id="somebody new"),
    pytest.param([at(0.5)], [0.2], [], [False], id="a poor box"),
    pytest.param([at(0.5), at(0.52)], [0.9, 0.8], [], [True, False], id="two boxes of one"),
    pytest.param([at(0.5), at(0.8)], [0.9, 0.9], [], [True, True], id="two people"),
    pytest.param([at(0.5)], [0.9], [at(0.5)], [False], id="tracked already"),
    pytest.param([at(0.5), at(0.52)], [0.8, 0.9], [at(0.5)], [False, False], id="beside a track"),
    pytest.param([at(0.9)], [0.9], [at(0.2)], [True], id="far from the track"),
])
def test_births_are_of_boxes_that_nothing_explains(found, scores, tracked, born):
    keys = np.tile(np.float32([0.6, 0.8]), (len(found), 1))
    kept = np.tile(np.float32([0.6, 0.8]), (len(tracked), 1))
    given = np.array(scores, np.float32)
    *_, likely = weighed(Rule(), boxes(*found), given, keys, boxes(*tracked), kept)
    assert (likely >= 0.5).tolist() == born


def test_likeness_decides_between_two_boxes_alike_near():
    found, kept = boxes(at(0.48), at(0.52)), np.float32([[1, 0]])
    for keys, wanted in (([[1, 0], [0, 1]], 0), ([[0, 1], [1, 0]], 1)):
        share, *_ = weighed(
            Rule(), found, np.float32([0.9, 0.9]), np.float32(keys), boxes(BOX), kept
        )
        assert share[0].argmax() == wanted


class Walk(NanoNetwork):
    """Features are the keys themselves."""

    def keys(self, features, boxes):
        return features


def walk(method, places, keys, score=0.9):
    """Identities of two who are found at `places` `[F, 2]` in frames without a picture."""
    network = Walk(np.zeros((2, 2), np.float32), np.zeros(2, np.float32), Rule(), None)
    tracker, image = QueryTracker(network, preset(method).make()), np.zeros((200, 400, 3), np.uint8)
    ids = []
    for xs in places:
        found = Proposals(boxes(*map(at, xs)), np.full(len(xs), score, np.float32))
        tracks = tracker.update(found, image, keys[: len(xs)])
        if not xs.size:
            ids.append(tracks.tracker_id.tolist())
            continue
        order = np.argsort(np.abs(tracks.xyxy[:, None, ::2].mean(2) / 400 - xs).argmin(1))
        ids.append(tracks.tracker_id[order].tolist())
    return ids


@pytest.mark.parametrize("method", ["motrv2", "released", "paper", "default"])
def test_two_who_cross_keep_their_identities(method):
    steps = np.arange(30)[:, None]
    places = np.concatenate([0.2 + 0.02 * steps, 0.8 - 0.02 * steps], 1)
    keys = np.float32([[1, 0], [0, 1]])
    assert walk(method, places, keys) == [[1, 2]] * 30


def test_a_track_that_was_not_found_for_some_frames_goes_on():
    places = [[0.3], [0.3], *[[]] * 10, [0.3]]
    ids = walk("motrv2", [np.array(p) for p in places], np.float32([[1, 0]]))
    assert ids == [[1], [1], *[[]] * 10, [1]]


def test_it_follows_rendered_people():
    """Those who are in every frame and never near another keep one identity."""
    scene = SceneConfig(
        frames=8, width=320, height=240, people=(3, 3), occluders=(0, 0), leave=0.0,
        kinds=("street",), frame_rate=(20.0, 20.0), camera_motion=0.0,
    )  # fmt: skip
    tracker, seen = load("nano"), {}
    for frame in render_clip(5, scene):
        xyxy = ltwh_to_xyxy(frame.boxes)
        found = np.column_stack([xyxy, np.full(len(xyxy), 0.9)])
        tracks = tracker.update(found, frame.image)
        for row in range(len(tracks)):
            person = np.abs(xyxy - tracks.xyxy[row]).sum(1).argmin()
            seen.setdefault(int(frame.ids[person]), []).append(int(tracks.tracker_id[row]))
    assert len(seen) == 2  # the third is out of the image
    assert all(len(set(ids)) == 1 and len(ids) == 8 for ids in seen.values())


def test_frames_without_detections_and_the_smallest_image_are_normal():
    tracker = load("nano")
    for _ in range(2):
        assert len(tracker.update(np.zeros((0, 5)), np.zeros((1, 1, 3), np.uint8))) == 0
    assert "nano" not in repr(tracker)
    assert own_preset("nano") is None


@pytest.mark.parametrize(("given", "word"), [
    pytest.param({"short_side": 96}, "416", id="a scale"),
    pytest.param({"precision": "bf16"}, "precision", id="a precision"),
])
def test_it_has_one_scale_and_precision(given, word):
    with pytest.raises(InputError, match=word):
        load("nano", **given)


def test_it_is_not_pytorch():
    with pytest.raises(InputError, match="neither exported nor trained"):
        torch_network("nano")


def test_weights_of_the_rule_are_in_the_file(nano):
    assert isinstance(nano.rule, Rule)
    assert replace(nano.rule) == nano.rule
    assert nano.parameters == 64 * 928 + 64 + 14
    assert "tfsasm.tracking.nano" in sys.modules
