"""Stored detections as streams of frames: keys, numbers, MOT text."""

import json

import numpy as np
import pytest

from tfsasm.detection.formats import (
    FrameBoxes,
    Reading,
    as_line,
    filter_boxes,
    merge,
    mot_rows,
    number_of,
    read_frames,
    rekey,
    sequence_of,
    write_mot,
)
from tfsasm.errors import InputError

LINE, WEAK = "1.5,2,30,40.25,0.9\n", "5,6,7,8,0.1\n"


def frame(key, *lines, categories=None):
    rows = [[float(value) for value in line.split(",")[:5]] for line in lines]
    return FrameBoxes(key, list(lines), np.array(rows).reshape(-1, 5), categories)


def write(output, frames):
    write_mot(output, mot_rows(frames, output), overwrite=False)


def det(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows))
    return path


@pytest.mark.parametrize(("form", "given", "key"), [
    pytest.param("DanceTrack/val/dance1/det/det.txt", "DanceTrack/val",
                 "DanceTrack/val/dance1/img1/00000001.txt", id="folder of sequences"),
    pytest.param("DanceTrack/val/dance1/det.txt", "DanceTrack/val",
                 "DanceTrack/val/dance1/img1/00000001.txt", id="det.txt in the sequence"),
    pytest.param("some/results/dance1.txt", "some/results",
                 "some/results/dance1/img1/00000001.txt", id="folder of files"),
    pytest.param("DanceTrack/val/dance1/det/det.txt", "DanceTrack/val/dance1/det/det.txt",
                 "DanceTrack/val/dance1/img1/00000001.txt", id="a sequence's own file"),
    pytest.param("boxes.txt", "boxes.txt", "boxes/img1/00000001.txt", id="a loose file"),
])
def test_keys_of_mot_text_are_those_of_the_official_layout(tmp_path, form, given, key):
    det(tmp_path / form, "1,-1,1.5,2,30,40.25,0.9,-1,-1,-1")
    assert next(read_frames(tmp_path / given, Reading())).key == key


def test_prefix_and_digits_can_be_chosen(tmp_path):
    path = det(tmp_path / "a/b/seq/det/det.txt", "1,-1,1,2,3,4,1")
    (found,) = read_frames(path, Reading(prefix="/MOT17/train/", digits=6))
    assert found.key == "MOT17/train/seq/img1/000001.txt"


def test_frames_without_a_line_are_frames_without_boxes(tmp_path):
    path = det(tmp_path / "d.txt", "4,-1,1.5,2,30,40.25,0.9", "2,7,1e-3,2,3,4,1,-1,-1,-1")
    found = list(read_frames(path, Reading()))
    assert [(number_of(one.key), one.lines) for one in found] == [
        (1, []), (2, ["0.001,2.0,3.0,4.0,1.0\n"]), (3, []), (4, ["1.5,2.0,30.0,40.25,0.9\n"])]


def test_a_det_db_keeps_its_text(tmp_path):
    table = {"a/1.txt": [" 1.50,2,3,4,0.90\n", "1,2,3,4,1"], "a/2.txt": []}
    (tmp_path / "db.json").write_text(json.dumps(table))
    found = list(read_frames(tmp_path / "db.json", Reading()))
    assert {one.key: one.lines for one in found} == table
    assert found[0].boxes.tolist() == [[1.5, 2, 3, 4, 0.9], [1, 2, 3, 4, 1]]


def test_bad_lines_can_be_left_out_of_text_and_numbers_alike(tmp_path):
    table = {"a/1.txt": ["bad", LINE, "1,2,3,4,nan"], "a/2.txt": [LINE]}
    (tmp_path / "db.json").write_text(json.dumps(table))
    reading = Reading(skip_bad=True)
    found = list(read_frames(tmp_path / "db.json", reading))
    assert [one.lines for one in found] == [[LINE], [LINE]]
    assert [len(one.boxes) for one in found] == [1, 1]
    assert reading.skipped.count == 2


