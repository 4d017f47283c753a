"""Trackers: by learned queries with a sparse memory, by appearance, and the classic ones."""
