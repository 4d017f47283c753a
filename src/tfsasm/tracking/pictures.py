"""Small pictures of what a memory holds, few enough for a page."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import cv2
import numpy as np

from tfsasm.tables import Image
from tfsasm.video.writer import resized

HEIGHT, WIDTH = 96, 72  # pixels at most

QUALITY = 72  # of JPEG

MOST = 3_000_000  # bytes of all pictures of a page


class Pictures:
    """Crops of views that may be stored, and pictures of those that were.

    When all pictures are more than `most` bytes, every second one of the identity that has most is
    given up, the newest never, so that the bound holds for any video.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most, self._bytes = most, 0
        self._crops: dict[int, tuple[int, Image]] = {}  # the frame, and what was seen there
        self._kept: dict[int, dict[int, bytes]] = {}

    def see(self, identity: int, frame: int, image: Image, xyxy: np.ndarray) -> None:
        """Keep what is inside a box `[4]` of pixels, until the identity is seen better."""
        height, width = image.shape[:2]
        left, top, right, bottom = np.clip(xyxy, 0, [width, height, width, height])
        crop = image[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))]
        if crop.size:
            scale = min(1.0, HEIGHT / crop.shape[0], WIDTH / crop.shape[1])
            size = [max(1, round(length * scale)) for length in crop.shape[1::-1]]
            self._crops[identity] = frame, resized(crop, *size)
        else:
            self._crops.pop(identity, None)

    def keep(self, identity: int, frame: int) -> None:
        """Make a picture of the view that was seen in that frame, if that was kept."""
        seen, crop = self._crops.pop(identity, (None, None))
        if crop is None or seen != frame:
            return
        _, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        self._kept.setdefault(identity, {})[frame] = data.tobytes()
        self._bytes += len(data)
        while self._bytes > self._most:
            largest = max(self._kept.values(), key=len)
            given_up = [*largest][-2::-2]
            if not given_up:
                return
            self._bytes -= sum(len(largest.pop(frame)) for frame in given_up)

    def of(self, identity: int) -> Iterator[tuple[int, str]]:
        """Frames of the views that have a picture, and the picture as base64 of JPEG."""
        for frame, data in self._kept.get(identity, {}).items():
            yield frame, base64.b64encode(data).decode("ascii")
