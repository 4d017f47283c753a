"""Every kind of defect is found, named, and does not hide the next."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.mot_folders import make
from helpers.scalabel import frame, label
from tfsasm.datasets.check import check, present
from tfsasm.errors import InputError


def one(root, dataset="mot"):
    """The single sequence of a data set."""
    (report,) = check(root, dataset)
    (sequence,) = report.sequences
    return sequence


def append(path, text):
    path.write_text(path.read_text() + text)


def image(path, width=32, height=24):
    cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))


# A sequence


def test_a_sound_sequence_has_nothing_to_say(tmp_path):
    make(tmp_path / "a")
    found = one(tmp_path)
    assert (found.name, found.frames, found.size, found.images) == ("a", 3, (32, 24), 3)
    assert (found.boxes, found.identities, found.detections) == (3, 1, 3)
    assert (found.problems, found.notes) == ([], [])


def spoil(name, text):
    return lambda folder: append(folder / name, text)


@pytest.mark.parametrize(("change", "problem"), [
    pytest.param(lambda f: (f / "img1/00000003.jpg").unlink(),
                 "img1 has 2 images for 3 frames", id="fewer images than frames"),
    pytest.param(lambda f: (f / "img1/00000002.jpg").unlink(),
                 "img1 has a gap at image number 2 (1 missing in all)", id="a gap"),
    pytest.param(lambda f: image(f / "img1/2.jpg"),
                 "img1 has 1 image number(s) twice, first 2", id="a number twice"),
    pytest.param(lambda f: image(f / "img1/00000002.jpg", 30),
                 "1 image of another size, the first: img1/00000002.jpg is 30x24, not 32x24",
                 id="an image of another size"),
    pytest.param(lambda f: (f / "img1/00000002.jpg").write_bytes(b"no"),
                 "1 image cannot be read, the first: img1/00000002.jpg", id="no image"),
    pytest.param(spoil("gt/gt.txt", "3,1,9,9,4,5,1,1,1\n"),
                 "gt.txt: an id twice in a frame, 1 time(s), first id 1 in frame 3",
                 id="an id twice"),
    pytest.param(spoil("gt/gt.txt", "4,1,9,9,4,5,1,1,1\n"),
                 "gt.txt: 1 box(es) after the last frame, first in frame 4 (id 1)",
                 id="truth after the end"),
    pytest.param(spoil("det/det.txt", "9,-1,9,9,4,5,0.5\n"),
                 "det.txt: 1 box(es) after the last frame, first in frame 9 (id -1)",
                 id="a detection after the end"),
    pytest.param(spoil("gt/gt.txt", "3,2,32,9,4,5,1,1,1\n3,3,-4,9,4,5,1,1,1\n"
                       "3,4,9,24,4,5,1,1,1\n3,5,9,-5,4,5,1,1,1\n"),
                 "gt.txt: 4 box(es) outside the image, first in frame 3 (id 2)",
                 id="boxes that touch the image from outside"),
    pytest.param(spoil("gt/gt.txt", "3,2,1,9,4\n"), "gt.txt:4: too few fields: 5", id="a bad line"),
    pytest.param(spoil("det/det.txt", "3,2,1,9,4,0,0.5\n"),
                 "det.txt:4: height '0' is not positive", id="a box without an area"),
    pytest.param(lambda f: (f / "gt/gt.txt").write_bytes(b"\xff\xfe"),
                 "gt.txt is not text", id="no text"),
    pytest.param(lambda f: (f / "gt/gt.txt").rename(f / "gt/gt.csv"),
                 "gt has no gt.txt", id="a folder without its file"),
    pytest.param(spoil("seqinfo.ini", "seqLength=4\n"), "seqlength in line 9 is there twice",
                 id="a seqinfo that cannot be used"),
])  # fmt: skip
def test_a_defect_is_a_problem(tmp_path, change, problem):
    change(make(tmp_path / "a"))
    assert any(problem in found for found in one(tmp_path).problems)


@pytest.mark.parametrize(("change", "remark"), [
    pytest.param(lambda f: (f / "seqinfo.ini").unlink(), "no seqinfo.ini", id="no seqinfo"),
    pytest.param(spoil("seqinfo.ini", "[Other]\n"), None, id="another section"),
    pytest.param(lambda f: (f / "gt/gt.txt").write_text("1,1,2,3,4,5,1\n"),
                 "gt.txt: no box in 2 frame(s), the first: 2", id="frames without truth"),
    pytest.param(spoil("gt/gt.txt", "3,2,30,9,4,5,1,1,1\n"),
                 "gt.txt: 1 of 4 boxes reach over the image's border", id="over the border"),
    pytest.param(spoil("det/det.txt", "3,2,3,9,4,5,57\n"),
                 "det.txt: scores from 0.9 to 57, not 0 to 1", id="scores"),
    pytest.param(lambda f: f.rename(f.with_name("b")), "seqinfo.ini calls the sequence a",
                 id="a folder of another name"),
    pytest.param(lambda f: [p.rename(p.with_name(f"{'abc'[n]}.jpg"))
                            for n, p in enumerate(sorted((f / "img1").iterdir()))],
                 "3 images without a number, the first: a.jpg", id="images without numbers"),
    pytest.param(lambda f: [p.rename(p.with_name(f"{n}.jpg"))
                            for n, p in enumerate(sorted((f / "img1").iterdir()))],
                 "img1 begins with image number 0", id="images from 0"),
])  # fmt: skip
def test_what_may_be_meant_is_a_note(tmp_path, change, remark):
    change(make(tmp_path / "a"))
    found = one(tmp_path)
    assert found.problems == []
    assert [note for note in found.notes if remark in note] if remark else not found.notes


def test_a_frame_far_away_is_counted_in_no_time(tmp_path):
    det = tmp_path / "a" / "det" / "det.txt"
    det.parent.mkdir(parents=True)
    det.write_text("1,-1,2,3,4,5,1\n1e12,-1,2,3,4,5,1\n")
    assert "det.txt: no box in 999999999998 frame(s), the first: 2" in one(tmp_path).notes


def test_every_bad_line_is_named_up_to_a_limit(tmp_path):
    folder = make(tmp_path / "a")
    append(folder / "gt/gt.txt", "1,x\n" * 14)
    problems = one(tmp_path).problems
    lines = [problem.split(": ")[0].rsplit(":")[-1] for problem in problems[:10]]
    assert lines == [str(number) for number in range(4, 14)]
    assert problems[10:] == ["... and 4 more bad line(s) in the same file"]


def test_one_defect_does_not_hide_the_others(tmp_path):
    folder = make(tmp_path / "a")
    (folder / "seqinfo.ini").write_text("nothing")
    image(folder / "img1/00000002.jpg", 30)
    append(folder / "gt/gt.txt", "what\n3,1,2,3,4,5,1\n")
    append(folder / "det/det.txt", "3,1,99,3,4,5,1\n")
    make(tmp_path / "b", seqLength=4)
    (report,) = check(tmp_path, "mot")
    assert [len(sequence.problems) for sequence in report.sequences] == [5, 1]
    assert report.problem_count == 6


# A data set


def test_what_only_some_lack_is_a_problem_and_what_all_lack_a_note(tmp_path):
    make(tmp_path / "train" / "a", detections=False)
    make(tmp_path / "train" / "b", detections=False, images=False)
    make(tmp_path / "test" / "c", truth=False)
    (report,) = check(tmp_path, "mot")
    assert [row.problems for row in report.sequences] == [
        [], ["no images, though other sequences beside it have some"], []]  # fmt: skip
    assert report.notes == ["test: no ground truth", "train: no detections"]


def test_copies_of_a_video_must_agree(tmp_path):
    for suffix in ("DPM", "FRCNN", "SDP"):
        make(tmp_path / f"MOT17-02-{suffix}", images=suffix == "SDP")
    append(tmp_path / "MOT17-02-DPM" / "gt/gt.txt", "3,2,2,3,4,5,1\n")
    (report,) = check(tmp_path)
    assert report.dataset == "mot17"
    assert [row.images for row in report.sequences] == [3, 3, 3]
    problems = [row.problems for row in report.sequences]
    other = "gt.txt differs from that of MOT17-02-{}, which is the same video"
    assert problems == [
        [other.format("FRCNN"), other.format("SDP")], [other.format("DPM")],
        [other.format("DPM")]]  # fmt: skip


def test_a_list_and_its_folder_are_compared(tmp_path):
    make(tmp_path / "dataset/val/v_abcdefghijk_c001")
    (tmp_path / "splits_txt").mkdir()
    (tmp_path / "splits_txt/val.txt").write_text("v_abcdefghijk_c001\nv_abcdefghijk_c002\n")
    (report,) = check(tmp_path, "sportsmot", "val")
    assert report.problems == [
        "splits_txt/val.txt names 1 sequence(s) that are not there, the first: v_abcdefghijk_c002"]


def test_several_data_sets_are_told_apart(tmp_path):
    make(tmp_path / "DanceTrack/val/dancetrack0004")
    make(tmp_path / "mot20/train/MOT20-01")
    (tmp_path / "bdd100k/images/track/val").mkdir(parents=True)
    (tmp_path / "annotation_val.odgt").write_text("")
    assert list(present(tmp_path)) == ["dancetrack", "mot20", "bdd100k", "crowdhuman"]
    assert list(present(tmp_path / "DanceTrack/val")) == ["dancetrack"]
    make(tmp_path / "mine/a")
    assert list(present(tmp_path / "mine")) == ["mot"]


@pytest.mark.parametrize(("dataset", "split", "problem"), [
    pytest.param(None, None, "no data set in .*: wanted SPLIT/SEQUENCE/img1", id="nothing"),
    pytest.param(None, "val", "no data set in .* with a split 'val'", id="no such split"),
    pytest.param("mot17", None, "no sequence of mot17", id="not this one"),
    pytest.param("kitti", None, "no data set 'kitti'; there are", id="unknown"),
])
def test_nothing_to_check_is_an_error(tmp_path, dataset, split, problem):
    with pytest.raises(InputError, match=problem):
        check(tmp_path, dataset, split)


# BDD100K


@pytest.mark.parametrize(("frames", "problem"), [
    pytest.param([frame(0, label()), frame(2)], "the frame at position 1 has index 2", id="a gap"),
    pytest.param([frame(0, label(box=(9, 9, 9, 20)))], "1 box(es) without an area", id="flat"),
    pytest.param([frame(0, label(box=(1280, 9, 1300, 20)))], "1 box(es) outside the image, first "
                 "in frame 1 (id 7)", id="outside"),
    pytest.param([frame(0, label(), label())], "id 7 is there twice", id="an id twice"),
    pytest.param([frame(0, {"id": 1}), frame(1)], "category is missing", id="a bad label"),
    pytest.param([], "v.json has no frame of v", id="empty"),
])  # fmt: skip
def test_defects_of_labels_are_problems(tmp_path, frames, problem):
    path = tmp_path / "labels/box_track_20/val/v.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(frames))
    assert any(problem in found for found in one(tmp_path, "bdd100k").problems)


@pytest.mark.parametrize("content", ["{broken", "[7]", json.dumps([frame(0, {"id": None})])])
def test_one_bad_label_file_is_one_problem(tmp_path, content):
    path = tmp_path / "labels/box_track_20/val/v.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    [problem] = one(tmp_path, "bdd100k").problems
    assert "v.json" in problem


def test_images_are_held_against_labels(tmp_path):
    folder = tmp_path / "images/track/val/v"
    folder.mkdir(parents=True)
    image(folder / "v-0000001.jpg", 1280, 720)
    (tmp_path / "labels/box_track_20").mkdir(parents=True)
    frames = [frame(0, label()), frame(1, label(category="boat")), frame(0, video="w")]
    (tmp_path / "labels/box_track_20/val.json").write_text(json.dumps(frames))
    (report,) = check(tmp_path)
    v, w = report.sequences
    assert (v.frames, v.images, v.boxes, v.identities) == (2, 1, 2, 1)
    assert v.problems == [
        "v has 1 images for 2 frames",
        "1 labelled frame(s) without an image, the first: v-0000002.jpg"]  # fmt: skip
    assert v.notes == ["labels: categories that are not tracked: boat"]
    assert (w.frames, w.images, w.boxes, w.problems) == (1, 0, 0, [])


# CrowdHuman


def test_defects_of_annotations_are_problems(tmp_path):
    def line(name, *fbox):
        boxes = [{"tag": "person", "fbox": list(fbox), "extra": {}}]
        return json.dumps({"ID": name, "gtboxes": boxes})

    lines = [
        line("a", -3, 1, 9, 9), line("a", 1, 1, 9, 9), "{", line("b", 40, 1, 9, 9),
        line("c", 1, 1, 0, 9), line("d", 1, 1, 2, 2),
    ]  # fmt: skip
    (tmp_path / "annotation_val.odgt").write_text("\n".join(lines))
    (tmp_path / "Images").mkdir()
    for name in "abc":
        image(tmp_path / "Images" / f"{name}.jpg")
    (tmp_path / "Images/c.jpg").write_bytes(b"")
    found = one(tmp_path, "crowdhuman")
    assert (found.frames, found.images, found.boxes) == (5, 3, 5)
    assert [problem.partition(" ")[2] for problem in found.problems] == [
        "not valid JSON: it ends too early",
        "image(s) are not there, the first: d.jpg",
        "image(s) are listed twice",
        "image(s) with an image that cannot be read or is cut off, the first: c",
        "image(s) with a box without an area, the first: c",
        "image(s) with a box outside the image, the first: b"]  # fmt: skip


# Real data


@pytest.mark.data
@pytest.mark.parametrize(("dataset", "split", "sequences", "boxes", "problems"), [
    pytest.param("dancetrack", "val", 15, 138_189, 0, id="DanceTrack"),
    pytest.param("mot17", "val_half", 7, 97_493, 1, id="MOT17: two boxes beside the image"),
    pytest.param("mot15", "train", 2, 5_009, 1, id="MOT15: images of one of two"),
])
def test_real_data_are_as_they_were(dataset, split, sequences, boxes, problems):
    if not (root := os.environ.get("TFSASM_DATA")):
        pytest.skip("TFSASM_DATA is not set to the folder of the data")
    (report,) = check(Path(root), dataset, split)
    assert len(report.sequences) == sequences
    assert sum(row.boxes for row in report.sequences) == boxes
    assert report.problem_count == problems, report.to_json()


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp"])
def test_a_cut_image_is_a_problem_and_nothing_else_is_said(tmp_path, suffix, capfd, recwarn):
    folder = make(tmp_path / "a", frames=0) / "img1"
    folder.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    for number in (1, 2):
        cv2.imwrite(str(folder / f"{number:06d}.{suffix}"), pixels)
    whole = (folder / f"000002.{suffix}").read_bytes()
    (folder / f"000002.{suffix}").write_bytes(whole[: len(whole) * 2 // 3])
    found = [problem for problem in one(tmp_path).problems if "first: img1/000002" in problem]
    assert len(found) == 1
    assert "cut off" in found[0] or "cannot be read" in found[0]
    assert ("".join(capfd.readouterr()), list(recwarn)) == ("", [])
