"""Where the time of a frame goes, and what a machine could do."""
