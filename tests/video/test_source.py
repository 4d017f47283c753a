"""Reading: every kind of source gives numbered BGR frames; a damaged one gives all it has."""

from __future__ import annotations

import gc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from helpers.videos import BLACK, cut, encode, folder_of, read_until_error
from tfsasm.errors import InputError, TruncatedInput
from tfsasm.video.decoder import Decoder, to_bgr
from tfsasm.video.source import find_sources, open_video
from tfsasm.video.writer import VideoWriter

NTSC = Fraction(30000, 1001)


def film(path: Path, frames: int = 40, noise: bool = True, **options: str) -> Path:
    """An H.264 video; frame n of a quiet one has the grey level 6 n, about."""
    random = np.random.default_rng(0)
    quiet = (np.full((48, 64, 3), 6 * number, np.uint8) for number in range(1, frames + 1))
    noisy = (random.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(frames))
    return encode(path, noisy if noise else quiet, NTSC, container=options)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi", "ts"])
def test_a_video_gives_its_frames_at_its_exact_rate(tmp_path, suffix):
    path = film(tmp_path / f"clip.{suffix}", noise=False)
    with open_video(path) as source:
        assert (source.rate, source.size, source.count) == (NTSC, (64, 48), 40)
        assert source.fps == pytest.approx(29.97, abs=1e-3)
        frames = list(source)
    assert [f.number for f in frames] == list(range(1, 41))
    assert frames[16].name == f"{path.as_posix()}#17"
    assert [f.time for f in frames] == pytest.approx([n / NTSC for n in range(40)], abs=2e-3)
    levels = [frame.image.mean() for frame in frames]
    assert levels == pytest.approx([6 * n for n in range(1, 41)], abs=4.5)
    assert frames[0].image.shape == (48, 64, 3)
    assert frames[0].image.dtype == np.uint8
    assert not source.problems


@pytest.mark.parametrize(
    ("start", "end", "stride", "numbers"),
    [
        pytest.param(1, None, 1, [1, 2, 3, 4, 5, 6, 7], id="everything"),
        pytest.param(3, 5, 1, [3, 4, 5], id="both ends included"),
        pytest.param(2, None, 3, [2, 5], id="every third from the second"),
        pytest.param(1, 7, 3, [1, 4, 7], id="the stride meets the end"),
        pytest.param(4, 4, 1, [4], id="one frame"),
        pytest.param(6, 900, 1, [6, 7], id="an end past the last frame means the last frame"),
    ],
)
@pytest.mark.parametrize("kind", ["video", "folder"])
def test_a_range_keeps_the_numbers_of_the_source(tmp_path, kind, start, end, stride, numbers):
    if kind == "video":
        path = film(tmp_path / "clip.mp4", frames=7, noise=False)
    else:
        path = folder_of(tmp_path / "frames", *(f"{n}.png" for n in range(1, 8)))
        (path / "seqinfo.ini").write_text("[Sequence]\nframeRate=30000/1001\n")
    with open_video(path, start=start, end=end, stride=stride) as source:
        frames = list(source)
        assert source.count == len(numbers)
        assert source.rate == NTSC / stride
    assert [f.number for f in frames] == numbers
    level = 6 if kind == "video" else 10
    assert [f.image.mean() / level for f in frames] == pytest.approx(numbers, abs=0.8)
    assert [f.time for f in frames] == pytest.approx([(n - 1) / NTSC for n in numbers], abs=1e-3)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        pytest.param({"start": 0}, "frame numbers begin at 1", id="start at zero"),
        pytest.param({"stride": 0}, "stride is 0", id="no stride"),
        pytest.param({"start": 5, "end": 4}, "ends at 4", id="backwards"),
        pytest.param({"start": 8}, "has 7 frames", id="past the last frame"),
    ],
)
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "frames"])
def test_a_range_without_frames_is_refused(tmp_path, name, chosen, words):
    names = [f"{n}.png" for n in range(1, 8)]
    path = tmp_path / name
    if "." in name:
        film(path, frames=7)
    else:
        folder_of(path, *names)
    with pytest.raises(InputError, match=words), open_video(path, **chosen) as source:
        list(source)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        pytest.param("gone.mp4", None, "does not exist", id="missing"),
        pytest.param("empty.mp4", b"", "is an empty file", id="empty file"),
        pytest.param("words.mp4", b"not a video at all", "is not a video", id="words"),
        pytest.param("notes.txt", b"hello\n" * 99, "is not a video", id="text that FFmpeg plays"),
    ],
)
def test_what_is_no_video_is_named(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        open_video(path)
    assert name in str(caught.value)


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="no moving pictures"):
        open_video(path)


def test_a_missing_camera_is_named():
    with pytest.raises(InputError, match="camera 99"):
        open_video("99")


def test_an_error_keeps_the_password_of_an_address():
    with pytest.raises(InputError) as caught:
        open_video("nosuch://me:secret@camera.invalid/live")
    assert "secret" not in str(caught.value)
    assert "camera.invalid/live" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "least"),
    [
        pytest.param("clip.mp4", {"movflags": "faststart"}, 20, id="mp4 with its index in front"),
        pytest.param("clip.mkv", {}, 20, id="mkv"),
        pytest.param("clip.avi", {}, 20, id="avi"),
    ],
)
def test_a_truncated_video_gives_what_is_left_and_then_says_so(tmp_path, name, options, least):
    whole = list(open_video(film(tmp_path / name, **options)))
    with open_video(cut(tmp_path / name)) as source:
        frames, message = read_until_error(source)
    assert least <= len(frames) < 40
    assert [frame.number for frame in frames] == list(range(1, len(frames) + 1))
    assert name in message
    assert f"frame {len(frames)} of 40" in message
    for frame, same in zip(frames, whole, strict=False):
        assert np.array_equal(frame.image, same.image)


