"""Sources that tests damage, and how their reading ends."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tfsasm.errors import TruncatedInput
from tfsasm.video.source import Frame


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

    def read() -> None:
        for frame in source:
            frames.append(frame)

    with pytest.raises(TruncatedInput) as caught:
        read()
    return frames, str(caught.value)
