"""What a whole video may be given as: frames of any origin, and any function as their detector."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sized
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tfsasm.detection.proposals import Given
from tfsasm.errors import InputError
from tfsasm.runtime.preprocess import as_bgr
from tfsasm.video.source import Frame, Source, open_video

STORED = (".txt", ".json")
"""Suffixes of files with detections: MOT det.txt and det_db."""


class Capture(Protocol):
    """What reads frames as `cv2.VideoCapture` does."""

    def isOpened(self) -> bool:
        """Whether there is something to read."""
        ...

    def read(self) -> tuple[bool, Any]:
        """Whether there is a frame, and its image."""
        ...

    def get(self, propId: int) -> float:
        """A property, as `cv2.CAP_PROP_FPS`."""
        ...


GivenSource = Source | Path | str | int | Capture | Iterable[np.ndarray | Frame]
"""A video: what `open_video` takes or gave, a `cv2.VideoCapture`, or any iterable of frames."""

GivenDetector = Callable[[Frame], Given] | Path | str | None
"""Where boxes come from: a function of a `Frame` that returns what `Tracker.update` takes, a file
of stored detections, or the name of a live detector; None for a tracker that needs none (MOTR)."""


class GivenFrames(Source):
    """Frames of an iterable or of a capture: images, uint8 BGR `[H, W, 3]` (grey and BGRA are
    converted), numbered from 1; or `Frame`s, taken as they are.

    Images are copied, for a program may read each frame into the same array.
    """

    def __init__(self, given: Iterable[Any], label: str, rate: Fraction | None = None) -> None:
        super().__init__(label, range(1, 2))
        self._given, self.rate = given, rate
        self.count = len(given) if isinstance(given, Sized) else None

    def _read(self) -> Generator[Frame, None, None]:
        for number, item in enumerate(self._given, start=1):
            if isinstance(item, Frame):
                yield item
                continue
            try:
                image = as_bgr(item)
            except InputError as error:
                raise InputError(f"frame {number} of {self.label}: {error}") from error
            time = None if self.rate is None else float((number - 1) / self.rate)
            yield Frame(np.array(image), number, f"{self.label}#{number}", time)


def as_source(given: GivenSource) -> Source:
    """Any video as a `Source`. Raises `InputError` for what is none and as `open_video` does."""
    if isinstance(given, Source):
        return given
    if isinstance(given, Path | str | int):
        return open_video(given)
    if hasattr(given, "read") and hasattr(given, "isOpened"):
        return _captured(given)
    if isinstance(given, np.ndarray) and given.ndim != 4:
        raise InputError(
            f"an array {list(given.shape)} is no video; give a list of frames, each uint8 [H, W, 3]"
        )
    if isinstance(given, Iterable):
        return GivenFrames(given, "the frames given")
    raise InputError(
        f"{type(given).__name__} is no video; give a path, an address, a camera index, a "
        "cv2.VideoCapture or an iterable of frames"
    )


def _captured(capture: Any) -> GivenFrames:
    """The frames that a `cv2.VideoCapture` has yet to give; it stays open."""
    import cv2

    if not capture.isOpened():
        raise InputError("the cv2.VideoCapture is not open: its video or camera is not there")
    rate, total = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)

    def read() -> Generator[Any, None, None]:
        while True:
            good, image = capture.read()
            if not good:
                return
            yield image

    known = 0 < rate <= 1000 and total > 0  # of a camera the rate is but a wish
    frames = GivenFrames(
        read(), "the capture given", Fraction(rate).limit_denominator(100_000) if known else None
    )
    left = total - capture.get(cv2.CAP_PROP_POS_FRAMES)
    frames.count = round(left) if known and left > 0 else None
    return frames


def as_detector(given: GivenDetector, source: GivenSource) -> Callable[[Frame], Given]:
    """Any detector as a function of a frame. Raises `InputError` for what is none."""
    if given is None:
        from tfsasm.detection.detectors import NoDetector

        return NoDetector()
    if not isinstance(given, Path | str):
        if not callable(given):
            raise InputError(
                f"{type(given).__name__} is no detector; give a name such as yolox-nano, a file of "
                "detections, or a function of a frame that returns its boxes"
            )
        return given
    if isinstance(given, str) and Path(given).suffix.lower() not in STORED:
        from tfsasm.detection.detectors import detector as detector_by_name

        return detector_by_name(given)
    from tfsasm.detection.stored import open_detections

    name = source.label if isinstance(source, Source) else source
    named = isinstance(name, Path | str | int)
    return open_detections(given, source_name=str(Path(str(name)).resolve()) if named else None)
