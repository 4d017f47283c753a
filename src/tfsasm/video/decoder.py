"""Images of a video file, a camera or a stream, by PyAV: in order, upright, as far as they go.

A damaged file still gives all it has. Where a packet fails is counted and decoding goes on; why it
stopped before the end is kept as a reason, for the caller to report after the last good image.
"""

from __future__ import annotations

import itertools
import sys
import time as clock
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

import av.device
import numpy as np

from tfsasm.errors import InputError
from tfsasm.video.truncation import container_is_cut

STREAM_TIMEOUT = 20.0  # seconds without a byte after which a network stream is given up

REORDERED = 16  # frames a decoder may still hold when a later packet fails


class Decoder:
    """An open video. Local files are decoded on all cores, `live` ones without delay.

    `rate` is in frames per second, exact, None when unknown; `size` is `(width, height)` of the
    first image. `declared` is the number of frames in the file's header and `total` the same or
    else what its length amounts to; 0 when the file has neither. `damage` holds, for each packet
    that failed, how many images had come out before it.

    Raises `InputError` when there is no image to decode.
    """

    def __init__(self, address: str, label: str, *, live: bool, format: str | None = None) -> None:
        self.label = label
        self.damage: list[int] = []
        self._path = None if live else Path(address)
        self._failure = ""  # why decoding stopped, when it was not the end
        self._container = _open_container(address, label, live, format)
        try:
            self._open_stream(live)
            self._start()
        except BaseException:
            self._container.close()
            raise

    def __iter__(self) -> Iterator[av.VideoFrame]:
        """Images in order, not converted yet. A last one that is marked as damaged is left out."""
        return self._images

    def close(self) -> None:
        """Release the file or the device."""
        self._container.close()

    def time(self, image: av.VideoFrame, number: int) -> float | None:
        """Seconds from the first image to this one, the `number`-th; None without a clock."""
        if image.time is not None and self._zero is not None and not self._without_times:
            return image.time - self._zero
        return None if self.rate is None else float((number - 1) / self.rate)

    def early_end(self, reached: int) -> str:
        """Why the file ended after `reached` images although it has more; empty at its real end."""
        if self._failure:
            return self._failure
        if self._path is not None and container_is_cut(self._path):
            return "the file is shorter than it says"
        if self.damage and self.damage[-1] > reached - REORDERED:
            return "its last frames are damaged"
        return ""

    def _open_stream(self, live: bool) -> None:
        attached = av.stream.Disposition.attached_pic  # the cover of a song
        streams = [s for s in self._container.streams.video if not s.disposition & attached]
        if not streams or self._container.format.name == "tty":  # FFmpeg plays .txt files
            raise InputError(f"{self.label} is not a video: it holds no moving pictures")
        self._stream = streams[0]
        self._stream.thread_type = "SLICE" if live else "AUTO"
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.rate = Fraction(rate) if rate and rate <= 1000 else None  # 90000: a guess
        self._without_times = self._container.format.name == "avi"  # its times are in storage order
        self.declared: int = self._stream.frames
        seconds = Fraction(self._container.duration or 0, av.time_base)
        self.total = self.declared or max(0, round(seconds * (self.rate or 0)))

    def _start(self) -> None:
        images = self._decode()
        first = next(images, None)
        if first is None:
            raise InputError(f"{self.label} has no frame that can be decoded; is the file whole?")
        self._zero = first.time
        self._images = itertools.chain([first], images)
        sideways = _quarter_turns(first) % 2 == 1
        self.size = (first.height, first.width) if sideways else (first.width, first.height)

    def _decode(self) -> Iterator[av.VideoFrame]:
        count = 0
        held: av.VideoFrame | None = None
        for packet in self._packets():
            try:
                images = packet.decode()
            except av.error.FFmpegError:
                self.damage.append(count)
                continue
            for image in images:
                if held is not None:  # damaged, but the video goes on
                    self.damage.append(count)
                    yield held
                held = image if image.is_corrupt else None
                count += 1
                if held is None:
                    yield image
        if held is not None:
            self._failure = "its last frame is damaged"

    def _packets(self) -> Iterator[av.Packet]:
        """Packets of the video, and an empty one at the end; a partial last one is left out."""
        previous: av.Packet | None = None
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.BlockingIOError:  # a camera between two frames
                clock.sleep(0.002)
                packets = self._container.demux(self._stream)
                continue
            except av.error.FFmpegError as error:
                self._failure = str(error.strerror)
                packet = None
            if previous is not None:
                last = packet is None or packet.size == 0
                if not (last and previous.is_corrupt):
                    yield previous
                else:
                    self._failure = "its last frame is damaged"
            if packet is None:
                return
            previous = packet


def open_stream(address: str) -> Decoder:
    """A network stream (`rtsp://`, `http://`); its label is the address without the password."""
    parts = urlsplit(address)
    label = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return Decoder(address, label, live=True)


def open_camera(index: int) -> Decoder:
    """A camera of this computer, counted from 0. Raises `InputError` when there is none."""
    label = f"camera {index}"
    if sys.platform == "linux":
        return Decoder(f"/dev/video{index}", label, live=True, format="v4l2")
    if sys.platform == "darwin":
        return Decoder(str(index), label, live=True, format="avfoundation")
    names = [d.name for d in av.device.enumerate_input_devices("dshow") if "video" in d.media_types]
    if index >= len(names):
        raise InputError(f"{label} does not exist; there are {len(names)} cameras, from 0 on")
    return Decoder(f"video={names[index]}", label, live=True, format="dshow")


def to_bgr(image: av.VideoFrame) -> np.ndarray:
    """Pixels of an image, uint8 BGR `[H, W, 3]`, turned upright."""
    pixels = image.to_ndarray(format="bgr24")
    turns = _quarter_turns(image)
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def _open_container(
    address: str, label: str, live: bool, format: str | None
) -> av.container.InputContainer:
    options = {"rtsp_transport": "tcp"} if address.startswith("rtsp") else {}
    timeout = STREAM_TIMEOUT if "://" in address else None
    try:
        return av.open(address, format=format, options=options, timeout=timeout)
    except av.error.ExitError as error:
        raise InputError(f"{label} gave no answer within {STREAM_TIMEOUT:g} s") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        what = "cannot be opened" if live else "is not a video that can be read"
        raise InputError(f"{label} {what}: {reason}") from error


def _quarter_turns(image: av.VideoFrame) -> int:
    """Counter-clockwise quarter turns that bring a phone's image upright."""
    return round(image.rotation / 90) % 4
