"""Frames of a video file, a folder of images, a camera or a stream, numbered from 1 (SPEC 2.2).

A damaged source still gives all it has: frames before the damage come out as usual, then the
iterator raises `TruncatedInput`, so that a caller can keep the work done so far and still report
it. Pixels of image files are those of `cv2.imread` to the last bit.
"""

import contextlib
import itertools
import logging
import os
import re
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np

from tfsasm.errors import InputError, TruncatedInput, first_few
from tfsasm.limits import stand_in
from tfsasm.motchallenge import SeqInfo, read_seqinfo
from tfsasm.video.decoder import (
    Decoder,
    absent,
    connected_again,
    open_camera,
    open_file,
    open_stream,
)  # fmt: skip
from tfsasm.video.images import decoded, image_bytes
from tfsasm.video.sound import Sound
from tfsasm.video.timeline import KEPT, spans
from tfsasm.video.truncation import UNREADABLE, image_is_cut

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm",
)  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """One image of a source.

    `image` is uint8 BGR `[H, W, 3]`. `number` is the 1-based position in the whole source (SPEC
    2.2), whatever `start` and `stride` are. `name` is the image's path as given, in posix form,
    or `video.mp4#17`. `time` is in seconds since the source's first frame, None when the source
    has no clock.
    """

    image: np.ndarray
    number: int
    name: str
    time: float | None

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"Frame({self.number}, {self.name!r}, {width}x{height}, time={self.time})"


class Source:
    """Frames in order, read once, like the lines of an open file. Made by `open_video`.

    `rate` is the number of frames per second that come out (so a stride divides it), exact, None
    when unknown; `size` is `(width, height)` of the first frame, and `aspect` the width of a pixel
    by its height; `count` is how many frames are expected to come out, None for a live source;
    `sound` is that of a video file. `problems` are sentences about defects that were recovered from
    or guessed around; each was also logged as a warning.
    """

    def __init__(self, label: str, numbers: range) -> None:
        self.label = label
        self.rate: Fraction | None = None
        self.size: tuple[int, int] | None = None
        self.aspect = Fraction(1)
        self.count: int | None = None
        self.sound: Sound | None = None
        self.problems: list[str] = []
        self._numbers = numbers
        self._frames = self._read()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.label!r}, size={self.size}, count={self.count})"

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
        """Release the file or the device. A closed source has no more frames."""
        self._frames.close()

    def _read(self) -> Generator[Frame, None, None]:
        raise NotImplementedError

    def warn(self, problem: str) -> None:
        """Keep a sentence for the end, and log it."""
        if len(self.problems) < KEPT:  # a stream may be lost and back for months
            self.problems.append(problem)
        log.warning("%s", problem)

    def _none_in_range(self, total: int) -> InputError:
        start = self._numbers.start
        return InputError(
            f"{self.label} has {total} frames and none from {start} on; choose a start <= {total}"
        )


