"""Images alone and in folders: pixels, order, numbers, and an end that is missing."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.videos import cut, folder_of, read_until_error
from tfsasm.errors import InputError
from tfsasm.video.images import IMAGE_SUFFIXES
from tfsasm.video.source import open_video


def photograph(height: int = 40, width: int = 60) -> np.ndarray:
    random = np.random.default_rng(1)
    image = random.integers(0, 255, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(image, (0, 0), 2)


@pytest.mark.parametrize("suffix", [*IMAGE_SUFFIXES, ".JPG"])
def test_images_are_what_opencv_reads(tmp_path, suffix):
    path = tmp_path / f"photo{suffix}"
    image = photograph()[..., 0] if suffix == ".pgm" else photograph()
    cv2.imwrite(str(path), image)
    for source in (open_video(tmp_path), open_video(path)):
        (frame,) = source
        assert np.array_equal(frame.image, cv2.imread(str(path), cv2.IMREAD_COLOR))
        assert (frame.name, frame.number, frame.time) == (path.as_posix(), 1, None)
        assert (source.size, source.count, source.fps) == ((60, 40), 1, None)


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(photograph()[..., 0], id="grey"),
        pytest.param(np.dstack([photograph(), photograph()[..., 0]]), id="alpha"),
        pytest.param(photograph().astype(np.uint16) << 8, id="16 bits"),
        pytest.param(photograph()[..., 0].astype(np.uint16) << 8, id="16 bits grey"),
        pytest.param(photograph(1, 1), id="1x1"),
    ],
)
def test_other_pixels_become_bgr_bytes(tmp_path, stored):
    cv2.imwrite(str(tmp_path / "image.png"), stored)
    (frame,) = open_video(tmp_path)
    expected = photograph(*stored.shape[:2])
    expected = expected if stored.ndim == 3 else np.dstack([expected[..., 0]] * 3)
    assert frame.image.dtype == np.uint8
    assert np.array_equal(frame.image, expected)


def test_a_palette_becomes_bgr(tmp_path):
    from PIL import Image

    rgb = Image.fromarray(np.ascontiguousarray(photograph()[..., ::-1]))
    rgb.quantize(16).save(tmp_path / "image.png")
    (frame,) = open_video(tmp_path)
    assert np.array_equal(frame.image, cv2.imread(str(tmp_path / "image.png")))


def test_unpadded_numbers_come_in_natural_order_with_a_warning(tmp_path, caplog):
    names = ["img.png", *(f"img{n}.png" for n in range(1, 12))]
    folder = folder_of(tmp_path / "frames", *names)
    with caplog.at_level(logging.WARNING), open_video(folder) as source:
        assert [Path(frame.name).name for frame in source] == names
    (problem,) = source.problems
    assert "first at frame 3 (img2.png, by name img10.png)" in problem
    assert problem in caplog.text


def test_name_order_is_that_of_the_released_code(tmp_path):
    names = ["10.jpg", "2.jpg", "b.jpg.bak", "~.jpg"]
    folder = folder_of(tmp_path / "frames", *reversed(names), "0.png")
    with open_video(folder, order="name") as source:
        frames = list(source)
    assert [Path(frame.name).name for frame in frames] == names
    assert [frame.number for frame in frames] == [1, 2, 3, 4]
    assert not source.problems


def test_name_order_without_jpg_takes_the_other_images(tmp_path):
    folder = folder_of(tmp_path / "frames", "2.png", "10.png")
    names = [Path(frame.name).name for frame in open_video(folder, order="name")]
    assert names == ["10.png", "2.png"]


def test_padded_numbers_need_no_warning(tmp_path):
    folder = folder_of(tmp_path / "frames", "0001.png", "0002.png", "0003.png", "._0001.png")
    (folder / "notes.txt").write_text("not an image")
    with open_video(folder) as source:
        assert source.count == 3
    assert not source.problems


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        pytest.param("[Sequence]\nname=x\nframeRate=14\n", Fraction(14), id="a rate"),
        pytest.param("[Sequence]\nname=x\n", None, id="no rate"),
        pytest.param("[Sequence]\nframeRate=0\n", None, id="rate zero"),
        pytest.param("hello", None, id="not an ini file"),
    ],
)
@pytest.mark.parametrize("given", ["sequence folder", "img1"])
def test_a_mot_sequence_folder_is_read_at_its_rate(tmp_path, given, text, rate):
    folder_of(tmp_path / "seq" / "img1", "000001.jpg", "000002.jpg")
    (tmp_path / "seq" / "seqinfo.ini").write_text(text)
    path = tmp_path / "seq" if given == "sequence folder" else tmp_path / "seq" / "img1"
    with open_video(path) as source:
        frames = list(source)
    assert source.rate == rate
    assert bool(source.problems) == (rate is None)
    assert frames[1].name == (tmp_path / "seq/img1/000002.jpg").as_posix()
    assert frames[1].time == (None if rate is None else pytest.approx(1 / 14))


def test_a_folder_without_images_is_named(tmp_path):
    (tmp_path / "seq" / "img1").mkdir(parents=True)
    with pytest.raises(InputError, match="holds no images"):
        open_video(tmp_path / "seq")


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp", "ppm"])
@pytest.mark.parametrize("position", [1, 3], ids=["the first", "in the middle"])
def test_a_truncated_image_ends_the_reading_by_name(tmp_path, suffix, position):
    paths = [tmp_path / f"{n}.{suffix}" for n in range(1, 5)]
    for path in paths:
        cv2.imwrite(str(path), photograph())
    cut(paths[position - 1], keep=0.9)
    frames, message = read_until_error(open_video(tmp_path))
    assert [frame.number for frame in frames] == list(range(1, position))
    assert f"{paths[position - 1].as_posix()} (frame {position} of 4)" in message


def test_a_jpeg_is_whole_whatever_its_header_and_tail_hold(tmp_path):
    _, encoded = cv2.imencode(".jpg", photograph(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    data = encoded.tobytes()
    thumbnail = cv2.imencode(".jpg", photograph(8, 8))[1].tobytes()
    segment = b"\xff\xe5" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    (tmp_path / "1.jpg").write_bytes(data[:2] + segment + data[2:] + b"\xff\xda appended video")
    assert len(list(open_video(tmp_path))) == 1
    (tmp_path / "1.jpg").write_bytes((data[:2] + segment + data[2:])[:-30])
    assert "is cut off" in read_until_error(open_video(tmp_path))[1]


def test_a_folder_may_mix_sizes(tmp_path):
    for number, size in enumerate([(40, 60), (10, 20)], start=1):
        cv2.imwrite(str(tmp_path / f"{number}.png"), photograph(*size))
    with open_video(tmp_path) as source:
        assert [frame.image.shape[:2] for frame in source] == [(40, 60), (10, 20)]
    assert source.size == (60, 40)
