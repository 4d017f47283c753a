"""Image files, within the limits of `limits.py`; pixels are those of `cv2.imread`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from tfsasm.errors import InputError
from tfsasm.limits import IMAGE, check_image


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
