"""Training: losses, clips, the loop."""
