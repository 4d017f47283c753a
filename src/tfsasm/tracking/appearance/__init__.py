"""The second tracker: motion and looks, without any network of its own.

A Kalman filter says where everybody should be, an embedding of each box says what everybody looks
like, and `tfsasm.memory` remembers it. It knows nothing of `tfsasm.model`.
"""



from tfsasm.tracking.appearance.embedders import Embedder, embedder
from tfsasm.tracking.appearance.gallery import GalleryConfig
from tfsasm.tracking.appearance.tracker import AppearanceConfig, AppearanceTracker

__all__ = ["AppearanceConfig", "AppearanceTracker", "Embedder", "GalleryConfig", "embedder"]
