"""Frames of a video file, an image folder, a camera or a stream, numbered from 1 as released.

What is unusual here: a source that is damaged still gives all it has. Frames before the damage
come out as usual; then the iterator raises `TruncatedInput`, so that a caller can keep the work
done so far and still tell its user. Pixels of images are those of `cv2.imread` to the last bit.
"""

from __future__ import annotations

import itertools
import sys
import time as clock
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

import av.device
import numpy as np

from tfsasm.errors import InputError, TruncatedInput
from tfsasm.video.source import Frame, Source
from tfsasm.video.truncation import container_is_cut

STREAM_TIMEOUT = 20.0  # seconds without a byte after which a network stream is given up

REORDERED = 16  # frames a decoder may still hold when a later packet fails


class _Video(Source):
    """What PyAV opens. Local files are decoded on all cores, `live` ones without delay."""

    def __init__(
        self, address: str, label: str, numbers: range, *, live: bool, format: str | None = None
    ) -> None:
        super().__init__(label, numbers)
        self._path = None if live else Path(address)
        self._damage: list[int] = []  # how many frames had come out when a packet failed
        self._failure = ""  # why reading stopped, when it was not the end
        self._container = _open_container(address, label, live, format)
        try:
            self._start(live)
        except BaseException:
            self._container.close()
            raise

    def _start(self, live: bool) -> None:
        attached = av.stream.Disposition.attached_pic  # the cover of a song
        streams = [s for s in self._container.streams.video if not s.disposition & attached]
        if not streams or self._container.format.name == "tty":  # FFmpeg plays .txt files
            raise InputError(f"{self.label} is not a video: it holds no moving pictures")
        self._stream = streams[0]
        self._stream.thread_type = "SLICE" if live else "AUTO"
        rate = self._stream.average_rate or self._stream.guessed_rate
        self._clock_rate = Fraction(rate) if rate and rate <= 1000 else None  # 90000: a guess
        self.rate = self._clock_rate and self._clock_rate / self._numbers.step
        self._metronomic = self._container.format.name == "avi"  # its times are in storage order
        self._total = self._declared_frames()
        if self._total:
            self._expect(self._total)
        if self._stream.frames and not self.count:
            raise self._nothing_chosen(self._total)
        self._pictures = self._decode()
        first = next(self._pictures, None)
        if first is None:
            raise InputError(f"{self.label} has no frame that can be decoded; is the file whole?")
        self._zero = first.time
        self._pictures = itertools.chain([first], self._pictures)
        sideways = _quarter_turns(first) % 2 == 1
        self.size = (first.height, first.width) if sideways else (first.width, first.height)

    def close(self) -> None:
        """Let go of the file or the device. A closed source has no more frames."""
        super().close()
        self._container.close()

    def _declared_frames(self) -> int:
        """Frames by the file's own header, else by its length; 0 when it says neither."""
        if self._stream.frames:
            return self._stream.frames
        seconds = Fraction(self._container.duration or 0, av.time_base)
        return max(0, round(seconds * (self._clock_rate or 0)))

    def _read(self) -> Generator[Frame, None, None]:
        number = 0
        for number, picture in enumerate(self._pictures, start=1):
            if number in self._numbers:
                name = f"{self.label}#{number}"
                yield Frame(_to_bgr(picture), number, name, self._time(picture, number))
            if number + 1 >= self._numbers.stop:
                return self._tell_damage()
        self._check_end(number)
        if number < self._numbers.start:
            raise self._nothing_chosen(number)

    def _time(self, picture: av.VideoFrame, number: int) -> float | None:
        if picture.time is not None and self._zero is not None and not self._metronomic:
            return picture.time - self._zero
        return None if self._clock_rate is None else float((number - 1) / self._clock_rate)

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Every picture in order. A last one that is marked as damaged is left out."""
        count = 0
        held: av.VideoFrame | None = None
        for packet in self._packets():
            try:
                pictures = packet.decode()
            except av.error.FFmpegError:
                self._damage.append(count)
                continue
            for picture in pictures:
                if held is not None:  # damaged, but the video goes on
                    self._damage.append(count)
                    yield held
                held = picture if picture.is_corrupt else None
                count += 1
                if held is None:
                    yield picture
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

    def _tell_damage(self) -> None:
        if self._damage:
            self._report(
                f"{self.label} is damaged (times: {len(self._damage)}), first after frame "
                f"{self._damage[0]}; reading went on"
            )

    def _check_end(self, reached: int) -> None:
        """Tell an end from a stop. Raises `TruncatedInput` when the file had more to give."""
        failure = self._failure
        if not failure and self._path is not None and container_is_cut(self._path):
            failure = "the file is shorter than it says"
        if not failure and self._damage and self._damage[-1] > reached - REORDERED:
            failure = "its last frames are damaged"
        of_total = f" of {self._total}" if self._total else ""
        if failure:
            raise TruncatedInput(
                f"{self.label} ends early: {failure}; frame {reached}{of_total} was the last good"
                " one"
            )
        self._tell_damage()
        if self._stream.frames and reached < self._total - max(2, self._total // 100):
            self._report(f"{self.label} declares {self._total} frames; {reached} could be decoded")


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


def _open_camera(index: int, numbers: range) -> _Video:
    label = f"camera {index}"
    if sys.platform == "linux":
        return _Video(f"/dev/video{index}", label, numbers, live=True, format="v4l2")
    if sys.platform == "darwin":
        return _Video(str(index), label, numbers, live=True, format="avfoundation")
    names = [d.name for d in av.device.enumerate_input_devices("dshow") if "video" in d.media_types]
    if index >= len(names):
        raise InputError(f"{label} does not exist; there are {len(names)} cameras, from 0 on")
    return _Video(f"video={names[index]}", label, numbers, live=True, format="dshow")


def _without_password(address: str) -> str:
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _quarter_turns(picture: av.VideoFrame) -> int:
    """Counter-clockwise quarter turns that bring a phone's picture upright."""
    return round(picture.rotation / 90) % 4


def _to_bgr(picture: av.VideoFrame) -> np.ndarray:
    image = picture.to_ndarray(format="bgr24")
    turns = _quarter_turns(picture)
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
