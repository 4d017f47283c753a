"""One frame of tracking: a scripted network for every rule, and the released run for all at once.

A script lists one answer per query, in the order in which queries are asked: learned ones,
proposals, older tracks. The fake network insists on the number.
"""

import copy
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.fakes import EMBEDDED, REFRESHED, FakeModel, box, proposals, told
from helpers.golden_data import released_model, synthetic_sequence, tensor, vectors
from tfsasm.detection.proposals import Proposals
from tfsasm.motrv2.fast.model import FastMOTRv2
from tfsasm.motrv2.network import prepare
from tfsasm.motrv2.transformer import Prediction, Queries
from tfsasm.tables import Table
from tfsasm.tracking import memory
from tfsasm.tracking.association import update_status
from tfsasm.tracking.config import NO_ID, LifecycleConfig, MemoryConfig, MotionConfig, TrackerConfig
from tfsasm.tracking.query import TrackerState, TrackOutput, Tracks, begin, observe, report, step

CONFIG = TrackerConfig()
NONE = Proposals.empty()
A, B, C = box(0.2), box(0.5), box(0.8)


def play(*frames, config=CONFIG, learned=0, state=None):
    """Every state and answer of a script of `(proposals, told(...))`."""
    model = FakeModel(learned)
    state = begin(model, config) if state is None else state
    steps = []
    for found, answer in frames:
        state, answer = step(model, state, answer, found, config)
        steps.append((state, answer))
    return steps


def identities(steps):
    return [answer.ids.tolist() for _, answer in steps]


