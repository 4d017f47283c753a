"""Whether a file has lost its end, which decoders seldom report.

They stop quietly there, or hide it behind grey pixels.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from tfsasm.limits import IMAGE

UNREADABLE = "damaged, cut or of a kind that is not supported"
"""What is said of an image file that has its end and cannot be decoded."""

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
        if kind == b"IEND" and not length:  # at one with a content OpenCV does not stop
            return False
    return True


def image_file_is_cut(path: Path) -> bool:
    """The same of a file, or a BMP, whose header could be read; or it cannot be read any more.

    Only one without its usual end is read whole.
    """
    try:
        with path.open("rb") as file:
            head, size = file.read(6), path.stat().st_size
            file.seek(max(0, size - 8))
            whole = file.read().endswith((b"\xff\xd9", b"IEND\xaeB`\x82"))
        if head.startswith(b"BM"):
            return int.from_bytes(head[2:6], "little") > size
        return not whole and (size > IMAGE.value or image_is_cut(path.read_bytes()))
    except OSError:
        return True


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
        length_of = _riff_length if file.read(4) == b"RIFF" else _box_length
        while at + 8 <= size:
            file.seek(at)
            box = file.read(16)
            if not (length := length_of(box)):
                return
            at += length
            yield box[4:8], at


def _packet_length(data: bytes) -> int:
    """Bytes of a packet of MPEG-TS, by two of them; 0 for what is none."""
    for length, mark in ((188, 0), (192, 4)):
        if data[mark : mark + 1] == data[mark + length : mark + length + 1] == b"G":
            return length
    return 0


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
