"""What a frame costs: stages, variants of the network, growth, other programs."""