def columns(table: Table, prefix: str = ""):
    """Every column of a table by its dotted name, nested tables included."""
    for name, value in vars(table).items():
        if isinstance(value, Table):
            yield from columns(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def differing(one: Table, other: Table) -> set[str]:
    pairs = zip(columns(one), columns(other), strict=True)
    return {name for (name, a), (_, b) in pairs if not torch.equal(a, b)}


# Lives


def test_a_confident_proposal_becomes_a_track():
    [(state, answer)] = play((proposals(A, B), told([0.9, 0.3], [A, B])))
    assert answer.ids.tolist() == [0]
    assert answer.sources.tolist() == [0]
    torch.testing.assert_close(answer.scores, torch.tensor([0.9]))
    torch.testing.assert_close(answer.boxes, torch.tensor([A]))
    assert state.tracks.ids.tolist() == [0]
    assert (state.next_id, state.frame) == (1, 1)


def test_a_learned_query_can_be_born_too_and_has_no_source():
    [(_, answer)] = play((proposals(A), told([0.1, 0.9, 0.9], [B, C, A])), learned=2)
    assert answer.ids.tolist() == [0, 1]
    assert answer.sources.tolist() == [-1, 0]


def test_a_source_is_told_at_birth_only():
    frames = [(proposals(A, B), told([0.2, 0.9])), (proposals(A), told([0.1, 0.9]))]
    assert [answer.sources.tolist() for _, answer in play(*frames)] == [[1], [-1]]


def test_queries_without_identity_are_forgotten():
    steps = play((proposals(A, B), told([0.1, 0.2], [A, B])), (NONE, told([])), learned=0)
    assert identities(steps) == [[], []]
    assert len(steps[-1][0].tracks) == 0


def test_new_tracks_stand_before_older_ones():
    """As in the released code (QUIRK-12); within a batch, in the order of the queries."""
    steps = play(
        (proposals(A, B), told([0.9, 0.9])),
        (proposals(C), told([0.9, 0.9, 0.9])),
        (proposals(C), told([0.9, 0.9, 0.9, 0.9])),
    )
    assert identities(steps) == [[0, 1], [2, 0, 1], [3, 2, 0, 1]]


def test_an_absent_track_is_frozen_and_not_reported_until_it_is_back():
    steps = play(
        (proposals(A), told([0.9], [A])),
        (NONE, told([0.2], [B])),
        (NONE, told([0.9], [C])),
    )
    assert identities(steps) == [[0], [0], [0]]
    assert [state.tracks.missed.tolist() for state, _ in steps] == [[0], [1], [0]]
    seen_at = [state.tracks.queries.boxes[0].tolist() for state, _ in steps]
    torch.testing.assert_close(torch.tensor(seen_at), torch.tensor([A, A, C]))
    contents = [state.tracks.queries.content[0, 0].item() for state, _ in steps]
    assert contents == pytest.approx([0.9 + REFRESHED, 0.9 + REFRESHED, 0.9 + 2 * REFRESHED])
    reported = [report(answer, 1000, 1000, CONFIG).ids.tolist() for _, answer in steps]
    assert reported == [[0], [], [0]]


@pytest.mark.parametrize(("motion", "asked"), [
    pytest.param(MotionConfig(), [0.2, 0.3, 0.3], id="where it was last seen, as released"),
    pytest.param(MotionConfig(lead=1, gain=0.5, fade=0.5), [0.2, 0.35, 0.375], id="where it goes"),
])
def test_the_network_is_asked_for_a_track(motion, asked, monkeypatch):
    given, decode = [], FakeModel.decode
    monkeypatch.setattr(
        FakeModel, "decode", lambda self, f, q: given.append(q.boxes[:, 0]) or decode(self, f, q)
    )
    steps = play(
        (proposals(box(0.2)), told([0.9], [box(0.2)])),
        (NONE, told([0.9], [box(0.3)])),
        (NONE, told([0.1], [box(0.9)])),
        (NONE, told([0.9], [box(0.5)])),
        config=replace(CONFIG, motion=motion),
    )
    assert torch.cat(given[1:]).tolist() == pytest.approx(asked)
    assert steps[2][0].tracks.queries.boxes[0].tolist() == pytest.approx(box(0.3))  # last seen


def test_a_track_dies_at_the_tolerance_and_its_number_with_it():
    config = replace(CONFIG, lifecycle=LifecycleConfig(miss_tolerance=2))
    steps = play(
        (proposals(A), told([0.9])),
        (NONE, told([0.2])),
        (NONE, told([0.2])),
        (proposals(A), told([0.9])),
        config=config,
    )
    assert identities(steps) == [[0], [0], [], [1]]


def test_exactly_a_half_is_born_but_neither_refreshed_nor_reported():
    """The released inequalities (QUIRK-10)."""
    [(state, answer)] = play((proposals(A, score=0.7), told([0.5], [B])))
    assert answer.scores.tolist() == [0.5]
    assert answer.ids.tolist() == [0]
    torch.testing.assert_close(state.tracks.queries.boxes, torch.tensor([A]))
    torch.testing.assert_close(state.tracks.queries.content, torch.full((1, 4), 0.7))
    assert len(report(answer, 1000, 1000, CONFIG)) == 0


def test_a_video_without_a_single_detection():
    steps = play(*[(NONE, told([0.1, 0.1]))] * 3, learned=2)
    assert identities(steps) == [[], [], []]
    assert steps[-1][0].frame == 3
    assert len(report(steps[-1][1], 640, 480, CONFIG)) == 0


def test_tracks_live_on_without_detections():
    steps = play((proposals(A), told([0.9])), *[(NONE, told([0.9]))] * 3)
    assert identities(steps) == [[0]] * 4


# State


def test_a_state_is_a_value():
    """The same frame from the same state gives the same answer, and the state is left alone."""
    [(state, _)] = play((proposals(A, B), told([0.9, 0.8])))
    before = dict(columns(state.tracks.map(torch.clone)))
    frame = (proposals(C), told([0.9, 0.3, 0.9], first_boxes=[C, A, A]))
    [(one, told_one)], [(other, told_other)] = play(frame, state=state), play(frame, state=state)
    assert differing(one.tracks, other.tracks) == differing(told_one, told_other) == set()
    assert (one.next_id, one.frame) == (other.next_id, other.frame) == (3, 2)
    for name, value in columns(state.tracks):
        assert torch.equal(value, before[name]), name
    assert (state.next_id, state.frame) == (2, 1)


def test_two_trackers_share_nothing():
    model = FakeModel()
    one, other = begin(model, CONFIG), begin(model, CONFIG)
    given = []
    for _ in range(3):
        one, answer = step(model, one, told([0.9] * (1 + len(one.tracks))), proposals(A), CONFIG)
        given.append(answer.ids.tolist())
        other, answer = step(model, other, told([0.1]), proposals(A), CONFIG)
        assert len(answer) == 0
    assert given == [[0], [1, 0], [2, 1, 0]]
    assert (one.next_id, other.next_id) == (3, 0)
    _, answer = step(model, other, told([0.9]), proposals(A), CONFIG)
    assert answer.ids.tolist() == [0]


def test_a_state_begins_empty():
    state = begin(FakeModel(3), CONFIG)
    assert (len(state.tracks), state.next_id, state.frame) == (0, 0, 0)
    assert state.tracks.memory.features.shape == (0, 10, 4)


# The memory in the frame

FAR = {"boxes": [B], "first_boxes": [A]}
"""An answer whose layers are 0.3 of the width apart: enough for a store."""


def test_a_stored_view_is_mixed_into_what_the_decoder_is_asked():
    config = replace(CONFIG, stored="embedding")
    frames = [(proposals(A), told([0.9], **FAR)), (NONE, told([0.9], [B]))]
    (state, _), _ = play(*frames, config=config)
    view = 0.9 + EMBEDDED
    assert state.tracks.memory.features[0, -1].tolist() == pytest.approx([view] * 4)

    asked = memory.read(state.tracks.memory, state.tracks.queries.content)
    assert asked[0].tolist() == pytest.approx([(0.9 + REFRESHED + view) / 2] * 4)
    every_frame = replace(config, memory=MemoryConfig(max_gap=0))
    *_, (state, _) = play(*frames, config=every_frame)
    assert state.tracks.memory.features[0, -1].tolist() == pytest.approx(
        (asked[0] + EMBEDDED).tolist()
    )


def test_the_mixture_is_not_written_back():
    """The next content is made of the stored one (QUIRK-26)."""
    config = replace(CONFIG, stored="embedding")
    _, (state, _) = play(
        (proposals(A), told([0.9], **FAR)), (NONE, told([0.9], [B])), config=config
    )
    assert state.tracks.memory.valid.sum() == 1
    expected = [0.9 + 2 * REFRESHED] * 4
    assert state.tracks.queries.content[0].tolist() == pytest.approx(expected)


def test_a_memory_of_capacity_zero_is_plain_motrv2():
    """Same identities and contents on a script without learned effects; nothing is ever stored."""
    config = replace(CONFIG, memory=MemoryConfig(capacity=0), stored="embedding")
    frames = [
        (proposals(A, B), told([0.9, 0.9], [A, B], [B, A])),
        (proposals(C), told([0.1, 0.9, 0.9], [C, A, B], [C, B, A])),
        (NONE, told([0.9, 0.2])),
    ]
    steps = play(*frames, config=config)
    assert identities(steps) == [[0, 1], [0, 1], [0, 1]]
    for state, _ in steps:
        assert state.tracks.memory.features.shape == (2, 0, 4)
        asked = memory.read(state.tracks.memory, state.tracks.queries.content)
        assert torch.equal(asked, state.tracks.queries.content)


def test_a_dead_track_takes_its_memory_along():
    config = replace(CONFIG, lifecycle=LifecycleConfig(miss_tolerance=1))
    far = told([0.9, 0.9], [A, B], [B, A])
    (state, _), (later, _) = play(
        (proposals(A, B), far), (NONE, told([0.1, 0.9])), config=config
    )
    assert state.tracks.memory.valid.sum(dim=1).tolist() == [1, 1]
    assert later.tracks.ids.tolist() == [1]
    assert torch.equal(later.tracks.memory.features[0], state.tracks.memory.features[1])


# The settings. A scene of five queries in which each of them makes a difference.

SCENE = {
    # query             id      score  missed  last seen at   first layer   last layer
    "stray proposal":  (NO_ID, 0.10, 0, box(0.21), box(0.21), box(0.21)),
    "newborn":         (NO_ID, 0.90, 0, box(0.50), box(0.52), box(0.55)),
    "seen track":      (3,      0.80, 0, box(0.10), box(0.17), box(0.20)),
    "half-seen track": (4,      0.50, 0, box(0.80), box(0.80), box(0.82)),
    "lost track":      (5,      0.20, 1, box(0.80), box(0.78), box(0.77)),
}  # fmt: skip


def observed(config):
    ids, scores, missed, before, first, last = (
        torch.tensor(column) for column in zip(*SCENE.values(), strict=True)
    )
    n = len(SCENE)
    asked = Tracks(
        ids, missed, Queries(torch.arange(n)[:, None].repeat(1, 2).float(), before),
        memory.empty(n, 2, config.memory), torch.zeros(n, 2),
    )  # fmt: skip
    layers = [Prediction(torch.zeros(n, 1), b, asked.queries.content + 100) for b in (first, last)]
    census = update_status(ids, missed, scores, 6, config.lifecycle)
    return observe(asked, layers, scores, census, config)


def by_query(column):
    return dict(zip(SCENE, (round(float(v), 3) for v in column), strict=True))


def test_what_the_memory_is_told_by_default():
    seen = observed(CONFIG)
    names = list(SCENE)
    assert by_query(seen.travel) == dict(zip(names, [0, 0.03, 0.03, 0.02, 0.01], strict=True))
    # 0.01 of 0.1 apart: 9/11; 0.05 apart: 5/15
    assert by_query(seen.overlap) == dict(zip(names, [0.818, 0, 0.818, 0.333, 0.333], strict=True))
    assert seen.feature[:, 0].tolist() == [0, 1, 2, 3, 4]  # the content that entered the frame
    assert seen.present.all()
    assert by_query(seen.score) == {k: row[1] for k, row in SCENE.items()}


@pytest.mark.parametrize(("change", "column", "values"), [
    pytest.param(
        {"travel": "frames"}, "travel",
        {"stray proposal": 0, "newborn": 0, "seen track": 0.1, "half-seen track": 0,
         "lost track": 0},
        id="travel between frames: of tracks that are seen, from where they were last seen"),
    pytest.param(
        {"overlap_with": "tracks"}, "overlap",
        {"stray proposal": 0.818, "newborn": 0, "seen track": 0, "half-seen track": 0.333,
         "lost track": 0.333},
        id="overlap with tracks: a duplicate proposal no longer covers its track"),
    pytest.param(
        {"present_at_birth": False}, "present",
        {"stray proposal": 1, "newborn": 0, "seen track": 1, "half-seen track": 1, "lost track": 1},
        id="present_at_birth: a newborn shows no view"),
    pytest.param(
        {"present_when_lost": False}, "present",
        {"stray proposal": 0, "newborn": 1, "seen track": 1, "half-seen track": 1, "lost track": 0},
        id="present_when_lost: nobody below the miss score shows a view"),
])  # fmt: skip
def test_a_departure_changes_one_column_of_what_the_memory_is_told(change, column, values):
    other = observed(replace(CONFIG, **change))
    assert differing(observed(CONFIG), other) == {column}
    assert by_query(getattr(other, column)) == values


def test_the_embedding_can_be_stored_instead():
    other = observed(replace(CONFIG, stored="embedding"))
    assert differing(observed(CONFIG), other) == {"feature"}
    assert other.feature[:, 0].tolist() == [100, 101, 102, 103, 104]


def test_travel_between_frames_counts_a_gap_when_it_ends():
    config = replace(CONFIG, travel="frames", memory=MemoryConfig(min_travel=9.0))
    steps = play(
        (proposals(A), told([0.9], [A])),
        (NONE, told([0.2], [B])),
        (NONE, told([0.9], [C])),
        config=config,
    )
    travelled = [state.tracks.memory.travel.item() for state, _ in steps]
    assert travelled == pytest.approx([0, 0, 0.6])


@pytest.mark.parametrize(("stored", "candidate"), [
    pytest.param("incoming", 0.9 + REFRESHED, id="what entered the frame (QUIRK-22)"),
    pytest.param("embedding", 0.9 + REFRESHED + EMBEDDED, id="what the decoder made of it"),
    pytest.param("refreshed", 0.9 + 2 * REFRESHED, id="what the next frame is asked with"),
])
def test_which_feature_is_stored(stored, candidate):
    frames = [(proposals(A), told([0.9], [A])), (NONE, told([0.9], [B]))]
    default, changed = (
        play(*frames, config=replace(CONFIG, stored=kind))[-1] for kind in ("incoming", stored)
    )
    assert changed[0].tracks.memory.candidate[0].tolist() == pytest.approx([candidate] * 4)
    expected = set() if stored == "incoming" else {"memory.candidate"}
    assert differing(default[0].tracks, changed[0].tracks) == expected
    assert differing(default[1], changed[1]) == set()


@pytest.mark.parametrize(("bar", "refreshed"), [
    pytest.param(0.5, True, id="published: above a half"),
    pytest.param(0.7, False, id="a higher bar"),
])
def test_refresh_score_says_who_takes_the_frame_in(bar, refreshed):
    config = replace(CONFIG, refresh_score=bar)
    [(state, answer)] = play((proposals(A), told([0.6], [B])), config=config)
    assert answer.ids.tolist() == [0]
    torch.testing.assert_close(state.tracks.queries.boxes, torch.tensor([B if refreshed else A]))
    content = 0.9 + (REFRESHED if refreshed else 0)
    torch.testing.assert_close(state.tracks.queries.content, torch.full((1, 4), content))


@pytest.mark.parametrize("change", [
    pytest.param({"report_score": 0.95}, id="report_score"),
    pytest.param({"report_area": 1e9}, id="report_area"),
])
def test_what_is_reported_changes_nothing_that_lives_on(change):
    frames = [(proposals(A, B), told([0.9, 0.8], [A, B])), (NONE, told([0.9, 0.3]))]
    one, other = play(*frames), play(*frames, config=replace(CONFIG, **change))
    assert differing(one[-1][0].tracks, other[-1][0].tracks) == set()
    assert differing(one[-1][1], other[-1][1]) == set()


# What is reported


def answer_of(scores, boxes):
    n = len(scores)
    return TrackOutput(
        torch.arange(n), torch.tensor(scores), torch.tensor(boxes).reshape(n, 4),
        torch.arange(n) - 1,
    )  # fmt: skip


def test_a_report_is_in_pixels_of_the_original_image():
    told_ = report(answer_of([0.9], [[0.5, 0.4, 0.2, 0.1]]), 1000, 500, CONFIG)
    torch.testing.assert_close(told_.xyxy, torch.tensor([[400.0, 175.0, 600.0, 225.0]]))
    assert (told_.ids.tolist(), told_.sources.tolist()) == ([0], [-1])


def test_a_box_may_leave_the_image():
    """Boxes aren't clipped, and the invisible part counts as area (QUIRK-14)."""
    told_ = report(answer_of([0.9], [[0.0, 1.0, 0.2, 0.2]]), 100, 100, CONFIG)
    torch.testing.assert_close(told_.xyxy, torch.tensor([[-10.0, 90.0, 10.0, 110.0]]))


@pytest.mark.parametrize(("score", "side", "change", "kept"), [
    pytest.param(0.9, 32, {}, True, id="sure and large"),
    pytest.param(0.5, 32, {}, False, id="a score of exactly the bar is not reported"),
    pytest.param(0.9, 10, {}, False, id="an area of exactly the bar is not reported"),
    pytest.param(0.9, 11, {}, True, id="an area just above it"),
    pytest.param(0.9, 32, {"report_score": 0.9}, False, id="report_score higher"),
    pytest.param(0.4, 32, {"report_score": 0.3}, True, id="report_score lower"),
    pytest.param(0.9, 32, {"report_area": 1024.0}, False, id="report_area higher"),
    pytest.param(0.9, 5, {"report_area": 0.0}, True, id="report_area lower"),
])
def test_what_is_worth_reporting(score, side, change, kept):
    answer = answer_of([score], [[0.5, 0.5, side / 128, side / 128]])
    assert len(report(answer, 128, 128, replace(CONFIG, **change))) == kept


def test_a_report_keeps_its_rows_together():
    answer = answer_of([0.9, 0.2, 0.8, 0.7], [A, B, [0.5, 0.5, 0, 0], C])
    told_ = report(answer, 100, 100, CONFIG)
    assert told_.ids.tolist() == [0, 3]
    assert told_.sources.tolist() == [-1, 2]
    torch.testing.assert_close(told_.scores, torch.tensor([0.9, 0.7]))
    torch.testing.assert_close(told_.xyxy[:, 0], torch.tensor([15.0, 75.0]))


# The released run

RUN = {"miss_tolerance": 20, "short_side": 256, "max_side": 480, "height": 216, "width": 384}


def released_lines(frame, told_):
    for identity, (x1, y1, x2, y2) in zip(told_.ids.tolist(), told_.xyxy.tolist(), strict=True):
        yield f"{frame},{identity},{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},1,-1,-1,-1"


def worst_digit(lines, wanted):
    """The largest difference between the numbers of result lines, in hundredths."""
    mine, theirs = (np.array([line.split(",") for line in some], float) for some in (lines, wanted))
    assert (mine[:, :2] == theirs[:, :2]).all()
    return np.rint(100 * np.abs(mine - theirs)).max()


def assert_as_released(state: TrackerState, answer: TrackOutput, wanted: dict[str, torch.Tensor]):
    """Identities, counters and masks exactly; numbers within the noise between kernels."""
    tracks, views = state.tracks, state.tracks.memory
    assert tracks.ids.tolist() == answer.ids.tolist() == wanted["obj_idxes"].tolist()
    assert tracks.missed.tolist() == wanted["disappear_time"].tolist()
    assert torch.equal(views.valid, ~wanted["mem_padding_mask"])
    assert torch.equal(views.gap, wanted["frame_idx"] - wanted["mem_frames_idx"][:, -1])
    for mine, theirs, tolerance in [
        (answer.scores, "scores", 2e-5), (answer.boxes, "pred_boxes", 5e-6),
        (views.features, "mem_bank", 1e-4), (views.candidate, "best_features", 1e-4),
        (views.travel, "accum_dist", 2e-5), (views.overlap, "best_iou", 1e-4),
        (tracks.queries.content, "query_pos", 1e-4), (tracks.queries.boxes, "ref_pts", 5e-6),
    ]:  # fmt: skip
        torch.testing.assert_close(mine, wanted[theirs], rtol=0, atol=tolerance)


@pytest.mark.parametrize("sampling", [
    pytest.param("auto", id="with the quickest kernel there is"),
    pytest.param("plain", id="in the order of the released code"),
])  # fmt: skip
def test_forty_frames_are_those_of_the_released_code(sampling, monkeypatch, two_threads):
    """The whole published network, frame by frame: 19 identities, 4 deaths, 27 stores."""
    monkeypatch.setenv("TFSASM_SAMPLING", sampling)
    assert released_run(released_model()) == 0


def test_the_fast_network_keeps_them():
    fast = FastMOTRv2(copy.deepcopy(released_model()))
    assert released_run(fast) <= 1


def released_run(model):
    """The golden run by this network, every number compared; how far result lines are off."""
    golden = vectors("run_tol20")
    config = replace(CONFIG, lifecycle=LifecycleConfig(miss_tolerance=RUN["miss_tolerance"]))
    size = RUN["height"], RUN["width"]
    frames, detections = synthetic_sequence(40, *size, nobj=6, seed=7, zero_frames=[4, 5, 13])
    state, lines = begin(model, config), []
    for index, (frame, found) in enumerate(zip(frames, detections, strict=True)):
        assert zlib.crc32(frame.tobytes()) == golden["frame_crc32"][index]
        rows = [[float(value) for value in line.split(",")] for line in found]
        asked = Proposals.from_ltwh([r[:4] for r in rows], [r[4] for r in rows], *size[::-1])
        with torch.inference_mode():
            features = model.encode(prepare(frame[..., ::-1], RUN["short_side"], RUN["max_side"]))
        state, answer = step(model, state, features, asked, config)
        prefix = f"f{index:03d}/out/"
        wanted = {k[len(prefix) :]: tensor(v) for k, v in golden.items() if k.startswith(prefix)}
        assert_as_released(state, answer, wanted)
        told_ = report(answer, *size[::-1], config)
        lines += released_lines(index + 1, told_)
    assert len(lines) == 117
    return worst_digit(lines, golden["lines"].tolist())
