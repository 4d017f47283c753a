"""Videos by patterns and folders."""

import glob
from collections.abc import Iterable
from pathlib import Path

from tfsasm.errors import InputError
from tfsasm.files import TRACKED
from tfsasm.video.decoder import absent
from tfsasm.video.source import IMAGE_SUFFIXES, image_names

VIDEO_SUFFIXES = (
    ".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg",
    ".wmv", ".flv", ".3gp", ".ogv", ".gif",
)  # fmt: skip
"""Of files that are taken for videos in a folder."""


def find_sources(names: Iterable[str]) -> list[str]:
    """What `open_video` can open, for patterns (`clips/*.mp4`) and folders of videos or of MOT
    sequences too.

    Annotated videos of earlier runs (`TRACKED`) are left out there. Raises `InputError` for what
    does not exist and a pattern that fits nothing.
    """
    return [source for name in names for source in _found(name)]


def _found(name: str) -> list[str]:
    path = Path(name)
    if not name.strip():
        raise InputError("the name of a video is empty; is a variable of the shell not set?")
    if "://" in name or path.is_file():
        return [name]
    if path.is_dir():
        if image_names(path, "name") or (path / "img1").is_dir():
            return [name]
        inside = [*path.iterdir()]
        return _videos(entry for entry in inside if entry.is_file()) or _sequences(inside) or [name]
    if any(sign in name for sign in "*?["):
        if videos := _videos(map(Path, glob.glob(name)), VIDEO_SUFFIXES + IMAGE_SUFFIXES):
            return videos
        raise InputError(f"{name} fits no file; quote it, or name the videos")
    if name.isdecimal():
        return [name]
    raise absent(path)


def _sequences(paths: Iterable[Path]) -> list[str]:
    return sorted(str(path) for path in paths if (path / "img1").is_dir())


def _videos(paths: Iterable[Path], suffixes: tuple[str, ...] = VIDEO_SUFFIXES) -> list[str]:
    return sorted(
        str(path) for path in paths
        if path.is_dir() or (
            path.suffix.lower() in suffixes and not path.stem.endswith(TRACKED)
            and not path.name.startswith(".")
        )
    )  # fmt: skip
