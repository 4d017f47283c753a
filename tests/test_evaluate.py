import json
from pathlib import Path

import numpy as np
import pytest
import trackeval
from rich.console import Console

from tfsasm.errors import InputError
from tfsasm.evaluate import (
    ALPHAS,
    Report,
    Trajectories,
    read_results,
    read_truths,
    report_table,
    score,
    score_sequence,
    scores_table,
)

EMPTY = Trajectories.empty()
RATES = ("HOTA", "DetA", "AssA", "LocA", "DetRe", "DetPr", "AssRe", "AssPr")


def walk(frames, objects, seed) -> Trajectories:
    """Objects that walk about for a while each; frames 4 and 5 show nobody."""
    rng = np.random.default_rng(seed)
    rows = []
    for identity in range(1, objects + 1):
        begin, end = np.sort(rng.integers(1, frames + 1, 2))
        at, step, size = rng.uniform(0, 200, 2), rng.normal(0, 4, 2), rng.uniform(30, 80, 2)
        for frame in range(begin, end + 1):
            if frame not in (4, 5):
                rows.append([frame, 7 * identity, *(at + step * frame), *size])
    table = np.array(rows).round(2)
    return Trajectories.of(table[:, 0], table[:, 1], table[:, 2:])


def flawed(truth, seed) -> Trajectories:
    """What a tracker makes of it: jitter, misses, swapped and broken identities, false boxes."""
    rng = np.random.default_rng(seed)
    kept = truth[rng.random(len(truth)) > 0.2]
    ltwh = kept.ltwh + rng.normal(0, 4, kept.ltwh.shape)
    ids = np.where(kept.frames > 12, kept.ids[::-1].max() + kept.ids, kept.ids)
    false = rng.uniform(20, 200, (8, 4))
    return Trajectories.of(
        np.concatenate([kept.frames, np.arange(4, 12)]),
        np.concatenate([ids, np.full(8, 999)]),
        np.concatenate([ltwh, false]).round(2),
    )


