"""What trackers, embedders and detectors say they are."""

from tfsasm.detection.detectors import detector
from tfsasm.tracking.appearance.embedders import embedder
from tfsasm.tracking.appearance.tracker import AppearanceTracker


def test_each_says_what_it_is():
    tracker = AppearanceTracker(embedder("hist"))
    assert repr(tracker) == "AppearanceTracker(HistogramEmbedder(288 values), 0 tracks)"
    assert repr(AppearanceTracker()).startswith("AppearanceTracker(")
    nano = repr(detector("yolox-nano"))
    assert nano.startswith("YoloxDetector(")
    assert nano.endswith(", 416x416, person)")
