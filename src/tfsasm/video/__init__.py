"""Frames in, annotated video out."""
