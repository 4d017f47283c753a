"""What `tfsasm track` can save, and under which names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from tfsasm.files import TRACKED

Kind = Literal["video", "images", "mot", "json", "csv", "report", "coco", "cvat", "fiftyone"]

SUFFIXES: dict[Kind, str] = {
    "video": f"{TRACKED}.mp4", "images": TRACKED, "mot": ".mot.txt", "json": ".json", "csv": ".csv",
    "report": ".report.html", "coco": ".coco.json", "cvat": ".cvat.xml",
    "fiftyone": ".fiftyone.json",
}  # fmt: skip
"""What the file of a kind is called after the name of its video."""

USUAL: tuple[Kind, ...] = ("video", "mot", "json", "report")
"""What is saved where nothing is asked for."""


def places(
    source: str, kinds: Sequence[Kind], output: Path | None, named: Mapping[Kind, Path | None]
) -> dict[Kind, Path]:
    """The files of the results of a source: those `named`, and `kinds` in the folder `output`.

    `output` may be the annotated video alone; without it results go beside the source. A file that
    is named is all that is written, unless a folder is given, too.
    """
    from tfsasm.video.addresses import public_address

    files = {kind: path for kind, path in named.items() if path}
    if output and output.suffix and not output.is_dir():
        files["video"] = output
    if files and (output is None or "video" in files):
        return files
    path = Path(source)
    there = path.exists() and not source.isdecimal()
    folder = output or (path.parent if there else Path())
    if there:
        path = path.resolve()
        path = path.parent if path.name == "img1" else path
        name = path.stem if path.is_file() else path.name
    else:
        address = public_address(source).partition("?")[0]
        name = f"camera-{source}" if source.isdecimal() else urlsplit(address).path.split("/")[-1]
        name = re.sub(r"[^\w.-]+", "-", name) or "stream"
    return {kind: folder / f"{name}{SUFFIXES[kind]}" for kind in kinds} | files


def as_written(kind: Kind, path: Path) -> str:
    """What `VideoWriter` is to write."""
    return f"{path}/" if kind == "images" else str(path)
