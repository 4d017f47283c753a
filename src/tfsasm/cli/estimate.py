"""`tfsasm track --dry-run`: what many videos will take, from a rate that is measured here."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tfsasm.cli import INTERRUPTED
from tfsasm.cli.track_one import Step, Tracked
from tfsasm.errors import InputError, TfsasmError

if TYPE_CHECKING:
    from tfsasm.cli.track import Options

_WARM_UP = 5  # frames that are not counted: kernels are compiled, buffers are made

_FRAMES, _SECONDS = 200, 20.0  # of the measurement, whichever ends first


@dataclass(frozen=True)
class Lengths:
    """How long some videos are together."""

    videos: int
    frames: int
    hours: float
    first: str
    """The first that is counted."""
    not_counted: tuple[str, ...]
    """Why others are not, a sentence each."""


@dataclass(frozen=True)
class Estimate:
    """What some videos will take."""

    lengths: Lengths
    measured_frames: int
    frames_per_second: float
    """Of one worker, with all that it writes."""
    price_per_hour: float | None
    """Of one worker."""

    @property
    def worker_hours(self) -> float:
        """Of one worker for all videos."""
        return self.lengths.frames / self.frames_per_second / 3600

    @property
    def worker_hours_per_1000_hours(self) -> float:
        """Of one worker for 1,000 hours of such video."""
        return 1000 * self.worker_hours / self.lengths.hours

    @property
    def cost_per_1000_hours(self) -> float | None:
        """None where no price is given."""
        price = self.price_per_hour
        return None if price is None else price * self.worker_hours_per_1000_hours

    def to_json(self) -> dict[str, object]:
        """Ready for JSON."""
        return asdict(self) | {
            "worker_hours": self.worker_hours,
            "worker_hours_per_1000_hours": self.worker_hours_per_1000_hours,
            "cost_per_1000_hours": self.cost_per_1000_hours,
        }

    def lines(self) -> list[str]:
        """What to print."""
        lengths, cost = self.lengths, self.cost_per_1000_hours
        lines = [
            f"{lengths.videos} videos, {lengths.frames:,} frames, {lengths.hours:.4g} hours",
            f"{self.frames_per_second:.1f} frames per second by one worker, measured on "
            f"{self.measured_frames} frames of {lengths.first} with all that is written",
            f"{self.worker_hours:.4g} hours of one worker; 1,000 hours of such video take it "
            f"{self.worker_hours_per_1000_hours:,.0f}",
        ]
        if cost is not None:
            lines.append(f"1,000 hours of video cost {cost:,.2f}, at {self.price_per_hour:g} an "
                         "hour of a worker")  # fmt: skip
        return lines + [f"not counted: {why}" for why in lengths.not_counted]


def lengths_of(options: Options, sources: Iterable[str]) -> Lengths:
    """The lengths of the videos. Raises `InputError` where none can be counted."""
    counted, not_counted = list[tuple[str, int, float]](), list[str]()
    for source in sources:
        try:
            counted.append((source, *_length(options, source)))
        except TfsasmError as error:
            not_counted.append(str(error))
    if not counted:
        raise InputError(f"no video can be counted: {'; '.join(not_counted)}")
    frames = sum(count for _, count, _ in counted)
    hours = sum(each for _, _, each in counted)
    return Lengths(len(counted), frames, hours, counted[0][0], tuple(not_counted))


def _length(options: Options, source: str) -> tuple[int, float]:
    """Frames and hours of a video. Raises `InputError` for one that has no end."""
    from tfsasm.video.source import open_video

    with open_video(
        source, start=options.start, end=options.end, stride=options.stride
    ) as opened:
        if not opened.count or not opened.fps:
            raise InputError(f"{source} does not say how long it is")
        return opened.count, opened.count / opened.fps / 3600


def measured(steps: Iterator[Step | Tracked]) -> tuple[int, float]:
    """Frames that count, and frames per second, of a video whose tracking begins now.

    Raises `InputError` for one without frames, and `KeyboardInterrupt`.
    """
    began, counted = time.perf_counter(), 0
    for step in steps:
        if isinstance(step, Tracked):
            if step.code == INTERRUPTED:
                raise KeyboardInterrupt
            break
        short = _WARM_UP if step.length is None else step.length // 2
        counted = step.frames - min(_WARM_UP, short)
        if counted == 0:
            began = time.perf_counter()
        if counted == _FRAMES or (counted > 0 and time.perf_counter() - began > _SECONDS):
            break
    spent = time.perf_counter() - began
    if counted < 1:
        raise InputError("the first video has no frames to measure by")
    return counted, counted / spent