def test_a_truncated_mp4_with_its_index_at_the_end_cannot_be_read(tmp_path):
    path = cut(film(tmp_path / "clip.mp4"))
    with pytest.raises(InputError, match=r"clip\.mp4 is not a video that can be read"):
        open_video(path)


def test_a_truncated_video_is_no_concern_before_the_cut(tmp_path):
    path = cut(film(tmp_path / "clip.mkv"))
    with open_video(path, end=10) as source:
        assert len(list(source)) == 10


def test_a_video_damaged_in_the_middle_is_read_to_its_end(tmp_path):
    path = film(tmp_path / "clip.mp4")
    data = bytearray(path.read_bytes())
    middle = len(data) // 4
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(data)
    with open_video(path) as source:
        frames, message = read_until_error(source)
    assert [frame.number for frame in frames] == [*range(1, 11), *range(13, 41)]
    assert message.endswith("clip.mp4 lacks 2 frames, 11-12; the others keep their numbers")
    assert "is damaged" in source.problems[0]


@pytest.mark.parametrize("turn", [0, 90, 180, -90])
def test_a_phone_held_sideways_gives_upright_frames(tmp_path, turn):
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24, :32] = 255
    with open_video(encode(tmp_path / "phone.mp4", [stored], turn=(turn,))) as source:
        (frame,) = source
    upright = np.rot90(stored, turn // 90)
    assert source.size == (upright.shape[1], upright.shape[0])
    assert frame.image.shape == upright.shape
    assert np.abs(frame.image.astype(int) - upright).mean() < 3


def test_irregular_times_are_kept(tmp_path):
    times = [0, 0.04, 0.5, 0.52, 2.0]
    ticks = [round(1000 * time) + 700 for time in times]
    path = encode(tmp_path / "clip.mp4", [BLACK] * 5, times=ticks, unit=Fraction(1, 1000))
    assert [frame.time for frame in open_video(path)] == pytest.approx(times, abs=1e-6)


def test_pixels_that_cannot_be_converted_end_a_video_in_words():
    with pytest.raises(TruncatedInput, match="16 x 12 pixels as rgb4 cannot be shown"):
        to_bgr(av.VideoFrame(16, 12, "rgb4"))


def test_no_image_waits_for_the_garbage_collector(tmp_path):
    """It comes seldom where few objects are made, and images are large."""
    with VideoWriter(tmp_path / "out.mp4", 25) as writer:
        for level in range(40):
            writer.write(np.full((48, 64, 3), level, np.uint8))
    gc.collect()
    gc.disable()
    try:
        with open_video(tmp_path / "out.mp4") as source:
            assert sum(1 for _ in source) == 40
        assert gc.collect() < 20
    finally:
        gc.enable()


def test_a_video_may_turn_in_the_middle(tmp_path):
    """As a phone that is turned while it films; the display matrix comes with the image."""
    level, turned = (
        Decoder(str(encode(tmp_path / f"{turn}.mp4", [BLACK], turn=(turn,))), "a video")
        for turn in (0, 90)
    )
    images = [next(iter(one)) for one in (level, turned)]
    shapes = [level.pixels(image).shape for image in (images[0], images[1], images[0])]
    assert shapes == [(48, 64, 3), (64, 48, 3), (48, 64, 3)]
    level.close()
    turned.close()


# --- what a name stands for -----------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Two videos with a result of before, and a split of two MOT sequences."""
    monkeypatch.chdir(tmp_path)
    for name in ("clips/b.mp4", "clips/a.MOV", "clips/a.tracked.mp4", "clips/notes.txt",
                 "train/MOT-2/img1/1.jpg", "train/MOT-1/img1/1.jpg", "train/seqmap.txt",
                 "train/lost+found/img1/1.jpg", "train/MOT-1.tracked/00000001.jpg",
                 "frames/1.jpg", "none/notes.txt"):  # fmt: skip
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


@pytest.mark.parametrize(("name", "sources"), [
    pytest.param("clips", ["clips/a.MOV", "clips/b.mp4"], id="a folder of videos"),
    pytest.param("train", ["train/MOT-1", "train/MOT-2"], id="a folder of sequences"),
    pytest.param("train/MOT-1", ["train/MOT-1"], id="a sequence"),
    pytest.param("frames", ["frames"], id="a folder of images"),
    pytest.param("none", ["none"], id="a folder of neither, which cannot be opened later"),
    pytest.param("clips/*.mp4", ["clips/b.mp4"], id="a pattern"),
    pytest.param("train/*", ["train/MOT-1", "train/MOT-2"], id="a pattern of folders"),
    pytest.param("0", ["0"], id="a camera"),
    pytest.param("rtsp://there/live", ["rtsp://there/live"], id="a stream"),
])  # fmt: skip
def test_what_a_name_stands_for(here, name, sources):
    assert [Path(source).as_posix() if "://" not in source else source
            for source in find_sources([name])] == sources  # fmt: skip


@pytest.mark.parametrize("name", ["gone.mp4", "clips/*.gif", ""])
def test_a_name_that_stands_for_nothing_is_refused(here, name):
    with pytest.raises(InputError):
        find_sources([name])