@pytest.mark.parametrize(("make", "problem"), [
    pytest.param(lambda p: det(p / "d.txt", "9e9,-1,1,1,1,1,1"), "9000000000 is not of a video",
                 id="a frame number beyond reason"),
    pytest.param(lambda p: det(p / "d.txt", "1,-1,1,1,1,1"), r"d\.txt:1: too few", id="a bad line"),
    pytest.param(lambda p: det(p / "a" / "notes.md", "").parent, "no detections in",
                 id="a folder without any"),
    pytest.param(lambda p: det(det(p / "a.txt").parent / "a" / "det.txt").parents[1],
                 "are both of a; keep one", id="two of a name"),
    pytest.param(lambda p: det(p / "d.json", '{"s/1.txt": [], "./s/1.jpg": []}'),
                 r"\./s/1\.jpg is there twice", id="two keys of a frame"),
    pytest.param(lambda p: det(p / "d.json", '{"s/1.txt": ["1,2"]}'),
                 r"key 's/1\.txt', line 1: too few", id="a bad line in a det_db"),
])
def test_what_cannot_be_used_is_named(tmp_path, make, problem):
    with pytest.raises(InputError, match=problem):
        list(read_frames(make(tmp_path), Reading()))


@pytest.mark.parametrize(("key", "sequence", "number"), [
    ("DanceTrack/val/dance1/img1/00000012.txt", "dance1", 12), ("a/b/img_7.jpg", "b", 7),
    ("img1/3.txt", "", 3), ("a/" + "8".zfill(30), "a", 8), ("4.txt", "", 4),
    (r"C:\a\img1\5.txt", "a", 5)])
def test_what_keys_tell(key, sequence, number):
    assert (sequence_of(key), number_of(key)) == (sequence, number)


@pytest.mark.parametrize("key", ["a/first.txt", "a/" + "9" * 30 + "x.txt", "a/1" + "0" * 18])
def test_a_key_without_a_number_is_named(key):
    with pytest.raises(InputError, match="has no frame number"):
        number_of(key)


def test_numbers_go_from_text_to_text_unchanged(tmp_path):
    write(tmp_path / "d.txt", [frame("s/img1/02.txt", " 1.50,2,3,4,.9\n", LINE),
                               frame("s/img1/05.txt")])
    assert (tmp_path / "d.txt").read_text() == (
        "2,-1,1.50,2,3,4,.9,-1,-1,-1\n2,-1,1.5,2,30,40.25,0.9,-1,-1,-1\n")


def test_lines_have_the_shortest_text_of_a_double():
    assert as_line([625.0499877929688, 0.1, 3.0]) == "625.0499877929688,0.1,3.0\n"


@pytest.mark.parametrize(("keys", "problem"), [
    pytest.param(["a/img1/1.txt", "b/img1/1.txt"], "holds one sequence", id="two sequences"),
    pytest.param(["a/img1/1.txt", "a/img1/01.txt"], "has the number 1 too", id="a number twice"),
    pytest.param(["a/img1/x.txt"], "has no frame number", id="no number"),
])
def test_what_a_det_txt_cannot_hold_is_refused(tmp_path, keys, problem):
    with pytest.raises(InputError, match=problem):
        write(tmp_path / "d.txt", map(frame, keys))
    assert list(tmp_path.iterdir()) == []


def test_each_sequence_gets_its_file_even_when_they_are_mixed(tmp_path):
    keys = ["v/a/img1/1.txt", "v/b/img1/1.txt", "v/a/img1/2.txt", "v/c/img1/1.txt"]
    frames = [frame(key, LINE) for key in keys[:3]] + [frame(keys[3])]
    write(tmp_path / "out", frames)
    rest = "-1,1.5,2,30,40.25,0.9,-1,-1,-1\n"
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {
        "a.txt": f"1,{rest}2,{rest}", "b.txt": f"1,{rest}", "c.txt": ""}


@pytest.mark.parametrize(("keys", "problem"), [
    pytest.param(["t/a/img1/1.txt", "v/a/img1/1.txt"], "have the same name 'a'", id="same name"),
    pytest.param(["1.txt"], "names no sequence", id="no name"),
    pytest.param(["v/old/img1/1.txt"], r"old\.txt exists", id="a file that is there"),
])
def test_files_that_would_collide_are_refused(tmp_path, keys, problem):
    (tmp_path / "old.txt").write_text("precious")
    with pytest.raises(InputError, match=problem):
        write(tmp_path, map(frame, keys))
    assert [path.name for path in tmp_path.iterdir()] == ["old.txt"]
    assert (tmp_path / "old.txt").read_text() == "precious"


# Merged, filtered, and given other keys

FRAMES = [frame("val/a/img1/1.txt", LINE, WEAK), frame("val/b/img1/1.txt")]


