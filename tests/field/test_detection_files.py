"""Files of detections as detectors and people write them: from frame 0, with other separators."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from tfsasm.detection.stored import open_detections
from tfsasm.errors import InputError
from tfsasm.motchallenge import read_detections
from tfsasm.video.source import Frame

IMAGE = np.zeros((100, 200, 3), np.uint8)


def frame(number: int, name: str = "") -> Frame:
    return Frame(IMAGE, number, name or f"video.mp4#{number}", None)


def lefts(detections, numbers) -> list[float]:
    return [float(detections.boxes(frame(n))[0, 0]) for n in numbers]


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_file_that_counts_from_0_is_shifted_and_that_is_told(tmp_path):
    """mikel-brostrom/boxmot#217, FoundationVision/ByteTrack#417."""
    path = write(tmp_path / "det.txt", "".join(f"{n},-1,{10 + n},5,20,30,0.9\n" for n in range(3)))
    detections = open_detections(path)
    assert lefts(detections, (1, 2, 3)) == [10, 11, 12]
    assert detections.report() == [
        f"{path}: its frames count from 0; 0 is taken for frame 1, and so on"
    ]
    assert lefts(open_detections(path, skip_bad=True), (1, 2, 3)) == [10, 11, 12]


def test_keys_that_count_from_0_beside_a_video_are_shifted_and_that_is_told(tmp_path):
    """FoundationVision/ByteTrack#417."""
    entries = {f"seq/{n:06}.txt": [f"{10 + n},5,20,30,0.9\n"] for n in range(3)}
    path = write(tmp_path / "db.json", json.dumps(entries))
    detections = open_detections(path)
    assert lefts(detections, (1, 2, 3)) == [10, 11, 12]
    note = f"{path}: its frames count from 0; 0 is taken for frame 1, and so on"
    assert note in detections.report()


def test_keys_that_count_from_0_beside_images_of_these_names_are_found_by_name(tmp_path):
    """favyen/miris#4: images that begin with 000000."""
    entries = {f"seq/{n:06}.txt": [f"{10 + n},5,20,30,0.9\n"] for n in range(3)}
    path = write(tmp_path / "db.json", json.dumps(entries))
    detections = open_detections(path)
    assert detections.boxes(frame(1, "seq/000000.jpg"))[0, 0] == 10
    assert not any("count from 0" in note for note in detections.report())


@pytest.mark.parametrize("between", [" ", "  ", "\t", ";", "; ", ", ", "|"])
def test_fields_may_stand_between_spaces_tabs_semicolons_or_bars(tmp_path, between):
    """roboflow/trackers#214."""
    lines = [["1", "-1", "10", "5", "20", "30", "0.9"], ["2", "-1", "11", "5", "20", "30", "0.8"]]
    path = write(tmp_path / "det.txt", "".join(between.join(line) + "\n" for line in lines))
    assert lefts(open_detections(path), (1, 2)) == [10, 11]
    assert read_detections(path)[2][0].tolist() == [11, 5, 20, 30, 0.8]


def test_between_semicolons_a_comma_is_a_decimal_one(tmp_path):
    """SheetJS/sheetjs#2239: spreadsheets in many languages."""
    path = write(tmp_path / "det.txt", "1;-1;10,5;5;20;30,25;0,9\n2;-1;11;5;20;30;0,8\n")
    assert read_detections(path)[1][0].tolist() == [10.5, 5, 20, 30.25, 0.9]
    assert read_detections(path)[2][0].tolist() == [11, 5, 20, 30, 0.8]


