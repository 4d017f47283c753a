"""Writing gives a playable file whatever ends the run."""

from __future__ import annotations

import os
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tfsasm.errors import InputError, TruncatedInput
from tfsasm.video.source import open_video
from tfsasm.video.writer import VideoWriter

NTSC = Fraction(30000, 1001)


def grey(level: int = 90, width: int = 64, height: int = 48) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi"])
@pytest.mark.parametrize("rate", [NTSC, Fraction(10), 24000 / 1001, 14.0])
def test_the_frame_rate_is_kept_exactly(tmp_path, suffix, rate):
    path = tmp_path / f"out.{suffix}"
    with VideoWriter(path, rate) as writer:
        for level in range(10, 210, 10):
            writer.write(grey(level))
    with open_video(path) as source:
        frames = list(source)
        assert source.rate == Fraction(rate).limit_denominator(1001)
    assert (len(frames), writer.frames) == (20, 20)
    levels = [frame.image.mean() for frame in frames]
    assert levels == pytest.approx(range(10, 210, 10), abs=4.5)


def test_a_browser_can_play_the_mp4(tmp_path):
    path = tmp_path / "out.mp4"
    with VideoWriter(path, 25) as writer:
        writer.write(grey())
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("height", [48, 720], ids=["small, BT.601", "HD, BT.709"])
def test_colours_come_back(tmp_path, height):
    image = np.zeros((height, 96, 3), np.uint8)
    image[:, :32], image[:, 32:64], image[:, 64:] = (220, 40, 30), (30, 200, 60), (40, 30, 210)
    with VideoWriter(tmp_path / "out.mp4", 25, crf=5) as writer:
        writer.write(image)
    (frame,) = open_video(tmp_path / "out.mp4")
    for x in (16, 48, 80):
        assert np.abs(frame.image[24, x].astype(int) - image[24, x]).max() < 6


@pytest.mark.parametrize(
    ("size", "written"),
    [
        pytest.param((64, 48), (64, 48), id="even"),
        pytest.param((63, 47), (64, 48), id="odd"),
        pytest.param((1, 1), (2, 2), id="a single pixel"),
        pytest.param((65, 48), (66, 48), id="odd width"),
    ],
)
def test_sizes_become_even_without_losing_a_pixel(tmp_path, size, written):
    with VideoWriter(tmp_path / "out.mp4", 25) as writer:
        writer.write(grey(200, *size))
    with open_video(tmp_path / "out.mp4") as source:
        (frame,) = source
    assert source.size == written
    assert np.abs(frame.image.astype(int) - 200).max() < 8


@pytest.mark.parametrize("other", [(32, 32), (640, 20), (7, 300), (1, 1), (64, 47)])
def test_later_frames_of_another_size_are_fitted_in(tmp_path, other):
    with VideoWriter(tmp_path / "out.mp4", 25) as writer:
        writer.write(grey())
        writer.write(grey(200, *other))
    with open_video(tmp_path / "out.mp4") as source:
        frames = list(source)
    assert [frame.image.shape for frame in frames] == [(48, 64, 3)] * 2
    assert frames[0].image.max() < 110
    assert frames[1].image.max() > 150


@pytest.mark.parametrize("rate", [None, 25], ids=["rate unknown", "rate known"])
def test_irregular_times_are_kept(tmp_path, rate):
    times = [5.0, 5.04, 5.1, 5.31, 5.32, 7.0]
    with VideoWriter(tmp_path / "out.mp4", rate) as writer:
        for time in times:
            writer.write(grey(), time)
    read = [frame.time for frame in open_video(tmp_path / "out.mp4")]
    assert read == pytest.approx([time - 5 for time in times], abs=2.1e-3)


def test_times_rounded_by_a_container_become_regular_again(tmp_path):
    with VideoWriter(tmp_path / "out.mp4", NTSC) as writer:
        for number in range(100):
            writer.write(grey(), round(float(number / NTSC), 3))
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        shown = [frame.pts * stream.time_base for frame in container.decode(stream)]
        assert stream.average_rate == NTSC
    assert {b - a for a, b in pairwise(shown)} == {1 / NTSC}


def test_times_that_stand_still_are_moved_on(tmp_path):
    with VideoWriter(tmp_path / "out.mp4", 25) as writer:
        for time in (0.0, 0.0, None, 0.0):
            writer.write(grey(), time)
    assert len(list(open_video(tmp_path / "out.mp4"))) == 4


