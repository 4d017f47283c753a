"""`tfsasm score` as it is called."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from helpers.walks import assert_same, official
from tfsasm.evaluation.score import score_folders
from tfsasm.motchallenge import read_tracks

LINES = [f"{n},{who},{10 * who},5,8,20,1,1,1" for n in (1, 2, 3) for who in (1, 2)]


@pytest.fixture
def folders(tmp_path):
    """Truth of two sequences, and results that equal it."""
    for name in ("seq1", "seq2"):
        for path in (tmp_path / "gt" / name / "gt" / "gt.txt", tmp_path / "r" / f"{name}.txt"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(LINES))
    return "--gt", tmp_path / "gt", "--results", tmp_path / "r"


def test_the_truth_gets_full_marks(tfsasm, folders, tmp_path):
    outcome = tfsasm("score", *folders, "--json", tmp_path / "s.json")
    assert outcome.code == 0, outcome.err
    for word in ("HOTA", "AssA", "IDF1", "seq1", "seq2", "combined", "no box is exempt"):
        assert word in outcome.out
    report = json.loads((tmp_path / "s.json").read_text())
    assert (report["combined"]["HOTA"], report["combined"]["IDSW"]) == (100.0, 0)
    assert set(report["sequences"]) == {"seq1", "seq2"}
    assert (report["dataset"], report["left_out"]) == ("mot", {})


def test_everything_that_can_be_written(tfsasm, folders, tmp_path):
    outputs = {"--json": "s.json", "--csv": "s.csv", "--plot": "s.png"}
    flags = [part for flag, name in outputs.items() for part in (flag, tmp_path / "out" / name)]
    assert tfsasm("score", *folders, *flags, "--dataset", "mot17").code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["s.csv", "s.json", "s.png"]
    assert (tmp_path / "out" / "s.csv").read_text().splitlines()[-1].startswith("combined,100.0,")
    for flag, name in outputs.items():
        again = tfsasm("score", *folders, flag, tmp_path / "out" / name)
        assert again.code == 2
        assert f"{name} exists" in again.err
    assert tfsasm("score", *folders, *flags, "--overwrite").code == 0


@pytest.mark.parametrize(("flags", "part"), [
    pytest.param(["--json", "x", "--csv", "x"], "two outputs have the same name", id="twice"),
    pytest.param(["--plot", "x.txt"], "x.txt is not an image file", id="no image"),
    pytest.param(["--results", "nowhere"], "no result files NAME.txt in nowhere", id="no results"),
    pytest.param(["--gt", "nowhere"], "nowhere is not a folder", id="no truth"),
    pytest.param(["--dataset", "mot99"], "mot99", id="no such data set"),
])
def test_bad_requests_are_refused_at_once(tfsasm, folders, tmp_path, monkeypatch, flags, part):
    monkeypatch.chdir(tmp_path)
    outcome = tfsasm("score", *folders, *flags)
    assert outcome.code == 2
    assert part in outcome.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gt", "r"]


def test_what_is_missing_ends_the_work_or_is_left_out(tfsasm, folders, tmp_path):
    (tmp_path / "r" / "seq2.txt").rename(tmp_path / "r" / "other.txt")
    outcome = tfsasm("score", *folders, "--json", tmp_path / "s.json")
    assert outcome.code == 2
    assert "2 sequences cannot be scored: other: no ground truth" in outcome.err
    assert "seq2: no result seq2.txt" in outcome.err
    assert not (tmp_path / "s.json").exists()

    outcome = tfsasm("score", *folders, "--json", tmp_path / "s.json", "--allow-missing")
    assert outcome.code == 0
    assert "combined is of 1 of 3 sequences; left out:" in outcome.out
    assert "  seq2: no result seq2.txt" in outcome.out
    report = json.loads((tmp_path / "s.json").read_text())
    assert set(report["left_out"]) == {"other", "seq2"}
    assert list(report["sequences"]) == ["seq1"]


@pytest.mark.data
def test_real_results_score_as_trackevals_front_end_says(tmp_path):
    """MOT17, the second halves, against their own truth with a pixel of noise."""
    root = Path(os.environ.get("TFSASM_DATA", "")) / "MOT17" / "val_half"
    if not root.is_dir():
        pytest.skip("set TFSASM_DATA to a folder with MOT17/val_half")
    rng = np.random.default_rng(0)
    place = tmp_path / "ours" / "data"
    place.mkdir(parents=True)
    for folder in root.iterdir():
        table = read_tracks(folder / "gt" / "gt.txt")
        keep = np.isin(table.label, (1, 2, 7, 8, 12)) & (rng.random(len(table)) < 0.8)
        boxes = table.ltwh + rng.normal(0, 3, table.ltwh.shape)
        rows = zip(table.frame[keep], table.identity[keep], boxes[keep].round(2), strict=True)
        text = "".join(f"{f},{i},{','.join(map(str, box))},1,-1,-1,-1\n" for f, i, box in rows)
        (place / f"{folder.name}.txt").write_text(text)
    theirs = official(root, tmp_path, dict.fromkeys(path.name for path in root.iterdir()))
    scored = score_folders(root, place)
    assert scored.dataset == "mot17"
    for name, scores in {**scored.report.sequences, "COMBINED_SEQ": scored.report.combined}.items():
        assert_same(scores, theirs[name])
