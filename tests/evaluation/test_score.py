"""Folders of files: which belong together, and what is said of those that stand alone."""

import pytest

from helpers.walks import flawed, save, walk
from tfsasm.errors import InputError
from tfsasm.evaluation.result_files import Files
from tfsasm.evaluation.score import score_files, score_folders

INFO = "[Sequence]\nname=x\nimDir=img1\nframeRate=25\nseqLength={}\nimWidth=640\nimHeight=480\n"
LINE = "1,1,10,10,20,40,1"


@pytest.fixture
def folders(tmp_path):
    """Ground truth of `a` and `b`, and results of both."""
    for name, seed in (("a", 1), ("b", 2)):
        truth = walk(20, 4, seed)
        save(tmp_path / "gt" / name / "gt" / "gt.txt", truth, "1,1,1")
        save(tmp_path / "results" / f"{name}.txt", flawed(truth, seed), "0.9,-1,-1,-1")
    return tmp_path / "gt", tmp_path / "results"


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def test_trackevals_own_layout_gives_the_same_scores(folders, tmp_path):
    gt, results = folders
    plain = score_folders(gt, results)
    (results / "data").mkdir()
    for path in results.glob("*.txt"):
        path.rename(results / "data" / path.name)
    write(results / "pedestrian_summary.txt", "HOTA DetA", "1 2")
    inner = score_folders(gt, results)
    assert inner.report.to_json() == plain.report.to_json()
    assert inner.left_out == {}


def test_splits_may_stand_between(folders, tmp_path):
    gt, results = folders
    (tmp_path / "root").mkdir()
    gt.rename(tmp_path / "root" / "val")
    assert set(score_folders(tmp_path / "root", results).report.sequences) == {"a", "b"}
    write(tmp_path / "root" / "train" / "a" / "gt" / "gt.txt", LINE)
    with pytest.raises(InputError, match=r"val/a have the same name; give one split"):
        score_folders(tmp_path / "root", results)


def test_what_the_rules_are_is_said(folders):
    plain, named = score_folders(*folders), score_folders(*folders, "mot20")
    assert (plain.dataset, named.dataset) == ("mot", "mot20")
    assert "no box is exempt" in plain.notes[0]
    assert named.notes == ()
    gt, results = folders
    for name in ("a", "b"):
        (gt / name).rename(gt / f"MOT20-0{ord(name) - 96}")
        (results / f"{name}.txt").rename(results / f"MOT20-0{ord(name) - 96}.txt")
    guessed = score_folders(gt, results)
    assert guessed.dataset == "mot20"
    assert "scored as mot20, by the names" in guessed.notes[0]
    with pytest.raises(InputError, match="no rules for 'mot99'; there are those of dancetrack"):
        score_folders(gt, results, "mot99")


def surplus(gt, results):
    write(results / "c.txt", LINE)
    return "c: no ground truth (no folder of that name)"


def withheld(gt, results):
    write(gt / "c" / "seqinfo.ini", INFO.format(9))
    write(results / "c.txt", LINE)
    return "c has no gt/gt.txt"


def unanswered(gt, results):
    write(gt / "c" / "gt" / "gt.txt", LINE)
    return "c: no result c.txt"


def doubled(gt, results):
    write(gt / "c" / "gt" / "gt.txt", LINE)
    write(results / "c.txt", LINE)
    write(results / "data" / "c.txt", LINE)
    return "c: it has two results, "


def id_twice(gt, results):
    write(gt / "c" / "gt" / "gt.txt", LINE)
    write(results / "c.txt", LINE, LINE)
    return "results/c.txt has id 1 twice in frame 1"


def too_late(gt, results):
    write(gt / "c" / "gt" / "gt.txt", LINE)
    write(gt / "c" / "seqinfo.ini", INFO.format(9))
    write(results / "c.txt", "10,1,10,10,20,40,1")
    return "results/c.txt has frame 10, but the frames are 1 to 9"


def bad_line(gt, results):
    write(gt / "c" / "gt" / "gt.txt", LINE)
    write(results / "c.txt", LINE, "2,1,10,10")
    return "results/c.txt:2: too few fields"


def bad_truth(gt, results):
    write(gt / "c" / "gt" / "gt.txt", "hello")
    write(results / "c.txt", LINE)
    return "c/gt/gt.txt:1: too few fields"


def bad_length(gt, results):
    write(gt / "c" / "gt" / "gt.txt", LINE)
    write(gt / "c" / "seqinfo.ini", INFO.format("many"))
    write(results / "c.txt", LINE)
    return "seqLength=many is not a number"


