"""Identities: people who stay in their place keep theirs, whatever they look like.

mikel-brostrom/boxmot#2161: identities of people who look different change at once.
noahcao/OC_SORT#138: who comes in gets the identity of someone who has left.
"""

from __future__ import annotations

import numpy as np
import pytest
import supervision as sv

from helpers.people import HEIGHT, WIDTH, identities, vector, walk
from tfsasm.tracking.appearance import AppearanceTracker

BLANK = np.zeros((HEIGHT, WIDTH, 3), np.uint8)


def ids_of(boxes, looks):
    """The ids `[T, P]` of P people, of `boxes` `[T, P, 4]` and `looks` `[T, P, C]` (or None)."""
    tracker = AppearanceTracker()
    ids = []
    for frame, found in enumerate(boxes):
        data = {} if looks is None else {"embedding": looks[frame]}
        tracks = tracker.update(
            sv.Detections(xyxy=found, confidence=np.full(len(found), 0.95), data=data)
        )
        assert len(tracks) == len(found) or frame < 2, f"someone has no identity in frame {frame}"
        ids.append(tracks.tracker_id.tolist())
    return ids


def noisy(people, frames, noise, channels=16):
    """Looks `[T, P, C]` of people who are told apart by them, with noise."""
    dice = np.random.default_rng(0)
    looks = np.stack([vector(person, channels) for person in people])
    return np.float32(looks + dice.normal(0, noise, (frames, *looks.shape)))


@pytest.mark.parametrize("frames", [pytest.param(1, id="once"), pytest.param(20, id="for good")])
def test_a_person_who_is_alone_keeps_the_identity_when_the_looks_turn_by_90_degrees(frames):
    boxes = np.stack([walk((100, 200), (2, 0), 80), walk((500, 200), (-1, 0), 80)], axis=1)
    looks = noisy([0, 1], 80, noise=0.02)
    looks[60 : 60 + frames, 0] = vector(7, 16)
    assert ids_of(boxes, looks) == [[1, 2]] * 80


def test_a_neighbour_in_part_of_the_same_place_is_no_reason_to_refuse_the_own_box():
    """They walk side by side and overlap; the first turns, and looks like nobody there."""
    boxes = np.stack([walk((100, 200), (2, 0), 80), walk((125, 205), (2, 0), 80)], axis=1)
    looks = noisy([0, 1], 80, noise=0.02)
    looks[60:, 0] = vector(7, 16)
    assert ids_of(boxes, looks) == [[1, 2]] * 80


def test_with_good_boxes_a_crowd_with_looks_is_tracked_as_without():
    """Eight people who cross one another; each looks like another while they overlap."""
    dice = np.random.default_rng(1)
    starts = np.column_stack([np.linspace(80, 560, 8), dice.uniform(180, 300, 8)])
    steps = np.column_stack([np.where(np.arange(8) % 2, -3.0, 3.0), dice.uniform(-0.3, 0.3, 8)])
    boxes = np.stack([walk(*person, 70) for person in zip(starts, steps, strict=True)], axis=1)
    looks = noisy(range(8), 70, noise=0.08)
    near = np.abs(boxes[:, :, None, 0] - boxes[:, None, :, 0]) < 25
    looks = np.einsum("tpq,tqc->tpc", near, looks).astype(np.float32)  # mixtures where they overlap
    assert ids_of(boxes, looks) == ids_of(boxes, None)


def test_who_comes_in_is_not_someone_alike_who_left_near_the_border():
    """The last detection of who leaves is half a box before the border, as in annotated videos."""
    leaving, other = walk((WIDTH - 240, 200), (4, 0), 51), walk((100, 380), (0.5, 0), 120)
    coming = walk((WIDTH - 40, 260), (-4, 0), 39)
    scene = [[(1, box)] for box in other]
    for frame, box in enumerate(leaving):
        scene[frame].append((0, box))
    for frame, box in enumerate(coming, start=81):
        scene[frame].append((0, box))
    ids = identities(AppearanceTracker(), scene, BLANK)
    assert ids[119][0] not in (ids[50][0], ids[50][1])
