"""From a decoded frame to what `MOTRv2.encode` takes (SPEC 2.1)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tfsasm.runtime.preprocess import MEAN, STD, resized_rgb


def prepare(image: np.ndarray, short_side: int, max_side: int) -> Tensor:
    """BGR uint8 `[H, W, 3]` to normalised RGB float32 `[1, 3, h, w]`."""
    rgb = resized_rgb(image, short_side, max_side)
    return normalise(torch.from_numpy(rgb).permute(2, 0, 1)[None])


def normalise(rgb: Tensor) -> Tensor:
    """RGB uint8 `[B, 3, h, w]` to the range that ImageNet networks expect."""
    x = rgb.contiguous().float() / 255
    mean, std = (x.new_tensor(v)[:, None, None] for v in (MEAN, STD))
    return (x - mean) / std
