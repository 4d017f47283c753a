"""Tables with rows that stand empty: the same tracks, and no waiting for the device."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import islice

import numpy as np
import pytest
import torch

from helpers.fakes import SMALL
from helpers.golden_data import synthetic_sequence
from helpers.graphs import Captures
from helpers.scenes import NETWORK, lively_model
from helpers.waits import HostWaits
from tfsasm.detection.proposals import Proposals
from tfsasm.motrv2.family import build
from tfsasm.motrv2.fast.graphs import Graphs
from tfsasm.motrv2.fast.model import FastMOTRv2
from tfsasm.motrv2.network import TorchNetwork, as_network
from tfsasm.motrv2.transformer import Features
from tfsasm.runtime.network import Queries
from tfsasm.settings import with_settings
from tfsasm.tracking.config import (
    NO_ID,
    AssociationConfig,
    MotionConfig,
    default,
    motrv2,
    paper,
    released,
)
from tfsasm.tracking.query import QueryTracker, step
from tfsasm.tracking.state import (
    TrackerState,
    asked_rows,
    begin,
    live_rows,
    new_tracks,
    settled,
    with_empty_rows,
    with_room,
)

WIDTH, HEIGHT, FRAMES = 128, 96, 10
QUICK = {"lifecycle.miss_tolerance": "3", "memory.max_gap": "2", "memory.min_travel": "0.02"}
"""Lives and stores within a few frames."""


def clip(seed):
    """Images and detections; in the fifth frame there are none."""
    images, lines = synthetic_sequence(
        FRAMES, HEIGHT, WIDTH, nobj=5 + 3 * seed, seed=seed, zero_frames=[4]
    )
    for image, found in zip(images, lines, strict=True):
        rows = np.array([line.split(",") for line in found], dtype=float).reshape(-1, 5)
        boxes = Proposals.from_ltwh(rows[:, :4], rows[:, 4], WIDTH, HEIGHT)
        yield np.ascontiguousarray(image[..., ::-1]), boxes


@cache
def encoded():
    """A network, and what it makes of each image of a clip of 11 objects, with the detections."""
    model = lively_model(seed=2)
    for head in model.decoder.class_heads:
        head.bias.fill_(2.0)
        head.weight.mul_(2.0)
    network = TorchNetwork(model, NETWORK)
    images, proposals = zip(*clip(2), strict=True)
    return network.model, list(zip(network.encode(images), proposals, strict=True))


@cache
def followed(method, *, padded):
    return tuple(follow(method, padded=padded))


def follow(method, *, padded, capture=None):
    """State and output, in NumPy, after each frame of a clip; detections are padded as tracks."""
    model, frames = encoded()
    network, config = TorchNetwork(model, NETWORK, padded=padded), with_settings(method, QUICK)
    network.graphs = Graphs(capture)
    state, found = begin(network, config), []
    for features, proposals in frames:
        count = torch.tensor(len(proposals)) if padded else None
        given = (with_empty_rows(proposals) if padded else proposals).map(network.asarray)
        state, output = settled(*step(network, state, features, given, config, count))
        found.append((state, output))
    return found


def assert_near(found, wanted, **how):
    for one, other in zip(found.columns, wanted.columns, strict=True):
        torch.testing.assert_close(torch.as_tensor(one), torch.as_tensor(other), **how)


@pytest.mark.parametrize("method", [
    pytest.param(released(), id="released"),
    pytest.param(motrv2(), id="motrv2, without a memory"),
    pytest.param(paper(), id="paper"),
    pytest.param(replace(paper(), motion=MotionConfig(lead=1.0)), id="with motion"),
    pytest.param(default(), id="default, which assigns detections"),
])  # fmt: skip
def test_rows_that_stand_empty_change_no_track(method):
    """Identities and every flag and count are equal, numbers to rounding."""
    compact, padded = (followed(method, padded=padded) for padded in (False, True))
    for (one, wanted), (other, found) in zip(compact, padded, strict=True):
        assert found.ids.tolist() == wanted.ids.tolist()
        assert_near(found, wanted, rtol=0, atol=2e-6)
        assert_near(other.living, one.tracks, rtol=1e-5, atol=2e-5)
        assert int(other.next_id) == one.next_id
        assert other.live == len(one.tracks) <= len(other.tracks)


def test_meanwhile_tables_grow_and_tracks_are_born_lost_and_stored():
    """So that the test above tells something."""
    states = [state for state, _ in followed(released(), padded=True)]
    assert int(states[-1].next_id) > states[-1].live > 20
    sizes = [len(state.tracks) for state in states]
    assert len(set(sizes)) > 1
    assert sizes == sorted(sizes)
    assert states[-1].living.memory.valid.sum() > 30


@pytest.mark.parametrize(("method", "few"), [
    pytest.param(released(), range(2, 6), id="released: a graph for each size of the tables"),
    pytest.param(default(), [0], id="default: assigned on the host, so none"),
])
def test_a_clip_in_graphs_is_the_same_to_the_last_bit(method, few, monkeypatch):
    wanted, captures = followed(method, padded=True), Captures()
    monkeypatch.setenv("TFSASM_GRAPHS", "1")
    frames = follow(method, padded=True, capture=captures)
    for (one, first), (other, second) in zip(frames, wanted, strict=True):
        assert_near(second, first, rtol=0, atol=0, equal_nan=True)
        assert_near(one.tracks, other.tracks, rtol=0, atol=0)
        assert int(one.next_id) == int(other.next_id)
    assert captures.count in few


@pytest.mark.parametrize(("sizes", "bias"), [
    pytest.param({"kind": "motr", "learned_queries": 6}, 1.0, id="MOTR"),
    pytest.param({"kind": "motr", "learned_queries": 300, "track_attention": True}, -1.0,
                 id="MOTR with track attention, which begins at row 300"),
    pytest.param({"learned_queries": 6, "queries_per_track": 3}, 2.0, id="CO-MOT"),
])  # fmt: skip
def test_networks_that_find_objects_themselves_take_them_too(sizes, bias):
    sizes = replace(SMALL, **sizes)
    torch.manual_seed(0)
    model = build(sizes).eval().requires_grad_(False)
    for head in getattr(model, "decoder", model).class_heads:
        head.bias.fill_(bias)
        head.weight.mul_(4.0)
    trackers = [QueryTracker(as_network(model, replace(NETWORK, model=sizes), padded=padded))
                for padded in (False, True)]  # fmt: skip
    for image, proposals in islice(clip(1), 3):
        one, other = (tracker.update(proposals, image) for tracker in trackers)
        assert one.tracker_id.tolist() == other.tracker_id.tolist()
        np.testing.assert_allclose(other.xyxy, one.xyxy, atol=1e-3)
    compact, padded = (tracker.state for tracker in trackers)
    assert len(padded.tracks) > len(compact.tracks) > 2


def test_a_tracker_shows_none_of_the_empty_rows():
    network = TorchNetwork(lively_model(), NETWORK, padded=True)
    wide, narrow = (QueryTracker(n, released()) for n in (network, TorchNetwork(network.model,
                                                                              NETWORK)))
    for image, proposals in islice(clip(0), 5):
        one, other = wide.update(proposals, image), narrow.update(proposals, image)
        assert one.tracker_id.tolist() == other.tracker_id.tolist()
        np.testing.assert_allclose(one.xyxy, other.xyxy, atol=1e-3)
    assert [track.id for track in wide.tracks] == [track.id for track in narrow.tracks]
    assert repr(wide) == repr(narrow)
    assert wide.remembered.ids.tolist() == narrow.remembered.ids.tolist()
    assert len(wide.tracks) < len(wide.state.tracks)


# Room


def empty_state(rows=0, live=0):
    queries = Queries(torch.zeros(rows, 8), torch.zeros(rows, 4))
    return TrackerState(new_tracks(queries, released()), torch.zeros((), dtype=torch.int64),
                        live=live)  # fmt: skip


@pytest.mark.parametrize(("rows", "live", "new", "room"), [
    pytest.param(0, 0, 0, 16, id="never none"),
    pytest.param(0, 0, 16, 16, id="room for all that may be born"),
    pytest.param(0, 0, 17, 32, id="one more"),
    pytest.param(16, 16, 1, 32, id="all rows are taken"),
    pytest.param(16, 10, 100, 128, id="a crowd"),
    pytest.param(128, 2, 3, 128, id="it does not fall"),
    pytest.param(20, None, 5, 32, id="a table of another size, all of which may live"),
])
def test_there_is_room_for_everyone_who_may_be_born(rows, live, new, room):
    state = with_room(empty_state(rows, live), new, released())
    assert len(state.tracks) == room
    assert state.live == (rows if live is None else live) + new
    assert (state.tracks.ids == NO_ID).all()


def test_no_birth_is_lost_when_all_are_born_for_ever():
    """Also where nobody tells the step how many live, which it then thinks more and more of."""
    network = TorchNetwork(lively_model(), NETWORK, padded=True)
    config = with_settings(released(), {"lifecycle.birth_score": "0", "lifecycle.miss_score": "0"})
    state, born = begin(network, config), 0
    for image, proposals in clip(0):
        [features] = network.encode([image])
        state, output = step(
            network, state, features, proposals.map(network.asarray), config
        )
        born += network.learned + len(proposals)
        assert sorted(output.ids[output.ids != NO_ID].tolist()) == list(range(born))
        assert born <= state.live <= len(state.tracks)


def test_live_rows_come_first_and_in_order():
    ids = torch.tensor([NO_ID, 7, NO_ID, 3, 5, NO_ID])
    assert live_rows(ids, None).tolist() == [1, 3, 4]
    assert live_rows(ids, 4).tolist() == [1, 3, 4, 0]
    assert asked_rows(ids, 1).tolist() == [True, True, False, True, True, False]


# What makes the host wait for a GPU


def frames_on(device, network, method, frames=1):
    """A few frames of a tracker whose arrays are on the device, as its network is."""
    with torch.device(device):
        shapes = [(8, 12), (4, 6), (2, 3)]
        features = Features(torch.zeros(1, 126, 64), shapes)
        proposals = Proposals(torch.full((3, 4), 0.5), torch.ones(3))
        state = empty_state()
    queries = network.queries(proposals.boxes, proposals.scores)
    state = replace(state, tracks=new_tracks(queries[:0], method))

    def run():
        after = state
        for _ in range(frames):
            after, output = step(network, after, features, proposals, method)
        return output

    return run


ONE_LAYER = replace(SMALL, heads=1, decoder_layers=1)  # Triton's interpreter and `meta` are slow
BARRED = AssociationConfig(duplicate_iou=0.5, birth_score=0.6)
WITHOUT_ASSIGNMENT = pytest.mark.parametrize("method", [
    pytest.param(released(), id="released"),
    pytest.param(motrv2(), id="motrv2"),
    pytest.param(replace(paper(), motion=MotionConfig(lead=1.0), association=BARRED),
                 id="paper, with motion and births barred"),
])  # fmt: skip


@WITHOUT_ASSIGNMENT
def test_a_step_makes_the_host_wait_for_nothing(method, monkeypatch):
    monkeypatch.setenv("TFSASM_SAMPLING", "plain")
    network = TorchNetwork(lively_model(ONE_LAYER).to("meta"), NETWORK, padded=True)
    run = frames_on("meta", network, method)
    with HostWaits() as waits:
        output = run()
    assert output.ids.device.type == "meta"
    assert waits.names == []


def test_nor_does_the_fast_network_with_the_kernel_of_gpus(monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setenv("TFSASM_SAMPLING", "triton")
    network = TorchNetwork(FastMOTRv2(lively_model(ONE_LAYER)), NETWORK, padded=True)
    run = frames_on("cpu", network, released())
    run()  # after which the kernel is known to be right
    with HostWaits() as waits:
        run()
    assert waits.names == []


def test_an_assignment_does(monkeypatch):
    """So that the tests above may fail: on the device `meta` there are no numbers to copy."""
    monkeypatch.setenv("TFSASM_SAMPLING", "plain")
    network = TorchNetwork(lively_model(ONE_LAYER).to("meta"), NETWORK, padded=True)
    run = frames_on("meta", network, default())
    with HostWaits() as waits, pytest.raises(NotImplementedError, match="copy out of meta"):
        run()
    assert waits.names == ["_to_copy"]


@pytest.mark.cuda
@WITHOUT_ASSIGNMENT
def test_a_gpu_refuses_no_step(method):
    network = TorchNetwork(FastMOTRv2(lively_model().to("cuda")), NETWORK)
    run = frames_on("cuda", network, method, frames=2)
    run()
    torch.cuda.set_sync_debug_mode("error")
    try:
        run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
