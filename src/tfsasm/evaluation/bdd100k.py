"""BDD100K: labelled boxes, from Scalabel JSON or MOT text, and their scores by TrackEval's rules.

Each class is scored for itself. Scores of all classes together depend on how they are weighed:
`class_average` counts a class with ten boxes as much as one with ten thousand (the benchmark ranks
by it), `combined` weighs by boxes, as it does for sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfsasm.boxes import xyxy_to_ltwh
from tfsasm.datasets.bdd100k import (
    CATEGORIES,
    IGNORED_CATEGORIES,
    ScalabelFrame,
    numbered,
    read_scalabel,
)
from tfsasm.errors import InputError
from tfsasm.evaluation.metrics import (
    Counts,
    Report,
    Scores,
    check_sides,
    measure,
    merged,
    scores_of,
)
from tfsasm.evaluation.protocols import EPS, matched
from tfsasm.evaluation.trajectories import Trajectories, check, in_both, last_frame, overlaps
from tfsasm.motchallenge import read_tracks
from tfsasm.tables import Doubles, Flags, Table


@dataclass(frozen=True)
class Labels(Table):
    """The boxes of one sequence with their classes.

    `classes` `[N]` are names; `ignored` `[N]` marks boxes of the truth that are regions to be
    ignored: crowds, and those of `IGNORED_CATEGORIES`.
    """

    boxes: Trajectories
    classes: NDArray[np.str_]
    ignored: Flags

    @classmethod
    def of(cls, boxes: Trajectories, classes: ArrayLike, crowd: ArrayLike | None = None) -> Self:
        """From the boxes, the names of their classes and, for a truth, which are crowds."""
        names = np.asarray(classes, dtype=np.str_).reshape(-1)
        none = np.zeros(len(boxes), dtype=bool)
        crowded = none if crowd is None else np.asarray(crowd, dtype=bool).reshape(-1)
        if not len(boxes) == len(names) == len(crowded):
            raise InputError(
                f"{len(boxes)} boxes have {len(names)} classes and {len(crowded)} crowd marks"
            )
        return cls(boxes, names, crowded | np.isin(names, [*IGNORED_CATEGORIES]))


def has_bdd100k_layout(place: Path) -> bool:
    """Whether a ground truth is label files rather than MOT sequence folders."""
    if place.is_file():
        return place.suffix == ".json"
    if any(place.glob("*/gt/gt.txt")):
        return False
    return any(place.glob("*.json")) or (place / "labels").is_dir()


def load_labels(truth: Path, result: Path, length: int | None, name: str) -> tuple[Labels, Labels]:
    """Both sides of a video, whose classes may have the same ids: each is scored by itself.

    Raises `InputError` for files that have no meaning.
    """
    sides = scalabel_labels(_video(truth, name)), result_labels(result, name)
    end = length or last_frame(*(side.boxes for side in sides))
    for side, path in zip(sides, (truth, result), strict=True):
        for kind in dict.fromkeys((*CATEGORIES, *side.classes.tolist())):
            check(side.boxes[side.classes == kind], end, str(path))
    return sides


def result_labels(path: Path, name: str) -> Labels:
    """Results of the video `name`: Scalabel JSON, or MOT text with a class in the eighth column.

    The class is 1 to 8 in the order of `CATEGORIES`, or -1 for a pedestrian. Raises `InputError`
    for another, and as `read_tracks` and `read_scalabel` do.
    """
    if path.suffix == ".json":
        return scalabel_labels(_video(path, name))
    table = read_tracks(path)
    label = np.where(table.label == -1, 1, table.label)
    odd = ~np.isin(label, range(1, len(CATEGORIES) + 1))
    if odd.any():
        bad = np.flatnonzero(odd)[0]
        raise InputError(
            f"{path} has class {label[bad]:g} in frame {table.frame[bad]}; wanted is 1 to "
            f"{len(CATEGORIES)} ({', '.join(CATEGORIES)}), or -1 for a pedestrian"
        )
    boxes = Trajectories(table.frame, table.identity, table.ltwh)
    return Labels.of(boxes, np.array(CATEGORIES)[label.astype(np.int64) - 1])


def scalabel_labels(frames: Sequence[ScalabelFrame]) -> Labels:
    """The labels of one video's frames; frame `index` is number `index + 1`."""
    identities = numbered(frames)
    counts = [len(frame) for frame in frames]
    boxes = Trajectories.of(
        np.repeat([frame.index + 1 for frame in frames], counts),
        [identities[identity] for frame in frames for identity in frame.ids],
        xyxy_to_ltwh(np.concatenate([np.zeros((0, 4)), *(frame.xyxy for frame in frames)])),
    )
    classes = [category for frame in frames for category in frame.categories]
    crowd = [crowded for frame in frames for crowded in frame.crowd.tolist()]
    return Labels.of(boxes, classes, crowd)


