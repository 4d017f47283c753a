"""The sound of a video is in the annotated one, at its place."""

import av
import numpy as np
import pytest

from tfsasm.video.source import open_video
from tfsasm.video.writer import VideoWriter

RATE = 16_000


@pytest.fixture(scope="module")
def talking(tmp_path_factory):
    """Writes a video that talks to a path; those of one kind are made once."""
    known = {}

    def put(path, codec="aac"):
        kind = path.suffix, codec
        if kind not in known:
            known[kind] = talk(tmp_path_factory.mktemp("talking") / path.name, codec).read_bytes()
        path.write_bytes(known[kind])
        return path

    return put


def talk(path, codec, seconds=4):
    """A video of 10 frames per second whose sound is silent but for a beep in its third second."""
    clock = np.arange(seconds * RATE)
    wave = np.where(clock // RATE == 2, np.sin(clock * 0.4) * 12_000, 0).astype(np.int16)
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = file.add_stream(codec, rate=RATE)
        audio.layout = "mono"
        for level in range(seconds * 10):
            image = np.full((48, 64, 3), 40 + 4 * level, np.uint8)
            file.mux(video.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        for begin in range(0, len(wave), 1000):
            frame = av.AudioFrame.from_ndarray(wave[None, begin : begin + 1000], "s16", "mono")
            frame.sample_rate, frame.pts = RATE, begin
            file.mux(audio.encode(frame))
        file.mux(video.encode(None))
        file.mux(audio.encode(None))
    return path


def beep(path):
    """The codec, when the beep begins and ends, and when the sound ends, in seconds."""
    loud, end = [], 0.0
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        first = float((file.streams.video[0].start_time or 0) * file.streams.video[0].time_base)
        for frame in file.decode(stream):
            samples = frame.to_ndarray().astype(float)
            samples /= 1 if frame.format.name.startswith("flt") else 32768
            at, rate = float(frame.pts * frame.time_base) - first, frame.sample_rate
            where = np.flatnonzero(np.abs(samples[0]) > 0.15)
            loud += (at + where / rate).tolist()
            end = at + samples.shape[-1] / rate
        return stream.codec_context.codec.canonical_name, min(loud), max(loud), end


def drawn(source, path, **given):
    with open_video(source, **given) as frames, VideoWriter(
        path, frames.rate, sound=frames.sound
    ) as movie:
        for frame in frames:
            movie.write(frame.image, frame.time)
    return path


@pytest.mark.parametrize(("source", "codec", "output", "wanted"), [
    ("a.mp4", "aac", "b.mp4", "aac"),
    ("a.mkv", "libopus", "b.mp4", "opus"),
    ("a.mkv", "libopus", "b.mov", "aac"),
    ("a.avi", "pcm_s16le", "b.mp4", "aac"),
    ("a.avi", "pcm_s16le", "b.avi", "pcm_s16le"),
    ("a.mp4", "aac", "b.avi", "mp3"),
    ("a.mov", "pcm_s16le", "b.mkv", "pcm_s16le"),
    ("a.ts", "aac", "b.mp4", "aac"),
    ("a.mkv", "flac", "b.mkv", "flac"),
])
def test_the_sound_is_kept(tmp_path, talking, source, codec, output, wanted):
    path = drawn(talking(tmp_path / source, codec), tmp_path / output)
    name, begin, end, _ = beep(path)
    assert name == wanted
    assert (begin, end) == pytest.approx((2, 3), abs=0.12)
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []
    with open_video(path) as frames:
        assert len(list(frames)) == 40


@pytest.mark.parametrize(("given", "begin", "length"), [
    pytest.param({"start": 11}, 1, 3, id="start"),
    pytest.param({"end": 30}, 2, 3, id="end"),
    pytest.param({"stride": 4}, 2, 4, id="stride: time goes on as it did"),
    pytest.param({"start": 16, "end": 35, "stride": 5}, 0.5, 2, id="all three"),
])
@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_the_sound_is_cut_with_the_frames(tmp_path, talking, given, begin, length, codec):
    source = talking(tmp_path / ("a.mp4" if codec == "aac" else "a.mov"), codec)
    _, first, _, end = beep(drawn(source, tmp_path / "b.mp4", **given))
    assert first == pytest.approx(begin, abs=0.12)
    assert end == pytest.approx(length, abs=0.15)


def test_a_silent_video_stays_silent(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 10) as movie:
        movie.write(np.zeros((48, 64, 3), np.uint8))
    with av.open(str(drawn(tmp_path / "a.mp4", tmp_path / "b.mp4"))) as file:
        assert not file.streams.audio


def test_sound_that_cannot_be_read_is_told(tmp_path, talking, caplog):
    source = talking(tmp_path / "a.mp4")
    with open_video(source) as frames:
        movie = VideoWriter(tmp_path / "b.mp4", 10, sound=frames.sound)
        for frame in frames:
            movie.write(frame.image, frame.time)
    source.unlink()
    movie.close()
    assert "a.mp4: its sound is left out: No such file" in caplog.text
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.mp4"]


@pytest.mark.parametrize("output", ["b.mp4", "b.avi"])
def test_the_sound_of_recordings_that_were_joined_goes_on_as_their_images_do(
    tmp_path, talking, output
):
    """By `cat`: the clock of the second one starts anew."""
    whole = talking(tmp_path / "a.ts").read_bytes()
    (tmp_path / "joined.ts").write_bytes(whole + whole)
    _, begin, last, end = beep(drawn(tmp_path / "joined.ts", tmp_path / output))
    assert (begin, last, end) == (pytest.approx(2, abs=0.1), pytest.approx(7, abs=0.3),
                                  pytest.approx(8, abs=0.3))  # fmt: skip
