"""Reports on data sets, and the checks that all layouts share.

A problem is a contradiction, a damage or a loss; a note is worth knowing and may be intended.
Nothing here raises for what it finds, and a count with the first case stands for many alike.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tfsasm.boxes import look_normalised, ltwh_to_xyxy
from tfsasm.datasets.mot_folders import image_names, image_size
from tfsasm.tables import Array, Doubles
from tfsasm.video.images import image_file_is_cut

T = TypeVar("T")

Progress = Callable[[int, int], None]

_SHOWN = 10  # of bad lines; the rest is counted

_NUMBER = re.compile(r"(\d{1,18})$")


@dataclass
class SequenceReport:
    """What is there of one sequence, or of one annotation file of single images."""

    name: str
    """Its path below the root."""
    frames: int | None = None
    """Its length; None when unknown."""
    size: tuple[int, int] | None = None
    """Width and height in pixels."""
    images: int = 0
    boxes: int | None = None
    """Ground-truth rows, also those that do not count; None without ground truth."""
    identities: int | None = None
    detections: int | None = None
    """Rows of the detections beside it; None without."""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_bad_lines(self, problems: Sequence[str]) -> None:
        """Lines that cannot be used, each by name, up to a limit."""
        self.problems += problems[:_SHOWN]
        if (rest := len(problems) - _SHOWN) > 0:
            self.problems.append(f"... and {rest} more bad line(s) in the same file")


@dataclass
class DatasetReport:
    """What a check found; `problems` and `notes` here belong to no single sequence."""

    dataset: str
    root: Path
    sequences: list[SequenceReport] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

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


def counted(items: Sequence[T], progress: Progress) -> Iterator[T]:
    """The items, each announced to `progress` as (done, all) before it is worked on."""
    for done, item in enumerate(items):
        progress(done, len(items))
        yield item
    progress(len(items), len(items))


def check_images(row: SequenceReport, folder: Path | None) -> None:
    """Count a folder's images, look at their numbers and at the sizes in their headers.

    They say what length and size the sequence has when nothing else does.
    """
    names = image_names(folder) if folder else []
    row.images = len(names)
    if not folder or not names:
        return
    if row.frames is not None and len(names) != row.frames:
        row.problems.append(f"{folder.name} has {len(names)} images for {row.frames} frames")
    _check_numbers(row, folder, names)
    sizes = {name: image_size(folder / name) for name in names}
    if bad := [name for name, size in sizes.items() if size is None]:
        first = f"{folder.name}/{bad[0]}"
        row.problems.append(f"{_many(bad)} cannot be read, the first: {first}")
    if cut := [name for name, size in sizes.items() if size and image_file_is_cut(folder / name)]:
        row.problems.append(f"{_many(cut)} cut off, the first: {folder.name}/{cut[0]}")
    wanted = row.size or next((size for size in sizes.values() if size), (0, 0))
    if other := [name for name, size in sizes.items() if size and size != wanted]:
        first = "{}/{} is {}x{}, not {}x{}".format(
            folder.name, other[0], *(sizes[other[0]] or ()), *wanted
        )
        row.problems.append(f"{_many(other)} of another size, the first: {first}")
    row.frames, row.size = row.frames or len(names), row.size or sizes[names[0]]


def check_boxes(row: SequenceReport, what: str, boxes: Doubles) -> None:
    """Frame numbers and places of boxes `[N, 6]`: frame, id, left, top, width, height.

    Frames without a box may be intended, so they are only noted.
    """
    if look_normalised(ltwh_to_xyxy(boxes[:, 2:6])):
        row.problems.append(f"{what}: all {len(boxes)} boxes lie within 0 to 1, so they look "
                            "normalised; wanted are pixels")
    if row.frames is not None:
        count_boxes(row, what, "after the last frame", boxes, boxes[:, 0] > row.frames)
    if row.size is not None:
        near, far = boxes[:, 2:4], boxes[:, 2:4] + boxes[:, 4:6]
        out = ((far <= 0) | (near >= row.size)).any(axis=1)
        cut = ((near < 0) | (far > row.size)).any(axis=1)
        count_boxes(row, what, "outside the image", boxes, out)
        if over := int((cut & ~out).sum()):
            row.notes.append(f"{what}: {over} of {len(boxes)} boxes reach over the image's border")
    present = {int(number) for number in boxes[:, 0]}
    length = row.frames or max(present, default=0)
    if empty := [number for number in range(1, length + 1) if number not in present]:
        row.notes.append(f"{what}: no box in {len(empty)} frame(s), the first: {empty[0]}")


def count_boxes(
    row: SequenceReport, what: str, how: str, boxes: Doubles, bad: Array
) -> None:
    """A problem, if any of the boxes `[N, 6]` is `bad` `[N]`."""
    if bad.any():
        frame, identity = boxes[bad][0, :2].astype(int)
        first = f"first in frame {frame} (id {identity})"
        row.problems.append(f"{what}: {bad.sum()} box(es) {how}, {first}")


def _check_numbers(row: SequenceReport, folder: Path, names: Sequence[str]) -> None:
    """Frames have the numbers of their names; what is missing or counted otherwise is noted."""
    matches = {name: _NUMBER.search(Path(name).stem) for name in names}
    if unnumbered := [name for name, match in matches.items() if not match]:
        row.notes.append(f"{_many(unnumbered)} without a number, the first: {unnumbered[0]}")
        return
    counts = Counter(int(match[1]) for match in matches.values() if match)
    first, last = min(counts), max(counts)
    if first != 1:
        begin = f"{folder.name} begins with image number {first}"
        row.notes.append(f"{begin}; frames are counted from 1")
    if missing := last - first + 1 - len(counts):
        gap = next(number for number in range(first, last) if number not in counts)
        row.problems.append(
            f"{folder.name} has a gap at image number {gap} ({missing} missing in all); "
            "the others keep their numbers"
        )
    if double := [number for number, count in counts.items() if count > 1]:
        twice = f"{len(double)} image number(s) twice, first {double[0]}"
        row.problems.append(f"{folder.name} has {twice}")


def _many(images: Sequence[str]) -> str:
    return f"{len(images)} image{'' if len(images) == 1 else 's'}"
