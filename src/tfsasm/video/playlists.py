"""What a playlist on disk may name: files beside or below it.

A playlist comes with the videos of others, and would show what is elsewhere on this computer.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import av

PROTOCOLS_OF_FILES = "file,crypto,data"
"""What a video or a playlist that is a file may refer to: no network."""

_HLS, _CONCAT = b"#EXTM3U", b"ffconcat"


def open_container(path: Path) -> av.container.InputContainer:
    """A video file or a playlist, opened by FFmpeg. Raises what PyAV raises."""
    options, limits = {"protocol_whitelist": PROTOCOLS_OF_FILES}, dict[str, Any]()
    kind = _kind(path)
    if kind == _HLS:
        limits["io_open"] = _beside(path)
    elif kind == _CONCAT:  # names nothing outside by itself, but other playlists
        options["format_whitelist"] = ",".join(sorted(av.formats_available - {"hls", "dash"}))
    return av.open(f"file:{path}", options=options, **limits)  # a name may hold a colon


def is_playlist(path: Path) -> bool:
    """Whether a file begins as a playlist does."""
    return bool(_kind(path))


def _kind(path: Path) -> bytes:
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
