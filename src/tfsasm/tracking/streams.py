"""Several videos at once: their frames are encoded in one batch, and each has a state of its own.

What is unusual here: nothing is pushed. Whoever wants the next frame of a video and finds none
ready waits for a round, which takes one frame of every video that is open; the round after it is
then made by a thread. So videos may begin and end at any time, and run ahead by two frames at most.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from threading import Lock
from typing import Any, TypeVar

import supervision as sv

from tfsasm.detection.proposals import Given
from tfsasm.errors import InputError, TfsasmError
from tfsasm.runtime.preprocess import as_bgr
from tfsasm.tracking.query import QueryTracker
from tfsasm.tracking.run import GivenDetector, GivenSource, as_detector, is_stored, track_video
from tfsasm.video.source import Frame

T = TypeVar("T")

Detected = tuple[Frame, Given]

Prepared = tuple[Frame, Given, Any]

Item = Prepared | BaseException | None
"""What a video has next: a frame, what was raised, or its end."""

_READY = 2  # frames of a video that are encoded before they are asked for, at most


def track_videos(
    tracker: QueryTracker, videos: Iterable[GivenSource], detector: GivenDetector, *,
    streams: int = 4, prefetch: int = 2,
) -> Iterator[tuple[int, Frame, sv.Detections]]:
    """Track several videos, `streams` of them at a time, and encode their frames together.

        for video, frame, tracks in tfsasm.track_videos(tracker, ["a.mp4", "b.mp4"], "yolox-nano"):
            print(video, frame.number, tracks.tracker_id)

    `video` is the place in `videos`, from 0. The tracks are those that `tracker.track` gives for
    each alone, up to the rounding of a batch; `tracker` lends its network and method, and keeps its
    state. Frames of one size inside the network are one batch. Videos begin in their order, and
    when one ends the next takes its place. All go at the pace of the slowest, so this is for files.

    Raises `InputError` for no streams. A video that fails costs no other: when all are through,
    an `ExceptionGroup` has what was raised, each with a note that names the video.
    """
    if streams < 1:
        raise InputError(f"streams is {streams}; give 1 or more")
    if not is_stored(detector):
        detector = as_detector(detector, 0)  # once for all
    failed, together = list[TfsasmError](), Together(tracker)

    def tracked(number: int, video: GivenSource) -> Iterator[tuple[int, Frame, sv.Detections]]:
        try:
            for frame, tracks in track_video(
                together.tracker(), video, detector, prefetch=prefetch, together=together
            ):
                yield number, frame, tracks
        except TfsasmError as error:
            error.add_note(f"video {number}: {video}")
            failed.append(error)

    numbered = enumerate(videos)
    with closing(in_turn((tracked(*pair) for pair in numbered), streams)) as run:
        yield from run
    if failed:
        raise ExceptionGroup("videos that failed", failed)


def in_turn(works: Iterable[Iterator[T]], count: int) -> Generator[T, None, None]:
    """One item of each of the first `count` generators in turn; where one ends the next begins."""
    waiting = iter(works)
    begun = deque(islice(waiting, count))
    try:
        while begun:
            try:
                item = next(begun[0])
            except StopIteration:
                begun.popleft()
                begun.extendleft(islice(waiting, 1))
            else:
                yield item
                begun.rotate(-1)
    finally:
        for work in begun:
            work.close()  # type: ignore[attr-defined]


@dataclass(eq=False)
class _Video:
    """A video that is open."""

    detected: Iterator[Detected]
    ready: deque[Item] = field(default_factory=deque)
    over: bool = False


class Together:
    """What encodes the frames of several videos in one batch. One thread asks for all of them."""

    def __init__(self, tracker: QueryTracker) -> None:
        self._lender = tracker
        self._videos: list[_Video] = []
        self._detecting = Lock()
        self._thread = ThreadPoolExecutor(1, "tfsasm-together")
        self._round: Future[list[tuple[_Video, Item]]] | None = None

    def tracker(self) -> QueryTracker:
        """A tracker of the same network and method, with a state of its own."""
        return QueryTracker(self._lender.network, self._lender.config)

    def one_at_a_time(self, detect: Callable[[Frame], Given]) -> Callable[[Frame], Given]:
        """The detector of all videos, whose threads must not call it at once."""

        def alone(frame: Frame) -> Given:
            with self._detecting:
                return detect(frame)

        return alone

    def prepared(self, detected: Iterator[Detected]) -> Generator[Prepared, None, None]:
        """The frames of one more video, each with its features."""
        video = _Video(detected)
        self._videos.append(video)
        try:
            while True:
                while not video.ready:
                    self._finish_round()
                    # the next has a frame of each video, but for those that are far ahead
                    short = [v for v in self._videos if len(v.ready) < _READY and not v.over]
                    self._round = self._thread.submit(self._work, short)
                item = video.ready.popleft()
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self._finish_round()  # it may be reading this video
            self._videos.remove(video)

    def _finish_round(self) -> None:
        for video, item in self._round.result() if self._round else ():
            video.ready.append(item)
            video.over = not isinstance(item, tuple)
        self._round = None

    def _work(self, videos: list[_Video]) -> list[tuple[_Video, Item]]:
        """The next of each of the videos."""
        found: list[tuple[_Video, Item]] = []
        batches: dict[tuple[int, int], list[tuple[_Video, Frame, Given]]] = {}
        for video in videos:
            try:
                if pair := next(video.detected, None):
                    height, width = as_bgr(pair[0].image).shape[:2]
                    size = self._lender.network.input_size(height, width)
                    batches.setdefault(size, []).append((video, *pair))
                else:
                    found.append((video, None))
            except BaseException as error:  # raised where this video is asked for
                found.append((video, error))
        for batch in batches.values():
            try:
                features = self._lender.prepare([frame.image for _, frame, _ in batch])
            except Exception as error:
                found += [(video, error) for video, _, _ in batch]
                continue
            found += [
                (video, (frame, given, of_frame))
                for (video, frame, given), of_frame in zip(batch, features, strict=True)
            ]
        return found
