"""Numbers and times of a video's images: what is lost keeps its number, and no time goes back.

A damaged file gives fewer images than were filmed. Each image still gets the number it was filmed
with, by the count of its container (MP4, AVI) or else by its time where the rate is constant.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Generic, TypeVar

from tfsasm.errors import first_few

REORDERED = 16  # images that a decoder may still hold when a later packet fails

OFF_BEAT = 0.3  # frame periods by which a time may miss a constant rate: clocks of 1 ms at 240 fps

AHEAD = 64  # packets that are read before one is decoded, where gaps in times may mean losses

UNSTEADY = 4  # gaps among the times of these from which on a recording has no constant rate

LONGEST_GAP = 10.0  # seconds; a clock that jumps further was set anew, where a format allows that

KEPT = 1000  # events that are known one by one; a damaged stream may go on for months

T = TypeVar("T")


@dataclass
class Events(Generic[T]):
    """What happens again and again: how often, the first of it, and the last."""

    count: int = 0
    first: list[T] = field(default_factory=list)
    last: T | None = None

    def add(self, event: T) -> None:
        """It happened again."""
        self.count, self.last = self.count + 1, event
        if self.count <= KEPT:
            self.first.append(event)


def spans(ranges: Iterable[range], count: int | None = None) -> str:
    """Ranges of frames as a message names them, the first five of `count`."""
    named = [f"{r[0]}-{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in ranges]
    return first_few(named, 5, count=count)


@dataclass
class Timeline:
    """What is known when an image comes out: `number` and `time` (seconds) of the last one.

    `rate` is in frames per second, None when unknown. A `live` source numbers what arrives. A
    `counted` container hands out a packet for every image, decodable or not. One in `storage_order`
    (AVI) has places instead of times. The clock begins at `start`, and that of a `restartable`
    format may jump, as where two broadcasts were joined. `missing` are the numbers of images that
    were lost, `lost` frames in all, `damage` those after which something could not be decoded,
    `restarts` those at which the clock was set anew; `constant` says whether the rate has been so
    far.
    """

    rate: Fraction | None
    live: bool = False
    counted: bool = False
    storage_order: bool = False
    restartable: bool = False
    start: float | None = None
    number: int = 0
    time: float | None = None
    missing: Events[range] = field(default_factory=Events)
    lost: int = 0
    damage: Events[int] = field(default_factory=Events)
    restarts: Events[int] = field(default_factory=Events)
    constant: bool = True
    _coming: deque[float] = field(default_factory=lambda: deque(maxlen=4 * AHEAD))
    _waiting: list[float] = field(default_factory=list)  # times of packets that no image passed yet
    _places: dict[float, int] = field(default_factory=dict)  # of such packets, by their times
    _latest: deque[int] = field(default_factory=lambda: deque(maxlen=REORDERED))  # shown places
    _reference: int = 0  # place of the last image that predicts others
    _shown: int = 0
    _lost: int = 0
    _lost_whole: int = 0  # of it before any damage
    _clock_from: int = 1  # number of the first image of the present clock
    _next_place: int = 0
    _failed: int = 0  # packets since the last image
    _late: int = 0  # images since the last one that was not
    _clock: float | None = None  # the file's time of the last image
    _offset: float = 0.0

    @property
    def looks_ahead(self) -> bool:
        """Whether it wants to know of packets with `coming` before they are decoded."""
        return not (self.live or self.counted or self.storage_order)

    def coming(self, clock: float) -> None:
        """A packet was read whose image has the time `clock`."""
        self._coming.append(clock)

    def packet(self, clock: float, place: int) -> None:
        """The packet at `place` (from 0) of the file was read; its image has the time `clock`."""
        if self.storage_order:
            if place > self._next_place:
                self.damage.add(self.number)
            self._places[clock], self._next_place = place, place + 1
        elif self.counted:
            heapq.heappush(self._waiting, clock)

    def damaged(self, lost: int = 0) -> None:
        """Something could not be decoded, and so many images are `lost` with it."""
        self._failed += lost
        self.damage.add(self.number)

    def image(self, clock: float | None, *, between: bool = False) -> bool:
        """The next image came out, with the time `clock` in seconds. False: late, leave it out.

        `between` is one that others on both sides predict (a B-frame). After damage a decoder may
        let out an image behind others that were filmed after it.
        """
        if clock is None and self._clock is not None and self.rate:
            clock = self._clock + self._period()
        restart = clock is not None and self._is_restart(clock)
        steps = self._steps(clock, between, restart)
        self._late = self._late + 1 if steps < 1 else 0
        if steps < 1:
            return False
        if steps > 1:
            self.missing.add(range(self.number + 1, self.number + steps))
            self.lost += steps - 1
        self.number += steps
        self._failed = 0
        self._advance(clock, restart)
        return True

    def _steps(self, clock: float | None, between: bool, restart: bool) -> int:
        """By how much the number grows; 0 for a late image."""
        if self.live or clock is None:
            return 1
        if self.storage_order:
            return self._by_place(clock, between)
        if self.counted:
            return self._by_count(clock)
        if self.rate is None:
            return 1 + self._failed
        if self._clock is None:  # an open group of pictures lets out its first images late
            start = clock if self.start is None else self.start
            before = round((clock - start) * float(self.rate))
            return 1 + before if before > REORDERED else 1 + self._failed
        return 1 if restart else self._by_clock(clock)

    def _by_place(self, clock: float, between: bool) -> int:
        """All before an image are stored before it, but for those shown `between` it and others."""
        place = self._places.pop(clock, None)
        if place is None:
            return 1
        if not between:
            if place < self._reference:
                return 0
            self._reference = place
            before = self._shown - sum(other > place for other in self._latest)
            self._lost = max(self._lost, place - before)
        self._latest.append(place)
        self._shown += 1
        if not self.damage.count:  # what a whole file leaves out was never filmed
            self._lost_whole = self._lost
        return self._shown + self._lost - self._lost_whole - self.number

    def _by_count(self, clock: float) -> int:
        if self.damage.count and self._clock is not None and clock <= self._clock:
            return 0
        passed = 1
        while self._waiting and self._waiting[0] <= clock:
            passed += heapq.heappop(self._waiting) < clock
        return passed if self.damage.count else 1

    def _by_clock(self, clock: float) -> int:
        periods = (clock - (self._clock or 0.0)) / self._period()
        steps = round(periods)
        if steps < 1 and self._after_damage():
            return 0
        # than the header says, or than the recording before it
        slower = self.number == self._clock_from and steps > 1 and not self.damage.count
        steady = abs(periods - steps) < OFF_BEAT and not slower
        self.constant &= steps >= 1 and steady and not (steps > 1 and self._unsteady(clock))
        return steps if self.constant else 1 + self._failed

    def _unsteady(self, clock: float) -> bool:
        """Whether the packets after `clock` have gaps again and again, which damage does not make.
        """
        later = sorted(time for time in self._coming if time >= clock)
        gaps = (b - a for a, b in itertools.pairwise(later))
        return sum(gap > 1.5 * self._period() for gap in gaps) >= UNSTEADY and not self.damage.count

    def _is_restart(self, clock: float) -> bool:
        if self._clock is None or self.storage_order:
            return False
        jump = clock - self._clock
        if jump > 0:
            return self.restartable and jump > LONGEST_GAP
        return jump < -1.5 * self._period() and not self._after_damage()

    def _after_damage(self) -> bool:
        damage, gap = self.damage.last, self.missing.last
        latest = max(-REORDERED if damage is None else damage, gap.stop if gap else -REORDERED)
        return self.number + self._late - latest < REORDERED

    def _advance(self, clock: float | None, restart: bool) -> None:
        if clock is None or self.storage_order:
            self.time = None if self.rate is None else float((self.number - 1) / self.rate)
            return
        if self._clock is None:
            self._offset = (self.number - 1) * self._period() - clock
        elif restart:
            self.restarts.add(self.number)
            self._clock_from = self.number
            self._offset += self._clock - clock + self._period()
        self._clock = clock
        self.time = max(clock + self._offset, self.time or 0.0)

    def _period(self) -> float:
        return 1 / float(self.rate) if self.rate else 0.0