@pytest.mark.parametrize("stride", [1, 3])
def test_a_video_read_with_a_stride_plays_as_long_as_before(tmp_path, stride):
    with VideoWriter(tmp_path / "in.mkv", NTSC) as writer:
        for _ in range(30):
            writer.write(grey())
    with (
        open_video(tmp_path / "in.mkv", stride=stride) as source,
        VideoWriter(tmp_path / "out.mp4", source.rate) as writer,
    ):
        for frame in source:
            writer.write(frame.image, frame.time)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.duration / av.time_base == pytest.approx(30 / NTSC, abs=1e-3)


def run_until(error: type[BaseException], path: Path, frames: int) -> None:
    with VideoWriter(path, NTSC) as writer:
        for _ in range(frames):
            writer.write(grey())
        assert not path.exists()
        raise error


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt, TruncatedInput, ZeroDivisionError],
    ids=["ctrl-C", "the source ended early", "a defect"],
)
@pytest.mark.parametrize("frames", [0, 5])
def test_what_was_done_so_far_is_kept_and_playable(tmp_path, error, frames):
    path = tmp_path / "out.mp4"
    with pytest.raises(error):
        run_until(error, path, frames)
    assert [p.name for p in tmp_path.iterdir()] == (["out.mp4"] if frames else [])
    if frames:
        assert len(list(open_video(path))) == frames


def test_a_disk_that_refuses_is_named_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    writer = VideoWriter(tmp_path / "out.mp4", 25)
    writer.write(grey())
    with pytest.raises(InputError, match=r"out\.mp4: No space left"):
        writer.close()
    assert not list(tmp_path.iterdir())


def test_the_first_error_is_the_one_that_is_raised(tmp_path, monkeypatch, caplog):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ZeroDivisionError):
        run_until(ZeroDivisionError, tmp_path / "out.mp4", frames=1)
    assert "No space left" in caplog.text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("taken.mp4", "exists; give another name or --overwrite", id="file exists"),
        pytest.param("taken.mp4/out.mp4", "cannot write in", id="unwritable folder"),
        pytest.param("taken.mp4/", "is a file; give a folder", id="a file as folder"),
        pytest.param("images", "exists; give another folder", id="folder holds frames"),
        pytest.param("out.gif", "ends in .gif", id="unknown kind"),
        pytest.param("out.mp4.bak", "ends in .bak", id="unknown last suffix"),
    ],
)
def test_an_impossible_output_is_refused_before_any_work(tmp_path, name, words):
    (tmp_path / "taken.mp4").write_bytes(b"precious")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "00000001.jpg").write_bytes(b"precious")
    with pytest.raises(InputError, match=words):
        VideoWriter(f"{tmp_path}/{name}", 25)
    assert (tmp_path / "taken.mp4").read_bytes() == b"precious"


@pytest.mark.parametrize("rate", [0, -1.0, float("nan"), float("inf")])
def test_an_impossible_rate_is_refused(tmp_path, rate):
    with pytest.raises(InputError, match="frame rate"):
        VideoWriter(tmp_path / "out.mp4", rate)


def test_overwriting_replaces_the_file_only_when_done(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    with VideoWriter(path, 25, overwrite=True) as writer:
        writer.write(grey())
        assert path.read_bytes() == b"old"
    assert len(list(open_video(path))) == 1


@pytest.mark.parametrize("name", ["frames", "frames.d/", "deep/er/frames"])
def test_a_folder_gets_numbered_images(tmp_path, name):
    with VideoWriter(f"{tmp_path}/{name}", None) as writer:
        for size in ((64, 48), (9, 7)):
            writer.write(grey(120, *size))
    names = sorted(path.name for path in (tmp_path / name).iterdir())
    assert names == ["00000001.jpg", "00000002.jpg"]
    assert cv2.imread(str(tmp_path / name / names[1])).shape == (7, 9, 3)
    with VideoWriter(f"{tmp_path}/{name}", None, overwrite=True) as writer:
        assert len(list((tmp_path / name).iterdir())) == 2, "an empty run takes nothing away"
        writer.write(grey())
    assert [path.name for path in (tmp_path / name).iterdir()] == names[:1]


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
    ids=["grey", "float", "no rows"],
)
def test_only_bgr_bytes_are_written(tmp_path, image):
    with VideoWriter(tmp_path / "out.mp4", 25) as writer, pytest.raises(ValueError, match="uint8"):
        writer.write(image)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_no_frame_starts_threads_of_its_own(tmp_path):
    """FFmpeg's conversion of pixels would, and a service of many streams ran out of threads."""
    threads, path = [], tmp_path / "out.mp4"
    with VideoWriter(path, 25) as writer:
        for level in range(40):
            writer.write(grey(level))
            threads.append(len(os.listdir("/proc/self/task")))
    with open_video(path) as source:
        for _ in source:
            threads.append(len(os.listdir("/proc/self/task")))
    assert max(threads[10:40]) == threads[10]
    assert max(threads[50:]) == threads[50]
