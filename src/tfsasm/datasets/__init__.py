"""Benchmarks on disk and their defects; synthetic clips."""
