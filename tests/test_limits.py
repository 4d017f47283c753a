"""Files that ask for more than there is: refused by the name of the limit, before any memory is."""

from __future__ import annotations

import io
import os
import resource
import struct
import zipfile
import zlib

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from tfsasm.errors import InputError, TruncatedInput
from tfsasm.evaluation.trajectories import Trajectories, check
from tfsasm.files import check_output, read_json, write_json
from tfsasm.limits import (
    GROWTH,
    PIXELS,
    TEXT,
    image_size,
    is_odd,
    open_to_go_on,
    open_to_read,
)
from tfsasm.motchallenge import read_seqinfo
from tfsasm.pytorch import read_checkpoint_file
from tfsasm.tracking.appearance.tracker import AppearanceTracker
from tfsasm.video.source import open_video

FORMATS = ("jpg", "png", "bmp", "webp", "ppm", "pgm")


def encoded(suffix, height=30, width=40):
    image = np.zeros((height, width, 3), np.uint8)
    return cv2.imencode(f".{suffix}", image[..., 0] if suffix == "pgm" else image)[1].tobytes()


def png_of(width, height):
    """The few bytes of a PNG that claims that size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind, data):
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    pixels = zlib.compress(bytes(1000))
    parts = (b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def jpeg_of(width, height):
    """A JPEG whose header has been changed to that size."""
    data = bytearray(encoded("jpg"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_size_of_an_image_is_known_before_it_is_decoded(suffix):
    assert image_size(encoded(suffix)) == (40, 30)


@pytest.mark.parametrize("data", [
    pytest.param(b"", id="nothing"), pytest.param(b"\x89PNG\r\n\x1a\n", id="no header"),
    pytest.param(encoded("jpg")[:20], id="half a header"), pytest.param(b"text", id="no image"),
])
def test_a_header_that_cannot_be_read_has_no_size(data):
    assert image_size(data) is None


@pytest.mark.parametrize(("name", "data"), [
    pytest.param("a.png", png_of(60_000, 60_000), id="a PNG"),
    pytest.param("a.jpg", jpeg_of(65_000, 65_000), id="a JPEG"),
])
def test_an_image_of_too_many_pixels_is_refused_by_its_header(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=r"pixels per image, more than the limit of 268,435,456; "
                       r"if you trust it, set TFSASM_MAX_PIXELS="):  # fmt: skip
        list(open_video(tmp_path / name))


LONG = b"\xff" * 4  # a length


@pytest.mark.parametrize("spoilt", [
    pytest.param(lambda png: png[:33] + LONG + png[37:], id="after the header"),
    pytest.param(lambda png: png[:-12] + LONG + png[-8:], id="the last one"),
    pytest.param(lambda png: png[:33] + b"\0\0\0\x02IEND" + bytes(6) + LONG + png[-8:],
                 id="after a last one with a content"),
])
def test_a_part_of_a_png_that_is_longer_than_the_file_takes_no_memory(tmp_path, spoilt):
    """OpenCV would take 4 GB for it."""
    (tmp_path / "a.png").write_bytes(spoilt(encoded("png")))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TruncatedInput, match=r"a\.png .*is cut off"):
        list(open_video(tmp_path / "a.png"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 500_000  # KiB


def test_what_stands_behind_the_last_part_of_a_png_is_not_read(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded("png") + LONG + b"IDAT")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(list(open_video(tmp_path / "a.png"))) == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 500_000  # KiB


@pytest.mark.parametrize("data", [
    pytest.param(b"PF\n9000 9000\n-1.0\n" + bytes(99), id="PFM"),
    pytest.param(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 9000 +X 9000\n" + bytes(99), id="HDR"),
    pytest.param(struct.pack(">8I", 0x59A66A95, 9000, 9000, 24, 0, 1, 0, 0) + bytes(99), id="Sun"),
])
def test_an_image_whose_size_is_not_known_before_is_not_decoded(tmp_path, data, monkeypatch):
    """Behind a usual name, for OpenCV looks at the content."""
    monkeypatch.setattr("cv2.imdecode", None)
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(TruncatedInput, match="cannot be decoded"):
        list(open_video(tmp_path / "a.jpg"))


def test_an_image_file_without_an_end_is_not_read(tmp_path):
    with (tmp_path / "1.png").open("wb") as file:
        file.truncate(2**33)  # takes no space
    with pytest.raises(InputError, match=r"has 8,589,934,592 bytes in an image file, more than.*"
                       "TFSASM_MAX_IMAGE_BYTES"):  # fmt: skip
        open_video(tmp_path)
    (tmp_path / "a.jpg").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"a\.jpg is a pipe or a device"):
        open_video(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", [*FORMATS, "tif", "avif"])
def test_usual_images_are_decoded(tmp_path, suffix):
    if suffix == "avif" and not cv2.haveImageWriter("a.avif"):
        pytest.skip("OpenCV without AVIF")
    (tmp_path / "a.jpg").write_bytes(encoded(suffix))
    assert [frame.image.shape for frame in open_video(tmp_path / "a.jpg")] == [(30, 40, 3)]


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "mpeg4"), ("gif", "gif")])
def test_a_video_of_too_many_pixels_is_refused_by_its_header(tmp_path, monkeypatch, suffix, codec):
    path = tmp_path / f"a.{suffix}"
    if suffix == "gif":
        Image.new("RGB", (64, 48)).save(path)
    else:
        with av.open(str(path), "w") as file:
            stream = file.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            file.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
            file.mux(stream.encode(None))
    monkeypatch.setenv(PIXELS.variable, "3071")
    with pytest.raises(InputError, match=r"has 3,072 pixels per image.*TFSASM_MAX_PIXELS=3072"):
        open_video(path)
    monkeypatch.setenv(PIXELS.variable, "3072")
    assert len(list(open_video(path))) == 1


def test_a_text_that_is_too_large_is_refused_before_it_is_read(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text("[1, 2, 3]")
    monkeypatch.setenv(TEXT.variable, "8")
    with pytest.raises(InputError, match=r"a\.json has 9 bytes of text.*TFSASM_MAX_TEXT_BYTES=9"):
        read_json(tmp_path / "a.json")
    monkeypatch.setenv(TEXT.variable, "9")
    assert read_json(tmp_path / "a.json") == [1, 2, 3]


def test_a_device_without_an_end_is_not_read_to_it(monkeypatch):
    monkeypatch.setenv(TEXT.variable, "1000")
    with pytest.raises(InputError, match="/dev/zero is a pipe or a device"):
        read_json("/dev/zero")
    monkeypatch.setenv(TEXT.variable, "4")
    with pytest.raises(InputError, match="/proc/self/status has 5 bytes of text, more than the"):
        read_json("/proc/self/status")  # says that it has none


def test_json_in_too_many_layers_is_refused_in_words(tmp_path):
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"nested too deep, in more than some [\d,]+ lists"):
        read_json(tmp_path / "a.json")


def archive_that_grows(path, spoil=lambda data: None):
    """Ten million zeros in a zip, and `spoil` changes its bytes in place."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(10_000_000))
    data = bytearray(packed.getvalue())
    spoil(data)
    path.write_bytes(data)
    return path


