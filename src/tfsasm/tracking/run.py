"""Any tracker over a whole video: frames and detections in advance, tracks frame by frame.

Frames may be of any origin, and any function may be their detector.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby, islice, takewhile
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
import supervision as sv
from supervision.config import CLASS_NAME_DATA_FIELD

from tfsasm.detection.proposals import NO_CLASS, Given
from tfsasm.errors import InputError
from tfsasm.runtime.preprocess import as_bgr
from tfsasm.tables import Doubles, Integers
from tfsasm.video import prefetch as threads
from tfsasm.video.source import Frame, Source, open_video

if TYPE_CHECKING:
    from tfsasm.tracking.streams import Together

GivenSource = Source | Path | str | int | cv2.VideoCapture | Iterable[np.ndarray | Frame]
"""A video: what `open_video` takes or gave, a `cv2.VideoCapture`, or any iterable of frames."""

GivenDetector = Callable[[Frame], Given] | Path | str | None
"""Where boxes come from: a function of a `Frame` that returns what `Tracker.update` takes, a file
of stored detections, or the name of a live detector; None for a tracker that needs none (MOTR)."""

SMALL_NETWORK = 10_000_000
"""Parameters below which a network is small; `tiny` has 3 million, the published network 42."""


@dataclass(frozen=True, eq=False)
class Track:
    """A track that lives after the last frame, whether it was seen there or is lost."""

    id: int
    """The `tracker_id` of its detections, from 1."""
    xyxy: Doubles
    """The box in which it was last seen, pixel corners `[4]`, moved with the camera where the
    tracker knows its motion."""
    lost: int
    """Frames since then; 0 for a track that is present."""
    class_id: int | None
    """None where no class is known."""


def listed(ids: Integers, boxes: Doubles, missed: Integers, classes: Integers) -> list[Track]:
    """Tracks `[N]` in the order of their `ids`, from 1, without those that have none."""
    columns = zip(ids.tolist(), boxes, missed.tolist(), classes.tolist(), strict=True)
    tracks = [Track(i, box.copy(), lost, None if kind == NO_CLASS else kind)
              for i, box, lost, kind in columns if i > 0]  # fmt: skip
    return sorted(tracks, key=lambda track: track.id)


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
        self, detections: Given, frame: np.ndarray | None = None, prepared: Any = None
    ) -> sv.Detections:
        """The tracks of the next frame, `tracker_id` from 1, by its detections and its image."""
        ...

    def track(
        self, source: GivenSource, detector: GivenDetector, *, prefetch: int = 2, batch: int = 1
    ) -> Iterator[tuple[Frame, sv.Detections]]:
        """Track a whole video from a fresh state; see `track_video`."""
        return track_video(self, source, detector, prefetch=prefetch, batch=batch)


def track_video(
    tracker: Tracker, source: GivenSource, detector: GivenDetector, *,
    prefetch: int = 2, batch: int = 1, together: Together | None = None,
) -> Iterator[tuple[Frame, sv.Detections]]:
    """Track a whole video, folder, camera or stream, from a fresh state, frame by frame.

    `source` is anything that `open_video` takes, or what it gave, with a range and an order; a
    `cv2.VideoCapture`; or any iterable of frames, uint8 BGR `[H, W, 3]`. `detector` is a file of
    stored detections (MOT det.txt or det_db JSON), the name of a live detector such as
    `"yolox-nano"`, or any function of a `Frame` that returns what `update` takes (`Given`). One
    thread decodes, a frame ahead, one detects, and another prepares the frames for the tracker,
    each up to `prefetch` frames before they are tracked; 0 for none of them. `batch` frames of one
    size are prepared together, which a live source should not wait for; or those of several videos,
    by `together` (`track_videos`). Where tracker or detector has `class_names`, the tracks have
    them as `data["class_name"]`. Raises `InputError` for what cannot be used and `TruncatedInput`
    after the last good frame of a damaged source.
    """
    detect, frames = as_detector(detector, source), as_source(source)
    names = getattr(tracker, "class_names", {}) or getattr(detect, "class_names", {})
    tracker.reset()
    if together:
        detect = together.one_at_a_time(detect)
    decoded = threads.prefetch(frames, min(prefetch, 1))
    detected = ((frame, detect(frame)) for frame in decoded)
    ahead = 0 if type(tracker).prepare is Tracker.prepare else prefetch  # nothing to prepare
    with (
        frames, closing(decoded), closing(threads.prefetch(detected, prefetch)) as found,
        closing(
            together.prepared(found) if together
            else threads.prefetch(_prepared(tracker, found, batch), ahead)
        ) as ready,
    ):  # fmt: skip
        for frame, proposals, prepared in ready:
            with naming(frame):
                tracks = tracker.update(proposals, frame.image, prepared)
            yield frame, _with_names(tracks, names)


@contextmanager
def naming(frame: Frame) -> Iterator[None]:
    """An `InputError` inside says of which frame it is: trackers are not told its number."""
    try:
        yield
    except InputError as error:
        raise InputError(f"frame {frame.number}: {error}") from error


def _with_names(tracks: sv.Detections, names: Mapping[int, str]) -> sv.Detections:
    """The tracks with the names of their classes, unless these came with their detections."""
    if names and tracks.class_id is not None and CLASS_NAME_DATA_FIELD not in tracks.data:
        known = [names.get(int(kind), f"class {kind}") for kind in tracks.class_id]
        tracks.data[CLASS_NAME_DATA_FIELD] = np.array(known, dtype=str)
    return tracks


def _prepared(
    tracker: Tracker, found: Iterable[tuple[Frame, Given]], batch: int
) -> Iterator[tuple[Frame, Given, Any]]:
    """Frames with the part of their work that needs no state done, `batch` at a time."""
    for _, same_size in groupby(found, key=lambda pair: pair[0].image.shape):
        while pairs := list(islice(same_size, batch)):
            prepared = tracker.prepare([frame.image for frame, _ in pairs])
            for (frame, proposals), ready in zip(pairs, prepared, strict=True):
                yield frame, proposals, ready


def threads_of_a_part(parameters: int, cores: int) -> int:
    """Threads for each of the parts that work side by side, by the size of the network.

    With a small network detector, encoder, tracker and video take about as long, and share the
    cores; a large one needs them all for its encoder.
    """
    return max(1, cores // 2) if parameters < SMALL_NETWORK else cores


# What a video and its detector may be given as


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
    if not capture.isOpened():
        raise InputError("the cv2.VideoCapture is not open: its video or camera is not there")
    rate, total = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    read = takewhile(itemgetter(0), iter(capture.read, None))  # until there is no good one
    known = 0 < rate <= 1000 and total > 0  # of a camera the rate is but a wish
    frames = GivenFrames(
        (image for _, image in read), "the capture given",
        Fraction(rate).limit_denominator(100_000) if known else None,
    )  # fmt: skip
    left = total - capture.get(cv2.CAP_PROP_POS_FRAMES)
    frames.count = round(left) if known and left > 0 else None
    return frames


def is_stored(given: GivenDetector) -> bool:
    """Whether this is a file of detections, or a folder of them that is not called as a detector
    is (`./yolox-nano` is one)."""
    from tfsasm.detection.detectors import NAMES

    if not isinstance(given, Path | str):
        return False
    folder = given not in NAMES and Path(given).is_dir()
    return folder or Path(given).suffix.lower() in (".txt", ".json")


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
    if isinstance(given, str) and not is_stored(given):
        from tfsasm.detection.detectors import detector as detector_by_name

        return detector_by_name(given)
    from tfsasm.detection.stored import open_detections

    name = source.label if isinstance(source, Source) else source
    named = isinstance(name, Path | str | int)
    return open_detections(given, source_name=str(Path(str(name)).resolve()) if named else None)
