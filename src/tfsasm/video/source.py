"""Frames of a video file, a folder of images, a camera or a stream, numbered from 1 (SPEC 2.2).

A damaged source still gives all it has: frames before the damage come out as usual, then the
iterator raises `TruncatedInput`, so that a caller can keep the work done so far and still report
it. Pixels of image files are those of `cv2.imread` to the last bit.
"""

import contextlib
import glob
import itertools
import logging
import sys
import time as clock
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np

from tfsasm.errors import InputError, TruncatedInput, first_few
from tfsasm.files import TRACKED
from tfsasm.motchallenge import SeqInfo, read_seqinfo
from tfsasm.video.addresses import local_name, public_address
from tfsasm.video.decoder import Decoder, open_camera
from tfsasm.video.images import (
    IMAGE_SUFFIXES,
    Order,
    frame_numbers,
    image_names,
    is_hidden,
    whole_image,
)
from tfsasm.video.sound import Sound
from tfsasm.video.timeline import KEPT, spans

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = (
    ".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg",
    ".wmv", ".flv", ".3gp", ".ogv", ".gif",
)  # fmt: skip
"""Of files that are taken for videos in a folder."""

PAUSE = 0.5  # seconds between two attempts to connect again


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
    by its height; `count` is how many frames are expected to come out, None for a live source, and
    `length` the number of the last frame, in the range or not, where the source says it;
    `sound` is that of a video file. `problems` are sentences about defects that were recovered from
    or guessed around; each was also logged as a warning.
    """

    def __init__(self, label: str, numbers: range) -> None:
        self.label = label
        self.rate: Fraction | None = None
        self.size: tuple[int, int] | None = None
        self.aspect = Fraction(1)
        self.count: int | None = None
        self.length: int | None = None
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
        start, label = self._numbers.start, self.label
        return InputError(
            f"{label} has none of the frames that start, end and stride choose" if start <= total
            else f"{label} has {total} frames and none from {start} on; choose a start <= {total}"
        )


class VideoSource(Source):
    """What PyAV decodes: a file, a camera or a stream.

    With `patience` a stream whose connection is lost is made by `connect` again, for so many
    seconds; numbers and times go on over a gap, which counts as it lasted.
    """

    def __init__(self, connect: Callable[[], Decoder], numbers: range, patience: float) -> None:
        self._decoder = decoder = connect()
        super().__init__(decoder.label, numbers)
        self._connect, self._patience = connect, patience
        self.rate = decoder.rate and decoder.rate / numbers.step
        self.size, self.sound, self.aspect = decoder.size, decoder.sound, decoder.aspect
        self.length = decoder.declared or None
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
        before, since, number, time, goes_on = 0, 0.0, 0, None, self._patience > 0
        while True:
            at = self._decoder.timeline
            for image in self._decoder:
                number = before + at.number
                time = since + (at.time or 0.0) if goes_on else at.time
                if number in self._numbers:
                    pixels = self._decoder.pixels(image)
                    yield Frame(pixels, number, f"{self.label}#{number}", time)
                if number + 1 >= self._numbers.stop:
                    return None if goes_on else self._check_whole()
            if not goes_on or self._decoder.declared:  # a file, and this is its end
                break
            before, since = number, (time or 0.0) + self._connect_again(number)
        if not goes_on:
            self._check_end(number)
            if number < self._numbers.start:
                raise self._none_in_range(number)

    def _connect_again(self, reached: int) -> float:
        """Returns the seconds that it took. Raises `TruncatedInput` after `patience` seconds."""
        self._decoder.close()
        lost, began = f"{self.label}: connection lost after frame {reached}", clock.monotonic()
        while True:
            try:
                self._decoder = self._connect()
                break
            except InputError as error:
                if clock.monotonic() + PAUSE > began + self._patience:
                    late = f"{lost}, and not back within {self._patience:g} s"
                    raise TruncatedInput(late) from error
            clock.sleep(PAUSE)
        gap = clock.monotonic() - began
        self.warn(f"{lost}, back after {gap:.1f} s")
        return gap

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


class ImageSequence(Source):
    """Image files by frame number, in order; `clock_rate` is the rate they were filmed at."""

    def __init__(
        self, paths: dict[int, Path], label: str, numbers: range, clock_rate: Fraction | None
    ) -> None:
        super().__init__(label, numbers)
        self._paths = {number: path for number, path in paths.items() if number in numbers}
        self.length = last = max(paths)
        self._clock_rate = clock_rate
        self.count = len(self._paths)
        if not self.count:
            raise self._none_in_range(last)
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
        return whole_image(path, f"{path.as_posix()} (frame {number} of {self.length})")


def open_folder(folder: Path, numbers: range, order: Order) -> ImageSequence:
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
    order: Order = "natural", reconnect: float = 0, decode: Callable[[str, str], Decoder] = Decoder,
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
    if start < 1:
        raise InputError(f"start is {start}; frame numbers begin at 1")
    if stride < 1:
        raise InputError(f"stride is {stride}; give 1 for every frame, 2 for every other")
    if end is not None and end < start:
        raise InputError(f"the range ends at {end}, before its start {start}")
    numbers = range(start, sys.maxsize if end is None else end + 1, stride)
    text = local_name(str(source))
    if not text.strip():
        raise InputError(f"{str(source)!r} names no video; write a path, or file:///FOLDER/VIDEO")
    if "://" in text:
        stream = partial(Decoder, text, public_address(text), live=True)
        return VideoSource(stream, numbers, reconnect)
    path = Path(text)
    if isinstance(source, int) or (text.isdecimal() and not path.exists()):
        return VideoSource(partial(open_camera, int(text)), numbers, 0)
    if path.is_dir():
        return open_folder(path, numbers, order)
    if not path.is_file():
        raise absent(path)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSequence({1: path}, path.as_posix(), numbers, None)
    return VideoSource(partial(decode, text, path.as_posix()), numbers, 0)


def absent(path: Path) -> InputError:
    """For a source that is not there, or none that can be read more than once."""
    what = "is a pipe or a device" if path.exists() else "does not exist"
    place = public_address(str(path))
    return InputError(f"{place} {what}; give a video, an image folder or a camera index")


def find_sources(names: Iterable[str]) -> list[str]:
    """What `open_video` can open, for patterns (`clips/*.mp4`) and folders of videos or of MOT
    sequences too.

    Annotated videos of earlier runs (`TRACKED`) are left out there. Raises `InputError` for what
    does not exist and a pattern that fits nothing.
    """
    return [source for name in names for source in _found(local_name(name) or name)]


def _found(name: str) -> list[str]:
    path = Path(name)
    if not name.strip():
        raise InputError("the name of a video is empty; is a variable of the shell not set?")
    if "://" in name or path.is_file():
        return [name]
    if path.is_dir():
        if image_names(path, "name") or (path / "img1").is_dir():
            return [name]
        inside = [entry for entry in path.iterdir() if not is_hidden(entry.name)]
        sequences = sorted(str(entry) for entry in inside if (entry / "img1").is_dir())
        return _videos(entry for entry in inside if entry.is_file()) or sequences or [name]
    if any(sign in name for sign in "*?["):
        if videos := _videos(map(Path, glob.glob(name)), VIDEO_SUFFIXES + IMAGE_SUFFIXES):
            return videos
        raise InputError(f"{name} fits no file; quote it, or name the videos")
    if name.isdecimal():
        return [name]
    raise absent(path)


def _videos(paths: Iterable[Path], suffixes: tuple[str, ...] = VIDEO_SUFFIXES) -> list[str]:
    return sorted(
        str(path) for path in paths
        if not is_hidden(path.name)
        and not (path.name.endswith(TRACKED) or path.stem.endswith(TRACKED))
        and (path.is_dir() or path.suffix.lower() in suffixes)
    )  # fmt: skip
