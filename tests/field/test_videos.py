"""Videos as recorders, phones and downloads leave them: damaged, joined, mirrored, oddly named."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import threading
from collections.abc import Iterable
from fractions import Fraction
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

from helpers.videos import BLACK, encode
from tfsasm.errors import InputError, TruncatedInput
from tfsasm.tracking.report import read_page
from tfsasm.video import decoder
from tfsasm.video.source import VideoSource, open_video
from tfsasm.video.timeline import Timeline
from tfsasm.video.writer import VideoWriter

FRAMES, BITS = 150, 8


def film(
    path: Path, frames: int = FRAMES, first: int = 1, *, rate: int = 25,
    beats: Iterable[int] = range(FRAMES),
) -> Path:
    """A video that shows the number of each frame as white columns, one frame at each beat."""
    still = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    still = still.repeat(5, 0).repeat(5, 1)

    def image(number: int) -> np.ndarray:
        moved = np.roll(still, 2 * number, 1)
        for bit in range(BITS):
            moved[:8, 10 * bit : 10 * (bit + 1)] = 255 * (number >> bit & 1)
        return moved

    images = (image(number) for number, _ in zip(range(first, first + frames), beats, strict=False))
    return encode(path, images, rate, times=beats, g="12", crf="24")


def shown(image: np.ndarray) -> int:
    """The number that an image of such a video shows."""
    columns = (image[2:6, 10 * bit + 3 : 10 * bit + 7].mean() for bit in range(BITS))
    return sum((column > 128) << bit for bit, column in enumerate(columns))


def with_noise(path: Path, at: float, length: int = 2000) -> Path:
    data = bytearray(path.read_bytes())
    begin = int(at * len(data))
    data[begin : begin + length] = np.random.default_rng(0).bytes(length)
    path.write_bytes(data)
    return path


def read(path: Path | str) -> tuple[dict[int, int], str]:
    """What each frame shows by its number, and how the reading ended."""
    numbers: dict[int, int] = {}
    try:
        for frame in open_video(path):
            numbers[frame.number] = shown(frame.image)
    except TruncatedInput as error:
        return numbers, str(error)
    return numbers, ""


@pytest.fixture(scope="module", params=["mp4", "mkv", "ts", "avi"])
def whole_film(request, tmp_path_factory):
    return film(tmp_path_factory.mktemp("whole") / f"clip.{request.param}")


@pytest.mark.parametrize("at", [0.3, 0.5, 0.7])
def test_damage_in_the_middle_shifts_no_number(tmp_path, whole_film, at):
    """DeepLabCut/DeepLabCut#1996, meta-pytorch/torchcodec#165."""
    numbers, end = read(with_noise(Path(shutil.copy(whole_film, tmp_path)), at))
    whole = [n for n in numbers if n < (at - 0.2) * FRAMES or n > (at + 0.2) * FRAMES]
    assert len(whole) > 80
    assert all(numbers[number] == number for number in whole)
    lost = sorted(set(range(1, FRAMES + 1)) - set(numbers))
    assert bool(lost) == ("lacks" in end)
    if lost:
        assert f"lacks {len(lost)} frames, {lost[0]}" in end or f"lacks frame {lost[0]}" in end


