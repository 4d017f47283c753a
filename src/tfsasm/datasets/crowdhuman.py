"""CrowdHuman: single images of crowds, which MOTRv2 trains on beside DanceTrack (SPEC 9.2).

`annotation_train.odgt`, `_val` and `_trainval` have one JSON object per line and image.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfsasm import files
from tfsasm.errors import ErrorHandler, InputError, raise_error
from tfsasm.tables import Doubles, Flags


@dataclass(frozen=True)
class CrowdImage:
    """The people of one image, `N` of them, in the file's order."""

    name: str
    """The image's file name without its suffix; it holds a comma."""
    ltwh: Doubles
    """`[N, 4]` full bodies in pixels, also the covered part; may leave the image."""
    tags: tuple[str, ...]
    """`person`, or `mask`: a group, a reflection, a statue."""
    ignored: Flags
    """`[N]`: marked as not to be trained on, as every mask is."""

    def __len__(self) -> int:
        return len(self.tags)


def find_annotations(root: Path, split: str | None = None) -> list[Path]:
    """The `annotation_*.odgt` files of a split, in or below `root`; of all splits by default.

    Raises `InputError` when there is none.
    """
    pattern = f"annotation_{split or '*'}.odgt"
    for place in ("", "annotations", "crowdhuman", "CrowdHuman"):
        if found := sorted((root / place).glob(pattern)):
            return found
    raise InputError(f"no {pattern} in {root}; give the folder that holds it")


def find_image(root: Path, name: str) -> Path | None:
    """The file of an image, in `Images` of the root or of an archive's own folder."""
    for place in (root, root.parent, *sorted(root.glob("CrowdHuman_*"))):
        path = place / "Images" / f"{name}.jpg"
        if path.is_file():
            return path
    return None


def read_odgt(path: Path | str, on_error: ErrorHandler = raise_error) -> Iterator[CrowdImage]:
    """Images of an annotation file, one by one.

    Raises `InputError` naming file, line and box for whatever is missing or not a number.
    `on_error` is given these errors instead, and their lines are left out.
    """
    for number, line in enumerate(files.read_text(path).split("\n"), start=1):
        try:
            if line.strip():
                yield _image(files.parsed(line))
        except files.NotJson as error:
            on_error(InputError(f"{path}:{number}:{error.colno}: {error}"))
        except (ValueError, OverflowError) as error:
            on_error(InputError(f"{path}:{number}: {error}"))


def _image(entry: Any) -> CrowdImage:
    boxes = files.field(entry, "gtboxes", list)
    extras = ((isinstance(box, dict) and box.get("extra")) or {} for box in boxes)
    marks = (files.checked(extra, "extra", dict).get("ignore") for extra in extras)
    ignored = [files.flag(mark, "ignore") for mark in marks]
    return CrowdImage(
        name=files.safe_name(files.identity(entry, "ID"), "ID"),
        ltwh=np.array([_full(box, n) for n, box in enumerate(boxes)], np.float64).reshape(-1, 4),
        tags=tuple(files.field(box, "tag", str) for box in boxes),
        ignored=np.array(ignored, dtype=bool),
    )


def _full(box: Any, number: int) -> list[float]:
    what, values = f"the fbox of box {number}", files.field(box, "fbox", list)
    if len(values) != 4:
        raise ValueError(f"{what} is {files.shown(values)}, not 4 numbers")
    return files.numbers(values, what)
