"""`tfsasm datasets check`: its exit codes, its table and its JSON."""

import json

import pytest

from helpers.mot_folders import make


@pytest.fixture
def check(tfsasm, tmp_path):
    return lambda *flags: tfsasm("datasets", "check", "--root", tmp_path / "clips", *flags)


def test_the_exit_code_is_0_without_and_1_with_problems(check, tmp_path):
    folder = make(tmp_path / "clips" / "a")
    good = check()
    assert good.code == 0
    assert "1 sequence(s), 0 problem(s)" in good.out
    with (folder / "gt/gt.txt").open("a") as file:
        file.write("3,1,2,3,4,5,1\n")
    report = tmp_path / "findings.json"
    bad = check("--json", report, "--quiet")
    assert bad.code == 1
    assert "problem: a: gt.txt: an id twice in a frame" in bad.out
    (content,) = json.loads(report.read_text())["datasets"]
    assert content["dataset"] == "mot"
    assert content["problem_count"] == len(content["sequences"][0]["problems"]) == 1


def test_the_table_has_a_row_per_sequence_below_their_common_folder(check, tmp_path):
    make(tmp_path / "clips" / "val" / "a")
    make(tmp_path / "clips" / "val" / "b", truth=False)
    lines = [line.split() for line in check("--quiet").out.splitlines()]
    assert ["a", "3", "32x24", "3", "3", "1", "3", "0", "0"] in lines
    assert ["b", "3", "32x24", "3", "-", "-", "3", "1", "0"] in lines


def test_notes_are_printed_unless_quiet(check, tmp_path):
    make(tmp_path / "clips" / "a", truth=False)
    assert "note: clips: no ground truth" in check().out
    assert "note:" not in check("--quiet").out


def test_an_existing_report_is_kept(check, tmp_path):
    make(tmp_path / "clips" / "a")
    (tmp_path / "findings.json").write_text("old")
    outcome = check("--json", tmp_path / "findings.json")
    assert outcome.code == 2
    assert "findings.json exists; give another name or --overwrite" in outcome.err
    assert (tmp_path / "findings.json").read_text() == "old"
    assert check("--json", tmp_path / "findings.json", "--overwrite").code == 0
