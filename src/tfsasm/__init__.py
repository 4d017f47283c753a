"""Multi-object tracking with learned queries and a sparse, training-free memory.

    for frame, tracks in tfsasm.track("video.mp4"): ...

    tracker = tfsasm.load("tiny")                  # or "motrv2_dancetrack.pth"
    tracks = tracker.update(detections, frame)     # supervision.Detections in and out
    for frame, tracks in tracker.track("video.mp4", "yolox-nano"): ...

Names are imported when they are first used: `import tfsasm` costs nothing.
"""

TYPE_CHECKING = False  # that of `typing`, which would be half of what is imported before `main`

if TYPE_CHECKING:
    from typing import Any

    from tfsasm.detection.detectors import detector
    from tfsasm.detection.stored import open_detections
    from tfsasm.errors import InputError, TfsasmError, TruncatedInput, WeightsError
    from tfsasm.evaluation.score import score_folders
    from tfsasm.tracking.appearance.embedders import embedder
    from tfsasm.tracking.appearance.tracker import AppearanceConfig, AppearanceTracker, track
    from tfsasm.tracking.config import TrackerConfig, default, paper, released
    from tfsasm.tracking.history import History
    from tfsasm.tracking.load import load
    from tfsasm.tracking.query import QueryTracker
    from tfsasm.tracking.run import Track, Tracker, track_video
    from tfsasm.tracking.streams import track_videos
    from tfsasm.video.annotate import Annotator
    from tfsasm.video.source import open_video
    from tfsasm.video.writer import VideoWriter

__version__ = "0.1.0"

__all__ = [
    "Annotator", "AppearanceConfig", "AppearanceTracker", "History", "InputError", "QueryTracker",
    "TfsasmError", "Track", "Tracker", "TrackerConfig", "TruncatedInput", "VideoWriter",
    "WeightsError", "__version__", "default", "detector", "embedder", "load",
    "open_detections", "open_video", "paper", "released", "score_folders", "track", "track_video",
    "track_videos",
]  # fmt: skip

_HOMES = {
    "detection.detectors": ("detector",),
    "detection.stored": ("open_detections",),
    "errors": ("InputError", "TfsasmError", "TruncatedInput", "WeightsError"),
    "evaluation.score": ("score_folders",),
    "tracking.appearance.embedders": ("embedder",),
    "tracking.appearance.tracker": ("AppearanceConfig", "AppearanceTracker", "track"),
    "tracking.config": ("TrackerConfig", "default", "paper", "released"),
    "tracking.history": ("History",),
    "tracking.load": ("load",),
    "tracking.query": ("QueryTracker",),
    "tracking.run": ("Track", "Tracker", "track_video"),
    "tracking.streams": ("track_videos",),
    "video.annotate": ("Annotator",),
    "video.source": ("open_video",),
    "video.writer": ("VideoWriter",),
}


def __getattr__(name: str) -> "Any":
    from importlib import import_module

    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"tfsasm.{module}"), name)
    raise AttributeError(f"module 'tfsasm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
