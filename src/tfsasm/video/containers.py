"""Containers of video: what a playlist on disk may name, and whether a file has lost its end."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import av

PROTOCOLS_OF_FILES = "file,crypto,data"
"""What a video or a playlist that is a file may refer to: no network."""

_HLS, _CONCAT = b"#EXTM3U", b"ffconcat"


def open_container(path: Path) -> av.container.InputContainer:
    """A video file or a playlist, opened by FFmpeg. Raises what PyAV raises.

    A playlist may name files beside or below it alone: it comes with the videos of others, and
    would show what is elsewhere on this computer.
    """
    options, limits = {"protocol_whitelist": PROTOCOLS_OF_FILES}, dict[str, Any]()
    kind = playlist_kind(path)
    if kind == _HLS:
        limits["io_open"] = _beside(path)
    elif kind == _CONCAT:  # names nothing outside by itself, but other playlists
        options["format_whitelist"] = ",".join(sorted(av.formats_available - {"hls", "dash"}))
    return av.open(f"file:{path}", options=options, **limits)  # a name may hold a colon


def playlist_kind(path: Path) -> bytes:
    """With what a file begins that is a playlist; empty for all others."""
    try:
        with path.open("rb") as file:
            begins = file.read(16).lstrip(b"\xef\xbb\xbf")
    except OSError:
        return b""
    return next((mark for mark in (_HLS, _CONCAT) if begins.startswith(mark)), b"")


def _beside(playlist: Path) -> Callable[[str, int, Any], IO[bytes]]:
    """Opens what is beside `playlist`, or below."""
    folder = os.path.realpath(playlist.parent)

    def opened(address: str, flags: int, options: Any) -> IO[bytes]:
        place = os.path.realpath(address.removeprefix("file:"))
        if os.path.commonpath([folder, place]) != folder or not os.path.isfile(place):
            raise av.error.PermissionError(errno.EPERM, "a playlist may name files beside it only")
        return open(place, "rb")

    return opened


def container_cut(path: Path) -> str:
    """How one sees that a file has lost its end; empty of a whole one.

    It is shorter than its outermost boxes declare (MP4, AVI, Matroska), or ends within a packet
    (MPEG-TS, which has no lengths). FFmpeg stops quietly at such an end.
    """
    size, shorter = path.stat().st_size, "the file is shorter than it says"
    with path.open("rb") as file:
        head = file.read(4096)
        if head.startswith(b"\x1aE\xdf\xa3"):
            return shorter if _matroska_end(head) > size else ""
        if (packet := _packet_length(head)) and size > 2 * packet:
            file.seek(-2 * packet, os.SEEK_END)
            whole = size % packet == 0 or _packet_length(file.read()) == packet
            return "" if whole else "the file ends within a packet"
    return shorter if max((end for _, end in _boxes(path)), default=0) > size else ""


def films_behind(path: Path) -> int:
    """How many more films an MP4 file holds behind its first, as where files were joined by `cat`.

    Players and FFmpeg read the first alone. In one of fragments a second head is no second film.
    """
    kinds = [kind for kind, _ in _boxes(path)]
    return 0 if b"moof" in kinds else max(0, kinds.count(b"moov") - 1)


def _boxes(path: Path) -> Iterator[tuple[bytes, int]]:
    """Kind and end of the outermost boxes of an MP4 file, or parts of an AVI file, in order."""
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        riff = file.read(4) == b"RIFF"
        while at + 8 <= size:
            file.seek(at)
            box = file.read(16)
            if not (length := _length(box, riff)):
                return
            at += length
            yield box[4:8], at


def _length(box: bytes, riff: bool) -> int:
    """Bytes of a box by its first 16, or of a part of AVI (`riff`); 0 for "up to the end", for what
    was never finished and for what is none."""
    if riff:
        length = int.from_bytes(box[4:8], "little")
        return 8 + length if box.startswith(b"RIFF") and 0 < length < 0xFFFFFFFF else 0
    short = int.from_bytes(box[:4], "big")
    length = int.from_bytes(box[8:16], "big") if short == 1 else short
    return length if length >= 8 and box[4:8].isalnum() else 0


def _packet_length(data: bytes) -> int:
    """Bytes of a packet of MPEG-TS, by two of them; 0 for what is none."""
    for length, mark in ((188, 0), (192, 4)):
        if data[mark : mark + 1] == data[mark + length : mark + length + 1] == b"G":
            return length
    return 0


def _matroska_end(head: bytes) -> int:
    """Where the segment of a Matroska file should end; 0 when a live recording left it open."""

    def number(at: int) -> tuple[int, int]:
        width = 9 - head[at].bit_length()
        full = (1 << 7 * width) - 1
        value = int.from_bytes(head[at : at + width], "big") & full
        return (0 if value == full else value), at + width

    header, at = number(4)
    length, at = number(at + header + 4)
    return at + length if length else 0
