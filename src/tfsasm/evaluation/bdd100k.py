"""BDD100K files as labelled boxes: the truth in Scalabel JSON, results in that or in MOT text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

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
from tfsasm.evaluation.trajectories import Trajectories, check, last_frame
from tfsasm.motchallenge import read_tracks
from tfsasm.tables import Flags, Table


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
    """Both sides of a video. Raises `InputError` for files that have no meaning."""
    sides = scalabel_labels(_video(truth, name)), result_labels(result, name)
    end = length or last_frame(*(side.boxes for side in sides))
    for side, path in zip(sides, (truth, result), strict=True):
        check(side.boxes, end, str(path))
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
