"""Sources that tests make and damage, and how their reading ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tfsasm.errors import TruncatedInput
from tfsasm.video.source import Frame

BLACK = np.zeros((48, 64, 3), np.uint8)


def encode(
    path: Path, images: Iterable[np.ndarray], rate: int | Fraction = 25, *,
    codec: str = "libx264", pixels: str = "yuv420p", turn: tuple[Any, ...] = (),
    about: Mapping[str, Any] | None = None, times: Iterable[int] | None = None,
    unit: Fraction | None = None, container: dict[str, str] | None = None, **options: str,
) -> Path:
    """A video of some images, all of one size.

    `times` are in units of 1 / `rate`, or else of `unit`; `turn` are arguments of PyAV's
    `set_display_rotation`, `about` attributes of the codec, `options` its options.
    """
    with av.open(f"file:{path}", "w", options=container or {}) as file:
        stream: Any = file.add_stream(codec, rate=rate, options=options)
        stream.pix_fmt = pixels
        for name, value in (about or {}).items():
            setattr(stream.codec_context, name, value)
        if turn:
            stream.set_display_rotation(*turn)
        if unit:
            stream.codec_context.time_base = unit
        clock = iter(times) if times is not None else None
        for number, image in enumerate(images):
            if number == 0:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
            if clock is not None:
                frame.pts, frame.time_base = next(clock), unit or 1 / Fraction(rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def cut(path: Path, keep: float = 0.6) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    return path


def folder_of(folder: Path, *names: str) -> Path:
    """Image files whose grey level is 10 times their position in `names`, from 1."""
    folder.mkdir(parents=True, exist_ok=True)
    for level, name in enumerate(names, start=1):
        data = cv2.imencode(".png", np.full((8, 10, 3), 10 * level, np.uint8))[1]
        (folder / name).write_bytes(data.tobytes())
    return folder


def read_until_error(source) -> tuple[list[Frame], str]:
    frames: list[Frame] = []
    with pytest.raises(TruncatedInput) as caught:
        frames.extend(source)
    return frames, str(caught.value)
