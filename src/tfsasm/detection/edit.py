"""Streams of stored detections put together, filtered and given other keys, frame by frame."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Literal

import numpy as np

from tfsasm.detection.formats import FrameBoxes, place, sequence_of
from tfsasm.errors import InputError

Frames = Iterator[FrameBoxes]

Note = Callable[[str], None]
"""Takes a sentence on what came of it, when a stream has ended."""


def merge(
    streams: Mapping[Path, Iterable[FrameBoxes]], clash: Literal["error", "first"], note: Note
) -> Frames:
    """The frames of all streams, each of them once.

    Raises `InputError` for a frame whose boxes differ in two, unless `clash` is `first`.
    """
    checksums: dict[tuple[str, ...], dict[str, int]] = {}
    same = differing = 0
    for path, frames in streams.items():
        for frame in frames:
            folder, stem = place(frame.key)
            of_folder = checksums.setdefault(folder, {})
            checksum = zlib.crc32(frame.boxes.tobytes())
            if stem not in of_folder:
                of_folder[stem] = checksum
                yield frame
            elif of_folder[stem] == checksum:
                same += 1
            elif clash == "first":
                differing += 1
            else:
                raise InputError(
                    f"{path}: an earlier input has other boxes for {frame.key}; leave one of them "
                    "away, or let the first count with --clash first"
                )
    if same:
        note(f"{same:,} frames were in several inputs, with the same boxes")
    if differing:
        note(f"{differing:,} frames were in several inputs, with other boxes; the first's were "
             "kept")


def filter_boxes(
    frames: Iterable[FrameBoxes], *, score: float = float("-inf"), min_width: float = 0.0,
    min_height: float = 0.0, min_area: float = 0.0, categories: Sequence[int] = (),
    sequences: Sequence[str] = (),
) -> Frames:
    """The frames of some sequences, or all, with the boxes that reach every threshold, in pixels.

    A frame may become empty. Raises `InputError` for `categories` (COCO's numbers of classes) of
    boxes without a class, and at the end for a sequence that was not there.
    """
    least = {
        "score": score, "min_width": min_width, "min_height": min_height, "min_area": min_area
    }  # fmt: skip
    if wrong := [name for name, value in least.items() if np.isnan(value)]:
        raise InputError(f"{wrong[0]} is not a number, so no box would reach it")
    absent = set(sequences)
    for frame in frames:
        name = sequence_of(frame.key)
        if sequences and name not in sequences:
            continue
        absent.discard(name)
        _, _, width, height, scores = frame.boxes.T
        kept = (scores >= score) & (width >= min_width) & (height >= min_height)
        kept &= width * height >= min_area
        if categories:
            if frame.categories is None:
                raise InputError("only COCO results have classes; leave --categories away")
            kept &= np.isin(np.asarray(frame.categories, np.int64), categories)
        labels = frame.categories and list(compress(frame.categories, kept))
        lines = list(compress(frame.lines, kept))
        yield FrameBoxes(frame.key, lines, frame.boxes[kept], labels)
    if absent:
        raise InputError(f"the input has no sequence {', '.join(sorted(absent))}")


def rekey(frames: Iterable[FrameBoxes], old: str, new: str, note: Note) -> Frames:
    """The frames with `new` for `old` at the beginning of their keys, by whole folders.

    Raises `InputError` when no key begins so.
    """
    before, after = old.strip("/"), new.strip("/")
    changed = others = 0
    for frame in frames:
        key = frame.key.replace("\\", "/").lstrip("/")
        if before and not key.startswith(f"{before}/"):
            others += 1
            yield frame
            continue
        changed += 1
        rest = key[len(before) :].lstrip("/")
        yield frame._replace(key=f"{after}/{rest}" if after else rest)
    if others and not changed:
        raise InputError(f"no key begins with {old!r}; they are such as {frame.key!r}")
    if others:
        note(f"{others:,} keys do not begin with {old!r} and stay")
