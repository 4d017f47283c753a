"""The `seqinfo.ini` of people's own data: few keys, rates as fractions, folders of elsewhere."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from tfsasm.datasets.sequences import sequences
from tfsasm.evaluation.score import score_folders
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