@pytest.mark.parametrize(("limits", "lines"), [
    pytest.param({}, [[LINE, WEAK], []], id="nothing asked"),
    pytest.param({"score": 0.1}, [[LINE, WEAK], []], id="the very score"),
    pytest.param({"score": 0.11}, [[LINE], []], id="score"),
    pytest.param({"min_area": 56.5, "min_height": 41}, [[], []], id="all limits count"),
    pytest.param({"sequences": ["b"]}, [[]], id="a sequence"),
])
def test_text_and_numbers_are_filtered_alike(limits, lines):
    kept = list(filter_boxes(FRAMES, **limits))
    assert [frame.lines for frame in kept] == lines
    assert [len(frame.boxes) for frame in kept] == list(map(len, lines))


def test_classes_are_kept_with_their_boxes():
    (kept,) = filter_boxes([frame("1", LINE, WEAK, categories=[1, 3])], categories=[3])
    assert (kept.lines, kept.categories) == ([WEAK], [3])
    with pytest.raises(InputError, match=r"not all boxes of val/a.* have a class"):
        list(filter_boxes(FRAMES, categories=[3]))


@pytest.mark.parametrize(("lines", "categories"), [
    pytest.param(["1,2,3,4,0.5,0", "1 2 3 4 0.5 7.0"], [0, 7], id="of each box"),
    pytest.param(["1,2,3,4,0.5,1", "1,2,3,4,0.5"], None, id="of some"),
    pytest.param(["1,2,3,4,0.5,1.5"], None, id="no whole number"),
    pytest.param(["1,2,3,4,0.5,inf"], None, id="no number"),
])
def test_a_det_db_may_have_the_class_of_each_box(tmp_path, lines, categories):
    (tmp_path / "db.json").write_text(json.dumps({"a/1.txt": lines}))
    (found,) = read_frames(tmp_path / "db.json", Reading())
    assert found.categories == categories
    assert found.boxes.tolist() == [[1, 2, 3, 4, 0.5]] * len(lines)


@pytest.mark.parametrize(("tail", "category"), [
    pytest.param("0.5,3,-1,-1", 3, id="a class"), pytest.param("0.5,0", 0, id="and no more"),
    pytest.param("0.5,-1,-1,-1", None, id="none"), pytest.param("0.5,3,2,0", None, id="a position"),
    pytest.param("0.5,3.5,-1,-1", None, id="no whole number"),
    pytest.param("0.5,inf,-1,-1", None, id="no number"),
    pytest.param("37,3,-1,-1", None, id="a score as a det_db has none beside a class"),
])  # fmt: skip
def test_a_class_in_the_eighth_field_of_mot_text_is_that_of_a_det_db(tmp_path, tail, category):
    (found,) = read_frames(det(tmp_path / "a.txt", f"1,-1,1,2,3,4,{tail}"), Reading())
    line = f"1.0,2.0,3.0,4.0,{float(tail.partition(',')[0])}"
    assert found.lines == [f"{line}\n" if category is None else f"{line},{category}\n"]
    assert found.categories == (None if category is None else [category])
    write(tmp_path / "b.txt", [found])
    assert next(read_frames(tmp_path / "b.txt", Reading())).lines == found.lines


def test_a_frame_is_merged_once_and_a_clash_is_refused():
    notes = []
    other = frame("./val/a/img1/1.jpg", WEAK)
    assert list(merge({"x": FRAMES, "y": FRAMES}, "error", notes.append)) == FRAMES
    assert list(merge({"x": FRAMES, "y": [other]}, "first", notes.append)) == FRAMES
    assert ["with the same" in notes[0], "with other" in notes[1]] == [True, True]
    with pytest.raises(InputError, match="y: an earlier input has other boxes"):
        list(merge({"x": FRAMES, "y": [other]}, "error", notes.append))


@pytest.mark.parametrize(("first", "second", "kept"), [
    pytest.param([1], [1], True, id="the same"),
    pytest.param([1], [3], False, id="another class"),
    pytest.param([1], None, True, id="known of the first only"),
    pytest.param(None, [1], True, id="known of the second only"),
])
def test_a_box_of_another_class_is_another_box(first, second, kept):
    notes = []
    streams = {name: [frame("1", LINE, categories=kinds)] for name, kinds in
               {"x": first, "y": second}.items()}
    assert len(list(merge(streams, "first", notes.append))) == 1
    assert ("with the same" in notes[0]) == kept


def test_keys_change_by_whole_folders():
    notes = []
    keys = [frame.key for frame in rekey(FRAMES, "/val/a", "x/", notes.append)]
    assert keys == ["x/img1/1.txt", "val/b/img1/1.txt"]
    assert notes == ["1 keys do not begin with '/val/a' and stay"]
    with pytest.raises(InputError, match="no key begins with 'va'"):
        list(rekey(FRAMES, "va", "x", notes.append))
