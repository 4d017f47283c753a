"""Frames and their numbers: images that are missing, numbers that begin with 0."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tfsasm.datasets.mot_folders import image_size
from tfsasm.detection.stored import open_detections
from tfsasm.errors import InputError
from tfsasm.video.source import open_video


def images(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        cv2.imwrite(str(folder / name), np.zeros((40, 60, 3), np.uint8))
    return folder


def test_missing_images_shift_no_number(tmp_path):
    """mikel-brostrom/boxmot#1099."""
    folder = images(tmp_path / "seq/img1", *(f"{n:06}.jpg" for n in (1, 2, 5, 6)))
    (tmp_path / "seq/seqinfo.ini").write_text("[Sequence]\nname=seq\nframeRate=10\n")
    (tmp_path / "det.txt").write_text("".join(f"{n},-1,{6 * n},4,12,8,0.9\n" for n in (1, 2, 5, 6)))
    detections = open_detections(tmp_path / "det.txt")
    source = open_video(folder)
    frames = list(source)
    assert [frame.number for frame in frames] == [1, 2, 5, 6]
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.4, 0.5])
    centres = [60 * detections(frame).boxes[0, 0] for frame in frames]
    assert centres == pytest.approx([6 * n + 6 for n in (1, 2, 5, 6)])
    assert source.problems == [
        f"{folder.as_posix()}: no image for frames 3-4; the others keep the numbers of their names"
    ]


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        pytest.param(["0.jpg", "1.jpg", "3.jpg"], [1, 2, 4], id="names that count from 0"),
        pytest.param(["450.jpg", "451.jpg"], [450, 451], id="an excerpt"),
        pytest.param(["f_0001.jpg", "f_0004.jpg"], [1, 4], id="a common beginning"),
        pytest.param(["DSC_2041.jpg", "DSC_2043.jpg"], [1, 2], id="photographs"),
        pytest.param(["a_1.jpg", "b_1.jpg"], [1, 2], id="two beginnings"),
        pytest.param(["1.jpg", "1.png", "2.jpg"], [1, 2, 3], id="a number twice"),
        pytest.param(["1403636579763555584.png", "1403636579813555456.png"], [1, 2], id="times"),
        pytest.param(["1.jpg", "2.jpg", "cover.jpg"], [1, 2, 3], id="a name without a number"),
    ],
)
def test_names_that_are_numbers_are_frame_numbers(tmp_path, names, numbers):
    frames = list(open_video(images(tmp_path / "frames", *names)))
    assert [frame.number for frame in frames] == numbers
    assert [Path(frame.name).name for frame in frames] == names


def test_a_range_is_one_of_frame_numbers(tmp_path):
    folder = images(tmp_path / "frames", *(f"{n}.jpg" for n in (1, 2, 5, 6, 7)))
    source = open_video(folder, start=2, end=6, stride=2)
    assert source.count == 2
    assert [frame.number for frame in source] == [2, 6]
    with pytest.raises(InputError, match="none of the frames that start, end and stride choose"):
        open_video(folder, start=3, end=4)


def test_the_size_of_a_photograph_is_that_of_its_picture(tmp_path):
    """Its header has that before the turn: ultralytics/yolov5#405, roboflow/supervision#2577."""
    folder = images(tmp_path / "frames", "1.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(folder / "1.jpg", exif=exif)
    (frame,) = open_video(folder)
    assert image_size(folder / "1.jpg") == (40, 60) == frame.image.shape[1::-1]
