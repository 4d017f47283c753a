"""Each class is associated by itself."""

from dataclasses import replace

import numpy as np
import supervision as sv

from helpers.people import walk
from tfsasm import AppearanceConfig, AppearanceTracker
from tfsasm.tracking.appearance.gallery import GalleryConfig


def test_a_class_with_a_single_track_keeps_it():
    """A person and a bicycle in one place, and a second person elsewhere."""
    config = replace(AppearanceConfig(gallery=GalleryConfig(kind="none")), class_agnostic=False)
    tracker = AppearanceTracker(config=config)
    people = [walk(centre, (4, 0), 8) for centre in ((100, 200), (104, 200), (400, 200))]
    for frame in range(8):
        boxes = np.stack([boxes[frame] for boxes in people])
        tracks = tracker.update(sv.Detections(
            boxes, confidence=np.array([0.9, 0.85, 0.8]), class_id=np.array([0, 1, 0])
        ))  # fmt: skip
    assert sorted(zip(tracks.class_id.tolist(), tracks.xyxy[:, 0].round(), strict=True)) == sorted(
        zip([0, 1, 0], boxes[:, 0].round(), strict=True)
    )
    assert sorted(tracks.tracker_id.tolist()) == [1, 2, 3]
