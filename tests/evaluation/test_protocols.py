"""The benchmarks' rules, against TrackEval's own front end on files."""

from dataclasses import replace

import numpy as np
import pytest

from helpers.walks import assert_same, flawed, official, save, save_classes, walk
from tfsasm.errors import InputError
from tfsasm.evaluation.protocols import (
    PROTOCOLS,
    apply_protocol,
    counted,
    guess_dataset,
    matched,
    trajectories,
    uncounted,
)
from tfsasm.evaluation.result_files import Files
from tfsasm.evaluation.score import score_files
from tfsasm.motchallenge import read_tracks

BOX = "100,50,40,90"
AWAY = "400,50,40,90"


def files(tmp_path, truth, result, length=None):
    """One sequence from the lines of its two files."""
    (tmp_path / "gt.txt").write_text("\n".join(truth))
    (tmp_path / "seq.txt").write_text("\n".join(result))
    return {"seq": Files(tmp_path / "gt.txt", tmp_path / "seq.txt", length)}


def scored(tmp_path, dataset, truth, result):
    return score_files(files(tmp_path, truth, result), dataset).report.combined


# A pedestrian and a person who does not count; the tracker finds both.
FOUND = [f"{n},{i},{box},1,-1,-1,-1" for n in (1, 2, 3) for i, box in ((1, BOX), (2, AWAY))]


def truth_with(kind):
    return [f"{n},{i},{box},{mark},{label},1" for n in (1, 2, 3)
            for i, box, mark, label in ((1, BOX, 1, 1), (2, AWAY, 0, kind))]  # fmt: skip


@pytest.mark.parametrize(("kind", "exempting"), [
    pytest.param(2, {"mot16", "mot17", "mot20", "dancetrack", "sportsmot"}, id="on a vehicle"),
    pytest.param(7, {"mot16", "mot17", "mot20", "dancetrack", "sportsmot"}, id="a static person"),
    pytest.param(8, {"mot16", "mot17", "mot20", "dancetrack", "sportsmot"}, id="a distractor"),
    pytest.param(12, {"mot16", "mot17", "mot20", "dancetrack", "sportsmot"}, id="a reflection"),
    pytest.param(6, {"mot20"}, id="a vehicle that is none of the benchmark's"),
    pytest.param(1, set(), id="a person without a mark"),
    pytest.param(3, set(), id="a car"),
])
def test_forgetting_which_results_are_exempt_costs_points(tmp_path, kind, exempting):
    for dataset in PROTOCOLS:
        scores = scored(tmp_path, dataset, truth_with(kind), FOUND)
        if dataset in exempting:
            assert (pytest.approx(100), 100, 0) == (scores.HOTA, scores.MOTA, scores.FP), dataset
        else:
            assert (scores.MOTA, scores.FP, scores.FN) == (0, 3, 0), dataset
            assert pytest.approx(100 * 0.5**0.5) == scores.HOTA, dataset


def test_all_rows_compete_for_a_result_before_it_is_exempt(tmp_path):
    """One result over a pedestrian and a distractor belongs to whom it covers better."""
    shifted = "104,50,40,90"
    truth = [f"1,1,{BOX},1,1,1", f"1,2,{shifted},0,8,1"]
    near, far = [f"1,5,{BOX},1"], [f"1,5,{shifted},1"]
    assert scored(tmp_path, "mot17", truth, near).FN == 0
    assert scored(tmp_path, "mot17", truth, far).FN == 1, "taken out, though it covers a person"
    assert scored(tmp_path, "mot", truth, far).FN == 0


def test_half_an_overlap_is_enough_to_be_exempt(tmp_path):
    truth = ["1,1,0,0,10,10,0,8,1", f"1,9,{BOX},1,1,1"]
    half, less = ["1,5,0,0,10,5,1"], ["1,5,0,0,10,4.99,1"]
    assert scored(tmp_path, "mot17", truth, half).FP == 0
    assert scored(tmp_path, "mot17", truth, less).FP == 1


@pytest.mark.parametrize(("dataset", "benchmark"), [
    ("mot15", "MOT15"), ("mot16", "MOT16"), ("mot17", "MOT17"), ("mot20", "MOT20"),
    pytest.param("dancetrack", "MOT17", id="dancetrack: its own README calls it so"),
    pytest.param("sportsmot", "sportsmot", id="sportsmot: as its evaluation kit calls it"),
    pytest.param("mot17", "DO_PREPROC", id="and without the rule something else comes out"),
])
def test_scores_are_those_of_trackevals_front_end(tmp_path, dataset, benchmark):
    """People, vehicles and things of all classes, with and without marks, in two sequences."""
    pairs, lengths = {}, {"long": 50, "short": 25}
    for name, objects, seed in (("long", 24, 1), ("short", 10, 4)):
        truth, result = tmp_path / f"gt/{name}/gt/gt.txt", tmp_path / f"t/ours/data/{name}.txt"
        table = walk(lengths[name], objects, seed)
        save_classes(truth, table, seed)
        save(result, flawed(table, seed), "0.9,-1,-1,-1")
        pairs[name] = Files(truth, result, lengths[name])
    report = score_files(pairs, dataset).report
    settings = {"DO_PREPROC": False} if benchmark == "DO_PREPROC" else {}
    theirs = official(
        tmp_path / "gt", tmp_path / "t", lengths, "MOT17" if settings else benchmark, **settings
    )
    for name, scores in {**report.sequences, "COMBINED_SEQ": report.combined}.items():
        assert 5 < scores.HOTA < 90, "the case is worth comparing"
        if settings:
            assert pytest.approx(100 * theirs[name]["HOTA"]["HOTA"].mean(), abs=0.1) != scores.HOTA
        else:
            assert_same(scores, theirs[name])


