"""A record of detections that grows frame by frame, so that a run that was killed can go on.

One JSON value per line: what the run is about, then `[sequence, number, key, lines]` for each
frame, and `{"done": sequence}` after the last. A torn end is cut off, and the frame before it done
again. Nothing of it is kept in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tfsasm.errors import InputError
from tfsasm.files import writing


class Found(NamedTuple):
    """The boxes of one frame."""

    sequence: str
    number: int
    """From 1."""
    key: str
    """As a det_db calls the frame."""
    lines: list[str]
    """`"left,top,width,height,score\\n"` each."""


class Journal:
    """The record at `path` of the run that `about` describes: an earlier one's, or a new one.

    `finished` has the sequences that are done, with what is to be told of each; `begun` is one that
    is not, and the frame to go on with. Raises `InputError` when the file is of another run, unless
    it may be overwritten.
    """

    def __init__(self, path: Path, about: dict[str, Any], *, overwrite: bool = False) -> None:
        self.path = path
        self.finished: dict[str, list[str]] = {}
        self.begun: tuple[str, int] | None = None
        about = json.loads(json.dumps(about))
        whole = self._read(about, overwrite=overwrite) if path.exists() else 0
        self._file = path.open("r+b" if whole else "wb")
        self._file.truncate(whole)
        self._file.seek(whole)
        if not whole:
            self._append(about)

    def add(self, found: Found) -> None:
        """Note a frame."""
        self._append(found)

    def finish(self, sequence: str, notes: list[str]) -> None:
        """Note that a sequence is done."""
        self._append({"done": sequence, "notes": notes})
        self.finished[sequence] = notes

    def frames(self) -> Iterator[Found]:
        """All frames, in the order they were noted."""
        with self.path.open("rb") as file:
            file.readline()
            for line in file:
                row = json.loads(line)
                if isinstance(row, list):
                    yield Found(*row)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with writing(self.path):
            self._file.close()

    def _append(self, row: Any) -> None:
        with writing(self.path):
            self._file.write(json.dumps(row).encode() + b"\n")
            self._file.flush()

    def _read(self, about: dict[str, Any], *, overwrite: bool) -> int:
        """Take over what is there; returns how many bytes of it are good, 0 for none."""
        with self.path.open("rb") as file:
            line = file.readline()
            if not line.endswith(b"\n"):  # killed before anything was done
                return 0
            before = _value(line)
            if before != about:
                if overwrite:
                    return 0
                raise InputError(
                    f"{self.path} is of another run ({_difference(before, about)}); give its "
                    "options to go on with it, or --overwrite to begin anew"
                )
            good = file.tell()
            for line in file:
                row = _value(line) if line.endswith(b"\n") else None
                if isinstance(row, dict):
                    self.finished[row["done"]] = row["notes"]
                    self.begun = None
                elif isinstance(row, list):
                    found = Found(*row)
                    self.begun, last = (found.sequence, found.number), good
                else:
                    break
                good += len(line)
        return good if self.begun is None else last


def _value(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _difference(before: Any, about: dict[str, Any]) -> str:
    """What the two runs differ in."""
    if not isinstance(before, dict):
        return "or no record of a run at all"
    names = [name for name in about if before.get(name) != about[name]]
    return "; ".join(f"{name} was {before.get(name)!r}, is {about[name]!r}" for name in names)