def same_video(gt, results):
    write(gt / "MOT17-02-DPM" / "gt" / "gt.txt", LINE)
    write(results / "MOT17-02.txt", LINE)
    write(results / "MOT17-02-SDP.txt", LINE)
    return "MOT17-02.txt and MOT17-02-SDP.txt are results of the same video"


@pytest.mark.parametrize("spoil", [
    surplus, withheld, unanswered, doubled, id_twice, too_late, bad_line, bad_truth, bad_length,
    same_video,
])  # fmt: skip
def test_what_cannot_be_scored_is_named_and_the_rest_scored_if_asked(folders, spoil):
    whole = score_folders(*folders).report
    message = spoil(*folders)
    with pytest.raises(InputError) as caught:
        score_folders(*folders)
    assert str(caught.value).startswith("1 sequence cannot be scored: ")
    assert message in str(caught.value)
    assert str(caught.value).endswith("mend it, or score the rest with --allow-missing")

    scored = score_folders(*folders, allow_missing=True)
    assert {"a", "b"} <= set(scored.report.sequences)
    [(name, why)] = scored.left_out.items()
    assert f"{name}: {why}" in str(caught.value)
    if spoil is not same_video:  # its other half is scored
        assert scored.report == whole


def test_many_problems_are_counted(folders):
    gt, results = folders
    for index in range(5):
        write(gt / f"s{index}" / "gt" / "gt.txt", LINE)
    with pytest.raises(InputError, match=r"^5 sequences .* s2: no result s2.txt and 2 more; mend"):
        score_folders(gt, results)


def test_nothing_left_is_an_error_all_the_same(folders):
    gt, results = folders
    for path in results.glob("*.txt"):
        path.write_text("hello\n")
    with pytest.raises(InputError, match=r"^2 sequences cannot be scored: .*correct the line$"):
        score_folders(gt, results, allow_missing=True)


def test_empty_sides_are_scored_and_mentioned(folders):
    gt, results = folders
    write(gt / "c" / "gt" / "gt.txt", "1,1,10,10,20,40,0")
    write(results / "c.txt", LINE)
    write(gt / "d" / "gt" / "gt.txt", LINE)
    write(results / "d.txt")
    scored = score_folders(gt, results)
    counts = [(scored.report.sequences[name].FP, scored.report.sequences[name].FN) for name in "cd"]
    assert counts == [(1, 0), (0, 1)]
    assert scored.notes[1:] == ("c: no box of the ground truth counts", "d: the result has no box")


@pytest.mark.parametrize("names", [
    pytest.param(["MOT17-02-FRCNN"], id="one of the three copies"),
    pytest.param(["MOT17-02"], id="the video"),
    pytest.param(["MOT17-02-DPM", "MOT17-02-FRCNN", "MOT17-02-SDP"], id="all three"),
])
def test_a_result_of_a_mot17_video_answers_for_its_copies(tmp_path, names):
    for detector in ("DPM", "FRCNN", "SDP"):
        write(tmp_path / "gt" / f"MOT17-02-{detector}" / "gt" / "gt.txt", f"{LINE},1,1")
    for name in names:
        write(tmp_path / "results" / f"{name}.txt", LINE)
    scored = score_folders(tmp_path / "gt", tmp_path / "results")
    assert list(scored.report.sequences) == names
    assert (scored.dataset, scored.report.combined.MOTA) == ("mot17", 100)


def test_frames_after_the_last_truth_are_false_where_no_length_is_known(tmp_path):
    write(tmp_path / "gt.txt", LINE)
    write(tmp_path / "r.txt", LINE, "9,1,10,10,20,40,1")
    pair = {"a": Files(tmp_path / "gt.txt", tmp_path / "r.txt", None)}
    assert score_files(pair).report.combined.FP == 1


@pytest.mark.parametrize(("gt", "results", "message"), [
    pytest.param("nowhere", "results", "nowhere is not a folder", id="no truth"),
    pytest.param("gt", "nowhere", "no result files NAME.txt in .*nowhere", id="no results"),
    pytest.param("gt", "results/a.txt", "a.txt is a file; give the folder of NAME", id="one file"),
])
def test_a_side_that_is_not_there_is_named(folders, tmp_path, gt, results, message):
    with pytest.raises(InputError, match=message):
        score_folders(tmp_path / gt, tmp_path / results)