def test_an_archive_that_grows_is_refused_before_it_is_unpacked(tmp_path):
    path = archive_that_grows(tmp_path / "a.pth")
    with pytest.raises(InputError, match=rf"when unpacked, more .* of {GROWTH.usual};.*MAX_GROWTH"):
        read_checkpoint_file(path)


def of_a_later_version(data):
    at = data.index(b"PK\x01\x02")
    data[at + 6] = 99


def with_a_second_list(data):
    """One of a file of no bytes before the end: Python looks there, others where the end says."""
    at, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    harmless = bytearray(data[at:end])
    harmless[20:28] = bytes(8)
    data[end:end] = harmless


def with_a_long_end(data):
    """One more end, of large archives, that says the list is elsewhere."""
    with_a_second_list(data)
    end = data.index(b"PK\x05\x06")
    first = struct.pack("<I", data.index(b"PK\x01\x02"))
    size = struct.unpack("<I", data[end + 12 : end + 16])[0]
    assert data[end + 16 : end + 20] == first
    longer = struct.pack(
        "<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, data.index(b"PK\x01\x02")
    )
    data[end + 16 : end + 20] = b"\xff" * 4
    data[end:end] = longer + struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)


@pytest.mark.parametrize("spoil", [of_a_later_version, with_a_second_list, with_a_long_end])
def test_an_archive_whose_contents_cannot_be_known_is_refused(tmp_path, spoil):
    path = archive_that_grows(tmp_path / "a.pth", spoil)
    with pytest.raises(InputError, match=r"a\.pth is a damaged archive"):
        read_checkpoint_file(path)


