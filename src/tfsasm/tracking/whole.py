"""A video tracked in one line."""

from __future__ import annotations

from collections.abc import Iterator

import supervision as sv

from tfsasm.tracking.given import GivenDetector, GivenSource
from tfsasm.tracking.run import Tracker, track_video
from tfsasm.video.source import Frame


def track(
    source: GivenSource, detector: GivenDetector = "yolox-nano", tracker: Tracker | None = None
) -> Iterator[tuple[Frame, sv.Detections]]:
    """Frames of a video with the tracks in them, as they come.

        for frame, tracks in tfsasm.track("video.mp4"):
            print(frame.number, tracks.tracker_id, tracks.xyxy)

    `source` is a file, folder, address, camera index, `tfsasm.open_video(...)`, `cv2.VideoCapture`
    or any iterable of BGR images. The detector is in the package; others go by their name, or are
    a file of stored detections or a function of a frame. `tracker` is the appearance tracker with
    colour histograms, as that of `tfsasm track`. Raises as `track_video`.
    """
    if tracker is None:
        from tfsasm.tracking.appearance.embedders import embedder
        from tfsasm.tracking.appearance.tracker import AppearanceTracker

        tracker = AppearanceTracker(embedder())
    return track_video(tracker, source, detector)
