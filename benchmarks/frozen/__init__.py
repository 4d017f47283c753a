"""How the weights of `nano` were made (docs/results.md)."""
