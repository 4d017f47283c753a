"""Hostile detection files, made by libFuzzer (atheris): `python fuzz/parsers.py TARGET [options]`.

A target reads what the fuzzer makes. It may be refused with an `InputError`; any other exception is
a crash, and so is a line that is neither a box nor reported.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import atheris

with atheris.instrument_imports(include=["tfsasm.motchallenge", "tfsasm.detection"]):
    import numpy as np

    from tfsasm import motchallenge
    from tfsasm.detection import coco, det_db
    from tfsasm.detection.formats import Reading
    from tfsasm.detection.stored import open_detections
    from tfsasm.errors import InputError

MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
FILE = Path(tempfile.mkdtemp(dir=MEMORY)) / "input"
FRAME = SimpleNamespace(image=np.zeros((8, 8, 3), np.uint8), number=1, name="s/img1/1.jpg")


def lines_of(data: bytes) -> int:
    """Lines that are not blank."""
    text = data.decode("utf-8-sig")
    return sum(1 for line in re.split("\r\n|\r|\n", text) if line.strip())


def refusal(path: Path) -> str:
    """The message of strict reading, empty where it succeeds."""
    try:
        motchallenge.read_detections(path)
    except InputError as error:
        return str(error)
    return ""


def detections(path: Path) -> None:
    """MOT `det.txt`: every line is a box or is counted, and strict reading names the first."""
    found = motchallenge.read_detections(path, skip_bad=True)
    boxes = sum(map(len, found.values()))
    assert boxes + found.skipped.count == lines_of(path.read_bytes())
    assert refusal(path) == found.skipped.first


def tracks(path: Path) -> None:
    """Result and ground-truth files: all lines or none."""
    assert len(motchallenge.read_tracks(path)) == lines_of(path.read_bytes())


def database(path: Path) -> None:
    """det_db JSON: every line of every key is a box or is counted."""
    lines = sum(len(of_key) for _, of_key in det_db.read_entries(path))
    found = det_db.read_det_db(path)
    skipped = sum(bad.count for bad in found.skipped.values())
    assert len(found.boxes) + skipped == lines
    with contextlib.suppress(InputError):
        open_detections(path, source_name="s/img1")(FRAME)


def results(path: Path) -> None:
    """COCO results."""
    for frame in coco.read_coco(path, Reading(skip_bad=True), None):
        assert len(frame.boxes) == len(frame.lines)


TARGETS: dict[str, Callable[[Path], None]] = {
    "detections": detections, "tracks": tracks, "database": database, "results": results,
}  # fmt: skip
SUFFIXES = {"database": ".json", "results": ".json"}


def main() -> None:
    """The first argument names the target; the others are libFuzzer's."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python {sys.argv[0]} {'|'.join(TARGETS)} [libFuzzer options] [corpus]")
    name = sys.argv.pop(1)
    path = FILE.with_suffix(SUFFIXES.get(name, ".txt"))
    logging.disable()

    def read(data: bytes) -> None:
        path.write_bytes(data)
        with contextlib.suppress(InputError):
            TARGETS[name](path)

    atheris.Setup(sys.argv, read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
