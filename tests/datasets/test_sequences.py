"""The MOT family: what is found, under which layout, and what is said when it is not."""

import pytest

from helpers.mot_folders import make
from tfsasm.datasets.sequences import sequences
from tfsasm.errors import InputError


def names(*given, **more):
    return [sequence.name for sequence in sequences(*given, **more)]


@pytest.fixture
def dance(tmp_path):
    """`data/DanceTrack` with train in two archives, val, and test without truth."""
    root = tmp_path / "data" / "DanceTrack"
    for split, name in (("train1", "d1"), ("train2", "d2"), ("val", "d4"), ("val", "d3")):
        make(root / split / name)
    make(root / "test" / "d9", truth=False, detections=False)
    (root / "val_seqmap.txt").write_text("name\nd3\n")
    return root


# What a sequence knows


def test_a_whole_sequence(dance):
    one = sequences("dancetrack", dance, "val")[0]
    assert (one.name, one.dataset, one.length) == ("d3", "dancetrack", 3)
    assert (one.width, one.height, one.rate) == (32, 24, 20.0)
    folder = dance / "val" / "d3"
    assert one.source == folder / "img1"
    assert one.truth == folder / "gt/gt.txt"
    assert one.detections == folder / "det/det.txt"


def test_what_is_absent_is_none(tmp_path):
    make(tmp_path / "a", images=False, truth=False, detections=False, frames=7)
    (tmp_path / "a" / "img1").mkdir()  # empty: no images
    (one,) = sequences("mot", tmp_path)
    assert (one.length, one.source, one.truth, one.detections) == (7, None, None, None)


@pytest.mark.parametrize(("parts", "length", "size", "origin"), [
    pytest.param({}, 3, (32, 24), "that of img1, 3", id="images"),
    pytest.param({"images": False}, 3, (None, None), "the last frame with a box, 3", id="boxes"),
    pytest.param(
        {"images": False, "truth": False}, 3, (None, None), "the last frame with a box", id="det"),
])  # fmt: skip
def test_without_seqinfo_the_length_is_found_and_that_is_said(
    tmp_path, caplog, parts, length, size, origin
):
    make(tmp_path / "a", info=False, **parts)
    (one,) = sequences("mot", tmp_path)
    assert (one.length, (one.width, one.height), one.rate) == (length, size, None)
    assert f"a declares no length in a seqinfo.ini; it is {origin}" in caplog.text


def test_a_sequence_without_anything_to_count_is_an_error(tmp_path):
    (tmp_path / "a" / "img1").mkdir(parents=True)
    with pytest.raises(InputError, match=r"the length of .*a is unknown: it has no images"):
        sequences("mot", tmp_path)


def test_the_folder_of_images_is_the_one_seqinfo_names(tmp_path):
    folder = make(tmp_path / "a", imDir="frames")
    (folder / "img1").rename(folder / "frames")
    assert sequences("mot", tmp_path)[0].source == folder / "frames"


@pytest.mark.parametrize(("change", "problem"), [
    pytest.param({"seqLength": "many"}, "seqLength=many is not a number such as 600", id="a word"),
    pytest.param({"seqLength": 2.5}, "seqLength=2.5 is not a number such as 600", id="a half"),
    pytest.param({"imWidth": 0}, "imWidth=0 is not", id="zero"),
    pytest.param({"frameRate": "nan"}, "frameRate=nan is not a number such as 30 or", id="NaN"),
])
def test_a_bad_seqinfo_is_named(tmp_path, change, problem):
    make(tmp_path / "a", **change)
    with pytest.raises(InputError, match=rf"a/seqinfo\.ini.* {problem}"):
        sequences("mot", tmp_path)


@pytest.mark.parametrize(("text", "problem"), [
    pytest.param("", "no section", id="empty"),
    pytest.param("seqLength=3\n", "line 1 stands before any section", id="no header"),
    pytest.param("[Sequence]\nseqLength=3\nseqLength=4\n", "line 3 is there twice", id="twice"),
])
def test_a_seqinfo_that_is_none_is_named(tmp_path, text, problem):
    (make(tmp_path / "a") / "seqinfo.ini").write_text(text)
    with pytest.raises(InputError, match=rf"a/seqinfo\.ini cannot be used: .*{problem}"):
        sequences("mot", tmp_path)


def test_a_rate_may_be_a_fraction(tmp_path):
    make(tmp_path / "a", frameRate=29.97)
    assert sequences("mot", tmp_path)[0].rate == 29.97


# Splits


@pytest.mark.parametrize(("place", "split", "found"), [
    pytest.param("..", "val", ["d3", "d4"], id="the folder around the data set"),
    pytest.param(".", "val", ["d3", "d4"], id="the data set"),
    pytest.param("val", "val", ["d3", "d4"], id="the split itself"),
    pytest.param("val", None, ["d3", "d4"], id="the split itself, unnamed"),
    pytest.param(".", "train", ["d1", "d2"], id="two archives of one split"),
    pytest.param(".", "test", ["d9"], id="without truth"),
    pytest.param(".", None, ["d1", "d2", "d3", "d4", "d9"], id="all splits"),
    pytest.param("val/d3", None, ["d3"], id="a single sequence"),
])
def test_splits_are_found(dance, place, split, found):
    assert names("dancetrack", dance / place, split) == found


