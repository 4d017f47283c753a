"""Results and ground truth as people keep them are scored as TrackEval scores them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.walks import assert_same, official
from tfsasm.errors import InputError
from tfsasm.evaluation.score import score_folders

FRAMES = range(1, 11)


def folders(tmp_path: Path, truth: str, result: str) -> tuple[Path, Path]:
    (tmp_path / "gt" / "seq" / "gt").mkdir(parents=True)
    (tmp_path / "gt" / "seq" / "gt" / "gt.txt").write_text(truth)
    (tmp_path / "res").mkdir()
    (tmp_path / "res" / "seq.txt").write_text(result)
    return tmp_path / "gt", tmp_path / "res"


def people(mark: str = "1,1,1") -> list[list[str]]:
    """Two people who walk, a row per person and frame."""
    return [
        [str(n), str(who), str(100 * who + n), "50", "20", "60", *mark.split(",")]
        for n in FRAMES for who in (1, 2)
    ]  # fmt: skip


def text(rows: list[list[str]], between: str = ",") -> str:
    return "".join(between.join(row) + "\n" for row in rows)


@pytest.mark.parametrize("between", [" ", "\t", ";"])
def test_a_result_between_spaces_is_scored(tmp_path, between):
    """roboflow/trackers#214: TrackEval takes them."""
    gt, results = folders(tmp_path, text(people()), text(people("1,-1,-1,-1"), between))
    scores = score_folders(gt, results, "mot").report.combined
    assert (pytest.approx(100), pytest.approx(100)) == (scores.HOTA, scores.IDF1)


@pytest.mark.parametrize("width", ["0", "-3"])
def test_boxes_without_a_size_are_scored_with_a_warning(tmp_path, caplog, width):
    """JonathonLuiten/TrackEval scores a box without area as a miss and a false positive."""
    rows = people("1,-1,-1,-1")
    for row in rows[:4]:
        row[4] = width
    gt, results = folders(tmp_path, text(people()), text(rows))
    scores = score_folders(gt, results, "mot").report.combined
    assert (scores.FP, scores.FN) == (4, 4)
    assert 0 < scores.HOTA < 100
    assert "has 4 box(es) of no or negative size; they are taken as they are" in caplog.text


def changed(column, value, rows=4):
    """A result of two people with another value in one column of its first rows."""
    table = people("1,-1,-1,-1")
    for row in table[:rows]:
        row[column] = value.format(row[column])
    return table


@pytest.mark.parametrize(("rows", "between", "words"), [
    pytest.param(people("1,-1,-1,-1"), " ", "", id="spaces"),
    pytest.param(people("1,-1,-1,-1"), "\t", "", id="tabs"),
    pytest.param(changed(4, "0"), ",", "4 box(es) of no or negative size", id="no width"),
    pytest.param(changed(4, "-3"), ",", "4 box(es) of no or negative size", id="negative width"),
    pytest.param(changed(5, "0"), ",", "4 box(es) of no or negative size", id="no height"),
    pytest.param(changed(1, "{}.7"), ",", "4 line(s) whose frame or id is not a whole number; "
                 "what follows the point is cut", id="fractional ids"),
    pytest.param(changed(0, "{}.5"), ",", "4 line(s) whose frame or id", id="fractional frames"),
    pytest.param(changed(1, "{}.0"), ",", "", id="ids as floats"),
])  # fmt: skip
def test_the_score_is_that_of_trackeval_on_the_same_files(tmp_path, caplog, rows, between, words):
    """JonathonLuiten/TrackEval casts and scores; whoever wraps it must not be stricter."""
    gt, results = folders(tmp_path, text(people()), text(rows, between))
    (tmp_path / "trackers" / "ours").mkdir(parents=True)
    results.rename(tmp_path / "trackers" / "ours" / "data")
    theirs = official(gt, tmp_path / "trackers", {"seq": len(FRAMES)}, DO_PREPROC=False)["seq"]
    scored = score_folders(gt, tmp_path / "trackers" / "ours", "mot")
    assert_same(scored.report.combined, theirs)
    assert words in caplog.text
    assert bool(words) == bool(caplog.text)


