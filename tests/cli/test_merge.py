"""`tfsasm merge`: files and folders, and what is refused."""

import pytest

BROKEN = "".join(f"{f},{i},10.50,20,30,40.00,0.9,-1,-1,-1\n"
                 for f, i in [(2, 4), (1, 4), (40, 9), (41, 9), (41, 5), (200, 5)])  # fmt: skip


def test_a_folder_is_merged_into_another(tfsasm, tmp_path):
    results, output = tmp_path / "results", tmp_path / "merged"
    results.mkdir()
    (results / "a.txt").write_text(BROKEN.replace("41,5,", "300,5,"))
    (results / "b.txt").write_text("")
    outcome = tfsasm("merge", "--results", results, "--output", output)
    assert outcome.code == 0, outcome.err
    assert "a: 3 identities, 2 after merging" in outcome.out
    assert "b: 0 identities, 0 after merging" in outcome.out
    assert "offline" in outcome.out
    assert sorted(path.name for path in output.iterdir()) == ["a.txt", "b.txt"]
    assert (output / "b.txt").read_text() == ""

    again = tfsasm("merge", "--results", results, "--output", output)
    assert again.code == 2
    assert "a.txt exists" in again.err
    wide = tfsasm("merge", "--results", results, "--output", output, "--overwrite", "--max-gap", 30)
    assert "a: 3 identities, 3 after merging" in wide.out


def test_gaps_are_filled_with_or_without_joins(tfsasm, tmp_path):
    (tmp_path / "a.txt").write_text(BROKEN.replace("41,9,", "43,9,"))
    words = ("merge", "--results", tmp_path / "a.txt", "--output", tmp_path / "new.txt",
             "--overwrite", "--interpolate")  # fmt: skip
    joined = tfsasm(*words, 50, "--min-gap", 20)
    assert "a: 3 identities, 3 after merging, 2 boxes added" in joined.out
    filled = tfsasm(*words, 200, "--max-gap", 0)
    assert "a: 3 identities, 3 after merging, 160 boxes added" in filled.out
    assert (tmp_path / "new.txt").read_text().count("\n") == 6 + 160

    below = tfsasm(*words, -1)
    assert below.code == 2
    assert "--interpolate is -1; give frames" in below.err


def test_a_file_is_merged_into_a_file(tfsasm, tmp_path):
    (tmp_path / "a.txt").write_text(BROKEN)
    outcome = tfsasm("merge", "--results", tmp_path / "a.txt", "--output", tmp_path / "new.txt")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "new.txt").read_text().count("\n") == 6


def test_help_warns_that_the_result_is_offline(tfsasm):
    words = " ".join(tfsasm("merge", "--help").out.replace("│", " ").split())
    assert "OFFLINE: it uses future frames" in words


@pytest.mark.parametrize(("results", "output", "message"), [
    pytest.param("r/a.txt", "r/a.txt", "is an input", id="onto itself"),
    pytest.param("r", "r", "is an input", id="a folder onto itself"),
    pytest.param("r", "r/a.txt", "is a file; give a folder", id="a folder into a file"),
    pytest.param("empty", "new", "no result files", id="nothing to merge"),
    pytest.param("nowhere", "new", "cannot read", id="nothing there"),
    pytest.param("r/bad", "new", "bad.txt:1: too few fields", id="a bad line"),
])
def test_bad_requests_are_refused_before_anything_is_written(
    tfsasm, tmp_path, results, output, message
):
    for name, text in (("r/a.txt", BROKEN), ("r/bad/a.txt", BROKEN), ("r/bad/bad.txt", "1,2")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "empty").mkdir()
    outcome = tfsasm("merge", "--results", tmp_path / results, "--output", tmp_path / output)
    assert outcome.code == 2
    assert message in outcome.err
    assert not list((tmp_path / "new").glob("*")) if (tmp_path / "new").exists() else True
    assert (tmp_path / "r" / "a.txt").read_text() == BROKEN


def test_corrections_of_the_page_are_applied(tfsasm, tmp_path):
    (tmp_path / "a.txt").write_text(BROKEN)
    by_hand = tmp_path / "a.corrections.json"
    by_hand.write_text('{"video": "a", "corrections": [{"merge": [4, 9]}, {"delete": 5}]}')
    words = ("merge", "--results", tmp_path / "a.txt", "--corrections", by_hand)
    outcome = tfsasm(*words, "--output", tmp_path / "new.txt")
    assert outcome.code == 0, outcome.err
    assert "a: 3 identities, 1 after merging" in outcome.out
    assert "corrected by hand" in outcome.out
    ids = [line.split(",")[1] for line in (tmp_path / "new.txt").read_text().splitlines()]
    assert ids == ["4"] * 4

    folder = tfsasm("merge", "--results", tmp_path, "--corrections", by_hand, "--output", "b")
    assert folder.code == 2
    assert "give its file" in folder.err
