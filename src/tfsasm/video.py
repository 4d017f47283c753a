"""Frames of a video file, an image folder, a camera or a stream, numbered from 1 as released.

What is unusual here: a source that is damaged still gives all it has. Frames before the damage
come out as usual; then the iterator raises `TruncatedInput`, so that a caller can keep the work
done so far and still tell its user. Pixels of images are those of `cv2.imread` to the last bit.
"""

from __future__ import annotations

import configparser
import contextlib
import itertools
import logging
import os
import re
import sys
import time as clock
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

import av
import av.device
import cv2
import numpy as np

from tfsasm.errors import InputError, TruncatedInput

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm",
)  # fmt: skip
STREAM_TIMEOUT = 20.0  # seconds without a byte after which a network stream is given up
REORDERED = 16  # frames a decoder may still hold when a later packet fails


@dataclass(frozen=True)
class Frame:
    """One picture of a source.

    `image` is uint8 BGR `[H, W, 3]`. `number` is the 1-based position in the whole source (SPEC
    2.2), whatever `start` and `stride` are. `name` is the image's path as given, in posix form,
    or `video.mp4#17`. `time` is in seconds since the source's first frame, None when the source
    has no clock.
    """

    image: np.ndarray
    number: int
    name: str
    time: float | None


class Source:
    """Frames in order, read once, like the lines of an open file. Made by `open_source`.

    `rate` is the number of frames per second that come out (so a stride divides it), exact, None
    when unknown; `size` is `(width, height)` of the first frame; `count` is how many frames are
    expected to come out, None for a live source. `problems` are sentences about defects that
    were recovered from or guessed around; each was also logged as a warning.
    """

    def __init__(self, label: str, numbers: range) -> None:
        self.label = label
        self.rate: Fraction | None = None
        self.size: tuple[int, int] | None = None
        self.count: int | None = None
        self.problems: list[str] = []
        self._numbers = numbers
        self._frames = self._read()

    @property
    def fps(self) -> float | None:
        """`rate` as a float."""
        return None if self.rate is None else float(self.rate)

    def __iter__(self) -> Iterator[Frame]:
        """Frames from where reading stopped. Raises `TruncatedInput` after the last good one."""
        return self._frames

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file or the device. A closed source has no more frames."""
        self._frames.close()

    def _read(self) -> Generator[Frame, None, None]:
        raise NotImplementedError

    def _report(self, problem: str) -> None:
        self.problems.append(problem)
        log.warning("%s", problem)

    def _expect(self, total: int) -> None:
        chosen = self._numbers
        self.count = len(range(chosen.start, min(chosen.stop, total + 1), chosen.step))

    def _nothing_chosen(self, total: int) -> InputError:
        start = self._numbers.start
        return InputError(
            f"{self.label} has {total} frames and none from {start} on; choose a start <= {total}"
        )


def open_source(
    source: str | Path | int,
    *,
    start: int = 1,
    end: int | None = None,
    stride: int = 1,
    order: Literal["natural", "name"] = "natural",
) -> Source:
    """Open whatever shows people moving, and look at its first frame.

    `source` is a video file, an image, a folder of images, a MOT sequence folder (its `img1` is
    read, at the rate in its `seqinfo.ini`), a camera index (`0` or `"0"`) or an address
    (`rtsp://`, `http://`). `start` and `end` are 1-based frame numbers, both included; an `end`
    past the last frame means the last frame. Every `stride`-th frame from `start` on comes out.

    Images come in natural order (`2.jpg` before `10.jpg`), with a warning where name order
    differs; `order="name"` sorts names as strings, as the released code does (SPEC 2.2).

    Raises `InputError` when nothing can be read or no frame is in the range.
    """
    numbers = _frame_numbers(start, end, stride)
    text = str(source)
    if "://" in text:
        return _Video(text, _without_password(text), numbers, live=True)
    path = Path(text)
    if isinstance(source, int) or (text.isdecimal() and not path.exists()):
        return _open_camera(int(text), numbers)
    if path.is_dir():
        return _open_folder(path, numbers, order)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a video, an image folder or a camera index")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return _Images([path], path.as_posix(), numbers, None)
    return _Video(text, path.as_posix(), numbers, live=False)


def _frame_numbers(start: int, end: int | None, stride: int) -> range:
    if start < 1:
        raise InputError(f"start is {start}; frame numbers begin at 1")
    if stride < 1:
        raise InputError(f"stride is {stride}; give 1 for every frame, 2 for every other")
    if end is not None and end < start:
        raise InputError(f"the range ends at {end}, before its start {start}")
    return range(start, sys.maxsize if end is None else end + 1, stride)


# --- images -----------------------------------------------------------------------------------


class _Images(Source):
    """Image files in the order given; `clock_rate` is the rate they were filmed at."""

    def __init__(
        self, paths: list[Path], label: str, numbers: range, clock_rate: Fraction | None
    ) -> None:
        super().__init__(label, numbers)
        self._paths = paths
        self._clock_rate = clock_rate
        self._expect(len(paths))
        if not self.count:
            raise self._nothing_chosen(len(paths))
        self.rate = clock_rate and clock_rate / numbers.step
        with contextlib.suppress(TruncatedInput):  # raised when its turn comes
            height, width = self._load(numbers.start).shape[:2]
            self.size = (width, height)

    def _read(self) -> Generator[Frame, None, None]:
        last = min(self._numbers.stop, len(self._paths) + 1)
        for number in range(self._numbers.start, last, self._numbers.step):
            time = None if self._clock_rate is None else float((number - 1) / self._clock_rate)
            yield Frame(self._load(number), number, self._paths[number - 1].as_posix(), time)

    def _load(self, number: int) -> np.ndarray:
        path = self._paths[number - 1]
        where = f"{path.as_posix()} (frame {number} of {len(self._paths)})"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise TruncatedInput(f"{where} cannot be read: {error.strerror or error}") from error
        if _image_is_cut(data):
            raise TruncatedInput(f"{where} is cut off: {len(data)} bytes without an end marker")
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:
            image = None
        if image is None:
            raise TruncatedInput(f"{where} cannot be decoded: {len(data)} bytes, damaged or cut")
        return np.asarray(image)


def _open_folder(folder: Path, numbers: range, order: Literal["natural", "name"]) -> _Images:
    inner = folder / "img1"
    place = folder
    names = _image_names(folder, order)
    if not names and inner.is_dir():
        place, names = inner, _image_names(inner, order)
    if not names:
        raise InputError(
            f"{folder.as_posix()} holds no images ({' '.join(IMAGE_SUFFIXES)}) and no img1 folder "
            "with images; give the folder that holds the frames"
        )
    rate, problem = _seqinfo_rate(place)
    images = _Images([place / name for name in names], place.as_posix(), numbers, rate)
    if problem:
        images._report(problem)
    by_name = sorted(names)
    for number, (name, other) in enumerate(zip(names, by_name, strict=True), start=1):
        if name != other:
            images._report(
                f"{place.as_posix()}: frames are read in natural order, which differs from name "
                f"order first at frame {number} ({name}, by name {other}); pad the numbers with "
                "zeros to make both agree"
            )
            break
    return images


def _image_names(folder: Path, order: Literal["natural", "name"]) -> list[str]:
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_file()]
    except OSError as error:
        raise InputError(f"cannot list {folder}: {error.strerror or error}") from error
    if order == "name":
        released = [name for name in names if "jpg" in name]  # SPEC 2.2: also `x.jpg.bak`
        words = [suffix for suffix in IMAGE_SUFFIXES if suffix != ".jpg"]
        return sorted(released or [n for n in names if any(w in n.lower() for w in words)])
    shown = [name for name in names if not name.startswith(".")]
    return sorted((n for n in shown if n.lower().endswith(IMAGE_SUFFIXES)), key=_natural_key)


def _natural_key(name: str) -> tuple[list[str | int], str]:
    parts = re.split(r"([0-9]+)", Path(name).stem)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _seqinfo_rate(folder: Path) -> tuple[Fraction | None, str | None]:
    """Frame rate in the `seqinfo.ini` in or beside a folder of frames, and what is wrong there."""
    for path in (folder / "seqinfo.ini", folder.parent / "seqinfo.ini"):
        if not path.is_file():
            continue
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(path.read_text(encoding="utf-8-sig"))
            text = parser.get("Sequence", "frameRate")
            rate = Fraction(text)
        except (configparser.Error, ValueError, ZeroDivisionError, OSError):
            return None, f"{path.as_posix()} names no frame rate ([Sequence] frameRate=30)"
        if rate > 0:
            return rate, None
        return None, f"{path.as_posix()} has frameRate={text}; a rate is above 0"
    return None, None


_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # not a stuffed byte, restart or fill


def _image_is_cut(data: bytes) -> bool:
    """Whether a JPEG or PNG has lost its end, which decoders may hide behind grey pixels."""
    if data.startswith(b"\x89PNG"):
        return b"IEND\xaeB`\x82" not in data
    if not data.startswith(b"\xff\xd8"):
        return False  # the other formats fail to decode
    at = 2
    while found := _JPEG_MARKER.search(data, at):
        marker, at = data[found.start() + 1], found.end()
        if marker == 0xD9:
            return False
        at += int.from_bytes(data[at : at + 2], "big")  # a segment; after SOS the scan follows
    return True


# --- video ------------------------------------------------------------------------------------


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
        if not failure and self._path is not None and _container_is_cut(self._path):
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


def _container_is_cut(path: Path) -> bool:
    """Whether an MP4, AVI or Matroska file is shorter than its outermost boxes say.

    FFmpeg stops quietly at such an end. Formats without lengths (MPEG-TS) are never called cut.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
        if head.startswith(b"\x1aE\xdf\xa3"):
            return _matroska_end(head) > size
        at = 0
        while at + 8 <= size:
            file.seek(at)
            box = file.read(16)
            length = _riff_length(box) if head.startswith(b"RIFF") else _box_length(box)
            if not length:
                return False
            at += length
    return at > size


def _box_length(box: bytes) -> int:
    """Bytes of an MP4 box by its first 16; 0 for "up to the end" or what is no box."""
    short = int.from_bytes(box[:4], "big")
    length = int.from_bytes(box[8:16], "big") if short == 1 else short
    return length if length >= 8 and box[4:8].isalnum() else 0


def _riff_length(chunk: bytes) -> int:
    """Bytes of an AVI part by its first bytes; 0 when it was never finished or is no such part."""
    length = int.from_bytes(chunk[4:8], "little")
    return 8 + length if chunk[:4] == b"RIFF" and 0 < length < 0xFFFFFFFF else 0


def _matroska_end(head: bytes) -> int:
    """Where the segment of a Matroska file should end; 0 when a live recording left it open."""

    def number(at: int) -> tuple[int, int]:
        width = 9 - head[at].bit_length()
        full = (1 << 7 * width) - 1
        value = int.from_bytes(head[at : at + width], "big") & full
        return (0 if value == full else value), at + width

    header, at = number(4)
    length, at = number(at + header + 4)
    return at + length if length else 0