@pytest.mark.parametrize(("place", "split", "problem"), [
    pytest.param(".", "dev", "wanted folders such as .*Track/dev/NAME.*; there is test, train1",
                 id="no such split"),
    pytest.param("val", "train", "holds sequences, but no split 'train'", id="another split"),
    pytest.param("val/d3", "val", "d3 is one sequence; leave the split away", id="a sequence"),
    pytest.param("elsewhere", "val", "is not a folder", id="no folder"),
    pytest.param("val/d3/img1", None, "no sequence of dancetrack in", id="no sequence"),
])  # fmt: skip
def test_where_there_is_no_such_split_it_is_an_error(dance, place, split, problem):
    with pytest.raises(InputError, match=problem):
        sequences("dancetrack", dance / place, split)


def test_some_can_be_chosen(dance):
    assert names("dancetrack", dance, "val", ("d4",)) == ["d4"]
    with pytest.raises(InputError, match="no sequence d5, d6; there is d3, d4"):
        sequences("dancetrack", dance, "val", ("d5", "d4", "d6"))


def test_a_name_in_two_splits_asks_for_one(tmp_path):
    for split in ("train", "val"):
        make(tmp_path / split / "a")
    with pytest.raises(InputError, match=r"a is there twice, .*train/a and .*val/a; give one"):
        sequences("mot", tmp_path)
    assert names("mot", tmp_path, "val") == ["a"]


def test_an_unknown_data_set_is_told_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="no data set 'kitti'; there are dancetrack, mot15, mot16"):
        sequences("kitti", tmp_path)


@pytest.mark.parametrize("other", [".b-partial", "lost+found", "System Volume Information"])
def test_folders_that_are_not_the_users_are_left_out(tmp_path, other):
    """A disk's `lost+found` may not even be opened."""
    make(tmp_path / "a")
    make(tmp_path / other)
    assert names("mot", tmp_path) == ["a"]


def test_folders_of_the_training_tools_are_found(tmp_path):
    make(tmp_path / "MOT20" / "images" / "train" / "MOT20-01")
    assert names("mot20", tmp_path, "train") == ["MOT20-01"]


# MOT17


@pytest.fixture
def mot17(tmp_path):
    """Two videos in three copies, with images in one copy only; a third in one copy."""
    for name in ("MOT17-02", "MOT17-04"):
        for suffix in ("DPM", "FRCNN", "SDP"):
            make(tmp_path / "MOT17/train" / f"{name}-{suffix}", images=suffix == "DPM")
    make(tmp_path / "MOT17/train" / "MOT17-05-SDP")
    return tmp_path / "MOT17"


def test_three_copies_are_one_video(mot17):
    found = sequences("mot17", mot17, "train")
    assert [s.name for s in found] == ["MOT17-02-FRCNN", "MOT17-04-FRCNN", "MOT17-05-SDP"]
    folder = mot17 / "train" / "MOT17-02-FRCNN"
    assert found[0].detections == folder / "det/det.txt"
    assert found[0].source == mot17 / "train" / "MOT17-02-DPM" / "img1"  # where the images are


def test_the_copy_can_be_chosen(mot17):
    chosen = names("mot17", mot17, "train", ("MOT17-02", "MOT17-04-SDP"), public="SDP")
    assert chosen == ["MOT17-02-SDP", "MOT17-04-SDP"]
    with pytest.raises(InputError, match="MOT17-05 has no detections of DPM; there is MOT17-05"):
        sequences("mot17", mot17, "train", public="DPM")


def test_a_video_may_be_named_without_the_detector(mot17):
    assert names("mot17", mot17, "train", ("MOT17-04",)) == ["MOT17-04-FRCNN"]


# SportsMOT


@pytest.fixture
def sports(tmp_path):
    """Two splits and the lists of the official archive; `v_d` is listed and not there."""
    root = tmp_path / "SportsMOT"
    for split, name in (("train", "v_a"), ("val", "v_b"), ("val", "v_c"), ("val", "v_extra")):
        make(root / "dataset" / split / name)
    lists = {"train": "v_a", "val": "v_c\nv_b\nv_d\n", "football": "v_c\nv_a"}
    (root / "splits_txt").mkdir()
    for name, text in lists.items():
        (root / "splits_txt" / f"{name}.txt").write_text(text)
    return root


@pytest.mark.parametrize(("place", "split", "found"), [
    pytest.param("..", "val", ["v_b", "v_c"], id="the folder around it"),
    pytest.param(".", "val", ["v_b", "v_c"], id="what the list names"),
    pytest.param("dataset", "val", ["v_b", "v_c"], id="the inner folder"),
    pytest.param(".", "football", ["v_a", "v_c"], id="a sport, from all splits"),
    pytest.param(".", None, ["v_a", "v_b", "v_c", "v_extra"], id="everything"),
])
def test_sportsmot_follows_its_lists(sports, place, split, found):
    assert names("sportsmot", sports / place, split) == found


def test_a_listed_sequence_that_is_not_there_is_told(sports, caplog):
    sequences("sportsmot", sports, "val")
    assert "val.txt names 1 sequence(s) that are not there, the first: v_d" in caplog.text


def test_without_lists_the_folders_decide(sports):
    (sports / "splits_txt" / "val.txt").unlink()
    assert names("sportsmot", sports, "val") == ["v_b", "v_c", "v_extra"]
