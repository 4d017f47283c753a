"""Any tracker over a whole video: frames and detections in advance, tracks frame by frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import supervision as sv

from tfsasm.detection.proposals import Given, Proposals
from tfsasm.video import prefetch as threads
from tfsasm.video.source import Frame, Source, open_video

if TYPE_CHECKING:
    from tfsasm.detection.detectors import Detector

STORED = (".txt", ".json")
"""Suffixes of files with detections: MOT det.txt and det_db."""

SMALL_NETWORK = 10_000_000
"""Parameters below which a network is small; `tiny` has 3 million, the published network 42."""


class Tracker(Protocol):
    """What tracks a video frame by frame. A tracker has a state; one video at a time."""

    def reset(self) -> None:
        """Forget everything: the next frame is the first of another video."""
        ...

    def prepare(self, images: Sequence[np.ndarray]) -> list[Any]:
        """What `update` needs of each of some images of one size, and needs no state.

        It may be computed ahead, in a batch, or once for many trackers: the features of a network.
        None for each where there is nothing, which a class that inherits from this one says.
        """
        return [None] * len(images)

    def update(
        self, detections: Given, frame: np.ndarray | None = None,
        prepared: Any = None,
    ) -> sv.Detections:
        """The tracks of the next frame, `tracker_id` from 1, by its detections and its image."""
        ...


def track_video(
    tracker: Tracker, source: Source | Path | str | int, detector: Detector | Path | str, *,
    prefetch: int = 2, batch: int = 1,
) -> Iterator[tuple[Frame, sv.Detections]]:
    """Track a whole video, folder, camera or stream, from a fresh state, frame by frame.

    `source` is anything that `open_video` takes, or what it gave, with a range and an order.
    `detector` is a file of stored detections (MOT det.txt or det_db JSON), the name of a live
    detector such as `"yolox-nano"`, or any function of a `Frame` that returns `Proposals`. One
    thread decodes and detects, another prepares the frames for the tracker, each up to `prefetch`
    frames before they are tracked; 0 for neither. `batch` frames of one size are prepared together,
    which a live source should not wait for. Raises `InputError` for what cannot be used and
    `TruncatedInput` after the last good frame of a damaged source.
    """
    detect = _opened(detector, source)
    frames = source if isinstance(source, Source) else open_video(source)
    tracker.reset()
    detected = ((frame, detect(frame)) for frame in frames)
    ahead = 0 if type(tracker).prepare is Tracker.prepare else prefetch  # nothing to prepare
    with (
        frames, closing(threads.prefetch(detected, prefetch)) as found,
        closing(threads.prefetch(_prepared(tracker, found, batch), ahead)) as ready,
    ):  # fmt: skip
        for frame, proposals, prepared in ready:
            yield frame, tracker.update(proposals, frame.image, prepared)


def _prepared(
    tracker: Tracker, found: Iterable[tuple[Frame, Proposals]], batch: int
) -> Iterator[tuple[Frame, Proposals, Any]]:
    """Frames with the part of their work that needs no state done, `batch` at a time."""
    for _, same_size in groupby(found, key=lambda pair: pair[0].image.shape):
        while pairs := list(islice(same_size, batch)):
            prepared = tracker.prepare([frame.image for frame, _ in pairs])
            for (frame, proposals), ready in zip(pairs, prepared, strict=True):
                yield frame, proposals, ready


def _opened(detector: Detector | Path | str, source: Source | Path | str | int) -> Detector:
    if not isinstance(detector, Path | str):
        return detector
    if isinstance(detector, str) and Path(detector).suffix.lower() not in STORED:
        from tfsasm.detection.detectors import detector as detector_by_name

        return detector_by_name(detector)
    from tfsasm.detection.stored import open_detections

    name = source.label if isinstance(source, Source) else str(source)
    return open_detections(detector, source_name=str(Path(name).resolve()))


def threads_of_a_part(parameters: int, cores: int) -> int:
    """Threads for each of the parts that work side by side, by the size of the network.

    With a small network detector, encoder, tracker and video take about as long, and share the
    cores; a large one needs them all for its encoder.
    """
    return max(1, cores // 2) if parameters < SMALL_NETWORK else cores
