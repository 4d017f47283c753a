"""Inference without PyTorch: what a tracker asks of a network, and exported networks."""
