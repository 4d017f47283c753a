"""Two classes at one place: everyone of PETS09-S2L1 rides something.

    python benchmarks/classes.py --source vtest.avi --truth MOT15/train/PETS09-S2L1/gt/gt.txt

Each ground-truth box is given twice, as class 1 and, moved sideways to an IoU, as class 6 with a
lower score. Of each class: the share of its boxes that are tracked, and identities per person.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import supervision as sv

from tfsasm import AppearanceTracker, load
from tfsasm.boxes import ltwh_to_xyxy
from tfsasm.motchallenge import TrackRows, read_tracks
from tfsasm.tracking.appearance import AppearanceConfig
from tfsasm.tracking.config import default
from tfsasm.tracking.run import Tracker
from tfsasm.video.source import open_video

KINDS, SCORES = (1, 6), (0.95, 0.9)


def detections(truth: TrackRows, number: int, iou: float) -> tuple[sv.Detections, int]:
    """The boxes of a frame as both classes, and how many people there are."""
    xyxy = ltwh_to_xyxy(truth.ltwh[truth.frame == number])
    moved = xyxy + (xyxy[:, 2:3] - xyxy[:, :1]) * (1 - iou) / (1 + iou) * [1, 0, 1, 0]
    return sv.Detections(
        xyxy=np.vstack([xyxy, moved]), confidence=np.repeat(SCORES, len(xyxy)),
        class_id=np.repeat(KINDS, len(xyxy)),
    ), len(xyxy)  # fmt: skip


def measure(tracker: Tracker, source: Path, truth: TrackRows, iou: float) -> Iterator[str]:
    """A text for each class."""
    shares, boxes, ids = np.zeros(len(KINDS)), 0, [set[int]() for _ in KINDS]
    for frame in open_video(source):
        given, people = detections(truth, frame.number, iou)
        tracks = tracker.update(given, frame.image)
        boxes += people
        for row, kind in enumerate(KINDS):
            own = np.asarray(tracks.class_id) == kind
            shares[row] += own.sum()
            ids[row] |= set(np.asarray(tracks.tracker_id)[own].tolist())
    people = len(np.unique(truth.identity))
    for share, found in zip(shares / boxes, ids, strict=True):
        yield f"{100 * share:5.1f} %, {len(found)} identities of {people}"


def main() -> None:
    """Both trackers, within a class and across."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--iou", type=float, nargs="+", default=[0.8, 0.5])
    args = parser.parse_args()
    truth = read_tracks(args.truth)
    for iou in args.iou:
        for agnostic in (False, True):
            trackers: dict[str, Tracker] = {
                "motion": AppearanceTracker(config=AppearanceConfig(class_agnostic=agnostic)),
                "tiny": load("tiny", replace(default(), class_agnostic=agnostic)),
            }
            for name, tracker in trackers.items():
                told = "; ".join(measure(tracker, args.source, truth, iou))
                print(f"IoU {iou}, class_agnostic={agnostic}, {name}: {told}")


if __name__ == "__main__":
    main()