def _video(path: Path, name: str) -> list[ScalabelFrame]:
    """The frames of one video in a label file; a file of one video may have another name for it."""
    videos = _read(path, path.stat().st_mtime_ns) if path.is_file() else read_scalabel(path)
    if name in videos:
        return videos[name]
    if len(videos) == 1 and path.stem == name:
        return next(iter(videos.values()))
    raise InputError(f"{path} has no video {name}; it has {', '.join(videos) or 'none'}")


@lru_cache(maxsize=2)
def _read(path: Path, stamp: int) -> dict[str, list[ScalabelFrame]]:
    """A label file; that of a whole split is read once. `stamp` is another once it was changed."""
    return read_scalabel(path)


@dataclass(frozen=True)
class ClassReport(Report):
    """Scores of each sequence and each class.

    A row of `sequences` is all classes of it, weighed by boxes, and so is `combined`.
    `class_average` is the mean over `classes`, where a class without any box scores 0;
    its counts are sums.
    """

    classes: dict[str, Scores]
    class_average: Scores

    def to_json(self) -> dict[str, Any]:
        """As of `Report`; also `class_average`, `detection_average` (= combined) and `classes`."""
        return {
            **super().to_json(),
            "class_average": self.class_average.to_json(),
            "detection_average": self.combined.to_json(),
            "classes": {name: scores.to_json() for name, scores in self.classes.items()},
        }


def score_classes(
    truths: Mapping[str, Labels],
    results: Mapping[str, Labels],
    frames: Mapping[str, int] | None = None,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> ClassReport:
    """Score each class of `CATEGORIES` over several sequences, which both sides must have.

    A result that finds nothing and lies for more than half in an ignored region is taken out.
    Raises `InputError` as `score` does; an id may occur twice in a frame in different classes.
    """
    check_sides(truths, results)
    lengths = frames or {}
    measured: dict[str, dict[str, Counts]] = {}
    for name, truth in truths.items():
        end = lengths.get(name)
        measured[name] = {
            kind: measure(*_judged(truth, results[name], kind), end, f"{name}, {kind}")
            for kind in CATEGORIES
        }
        progress(name)
    classes = {
        kind: merged({name: counts[kind] for name, counts in measured.items()})
        for kind in CATEGORIES
    }
    by_boxes = "combine_classes_det_averaged"
    return ClassReport(
        sequences={name: scores_of(merged(each, by_boxes)) for name, each in measured.items()},
        combined=scores_of(merged(classes, by_boxes)),
        classes={kind: scores_of(counts) for kind, counts in classes.items()},
        class_average=scores_of(merged(classes, "combine_classes_class_averaged")),
    )


def _judged(truth: Labels, result: Labels, kind: str) -> tuple[Trajectories, Trajectories]:
    """Truth and tracks of one class, without the tracks that are to be ignored."""
    real = truth.boxes[(truth.classes == kind) & ~truth.ignored]
    tracks = result.boxes[result.classes == kind]
    regions = truth.boxes[truth.ignored]
    useless = np.ones(len(tracks), dtype=bool)
    for real_rows, track_rows in in_both(real.frames, tracks.frames):
        _, found = matched(overlaps(real.ltwh[real_rows], tracks.ltwh[track_rows]))
        useless[track_rows[found]] = False
    inside = np.zeros(len(tracks), dtype=bool)
    for region_rows, track_rows in in_both(regions.frames, tracks.frames):
        covered = _covered(tracks.ltwh[track_rows], regions.ltwh[region_rows])
        inside[track_rows] = (covered > 0.5 + EPS).any(axis=1)
    return real, tracks[~(useless & inside)]


def _covered(a: Doubles, b: Doubles) -> Doubles:
    """The share `[A, B]` of each ltwh box in `a` that lies in each box of `b`; 0 without area."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    area = np.broadcast_to(a[:, 2:].prod(axis=1)[:, None], shared.shape)
    return np.divide(shared, area, out=np.zeros_like(shared), where=area > EPS)
