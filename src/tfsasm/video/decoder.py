"""Images of a video file, a camera or a stream, by PyAV: in order, upright, as far as they go.

A damaged file still gives all it has. Where a packet fails is counted and decoding goes on; why it
stopped before the end is kept as a reason, for the caller to report after the last good image.
"""

import itertools
import os
import re
import sys
import time as clock
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av.device
import numpy as np
from av.video.frame import PictureType

from tfsasm.errors import InputError, TruncatedInput
from tfsasm.limits import PIXELS, file_stand_in
from tfsasm.video.containers import container_cut, films_behind, open_container, playlist_kind
from tfsasm.video.hdr import HLG, PQ, tone_mapped
from tfsasm.video.sound import Sound
from tfsasm.video.timeline import AHEAD, OFF_BEAT, REORDERED, Timeline

# What a playlist may refer to: a file to no network, a network address to no file of this computer.
PROTOCOLS_OF_STREAMS = (
    "http,https,httpproxy,tcp,tls,udp,rtp,srtp,rtmp,rtmps,rtmpt,srt,ftp,crypto,data"
)

STREAM_TIMEOUT = 20.0  # seconds without a byte after which a network stream is given up

PROBED = 2**21
"""Bytes of a network stream that FFmpeg looks through for its format, and reserves for each.

By default those are 5 MB, which fill slowly, and the allocator keeps them for each reading thread.
A connection that begins within a larger picture may be an error; the next begins elsewhere.
"""

HELD = 2**26
"""Bytes of packets that wait at most, for those of lossless video are large."""

_UPRIGHT = np.eye(2)


