"""Sampling by the book: cases, and a loop over everything."""

import math

import torch

SHAPES = [(3, 5), (2, 2)]


def case(batch=2, queries=3, heads=2, points=2, width=3, seed=0, dtype=torch.float64):
    """Values, locations and weights; some of the locations are outside."""
    g = torch.Generator().manual_seed(seed)
    pixels, levels = sum(h * w for h, w in SHAPES), len(SHAPES)
    value = torch.randn(batch, pixels, heads, width, generator=g, dtype=dtype)
    grid = (batch, queries, heads, levels, points)
    locations = torch.rand(*grid, 2, generator=g, dtype=dtype) * 1.6 - 0.3
    return value, locations, torch.rand(grid, generator=g, dtype=dtype)


def bilinear(pixels, x, y):
    """Sample `[h, w, D]` at a pixel coordinate; what lies outside counts as zero."""
    h, w, width = pixels.shape
    total = torch.zeros(width, dtype=pixels.dtype)
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < h and 0 <= column < w:
                total += (1 - abs(x - column)) * (1 - abs(y - row)) * pixels[row, column]
    return total


def slow_sample(value, shapes, locations, weights):
    batch, queries, heads, _, points, _ = locations.shape
    out = torch.zeros(batch, queries, heads, value.shape[-1], dtype=value.dtype)
    levels = value.split([h * w for h, w in shapes], dim=1)
    for b in range(batch):
        for q in range(queries):
            for m in range(heads):
                for level, (h, w) in enumerate(shapes):
                    pixels = levels[level][b, :, m].reshape(h, w, -1)
                    for k in range(points):
                        x, y = locations[b, q, m, level, k].tolist()
                        seen = bilinear(pixels, x * w - 0.5, y * h - 0.5)
                        out[b, q, m] += weights[b, q, m, level, k] * seen
    return out.flatten(2)
