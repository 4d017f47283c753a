"""What trackers, embedders and detectors say they are."""

from helpers.fakes import FakeNetwork
from tfsasm.detection.detectors import detector
from tfsasm.detection.stored import open_detections
from tfsasm.tracking.appearance.embedders import embedder
from tfsasm.tracking.appearance.tracker import AppearanceTracker
from tfsasm.tracking.query import QueryTracker
from tfsasm.video.source import open_video


def test_each_says_what_it_is():
    tracker = AppearanceTracker(embedder("hist"))
    assert repr(tracker) == "AppearanceTracker(HistogramEmbedder(288 values), 0 tracks)"
    assert repr(AppearanceTracker()).startswith("AppearanceTracker(")
    nano = repr(detector("yolox-nano"))
    assert nano.startswith("YoloxDetector(")
    assert nano.endswith(", 416x416, person)")


def test_so_do_the_query_tracker_stored_detections_and_videos(scene):
    tracker = QueryTracker(FakeNetwork())
    tracker.network.parameters = 1234
    assert repr(tracker) == "QueryTracker(1,234 parameters, 0 tracks)"
    assert repr(open_detections(scene.detections)) == f"MotDetections({str(scene.detections)!r})"
    with open_video(scene.folder) as video:
        assert repr(video) == (
            f"ImageSequence({video.label!r}, size={video.size}, count={video.count})"
        )
        frame = next(iter(video))
    width, height = video.size
    assert repr(frame) == f"Frame(1, {frame.name!r}, {width}x{height}, time={frame.time})"