class Decoder:
    """An open video. Local files are decoded on all cores, `live` ones without delay.

    `rate` is in frames per second, exact, None when unknown; `size` is `(width, height)` of the
    first image, `aspect` the width of a pixel by its height. `declared` is the number of frames in
    the file's header and `total` the same or else what its length amounts to; 0 when the file has
    neither. A `timeless` file has images alone (raw H.264). `timeline` has the number and the time
    of the image that came out last, and what was lost.

    Raises `InputError` when there is no image to decode.
    """

    def __init__(
        self, address: str, label: str, *, live: bool = False, format: str | None = None
    ) -> None:
        self.label = label
        self._path = None if live else Path(address)
        self._rotation, self._display = 0, _UPRIGHT
        self._failure = ""  # why decoding stopped, when it was not the end
        self._images: Iterator[Any] = iter(())
        self._open = partial(_open_container, address, label, live, format)
        self._container = self._open()
        try:
            self._open_stream(live)
            self._start()
        except BaseException:
            self._container.close()
            raise

    @property
    def sound(self) -> Sound | None:
        """The sound of a file that has one."""
        if self._path is None or not self._container.streams.audio:
            return None
        return Sound(self._path, _start(self._stream) or 0.0)

    def __iter__(self) -> Iterator[av.VideoFrame]:
        """Images in order, not converted yet. A last one that is marked as damaged is left out."""
        return self._images

    def pixels(self, image: av.VideoFrame) -> np.ndarray:
        """One of the images by `to_bgr`, as this video is to be displayed."""
        if image.rotation != self._rotation:  # not asked of each image, see `_display_matrix`
            self._rotation, self._display = image.rotation, _display_matrix(image)
        return to_bgr(image, self._display)

    def close(self) -> None:
        """Release the file or the device."""
        self._reading.close()  # it refers to this, and would be kept with all that it holds
        self._images = iter(())
        self._container.close()

    def early_end(self, reached: int) -> str:
        """Why the file ended after `reached` images although it has more; empty at its real end."""
        if self._failure:
            return self._failure
        tells = self._kinds & {"avi", "mp4", "matroska", "mpegts"}
        if self._path and tells and (reason := container_cut(self._path)):
            return reason
        sure = self.timeline.damage.count if self.declared else self.timeline.constant
        left = self._length - reached
        if not self.declared:  # a live one of varying rate has fewer images than its length says
            left = min(left, self._length - 1 - round((self.timeline.time or 0) * (self.rate or 0)))
        if sure and left > max(2, self._length // 100):
            return f"{left} frames at its end are missing"
        damage = self.timeline.damage.last
        if damage is not None and damage > reached - REORDERED:
            return "its last frames are damaged"
        if self._path and (more := films_behind(self._path)):
            return f"{more} more film(s) behind its first are not read (files joined by cat?)"
        return ""

    def _open_stream(self, live: bool) -> None:
        attached = av.stream.Disposition.attached_pic  # the cover of a song
        streams = [s for s in self._container.streams.video if not s.disposition & attached]
        if not streams or self._container.format.name == "tty":  # FFmpeg plays .txt files
            raise InputError(f"{self.label} is not a video: it holds no moving pictures")
        self._stream = streams[0]
        codec = self._stream.codec_context
        if codec is None:
            raise InputError(f"{self.label} is in a format that FFmpeg cannot decode here")
        self._stream.thread_type = "SLICE" if live else "AUTO"
        PIXELS.check(codec.width * codec.height, self.label)
        # A size may change in the middle; FFmpeg counts its own padding too.
        codec.options = {"max_pixels": str(2**20 + 2 * PIXELS.value)}
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.rate = Fraction(rate) if rate and rate <= 1000 else None  # 90000: a guess
        avi = self._container.format.name == "avi"
        entries = list(self._stream.index_entries) if avi else []
        stored = [entry.pos + 8 for entry in entries if entry.size]  # no bytes: a repetition
        self._places = {position: place for place, position in enumerate(stored)}
        self.declared: int = self._stream.frames - (len(entries) - len(stored))
        seconds = Fraction(self._container.duration or 0, av.time_base)
        self.total = self.declared or max(0, round(seconds * (self.rate or 0)))
        self._length = self.declared or round(_own_seconds(self._stream) * (self.rate or 0))
        self._kinds = {*self._container.format.name.split(",")}
        flags = av.format.Flags(self._container.format.flags)
        self.timeless = av.format.Flags.no_timestamps in flags
        self.timeline = Timeline(
            self.rate, live=live, counted=self.declared > 0, storage_order=avi,
            restartable=av.format.Flags.ts_discont in flags, start=_start(self._stream),
        )  # fmt: skip
        self._place = -1  # of the last packet

    def _begin_anew(self) -> None:
        """Back to before the first packet, with nothing counted yet."""
        self._container.close()
        self._container = self._open()
        self._open_stream(live=False)

    def _start(self) -> None:
        self._reading = self._decode()
        first = next(self._reading, None)
        if first is None:
            mend = "is the file whole?" if self._path else "save it first if it is a file there"
            raise InputError(f"{self.label} has no frame that can be decoded; {mend}")
        self._images = itertools.chain([first], self._reading)
        self._rotation, self._display = first.rotation, _display_matrix(first)
        self.size = first.width, first.height
        self.aspect = Fraction(self._stream.sample_aspect_ratio or 1)
        if _stands(self._display):
            self.size, self.aspect = (first.height, first.width), 1 / self.aspect

    def _decode(self) -> Generator[av.VideoFrame, None, None]:
        held: av.VideoFrame | None = None
        for packet in self._announced():
            self._count(packet)
            try:
                images = packet.decode()
            except av.error.FFmpegError:
                self.timeline.damaged(lost=1)
                continue
            for image in images:
                if held is not None:  # damaged, but the video goes on
                    self.timeline.damaged()
                    yield from self._numbered(held)
                held = image if image.is_corrupt else None
                if held is None:
                    yield from self._numbered(image)
        if held is not None:
            self._failure = "its last frame is damaged"

    def _count(self, packet: av.Packet) -> None:
        if packet.size and not packet.is_discard and (clock := _seconds(packet)) is not None:
            self._place = self._places.get(packet.pos or 0, self._place + 1)
            self.timeline.packet(clock, self._place)

    def _numbered(self, image: av.VideoFrame) -> Iterator[av.VideoFrame]:
        between = image.pict_type == PictureType.B
        if self.timeline.image(_seconds(image), between=between):
            yield image

    def _announced(self) -> Iterator[av.Packet]:
        """The packets, each after the timeline has the times of those behind it."""
        waiting, held = deque[av.Packet](), 0  # bytes
        for packet in self._packets():
            waiting.append(packet)
            held += packet.size
            if self.timeline.looks_ahead and (clock := _seconds(packet)) is not None:
                self.timeline.coming(clock)
            most = AHEAD if self.timeline.looks_ahead else 0
            while len(waiting) > most or held > HELD:
                held -= waiting[0].size
                yield waiting.popleft()
        yield from waiting

    def _packets(self) -> Iterator[av.Packet]:
        """Packets of the video, and an empty one at the end; a partial last one is left out."""
        previous: av.Packet | None = None
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.BlockingIOError:  # a camera between two frames
                clock.sleep(0.002)
                packets = self._container.demux(self._stream)
                continue
            except av.error.FFmpegError as error:
                self._failure = str(error.strerror)
                packet = None
            last = packet is None or packet.size == 0
            if previous is not None and last and (reason := self._partial(previous)):
                self._failure = reason
            elif previous is not None:
                yield previous
            if packet is None:
                return
            previous = packet

    def _partial(self, packet: av.Packet) -> str:
        """Why the last packet is not whole. In MPEG-TS the end of the file alone tells: FFmpeg has
        no length there, and its threads do not always mark the image."""
        if packet.is_corrupt:
            return "its last frame is damaged"
        return container_cut(self._path) if self._path and "mpegts" in self._kinds else ""


def uneven_times(path: Path) -> list[float]:
    """Seconds from a video's first image to each one, by its packets, without decoding.

    Empty where the rate is constant, so that numbers tell as much, and where packets do not tell.
    """
    with closing(Decoder(str(path), path.as_posix())) as video:
        video._begin_anew()
        stamps = [_seconds(p) for p in video._packets() if p.size and not p.is_discard]
    clocks = sorted(clock for clock in stamps if clock is not None)
    if len(clocks) < len(stamps) or video.timeline.restartable:
        return []
    times = [clock - clocks[0] for clock in clocks]
    beats = [time * float(video.rate or 0) for time in times]
    steady = video.rate and all(abs(beat - round(beat)) < OFF_BEAT for beat in beats)
    return [] if steady else times


def open_camera(index: int) -> Decoder:
    """A camera of this computer, counted from 0. Raises `InputError` when there is none."""
    label = f"camera {index}"
    if sys.platform == "linux":
        return Decoder(f"/dev/video{index}", label, live=True, format="v4l2")
    if sys.platform == "darwin":
        return Decoder(str(index), label, live=True, format="avfoundation")
    names = [d.name for d in av.device.enumerate_input_devices("dshow") if "video" in d.media_types]
    if index >= len(names):
        raise InputError(f"{label} does not exist; there are {len(names)} cameras, from 0 on")
    return Decoder(f"video={names[index]}", label, live=True, format="dshow")


def to_bgr(image: av.VideoFrame, display: np.ndarray = _UPRIGHT) -> np.ndarray:
    """Pixels of an image, uint8 BGR `[H, W, 3]`, turned and mirrored as it is to be displayed.

    `display` `[2, 2]` is where a step to the right, and one down, in the file go: rows of `(x, y)`.
    Those of high dynamic range become ones of the usual range. Raises `TruncatedInput` for pixels
    of a kind that FFmpeg cannot convert.
    """
    try:
        # By default every frame would start threads of its own, which stay for a while.
        pixels = image.reformat(format="bgr24", threads=1).to_ndarray()
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise TruncatedInput(
            f"a frame of {image.width} x {image.height} pixels as {image.format.name} cannot be "
            "shown; the ones before are good"
        ) from error
    if image.color_trc in (PQ, HLG):
        pixels = tone_mapped(pixels, image.color_trc)
    (right, down), (across, along) = display
    if _stands(display):  # columns are displayed as rows
        pixels, right, along = pixels.transpose(1, 0, 2), across, down
    return np.ascontiguousarray(pixels[:: -1 if along < 0 else 1, :: -1 if right < 0 else 1])


def _open_container(
    address: str, label: str, live: bool, format: str | None
) -> av.container.InputContainer:
    remote = "://" in address
    options = {"protocol_whitelist": PROTOCOLS_OF_STREAMS, "probesize": str(PROBED)}
    if address.startswith("rtsp"):
        options["rtsp_transport"] = "tcp"
    try:
        if remote:
            return av.open(address, options=options, timeout=STREAM_TIMEOUT)
        return av.open(address, format=format) if format else open_container(Path(address))
    except av.error.ExitError:  # errors of PyAV tell the whole address, so none is a cause here
        raise InputError(f"{label} gave no answer within {STREAM_TIMEOUT:g} s") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).replace(address, label)
        what = "cannot be opened" if live else "is not a video that can be read"
        if format:
            what += " (is it connected, and in no other program's use?)"
        if not live and playlist_kind(Path(address)):
            what = ("is a playlist, which may name files only, beside or below it, and not one of "
                    "them can be read")  # fmt: skip
        empty = os.path.isfile(address) and not os.path.getsize(address)
        if not remote and (other := "an empty file" if empty else file_stand_in(address)):
            raise InputError(f"{label} is {other}") from error
        raise InputError(f"{label} {what}: {reason}") from (None if remote else error)