def test_a_sequence_of_too_many_frames_is_refused(tmp_path):
    (tmp_path / "seqinfo.ini").write_text("[Sequence]\nseqLength=999999999\n")
    with pytest.raises(InputError, match=r"seqinfo\.ini has 999,999,999 frames.*TFSASM_MAX_FRAMES"):
        read_seqinfo(tmp_path / "seqinfo.ini")
    boxes = Trajectories.of([1, 999_999_999], [1, 1], [[0, 0, 9, 9]] * 2)
    with pytest.raises(InputError, match=r"r\.txt has 999,999,999 frames"):
        check(boxes, 999_999_999, "r.txt")


def test_a_rate_whose_digits_would_fill_the_memory_is_refused(tmp_path):
    (tmp_path / "seqinfo.ini").write_text("[Sequence]\nframeRate=1e9999999999\n")
    with pytest.raises(InputError, match="frameRate=1e9999999999 is not a number such as 30"):
        read_seqinfo(tmp_path / "seqinfo.ini")


@pytest.mark.parametrize("text", ["", "many", "-1", "0", "1.5", "²"])
def test_a_limit_that_is_no_number_is_refused(monkeypatch, text):
    monkeypatch.setenv(PIXELS.variable, text)
    with pytest.raises(InputError, match=r"TFSASM_MAX_PIXELS=.* is not a whole number above 0"):
        PIXELS.check(1, "x")


def pipe(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


ODD = [pytest.param(pipe, id="a pipe"), pytest.param(device, id="a device")]


@pytest.mark.parametrize("make", ODD)
def test_what_may_have_no_end_is_not_waited_for(tmp_path, make):
    make(tmp_path / "det.txt")
    with pytest.raises(InputError, match=r"det\.txt is a pipe or a device; save what comes"):
        open_to_read(tmp_path / "det.txt")


def test_a_file_behind_a_link_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"boxes")
    (tmp_path / "b").symlink_to("a")
    with open_to_read(tmp_path / "b") as file:
        assert file.read() == b"boxes"


def test_what_cannot_be_opened_is_said_by_the_system(tmp_path):
    with pytest.raises(IsADirectoryError):
        open_to_read(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_to_read(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        open_to_go_on(tmp_path)


def test_a_record_is_made_and_goes_on(tmp_path):
    for text in (b"one", b"two"):
        with open_to_go_on(tmp_path / "record") as file:
            file.seek(0, os.SEEK_END)
            file.write(text)
    assert (tmp_path / "record").read_bytes() == b"onetwo"


@pytest.mark.parametrize("there", [True, False])
def test_a_record_is_never_written_through_a_link(tmp_path, there):
    if there:
        (tmp_path / "secret").write_text("mine")
    (tmp_path / "record").symlink_to("secret")
    with pytest.raises(InputError, match=r"record is a link, a pipe or a device.*remove it"):
        open_to_go_on(tmp_path / "record")
    assert (tmp_path / "secret").exists() == there
    assert not there or (tmp_path / "secret").read_text() == "mine"


@pytest.mark.parametrize("make", ODD)
def test_a_record_is_no_pipe(tmp_path, make):
    make(tmp_path / "record")
    with pytest.raises(InputError, match="where a record is to be written"):
        open_to_go_on(tmp_path / "record")


@pytest.mark.parametrize("make", ODD)
def test_a_device_is_never_replaced_by_a_file(tmp_path, make):
    """As root writes `--json /dev/null`."""
    output = tmp_path / "out.json"
    make(output)
    for name in (output, "/dev/out.json"):
        with pytest.raises(InputError, match="is a pipe or a device; give the name of a file"):
            check_output(name, overwrite=True)
    with pytest.raises(InputError, match="is a pipe or a device; give the name of a file"):
        write_json(output, {})
    assert is_odd(output)


def test_a_frame_of_more_boxes_than_any_detector_gives_is_refused(monkeypatch):
    monkeypatch.setenv("TFSASM_MAX_BOXES", "3")
    tracker = AppearanceTracker()
    boxes = np.array([[10.0 * k, 10, 10 * k + 8, 30, 0.9] for k in range(4)])
    tracker.update(boxes[:3])
    with pytest.raises(InputError, match=r"a frame has 4 boxes, more than .* 3.*TFSASM_MAX_BOXES"):
        tracker.update(boxes)
