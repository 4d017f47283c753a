"""Image files: names and numbers in a folder, pixels, and whether the end is there.

Pixels are those of `cv2.imread`, within the limits of `limits.py`.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from tfsasm.errors import InputError, TruncatedInput
from tfsasm.limits import IMAGE, check_image, stand_in

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm",
)  # fmt: skip

SYSTEM_FOLDERS = {"lost+found", "System Volume Information", "$RECYCLE.BIN"}
"""At the root of a disk; its users may not even open them."""

_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # not a stuffed byte, restart or fill

Order = Literal["natural", "name"]


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is none that a user put there to be looked at."""
    return name.startswith(".") or name in SYSTEM_FOLDERS


def image_names(folder: Path, order: Order) -> list[str]:
    """The images of a folder itself, in order."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_file()]
    except OSError as error:
        raise InputError(f"cannot list {folder}: {error.strerror or error}") from error
    if order == "name":
        released = [name for name in names if "jpg" in name]  # SPEC 2.2: also `x.jpg.bak`
        words = [suffix for suffix in IMAGE_SUFFIXES if suffix != ".jpg"]
        return sorted(released or [n for n in names if any(w in n.lower() for w in words)])
    shown = [name for name in names if not is_hidden(name)]
    return sorted((n for n in shown if n.lower().endswith(IMAGE_SUFFIXES)), key=_natural_key)


def _natural_key(name: str) -> tuple[list[str | int], str]:
    parts = re.split(r"([0-9]+)", Path(name).stem)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


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


def image_bytes(path: Path) -> bytes:
    """The content of an image file. Raises `OSError`, and `InputError` for what has no end or more
    bytes than an image may have."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is a pipe, a device or a folder, no image")
    IMAGE.check(path.stat().st_size, path)
    return path.read_bytes()


def decoded(data: bytes, what: object) -> np.ndarray | None:
    """The pixels of an image file, uint8 BGR `[H, W, 3]`; None where it cannot be decoded, and for
    kinds whose size is not known before.

    Raises `InputError` for one of too many pixels.
    """
    if check_image(data, what):
        with suppress(cv2.error):
            return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return None


def whole_image(path: Path, where: str) -> np.ndarray:
    """The pixels of an image file, all of which are there; `where` names it in messages.

    Raises `TruncatedInput` where they are not, and `InputError` as `image_bytes` and `decoded` do.
    """
    try:
        data = image_bytes(path)
    except OSError as error:
        raise TruncatedInput(f"{where} cannot be read: {error.strerror or error}") from error
    if image_is_cut(data):
        raise TruncatedInput(f"{where} is cut off: {len(data)} bytes without an end marker")
    if (image := decoded(data, where)) is None:
        unreadable = "damaged, cut or of a kind that is not supported"
        why = (stand_in(data) or unreadable) if data else "it is empty"
        raise TruncatedInput(f"{where} cannot be decoded: {len(data)} bytes, {why}")
    return image


def image_is_cut(data: bytes) -> bool:
    """Whether a JPEG has lost its end, or a PNG a part; other formats fail to decode.

    OpenCV takes memory for a part of a PNG, up to 4 GB, before it looks whether it is there.
    """
    if data.startswith(b"\x89PNG"):
        at = 8
        while at + 12 <= len(data):
            length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
            at += 12 + length
            if kind == b"IEND" and not length:  # at one with a content OpenCV does not stop
                return False
        return True
    if not data.startswith(b"\xff\xd8"):
        return False
    at = 2
    while found := _JPEG_MARKER.search(data, at):
        marker, at = data[found.start() + 1], found.end()
        if marker == 0xD9:
            return False
        at += int.from_bytes(data[at : at + 2], "big")  # a segment; after SOS the scan follows
    return True


def image_file_is_cut(path: Path) -> bool:
    """The same of a file, or a BMP, whose header could be read; or it cannot be read any more.

    Only one without its usual end is read whole.
    """
    try:
        with path.open("rb") as file:
            head, size = file.read(6), path.stat().st_size
            file.seek(max(0, size - 8))
            whole = file.read().endswith((b"\xff\xd9", b"IEND\xaeB`\x82"))
        if head.startswith(b"BM"):
            return int.from_bytes(head[2:6], "little") > size
        return not whole and (size > IMAGE.value or image_is_cut(path.read_bytes()))
    except OSError:
        return True