@pytest.mark.parametrize("packed", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("name", ["det.txt", "det.txt.gz", "db.json", "coco.json"])
def test_a_file_that_is_compressed_is_told_to_be_unpacked(tmp_path, packed, name):
    """IIC2233/Syllabus-2018-1#802."""
    path = tmp_path / name
    path.write_bytes(packed(b"1,-1,10,5,20,30,0.9\n"))
    with pytest.raises(InputError, match=rf"{name} is compressed \(\w+\); unpack it first"):
        open_detections(path)


def test_keys_from_0_beside_images_from_1_are_told(tmp_path):
    """favyen/miris#4: here the images begin with 000001; names decide, though they may be meant
    otherwise."""
    entries = {f"seq/{n:06}.txt": [f"{10 + n},5,20,30,0.9\n"] for n in range(3)}
    path = write(tmp_path / "db.json", json.dumps(entries))
    detections = open_detections(path)
    assert detections.boxes(frame(1, "seq/000001.jpg"))[0, 0] == 11
    told = "its keys begin with 0 and the images with 1; boxes are found by name"
    assert f"{path}: {told}" in detections.report()


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_an_accent_written_in_another_way_is_the_same_name(tmp_path, forms):
    """owncloud/core#31544: archives of macOS, unpacked elsewhere."""
    one, other = (unicodedata.normalize(form, "días") for form in forms)
    entries = {f"{name}/img1/000001.txt": ["10,5,20,30,0.9\n"] for name in (one, "noches")}
    detections = open_detections(write(tmp_path / "db.json", json.dumps(entries)))
    assert detections.boxes(frame(1, f"{other}/img1/000001.jpg"))[0, 0] == 10


@pytest.mark.parametrize("name", ["det.txt", "db.json"])
def test_a_file_in_which_every_line_is_bad_is_no_empty_one(tmp_path, name):
    """phil-bergmann/tracking_wo_bnw#171: own detections, and an empty result."""
    bad = ["ten,5,20,30,0.9\n", "-,5,20,30,0.9\n"]
    text = "".join(f"{n},-1,{line}" for n, line in enumerate(bad, start=1))
    if name == "db.json":
        text = json.dumps({f"seq/{n:06}.txt": [line] for n, line in enumerate(bad, start=1)})
    path = write(tmp_path / name, text)
    with pytest.raises(InputError, match=r"no line of .* can be used, the first: .*'ten'"):
        open_detections(path, skip_bad=True)


def test_a_sixth_field_of_a_det_db_is_a_class(tmp_path):
    """bochinski/iou-tracker#13: detections with and without a class."""
    path = write(tmp_path / "db.json", json.dumps({"seq/000001.txt": ["10,5,20,30,0.9,0\n"]}))
    assert open_detections(path).boxes(frame(1)).tolist() == [[10, 5, 20, 30, 0.9]]


def test_a_first_field_too_many_is_not_taken_for_a_box(tmp_path):
    """abewley/sort#7: the order of the fields."""
    path = write(tmp_path / "db.json", json.dumps({"seq/000001.txt": ["1,10,5,20,30,0.9\n"]}))
    with pytest.raises(InputError, match=r"db\.json has lines of six fields whose fifth"):
        open_detections(path)


def test_numbers_from_0_in_a_text_become_keys_from_1_and_that_is_told(tfsasm, tmp_path):
    """mikel-brostrom/boxmot#217."""
    path = write(tmp_path / "seq.txt", "".join(f"{n},-1,{10 + n},5,20,30,0.9\n" for n in range(2)))
    outcome = tfsasm("detections", "convert", path, tmp_path / "db.json")
    assert outcome.code == 0
    assert [*json.loads((tmp_path / "db.json").read_text())] == [
        "seq/img1/00000001.txt", "seq/img1/00000002.txt"
    ]  # fmt: skip
    assert "seq.txt: its frames count from 0; 0 is taken for frame 1" in outcome.out


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_keys_from_0_become_numbers_from_1_and_that_is_told(tfsasm, tmp_path, order):
    """favyen/miris#4: images that begin with 000000."""
    entries = {f"seq/{n:06}.txt": [f"{10 + n},5,20,30,0.9\n"] for n in order}
    entries |= {"other/000001.txt": ["7,5,20,30,0.9\n"]}
    path = write(tmp_path / "db.json", json.dumps(entries))
    outcome = tfsasm("detections", "convert", path, tmp_path / "out")
    assert outcome.code == 0
    assert sorted((tmp_path / "out" / "seq.txt").read_text().splitlines()) == [
        f"{1 + n},-1,{10 + n},5,20,30,0.9,-1,-1,-1" for n in range(3)
    ]
    assert (tmp_path / "out" / "other.txt").read_text() == "1,-1,7,5,20,30,0.9,-1,-1,-1\n"
    told = outcome.out
    assert "seq.txt: its frames count from 0" in told
    assert "other.txt: its frames" not in told


def test_the_class_of_a_det_db_is_the_eighth_field_of_a_text(tfsasm, tmp_path):
    """bochinski/iou-tracker#13: detections with and without a class."""
    lines = ["10,5,20,30,0.9,2\n", "11,5,20,30,0.8\n", "12 5 20 30 0.7 3\n"]
    path = write(tmp_path / "db.json", json.dumps({"seq/000001.txt": lines}))
    outcome = tfsasm("detections", "convert", path, tmp_path / "d.txt")
    assert outcome.code == 0
    assert (tmp_path / "d.txt").read_text() == (
        "1,-1,10,5,20,30,0.9,2,-1,-1\n1,-1,11,5,20,30,0.8,-1,-1,-1\n"
        "1,-1,12,5,20,30,0.7,3,-1,-1\n"
    )
    assert read_detections(tmp_path / "d.txt")[1][:, 4].tolist() == [0.9, 0.8, 0.7]


@pytest.mark.parametrize("text", [
    pytest.param('{"seq/000001.txt": ["ten,5,20,30,0.9"], "seq/000002.txt": []}', id="det_db"),
    pytest.param('[{"image_id": 1, "category_id": 1, "bbox": ["ten", 5, 2, 3], "score": 0.9}]',
                 id="coco"),
])  # fmt: skip
def test_a_file_in_which_every_line_is_bad_becomes_no_empty_one(tfsasm, tmp_path, text):
    """phil-bergmann/tracking_wo_bnw#171: own detections, and an empty result."""
    path = write(tmp_path / "in.json", text)
    outcome = tfsasm("detections", "convert", path, tmp_path / "out.json", "--skip-bad-detections")
    assert outcome.code == 2
    assert not (tmp_path / "out.json").exists()
    told = " ".join(outcome.err.split())
    assert "no line of" in told
    assert "can be used, the first:" in told
    assert "leave such lines out" not in told


def test_a_check_of_a_data_set_says_that_detections_count_from_0(tfsasm, tmp_path):
    """FoundationVision/ByteTrack#417."""
    (tmp_path / "seq" / "det").mkdir(parents=True)
    write(tmp_path / "seq" / "seqinfo.ini", "[Sequence]\nseqLength=3\nimWidth=200\nimHeight=100\n")
    write(tmp_path / "seq" / "det" / "det.txt",
          "".join(f"{n},-1,{10 + n},5,20,30,0.9\n" for n in range(3)))  # fmt: skip
    outcome = tfsasm("datasets", "check", "--dataset", "mot", "--root", tmp_path)
    told = " ".join(outcome.out.split())
    assert "det.txt: its frames count from 0; 0 is taken for frame 1, and so on" in told
    assert "no box in" not in told
