"""Reports on data sets, and the checks that all layouts share (`check.py` has the layouts).

A problem is a contradiction, a damage or a loss; a note is worth knowing and may be intended.
Nothing here raises for what it finds, and a count with the first case stands for many alike.
"""

import itertools
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

    def check_images(self, folder: Path | None) -> None:
        """Count a folder's images, look at their numbers and at the sizes in their headers.

        They say what length and size the sequence has when nothing else does.
        """
        names = image_names(folder) if folder else []
        self.images = len(names)
        if not folder or not names:
            return
        place, problem = folder.name, self.problems.append
        if self.frames is not None and len(names) != self.frames:
            problem(f"{place} has {len(names)} images for {self.frames} frames")
        self._check_numbers(place, names)
        found = {name: image_size(folder / name) for name in names}
        if bad := [name for name, size in found.items() if size is None]:
            problem(f"{_many(bad)} cannot be read, the first: {place}/{bad[0]}")
        sizes = {name: size for name, size in found.items() if size}
        if cut := [name for name in sizes if image_file_is_cut(folder / name)]:
            problem(f"{_many(cut)} cut off, the first: {place}/{cut[0]}")
        wanted = self.size or next(iter(sizes.values()), (0, 0))
        if other := [name for name, size in sizes.items() if size != wanted]:
            first = "{} is {}x{}, not {}x{}".format(other[0], *sizes[other[0]], *wanted)
            problem(f"{_many(other)} of another size, the first: {place}/{first}")
        self.frames, self.size = self.frames or len(names), self.size or found[names[0]]

    def check_boxes(self, what: str, boxes: Doubles) -> None:
        """Frame numbers and places of boxes `[N, 6]`: frame, id, left, top, width, height.

        Frames without a box may be intended, so they are only noted.
        """
        if look_normalised(ltwh_to_xyxy(boxes[:, 2:6])):
            self.problems.append(f"{what}: all {len(boxes)} boxes lie within 0 to 1, so they look "
                                 "normalised; wanted are pixels")
        if self.frames is not None:
            self.count_boxes(what, "after the last frame", boxes, boxes[:, 0] > self.frames)
        if self.size is not None:
            near, far = boxes[:, 2:4], boxes[:, 2:4] + boxes[:, 4:6]
            out = ((far <= 0) | (near >= self.size)).any(axis=1)
            cut = ((near < 0) | (far > self.size)).any(axis=1)
            self.count_boxes(what, "outside the image", boxes, out)
            if over := int((cut & ~out).sum()):
                reach = f"{over} of {len(boxes)} boxes reach over the image's border"
                self.notes.append(f"{what}: {reach}")
        present = {int(number) for number in boxes[:, 0]}
        length = self.frames or max(present, default=0)
        if empty := length - sum(number <= length for number in present):
            first = next(number for number in itertools.count(1) if number not in present)
            self.notes.append(f"{what}: no box in {empty} frame(s), the first: {first}")

    def count_boxes(self, what: str, how: str, boxes: Doubles, bad: Array) -> None:
        """A problem, if any of the boxes `[N, 6]` is `bad` `[N]`."""
        if bad.any():
            first = "first in frame {} (id {})".format(*boxes[bad][0, :2].astype(int))
            self.problems.append(f"{what}: {bad.sum()} box(es) {how}, {first}")

    def _check_numbers(self, place: str, names: Sequence[str]) -> None:
        """Frames have the numbers of their names; what is missing or counted otherwise is noted."""
        matches = {name: _NUMBER.search(Path(name).stem) for name in names}
        if unnumbered := [name for name, match in matches.items() if not match]:
            self.notes.append(f"{_many(unnumbered)} without a number, the first: {unnumbered[0]}")
            return
        counts = Counter(int(match[1]) for match in matches.values() if match)
        first, last = min(counts), max(counts)
        if first != 1:
            begins = f"begins with image number {first}; frames are counted from 1"
            self.notes.append(f"{place} {begins}")
        if missing := last - first + 1 - len(counts):
            gap = next(number for number in range(first, last) if number not in counts)
            self.problems.append(f"{place} has a gap at image number {gap} ({missing} missing in "
                                 "all); the others keep their numbers")
        if double := [number for number, count in counts.items() if count > 1]:
            twice = f"{len(double)} image number(s) twice, first {double[0]}"
            self.problems.append(f"{place} has {twice}")


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
        for kind in ("problem", "note") if notes else ("problem",):
            yield from (f"{kind}: {text}" for text in getattr(self, f"{kind}s"))
            for row in self.sequences:
                yield from (f"{kind}: {row.name}: {text}" for text in getattr(row, f"{kind}s"))

    def to_json(self) -> dict[str, Any]:
        """All of it, ready for `json.dump`."""
        return asdict(self) | {"root": str(self.root), "problem_count": self.problem_count}


def counted(items: Sequence[T], progress: Progress) -> Iterator[T]:
    """The items, each announced to `progress` as (done, all) before it is worked on."""
    for done, item in enumerate(items):
        progress(done, len(items))
        yield item
    progress(len(items), len(items))


def _many(images: Sequence[str]) -> str:
    return f"{len(images)} image{'' if len(images) == 1 else 's'}"
