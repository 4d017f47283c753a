"""Decoding by torchcodec against PyAV: by the package where it is installed, and by an imitation
that has its pictures from PyAV, in their order and without numbers."""

from __future__ import annotations

import struct
import sys
from fractions import Fraction
from functools import partial
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace

import av
import numpy as np
import pytest
import torch

import tfsasm.pytorch
from helpers.videos import encode
from tfsasm.errors import InputError, TruncatedInput
from tfsasm.video.decoder import Decoder
from tfsasm.video.source import open_video
from tfsasm.video.torchcodec import TorchcodecDecoder, UnfitError, opener


def film(path, count=30, *, late=0, times=None, **given):
    """A video of a moving texture; `times` are milliseconds, and `late` frames are not shown."""
    tiles = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    texture = tiles.repeat(8, 0).repeat(8, 1)
    unit = Fraction(1, 1000) if times else None
    images = (np.roll(texture, 2 * number, 1) for number in range(count))
    encode(path, images, Fraction(30000, 1001), times=times, unit=unit, **given)
    if late:
        with av.open(str(path)) as container:
            ticks = late * next(container.demux(video=0)).duration
        data = path.read_bytes()
        begin = data.index(b"elst") + 16  # the first entry's media_time, behind its duration
        path.write_bytes(data[:begin] + struct.pack(">i", ticks) + data[begin + 4 :])
    return path


