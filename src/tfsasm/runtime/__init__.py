"""Inference without PyTorch: what a tracker needs of a network, and exported networks."""