def save(path: Path, table: Trajectories, tail: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = zip(table.frames, table.ids, table.ltwh.tolist(), strict=True)
    lines = (f"{f},{i},{','.join(map(str, box))},{tail}\n" for f, i, box in rows)
    path.write_text("".join(lines))


@pytest.fixture
def folders(tmp_path):
    """Two sequences of unlike length, as files: ground truth and results, 40 and 20 frames."""
    for name, frames, objects, seed in (("long", 40, 9, 1), ("short", 20, 3, 2)):
        truth = walk(frames, objects, seed)
        save(tmp_path / "gt" / name / "gt" / "gt.txt", truth, "1,1,1")
        save(tmp_path / "results" / "ours" / "data" / f"{name}.txt", flawed(truth, seed),
             "0.9,-1,-1,-1")
    return tmp_path / "gt", tmp_path / "results"


def trackeval_from_files(gt, results):
    """What TrackEval's own evaluator makes of the files, preprocessing off."""
    quiet = {"PRINT_CONFIG": False}
    evaluator = trackeval.Evaluator({
        **quiet, "USE_PARALLEL": False, "BREAK_ON_ERROR": True, "LOG_ON_ERROR": None,
        "PRINT_RESULTS": False, "TIME_PROGRESS": False, "OUTPUT_SUMMARY": False,
        "OUTPUT_DETAILED": False, "PLOT_CURVES": False,
    })
    dataset = trackeval.datasets.MotChallenge2DBox({
        **quiet, "GT_FOLDER": str(gt), "TRACKERS_FOLDER": str(results), "SKIP_SPLIT_FOL": True,
        "SEQ_INFO": {"long": 40, "short": 20}, "DO_PREPROC": False,
    })
    metrics = [
        trackeval.metrics.HOTA(), trackeval.metrics.CLEAR(dict(quiet)),
        trackeval.metrics.Identity(dict(quiet)),
    ]
    output, _ = evaluator.evaluate([dataset], metrics)
    per_sequence = output["MotChallenge2DBox"]["ours"]
    return {name: classes["pedestrian"] for name, classes in per_sequence.items()}


def score_files(gt, results) -> Report:
    truths = read_truths(gt)
    return score(truths, read_results(results / "ours" / "data", truths))


def test_scores_are_those_of_trackevals_own_evaluator(folders):
    official = trackeval_from_files(*folders)
    report = score_files(*folders)
    ours = {**report.sequences, "COMBINED_SEQ": report.combined}
    assert ours.keys() == official.keys()
    for name, theirs in official.items():
        hota, clear, identity = theirs["HOTA"], theirs["CLEAR"], theirs["Identity"]
        scores = ours[name]
        assert 10 < scores.HOTA < 90, "the case is worth comparing"
        for rate in RATES:
            assert getattr(scores, rate) == pytest.approx(100 * hota[rate].mean(), abs=1e-6)
            np.testing.assert_allclose(scores.curves[rate], 100 * hota[rate], atol=1e-6)
        rates = scores.MOTA, scores.IDF1
        assert rates == pytest.approx((100 * clear["MOTA"], 100 * identity["IDF1"]), abs=1e-6)
        counts = [clear[key] for key in ("IDSW", "Frag", "CLR_FP", "CLR_FN")]
        assert counts == [scores.IDSW, scores.Frag, scores.FP, scores.FN]


def test_a_second_implementation_agrees(folders):
    evaluation = pytest.importorskip("trackers.eval")
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
    pytest.param(EMPTY, walk(20, 3, 2), len(walk(20, 3, 2)), 0, id="nobody there"),
    pytest.param(EMPTY, EMPTY, 0, 0, id="nobody there and nothing tracked"),
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


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(InputError, match="equally many"):
        Trajectories.of([1, 2], [1], ONE)


def test_frames_in_corners_become_numbered_rows():
    table = Trajectories.from_frames([
        ([4, 2], [[0, 0, 10, 20], [5, 5, 6, 7]]), ([], []), ([2], [[1, 1, 2, 3]]),
    ])
    assert table.frames.tolist() == [1, 1, 3]
    assert table.ids.tolist() == [4, 2, 2]
    assert table.ltwh.tolist() == [[0, 0, 10, 20], [5, 5, 1, 2], [1, 1, 1, 2]]
    assert table.ids.dtype == np.int64
    assert len(Trajectories.from_frames([([], []), ([], [])])) == 0


@pytest.mark.parametrize(("lines", "kept"), [
    pytest.param(["1,1,0,0,9,9,1,1,1", "1,2,0,0,9,9,0,1,1"], [1], id="mark 0 is left out"),
    pytest.param(["1,1,0,0,9,9,1,1,1", "1,2,0,0,9,9,1,7,1", "1,3,0,0,9,9,0,12,1"], [1],
                 id="only pedestrians where there are classes"),
    pytest.param(["1,1,0,0,9,9,1,-4.15,-7.3,0", "1,2,0,0,9,9,1,1,2.5,0"], [1, 2],
                 id="MOT15 has world coordinates in place of classes"),
    pytest.param(["1,1,0,0,9,9,1,-1,-1,-1"], [1], id="MOT15 without world coordinates"),
    pytest.param(["1,1,0,0,9,9,-1", "1,2,0,0,9,9,0"], [1], id="seven columns, mark -1"),
    pytest.param(["1,1,0,0,9,9"], [1], id="boxes alone"),
    pytest.param([], [], id="an empty file"),
])
def test_which_ground_truth_rows_count(tmp_path, lines, kept):
    file = tmp_path / "seq" / "gt" / "gt.txt"
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(lines))
    assert read_truths(tmp_path)["seq"].ids.tolist() == kept


def test_missing_files_are_named(folders, tmp_path):
    gt, results = folders
    with pytest.raises(InputError, match=r"no sequence in .*results"):
        read_truths(results)
    with pytest.raises(InputError, match=r"nobody.gt.gt\.txt"):
        read_truths(gt, ["nobody"])
    with pytest.raises(InputError, match=r"long\.txt"):
        read_results(tmp_path, ["long"])


def test_a_report_as_json_and_as_a_table(folders):
    report = score_files(*folders)
    content = json.loads(json.dumps(report.to_json()))
    assert content["combined"]["HOTA"] == report.combined.HOTA
    assert list(content["sequences"]) == ["long", "short"]
    wanted = {"HOTA", "DetA", "AssA", "LocA", "MOTA", "IDF1", "IDSW", "Frag", "FP", "FN"}
    assert wanted <= content["sequences"]["long"].keys()

    console = Console(width=80)
    with console.capture() as capture:
        console.print(report_table(report, title="two sequences"))
        console.print(scores_table({"ours": report.combined}, label="tracker"))
    text = capture.get()
    assert f"{report.combined.HOTA:.1f}" in text
    for word in ("two sequences", "long", "combined", "tracker", "Frag", "FN"):
        assert word in text


def test_curves_have_a_value_per_threshold():
    truth = walk(20, 3, 2)
    scores = score_sequence(truth, flawed(truth, 2))
    assert len(ALPHAS) == 19
    assert (ALPHAS[0], ALPHAS[-1]) == (0.05, 0.95)
    for rate, curve in scores.curves.items():
        assert getattr(scores, rate) == pytest.approx(np.mean(curve))
