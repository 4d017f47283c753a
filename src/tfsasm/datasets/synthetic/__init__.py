"""Rendered videos of look-alike people, with ground truth and simulated detections."""
