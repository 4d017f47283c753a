"""Proposals for a frame: from a stored file or from a live detector, behind one protocol."""

from __future__ import annotations

from tfsasm.detection.detectors import Detector, default_settings, detector
from tfsasm.detection.huggingface import HuggingFaceDetector, HuggingFaceSettings
from tfsasm.detection.stored import DetectionDatabase, MotDetections, open_detections
from tfsasm.detection.yolox import YoloxDetector, YoloxSettings
from tfsasm.detection.yolox_torch import YoloxTorchDetector

__all__ = [
    "DetectionDatabase",
    "Detector",
    "HuggingFaceDetector",
    "HuggingFaceSettings",
    "MotDetections",
    "YoloxDetector",
    "YoloxSettings",
    "YoloxTorchDetector",
    "default_settings",
    "detector",
    "open_detections",
]
