"""Detections assigned to tracks by overlap, score and class.

In the situations, a live track is a row with an identity; proposal k is query
`first + k`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.fakes import box, proposals
from helpers.libraries import LIBRARIES, on_arrays_of
from tfsasm.boxes import cxcywh_to_xyxy, iou_matrix
from tfsasm.detection.proposals import NO_CLASS, Proposals
from tfsasm.tracking import association
from tfsasm.tracking.config import NO_ID, AssociationConfig

OFF = AssociationConfig()
ALL_ON = AssociationConfig(
    match_iou=0.3, reference_weight=0.4, second_iou=0.1, second_score=0.3, use_detection_box=True,
    match_required=True, detection_weight=0.8, duplicate_iou=0.5, birth_score=0.2,
)
PRESENT = 0.5
NONE = Proposals.empty()


@pytest.fixture(scope="module", params=LIBRARIES.values(), ids=LIBRARIES)
def on_arrays(request):
    """The functions of the module on arrays of either library."""
    names = ("associate", "proposal_rows", "updated_classes")
    return on_arrays_of(request.param, association, *names)


@pytest.fixture(scope="module")
def associate(on_arrays):
    return on_arrays.associate


def f32(values):
    return np.array(values, dtype=np.float32)


@st.composite
def frames(draw):
    """Random predictions of `first` learned queries, P proposals and T tracks, crowded together."""
    first, p, tracks = (draw(st.integers(0, n)) for n in (2, 4, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))

    def random(*shape):
        return rng.random(shape, dtype=np.float32)

    def boxes(n):
        return np.concat([0.4 + 0.2 * random(n, 2), 0.1 + 0.3 * random(n, 2)], axis=1)

    found = Proposals(boxes(p), random(p))
    n = first + p + tracks
    predictions = boxes(n)
    predictions[first : first + p] = found.boxes + np.float32(0.02) * random(p, 4)
    ids = np.full(n, NO_ID)
    ids[first + p :] = np.arange(tracks)
    reference = predictions + np.float32(0.05) * random(n, 4)
    return ids, random(n), predictions, reference, found, first


def own_proposal(frame):
    """Which proposal each query is made of, -1 for the others."""
    ids, *_, found, first = frame
    rows = np.arange(len(ids)) - first
    return np.where((rows >= 0) & (rows < len(found)), rows, -1)


MANY = settings(max_examples=40, deadline=None)


@MANY
@given(frames())
def test_off_is_the_released_code_bit_for_bit(associate, frame):
    result = associate(*frame, OFF, PRESENT)
    _, scores, boxes, *_ = frame
    assert np.array_equal(result.scores, scores)
    assert np.array_equal(result.boxes, boxes)
    assert (result.matches == -1).all()
    assert result.may_be_born.all()


@pytest.mark.parametrize(("off", "untouched"), [
    pytest.param({"use_detection_box": False}, "boxes",
                 id="without use_detection_box, boxes are the network's"),
    pytest.param({"detection_weight": 0.0, "match_required": False}, "scores",
                 id="without detection_weight and match_required, scores are"),
    pytest.param({"match_iou": 1.0}, "boxes", id="without matches there is no box to take"),
    pytest.param({"match_iou": 1.0, "match_required": False}, "scores",
                 id="without matches there is no score to take"),
])  # fmt: skip
@MANY
@given(frame=frames())
def test_a_setting_that_is_off_does_nothing_among_others(associate, off, untouched, frame):
    _, scores, boxes, *_ = frame
    result = associate(*frame, replace(ALL_ON, **off), PRESENT)
    given_ = {"scores": scores, "boxes": boxes}[untouched]
    assert np.array_equal(getattr(result, untouched), given_)


@MANY
@given(frame=frames())
def test_without_bars_to_birth_only_a_match_stands_in_the_way(associate, frame):
    result = associate(*frame, replace(ALL_ON, duplicate_iou=1.0, birth_score=0.0), PRESENT)
    matched = set(result.matches[result.matches >= 0].tolist())
    assert result.may_be_born.tolist() == [
        row not in matched for row in own_proposal(frame).tolist()
    ]


@MANY
@given(frame=frames())
def test_matches_are_one_to_one_and_close(associate, frame):
    ids, _, boxes, reference, found, _ = frame
    matches = associate(*frame, ALL_ON, PRESENT).matches
    matched = matches >= 0
    taken = matches[matched].tolist()
    assert len(set(taken)) == len(taken)
    assert (ids[matched] != NO_ID).all()
    offered = cxcywh_to_xyxy(found.boxes)
    now, then = (iou_matrix(cxcywh_to_xyxy(b), offered) for b in (boxes, reference))
    iou = 0.6 * now + 0.4 * then
    second = (then >= 0.1 - 1e-6) & (found.scores >= 0.3)
    close = (iou >= 0.3 - 1e-6) | second
    assert all(close[row, matches[row]] for row in np.flatnonzero(matched))


@MANY
@given(frame=frames())
def test_all_settings_together_keep_every_promise(associate, frame):
    ids, scores, boxes, _, found, _ = frame
    result = associate(*frame, ALL_ON, PRESENT)
    live, matched = ids != NO_ID, result.matches >= 0
    assert np.array_equal(result.boxes[matched], found.boxes[result.matches[matched]])
    assert np.array_equal(result.boxes[~matched], boxes[~matched])
    assert (result.scores[live & ~matched] == 0).all()
    assert (result.scores[matched] >= 0.8 * found.scores[result.matches[matched]]).all()
    assert np.array_equal(result.scores[~live], scores[~live])

    born = result.may_be_born & ~live & (result.scores >= PRESENT)
    rows = own_proposal(frame)[born]
    assert (rows >= 0).all()
    assert (found.scores[rows] >= 0.2).all()
    xyxy = cxcywh_to_xyxy(result.boxes)
    present = live & (result.scores >= PRESENT)
    iou = iou_matrix(xyxy, xyxy)
    np.fill_diagonal(iou, 0)
    assert (iou[born][:, born | present] <= 0.5).all()


# Situations

A, NEAR_A, B = box(0.3), box(0.31), box(0.7)


def one_track(associate, config, *, score=0.6, at=A, found=None, proposal_score=0.9):
    """A live track predicted `at`, and proposals whose queries have the score 0.1."""
    found = proposals(NEAR_A, score=proposal_score) if found is None else found
    n = len(found)
    ids = np.array([NO_ID] * n + [7])
    scores = f32([0.1] * n + [score])
    boxes = np.concat([found.boxes, f32([at])])
    return associate(ids, scores, boxes, boxes, found, 0, config, PRESENT)


MATCH = AssociationConfig(match_iou=0.5)


@pytest.mark.parametrize(("at", "found", "match"), [
    pytest.param(A, proposals(NEAR_A), 0, id="the proposal beside it"),
    pytest.param(A, proposals(B), -1, id="none far away"),
    pytest.param(A, NONE, -1, id="none where there is none"),
    pytest.param(A, proposals(B, NEAR_A), 1, id="the near one of two"),
    pytest.param(A, proposals(NEAR_A, A), 1, id="the better fit of two"),
])
def test_a_track_is_matched_with_a_proposal(associate, at, found, match):
    assert one_track(associate, MATCH, at=at, found=found).matches[-1] == match


def test_an_absent_track_may_be_matched_too(associate):
    """Else it could not be found again."""
    assert one_track(associate, MATCH, score=0.05).matches[-1] == 0


@pytest.mark.parametrize(("share", "match"), [
    pytest.param(0.0, 1, id="from the predicted box"),
    pytest.param(1.0, 0, id="from the reference box"),
])
def test_the_overlap_of_a_match_is_measured(associate, share, match):
    """The network predicts B, the track was last seen at A; both have a proposal."""
    ids = np.array([NO_ID, NO_ID, 7])
    predicted, reference = f32([A, B, B]), f32([A, B, A])
    result = associate(ids, f32([0.1, 0.1, 0.9]), predicted, reference, proposals(A, B), 0,
                replace(MATCH, reference_weight=share), PRESENT)  # fmt: skip
    assert result.matches[-1] == match


def test_the_more_confident_of_two_tracks_is_matched(associate):
    ids = np.array([NO_ID, 1, 2])
    boxes = f32([A, A, A])
    result = associate(ids, f32([0.1, 0.4, 0.9]), boxes, boxes, proposals(A), 0,
                MATCH, PRESENT)  # fmt: skip
    assert result.matches.tolist() == [-1, -1, 0]


def test_the_better_of_two_proposals_is_matched(associate):
    found = Proposals(f32([A, A]), f32([0.3, 0.8]))
    assert one_track(associate, MATCH, found=found).matches[-1] == 1


def test_two_tracks_share_two_proposals_so_that_both_have_one(associate):
    """Not greedily: the more confident track gives way to the one that has no other."""
    found = proposals(box(0.30), box(0.335))
    ids = np.array([NO_ID, NO_ID, 1, 2])
    boxes = f32([box(0.30), box(0.335), box(0.32), box(0.36)])
    result = associate(ids, f32([0.1, 0.1, 0.9, 0.6]), boxes, boxes, found, 0,
                AssociationConfig(match_iou=0.55), PRESENT)  # fmt: skip
    assert result.matches.tolist() == [-1, -1, 0, 1]


SECOND = replace(MATCH, second_iou=0.2, second_score=0.6)
FAR_A = box(A[0] + 0.6 * A[2])


@pytest.mark.parametrize(
    ("at", "score", "config", "match"),
    [
        pytest.param(
            FAR_A, 0.9, SECOND, 0, id="one of high score that was too far for the first association"
        ),
        pytest.param(FAR_A, 0.9, MATCH, -1, id="not without a second association"),
        pytest.param(FAR_A, 0.5, SECOND, -1, id="not one of low score"),
        pytest.param(B, 0.9, SECOND, -1, id="not one far away"),
    ],
)
def test_in_the_second_association_a_track_is_matched(associate, at, score, config, match):
    found = Proposals(f32([at]), f32([score]))
    assert one_track(associate, config, found=found).matches[-1] == match


def test_the_second_association_takes_nothing_from_the_first(associate):
    """The track at A has the detection there; the one beside it does not get it."""
    ids = np.array([NO_ID, 1, 2])
    boxes = f32([A, A, FAR_A])
    result = associate(ids, f32([0.1, 0.9, 0.9]), boxes, boxes, proposals(A), 0,
                SECOND, PRESENT)  # fmt: skip
    assert result.matches.tolist() == [-1, 0, -1]


@pytest.mark.parametrize(("use", "box_"), [(False, A), (True, NEAR_A)])
def test_a_track_takes_the_box_of_its_detection(associate, use, box_):
    result = one_track(associate, replace(MATCH, use_detection_box=use))
    assert np.array_equal(result.boxes[-1], f32(box_))


@pytest.mark.parametrize(("weight", "score", "wanted"), [
    pytest.param(0.0, 0.3, 0.3, id="off"),
    pytest.param(0.5, 0.3, 0.45, id="half of the detector's 0.9"),
    pytest.param(1.0, 0.3, 0.9, id="all of it"),
    pytest.param(0.5, 0.7, 0.7, id="never lowers"),
])
def test_detection_weight_lifts_the_score_of_a_matched_track(associate, weight, score, wanted):
    result = one_track(associate, replace(MATCH, detection_weight=weight), score=score)
    assert result.scores.tolist() == pytest.approx([0.1, wanted])


def test_detection_weight_lifts_no_track_without_a_match(associate):
    result = one_track(
        associate, replace(MATCH, detection_weight=1.0), score=0.3, found=proposals(B)
    )
    assert result.scores.tolist() == pytest.approx([0.1, 0.3])


@pytest.mark.parametrize(("required", "found", "score"), [
    pytest.param(True, proposals(B), 0.0, id="without a match it is absent"),
    pytest.param(True, NONE, 0.0, id="also in a frame without detections"),
    pytest.param(True, proposals(NEAR_A), 0.6, id="with a match it stays"),
    pytest.param(False, proposals(B), 0.6, id="off"),
])
def test_match_required_lets_only_matched_tracks_count(associate, required, found, score):
    result = one_track(associate, replace(MATCH, match_required=required), found=found)
    assert result.scores[-1] == pytest.approx(score)


def test_a_matched_proposal_is_not_born_again(associate):
    assert one_track(associate, MATCH, found=proposals(NEAR_A, B)).may_be_born[:2].tolist() == [
        False,
        True,
    ]


def new_tracks(associate, config, scores, boxes, *, track=None, learned=0, proposal_scores=None):
    """Which of the queries may be born, beside a live track at A of score `track`."""
    boxes = f32(boxes)
    detector_scores = f32(proposal_scores or [0.9] * len(boxes))
    found = Proposals(boxes[learned:], detector_scores[learned:])
    ids, scores = np.full(len(boxes), NO_ID), f32(scores)
    if track is not None:
        ids = np.append(ids, 3)
        scores = np.concat([scores, f32([track])])
        boxes = np.concat([boxes, f32([A])])
    result = associate(ids, scores, boxes, boxes, found, learned, config, PRESENT)
    return result.may_be_born[: len(result) - (track is not None)].tolist()


APART = AssociationConfig(duplicate_iou=0.5)


@pytest.mark.parametrize(("track", "at", "born"), [
    pytest.param(0.9, NEAR_A, False, id="not on a present track"),
    pytest.param(0.5, NEAR_A, False, id="present is from the miss score on"),
    pytest.param(0.4, NEAR_A, True, id="on an absent one"),
    pytest.param(0.9, B, True, id="beside it"),
])
def test_nothing_is_born_on_a_present_track(associate, track, at, born):
    assert new_tracks(associate, APART, [0.9], [at], track=track) == [born]


@pytest.mark.parametrize(("scores", "born"), [
    pytest.param([0.9, 0.8], [True, False], id="the one of higher score"),
    pytest.param([0.8, 0.9], [False, True], id="wherever it stands"),
    pytest.param([0.9, 0.9], [True, False], id="of two with one score the first"),
    pytest.param([0.4, 0.3], [True, True], id="what is not born anyway bars none"),
])
def test_of_two_new_tracks_in_one_place_one_is_born(associate, scores, born):
    assert new_tracks(associate, APART, scores, [A, NEAR_A]) == born


def test_a_new_track_that_is_barred_itself_bars_none(associate):
    """It stands on the track; the weaker one only touches it."""
    beside = box(0.35)
    assert new_tracks(associate, APART, [0.9, 0.6], [box(0.32), beside], track=0.9) == [False, True]


def test_a_birth_needs_the_detector(associate):
    config = AssociationConfig(birth_score=0.5)
    born = new_tracks(
        associate, config, [0.9] * 4, [A, B, A, B], learned=1, proposal_scores=[0, 0.5, 0.49, 0.9]
    )
    assert born == [False, True, False, True]


HALF = f32([0.5, 0.5, 0.25, 0.25])  # of WHOLE exactly, in binary too
WHOLE = f32([0.5, 0.5, 0.25, 0.5])


@pytest.mark.parametrize(("config", "score"), [
    pytest.param(AssociationConfig(match_iou=0.5), 0.9, id="the overlap of the first"),
    pytest.param(AssociationConfig(match_iou=0.9, second_iou=0.5), 0.9, id="and of the second"),
    pytest.param(AssociationConfig(match_iou=0.9, second_iou=0.5, second_score=0.75), 0.75,
                 id="the score of the second"),
])  # fmt: skip
def test_a_threshold_of_a_match_is_enough(associate, config, score):
    found = Proposals(HALF[None], f32([score]))
    assert one_track(associate, config, at=WHOLE, found=found).matches[-1] == 0


def test_a_threshold_of_a_duplicate_is_none_yet(associate):
    config = AssociationConfig(duplicate_iou=0.5)
    assert new_tracks(associate, config, [0.9, 0.8], [HALF, WHOLE]) == [True, True]
    config = AssociationConfig(duplicate_iou=0.49)
    assert new_tracks(associate, config, [0.9, 0.8], [HALF, WHOLE]) == [True, False]
    assert new_tracks(associate, config, [0.5, 0.5], [HALF, WHOLE]) == [True, False]


def test_a_second_association_of_1_is_off_also_for_what_did_not_move(associate):
    ids, found = np.array([NO_ID, 7]), Proposals(HALF[None], f32([0.9]))
    predicted, reference = f32([HALF, B]), np.stack([HALF, HALF])
    config = AssociationConfig(match_iou=0.5, second_iou=1.0)
    result = associate(ids, f32([0.1, 0.9]), predicted, reference, found, 0, config, PRESENT)
    assert result.matches.tolist() == [-1, -1]


def test_a_confident_track_may_overlap_less_and_still_go_first(associate):
    """0.65 of overlap by 1.4 is more than 0.9 by 0.8."""
    at = box(0.3)
    less, more = box(0.3 + 0.21 * at[2]), box(0.3 + 0.05 * at[2])
    boxes = f32([at, less, more])
    result = associate(
        np.array([NO_ID, 1, 2]), f32([0.1, 0.9, 0.3]), boxes, boxes, proposals(at), 0, MATCH,
        PRESENT,
    )  # fmt: skip
    assert result.matches.tolist() == [-1, 0, -1]
    found = Proposals(f32([less, more]), f32([0.9, 0.3]))
    assert one_track(associate, MATCH, at=at, found=found).matches[-1] == 0


def test_a_matched_track_is_not_given_another_by_the_second_association(associate):
    found = Proposals(f32([A, FAR_A]), f32([0.9, 0.9]))
    assert one_track(associate, SECOND, found=found).matches[-1] == 0


def test_a_matched_proposal_of_enough_score_is_not_born_either(associate):
    config = replace(MATCH, birth_score=0.5)
    found = proposals(NEAR_A, B)
    assert one_track(associate, config, found=found).may_be_born[:2].tolist() == [False, True]


def test_a_query_knows_its_proposal(on_arrays):
    rows = on_arrays.proposal_rows(5, 2, proposals(A, B))
    assert rows.tolist() == [-1, -1, 0, 1, -1]


# Classes


def of_classes(associate, config, track, proposal, *, score=0.1):
    """A track at A and a proposal beside it, each of a class."""
    found = Proposals(f32([NEAR_A]), f32([0.9]), np.array([proposal]))
    boxes = f32([NEAR_A, A])
    return associate(
        np.array([NO_ID, 7]), f32([score, 0.9]), boxes, boxes, found, 0, config, PRESENT,
        np.array([proposal, track]),
    )  # fmt: skip


@pytest.mark.parametrize("config", [
    pytest.param(MATCH, id="in the first association"),
    pytest.param(AssociationConfig(match_iou=0.99, second_iou=0.2), id="in the second"),
])
@pytest.mark.parametrize(("track", "proposal", "match"), [
    pytest.param(2, 2, 0, id="one class"), pytest.param(2, 3, -1, id="two classes"),
    pytest.param(NO_CLASS, 3, 0, id="a track of any class"),
    pytest.param(2, NO_CLASS, 0, id="a detection of any class"),
])
def test_a_match_is_within_a_class(associate, config, track, proposal, match):
    assert of_classes(associate, config, track, proposal).matches[-1] == match


@pytest.mark.parametrize(("track", "proposal", "born"), [(2, 2, False), (2, 3, True)])
def test_a_birth_is_barred_by_its_own_class(associate, track, proposal, born):
    result = of_classes(associate, APART, track, proposal, score=0.9)
    assert result.may_be_born[0] == born


def test_classes_alone_make_no_duplicate(associate):
    found = Proposals(f32([A, B]), f32([0.9, 0.8]), np.array([2, 2]))
    result = associate(
        np.array([NO_ID, NO_ID]), found.scores, found.boxes, found.boxes, found, 0, APART, PRESENT,
        found.classes,
    )  # fmt: skip
    assert result.may_be_born.tolist() == [True, True]


def test_a_track_takes_the_class_of_its_detection_where_that_has_one(on_arrays):
    found = Proposals(f32([A, B]), f32([0.9, 0.9]), np.array([5, NO_CLASS]))
    rows = np.array([0, 1, -1, 0])
    classes = on_arrays.updated_classes(np.array([2, 2, 2, NO_CLASS]), rows, found)
    assert classes.tolist() == [5, 2, 2, 5]


def test_no_query_is_a_normal_case(associate):
    boxes, none = f32(np.zeros((0, 4))), f32([])
    result = associate(np.zeros(0, dtype=int), none, boxes, boxes, NONE, 0, ALL_ON, PRESENT)
    assert len(result) == 0
