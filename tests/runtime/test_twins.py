"""What tracks without torch computes what its torch twin computes, on whatever it is given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.fakes import CHANNELS, EMBEDDED, REFRESHED, FakeModel
from tfsasm import boxes
from tfsasm.detection.proposals import Proposals
from tfsasm.motrv2.position_encoding import embed_coordinates
from tfsasm.runtime import boxes as array_boxes
from tfsasm.runtime import lifecycle as array_lifecycle
from tfsasm.runtime import memory, motion, support, tracker
from tfsasm.runtime.exported import embed_scores
from tfsasm.settings import with_settings
from tfsasm.tables import Table
from tfsasm.tracking import association, query
from tfsasm.tracking import config as lifecycle
from tfsasm.tracking import memory as memory_module
from tfsasm.tracking.config import (
    PRESETS,
    AssociationConfig,
    LifecycleConfig,
    MemoryConfig,
    MotionConfig,
    TrackerConfig,
)

seeds = st.integers(0, 2**32 - 1)
counts = st.integers(0, 9)
chances = settings(deadline=None, max_examples=25)


def tensors(table):
    """Arrays, or a table of them, for the twin."""
    return torch.from_numpy(table) if isinstance(table, np.ndarray) else table.map(torch.from_numpy)


def as_torch(table, kind):
    """A table of arrays as a table of the twin's kind."""
    return kind(**{name: tensors(value) for name, value in vars(table).items()})


def assert_same(array, tensor):
    """Whole numbers and masks exactly, floats up to rounding, nested tables alike."""
    if isinstance(array, Table):
        for name, value in vars(array).items():
            assert_same(value, getattr(tensor, name))
        return
    twin = tensor.numpy()
    assert (array.dtype, array.shape) == (twin.dtype, twin.shape)
    np.testing.assert_allclose(array, twin, rtol=0, atol=1e-6 * (array.dtype.kind == "f"))


def some(random, *shape):
    return random.random(shape, dtype=np.float32)


def crowd(random, n):
    """Boxes `[n, 4]` that overlap often, some alike, some empty, some half outside."""
    places = np.concat([random.uniform(-0.1, 1.1, (5, 2)), random.uniform(0.05, 0.4, (5, 2))], 1)
    chosen = places[random.integers(0, 5, n)] + random.normal(0, 0.01, (n, 4))
    chosen[random.random(n) < 0.1, 2:] = 0
    return chosen.astype(np.float32)


def levels(random, n):
    """Scores `[n]` in tenths: ties, and values at the bars."""
    return (random.integers(0, 11, n) / 10).astype(np.float32)


@chances
@given(seeds, counts, counts)
def test_boxes(seed, n, m):
    random = np.random.default_rng(seed)
    a, b = crowd(random, n), crowd(random, m)
    corners = array_boxes.cxcywh_to_xyxy(a)
    assert_same(corners, boxes.cxcywh_to_xyxy(tensors(a)))
    assert_same(array_boxes.area(corners), boxes.area(tensors(corners)))
    iou = array_boxes.iou_matrix(corners, array_boxes.cxcywh_to_xyxy(b))
    twin = boxes.iou_matrix(tensors(corners), boxes.cxcywh_to_xyxy(tensors(b)))
    assert_same(iou, twin)
    for share in (0.0, 0.3, 0.5, 1.0):
        assert_same(array_boxes.lerp(a, a[::-1].copy(), share),
                    tensors(a).lerp(tensors(a).flip(0), share))  # fmt: skip


MEMORIES = [
    MemoryConfig(), MemoryConfig(capacity=0), MemoryConfig(capacity=1, max_gap=1),
    MemoryConfig(3, 0.3, 2, 0.4, 0.2, 1.0, True, False),
]  # fmt: skip


@chances
@given(seeds, counts, st.sampled_from(MEMORIES))
def test_a_memory_over_ten_frames(seed, n, config):
    random = np.random.default_rng(seed)
    state = memory.empty(n, 4, config)
    twin = memory_module.empty(n, 4, config)
    assert_same(state, twin)
    for _ in range(10):
        overlap = levels(random, n)
        overlap[random.random(n) < 0.1] = np.nan
        seen = memory.Observation(
            some(random, n, 4), some(random, n) * np.float32(0.2), overlap, levels(random, n),
            random.random(n) < 0.7,
        )  # fmt: skip
        state = memory.write(state, seen, config)
        twin = memory_module.write(twin, as_torch(seen, memory_module.Observation), config)
        assert_same(state, twin)
        default = some(random, n, 4)
        assert_same(memory.read(state, default), memory_module.read(twin, tensors(default)))


LIVES = [LifecycleConfig(), LifecycleConfig(0.6, 0.4, 2), LifecycleConfig(0.3, 0.2, 1)]


@chances
@given(seeds, counts, st.sampled_from(LIVES))
def test_births_and_deaths(seed, n, config):
    random = np.random.default_rng(seed)
    ids = np.where(random.random(n) < 0.5, lifecycle.NO_ID, np.arange(n))
    asked = ids, random.integers(0, 4, n), levels(random, n)
    barred = random.random(n) < 0.8
    census = array_lifecycle.advance(*asked, 20, config, barred)
    twin = association.update_status(*map(tensors, asked), 20, config, may_be_born=tensors(barred))
    assert census.next_id == twin.next_id
    for name in ("ids", "missed", "born"):
        assert_same(getattr(census, name), getattr(twin, name))


