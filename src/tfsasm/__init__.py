"""Multi-object tracking with learned queries and a sparse, training-free memory.

    tracker = tfsasm.load("tiny")                  # or "motrv2_dancetrack.pth"
    tracks = tracker.update(detections, frame)     # supervision.Detections in and out
    for frame, tracks in tracker.track("video.mp4", detector="yolox-nano"): ...

Names are imported when they are first used: `import tfsasm` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfsasm.errors import InputError, TfsasmError, TruncatedInput, WeightsError
    from tfsasm.tracking.appearance.tracker import AppearanceConfig, AppearanceTracker
    from tfsasm.tracking.config import TrackerConfig, default, motrv2, paper, released
    from tfsasm.tracking.load import load
    from tfsasm.tracking.query import QueryTracker

__version__ = "0.1.0"

__all__ = [
    "AppearanceConfig", "AppearanceTracker", "InputError", "QueryTracker", "TfsasmError",
    "TrackerConfig", "TruncatedInput", "WeightsError", "__version__", "default", "load", "motrv2",
    "paper", "released",
]  # fmt: skip

_HOMES = {
    "errors": ("InputError", "TfsasmError", "TruncatedInput", "WeightsError"),
    "tracking.appearance.tracker": ("AppearanceConfig", "AppearanceTracker"),
    "tracking.config": ("TrackerConfig", "default", "motrv2", "paper", "released"),
    "tracking.load": ("load",),
    "tracking.query": ("QueryTracker",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"tfsasm.{module}"), name)
    raise AttributeError(f"module 'tfsasm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
