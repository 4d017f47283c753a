"""A live window, by OpenCV."""

import subprocess
import sys
from typing import Self

import cv2
import numpy as np

from tfsasm.errors import InputError
from tfsasm.video.writer import resized

LARGEST = 1280  # pixels of the longer side

TRY = "import cv2; cv2.namedWindow('tfsasm'); cv2.waitKey(1); cv2.destroyAllWindows()"
"""What a process of its own does, which dies where there is no display."""


class WindowClosed(Exception):
    """The user closed the window, or pressed q or Escape."""


def check_display() -> None:
    """Raises `InputError` where no window can be opened.

    A process of its own tries, for OpenCV ends the process where there is no display.
    """
    try:
        done = subprocess.run([sys.executable, "-c", TRY], capture_output=True, timeout=30)
        good = done.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        good = False
    if not good:
        raise InputError(
            "--show needs a display, and OpenCV can open no window here; leave it out and look at "
            "the annotated video (with opencv-python-headless there are no windows at all)"
        )


class Window:
    """Shows images as they come, made smaller where they are large. One thread only."""

    def __init__(self, title: str) -> None:
        self._title, self._shown = title, False

    def show(self, image: np.ndarray) -> None:
        """Show `image` (uint8 BGR `[H, W, 3]`). Raises `WindowClosed` when the user has enough."""
        scale = LARGEST / max(image.shape[:2])
        if scale < 1:
            height, width = (max(1, round(side * scale)) for side in image.shape[:2])
            image = resized(image, width, height)
        cv2.imshow(self._title, image)
        key = cv2.waitKey(1) & 0xFF
        closed = self._shown and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1
        self._shown = True
        if key in (ord("q"), 27) or closed:  # 27 is Escape
            raise WindowClosed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            cv2.destroyAllWindows()
