"""Sine encodings of places, boxes and scores (SPEC 3.4, 4.3)."""

import math
from functools import lru_cache

import torch
from torch import Tensor

TEMPERATURE = 10000.0


def _waves(angles: Tensor, features: int) -> Tensor:
    """`[...]` angles to `[..., features]`: sine and cosine alternate and share a wavelength."""
    index = torch.arange(features, dtype=torch.float32, device=angles.device)
    wavelength = TEMPERATURE ** (2 * torch.div(index, 2, rounding_mode="floor") / features)
    phase = angles[..., None] / wavelength
    return torch.stack([phase[..., 0::2].sin(), phase[..., 1::2].cos()], dim=-1).flatten(-2)


def embed_coordinates(values: Tensor, features: int, turns: float = 1.0) -> Tensor:
    """Encode `[..., n]` coordinates in [0, 1] as `[..., n * features]`, one behind the other.

    The fastest wave makes `turns` full turns over the image; published: one.
    """
    return _waves(values * (2 * math.pi * turns), features).flatten(-2)


def embed_grid(height: int, width: int, features: int, device: torch.device) -> Tensor:
    """Encode the pixels of an image as `[1, 2 * features, H, W]`: rows first, then columns.

    Each spans a full turn. Made once per size; not to be changed in place.
    """
    if torch.compiler.is_compiling():  # the sizes of a traced graph are free: nothing to keep it by
        return _grid(height, width, features, device)
    return _kept_grid(height, width, features, device)


@lru_cache(maxsize=32)
def _kept_grid(height: int, width: int, features: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():  # serves training as well
        return _grid(height, width, features, device)


def _grid(height: int, width: int, features: int, device: torch.device) -> Tensor:
    counts = torch.ones(1, height, width, device=device)
    y, x = counts.cumsum(1), counts.cumsum(2)
    y = (y - 0.5) / (y[:, -1:] + 1e-6) * (2 * math.pi)
    x = (x - 0.5) / (x[:, :, -1:] + 1e-6) * (2 * math.pi)
    return torch.cat([_waves(y, features), _waves(x, features)], dim=-1).permute(0, 3, 1, 2)
