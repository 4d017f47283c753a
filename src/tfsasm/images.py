"""Frames that are image files. Their pixels are those of `cv2.imread` to the last bit."""

from __future__ import annotations

import configparser
import contextlib
import os
import re
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from tfsasm.errors import InputError, TruncatedInput
from tfsasm.source import Frame, Source
from tfsasm.truncation import image_is_cut

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm",
)  # fmt: skip


class Images(Source):
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
        if image_is_cut(data):
            raise TruncatedInput(f"{where} is cut off: {len(data)} bytes without an end marker")
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:
            image = None
        if image is None:
            raise TruncatedInput(f"{where} cannot be decoded: {len(data)} bytes, damaged or cut")
        return np.asarray(image)


def open_folder(folder: Path, numbers: range, order: Literal["natural", "name"]) -> Images:
    """The images of a folder, or of its `img1`. Raises `InputError` where there are none.

    Natural order puts `2.jpg` before `10.jpg`; `name` is that of the released code (SPEC 2.2).
    """
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
    images = Images([place / name for name in names], place.as_posix(), numbers, rate)
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