def test_a_second_implementation_exempts_the_same(tmp_path):
    evaluation = pytest.importorskip("trackers.eval", reason="needs tfsasm[baselines]")
    truth, result = tmp_path / "gt/MOT17-02/gt/gt.txt", tmp_path / "results/MOT17-02.txt"
    table = walk(50, 24, 1)
    save_classes(truth, table, 1)
    save(result, flawed(table, 1), "0.9,-1,-1,-1")
    (truth.parent.parent / "seqinfo.ini").write_text("[Sequence]\nname=MOT17-02\nseqLength=50\n")
    theirs = evaluation.evaluate_mot_sequences(
        tmp_path / "gt", tmp_path / "results", metrics=["CLEAR", "HOTA", "Identity"]
    ).aggregate
    ours = score_files({"MOT17-02": Files(truth, result, 50)}, "mot17").report.combined
    rates = ours.HOTA, ours.DetA, ours.AssA, ours.MOTA, ours.IDF1
    expected = (
        theirs.HOTA.HOTA, theirs.HOTA.DetA, theirs.HOTA.AssA, theirs.CLEAR.MOTA,
        theirs.Identity.IDF1,
    )
    assert rates == pytest.approx([100 * rate for rate in expected], abs=1e-6)
    assert theirs.CLEAR.IDSW == ours.IDSW


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
    file = tmp_path / "gt.txt"
    file.write_text("\n".join(lines))
    truth = read_tracks(file, lax=True)
    assert trajectories(truth)[counted(truth, PROTOCOLS["mot"])].ids.tolist() == kept


@pytest.mark.parametrize(("dataset", "kept"), [
    pytest.param("mot", [1, 2], id="half a mark is a mark"),
    pytest.param("mot17", [1], id="TrackEval cuts what follows the point"),
    pytest.param("mot15", [1, 3], id="MOT15 has no classes"),
])
def test_rows_of_one_file_by_the_rules_of_each(tmp_path, dataset, kept):
    lines = [f"1,1,{BOX},1,1,1", f"1,2,{BOX},0.5,1,1", f"1,3,{BOX},1,7,1", f"1,4,{BOX},0,1,1"]
    (tmp_path / "gt.txt").write_text("\n".join(lines))
    table = read_tracks(tmp_path / "gt.txt")
    assert table.identity[counted(table, PROTOCOLS[dataset])].tolist() == kept


@pytest.mark.parametrize(("truth", "result", "message"), [
    pytest.param(f"3,1,{BOX},1,14,1", f"1,1,{BOX},1",
                 r"seq: ground truth has 14 as the class in frame 3; mot17 has 1 to 13 .* mot$",
                 id="a class that there is not"),
    pytest.param(f"3,1,{BOX},1", f"1,1,{BOX},1", "has -1 as the class in frame 3", id="no class"),
    pytest.param(f"1,1,{BOX},1,1,1", f"2,1,{BOX},1,3,-1,-1",
                 "seq: result has class 3 in frame 2; mot17 scores pedestrians", id="a car found"),
    pytest.param([f"1,1,{BOX},1,1,1", f"1,8,{BOX},0,7,1", f"1,8,{BOX},0,7,1"], f"1,1,{BOX},1",
                 r"gt.txt has id 8 twice in frame 1", id="also rows that do not count"),
])
def test_what_a_benchmark_does_not_know_is_refused(tmp_path, truth, result, message):
    truth = [truth] if isinstance(truth, str) else truth
    with pytest.raises(InputError, match=message):
        score_files(files(tmp_path, truth, [result]), "mot17")


def test_plain_files_may_hold_other_things_in_the_eighth_column(tmp_path):
    truth = [f"1,1,{BOX},1,-4.2,7.5,0"]
    assert scored(tmp_path, "mot15", truth, [f"1,1,{BOX},1,-1,-1,-1"]).MOTA == 100
    assert scored(tmp_path, "mot", truth, [f"1,1,{BOX},1,55,3,1"]).MOTA == 100


