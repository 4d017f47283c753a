"""Problems and notes of a data set, and the checks that all layouts share.

A problem is a contradiction or a loss; a note is worth knowing and may be intended. Nothing here
raises for what it finds, and a count with the first case stands for many alike.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfsasm.datasets.mot_folders import image_names, image_size

_SHOWN = 10  # of bad lines; the rest is counted

_NUMBER = re.compile(r"(\d{1,18})$")


@dataclass
class Findings:
    """Problems and notes as they come up."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def problem(self, text: str) -> None:
        """Something that contradicts, is damaged or is missing where it should be."""
        self.problems.append(text)

    def note(self, text: str) -> None:
        """Something that may be intended."""
        self.notes.append(text)

    def bad_lines(self, problems: Sequence[str]) -> None:
        """Lines that cannot be used, each by name, up to a limit."""
        self.problems += problems[:_SHOWN]
        if (rest := len(problems) - _SHOWN) > 0:
            self.problem(f"... and {rest} more bad line(s) in the same file")


@dataclass(frozen=True)
class SequenceReport:
    """What is there of one sequence, or of one annotation file of single images."""

    name: str
    """Its path below the root."""
    frames: int | None
    """Its length; None when unknown."""
    size: tuple[int, int] | None
    """Width and height in pixels."""
    images: int
    boxes: int | None
    """Ground-truth rows, also those that do not count; None without ground truth."""
    identities: int | None
    detections: int | None
    """Rows of the detections beside it; None without."""
    problems: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class DatasetReport:
    """What a check found; `problems` and `notes` here belong to no single sequence."""

    dataset: str
    root: Path
    sequences: tuple[SequenceReport, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def problem_count(self) -> int:
        """Problems of the data set and of all its sequences."""
        return len(self.problems) + sum(len(row.problems) for row in self.sequences)

    def lines(self, *, notes: bool = True) -> Iterator[str]:
        """Every problem and note in words, problems first."""
        for kind in ("problems", "notes") if notes else ("problems",):
            for text in getattr(self, kind):
                yield f"{kind[:-1]}: {text}"
            for row in self.sequences:
                for text in getattr(row, kind):
                    yield f"{kind[:-1]}: {row.name}: {text}"

    def to_json(self) -> dict[str, Any]:
        """All of it, ready for `json.dump`."""
        return asdict(self) | {"root": str(self.root), "problem_count": self.problem_count}


def check_images(
    findings: Findings, folder: Path, frames: int | None, size: tuple[int, int] | None
) -> int:
    """Count a folder's images, look at their numbers and at the sizes in their headers."""
    names = image_names(folder)
    if names and frames is not None and len(names) != frames:
        findings.problem(f"{folder.name} has {len(names)} images for {frames} frames")
    _check_numbers(findings, folder, names)
    sizes = {name: image_size(folder / name) for name in names}
    if bad := [name for name, read in sizes.items() if read is None]:
        findings.problem(f"{_many(bad, 'image')} cannot be read, the first: {folder.name}/{bad[0]}")
    wanted = size or next((read for read in sizes.values() if read), None)
    if other := [name for name, read in sizes.items() if read and read != wanted]:
        width, height = sizes[other[0]] or (0, 0)
        usual = "" if wanted is None else f", not {wanted[0]}x{wanted[1]}"
        findings.problem(
            f"{_many(other, 'image')} of another size, the first: "
            f"{folder.name}/{other[0]} is {width}x{height}{usual}"
        )
    return len(names)


def check_boxes(
    findings: Findings, what: str, rows: NDArray[np.float64], frames: int | None,
    size: tuple[int, int] | None,
) -> None:
    """Frame numbers and places of the rows `[N, 6]`: frame, id, left, top, width, height."""
    if frames is not None:
        _count(findings, what, "after the last frame", rows, rows[:, 0] > frames)
    if size is not None:
        left, top, width, height = rows[:, 2:6].T
        right, bottom = left + width, top + height
        out = (right <= 0) | (bottom <= 0) | (left >= size[0]) | (top >= size[1])
        cut = (left < 0) | (top < 0) | (right > size[0]) | (bottom > size[1])
        _count(findings, what, "outside the image", rows, out)
        if over := int((cut & ~out).sum()):
            findings.note(f"{what}: {over} of {len(rows)} boxes reach over the image's border")


def check_identities(findings: Findings, what: str, rows: NDArray[np.float64]) -> None:
    """No identity may be twice in a frame."""
    keys, counts = np.unique(rows[:, :2], axis=0, return_counts=True)
    double = keys[counts > 1]
    if len(double):
        frame, identity = double[0].astype(int)
        findings.problem(
            f"{what}: an id twice in a frame, {len(double)} time(s), "
            f"first id {identity} in frame {frame}"
        )


def check_empty_frames(
    findings: Findings, what: str, numbers: Iterable[float], frames: int | None
) -> None:
    """Frames without a row may be intended, so they are only noted."""
    present = {int(number) for number in numbers}
    empty = [n for n in range(1, (frames or max(present, default=0)) + 1) if n not in present]
    if empty:
        findings.note(f"{what}: no box in {len(empty)} frame(s), the first: {empty[0]}")


def _check_numbers(findings: Findings, folder: Path, names: Sequence[str]) -> None:
    """Frames are counted by position, so a missing image shifts all that come after it."""
    matches = [_NUMBER.search(Path(name).stem) for name in names]
    if not all(matches):
        unnumbered = [name for name, match in zip(names, matches, strict=True) if not match]
        findings.note(f"{_many(unnumbered, 'image')} without a number, the first: {unnumbered[0]}")
        return
    counts = Counter(int(match[1]) for match in matches if match)
    if not counts:
        return
    first, last = min(counts), max(counts)
    if first != 1:
        findings.note(f"{folder.name} begins with image number {first}; frames are counted from 1")
    missing = sum(1 for n in range(first, last + 1) if n not in counts) if last < 10**7 else 0
    if missing or last >= 10**7:
        gap = next(n for n in range(first, last) if n not in counts)
        findings.problem(
            f"{folder.name} has a gap at image number {gap} ({missing or 'many'} missing in all); "
            "frames after it are counted wrong"
        )
    if double := [number for number, count in counts.items() if count > 1]:
        twice = f"{len(double)} image number(s) twice, first {double[0]}"
        findings.problem(f"{folder.name} has {twice}")


def _count(
    findings: Findings, what: str, how: str, rows: NDArray[np.float64], bad: NDArray[np.bool_]
) -> None:
    if bad.any():
        frame, identity = rows[bad][0, :2].astype(int)
        first = f"first in frame {frame} (id {identity})"
        findings.problem(f"{what}: {bad.sum()} box(es) {how}, {first}")


def _many(names: Sequence[str], noun: str) -> str:
    return f"{len(names)} {noun}{'' if len(names) == 1 else 's'}"
