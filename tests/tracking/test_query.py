"""One frame of tracking under a scripted network, in both array libraries.

A script lists one row per query, in the order of the queries: learned ones, proposals, older
tracks. The fake network insists on the number.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.fakes import EMBEDDED, REFRESHED, FakeNetwork, box, predicted, proposals
from tfsasm.detection.proposals import NO_CLASS, Proposals
from tfsasm.runtime.network import Prediction, Queries
from tfsasm.tables import Table, as_numpy
from tfsasm.tracking import memory
from tfsasm.tracking.association import update_status
from tfsasm.tracking.config import (
    NO_ID,
    LifecycleConfig,
    MemoryConfig,
    MotionConfig,
    TrackerConfig,
    paper,
)
from tfsasm.tracking.query import observe, report, step
from tfsasm.tracking.state import TrackOutput, begin, new_tracks, settled

CONFIG = TrackerConfig()
NONE = Proposals.empty()
A, B, C = box(0.2), box(0.5), box(0.8)


@pytest.fixture(params=[(np, False), (torch, False), (torch, True)],
                ids=["numpy", "torch", "padded"])  # fmt: skip
def play(request):
    """Every state and output, in NumPy, of a script of `(proposals, predicted(...))`."""

    def run(*frames, config=CONFIG, learned=0, state=None, network=None):
        library, padded = request.param
        network = network or FakeNetwork(library, learned, padded=padded)
        if state is None:
            state = begin(network, config)
        else:
            state = replace(state, tracks=state.tracks.map(network.asarray))
        steps = []
        for found, prediction in frames:
            given = found.map(network.asarray)
            state, output = settled(*step(network, state, prediction, given, config))
            in_numpy = replace(state, tracks=state.living.map(as_numpy), live=None)
            steps.append((in_numpy, output))
        return steps

    return run


def identities(steps):
    return [output.ids.tolist() for _, output in steps]


def columns(table: Table, prefix: str = ""):
    """Every column of a table by its dotted name, nested tables included."""
    for name, value in vars(table).items():
        if isinstance(value, Table):
            yield from columns(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def differing(one: Table, other: Table) -> set[str]:
    pairs = zip(columns(one), columns(other), strict=True)
    return {name for (name, a), (_, b) in pairs if not np.array_equal(as_numpy(a), as_numpy(b))}


# Lives


def test_a_confident_proposal_becomes_a_track(play):
    [(state, output)] = play((proposals(A, B), predicted([0.9, 0.3], [A, B])))
    assert output.ids.tolist() == [0]
    assert output.sources.tolist() == [0]
    np.testing.assert_allclose(output.scores, [0.9], rtol=1e-6)
    np.testing.assert_allclose(output.boxes, [A], rtol=1e-6)
    assert state.tracks.ids.tolist() == [0]
    assert (state.next_id, state.frame) == (1, 1)


def test_a_learned_query_can_be_born_too_and_has_no_source(play):
    [(_, output)] = play((proposals(A), predicted([0.1, 0.9, 0.9], [B, C, A])), learned=2)
    assert output.ids.tolist() == [0, 1]
    assert output.sources.tolist() == [-1, 0]


def test_a_source_is_told_at_birth_only(play):
    frames = [(proposals(A, B), predicted([0.2, 0.9])), (proposals(A), predicted([0.1, 0.9]))]
    assert [output.sources.tolist() for _, output in play(*frames)] == [[1], [-1]]


def test_queries_without_identity_are_forgotten(play):
    steps = play((proposals(A, B), predicted([0.1, 0.2], [A, B])), (NONE, predicted([])), learned=0)
    assert identities(steps) == [[], []]
    assert len(steps[-1][0].tracks) == 0


def test_new_tracks_stand_before_older_ones(play):
    """As in the released code (QUIRK-12); within a batch, in the order of the queries."""
    steps = play(
        (proposals(A, B), predicted([0.9, 0.9])),
        (proposals(C), predicted([0.9, 0.9, 0.9])),
        (proposals(C), predicted([0.9, 0.9, 0.9, 0.9])),
    )
    assert identities(steps) == [[0, 1], [2, 0, 1], [3, 2, 0, 1]]


def test_an_absent_track_is_frozen_and_not_reported_until_it_is_back(play):
    steps = play(
        (proposals(A), predicted([0.9], [A])),
        (NONE, predicted([0.2], [B])),
        (NONE, predicted([0.9], [C])),
    )
    assert identities(steps) == [[0], [0], [0]]
    assert [state.tracks.missed.tolist() for state, _ in steps] == [[0], [1], [0]]
    seen_at = [state.tracks.queries.boxes[0].tolist() for state, _ in steps]
    np.testing.assert_allclose(seen_at, [A, A, C], rtol=1e-6)
    contents = [state.tracks.queries.content[0, 0].item() for state, _ in steps]
    assert contents == pytest.approx([0.9 + REFRESHED, 0.9 + REFRESHED, 0.9 + 2 * REFRESHED])
    reported = [report(output, 1000, 1000, CONFIG).tracker_id.tolist() for _, output in steps]
    assert reported == [[1], [], [1]]


class RecordingNetwork(FakeNetwork):
    """Keeps the reference boxes that it decodes."""

    def __init__(self):
        super().__init__()
        self.centres = []

    def decode(self, features, queries, alive=None):
        self.centres += queries.boxes[:, 0].tolist()
        return super().decode(features, queries, alive)


@pytest.mark.parametrize(("motion", "centres"), [
    pytest.param(MotionConfig(), [0.2, 0.3, 0.3], id="where it was last seen, as released"),
    pytest.param(
        MotionConfig(lead=1, gain=0.5, fade=0.5), [0.2, 0.35, 0.375], id="where motion predicts it"
    ),
])
def test_the_reference_box_of_a_track(play, motion, centres):
    network = RecordingNetwork()
    steps = play(
        (proposals(box(0.2)), predicted([0.9], [box(0.2)])),
        (NONE, predicted([0.9], [box(0.3)])),
        (NONE, predicted([0.1], [box(0.9)])),
        (NONE, predicted([0.9], [box(0.5)])),
        config=replace(CONFIG, motion=motion), network=network,
    )  # fmt: skip
    assert network.centres[1:] == pytest.approx(centres)
    assert steps[2][0].tracks.queries.boxes[0].tolist() == pytest.approx(box(0.3))  # last seen


def test_a_track_dies_at_the_tolerance_and_its_number_with_it(play):
    config = replace(CONFIG, lifecycle=LifecycleConfig(miss_tolerance=2))
    steps = play(
        (proposals(A), predicted([0.9])),
        (NONE, predicted([0.2])),
        (NONE, predicted([0.2])),
        (proposals(A), predicted([0.9])),
        config=config,
    )
    assert identities(steps) == [[0], [0], [], [1]]


def test_exactly_a_half_is_born_but_neither_refreshed_nor_reported(play):
    """The released inequalities (QUIRK-10)."""
    [(state, output)] = play((proposals(A, score=0.7), predicted([0.5], [B])))
    assert output.scores.tolist() == [0.5]
    assert output.ids.tolist() == [0]
    np.testing.assert_allclose(state.tracks.queries.boxes, [A], rtol=1e-6)
    np.testing.assert_allclose(state.tracks.queries.content, [[0.7] * 4], rtol=1e-6)
    assert len(report(output, 1000, 1000, CONFIG)) == 0


def test_a_video_without_a_single_detection(play):
    steps = play(*[(NONE, predicted([0.1, 0.1]))] * 3, learned=2)
    assert identities(steps) == [[], [], []]
    assert steps[-1][0].frame == 3
    assert len(report(steps[-1][1], 640, 480, CONFIG)) == 0


def test_tracks_live_on_without_detections(play):
    steps = play((proposals(A), predicted([0.9])), *[(NONE, predicted([0.9]))] * 3)
    assert identities(steps) == [[0]] * 4


# State


def test_a_state_is_a_value(play):
    """The same frame from the same state gives the same output, and the state is left alone."""
    [(state, _)] = play((proposals(A, B), predicted([0.9, 0.8])))
    before = dict(columns(state.tracks.map(np.copy)))
    frame = (proposals(C), predicted([0.9, 0.3, 0.9], first_boxes=[C, A, A]))
    [(one, output_one)] = play(frame, state=state)
    [(other, output_other)] = play(frame, state=state)
    assert differing(one.tracks, other.tracks) == differing(output_one, output_other) == set()
    assert (one.next_id, one.frame) == (other.next_id, other.frame) == (3, 2)
    for name, value in columns(state.tracks):
        assert np.array_equal(value, before[name]), name
    assert (state.next_id, state.frame) == (2, 1)


def test_two_trackers_share_nothing():
    network = FakeNetwork()
    found = proposals(A).map(network.asarray)
    one, other = begin(network, CONFIG), begin(network, CONFIG)
    given = []
    for _ in range(3):
        one, output = step(network, one, predicted([0.9] * (1 + len(one.tracks))), found, CONFIG)
        given.append(output.ids.tolist())
        other, output = step(network, other, predicted([0.1]), found, CONFIG)
        assert len(output) == 0
    assert given == [[0], [1, 0], [2, 1, 0]]
    assert (one.next_id, other.next_id) == (3, 0)
    _, output = step(network, other, predicted([0.9]), found, CONFIG)
    assert output.ids.tolist() == [0]


def test_a_state_begins_empty():
    state = begin(FakeNetwork(learned=3), CONFIG)
    assert (len(state.tracks), state.next_id, state.frame) == (0, 0, 0)
    assert state.tracks.memory.features.shape == (0, 10, 4)


# The memory in the frame

FAR = {"boxes": [B], "first_boxes": [A]}
"""An output whose layers are 0.3 of the width apart: enough for a store."""


def test_a_stored_view_is_mixed_into_what_is_decoded(play):
    config = replace(CONFIG, stored="embedding")
    frames = [(proposals(A), predicted([0.9], **FAR)), (NONE, predicted([0.9], [B]))]
    (state, _), _ = play(*frames, config=config)
    view = 0.9 + EMBEDDED
    assert state.tracks.memory.features[0, -1].tolist() == pytest.approx([view] * 4)

    mixed = memory.read(state.tracks.memory, state.tracks.queries.content)
    assert mixed[0].tolist() == pytest.approx([(0.9 + REFRESHED + view) / 2] * 4)
    every_frame = replace(config, memory=MemoryConfig(max_gap=0))
    *_, (state, _) = play(*frames, config=every_frame)
    assert state.tracks.memory.features[0, -1].tolist() == pytest.approx(
        (mixed[0] + EMBEDDED).tolist()
    )


def test_the_mixture_is_not_written_back(play):
    """The next content is made of the stored one (QUIRK-26)."""
    config = replace(CONFIG, stored="embedding")
    _, (state, _) = play(
        (proposals(A), predicted([0.9], **FAR)), (NONE, predicted([0.9], [B])), config=config
    )
    assert state.tracks.memory.valid.sum() == 1
    expected = [0.9 + 2 * REFRESHED] * 4
    assert state.tracks.queries.content[0].tolist() == pytest.approx(expected)


def test_a_memory_of_capacity_zero_is_plain_motrv2(play):
    """Same identities and contents on a script without learned effects; nothing is ever stored."""
    config = replace(CONFIG, memory=MemoryConfig(capacity=0), stored="embedding")
    frames = [
        (proposals(A, B), predicted([0.9, 0.9], [A, B], [B, A])),
        (proposals(C), predicted([0.1, 0.9, 0.9], [C, A, B], [C, B, A])),
        (NONE, predicted([0.9, 0.2])),
    ]
    steps = play(*frames, config=config)
    assert identities(steps) == [[0, 1], [0, 1], [0, 1]]
    for state, _ in steps:
        assert state.tracks.memory.features.shape == (2, 0, 4)
        mixed = memory.read(state.tracks.memory, state.tracks.queries.content)
        assert np.array_equal(mixed, state.tracks.queries.content)


def test_a_dead_track_takes_its_memory_along(play):
    config = replace(CONFIG, lifecycle=LifecycleConfig(miss_tolerance=1))
    far = predicted([0.9, 0.9], [A, B], [B, A])
    (state, _), (later, _) = play(
        (proposals(A, B), far), (NONE, predicted([0.1, 0.9])), config=config
    )
    assert state.tracks.memory.valid.sum(axis=1).tolist() == [1, 1]
    assert later.tracks.ids.tolist() == [1]
    assert np.array_equal(later.tracks.memory.features[0], state.tracks.memory.features[1])


# The settings. A scene of five queries in which each of them makes a difference.

SCENE = {
    # query             id      score  missed  last seen at   first layer   last layer
    "stray proposal":  (NO_ID, 0.10, 0, box(0.21), box(0.21), box(0.21)),
    "new track":         (NO_ID, 0.90, 0, box(0.50), box(0.52), box(0.55)),
    "seen track":      (3,      0.80, 0, box(0.10), box(0.17), box(0.20)),
    "half-seen track": (4,      0.50, 0, box(0.80), box(0.80), box(0.82)),
    "lost track":      (5,      0.20, 1, box(0.80), box(0.78), box(0.77)),
}  # fmt: skip


def observed(config, library=torch):
    ids, scores, missed, before, first, last = (
        library.asarray(np.array(column, dtype=kind)) for column, kind in zip(
            zip(*SCENE.values(), strict=True), (int, "f", int, "f", "f", "f"), strict=True
        )
    )  # fmt: skip
    content = library.asarray(np.arange(len(SCENE), dtype="f")[:, None].repeat(2, axis=1))
    tracks = replace(new_tracks(Queries(content, before), config), ids=ids, missed=missed)
    prediction = Prediction(scores, last, first, content + 100)
    status = update_status(ids, missed, scores, 6, config.lifecycle)
    return observe(tracks, prediction, status, config).map(as_numpy)


@pytest.mark.parametrize("config", [
    CONFIG, TrackerConfig(travel="frames", overlap_with="tracks", stored="embedding"), paper(),
], ids=["released", "some departures", "paper"])  # fmt: skip
def test_both_libraries_observe_the_same(config):
    one, other = observed(config, np), observed(config, torch)
    assert differing(one, other) <= {"travel"}
    np.testing.assert_allclose(one.travel, other.travel, rtol=1e-6)


def by_query(column):
    return dict(zip(SCENE, (round(float(v), 3) for v in column), strict=True))


def test_what_the_memory_is_tracksby_default():
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
        {"stray proposal": 0, "new track": 0, "seen track": 0.1, "half-seen track": 0,
         "lost track": 0},
        id="travel between frames: of tracks that are seen, from where they were last seen"),
    pytest.param(
        {"overlap_with": "tracks"}, "overlap",
        {"stray proposal": 0.818, "new track": 0, "seen track": 0, "half-seen track": 0.333,
         "lost track": 0.333},
        id="overlap with tracks: a duplicate proposal no longer covers its track"),
    pytest.param(
        {"present_at_birth": False}, "present",
        {"stray proposal": 1, "new track": 0, "seen track": 1, "half-seen track": 1,
         "lost track": 1},
        id="present_at_birth: a new track shows no view"),
    pytest.param(
        {"present_when_lost": False}, "present",
        {"stray proposal": 0, "new track": 1, "seen track": 1, "half-seen track": 1,
         "lost track": 0},
        id="present_when_lost: no track below the miss score shows a view"),
])  # fmt: skip
def test_a_departure_changes_one_column_of_what_the_memory_sees(change, column, values):
    other = observed(replace(CONFIG, **change))
    assert differing(observed(CONFIG), other) == {column}
    assert by_query(getattr(other, column)) == values


def test_the_embedding_can_be_stored_instead():
    other = observed(replace(CONFIG, stored="embedding"))
    assert differing(observed(CONFIG), other) == {"feature"}
    assert other.feature[:, 0].tolist() == [100, 101, 102, 103, 104]


def test_travel_between_frames_counts_a_gap_when_it_ends(play):
    config = replace(CONFIG, travel="frames", memory=MemoryConfig(min_travel=9.0))
    steps = play(
        (proposals(A), predicted([0.9], [A])),
        (NONE, predicted([0.2], [B])),
        (NONE, predicted([0.9], [C])),
        config=config,
    )
    travelled = [state.tracks.memory.travel.item() for state, _ in steps]
    assert travelled == pytest.approx([0, 0, 0.6])


@pytest.mark.parametrize(("stored", "candidate"), [
    pytest.param("incoming", 0.9 + REFRESHED, id="what entered the frame (QUIRK-22)"),
    pytest.param("embedding", 0.9 + REFRESHED + EMBEDDED, id="what the decoder made of it"),
    pytest.param("refreshed", 0.9 + 2 * REFRESHED, id="what the next frame begins with"),
])
def test_which_feature_is_stored(stored, candidate, play):
    frames = [(proposals(A), predicted([0.9], [A])), (NONE, predicted([0.9], [B]))]
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
def test_refresh_score_decides_which_tracks_are_updated(bar, refreshed, play):
    config = replace(CONFIG, refresh_score=bar)
    [(state, output)] = play((proposals(A), predicted([0.6], [B])), config=config)
    assert output.ids.tolist() == [0]
    np.testing.assert_allclose(state.tracks.queries.boxes, [B if refreshed else A], rtol=1e-6)
    content = 0.9 + (REFRESHED if refreshed else 0)
    np.testing.assert_allclose(state.tracks.queries.content, [[content] * 4], rtol=1e-6)


@pytest.mark.parametrize("change", [
    pytest.param({"report_score": 0.95}, id="report_score"),
    pytest.param({"report_area": 1e9}, id="report_area"),
])
def test_what_is_reported_changes_nothing_that_lives_on(change, play):
    frames = [(proposals(A, B), predicted([0.9, 0.8], [A, B])), (NONE, predicted([0.9, 0.3]))]
    one, other = play(*frames), play(*frames, config=replace(CONFIG, **change))
    assert differing(one[-1][0].tracks, other[-1][0].tracks) == set()
    assert differing(one[-1][1], other[-1][1]) == set()


# What is reported


def output_of(scores, boxes, library=np):
    n = len(scores)
    return TrackOutput(
        np.arange(n), np.array(scores, dtype="f"), np.array(boxes, dtype="f").reshape(n, 4),
        np.arange(n) - 1, np.full(n, NO_CLASS),
    ).map(library.asarray)  # fmt: skip


def test_a_report_is_in_pixels_of_the_original_image():
    tracks = report(output_of([0.9], [[0.5, 0.4, 0.2, 0.1]]), 1000, 500, CONFIG)
    np.testing.assert_allclose(tracks.xyxy, [[400.0, 175.0, 600.0, 225.0]], rtol=1e-6)
    assert tracks.tracker_id.tolist() == [1]


def test_a_box_may_leave_the_image():
    """Boxes aren't clipped, and the invisible part counts as area (QUIRK-14)."""
    tracks = report(output_of([0.9], [[0.0, 1.0, 0.2, 0.2]]), 100, 100, CONFIG)
    np.testing.assert_allclose(tracks.xyxy, [[-10.0, 90.0, 10.0, 110.0]], rtol=1e-6)


