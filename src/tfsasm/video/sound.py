"""The sound of a video beside its annotated frames: copied packets, or encoded where need be."""

import heapq
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from tfsasm.video.containers import open_container

log = logging.getLogger(__name__)

COPIED = {
    ".mp4": {"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"},
    ".mov": {"aac", "mp3", "ac3", "alac", "pcm_s16le", "pcm_s24le", "pcm_s16be", "pcm_s24be"},
    ".mkv": {"aac", "mp3", "ac3", "eac3", "opus", "vorbis", "flac", "alac", "pcm_s16le"},
    ".avi": {"mp3", "ac3", "pcm_s16le", "pcm_u8"},
}
"""Codecs that players expect in a container; others are encoded anew."""

ENCODER = {".avi": "libmp3lame"}  # else AAC

USUAL_RATES = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Samples per second that AAC and MP3 both have."""

_BACK = 0.5  # seconds by which a clock falls back where it starts anew

_BEFORE = 0.001  # seconds by which a packet may precede the first frame


@dataclass(frozen=True)
class Sound:
    """The sound of a video file."""

    path: Path
    start: float
    """When the first frame is shown, in seconds of the file's clock."""


def add_sound(video: Path, sound: Sound, begin: float, seconds: float) -> None:
    """Put into `video` the sound that its source has from `begin` seconds after its first frame on.

    It is cut to `seconds`. Where it cannot be read or written the video stays silent, with a
    warning.
    """
    offset = sound.start + begin
    partial = video.with_name(f"{video.stem}.sound{video.suffix}")
    try:
        for copy in (True, False):
            try:
                if _muxed(video, sound.path, partial, offset, seconds, copy=copy):
                    os.replace(partial, video)
                return
            except (av.error.FFmpegError, OSError, ValueError) as error:
                if not copy:
                    log.warning("%s: its sound is left out: %s", sound.path.as_posix(),
                                getattr(error, "strerror", None) or error)  # fmt: skip
    finally:
        partial.unlink(missing_ok=True)


def _muxed(
    video: Path, path: Path, output: Path, offset: float, seconds: float, *, copy: bool
) -> bool:
    """Whether there was sound; `copy` is for packets that `output` takes as they are."""
    suffix = output.suffix.lower()
    with av.open(f"file:{video}") as frames, open_container(path) as source:
        if not source.streams.audio:
            return False
        given: Any = source.streams.best("audio")
        shown = frames.streams.video[0]
        zero = float((shown.start_time or 0) * (shown.time_base or 0))  # of Matroska it is not 0
        when = offset, zero, seconds
        flags = {"movflags": "+faststart"} if suffix in (".mp4", ".mov") else {}
        with av.open(f"file:{output}", "w", options=flags) as written:
            images = written.add_stream_from_template(shown)
            # FFmpeg prefers decoders such as mp3float and libopus.
            codec = given.codec_context.name.removeprefix("lib").removesuffix("float")
            if copy and codec in COPIED[suffix]:
                heard: Any = written.add_stream_from_template(given)
                packets = _of(heard, _heard(source.demux(given), *when))
            else:
                rate = given.codec_context.sample_rate
                heard = written.add_stream(
                    ENCODER.get(suffix, "aac"), rate=rate if rate in USUAL_RATES else 48_000
                )
                heard.layout = "mono" if given.codec_context.channels == 1 else "stereo"
                packets = _encoded(_heard(source.decode(given), *when), heard)
            shows = _of(images, frames.demux(shown))
            for packet in heapq.merge(
                shows, packets, key=lambda packet: float((packet.dts or 0) * packet.time_base)
            ):
                written.mux(packet)
    return True


def _of(stream: Any, packets: Iterator[Any]) -> Iterator[Any]:
    """Packets that become some of `stream`."""
    for packet in packets:
        if packet.size:
            packet.dts = packet.pts if packet.dts is None else packet.dts
            packet.stream = stream
            yield packet


def _heard(sounds: Iterator[Any], offset: float, zero: float, seconds: float) -> Iterator[Any]:
    """Packets or frames from `offset` on, for so many seconds, by a clock that begins at `zero`.

    Their times go on where the file's clock starts anew, as those of images do (`timeline.py`).
    """
    end, shift = None, 0
    for sound in sounds:
        if sound.pts is None:
            continue
        if end is not None and (end - sound.pts - shift) * sound.time_base > _BACK:
            shift = end - sound.pts
        sound.pts += shift
        end = sound.pts + (sound.duration or 0)
        time = float(sound.pts * sound.time_base) - offset
        if time >= seconds:
            return
        if time >= -_BEFORE:
            sound.pts = max(0, sound.pts - round(Fraction(offset - zero) / sound.time_base))
            sound.dts = sound.pts
            yield sound


def _encoded(frames: Iterator[Any], stream: Any) -> Iterator[Any]:
    for frame in frames:
        yield from stream.encode(frame)
    yield from stream.encode(None)
