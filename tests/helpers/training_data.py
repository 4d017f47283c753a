"""Small data sets of coloured people, as DanceTrack and CrowdHuman lie on disk."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from helpers.scenes import drawn_clip


def write_dance(root: Path, *, videos: int = 2, frames: int = 8) -> Path:
    """`root/train/dancetrack0001` and on: 64x64 frames of two people, truth and detections."""
    for video in range(videos):
        folder = root / "train" / f"dancetrack{video + 1:04d}"
        for part in ("img1", "gt", "det"):
            (folder / part).mkdir(parents=True)
        truth, found = [], []
        for number, frame in enumerate(drawn_clip(video, frames), start=1):
            cv2.imwrite(str(folder / "img1" / f"{number:08d}.png"), frame.image)
            truth += [f"{number},{i},{text(box)},1,1,1\n" for i, box in zip(frame.ids, frame.boxes,
                                                                          strict=True)]  # fmt: skip
            found += [f"{number},-1,{text(row)}\n" for row in frame.detections]
        (folder / "gt" / "gt.txt").write_text("".join(truth))
        (folder / "det" / "det.txt").write_text("".join(found))
        (folder / "seqinfo.ini").write_text(
            f"[Sequence]\nname={folder.name}\nimDir=img1\nframeRate=20\nseqLength={frames}\n"
            "imWidth=64\nimHeight=64\nimExt=.png\n"
        )
    return root / "train"


def write_crowd(root: Path, *, images: int = 3) -> Path:
    """`Images/*.jpg`, `annotation_train.odgt` and a det_db `boxes.json` with MOTRv2's keys."""
    (root / "Images").mkdir(parents=True)
    lines, database = [], {}
    for index in range(images):
        [frame] = drawn_clip(100 + index, 1)
        name = f"273271,{index:x}d9000d5146c15"
        cv2.imwrite(str(root / "Images" / f"{name}.jpg"), frame.image)
        boxes = [{"fbox": box.tolist(), "tag": "person"} for box in frame.boxes]
        boxes.append({"fbox": [0, 0, 64, 64], "tag": "mask", "extra": {"ignore": 1}})
        lines.append(json.dumps({"ID": name, "gtboxes": boxes}) + "\n")
        key = f"crowdhuman/train_image/{name}.txt"
        database[key] = [f"{text(row)}\n" for row in frame.detections]
    (root / "annotation_train.odgt").write_text("".join(lines))
    (root / "boxes.json").write_text(json.dumps(database))
    return root


def text(row: np.ndarray) -> str:
    return ",".join(f"{value:.3f}" for value in row)