@pytest.mark.parametrize(("score", "side", "change", "kept"), [
    pytest.param(0.9, 32, {}, True, id="confident and large"),
    pytest.param(0.5, 32, {}, False, id="a score of exactly the bar is not reported"),
    pytest.param(0.9, 10, {}, False, id="an area of exactly the bar is not reported"),
    pytest.param(0.9, 11, {}, True, id="an area just above it"),
    pytest.param(0.9, 32, {"report_score": 0.9}, False, id="report_score higher"),
    pytest.param(0.4, 32, {"report_score": 0.3}, True, id="report_score lower"),
    pytest.param(0.9, 32, {"report_area": 1024.0}, False, id="report_area higher"),
    pytest.param(0.9, 5, {"report_area": 0.0}, True, id="report_area lower"),
])
def test_what_is_worth_reporting(score, side, change, kept):
    output = output_of([score], [[0.5, 0.5, side / 128, side / 128]])
    assert len(report(output, 128, 128, replace(CONFIG, **change))) == kept


def test_a_report_keeps_its_rows_together():
    output = output_of([0.9, 0.2, 0.8, 0.7], [A, B, [0.5, 0.5, 0, 0], C])
    tracks = report(output, 100, 100, CONFIG)
    assert tracks.tracker_id.tolist() == [1, 4]
    np.testing.assert_allclose(tracks.confidence, [0.9, 0.7], rtol=1e-6)
    np.testing.assert_allclose(tracks.xyxy[:, 0], [15.0, 75.0], rtol=1e-6)
