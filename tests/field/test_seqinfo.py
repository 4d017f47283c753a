"""The `seqinfo.ini` of people's own data: few keys, rates as fractions, folders of elsewhere."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from tfsasm.datasets.sequences import sequences
from tfsasm.errors import InputError
from tfsasm.evaluation.score import score_folders
from tfsasm.motchallenge import SeqInfo, read_seqinfo
from tfsasm.video.source import open_video


def sequence(root: Path, info: str, folder: str = "img1") -> Path:
    """Three frames of 60x40, one person."""
    images = root / "seq" / folder
    images.mkdir(parents=True)
    for number in (1, 2, 3):
        cv2.imwrite(str(images / f"{number:06}.jpg"), np.zeros((40, 60, 3), np.uint8))
    (root / "seq" / "gt").mkdir()
    lines = (f"{n},1,5,5,9,9,1,1,1\n" for n in (1, 2, 3))
    (root / "seq" / "gt" / "gt.txt").write_text("".join(lines))
    (root / "seq" / "seqinfo.ini").write_text(f"[Sequence]\n{info}")
    return root / "seq"


def test_a_name_and_a_length_are_enough_to_score(tmp_path):
    """mikel-brostrom/boxmot#775, JonathonLuiten/TrackEval#123."""
    folder = sequence(tmp_path / "gt", "name=seq\nseqLength=3\n")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "seq.txt").write_text((folder / "gt" / "gt.txt").read_text())
    scores = score_folders(tmp_path / "gt", tmp_path / "results")
    hota = scores.report.combined.HOTA
    assert hota == pytest.approx(100)
    (one,) = sequences("mot", tmp_path / "gt")
    assert (one.length, one.width, one.height, one.rate) == (3, 60, 40, None)


@pytest.mark.parametrize("rate", ["30000/1001", "29.97", "25"])
def test_a_rate_is_the_same_to_every_reader(tmp_path, rate):
    """roboflow/trackers#569."""
    folder = sequence(tmp_path, f"seqLength=3\nframeRate={rate}\n")
    assert open_video(folder).rate == Fraction(rate)
    assert sequences("mot", tmp_path)[0].rate == float(Fraction(rate))


@pytest.mark.parametrize(
    ("declared", "folder"),
    [
        pytest.param("/data/someone/seq/img1", "img1", id="a path of another machine"),
        pytest.param(r"D:\data\seq\images", "images", id="a path of Windows"),
        pytest.param("images", "images", id="another name"),
        pytest.param("rgb/left", "rgb/left", id="a folder in a folder"),
        pytest.param("/data/seq/rgb/left/", "rgb/left", id="the same of another machine"),
        pytest.param("frames", "img1", id="a folder that is not there"),
        pytest.param("../../elsewhere/..", "img1", id="a path that leads out"),
    ],
)
def test_the_folder_of_images_is_the_same_to_every_reader(tmp_path, declared, folder):
    """JonathonLuiten/TrackEval#133."""
    seq = sequence(tmp_path, f"imDir={declared}\nseqLength=3\nframeRate=30\n", folder)
    source = open_video(seq)
    assert [Path(frame.name) for frame in source] == sorted((seq / folder).iterdir())
    assert source.rate == 30
    assert sequences("mot", tmp_path)[0].source == seq / folder


def info_of(tmp_path, text):
    (tmp_path / "seqinfo.ini").write_text(text)
    return read_seqinfo(tmp_path / "seqinfo.ini")


def test_everything_that_a_file_declares_is_read(tmp_path):
    text = ("[Sequence]\nname= s \nimDir=images/\nframeRate=29.97\nseqLength=600\n"
            "imWidth=1920\nimHeight=1080\n")  # fmt: skip
    assert info_of(tmp_path, text) == SeqInfo("s", "images", 600, 1920, 1080, Fraction("29.97"))
    assert info_of(tmp_path, "[Sequence]\n") == SeqInfo()
    assert info_of(tmp_path, "[Sequence]\nframeRate=1/2\nseqLength=1\n").rate == Fraction(1, 2)


