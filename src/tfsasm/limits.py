"""What a file from elsewhere may cost before it is refused: limits by name, and how to raise them.

A few bytes can ask for all memory there is: an image of a million by a million pixels, JSON without
an end, an archive that grows a thousandfold. Real data stays far below these. Also what may stand
where the file should be: in folders of others a pipe named `det.txt`, which would keep its reader
waiting for ever, or a link in the place of a record that is about to be written.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedRandom, BufferedReader
from pathlib import Path

from tfsasm.errors import InputError

_POINTER = {"version https://git-lfs": "a pointer of Git LFS; get the file itself by git lfs pull"}

_PAGE = dict.fromkeys(
    ("<!doctype html", "<html"), "a web page; download the file itself, from a browser if need be"
)

_PACKERS = {"\x1f\x8b": "gzip", "pk\x03\x04": "zip", "bzh": "bzip2", "\xfd7zxz": "xz"}

_PACKED = {mark: f"compressed ({name}); unpack it first" for mark, name in _PACKERS.items()}


# Without these on Windows, where there are no pipes among files, and links take rights to make.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_odd(path: Path | str) -> bool:
    """Whether something is there that is neither a file nor a folder: a pipe, a device, a socket.

    A link is what it points to. Raises `OSError` where that cannot be known.
    """
    try:
        kind = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))


def refuse_device(output: Path) -> None:
    """Raises `InputError` for an output that is a device or a pipe, and all that stands in `/dev`.

    A finished file is put in the place of what was there: of `/dev/null`, if root is asked to.
    """
    if is_odd(output) or os.path.realpath(output.parent) == "/dev":
        raise InputError(f"{output} is a pipe or a device; give the name of a file to write")


def open_to_read(path: Path | str) -> BufferedReader:
    """A file, opened. Raises `OSError`, and `InputError` for a pipe or a device."""
    if is_odd(path):
        raise InputError(f"{path} is a pipe or a device; save what comes from it as a file, and "
                         "give that")  # fmt: skip
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | _AT_ONCE))


def open_to_go_on(path: Path) -> BufferedRandom:
    """A file that is written in its place, not as a whole: a record of what is done.

    It is made if it is not there. Raises `OSError`, and `InputError` for a link, which would have
    what it points to overwritten, and for a pipe or a device.
    """
    if path.is_symlink() or is_odd(path):
        raise InputError(f"{path} is a link, a pipe or a device, where a record is to be written; "
                         "remove it")  # fmt: skip
    handle = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK | _AT_ONCE | _BINARY, 0o666)
    return os.fdopen(handle, "r+b")


def stand_in(start: bytes, *, text: bool = False) -> str:
    """What a file is instead of weights, images or a video, or of `text`, by how it begins.

    Empty for all that is not known to be something else.
    """
    begins = start[:64].decode("latin-1").lower()
    known = _POINTER | (_PACKED if text else _PAGE)
    return next((what for mark, what in known.items() if begins.startswith(mark)), "")


def file_stand_in(path: Path | str) -> str:
    """The same of a file; empty too where it cannot be read, of which its reader has more to say.
    """
    with suppress(OSError, InputError), open_to_read(path) as file:
        return stand_in(file.read(64))
    return ""


@dataclass(frozen=True)
class Limit:
    """A number that files must not exceed, and the environment variable that sets another."""

    variable: str
    usual: int
    unit: str

    @property
    def value(self) -> int:
        """The limit in this process. Raises `InputError` for a variable that is no number."""
        text = os.environ.get(self.variable, str(self.usual))
        if text.isascii() and text.isdecimal() and int(text) > 0:
            return int(text)
        raise InputError(f"{self.variable}={text} is not a whole number above 0")

    def check(self, amount: int, what: object) -> None:
        """Raises `InputError` when `what` has more than the limit."""
        if amount > self.value:
            raise InputError(
                f"{what} has {amount:,} {self.unit}, more than the limit of {self.value:,}; if you "
                f"trust it, set {self.variable}={amount}"
            )


PIXELS = Limit("TFSASM_MAX_PIXELS", 2**28, "pixels per image")
"""16,384 by 16,384: 0.8 GB as BGR. FFmpeg's own limit for videos is about as high."""

IMAGE = Limit("TFSASM_MAX_IMAGE_BYTES", 2**31, "bytes in an image file")
"""As many as 16,384 by 16,384 pixels take without any compression, 16 bits each."""

FRAMES = Limit("TFSASM_MAX_FRAMES", 10_000_000, "frames")
"""Of a sequence by its text files: 92 hours at 30 per second. Scoring has a place for each."""

BOXES = Limit("TFSASM_MAX_BOXES", 5_000, "boxes")
"""Detections of one frame. Trackers take time and memory by the square of their number."""

TEXT = Limit("TFSASM_MAX_TEXT_BYTES", 2**31, "bytes of text")
"""JSON and text that is read at once; what is read piece by piece has no limit."""

GROWTH = Limit("TFSASM_MAX_GROWTH", 20, "times its size when unpacked")
"""Of an archive. Weights hardly shrink when they are packed."""


def check_image(data: bytes, what: object) -> bool:
    """Whether one can tell before an image is decoded what memory that will take.

    TIFF and AVIF have decoders with limits of their own, of 2**30 and 2**28 pixels. Raises
    `InputError` for an image file whose header asks for more than `PIXELS`.
    """
    if size := image_size(data):
        PIXELS.check(size[0] * size[1], what)
    return size is not None or data[:4] in _TIFF or data[4:8] == b"ftyp"


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height by the header of an image file; None where there is none that can be read.

    Pillow reads it, without its own limit, whose message would name no way out; not that of TIFF,
    for it prints warnings of damaged ones.
    """
    from PIL import Image

    Image.init()
    for name in ("JPEG", "PNG", "WEBP", "BMP", "PPM", "GIF"):
        factory, accept = Image.OPEN[name]
        with suppress(Exception):  # a damaged header, of which the decoder has more to say
            if accept is None or accept(data[:16]) is True:
                width, height = factory(io.BytesIO(data), "").size
                return width, height
    return None


def check_archive(path: Path | str) -> None:
    """Raises `InputError` for a zip that unpacks to more than `GROWTH` times its size.

    And for one whose contents cannot be known: other readers may take another list for them.
    """
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            known = archive.start_dir == _directory(path, len(archive.comment))
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise InputError(f"{path} is a damaged archive: {error}") from error
    if not known:
        raise InputError(f"{path} is a damaged archive: its list of contents is not where it says")
    GROWTH.check(unpacked // max(1, os.path.getsize(path)), path)


def _directory(path: Path | str, comment: int) -> int:
    """Where a zip says that its list of contents is. Python looks before its end instead."""
    with Path(path).open("rb") as file:
        end = file.seek(-22 - comment, os.SEEK_END)
        (place,) = struct.unpack("<16x I 2x", file.read(22))
        if place < 2**32 - 1:
            return int(place)
        file.seek(end - 20)  # of a large archive, which has a longer end before this one
        (long_end,) = struct.unpack("<8x Q 4x", file.read(20))
        if long_end != end - 20 - 56:
            return -1
        file.seek(long_end)
        return int(struct.unpack("<48x Q", file.read(56))[0])
