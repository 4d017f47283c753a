"""Whether a file has lost its end, which decoders seldom report.

They stop quietly there, or hide it behind grey pixels.
"""

from __future__ import annotations

import re
from pathlib import Path

_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # not a stuffed byte, restart or fill


def image_is_cut(data: bytes) -> bool:
    """Whether a JPEG or PNG has lost its end, which decoders may hide behind grey pixels."""
    if data.startswith(b"\x89PNG"):
        return _png_is_cut(data)
    if not data.startswith(b"\xff\xd8"):
        return False  # the other formats fail to decode
    at = 2
    while found := _JPEG_MARKER.search(data, at):
        marker, at = data[found.start() + 1], found.end()
        if marker == 0xD9:
            return False
        at += int.from_bytes(data[at : at + 2], "big")  # a segment; after SOS the scan follows
    return True


def _png_is_cut(data: bytes) -> bool:
    """Whether a part of a PNG is longer than the rest of the file, or the last part is missing.

    OpenCV takes memory for a part before it looks whether it is there: up to 4 GB.
    """
    at = 8
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        at += 12 + length
        if kind == b"IEND":
            return False
    return True


def image_file_is_cut(path: Path) -> bool:
    """The same of a file, and of a BMP; only one without its usual end is read whole.

    Raises `OSError`.
    """
    with path.open("rb") as file:
        head, size = file.read(6), path.stat().st_size
        file.seek(max(0, size - 8))
        end = file.read()
    if head.startswith(b"BM"):
        return int.from_bytes(head[2:6], "little") > size
    return not end.endswith((b"\xff\xd9", b"IEND\xaeB`\x82")) and image_is_cut(path.read_bytes())


def container_is_cut(path: Path) -> bool:
    """Whether an MP4, AVI or Matroska file is shorter than its outermost boxes declare.

    FFmpeg stops quietly at such an end. Formats without lengths (MPEG-TS) are never called cut.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
        if head.startswith(b"\x1aE\xdf\xa3"):
            return _matroska_end(head) > size
        at = 0
        while at + 8 <= size:
            file.seek(at)
            box = file.read(16)
            length = _riff_length(box) if head.startswith(b"RIFF") else _box_length(box)
            if not length:
                return False
            at += length
    return at > size


def _box_length(box: bytes) -> int:
    """Bytes of an MP4 box by its first 16; 0 for "up to the end" or what is no box."""
    short = int.from_bytes(box[:4], "big")
    length = int.from_bytes(box[8:16], "big") if short == 1 else short
    return length if length >= 8 and box[4:8].isalnum() else 0


def _riff_length(chunk: bytes) -> int:
    """Bytes of an AVI part by its first bytes; 0 when it was never finished or is no such part."""
    length = int.from_bytes(chunk[4:8], "little")
    return 8 + length if chunk[:4] == b"RIFF" and 0 < length < 0xFFFFFFFF else 0


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
