import numpy as np
import pytest

from helpers.walks import RATES, assert_same, flawed, official, save, walk
from tfsasm.errors import InputError
from tfsasm.evaluation.metrics import ALPHAS, Report, score, score_sequence
from tfsasm.evaluation.score import score_folders
from tfsasm.evaluation.trajectories import Trajectories

EMPTY = Trajectories.empty()


@pytest.fixture
def folders(tmp_path):
    """Two sequences of unlike length, as files: ground truth and results, 40 and 20 frames."""
    for name, frames, objects, seed in (("long", 40, 9, 1), ("short", 20, 3, 2)):
        truth = walk(frames, objects, seed)
        save(tmp_path / "gt" / name / "gt" / "gt.txt", truth, "1,1,1")
        save(tmp_path / "results" / "ours" / "data" / f"{name}.txt", flawed(truth, seed),
             "0.9,-1,-1,-1")
    return tmp_path / "gt", tmp_path / "results"


def score_files(gt, results) -> Report:
    return score_folders(gt, results / "ours").report


def test_scores_are_those_of_trackevals_own_evaluator(folders):
    theirs = official(*folders, {"long": 40, "short": 20}, DO_PREPROC=False)
    report = score_files(*folders)
    ours = {**report.sequences, "COMBINED_SEQ": report.combined}
    assert ours.keys() == theirs.keys()
    for name, scores in ours.items():
        assert 10 < scores.HOTA < 90, "the case is worth comparing"
        assert_same(scores, theirs[name])


def test_a_second_implementation_agrees(folders):
    evaluation = pytest.importorskip("trackers.eval", reason="needs tfsasm[baselines]")
    gt, results = folders
    theirs = evaluation.evaluate_mot_sequences(
        gt, results / "ours" / "data", metrics=["CLEAR", "HOTA", "Identity"]
    ).aggregate
    ours = score_files(gt, results).combined
    rates = ours.HOTA, ours.AssA, ours.MOTA, ours.IDF1
    expected = theirs.HOTA.HOTA, theirs.HOTA.AssA, theirs.CLEAR.MOTA, theirs.Identity.IDF1
    assert rates == pytest.approx([100 * rate for rate in expected], abs=1e-6)
    assert theirs.CLEAR.IDSW == ours.IDSW


def test_scoring_prints_nothing(capsys):
    truth = walk(20, 3, 2)
    score({"a": truth}, {"a": flawed(truth, 2)})
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_a_perfect_result_scores_a_hundred():
    truth = walk(30, 5, 3)
    scores = score_sequence(truth, truth)
    assert [getattr(scores, rate) for rate in (*RATES, "MOTA", "IDF1")] == pytest.approx([100] * 10)
    assert (scores.IDSW, scores.FP, scores.FN) == (0, 0, 0)


@pytest.mark.parametrize(("truth", "tracks", "false", "missed"), [
    pytest.param(walk(20, 3, 2), EMPTY, 0, len(walk(20, 3, 2)), id="nothing tracked"),
    pytest.param(EMPTY, walk(20, 3, 2), len(walk(20, 3, 2)), 0, id="no people"),
    pytest.param(EMPTY, EMPTY, 0, 0, id="no people and nothing tracked"),
    pytest.param(walk(20, 3, 2), walk(20, 3, 2)[walk(20, 3, 2).frames == 99], 0,
                 len(walk(20, 3, 2)), id="every track filtered away"),
])
def test_an_empty_side_is_a_normal_case(truth, tracks, false, missed):
    for frames in (None, 20):
        scores = score_sequence(truth, tracks, frames)
        assert (scores.HOTA, scores.IDF1, scores.LocA) == (0, 0, 100)
        counts = scores.FP, scores.FN
        assert counts == (false, missed)


def test_an_empty_sequence_beside_a_full_one_counts_its_misses():
    full, missed = walk(30, 5, 3), walk(20, 3, 2)
    report = score({"full": full, "missed": missed}, {"full": full, "missed": EMPTY})
    combined = report.to_json()["combined"]
    assert report.sequences["full"].to_json()["HOTA"] == pytest.approx(100)
    assert combined["FN"] == len(missed)
    share = len(full) / (len(full) + len(missed))
    assert combined["DetA"] == pytest.approx(100 * share), "boxes weigh, not sequences"


def test_frames_absent_on_either_side_are_misses_and_false_boxes():
    truth = Trajectories.of([1, 2, 9], [1, 1, 1], [[0, 0, 10, 10]] * 3)
    tracks = Trajectories.of([2, 3, 4], [5, 5, 5], [[0, 0, 10, 10]] * 3)
    scores = score_sequence(truth, tracks, frames=12)
    assert (scores.FN, scores.FP) == (2, 2)


def test_order_of_rows_and_names_of_identities_do_not_matter():
    truth = walk(40, 9, 1)
    tracks = flawed(truth, 1)
    shuffled = tracks[np.random.default_rng(0).permutation(len(tracks))]
    renamed = Trajectories.of(shuffled.frames, 10**12 - shuffled.ids, shuffled.ltwh)
    expected = score_sequence(truth, tracks).to_json()
    assert score_sequence(truth, renamed).to_json() == pytest.approx(expected)


def test_a_box_without_area_overlaps_nothing():
    flat = Trajectories.of([1], [1], [[5, 5, 0, 0]])
    assert score_sequence(flat, flat).FP == 1


ONE = [[0, 0, 10, 10]]


@pytest.mark.parametrize(("tracks", "message"), [
    pytest.param(Trajectories.of([3, 3], [7, 7], ONE * 2),
                 "dance1: result has id 7 twice in frame 3", id="an id twice in a frame"),
    pytest.param(Trajectories.of([11], [7], ONE),
                 "dance1: result has frame 11, but the frames are 1 to 10", id="after the end"),
    pytest.param(Trajectories.of([0], [7], ONE),
                 "dance1: result has frame 0, but the frames are 1 to 10", id="frames from 0"),
    pytest.param(Trajectories.of([2], [7], [[0, 0, float("nan"), 1]]),
                 "dance1: result has a box that is not finite in frame 2", id="not a number"),
])
def test_a_bad_table_is_named(tracks, message):
    truth = Trajectories.of([1], [1], ONE)
    with pytest.raises(InputError, match=message):
        score({"dance1": truth}, {"dance1": tracks}, {"dance1": 10})
    with pytest.raises(InputError, match=message.replace("result", "ground truth")):
        score({"dance1": tracks}, {"dance1": truth}, {"dance1": 10})


@pytest.mark.parametrize(("truths", "results", "message"), [
    pytest.param({}, {}, "no sequence", id="nothing to score"),
    pytest.param({"a": EMPTY, "b": EMPTY}, {"a": EMPTY}, "no result for b", id="result missing"),
    pytest.param({"a": EMPTY}, {"a": EMPTY, "c": EMPTY}, "no ground truth for c", id="surplus"),
])
def test_sequences_must_be_on_both_sides(truths, results, message):
    with pytest.raises(InputError, match=message):
        score(truths, results)


def test_progress_is_told_of_each_sequence():
    truth, names = walk(20, 3, 2), []
    score({"a": truth, "b": truth}, {"b": truth, "a": truth}, progress=names.append)
    assert names == ["a", "b"]


def test_curves_have_a_value_per_threshold():
    truth = walk(20, 3, 2)
    scores = score_sequence(truth, flawed(truth, 2))
    assert len(ALPHAS) == 19
    assert (ALPHAS[0], ALPHAS[-1]) == (0.05, 0.95)
    for rate, curve in scores.curves.items():
        assert getattr(scores, rate) == pytest.approx(np.mean(curve))