def test_frames_lost_before_the_first_readable_one_count(tmp_path):
    """meta-pytorch/torchcodec#505."""
    path = film(tmp_path / "clip.mkv")
    numbers, end = read(with_noise(path, 0.02, path.stat().st_size // 3))
    assert min(numbers) > 12
    assert numbers[FRAMES] == FRAMES
    assert "frames, 1-" in end


def test_a_file_without_its_end_says_so_though_its_length_is_whole(tmp_path):
    """The last cluster was overwritten: opencv/opencv#16576."""
    path = film(tmp_path / "clip.mkv")
    numbers, end = read(with_noise(path, 0.75, path.stat().st_size // 4))
    assert list(numbers) == list(range(1, len(numbers) + 1))
    assert f"ends early: {FRAMES - len(numbers)} frames at its end are missing" in end


def test_a_file_slower_than_its_header_says_lacks_nothing(tmp_path):
    """opencv/opencv#12810: 25 frames per second are declared, every other one is there."""
    path = encode(tmp_path / "slow.mkv", [BLACK] * 30, times=range(0, 60, 2))
    assert [frame.number for frame in open_video(path)] == list(range(1, 31))


def test_two_recordings_joined_by_cat_play_one_after_the_other(tmp_path):
    """FFMS/ffms2#258."""
    parts = [film(tmp_path / "a.ts", 30), film(tmp_path / "b.ts", 30, first=31)]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    source = open_video(joined)
    frames = list(source)
    assert [shown(frame.image) for frame in frames] == list(range(1, 61))
    assert [frame.number for frame in frames] == list(range(1, 61))
    assert [frame.time for frame in frames] == pytest.approx([n / 25 for n in range(60)])
    assert source.problems == [f"{joined}: its clock starts anew at frame 31; times go on"]
    with VideoWriter(tmp_path / "out.mp4", source.rate) as writer:
        for frame in frames:
            writer.write(frame.image, frame.time)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.duration == 60 / 25 * av.time_base


def test_a_recording_that_goes_on_at_half_the_rate_lacks_nothing(tmp_path):
    """gpac/gpac#2456: recordings joined by cat."""
    parts = [film(tmp_path / "a.ts", 30, rate=50), film(tmp_path / "b.ts", 30, first=31)]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert read(joined) == ({n: n for n in range(1, 61)}, "")


def test_films_joined_by_cat_are_not_taken_for_one(tmp_path):
    """roju/tiktok-live-recorder#11: an MP4 is read to the end of its first part only."""
    parts = [film(tmp_path / "a.mp4", 20), film(tmp_path / "b.mp4", 20, first=21)]
    joined = tmp_path / "joined.mp4"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    numbers, end = read(joined)
    assert numbers == {n: n for n in range(1, 21)}
    assert "joined.mp4 ends early: 1 more film(s) behind its first are not read" in end


@pytest.mark.parametrize("suffix", ["mkv", "ts", "flv"])
@pytest.mark.parametrize("late", [
    pytest.param([2] * 60, id="half as many"), pytest.param([1, 2, 3] * 20, id="now and then"),
])  # fmt: skip
def test_a_rate_that_begins_to_vary_later_is_no_loss(tmp_path, suffix, late):
    """Anime4000/IFME#13: screen recordings keep only frames that changed."""
    beats = [0, *itertools.accumulate([1] * 60 + late)]
    path = film(tmp_path / f"screen.{suffix}", len(beats), rate=30, beats=beats)
    assert read(path) == ({n: n for n in range(1, len(beats) + 1)}, "")
    address = VideoSource(partial(decoder.Decoder, str(path), "", live=True), range(1, 999), 0)
    assert sum(1 for _ in address) == len(beats), "nor is it where a server has the file"


def test_large_packets_are_not_read_far_ahead(tmp_path, monkeypatch):
    """Of lossless video some dozens of them would fill the memory."""
    path, heard, usual = film(tmp_path / "clip.mkv", 120), [], Timeline.coming
    monkeypatch.setattr(Timeline, "coming", lambda *given: [heard.append(given), usual(*given)])

    def read_before_the_first_image():
        heard.clear()
        with open_video(path) as source:
            next(iter(source))
        return len(heard)

    small = read_before_the_first_image()
    monkeypatch.setattr(decoder, "HELD", 0)
    assert read_before_the_first_image() < small - 40


@pytest.mark.parametrize("suffix", ["ts", "m2ts"])
def test_a_broadcast_that_ends_within_a_packet_is_cut_short(tmp_path, suffix):
    """lossless1024/StreaMonitor#236: the program that recorded it was stopped."""
    path = film(tmp_path / f"clip.{suffix}", 40)
    assert read(path) == ({n: n for n in range(1, 41)}, "")
    data, packet = path.read_bytes(), 188 if suffix == "ts" else 192
    for share in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        path.write_bytes(data[: int(share * len(data)) // packet * packet + 100])
        numbers, end = read(path)
        assert numbers == {n: n for n in numbers}
        assert f"clip.{suffix} ends early: the file ends within a packet" in end


def test_damage_in_a_stream_without_times_says_that_numbers_may_move(tmp_path):
    """PyAV-Org/PyAV#687: raw H.264."""
    path = film(tmp_path / "clip.h264")
    assert read(path) == ({n: n for n in range(1, FRAMES + 1)}, "")
    numbers, end = read(with_noise(path, 0.5))
    assert len(numbers) < FRAMES
    assert "clip.h264 has no times; what its damage took moves the numbers after frame" in end


@pytest.mark.parametrize("turn", [0, 90, 180, -90])
@pytest.mark.parametrize(("across", "down"), [(True, False), (False, True), (True, True)])
def test_a_mirrored_display_matrix_is_obeyed(tmp_path, turn, across, down):
    """FFMS/ffms2#317, mpv-player/mpv#16090."""
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24, :32], stored[24:, :16] = 255, 128
    path = encode(tmp_path / "selfie.mp4", [stored], turn=(turn, across, down), crf="5")
    upright = np.rot90(stored, turn // 90)
    upright = upright[:: -1 if down else 1, :: -1 if across else 1]
    with open_video(path) as source:
        (frame,) = source
    assert source.size == (upright.shape[1], upright.shape[0])
    assert np.abs(frame.image.astype(int) - upright).mean() < 4


@pytest.mark.parametrize(
    ("source", "turn"), [("dvd.mp4", 0), ("dvd.mp4", 90), ("dvd.mkv", 0), ("dvd.ts", 0)]
)
@pytest.mark.parametrize("output", ["drawn.mp4", "drawn.mkv", "drawn.avi"])
def test_a_video_whose_pixels_are_no_squares_looks_alike_annotated(tmp_path, source, output, turn):
    """chaiNNer-org/chaiNNer#3298: broadcasts, DVDs and surveillance recorders."""
    about = {"sample_aspect_ratio": Fraction(16, 11)}
    encode(tmp_path / source, [BLACK], turn=(turn, False, False), about=about)
    with (
        open_video(tmp_path / source) as film,
        VideoWriter(tmp_path / output, film.rate, aspect=film.aspect) as drawn,
    ):
        for frame in film:
            drawn.write(frame.image, frame.time)
    assert open_video(tmp_path / output).aspect == (Fraction(11, 16) if turn else Fraction(16, 11))


def test_what_track_and_show_write_has_the_shape_of_its_source(tfsasm, tmp_path):
    """chaiNNer-org/chaiNNer#3298."""
    with VideoWriter(tmp_path / "dvd.mp4", 25, aspect=Fraction(16, 11)) as video:
        for _ in range(3):
            video.write(np.zeros((48, 64, 3), np.uint8))
    (tmp_path / "det.txt").write_text("1,1,10,10,20,30,0.9\n2,1,10,10,20,30,0.9\n")
    for arguments in (
        ("track", tmp_path / "dvd.mp4", "--detections", tmp_path / "det.txt", "--embedder", "none"),
        ("show", "--source", tmp_path / "dvd.mp4", "--results", tmp_path / "det.txt",
         "--output", tmp_path / "shown.mp4"),
    ):  # fmt: skip
        assert tfsasm(*arguments, "--quiet").code == 0
    for name in ("dvd.tracked.mp4", "shown.mp4"):
        assert open_video(tmp_path / name).aspect == Fraction(16, 11)
    assert read_page(tmp_path / "dvd.report.html")["aspect"] == pytest.approx(16 / 11, abs=1e-4)


def test_avi_of_irregular_times_lasts_as_long_as_its_source(tmp_path, caplog):
    """shaksternano/borgar#75, radek-k/FFMediaToolkit#126."""
    times = [0, 0.04, 0.08, 0.48, 0.52, 0.88, 2.0, 3.48]
    with VideoWriter(tmp_path / "out.avi", Fraction(25)) as writer:
        for level, time in enumerate(times):
            writer.write(np.full((48, 64, 3), 30 * level, np.uint8), time)
    frames = list(open_video(tmp_path / "out.avi"))
    assert len(frames) / 25 == 3.52
    for level, time in enumerate(times):
        assert frames[round(25 * time)].image.mean() == pytest.approx(30 * level, abs=6)
    assert "AVI has no times" in caplog.text


def test_names_may_hold_colons(tmp_path, monkeypatch):
    """ytdl-org/youtube-dl#6286, facebookresearch/SlowFast#325."""
    monkeypatch.chdir(tmp_path)
    film(Path("2024-05-01T10:30:00.mp4"), 5)
    frames = list(open_video("2024-05-01T10:30:00.mp4"))
    assert len(frames) == 5
    with VideoWriter("out:1.mp4", 25) as writer:
        for frame in frames:
            writer.write(frame.image, frame.time)
    assert len(list(open_video("out:1.mp4"))) == 5
    assert len(list(open_video((tmp_path / "out:1.mp4").as_uri()))) == 5


@contextlib.contextmanager
def server(files: dict[str, bytes]):
    """Files at an address of this computer, and the names that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200 if self.path in files else 404)
            self.send_header("Content-Length", str(len(files.get(self.path, b""))))
            self.end_headers()
            self.wfile.write(files.get(self.path, b""))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{http.server_port}", asked
        finally:
            http.shutdown()


def playlist(entry: str) -> bytes:
    head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n"
    return f"{head}#EXTINF:0.2,\n{entry}\n#EXT-X-ENDLIST\n".encode()


@pytest.mark.parametrize("kind", ["m3u8", "ffconcat"])
def test_a_playlist_on_disk_reaches_no_network(tmp_path, kind):
    """ytdl-org/youtube-dl#8227."""
    path = tmp_path / f"list.{kind}"
    with server({}) as (address, asked):
        entry = f"{address}/clip.ts"
        listed = f"ffconcat version 1.0\nfile '{entry}'\n".encode()
        path.write_bytes(playlist(entry) if kind == "m3u8" else listed)
        with pytest.raises(
            InputError, match=rf"list\.{kind} is a playlist, which may name files only"
        ):
            open_video(path)
        assert asked == []


def test_a_playlist_on_disk_may_name_files_beside_it(tmp_path):
    film(tmp_path / "clip.ts", 5)
    (tmp_path / "list.m3u8").write_bytes(playlist("clip.ts"))
    assert len(list(open_video(tmp_path / "list.m3u8"))) == 5


@pytest.mark.parametrize(("kind", "entry"), [
    *itertools.product(["m3u8", "ffconcat", "ffconcat of m3u8"],
                       ["../clip.ts", "{above}/clip.ts", "file:{above}/clip.ts"]),
    ("m3u8", "link.ts"),
])  # fmt: skip
def test_a_playlist_on_disk_shows_nothing_from_elsewhere(tmp_path, kind, entry):
    """It may have come with the videos of others, and the result may go to them."""
    film(tmp_path / "clip.ts", 5)
    (inner := tmp_path / "inner").mkdir()
    (inner / "link.ts").symlink_to("../clip.ts")
    entry = entry.format(above=tmp_path)
    (inner / "list.m3u8").write_bytes(playlist(entry))
    listed = "list.m3u8" if kind == "ffconcat of m3u8" else entry
    (inner / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile '{listed}'\n")
    with pytest.raises(InputError, match=r"is a playlist, which may name files only, beside"):
        open_video(inner / f"list.{kind.split()[0]}")


@pytest.mark.parametrize("suffix", ["mp4", "ts", "mkv"])
def test_a_list_on_disk_joins_videos_of_any_kind(tmp_path, suffix):
    film(tmp_path / f"clip.{suffix}", 5)
    listed = f"ffconcat version 1.0\nfile clip.{suffix}\nfile clip.{suffix}\n"
    (tmp_path / "list.ffconcat").write_text(listed)
    assert len(list(open_video(tmp_path / "list.ffconcat"))) == 10


def test_a_playlist_from_a_network_reaches_no_file(tmp_path):
    """ytdl-org/youtube-dl#8227."""
    clip = film(tmp_path / "clip.ts", 5)
    files = {"/own.m3u8": playlist("clip.ts"), "/clip.ts": clip.read_bytes()}
    files["/foreign.m3u8"] = playlist(clip.as_uri())
    with server(files) as (address, _):
        assert len(list(open_video(f"{address}/own.m3u8"))) == 5
        with pytest.raises(InputError, match=r"foreign\.m3u8 cannot be opened"):
            open_video(f"{address}/foreign.m3u8")


def test_a_codec_that_no_decoder_knows_is_refused_in_words(tmp_path):
    path = film(tmp_path / "a.mp4", frames=2)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"xxxx").replace(b"avcC", b"free"))
    with pytest.raises(InputError, match=r"a\.mp4 is in a format that FFmpeg cannot decode here"):
        open_video(path)