def _own_seconds(stream: av.VideoStream) -> Fraction:
    """The length that Matroska notes of a stream (0:00:06.04); 0 without such a note."""
    found = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if found is None:
        return Fraction(0)
    hours, minutes, seconds = map(Fraction, found.groups())
    return 3600 * hours + 60 * minutes + seconds


def _start(stream: av.VideoStream) -> float | None:
    begin = stream.start_time
    return None if begin is None or stream.time_base is None else float(begin * stream.time_base)


def _seconds(item: av.Packet | av.VideoFrame) -> float | None:
    unit = item.time_base
    return None if item.pts is None or unit is None else float(item.pts * unit)


def _stands(display: np.ndarray) -> bool:
    (right, down), _ = display
    return abs(down) > abs(right)


def _display_matrix(image: av.VideoFrame) -> np.ndarray:
    """See `to_bgr`.

    PyAV keeps an image that was asked for it, and the images that FFmpeg holds ready for it, until
    garbage is collected; so a copy of 2 x 2 pixels is asked.
    """
    try:
        asked = image.reformat(2, 2, "gray", threads=1)
    except (av.error.FFmpegError, OSError, ValueError):  # `to_bgr` has more to say
        return _UPRIGHT
    data: Any = asked.side_data.get("DISPLAYMATRIX")
    return _UPRIGHT if data is None else np.frombuffer(data, np.int32).reshape(3, 3)[:2, :2]
