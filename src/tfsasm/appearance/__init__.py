"""The second tracker: motion and looks, without any network of its own.

A Kalman filter says where everybody should be, an embedding of each box says what everybody looks
like, and `tfsasm.memory` remembers it. It knows nothing of `tfsasm.model`.
"""

from tfsasm.appearance.embed import Embedder
from tfsasm.appearance.embed.named import embedder
from tfsasm.appearance.galleries import GalleryConfig
from tfsasm.appearance.shell import AppearanceTracker
from tfsasm.appearance.tracker import AppearanceConfig

__all__ = ["AppearanceConfig", "AppearanceTracker", "Embedder", "GalleryConfig", "embedder"]
