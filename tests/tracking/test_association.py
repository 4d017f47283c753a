"""Leaning on the detector: nothing unless asked for, then what each setting says.

In the situations, a live track is a row with an identity; proposal k is query `first + k`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.fakes import box, proposals
from tfsasm.boxes import cxcywh_to_xyxy, iou_matrix
from tfsasm.detection.proposals import Proposals
from tfsasm.tracking.association import associate
from tfsasm.tracking.config import NO_ID, AssociationConfig

OFF = AssociationConfig()
ALL_ON = AssociationConfig(
    claim_iou=0.3, claim_held=0.4, again_iou=0.1, again_score=0.3, snap=True, required=True,
    trust=0.8, birth_overlap=0.5, birth_score=0.2,
)
PRESENT = 0.5
NONE = Proposals.empty()


@st.composite
def frames(draw):
    """Random answers of `first` learned queries, P proposals and T tracks, crowded together."""
    first, p, tracks = (draw(st.integers(0, n)) for n in (2, 4, 4))
    seed = draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.rand(*shape, generator=generator)

    def boxes(n):
        return torch.cat([0.4 + 0.2 * random(n, 2), 0.1 + 0.3 * random(n, 2)], dim=1)

    found = Proposals(boxes(p), random(p))
    n = first + p + tracks
    answers = boxes(n)
    answers[first : first + p] = found.boxes + 0.02 * random(p, 4)
    ids = torch.full((n,), NO_ID)
    ids[first + p :] = torch.arange(tracks)
    held = answers + 0.05 * random(n, 4)
    return ids, random(n), answers, held, found, first


def lean_on(frame, config):
    return associate(*frame, config, PRESENT)


def own_proposal(frame):
    """Which proposal each query is made of, -1 for the others."""
    ids, *_, found, first = frame
    rows = torch.arange(len(ids)) - first
    return torch.where((rows >= 0) & (rows < len(found)), rows, -1)


MANY = settings(max_examples=60, deadline=None)


@MANY
@given(frames())
def test_off_is_the_released_code_bit_for_bit(frame):
    told = lean_on(frame, OFF)
    _, scores, boxes, *_ = frame
    assert torch.equal(told.scores, scores)
    assert torch.equal(told.boxes, boxes)
    assert (told.claims == -1).all()
    assert told.may_be_born.all()


@pytest.mark.parametrize(("off", "untouched"), [
    pytest.param({"snap": False}, "boxes", id="without snap, boxes are the network's"),
    pytest.param({"trust": 0.0, "required": False}, "scores",
                 id="without trust and required, scores are"),
    pytest.param({"claim_iou": 1.0}, "boxes", id="without claims there is nothing to snap to"),
    pytest.param({"claim_iou": 1.0, "required": False}, "scores",
                 id="without claims there is nothing to trust"),
])  # fmt: skip
@MANY
@given(frame=frames())
def test_a_setting_that_is_off_does_nothing_among_others(off, untouched, frame):
    _, scores, boxes, *_ = frame
    told = lean_on(frame, replace(ALL_ON, **off))
    given_ = {"scores": scores, "boxes": boxes}[untouched]
    assert torch.equal(getattr(told, untouched), given_)


@MANY
@given(frame=frames())
def test_without_bars_to_birth_only_a_claim_stands_in_the_way(frame):
    told = lean_on(frame, replace(ALL_ON, birth_overlap=1.0, birth_score=0.0))
    claimed = set(told.claims[told.claims >= 0].tolist())
    assert told.may_be_born.tolist() == [
        row not in claimed for row in own_proposal(frame).tolist()
    ]


@MANY
@given(frame=frames())
def test_claims_are_one_to_one_and_close(frame):
    ids, _, boxes, held, found, _ = frame
    claims = lean_on(frame, ALL_ON).claims
    claimed = claims >= 0
    taken = claims[claimed].tolist()
    assert len(set(taken)) == len(taken)
    assert (ids[claimed] != NO_ID).all()
    offered = cxcywh_to_xyxy(found.boxes)
    now, then = (iou_matrix(cxcywh_to_xyxy(b), offered) for b in (boxes, held))
    iou = 0.6 * now + 0.4 * then
    sure = (then >= 0.1 - 1e-6) & (found.scores >= 0.3)
    close = (iou >= 0.3 - 1e-6) | sure
    assert all(close[row, claims[row]] for row in claimed.nonzero()[:, 0])


@MANY
@given(frame=frames())
def test_all_settings_together_keep_every_promise(frame):
    ids, scores, boxes, _, found, _ = frame
    told = lean_on(frame, ALL_ON)
    live, claimed = ids != NO_ID, told.claims >= 0
    assert torch.equal(told.boxes[claimed], found.boxes[told.claims[claimed]])
    assert torch.equal(told.boxes[~claimed], boxes[~claimed])
    assert (told.scores[live & ~claimed] == 0).all()
    assert (told.scores[claimed] >= 0.8 * found.scores[told.claims[claimed]]).all()
    assert torch.equal(told.scores[~live], scores[~live])

    born = told.may_be_born & ~live & (told.scores >= PRESENT)
    rows = own_proposal(frame)[born]
    assert (rows >= 0).all()
    assert (found.scores[rows] >= 0.2).all()
    xyxy = cxcywh_to_xyxy(told.boxes)
    present = live & (told.scores >= PRESENT)
    crowd = iou_matrix(xyxy, xyxy).fill_diagonal_(0)[born][:, born | present]
    assert (crowd <= 0.5).all()


# Situations

A, NEAR_A, B = box(0.3), box(0.31), box(0.7)


def one_track(config, *, score=0.6, at=A, found=None, proposal_score=0.9):
    """A live track that answers `at`, and proposals of which the queries answer 0.1."""
    found = proposals(NEAR_A, score=proposal_score) if found is None else found
    n = len(found)
    ids = torch.tensor([NO_ID] * n + [7])
    scores = torch.tensor([0.1] * n + [score])
    boxes = torch.cat([found.boxes, torch.tensor([at])])
    return associate(ids, scores, boxes, boxes, found, 0, config, PRESENT)


CLAIM = AssociationConfig(claim_iou=0.5)


@pytest.mark.parametrize(("at", "found", "claim"), [
    pytest.param(A, proposals(NEAR_A), 0, id="the proposal beside it"),
    pytest.param(A, proposals(B), -1, id="none far away"),
    pytest.param(A, NONE, -1, id="none where there is none"),
    pytest.param(A, proposals(B, NEAR_A), 1, id="the near one of two"),
    pytest.param(A, proposals(NEAR_A, A), 1, id="the better fit of two"),
])
def test_a_track_claims_a_proposal(at, found, claim):
    assert one_track(CLAIM, at=at, found=found).claims[-1] == claim


def test_an_absent_track_may_claim_too():
    """Else it could not be found again."""
    assert one_track(CLAIM, score=0.05).claims[-1] == 0


@pytest.mark.parametrize(("share", "claim"), [
    pytest.param(0.0, 1, id="from the answered box"),
    pytest.param(1.0, 0, id="from the box it came with"),
])
def test_the_overlap_of_a_claim_is_measured(share, claim):
    """The network answers B, the track was last seen at A; both have a proposal."""
    ids = torch.tensor([NO_ID, NO_ID, 7])
    answered, held = torch.tensor([A, B, B]), torch.tensor([A, B, A])
    told = associate(ids, torch.tensor([0.1, 0.1, 0.9]), answered, held, proposals(A, B), 0,
                replace(CLAIM, claim_held=share), PRESENT)  # fmt: skip
    assert told.claims[-1] == claim


def test_the_surer_of_two_tracks_claims():
    ids = torch.tensor([NO_ID, 1, 2])
    boxes = torch.tensor([A, A, A])
    told = associate(ids, torch.tensor([0.1, 0.4, 0.9]), boxes, boxes, proposals(A), 0,
                CLAIM, PRESENT)  # fmt: skip
    assert told.claims.tolist() == [-1, -1, 0]


def test_the_better_of_two_proposals_is_claimed():
    found = Proposals(torch.tensor([A, A]), torch.tensor([0.3, 0.8]))
    assert one_track(CLAIM, found=found).claims[-1] == 1


def test_two_tracks_share_two_proposals_so_that_both_have_one():
    """Not greedily: the surer track gives way to the one that has no other."""
    found = proposals(box(0.30), box(0.335))
    ids = torch.tensor([NO_ID, NO_ID, 1, 2])
    boxes = torch.tensor([box(0.30), box(0.335), box(0.32), box(0.36)])
    told = associate(ids, torch.tensor([0.1, 0.1, 0.9, 0.6]), boxes, boxes, found, 0,
                AssociationConfig(claim_iou=0.55), PRESENT)  # fmt: skip
    assert told.claims.tolist() == [-1, -1, 0, 1]


AGAIN = replace(CLAIM, again_iou=0.2, again_score=0.6)
FAR_A = box(A[0] + 0.6 * A[2])


@pytest.mark.parametrize(("at", "score", "config", "claim"), [
    pytest.param(FAR_A, 0.9, AGAIN, 0, id="a sure one that was too far for the first round"),
    pytest.param(FAR_A, 0.9, CLAIM, -1, id="not without a second round"),
    pytest.param(FAR_A, 0.5, AGAIN, -1, id="not an unsure one"),
    pytest.param(B, 0.9, AGAIN, -1, id="not one far away"),
])
def test_in_a_second_round_a_track_claims(at, score, config, claim):
    found = Proposals(torch.tensor([at]), torch.tensor([score]))
    assert one_track(config, found=found).claims[-1] == claim


def test_the_second_round_takes_nothing_from_the_first():
    """The track at A claims the detection there; the one beside it does not get it."""
    ids = torch.tensor([NO_ID, 1, 2])
    boxes = torch.tensor([A, A, FAR_A])
    told = associate(ids, torch.tensor([0.1, 0.9, 0.9]), boxes, boxes, proposals(A), 0,
                AGAIN, PRESENT)  # fmt: skip
    assert told.claims.tolist() == [-1, 0, -1]


@pytest.mark.parametrize(("snap", "box_"), [(False, A), (True, NEAR_A)])
def test_snap_takes_the_box_of_the_claimed_proposal(snap, box_):
    told = one_track(replace(CLAIM, snap=snap))
    assert torch.equal(told.boxes[-1], torch.tensor(box_))


@pytest.mark.parametrize(("trust", "score", "wanted"), [
    pytest.param(0.0, 0.3, 0.3, id="off"),
    pytest.param(0.5, 0.3, 0.45, id="half of the detector's 0.9"),
    pytest.param(1.0, 0.3, 0.9, id="all of it"),
    pytest.param(0.5, 0.7, 0.7, id="never lowers"),
])
def test_trust_lifts_the_score_of_a_track_with_a_claim(trust, score, wanted):
    told = one_track(replace(CLAIM, trust=trust), score=score)
    assert told.scores.tolist() == pytest.approx([0.1, wanted])


def test_trust_lifts_nobody_without_a_claim():
    told = one_track(replace(CLAIM, trust=1.0), score=0.3, found=proposals(B))
    assert told.scores.tolist() == pytest.approx([0.1, 0.3])


@pytest.mark.parametrize(("required", "found", "score"), [
    pytest.param(True, proposals(B), 0.0, id="without a claim it is absent"),
    pytest.param(True, NONE, 0.0, id="also in a frame without detections"),
    pytest.param(True, proposals(NEAR_A), 0.6, id="with a claim it stays"),
    pytest.param(False, proposals(B), 0.6, id="off"),
])
def test_required_lets_only_claims_count(required, found, score):
    told = one_track(replace(CLAIM, required=required), found=found)
    assert told.scores[-1] == pytest.approx(score)


def test_a_claimed_proposal_is_not_born_again():
    assert one_track(CLAIM, found=proposals(NEAR_A, B)).may_be_born[:2].tolist() == [False, True]


def newborns(config, scores, boxes, *, track=None, learned=0, proposal_scores=None):
    """Which of the queries may be born, beside a live track at A of score `track`."""
    boxes = torch.tensor(boxes)
    sureness = torch.tensor(proposal_scores or [0.9] * len(boxes))
    found = Proposals(boxes[learned:], sureness[learned:])
    ids, scores = torch.full((len(boxes),), NO_ID), torch.tensor(scores)
    if track is not None:
        ids = torch.cat([ids, torch.tensor([3])])
        scores = torch.cat([scores, torch.tensor([track])])
        boxes = torch.cat([boxes, torch.tensor([A])])
    told = associate(ids, scores, boxes, boxes, found, learned, config, PRESENT)
    return told.may_be_born[: len(told) - (track is not None)].tolist()


APART = AssociationConfig(birth_overlap=0.5)


@pytest.mark.parametrize(("track", "at", "born"), [
    pytest.param(0.9, NEAR_A, False, id="not on a present track"),
    pytest.param(0.5, NEAR_A, False, id="present is from the miss score on"),
    pytest.param(0.4, NEAR_A, True, id="on an absent one"),
    pytest.param(0.9, B, True, id="beside it"),
])
def test_nothing_is_born_on_a_present_track(track, at, born):
    assert newborns(APART, [0.9], [at], track=track) == [born]


@pytest.mark.parametrize(("scores", "born"), [
    pytest.param([0.9, 0.8], [True, False], id="the better one"),
    pytest.param([0.8, 0.9], [False, True], id="wherever it stands"),
    pytest.param([0.9, 0.9], [True, False], id="of two alike the first"),
    pytest.param([0.4, 0.3], [True, True], id="what is not born anyway bars nobody"),
])
def test_of_two_newborns_in_one_place_one_is_born(scores, born):
    assert newborns(APART, scores, [A, NEAR_A]) == born


def test_a_newborn_that_is_barred_itself_bars_nobody():
    """It stands on the track; the weaker one only touches it."""
    beside = box(0.35)
    assert newborns(APART, [0.9, 0.6], [box(0.32), beside], track=0.9) == [False, True]


def test_a_birth_needs_the_detector():
    config = AssociationConfig(birth_score=0.5)
    born = newborns(config, [0.9] * 4, [A, B, A, B], learned=1, proposal_scores=[0, 0.5, 0.49, 0.9])
    assert born == [False, True, False, True]


def test_nobody_to_judge_is_a_normal_case():
    nobody = torch.zeros(0, 4)
    told = associate(
        torch.zeros(0).long(), torch.zeros(0), nobody, nobody, NONE, 0, ALL_ON, PRESENT
    )
    assert len(told) == 0
