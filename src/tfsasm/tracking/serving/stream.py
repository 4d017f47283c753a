"""One live stream: a thread reads it, and whoever has time tracks its newest frame.

What is unusual here: nothing queues. A frame that is not tracked when the next one comes is dropped
and counted, so an answer is never older than one round of the workers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import supervision as sv

from tfsasm.detection.detectors import Detector
from tfsasm.errors import InputError, TruncatedInput
from tfsasm.limits import Limit
from tfsasm.tracking.results import rows
from tfsasm.tracking.run import Tracker
from tfsasm.video.addresses import public_address
from tfsasm.video.source import Frame, Source, open_video

log = logging.getLogger(__name__)

State = Literal["connecting", "live", "lost", "refused", "ended"]

SHORTEST, LONGEST = 0.5, 30.0
"""Seconds before the first attempt to connect again; each next pause is twice as long."""


@dataclass(frozen=True)
class StreamLimits:
    """What a single stream may ask for."""

    fps: float = 30.0
    """Frames per second that are tracked at most; more are left out, and counted as skipped."""
    pixels: int = 1920 * 1200
    """Of a frame; a stream with larger ones is refused."""
    remembered: float = 10.0
    """Seconds that a connection may be lost without an end of the identities."""


@dataclass
class Counts:
    """What became of the frames of a stream."""

    read: int = 0
    tracked: int = 0
    dropped: int = 0
    """Newer ones came before there was time."""
    skipped: int = 0
    """More per second than the limit."""
    failed: int = 0
    """The detector or the tracker could not take them."""
    reconnects: int = 0


class Arrival(NamedTuple):
    """A frame that waits, and what is to be known of it."""

    frame: Frame
    number: int
    """From 1, over all connections."""
    session: int
    at: float
    """When it was read, by the monotonic clock."""


class Answer(NamedTuple):
    """What was found in a frame."""

    event: dict[str, Any]
    """As JSON can hold it."""
    image: np.ndarray
    tracks: sv.Detections
    age: float
    """Seconds since the frame was read."""


@dataclass(eq=False)
class LiveStream:
    """A stream of the address, from when it is started until it is stopped.

    `ready` is called when there is a frame to track; then `track` is to be called once, by any
    thread, and calls `ready` again where there is another one.
    """

    name: str
    address: str
    tracker: Tracker
    limits: StreamLimits
    ready: Callable[[LiveStream], object]
    open: Callable[[str], Source] = open_video
    state: State = "connecting"
    problem: str = ""
    """Why it is not live."""
    session: int = 1
    """Identities mean something within one; the next begins when a connection was lost for long."""
    tracks: int = 0
    """Of the last frame."""
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._waiting: Arrival | None = None
        self._scheduled = False  # whether a thread tracks it, or is to
        self._tracked_session = 0
        self._accepted = -np.inf  # when the last frame was, by the monotonic clock
        self._thread = threading.Thread(target=self._run, name=f"read {self.name}", daemon=True)

    @property
    def label(self) -> str:
        """The address without user, password and keys."""
        return public_address(self.address)

    @property
    def stopped(self) -> bool:
        """Whether it is to stop."""
        return self._stopped.is_set()

    @property
    def reads(self) -> bool:
        """Whether its thread lives; after `stop` it may for as long as a network lets it wait."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self, wait: float = 0) -> None:
        """Stop reading. A connection that stalls ends by itself (`STREAM_TIMEOUT`)."""
        self._stopped.set()
        if wait:
            self._thread.join(wait)

    def track(self, detector: Detector) -> Answer | None:
        """Track the newest frame; None when it could not be, which is counted."""
        try:
            with self._lock:
                arrival, self._waiting = self._waiting, None
            return None if arrival is None else self._answer(arrival, detector)
        finally:
            with self._lock:
                self._scheduled = self._waiting is not None and not self._stopped.is_set()
            if self._scheduled:
                self.ready(self)

    def _answer(self, arrival: Arrival, detector: Detector) -> Answer | None:
        if arrival.session != self._tracked_session:
            self.tracker.reset()
            self._tracked_session = arrival.session
        try:
            tracks = self.tracker.update(detector(arrival.frame), arrival.frame.image)
        except InputError as error:
            self.counts.failed += 1
            self.problem = f"frame {arrival.number}: {error}"
            return None
        self.counts.tracked += 1
        self.tracks = len(tracks)
        age = time.monotonic() - arrival.at
        return Answer(self._event(arrival, tracks, age), arrival.frame.image, tracks, age)

    def _event(self, arrival: Arrival, tracks: sv.Detections, age: float) -> dict[str, Any]:
        return {
            "stream": self.name, "session": arrival.session, "frame": arrival.number,
            "time": arrival.frame.time, "age_ms": round(1000 * age, 1),
            "dropped": self.counts.dropped,
            "tracks": [
                {"id": row.id, "xyxy": [round(v, 2) for v in row.xyxy],
                 "score": round(row.score, 4),
                 "class": None if tracks.class_id is None else row.class_id}
                for row in rows(tracks)
            ],
        }  # fmt: skip

    def _run(self) -> None:
        pause, lost = SHORTEST, None
        while not self._stopped.is_set():
            try:
                with self.open(self.address) as source:
                    self._live(lost)
                    for frame in source:
                        pause = SHORTEST  # it works again
                        if self._stopped.is_set():
                            return
                        if not self._take(frame):
                            return
                    if source.count is not None:  # a file behind an address
                        self.state, self.problem = "ended", f"{self.label} is over"
                        return
                problem = f"{self.label}: the connection was lost"
            except (InputError, TruncatedInput) as error:
                problem = str(error)
            except Exception as error:  # a defect; its text may hold the whole address
                log.exception("%s: it could not be read", self.name)
                problem = f"{self.label}: reading failed ({type(error).__name__}, see the log)"
            if self.state == "live":
                lost = time.monotonic()
            self.state, self.problem = "lost", problem
            self._stopped.wait(pause)
            pause = min(2 * pause, LONGEST)

    def _live(self, lost: float | None) -> None:
        if lost is not None:
            self.counts.reconnects += 1
            if time.monotonic() - lost > self.limits.remembered:
                self.session += 1
        self.state, self.problem = "live", ""

    def _take(self, frame: Frame) -> bool:
        """Let a frame wait to be tracked; whether the stream may go on."""
        height, width = frame.image.shape[:2]
        try:
            Limit("--max-pixels", self.limits.pixels, "pixels per image").check(
                height * width, self.label
            )
        except InputError as error:
            self.state, self.problem = "refused", str(error)
            return False
        now = time.monotonic()
        self.counts.read += 1
        with self._lock:
            if self._waiting is not None:
                self.counts.dropped += 1
            elif now - self._accepted < 0.9 / self.limits.fps:  # clocks are never quite regular
                self.counts.skipped += 1
                return True
            else:
                self._accepted = now
            self._waiting = Arrival(frame, self.counts.read, self.session, now)
            idle, self._scheduled = not self._scheduled, True
        if idle:
            self.ready(self)
        return True