class Imitation:
    """`torchcodec.decoders.VideoDecoder`: upright RGB pictures of a file by their place."""

    def __init__(self, source, *, stream_index, dimension_order, num_ffmpeg_threads, device):
        assert dimension_order == "NHWC"
        assert source.startswith("file:")  # a name may look like an address
        with av.open(source) as container:
            images = list(container.decode(container.streams[stream_index]))
        self._images = [
            SimpleNamespace(pts_seconds=float(image.pts * image.time_base), data=self._rgb(image))
            for image in images
        ]

    def _rgb(self, image):
        pixels = image.reformat(format="rgb24", threads=1).to_ndarray()
        return torch.from_numpy(np.rot90(pixels, image.rotation // 90).copy())

    def __len__(self):
        return len(self._images)

    def get_frame_at(self, index):
        return self._images[index]


@pytest.fixture
def imitated(monkeypatch):
    """The package torchcodec, of which there is only that class."""
    package, decoders = ModuleType("torchcodec"), ModuleType("torchcodec.decoders")
    package.__spec__ = ModuleSpec("torchcodec", None)
    decoders.VideoDecoder = Imitation
    monkeypatch.setitem(sys.modules, "torchcodec", package)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)


@pytest.fixture(params=["imitated", "installed"])
def torchcodec(request):
    if request.param == "imitated":
        return request.getfixturevalue("imitated")
    package = pytest.importorskip("torchcodec", reason="needs torchcodec")
    if getattr(package, "ffmpeg_major_version", 0) is None:
        pytest.skip("torchcodec needs FFmpeg's shared libraries")
    return package


on_cpu = partial(TorchcodecDecoder, device=torch.device("cpu"))


def read(path, **how):
    """Number, time and image of each frame, and how the reading ended."""
    frames = []
    with open_video(path, **how) as source:
        try:
            frames.extend((frame.number, frame.time, frame.image) for frame in source)
        except TruncatedInput as error:
            return source, frames, str(error)
    return source, frames, ""


def check_alike(path, **how):
    """Frames, to the bit, and what is known of the video."""
    ours, found, end = read(path, decode=on_cpu, **how)
    theirs, wanted, its_end = read(path, **how)
    assert [frame[:2] for frame in found] == [frame[:2] for frame in wanted]
    for (number, _, image), (_, _, other) in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(image, other, str(number))
    assert end == its_end
    assert (ours.size, ours.aspect, ours.rate, ours.count, ours.sound) == (
        theirs.size, theirs.aspect, theirs.rate, theirs.count, theirs.sound
    )
    assert found
    assert found[0][2].shape[1::-1] == ours.size


IRREGULAR = [700, 740, 1200, 1220, 2700, 2710, 2720, 2800, 2950, 3000]


@pytest.mark.parametrize(("name", "given"), [
    pytest.param("a.mp4", {"bf": "3", "g": "12"}, id="frames that are stored before earlier ones"),
    pytest.param("a.mov", {"bf": "0"}, id="mov"),
    pytest.param("a.mkv", {"g": "8"}, id="mkv"),
    pytest.param("a.webm", {"codec": "libvpx-vp9", "count": 8}, id="VP9"),
    pytest.param("a.mp4", {"codec": "mpeg4"}, id="MPEG-4"),
    pytest.param("a.mp4", {"late": 5, "bf": "0"}, id="an edit list leaves out the first five"),
    pytest.param("a.mp4", {"times": IRREGULAR, "count": 10}, id="irregular times that begin late"),
    pytest.param("a.mp4", {"pixels": "yuvj420p"}, id="full range"),
    pytest.param("a.mp4", {"pixels": "yuv444p"}, id="colours of full size"),
    pytest.param("a.mp4", {"about": {"colorspace": 1, "color_primaries": 1, "color_trc": 1}},
                 id="BT.709"),
    pytest.param("a.mp4", {"turn": (90,)}, id="a phone held sideways"),
    pytest.param("a.mp4", {"turn": (180,)}, id="upside down"),
    pytest.param("a.mp4", {"turn": (-90,)}, id="on the other side"),
])  # fmt: skip
def test_frames_are_those_of_pyav(torchcodec, tmp_path, name, given):
    check_alike(film(tmp_path / name, **given))


@pytest.mark.parametrize("name", ["concat:a.mp4", "http:a.mp4", "a:b|c.mp4"])
def test_a_name_like_an_address_is_that_of_a_file(torchcodec, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    film(tmp_path / "a.mp4", 5)
    (tmp_path / "a.mp4").rename(name)
    check_alike(name)
    check_alike(tmp_path / name)


def test_a_part_of_a_video_keeps_its_numbers(torchcodec, tmp_path):
    check_alike(film(tmp_path / "a.mp4"), start=4, end=20, stride=3)


def test_a_video_that_is_cut_short_ends_alike(torchcodec, tmp_path):
    path = film(tmp_path / "a.mkv", 60, g="8")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    (_, found, end), (_, wanted, its_end) = read(path, decode=on_cpu), read(path)
    assert "ends early" in end
    assert "ends early" in its_end
    assert abs(len(found) - len(wanted)) <= 1  # whether the last, partial one can be shown
    assert [frame[:2] for frame in found][:-1] == [frame[:2] for frame in wanted][: len(found) - 1]


@pytest.mark.parametrize(("name", "given", "why"), [
    pytest.param("a.avi", {"codec": "mpeg4"}, "it is no MP4, MOV, Matroska or WebM", id="avi"),
    pytest.param("a.h264", {}, "it is no MP4, MOV, Matroska or WebM", id="images alone"),
    pytest.param("a.ts", {}, "it is no MP4, MOV, Matroska or WebM", id="a broadcast"),
    pytest.param("a.mp4", {"pixels": "yuv420p10le"}, "more than 8 bits", id="ten bits"),
    pytest.param("a.mp4", {"about": {"color_trc": 18}}, "high dynamic range", id="HLG"),
    pytest.param("a.mp4", {"turn": (0, True, False)}, "mirrored", id="mirrored"),
])  # fmt: skip
def test_what_would_come_out_otherwise_is_left_to_pyav(
    imitated, monkeypatch, tmp_path, name, given, why
):
    path = film(tmp_path / name, 5, **given)
    with pytest.raises(UnfitError, match=f"is not for torchcodec: .*{why}.*; give --decoder auto"):
        open_video(path, decode=opener("torchcodec", "cpu"))
    monkeypatch.setattr(tfsasm.pytorch, "find_device", torch.device)
    assert type(opener("auto", "cuda")(str(path), "a")) is Decoder


def test_a_playlist_is_not_given_to_torchcodec(imitated, tmp_path):
    """Which would open whatever it names."""
    film(tmp_path / "part.ts", 5)
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\npart.ts\n#EXT-X-ENDLIST\n")
    assert len(list(open_video(path))) == 5
    with pytest.raises(UnfitError, match="it is no MP4, MOV, Matroska or WebM file"):
        open_video(path, decode=on_cpu)


def test_torchcodec_is_taken_where_a_gpu_computes(imitated, monkeypatch, tmp_path):
    monkeypatch.setattr(tfsasm.pytorch, "side_queue", lambda device: None)  # there is no GPU
    monkeypatch.setattr(tfsasm.pytorch, "find_device", torch.device)
    path = str(film(tmp_path / "a.mp4", 2))
    assert type(opener("auto", "cuda:1")(path, "a")) is TorchcodecDecoder
    assert type(opener("torchcodec", "cpu")(path, "a")) is TorchcodecDecoder
    assert opener("pyav", "cuda") is Decoder
    for device in ("cpu", "mps"):
        assert opener("auto", device) is Decoder


@pytest.mark.skipif(find_spec("torchcodec") is not None, reason="torchcodec is installed")
def test_a_package_that_is_missing_is_named_if_it_is_asked_for():
    with pytest.raises(InputError, match="pip install torchcodec, and install FFmpeg"):
        opener("torchcodec", "cpu")
    assert opener("auto", "cuda") is Decoder  # without a look for the device


def test_libraries_that_are_missing_are_named(imitated, monkeypatch, caplog):
    sys.modules["torchcodec"].ffmpeg_major_version = None
    monkeypatch.setattr(tfsasm.pytorch, "find_device", torch.device)
    with pytest.raises(InputError, match=r"cannot be used \(no shared libraries of FFmpeg"):
        opener("torchcodec", "cpu")
    assert opener("auto", "cuda") is Decoder
    assert "install FFmpeg; PyAV decodes" in caplog.text


def test_a_frame_that_cannot_be_decoded_keeps_its_number(imitated, monkeypatch, tmp_path):
    usual = Imitation.get_frame_at

    def get(self, index):
        if index == 7:
            raise RuntimeError("Invalid data found when processing input")
        return usual(self, index)

    monkeypatch.setattr(Imitation, "get_frame_at", get)
    _, frames, end = read(film(tmp_path / "a.mp4"), decode=on_cpu)
    assert [number for number, _, _ in frames] == [*range(1, 8), *range(9, 31)]
    assert "lacks frame 8; the others keep their numbers" in end


@pytest.mark.cuda
def test_nvdec_gives_the_same_frames_but_for_the_rounding_of_colours(tmp_path):
    pytest.importorskip("torchcodec", reason="needs torchcodec")
    path = film(tmp_path / "a.mp4", bf="3")
    _, found, _ = read(path, decode=opener("torchcodec", "cuda"))
    _, wanted, _ = read(path)
    assert [frame[:2] for frame in found] == [frame[:2] for frame in wanted]
    for (_, _, image), (_, _, other) in zip(found, wanted, strict=True):
        assert np.abs(image.astype(int) - other).mean() < 3
