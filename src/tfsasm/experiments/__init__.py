"""Trackers over data sets: evaluate, compare and ablate are one engine."""
