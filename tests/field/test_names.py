"""Names in other people's files: none leads out of its folder, by reading or by writing."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest

from tfsasm.datasets.bdd100k import read_scalabel
from tfsasm.datasets.crowdhuman import read_odgt
from tfsasm.datasets.sequences import sequences
from tfsasm.detection.formats import FrameBoxes, mot_rows, write_mot
from tfsasm.errors import InputError
from tfsasm.files import safe_name, safe_path

LEADING_AWAY = [
    pytest.param("..", id="the folder above"),
    pytest.param("../../etc/passwd", id="folders above"),
    pytest.param("/etc/passwd", id="an absolute path"),
    pytest.param(r"..\..\boot.ini", id="backslashes"),
    pytest.param("C:boot.ini", id="a drive"),
    pytest.param("a\x00b", id="a null"),
    pytest.param("a\nb", id="a line end"),
    pytest.param("\x1b[2Ja", id="what a terminal obeys"),
    pytest.param("a\ud800", id="half a character"),
    pytest.param("  ..  ", id="dots between spaces"),
    pytest.param("CON", id="a device"),
    pytest.param("nul.txt", id="a device with a suffix"),
    pytest.param("com1 .mp4", id="a device with a blank"),
    pytest.param("a" * 240, id="too long for a suffix"),
    pytest.param("ü" * 120, id="too long in bytes"),
    pytest.param("", id="nothing"),
]


@pytest.mark.parametrize("name", LEADING_AWAY)
def test_a_name_that_leads_away_is_refused(name):
    with pytest.raises(InputError, match="cannot be that of a file"):
        safe_name(name, "the sequence")
    with pytest.raises(InputError, match="cannot be that of a file"):
        safe_path(f"images/{name}", "the image")


@pytest.mark.parametrize("name", [
    "MOT17-02", "2024-05-01T10:30:00", "v_a..b", "Üben 3", "a,b", "console", "com10", "nullity.txt",
    "a" * 235,
])
def test_other_names_are_taken_as_they_are(name):
    assert safe_name(name, "the sequence") == name
    assert safe_path(f"b1/{name}.jpg", "the image") == f"b1/{name}.jpg"


@pytest.mark.parametrize("name", LEADING_AWAY[:-1])
@pytest.mark.parametrize("key", ["name", "videoName"])
def test_a_label_file_names_no_file_outside(tmp_path, key, name):
    """open-edge-platform/datumaro#2206, huggingface/datasets#8324."""
    frame = {"name": "v-0000001.jpg", "videoName": "v", "frameIndex": 0, "labels": []}
    (tmp_path / "v.json").write_text(json.dumps([{**frame, key: name}]))
    with pytest.raises(InputError, match=rf"v\.json, frame .*the {key} |v\.json, frame .*{key} "):
        read_scalabel(tmp_path / "v.json")


@pytest.mark.parametrize("name", LEADING_AWAY[:-1])
def test_an_annotation_names_no_image_outside(tmp_path, name):
    """huggingface/datasets#8324."""
    (tmp_path / "a.odgt").write_text(json.dumps({"ID": name, "gtboxes": []}) + "\n")
    with pytest.raises(InputError, match=r"a\.odgt:1: ID "):
        list(read_odgt(tmp_path / "a.odgt"))


def test_a_list_of_a_split_names_no_folder_outside(tmp_path):
    """open-edge-platform/datumaro#2206."""
    (tmp_path / "data" / "splits_txt").mkdir(parents=True)
    (tmp_path / "data" / "splits_txt" / "val.txt").write_text("../secret\n")
    (tmp_path / "data" / "val").mkdir()
    (tmp_path / "secret" / "img1").mkdir(parents=True)
    with pytest.raises(InputError, match=r"the name in .*val\.txt '\.\./secret' cannot be"):
        sequences("sportsmot", tmp_path / "data", "val")


@pytest.mark.parametrize("sequence", ["..", "a\nb", r"a\..\..\b", "../../b"])
def test_keys_of_detections_write_no_file_outside(tmp_path, sequence):
    """open-edge-platform/datumaro#2205."""
    frames = [FrameBoxes(f"val/{sequence}/img1/000001", ["1,1,9,9,0.9\n"], np.zeros((1, 5)))]
    output = tmp_path / "out"
    with contextlib.suppress(InputError):
        write_mot(output, mot_rows(frames, output), overwrite=False)
    assert list(tmp_path.iterdir()) == [output]
    assert all(path.name in ("val.txt", "b.txt") for path in output.rglob("*"))


def test_a_key_with_a_line_end_names_no_file(tmp_path):
    frames = [FrameBoxes("val/a\nb/img1/000001", ["1,1,9,9,0.9\n"], np.zeros((1, 5)))]
    with pytest.raises(InputError, match="cannot be that of a file"):
        list(mot_rows(frames, tmp_path / "out"))
