"""A source of frames: what all kinds have in common."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

import numpy as np

from tfsasm.errors import InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frame:
    """One picture of a source.

    `image` is uint8 BGR `[H, W, 3]`. `number` is the 1-based position in the whole source (SPEC
    2.2), whatever `start` and `stride` are. `name` is the image's path as given, in posix form,
    or `video.mp4#17`. `time` is in seconds since the source's first frame, None when the source
    has no clock.
    """

    image: np.ndarray
    number: int
    name: str
    time: float | None


class Source:
    """Frames in order, read once, like the lines of an open file. Made by `open_source`.

    `rate` is the number of frames per second that come out (so a stride divides it), exact, None
    when unknown; `size` is `(width, height)` of the first frame; `count` is how many frames are
    expected to come out, None for a live source. `problems` are sentences about defects that
    were recovered from or guessed around; each was also logged as a warning.
    """

    def __init__(self, label: str, numbers: range) -> None:
        self.label = label
        self.rate: Fraction | None = None
        self.size: tuple[int, int] | None = None
        self.count: int | None = None
        self.problems: list[str] = []
        self._numbers = numbers
        self._frames = self._read()

    @property
    def fps(self) -> float | None:
        """`rate` as a float."""
        return None if self.rate is None else float(self.rate)

    def __iter__(self) -> Iterator[Frame]:
        """Frames from where reading stopped. Raises `TruncatedInput` after the last good one."""
        return self._frames

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file or the device. A closed source has no more frames."""
        self._frames.close()

    def _read(self) -> Generator[Frame, None, None]:
        raise NotImplementedError

    def _report(self, problem: str) -> None:
        self.problems.append(problem)
        log.warning("%s", problem)

    def _expect(self, total: int) -> None:
        chosen = self._numbers
        self.count = len(range(chosen.start, min(chosen.stop, total + 1), chosen.step))

    def _nothing_chosen(self, total: int) -> InputError:
        start = self._numbers.start
        return InputError(
            f"{self.label} has {total} frames and none from {start} on; choose a start <= {total}"
        )
