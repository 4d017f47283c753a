"""Tracking by detection: a Kalman filter, appearance embeddings, and galleries that remember them.

It has no network of its own but the embedder's, and no training.
"""

from tfsasm.tracking.appearance.embedders import Embedder, embedder
from tfsasm.tracking.appearance.gallery import GalleryConfig
from tfsasm.tracking.appearance.tracker import AppearanceConfig, AppearanceTracker

__all__ = ["AppearanceConfig", "AppearanceTracker", "Embedder", "GalleryConfig", "embedder"]