@pytest.mark.parametrize(("names", "dataset"), [
    (["MOT17-02-FRCNN", "MOT17-04-DPM", "MOT17-05"], "mot17"),
    (["MOT16-02"], "mot16"), (["MOT20-01", "MOT20-05"], "mot20"),
    (["TUD-Campus", "PETS09-S2L1", "KITTI-17", "ETH-Bahnhof", "Venice-2", "ADL-Rundle-6"], "mot15"),
    (["dancetrack0004", "dancetrack0100"], "dancetrack"),
    (["v_-6Os86HzwCs_c001", "v_4LXTUim5anY_c013"], "sportsmot"),
    pytest.param(["dancetrack0004", "MOT17-02"], None, id="a mixture"),
    pytest.param(["dancetrack0004", "mine"], None, id="one that is unknown"),
    pytest.param(["dancetrack4"], None, id="nearly a name"),
    pytest.param([], None, id="nothing"),
])
def test_names_of_sequences_tell_the_benchmark(names, dataset):
    assert guess_dataset(names) == dataset


CARS = replace(PROTOCOLS["mot"], counted=(3,))


def rows_of(tmp_path, *labels, marks=None):
    """A row per label, in frames 1, 2, ..."""
    marks = marks or [1] * len(labels)
    pairs = zip(labels, marks, strict=True)
    lines = [f"{n},{n},{BOX},{mark},{label},1" for n, (label, mark) in enumerate(pairs, 1)]
    (tmp_path / "rows.txt").write_text("\n".join(lines))
    return read_tracks(tmp_path / "rows.txt")


def test_classes_that_are_asked_for_are_scored_alone(tmp_path):
    """A result without a class is one of them."""
    truth = rows_of(tmp_path, 1, 3, 3.5, 3, 7, marks=[1, 1, 1, 0, 1])
    result = rows_of(tmp_path, 1, 3, -1, 0, 7)
    wanted, found = apply_protocol(CARS, truth, result, "seq")
    assert (wanted.frames.tolist(), found.frames.tolist()) == ([2, 3], [2, 3, 4])


@pytest.mark.parametrize(("labels", "marks", "protocol", "said"), [
    pytest.param([1, 3, 7, 3], None, "mot", "3 of 4 boxes of the ground truth are of class 3 7 and "
                 "do not count; --classes 1 3 7 counts them", id="others"),
    pytest.param([1, 3, 7], [1, 0, 1], "mot", "1 of 3 boxes of the ground truth are of class 7 and "
                 "do not count; --classes 1 7 counts them", id="others, one without a mark"),
    pytest.param([1, 1], None, "mot", "", id="people alone"),
    pytest.param([1, 14], None, "mot", "", id="no classes, for there are 13"),
    pytest.param([1, 13], None, "mot", "1 of 2 boxes of the ground truth are of class 13 and do "
                 "not count; --classes 1 13 counts them", id="the last class"),
    pytest.param([1, 3], None, "mot17", "", id="a benchmark has rules"),
])
def test_rows_that_do_not_count_for_their_class_are_told(tmp_path, labels, marks, protocol, said):
    truth, result = rows_of(tmp_path, *labels, marks=marks), rows_of(tmp_path, -1)
    assert uncounted(truth, result, PROTOCOLS[protocol]) == ([said] if said else [])


@pytest.mark.parametrize(("truth", "labels", "said"), [
    pytest.param(1, [1, 3, -1], ["1 of 3 boxes of the result are of class 3 and count as "
                                 "pedestrians; --classes 1 leaves them out"], id="a car"),
    pytest.param(1, [1, -1], [], id="people, and one of no class"),
    pytest.param(1, [1, 2.5], [], id="positions on the ground"),
    pytest.param(-1, [1, 3], [], id="a truth without classes"),
])
def test_results_of_a_class_that_does_not_count_are_told(tmp_path, truth, labels, said):
    rows = rows_of(tmp_path, truth), rows_of(tmp_path, *labels)
    assert uncounted(*rows, PROTOCOLS["mot"]) == said


def test_nothing_is_told_where_classes_were_asked_for(tmp_path):
    assert uncounted(rows_of(tmp_path, 1, 3), rows_of(tmp_path, 1, 3), CARS) == []


def test_a_pedestrian_among_results_is_no_class_to_refuse(tmp_path):
    truth, result = rows_of(tmp_path, 1), rows_of(tmp_path, 1, 2)
    with pytest.raises(InputError, match="result has class 2 in frame 2"):
        apply_protocol(PROTOCOLS["mot17"], truth, result, "seq")
    assert len(apply_protocol(PROTOCOLS["mot17"], truth, result[:1], "seq")[1]) == 1


def test_overlaps_of_half_or_more_are_matched_and_none_below():
    rows, columns = matched(np.array([[0.5, 0.0], [0.9, 0.49]]))
    assert (rows.tolist(), columns.tolist()) == ([1], [0])