@pytest.mark.parametrize("side", ["truth", "result"])
def test_a_file_that_counts_from_0_is_named_as_one(tmp_path, side):
    """FoundationVision/ByteTrack#417: TrackEval's word for it is an invalid timestep."""
    moved = [[str(int(row[0]) - 1), *row[1:]] for row in people()]
    sides = {"truth": people(), "result": people(), side: moved}
    gt, results = folders(tmp_path, text(sides["truth"]), text(sides["result"]))
    with pytest.raises(InputError, match=r"txt:1: frame '0' is below 1, the first frame \(if the "
                       "file counts from 0, add 1 to all its frames"):
        score_folders(gt, results, "mot")


def test_an_identity_that_is_there_twice_once_cut_is_told(tmp_path):
    gt, results = folders(tmp_path, text(people()), text(changed(1, "1.{}", rows=2)))
    with pytest.raises(InputError, match="has id 1 twice in frame 1"):
        score_folders(gt, results, "mot")


def test_a_class_that_does_not_count_is_told_and_can_be_counted(tmp_path):
    """JonathonLuiten/TrackEval#29, #73: custom ground truth with its own classes."""
    rows = people()
    for row in rows[1::2]:
        row[7] = "2"
    gt, results = folders(tmp_path, text(rows), text(people("1,-1,-1,-1")))
    scored = score_folders(gt, results, "mot")
    assert scored.report.combined.FP == 10
    assert (
        "seq: 10 of 20 boxes of the ground truth are of class 2 and do not count; --classes 1 2 "
        "counts them"
    ) in scored.notes
    both = score_folders(gt, results, "mot", classes=(1, 2))
    assert pytest.approx(100) == both.report.combined.HOTA
    assert not any("--classes" in note for note in both.notes)
    second = score_folders(gt, results, "mot", classes=[2])
    assert (second.report.combined.FN, second.report.combined.FP) == (0, 10)


def test_results_with_classes_are_scored_by_the_classes_that_count(tmp_path):
    rows = people()
    for row in rows[1::2]:
        row[7] = "2"
    gt, results = folders(tmp_path, text(rows), text(rows))
    for classes in ([1], [2], [1, 2]):
        scores = score_folders(gt, results, "mot", classes=classes).report.combined
        assert (pytest.approx(100), 0) == (scores.HOTA, scores.FP)


def test_a_benchmark_has_classes_of_its_own(tmp_path):
    gt, results = folders(tmp_path, text(people()), text(people("1,-1,-1,-1")))
    with pytest.raises(InputError, match="the rules of mot17 say which classes count"):
        score_folders(gt, results, "mot17", classes=[1, 2])


@pytest.mark.parametrize("rest", ["nan,-1,-1,-1", "1,-1,-1,-1,5,6,7", "-5,-1,-1,-1"])
def test_columns_that_are_not_scored_may_hold_anything(tmp_path, rest):
    """JonathonLuiten/TrackEval#29: it reads numbers and looks at the first six."""
    gt, results = folders(tmp_path, text(people()), text(people(rest)))
    assert pytest.approx(100) == score_folders(gt, results, "mot").report.combined.HOTA


def test_what_is_scored_can_be_looked_at_and_merged(tfsasm, tmp_path):
    """JonathonLuiten/TrackEval takes boxes without a size and more columns; so do all commands."""
    folder = tmp_path / "seq"
    folder.mkdir()
    for number in FRAMES:
        cv2.imwrite(str(folder / f"{number:06}.jpg"), np.zeros((120, 400, 3), np.uint8))
    odd = changed(4, "-3")
    odd[5] += ["7"] * 9
    (tmp_path / "r.txt").write_text(text(odd))
    for arguments in (
        ("show", "--results", tmp_path / "r.txt", "--source", folder, "--output", tmp_path / "s",
         "--gt", tmp_path / "r.txt", "--quiet"),
        ("view", tmp_path / "r.txt", "--source", folder, "--output", tmp_path / "w.html",
         "--truth", tmp_path / "r.txt"),
        ("merge", "--results", tmp_path / "r.txt", "--output", tmp_path / "m.txt"),
    ):  # fmt: skip
        outcome = tfsasm(*arguments)
        assert outcome.code == 0, outcome.err
    assert (tmp_path / "m.txt").read_text() == text(odd)
