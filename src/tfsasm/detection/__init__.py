"""Detectors, and detections that are stored in files."""