WAYS = [MotionConfig(), MotionConfig(1.0), MotionConfig(0.5, 0.7, 1.0), MotionConfig(1.0, 0.5, 0)]


@chances
@given(seeds, counts, st.sampled_from(WAYS))
def test_motion(seed, n, config):
    random = np.random.default_rng(seed)
    last, now, velocity = crowd(random, n), crowd(random, n), some(random, n, 2)
    missed, seen = random.integers(0, 30, n), random.random(n) < 0.5
    asked = last, velocity, missed
    assert_same(
        motion.expect(*asked, config), association.predict_boxes(*map(tensors, asked), config)
    )
    asked = velocity, last, now, missed, seen
    assert_same(
        motion.learn(*asked, config), association.update_velocity(*map(tensors, asked), config)
    )


BIRTHS = {"birth_overlap": 0.4, "birth_score": 0.5}
ROUNDS = {"claim_iou": 0.4, "claim_held": 1.0}
SUPPORTS = [
    AssociationConfig(), AssociationConfig(claim_iou=0.3),
    AssociationConfig(claim_iou=0.4, trust=0.5),
    AssociationConfig(**ROUNDS, again_iou=0.2, again_score=0.5, snap=True),
    AssociationConfig(claim_iou=0.3, claim_held=0.4, again_iou=0.1, required=True),
    AssociationConfig(**BIRTHS),
    AssociationConfig(**ROUNDS, **BIRTHS, snap=True, required=True, trust=0.3),
]  # fmt: skip


@chances
@given(seeds, counts, st.integers(0, 6), st.integers(0, 2), st.sampled_from(SUPPORTS))
def test_the_say_of_the_detector(seed, tracks, found, first, config):
    random = np.random.default_rng(seed)
    n = first + found + tracks
    offered = support.Proposals(crowd(random, found), levels(random, found))
    near = np.concat([crowd(random, first), offered.boxes, crowd(random, tracks)])
    ids = np.concat([np.full(first + found, lifecycle.NO_ID), np.arange(tracks)])
    asked = ids, levels(random, n), near, crowd(random, n)
    told = support.lean(*asked, offered, first, config, 0.5)
    twin = association.associate(
        *map(tensors, asked), as_torch(offered, Proposals), first, config, 0.5
    )
    assert_same(told, twin)
    row = support.proposal_rows(n, first, offered)
    assert_same(row, association.proposal_rows(n, first, as_torch(offered, Proposals)))


@chances
@given(seeds, counts)
def test_the_encoding_of_scores(seed, n):
    scores = some(np.random.default_rng(seed), n)
    assert_same(embed_scores(scores, 64), embed_coordinates(tensors(scores)[:, None], 64))


# Whole frames


class FakeNetwork:
    """Twin of `FakeModel`."""

    def __init__(self, learned):
        self._model, self.learned = FakeModel(learned), learned

    def queries(self, found):
        asked = self._model.queries(as_torch(found, Proposals))
        return tracker.Queries(asked.content.numpy(), asked.boxes.numpy())

    def decode(self, features, queries):
        logits, first, last = features
        return tracker.Prediction(
            logits[:, 0].sigmoid().numpy(), last.numpy(), first.numpy(),
            queries.content + np.float32(EMBEDDED),
        )  # fmt: skip

    def interact(self, content, boxes, embeddings):
        return content + np.float32(REFRESHED)


VARIANTS = {name: preset.make() for name, preset in PRESETS.items()} | {
    "embeddings stored": replace(TrackerConfig(), stored="embedding", present_at_birth=False),
    "refreshed contents stored": replace(PRESETS["default"].make(), stored="refreshed"),
    "trust and a short patience": with_settings(
        PRESETS["default"].make(), {"support.trust": "0.6", "lifecycle.miss_tolerance": "2"}
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
@settings(deadline=None, max_examples=8)
@given(seed=seeds, learned=st.integers(0, 2))
def test_a_dozen_frames(name, seed, learned):
    """The same identities, numbers and reports, whatever the network answers."""
    random, config = np.random.default_rng(seed), VARIANTS[name]
    model, network = FakeModel(learned), FakeNetwork(learned)
    twin, state = query.begin(model, config), tracker.begin(network, config)
    assert_same(state.tracks, twin.tracks)
    for _ in range(12):
        n = int(random.integers(0, 5))
        found = support.Proposals(crowd(random, n), levels(random, n))
        held = state.tracks.queries.boxes
        near = np.concat([crowd(random, learned), found.boxes, held])
        last = (near + random.normal(0, 0.01, near.shape)).astype(np.float32)
        first = (last + random.normal(0, 0.1, near.shape)).astype(np.float32)
        score = np.clip(levels(random, len(near)), 0.01, 0.99)
        features = torch.from_numpy(score)[:, None].logit(), tensors(first), tensors(last)
        state, answer = tracker.step(network, state, features, found, config)
        twin, wanted = query.step(model, twin, features, as_torch(found, Proposals), config)
        assert (state.next_id, state.frame) == (twin.next_id, twin.frame)
        assert_same(answer, wanted)
        assert_same(state.tracks, twin.tracks)
        told = tracker.report(answer, 100, 80, config)
        assert_same(scaled(told), scaled(query.report(wanted, 100, 80, config)))
    assert state.tracks.queries.content.shape[1] == CHANNELS


def scaled(told):
    """Boxes of a report near 1, where the tolerance is meant."""
    return replace(told, xyxy=told.xyxy / 100)
