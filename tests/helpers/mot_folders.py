"""MOT sequence folders for tests: small, whole, and broken where asked."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def make(
    folder: Path, *, frames: int = 3, images: bool = True, info: bool = True, truth: bool = True,
    detections: bool = True, **changes: object,
) -> Path:
    """A sequence of `frames` 32x24 frames with one box in each.

    `changes` are keys of its seqinfo.ini; None leaves one out.
    """
    folder.mkdir(parents=True)
    if info:
        keys = {
            "name": folder.name, "imDir": "img1", "frameRate": 20, "seqLength": frames,
            "imWidth": 32, "imHeight": 24, "imExt": ".jpg",
        } | changes  # fmt: skip
        lines = [f"{key}={value}\n" for key, value in keys.items() if value is not None]
        (folder / "seqinfo.ini").write_text("[Sequence]\n" + "".join(lines))
    if images:
        (folder / "img1").mkdir()
        for number in range(1, frames + 1):
            name = str(folder / "img1" / f"{number:08d}.jpg")
            cv2.imwrite(name, np.zeros((24, 32, 3), np.uint8))
    for wanted, name, tail in ((truth, "gt", "1,1,1"), (detections, "det", "0.9")):
        if wanted:
            (folder / name).mkdir()
            lines = [f"{number},1,2,3,4,5,{tail}\n" for number in range(1, frames + 1)]
            (folder / name / f"{name}.txt").write_text("".join(lines))
    return folder