@pytest.mark.parametrize("text", [
    pytest.param("[sequence]\nSEQLENGTH = 3\nframerate: 30\n", id="another case"),
    pytest.param("[Sequence]\r\nseqLength=3 ; frames\r\nframeRate=30 # fps\r\n", id="comments"),
    pytest.param("\ufeff; made by a tool\n[Sequence]\nseqLength=3.0\nframeRate=30\n", id="a mark"),
])  # fmt: skip
def test_other_hands_than_the_benchmarks_write_them_too(tmp_path, text):
    """cheind/py-motmetrics#96: its users make the file by hand."""
    assert info_of(tmp_path, text) == SeqInfo(length=3, rate=Fraction(30))


@pytest.mark.parametrize("bad", ["imWidth=0", "frameRate=inf", "frameRate=29,97", "imHeight=many"])
def test_a_bad_value_is_no_concern_of_who_does_not_need_it(tmp_path, bad):
    """JonathonLuiten/TrackEval#123: the scorer reads the length alone."""
    folder = sequence(tmp_path / "gt", f"seqLength=3\n{bad}\n")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "seq.txt").write_text((folder / "gt" / "gt.txt").read_text())
    assert (
        pytest.approx(100)
    ) == score_folders(tmp_path / "gt", tmp_path / "results").report.combined.HOTA
    if "Rate" not in bad:
        folder = sequence(tmp_path / "other", f"frameRate=30\n{bad}\n")
        assert open_video(folder).rate == 30
    with pytest.raises(InputError, match=f"{bad} is not a number such as"):
        sequences("mot", tmp_path / "gt")


@pytest.mark.parametrize(("text", "why"), [
    pytest.param("name=s\n", "line 1 stands before any section; begin with [Sequence]", id="bare"),
    pytest.param("[Sequence]\nname=s\nname=s\n", "name in line 3 is there twice", id="a key"),
    pytest.param("[Sequence]\n[Sequence]\n", "Sequence in line 2 is there twice", id="a section"),
    pytest.param("[Sequence]\n\nname\n", "line 3 is not KEY=VALUE", id="no value"),
    pytest.param("[Other]\nname=s\n", "it has no section [Sequence]", id="another section"),
])
def test_a_file_that_cannot_be_used_is_refused_by_its_line(tmp_path, text, why):
    with pytest.raises(InputError) as caught:
        info_of(tmp_path, text)
    assert str(caught.value) == f"{tmp_path / 'seqinfo.ini'} cannot be used: {why}"


@pytest.mark.parametrize(("line", "wanted"), [
    ("seqLength=1.5", "600"), ("seqLength=3/2", "600"), ("seqLength=0", "600"),
    ("imWidth=-1", "1920"), ("imHeight=many", "1080"), ("imWidth=1000000000", "1920"),
    ("frameRate=0", "30 or 30000/1001"), ("frameRate=1/0", "30 or 30000/1001"),
    ("seqLength=\u0663", "600"), ("frameRate=nan", "30 or 30000/1001"),
])
def test_a_number_that_makes_no_sense_is_refused_with_one_that_does(tmp_path, line, wanted):
    with pytest.raises(InputError) as caught:
        info_of(tmp_path, f"[Sequence]\n{line}\n")
    path = tmp_path / "seqinfo.ini"
    assert str(caught.value) == f"{path}: {line} is not a number such as {wanted}"
    assert info_of(tmp_path, "[Sequence]\nimWidth=999999999\n").width == 999_999_999


def test_a_percent_sign_is_a_character(tmp_path):
    assert info_of(tmp_path, "[Sequence]\nname=100%(x)s\n").name == "100%(x)s"


def test_too_many_frames_are_told_by_the_file(tmp_path):
    with pytest.raises(InputError, match=r"seqinfo\.ini has 99,999,999 frames, more than"):
        info_of(tmp_path, "[Sequence]\nseqLength=99999999\n")


@pytest.mark.parametrize(("declared", "images"), [
    ("../..", "img1"), ("..", "img1"), (". .", "img1"), ("../other/..", "other"), ("X", "X"),
])  # fmt: skip
def test_a_folder_of_images_is_never_one_above(tmp_path, declared, images):
    assert info_of(tmp_path, f"[Sequence]\nimDir={declared}\n").images == images