class VideoSource(Source):
    """What PyAV decodes: a file, a camera or a stream."""

    def __init__(self, decoder: Decoder, numbers: range) -> None:
        super().__init__(decoder.label, numbers)
        self._decoder = decoder
        self.rate = decoder.rate and decoder.rate / numbers.step
        self.size, self.sound, self.aspect = decoder.size, decoder.sound, decoder.aspect
        if decoder.total:
            last = min(numbers.stop, decoder.total + 1)
            self.count = len(range(numbers.start, last, numbers.step))
        if decoder.declared and not self.count:
            decoder.close()
            raise self._none_in_range(decoder.total)

    def close(self) -> None:
        """Release the file or the device. A closed source has no more frames."""
        super().close()
        self._decoder.close()

    def _read(self) -> Generator[Frame, None, None]:
        at = self._decoder.timeline
        for image in self._decoder:
            if at.number in self._numbers:
                pixels = self._decoder.pixels(image)
                yield Frame(pixels, at.number, f"{self.label}#{at.number}", at.time)
            if at.number + 1 >= self._numbers.stop:
                return self._check_whole()
        self._check_end(at.number)
        if at.number < self._numbers.start:
            raise self._none_in_range(at.number)

    def _check_whole(self) -> None:
        """Report what was found on the way. Raises `TruncatedInput` when frames were lost."""
        at = self._decoder.timeline
        if damage := at.damage.count:
            first = f"first after frame {at.damage.first[0]}"
            self.warn(f"{self.label} is damaged (times: {damage}), {first}; reading went on")
        if restarts := at.restarts.count:
            numbers = first_few([str(number) for number in at.restarts.first], 5, count=restarts)
            self.warn(f"{self.label}: its clock starts anew at frame {numbers}; times go on")
        if missing := self._missing():
            raise TruncatedInput(f"{self.label} {missing}; the others keep their numbers")
        if damage and self._decoder.timeless:
            after = f"what its damage took moves the numbers after frame {at.damage.first[0]}"
            raise TruncatedInput(f"{self.label} has no times; {after}")

    def _missing(self) -> str:
        at, gaps = self._decoder.timeline, self._decoder.timeline.missing
        before = [gap for gap in gaps.first if gap.stop <= self._numbers.start]
        count, number = at.lost - sum(map(len, before)), gaps.count - len(before)
        frames = f"{count} frames," if count > 1 else "frame"
        return f"lacks {frames} {spans(gaps.first[len(before) :], number)}" if number else ""

    def _check_end(self, reached: int) -> None:
        """Tell an end from a stop. Raises `TruncatedInput` when the file had more to give."""
        total, declared = self._decoder.total, self._decoder.declared
        if reason := self._decoder.early_end(reached):
            of_total, missing = f" of {total}" if total else "", self._missing()
            raise TruncatedInput(
                f"{self.label} ends early: {reason}; frame {reached}{of_total} was the last good "
                "one" + (f"; it {missing}" if missing else "")
            )
        self._check_whole()
        if declared and reached < total - max(2, total // 100):
            self.warn(f"{self.label} declares {total} frames; {reached} could be decoded")


class ReconnectingSource(VideoSource):
    """Frames of a live stream; numbers and times go on over a gap, which counts as it lasted.

    Raises `TruncatedInput` when the stream is not back within `patience` seconds.
    """

    def __init__(self, connect: Callable[[], Decoder], numbers: range, patience: float) -> None:
        super().__init__(connect(), numbers)
        self._connect, self._patience = connect, patience

    def _read(self) -> Generator[Frame, None, None]:
        before, since, number, time = 0, 0.0, 0, 0.0
        while True:
            at = self._decoder.timeline
            for image in self._decoder:
                number, time = before + at.number, since + (at.time or 0.0)
                if number in self._numbers:
                    pixels = self._decoder.pixels(image)
                    yield Frame(pixels, number, f"{self.label}#{number}", time)
                if number + 1 >= self._numbers.stop:
                    return
            if self._decoder.declared:  # a file, and this is its end
                return
            self._decoder.close()
            lost = f"{self.label}: connection lost after frame {number}"
            self._decoder, gap = connected_again(self._connect, self._patience, lost)
            before, since = number, time + gap
            self.warn(f"{lost}, back after {gap:.1f} s")


class ImageSequence(Source):
    """Image files by frame number, in order; `clock_rate` is the rate they were filmed at."""

    def __init__(
        self, paths: dict[int, Path], label: str, numbers: range, clock_rate: Fraction | None
    ) -> None:
        super().__init__(label, numbers)
        self._paths = {number: path for number, path in paths.items() if number in numbers}
        self._last = max(paths)
        self._clock_rate = clock_rate
        self.count = len(self._paths)
        if not self.count:
            raise self._none_in_range(self._last)
        self.rate = clock_rate and clock_rate / numbers.step
        with contextlib.suppress(TruncatedInput):  # raised when its turn comes
            height, width = self._load(min(self._paths)).shape[:2]
            self.size = (width, height)

    def _read(self) -> Generator[Frame, None, None]:
        for number, path in self._paths.items():
            time = None if self._clock_rate is None else float((number - 1) / self._clock_rate)
            yield Frame(self._load(number), number, path.as_posix(), time)

    def _load(self, number: int) -> np.ndarray:
        path = self._paths[number]
        where = f"{path.as_posix()} (frame {number} of {self._last})"
        try:
            data = image_bytes(path)
        except OSError as error:
            raise TruncatedInput(f"{where} cannot be read: {error.strerror or error}") from error
        if image_is_cut(data):
            raise TruncatedInput(f"{where} is cut off: {len(data)} bytes without an end marker")
        if (image := decoded(data, where)) is None:
            why = (stand_in(data) or UNREADABLE) if data else "it is empty"
            raise TruncatedInput(f"{where} cannot be decoded: {len(data)} bytes, {why}")
        return image


def open_folder(folder: Path, numbers: range, order: Literal["natural", "name"]) -> ImageSequence:
    """The images of a folder, or of its `img1`. Raises `InputError` where there are none.

    In natural order `2.jpg` is before `10.jpg`, and names that are numbers are frame numbers. Order
    by `name` is that of the released code, which counts images (SPEC 2.2).
    """
    info, problem = _seqinfo(folder)
    place, names = folder, image_names(folder, order)
    for inner in (folder / info.images, folder / "img1"):
        if not names and inner.is_dir():
            place, names = inner, image_names(inner, order)
    if not names:
        raise InputError(
            f"{folder.as_posix()} holds no images ({' '.join(IMAGE_SUFFIXES)}) and no img1 folder "
            "with images; give the folder that holds the frames"
        )
    frames = dict(enumerate(names, start=1)) if order == "name" else frame_numbers(names)
    paths = {number: place / name for number, name in frames.items()}
    images = ImageSequence(paths, place.as_posix(), numbers, info.rate)
    if problem:
        images.warn(problem)
    if missing := [range(a + 1, b) for a, b in itertools.pairwise([0, *frames]) if b > a + 1]:
        images.warn(
            f"{place.as_posix()}: no image for frames {spans(missing)}; the others keep the "
            "numbers of their names"
        )
    if twice := len(names) - len({Path(name).stem for name in names}):
        images.warn(f"{images.label}: {twice} image(s) are there under two suffixes; all are read")
    for number, (name, other) in enumerate(zip(names, sorted(names), strict=True), start=1):
        if name != other:
            images.warn(
                f"{place.as_posix()}: frames are read in natural order, which differs from name "
                f"order first at frame {number} ({name}, by name {other}); pad the numbers with "
                "zeros to make both agree"
            )
            break
    return images


def frame_numbers(names: list[str]) -> dict[int, str]:
    """Names by frame number, in order: that of the name where all have one, else the position.

    Names that count from 0 are counted from 1. After a common beginning (`frame_0007`) a number
    is one of frames only if they begin with 0 or 1.
    """
    parts = [re.fullmatch(r"(.*?)([0-9]{1,7})", Path(name).stem) for name in names]
    found = [(match[1], int(match[2])) for match in parts if match]
    numbers, beginnings = [number for _, number in found], {beginning for beginning, _ in found}
    first = min(numbers, default=0)
    named = len(set(numbers)) == len(names) and len(beginnings) == 1
    if not named or ("" not in beginnings and first > 1):
        return dict(enumerate(names, start=1))
    return dict(sorted(zip((n + (first == 0) for n in numbers), names, strict=True)))


def image_names(folder: Path, order: Literal["natural", "name"]) -> list[str]:
    """The images of a folder itself, in order."""
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


def _seqinfo(folder: Path) -> tuple[SeqInfo, str]:
    """The `seqinfo.ini` in or beside a folder of frames, and what is wrong there."""
    for path in (folder / "seqinfo.ini", folder.parent / "seqinfo.ini"):
        if path.is_file():
            try:
                info = read_seqinfo(path, "frameRate")
            except InputError as error:
                return SeqInfo(), str(error)
            return info, "" if info.rate else f"{path.as_posix()} names no rate; add frameRate=30"
    return SeqInfo(), ""


def open_video(
    source: str | Path | int, *, start: int = 1, end: int | None = None, stride: int = 1,
    order: Literal["natural", "name"] = "natural", reconnect: float = 0,
    decode: Callable[[str, str], Decoder] = open_file,
) -> Source:
    """Open a source of frames and decode its first one.

    `source` is a video file, an image, a folder of images, a MOT sequence folder (its `img1` is
    read, at the rate in its `seqinfo.ini`), a camera index (`0` or `"0"`) or an address
    (`rtsp://`, `http://`). `start` and `end` are 1-based frame numbers, both included; an `end`
    past the last frame means the last frame. Every `stride`-th frame from `start` on comes out.

    Images come in natural order (`2.jpg` before `10.jpg`), with a warning where name order
    differs, and names that are numbers are the frame numbers. `order="name"` sorts names as strings
    and counts them, as the released code does (SPEC 2.2).

    A network stream whose connection is lost is opened again for `reconnect` seconds. `decode`
    opens a video file, by PyAV or as `tfsasm.video.torchcodec.opener` says.

    Raises `InputError` when nothing can be read or no frame is in the range.
    """
    numbers = _frame_numbers(start, end, stride)
    text = str(source)
    if text.startswith("file://"):
        text = url2pathname(urlsplit(text).path)
    if not text.strip():
        raise InputError(f"{str(source)!r} names no video; write a path, or file:///FOLDER/VIDEO")
    if "://" in text:
        if reconnect > 0:
            return ReconnectingSource(lambda: open_stream(text), numbers, reconnect)
        return VideoSource(open_stream(text), numbers)
    path = Path(text)
    if isinstance(source, int) or (text.isdecimal() and not path.exists()):
        return VideoSource(open_camera(int(text)), numbers)
    if path.is_dir():
        return open_folder(path, numbers, order)
    if not path.is_file():
        raise absent(path)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSequence({1: path}, path.as_posix(), numbers, None)
    return VideoSource(decode(text, path.as_posix()), numbers)


def _frame_numbers(start: int, end: int | None, stride: int) -> range:
    if start < 1:
        raise InputError(f"start is {start}; frame numbers begin at 1")
    if stride < 1:
        raise InputError(f"stride is {stride}; give 1 for every frame, 2 for every other")
    if end is not None and end < start:
        raise InputError(f"the range ends at {end}, before its start {start}")
    return range(start, sys.maxsize if end is None else end + 1, stride)
