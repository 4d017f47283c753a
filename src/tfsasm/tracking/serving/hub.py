"""All live streams, and the threads that track them in turn."""

from __future__ import annotations

import itertools
import logging
import os
import queue
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

from tfsasm.detection.detectors import Detector
from tfsasm.errors import InputError
from tfsasm.tracking.run import Tracker
from tfsasm.tracking.serving.stream import Answer, LiveStream, StreamLimits
from tfsasm.video.addresses import public_address
from tfsasm.video.source import Source, open_video

log = logging.getLogger(__name__)

SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "srt", "udp", "rtp", "tcp")
"""Of addresses that may be given: networks, no files of this computer."""

ENDING = 4  # times as many streams as may be, which were removed while they wait for a network

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Taken(InputError):
    """There is a stream of that name."""


class Full(InputError):
    """There are as many streams as may be."""


class Unknown(InputError):
    """There is no stream of that name."""


Listener = Callable[[LiveStream, Answer], object]


class Hub:
    """Streams by name. Up to `most` of them are tracked by `workers` threads, each in its turn.

    Every worker has a detector of its own, every stream a tracker; `listener` is called with each
    answer, in the thread of a worker. `open` opens an address.
    """

    def __init__(
        self, make_detector: Callable[[], Detector], make_tracker: Callable[[], Tracker], *,
        most: int = 16, limits: StreamLimits | None = None, workers: int | None = None,
        listener: Listener = lambda stream, answer: None,
        open: Callable[[str], Source] = open_video,
    ) -> None:
        self.most, self.limits, self.listener = most, limits or StreamLimits(), listener
        self._make_tracker, self._open = make_tracker, open
        self._streams: dict[str, LiveStream] = {}
        self._ending: list[LiveStream] = []  # removed, with threads that wait for a network
        self._lock = threading.Lock()
        self._ready: queue.SimpleQueue[LiveStream | None] = queue.SimpleQueue()
        self._workers = [
            threading.Thread(target=self._work, args=(make_detector(),), daemon=True)
            for _ in range(workers or os.cpu_count() or 1)
        ]
        for worker in self._workers:
            worker.start()

    @property
    def healthy(self) -> bool:
        """Whether all workers live."""
        return all(worker.is_alive() for worker in self._workers)

    def streams(self) -> list[LiveStream]:
        """All of them, in the order in which they came."""
        with self._lock:
            return list(self._streams.values())

    def get(self, name: str) -> LiveStream:
        """Raises `Unknown`."""
        with self._lock:
            if name in self._streams:
                return self._streams[name]
        raise Unknown(f"there is no stream {name!r}")

    def add(self, address: str, name: str | None = None, fps: float | None = None) -> LiveStream:
        """Begin to track the stream of an address.

        `fps` is a lower limit than that of all. Raises `Taken`, `Full` (also while `ENDING` times
        as many that were removed have not ended), and `InputError` for an address that is none of a
        network, a name that is no name, and a limit that makes no sense.
        """
        parts = _parts(address)
        if parts is None:
            raise InputError(f"{public_address(address)} is no address of a network; wanted is "
                             f"{', '.join(SCHEMES)} and ://")
        if name is not None and not _NAME.fullmatch(name):
            raise InputError(f"{name!r} is no name; wanted are up to 64 letters, digits, . _ -")
        if fps is not None and not 0 < fps <= self.limits.fps:
            raise InputError(f"fps {fps:g} is not above 0 and up to {self.limits.fps:g}")
        limits = self.limits if fps is None else replace(self.limits, fps=fps)
        with self._lock:
            if name is None:
                names = (f"{parts}-{number}" for number in itertools.count(1))
                name = next(one for one in names if one not in self._streams)
            if name in self._streams:
                raise Taken(f"there is a stream {name!r}; give another name, or remove it")
            if len(self._streams) >= self.most:
                raise Full(f"there are {self.most} streams, and no more may be; remove one")
            self._ending = [one for one in self._ending if one.reads]
            if len(self._ending) >= ENDING * self.most:
                raise Full(f"{len(self._ending)} removed streams still wait for their cameras; try "
                           "again in a minute")  # fmt: skip
            stream = LiveStream(
                name, address, self._make_tracker(), limits, self._ready.put, self._open
            )
            self._streams[name] = stream
        stream.start()
        return stream

    def remove(self, name: str) -> LiveStream:
        """End a stream. Raises `Unknown`."""
        stream = self.get(name)
        with self._lock:
            self._streams.pop(name, None)
            self._ending.append(stream)
        stream.stop()
        return stream

    def close(self) -> None:
        """End everything; threads that wait for a network end with the process."""
        for stream in self.streams():
            stream.stop()
        for _ in self._workers:
            self._ready.put(None)
        for worker in self._workers:
            worker.join(5)

    def _work(self, detector: Detector) -> None:
        while (stream := self._ready.get()) is not None:
            try:
                answer = stream.track(detector)
                if answer is not None and not stream.stopped:
                    self.listener(stream, answer)
            except Exception:  # a defect of one stream is none of the others'
                stream.counts.failed += 1
                log.exception("%s: a frame could not be tracked", stream.name)


def _parts(address: str) -> str | None:
    """What a stream may be called by its address; None for one that is not of a network."""
    with suppress(ValueError):
        parts = urlsplit(address)
        if address.isprintable() and parts.scheme.lower() in SCHEMES and parts.hostname:
            return re.sub(r"[^A-Za-z0-9]+", "-", parts.hostname).strip("-")[:40] or "stream"
    return None
