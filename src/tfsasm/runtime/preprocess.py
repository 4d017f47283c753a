"""Images at the scale of a network. NumPy and OpenCV alone."""

import cv2
import numpy as np

from tfsasm.errors import InputError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the pixels of ImageNet, RGB in [0, 1]."""


def as_bgr(frame: np.ndarray) -> np.ndarray:
    """A uint8 image `[H, W]`, `[H, W, 1]`, `[H, W, 3]` or `[H, W, 4]` as BGR `[H, W, 3]`."""
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim not in (2, 3):
        kind = type(frame).__name__
        if isinstance(frame, np.ndarray):
            kind = f"{frame.dtype} {list(frame.shape)}"
        raise InputError(f"a frame is a uint8 array [H, W, 3] in BGR order, not {kind}")
    if frame.size == 0:
        raise InputError(f"a frame of shape {frame.shape} has no pixels")
    channels = 1 if frame.ndim == 2 else frame.shape[2]
    if channels == 3:
        return frame
    if channels not in (1, 4):
        raise InputError(f"a frame has 1, 3 or 4 channels, not {channels}")
    return cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR if channels == 1 else cv2.COLOR_BGRA2BGR)


def resized_shape(height: int, width: int, short_side: int, max_side: int) -> tuple[int, int]:
    """Height and width after scaling the short side, the long one at most `max_side`.

    Truncated, not rounded, in Python floats: now and then one pixel short (QUIRK-1).
    """
    scale = short_side / min(height, width)
    if max(height, width) * scale > max_side:
        scale = max_side / max(height, width)
    return max(1, int(height * scale)), max(1, int(width * scale))


def resized_rgb(image: np.ndarray, short_side: int, max_side: int) -> np.ndarray:
    """BGR uint8 `[H, W, 3]` to RGB uint8 `[h, w, 3]` (SPEC 2.1).

    Resized as uint8 by OpenCV itself, whose fixed-point rounding nothing else reproduces.
    """
    height, width = resized_shape(image.shape[0], image.shape[1], short_side, max_side)
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR)
