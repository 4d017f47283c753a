"""From a decoded frame to what `MOTRv2.encode` takes (SPEC 2.1)."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def resized_shape(height: int, width: int, short_side: int, max_side: int) -> tuple[int, int]:
    """Height and width after scaling the short side, the long one at most `max_side`.

    Truncated, not rounded, in Python floats: now and then one pixel short (QUIRK-1).
    """
    scale = short_side / min(height, width)
    if max(height, width) * scale > max_side:
        scale = max_side / max(height, width)
    return max(1, int(height * scale)), max(1, int(width * scale))


def prepare(image: np.ndarray, short_side: int, max_side: int) -> Tensor:
    """BGR uint8 `[H, W, 3]` to normalised RGB float32 `[1, 3, h, w]`.

    Resized as uint8 by OpenCV itself, whose fixed-point rounding nothing else reproduces.
    """
    height, width = resized_shape(image.shape[0], image.shape[1], short_side, max_side)
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR)
    return normalise(torch.from_numpy(rgb).permute(2, 0, 1)[None])


def normalise(rgb: Tensor) -> Tensor:
    """RGB uint8 `[B, 3, h, w]` to the range that ImageNet networks expect."""
    x = rgb.contiguous().float() / 255
    mean, std = (x.new_tensor(v)[:, None, None] for v in (MEAN, STD))
    return (x - mean) / std
