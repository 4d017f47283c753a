"""Frames written as a video that a browser plays, or as single images.

What is unusual here: an interrupted run keeps its work. Whatever ends the `with` block of a
`VideoWriter`, the frames written so far become a whole, playable file.
"""

import logging
import math
import os
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import av
import cv2
import numpy as np

from tfsasm.errors import InputError
from tfsasm.files import check_folder, check_output, partial_path
from tfsasm.video.sound import Sound, add_sound

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi")

UNKNOWN_RATE = Fraction(25)  # frames per second where none is known, as FFmpeg assumes

_NUMBERED = "[0-9]" * 8 + ".jpg"

ROUNDING = Fraction(2, 1000)  # seconds by which a container may have rounded a regular time


def resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """An image (uint8 BGR `[H, W, 3]`) at another size, averaged where it shrinks."""
    shrinks = width * height < image.shape[0] * image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method))


class VideoWriter:
    """Writes frames as H.264 (yuv420p), or as `00000001.jpg` and so on into a folder.

    `path` ends in .mp4, .mov, .mkv or .avi; without a suffix, or ending in `/`, it is a folder.
    `rate` is in frames per second, None when unknown: then times are kept as they are, and
    frames without a time follow at 25 per second. `sound` is that of the source
    (`Source.sound`), cut to the frames that are written, and `aspect` that of its pixels. The file
    appears under its name when the writer is closed; how a `with` block ends makes no difference,
    and no frames make no file.

    Raises `InputError` at once when the path is taken, unwritable or of an unknown kind.
    """

    def __init__(
        self, path: Path | str, rate: Fraction | float | None, *, crf: int = 23,
        preset: str = "superfast", sound: Sound | None = None, aspect: Fraction = Fraction(1),
        overwrite: bool = False,
    ) -> None:
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise InputError(f"a frame rate of {rate} cannot be written; give a number above 0")
        self.path = Path(path)
        self.frames = 0
        suffix = self.path.suffix.lower()
        exact = None if rate is None else Fraction(rate).limit_denominator(100_000)
        self._sink: _VideoFile | _ImageFolder
        if self.path.is_dir() or not suffix or str(path).endswith(("/", "\\")):
            self._sink = _ImageFolder(self.path, overwrite)
        elif suffix in VIDEO_SUFFIXES:
            check_output(self.path, overwrite=overwrite)
            options = {"crf": str(crf), "preset": preset}
            self._sink = _VideoFile(self.path, exact, options, sound, aspect)
        else:
            raise InputError(
                f"{self.path} ends in {suffix}, which is no video that can be written; give "
                f"{', '.join(VIDEO_SUFFIXES)} or a folder for images"
            )

    def write(self, image: np.ndarray, time: float | None = None) -> None:
        """Append `image` (uint8 BGR `[H, W, 3]`), shown from `time` seconds of the source on.

        The first image fixes the size of a video (made even by repeating an edge line); others
        are fitted into it with black bars. Without `time` the frame follows the one before at
        the given rate. AVI has no times: an image is repeated instead. Raises `InputError` when
        the disk refuses.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(f"an image is uint8 [H, W, 3], not {image.dtype} {image.shape}")
        self._sink.write(image, time)
        self.frames += 1

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._sink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, _: object) -> None:
        try:
            self.close()
        except InputError as second:
            if error is None:
                raise
            log.warning("%s", second)  # the first error is the cause


class _ImageFolder:
    def __init__(self, folder: Path, overwrite: bool) -> None:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; give a folder, or a name ending in .mp4")
        self._folder = check_folder(folder)
        self._count = 0
        self._partial = partial_path(folder / "frame.jpg")
        taken = next(folder.glob(_NUMBERED), None)
        if taken and not overwrite:
            raise InputError(f"{taken} exists; give another folder or --overwrite")

    def write(self, image: np.ndarray, time: float | None) -> None:
        path = self._folder / f"{self._count + 1:08d}.jpg"
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        try:
            self._partial.write_bytes(data.tobytes())
            os.replace(self._partial, path)
        except OSError as error:
            self._partial.unlink(missing_ok=True)
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error
        self._count += 1

    def close(self) -> None:
        """Remove what an earlier run left behind the last image; each is whole already."""
        if self._count:
            for path in self._folder.glob(_NUMBERED):
                if int(path.stem) > self._count:
                    path.unlink(missing_ok=True)


class _VideoFile:
    """An H.264 encoder that opens with the first frame and writes beside its target."""

    def __init__(
        self, path: Path, rate: Fraction | None, options: dict[str, str], sound: Sound | None,
        aspect: Fraction,
    ) -> None:
        self._path, self._sound, self._aspect = path, sound, aspect
        self._partial = partial_path(path)
        self._options = options
        self._rate = rate or UNKNOWN_RATE
        self._regular = path.suffix.lower() == ".avi"
        self._unit, self._tick = 1 / self._rate, 1  # seconds; units from frame to frame
        if not self._regular:
            finer = math.ceil(10_000 / self._rate.numerator)
            self._unit = Fraction(1, self._rate.numerator * finer)
            self._tick = self._rate.denominator * finer
        self._rounding = 0 if rate is None else min(int(ROUNDING / self._unit), self._tick // 4)
        self._zero: float | None = None
        self._last: int | None = None
        self._frame: av.VideoFrame | None = None
        self._told = False
        self._container: Any = None
        self._stream: Any = None

    def write(self, image: np.ndarray, time: float | None) -> None:
        try:
            if self._container is None:
                self._open(image)
            frame, at = self._encodable(image), self._pts(time)
            if self._regular:
                self._repeat(at)
            self._encode(frame, at)
        except (av.error.FFmpegError, OSError) as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """Flush and rename; without a frame, or when that fails, remove what was written."""
        container, self._container = self._container, None
        if container is None:
            return
        try:
            if self._last is not None:
                container.mux(self._stream.encode(None))
            container.close()
            if self._last is not None:
                if self._sound and self._zero is not None:
                    seconds = float((self._last + self._tick) * self._unit)
                    add_sound(self._partial, self._sound, self._zero, seconds)
                os.replace(self._partial, self._path)
        except (av.error.FFmpegError, OSError) as error:
            raise self._refused(error) from error
        finally:
            self._partial.unlink(missing_ok=True)

    def _open(self, image: np.ndarray) -> None:
        faststart = self._path.suffix.lower() in (".mp4", ".mov")  # plays before it is loaded
        options = {"movflags": "+faststart"} if faststart else {}
        self._container = av.open(f"file:{self._partial}", "w", options=options)
        stream = self._container.add_stream("libx264", rate=self._rate, options=self._options)
        height, width = image.shape[:2]
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = self._aspect
        stream.time_base = stream.codec_context.time_base = self._unit
        remuxed = self._sound is not None and self._path.suffix.lower() == ".mkv"
        if self._regular or remuxed:  # AVI has no display order, Matroska no decoding times
            stream.codec_context.max_b_frames = 0
        # Browsers assume BT.709 for HD and BT.601 below, so that is what is written and declared.
        self._matrix, code = ("ITU709", 1) if height >= 720 else ("ITU601", 6)
        for name in ("colorspace", "color_primaries", "color_trc"):
            setattr(stream.codec_context, name, code)
        stream.codec_context.color_range = 1
        self._stream = stream

    def _encode(self, frame: av.VideoFrame, at: int) -> None:
        frame.pts, frame.time_base = at, self._unit
        self._container.mux(self._stream.encode(frame))
        self._frame, self._last = frame, at

    def _repeat(self, until: int) -> None:
        """Show the last image as long as the source does, where a file has no times of its own."""
        if self._frame is None or self._last is None or until == self._last + 1:
            return
        if not self._told:
            log.warning(
                "%s: AVI has no times, so images are repeated where the source is irregular; .mp4 "
                "and .mkv keep every time", self._path,
            )  # fmt: skip
            self._told = True
        for at in range(self._last + 1, until):
            self._encode(self._frame, at)

    def _encodable(self, image: np.ndarray) -> av.VideoFrame:
        width, height = self._stream.width, self._stream.height
        fitted = np.ascontiguousarray(_fitted(image, width, height))
        frame = av.VideoFrame.from_numpy_buffer(fitted, format="bgr24")  # without a copy
        return frame.reformat(
            format="yuv420p", dst_colorspace=self._matrix, dst_color_range="MPEG", threads=1
        )

    def _pts(self, time: float | None) -> int:
        """When a frame is shown, in units: after the last one, at a regular time if one is near."""
        if time is None:
            return 0 if self._last is None else self._last + self._tick
        if self._zero is None:
            self._zero = time - float((self._last or 0) * self._unit)
        at = round(Fraction(time - self._zero) / self._unit)
        regular = round(Fraction(at, self._tick)) * self._tick
        shown = regular if abs(regular - at) <= self._rounding else at
        return shown if self._last is None else max(shown, self._last + 1)

    def _refused(self, error: Exception) -> InputError:
        return InputError(f"cannot write {self._path}: {getattr(error, 'strerror', None) or error}")


def _fitted(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """`image` in one of `width` x `height`: an edge line repeated, or black bars."""
    h, w = image.shape[:2]
    if (w, h) == (width, height):
        return image
    if (w + w % 2, h + h % 2) == (width, height):
        return np.pad(image, ((0, height - h), (0, width - w), (0, 0)), mode="edge")
    scale = min(width / w, height / h)
    inner = resized(image, max(1, round(w * scale)), max(1, round(h * scale)))
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - inner.shape[0]) // 2, (width - inner.shape[1]) // 2
    canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return canvas
