"""Multi-object tracking with learned queries and a sparse, training-free memory.

    tracker = tfsasm.load("tiny")                  # or "motrv2_dancetrack.pth"
    tracks = tracker.update(detections, frame)     # supervision.Detections in and out
    for frame, tracks in tracker.track("video.mp4", detector="yolox-nano"): ...
"""

from tfsasm.api import Tracker, load
from tfsasm.config import default, motrv2, paper, released
from tfsasm.errors import InputError, TfsasmError, TruncatedInput, WeightsError
from tfsasm.tracker import TrackerConfig

__version__ = "0.1.0"

__all__ = [
    "InputError", "TfsasmError", "Tracker", "TrackerConfig", "TruncatedInput", "WeightsError",
    "__version__", "default", "load", "motrv2", "paper", "released",
]  # fmt: skip
