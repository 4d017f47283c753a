"""BDD100K box tracking: where its videos lie, and its labels, which are Scalabel JSON.

A label file is a list of frames, or `{"frames": [...]}`, of one video or of a whole split. Keys
have changed over the years (`videoName` was `video_name`, `frameIndex` was `index`, `crowd` was
`Crowd`), and both forms are read. Boxes, categories and identities come out as written: scoring
and training choose among them.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from tfsasm import files
from tfsasm.datasets.mot_folders import image_names, subfolders
from tfsasm.errors import ErrorHandler, InputError, raise_error
from tfsasm.limits import FRAMES
from tfsasm.tables import Doubles, Flags

CATEGORIES = (
    "pedestrian", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
"""The eight classes that are tracked and scored, in the official order."""

IGNORED_CATEGORIES = {"other person": "pedestrian", "other vehicle": "car", "trailer": "truck"}
"""Categories that are neither found nor false, and the class each resembles."""

_CORNERS = ("x1", "y1", "x2", "y2")

RATE, WIDTH, HEIGHT = 5.0, 1280, 720

_OLD_NAMES = {
    "person": "pedestrian", "bike": "bicycle", "motor": "motorcycle", "van": "car",
    "caravan": "car",
}  # fmt: skip

_BASES = ("", "bdd100k", "BDD100K")

_IMAGES = "images/track"

_LABEL_FOLDERS = ("labels/box_track_20", "labels/box-track", "labels-20/box-track", "labels/track")


@dataclass(frozen=True)
class ScalabelFrame:
    """The labels of one frame, `N` of them, in the file's order."""

    name: str
    """Image file, `VIDEO-0000001.jpg`."""
    video: str
    index: int
    """From 0, as in the file; the frame's number in MOT text is one more."""
    xyxy: Doubles
    """`[N, 4]` pixels, as written."""
    categories: tuple[str, ...]
    """As in `CATEGORIES` where there is such a class, else as written."""
    ids: tuple[str, ...]
    """As written; alike in all frames of a video, without meaning across videos."""
    ignored: Flags
    """`[N]`: of an ignored category, or marked so."""
    crowd: Flags
    """`[N]`: one box around many."""
    scores: Doubles
    """`[N]`, NaN where there is none; truth has none."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Video:
    """One video of a split, as far as it is there."""

    name: str
    images: Path | None
    labels: Path | None
    """The video's own file, or that of its split."""
    labelled: int | None
    """Frames with labels; None as long as the video's own file is unopened."""

    @property
    def length(self) -> int:
        """Frames: as many as images, or else as are labelled. Raises as `video_frames` does."""
        if self.images:
            return len(image_names(self.images))
        if self.labelled is None and self.labels:
            return len(video_frames(self.labels, self.name))
        return self.labelled or 0


def read_scalabel(
    path: Path | str, on_error: ErrorHandler = raise_error
) -> dict[str, list[ScalabelFrame]]:
    """Frames by video, in order of their index, from a label file or a folder of them.

    Raises `InputError` naming the file, the frame and the label for whatever is missing or not a
    number, and for a frame or an identity that is there twice. `on_error` is given these errors
    instead, and their frames or files are left out.
    """
    place = Path(path)
    paths = sorted(place.glob("*.json")) if place.is_dir() else [place]
    if not paths:
        raise InputError(f"{place} holds no label file (*.json)")
    videos: dict[str, dict[int, ScalabelFrame]] = {}
    for file in paths:
        for frame in _frames(file, on_error):
            known = videos.setdefault(frame.video, {})
            if frame.index in known:
                twice = f"{frame.index} twice ({known[frame.index].name} and {frame.name})"
                on_error(InputError(f"{place}: {frame.video} has frame {twice}"))
            known[frame.index] = frame
    return {name: [frames[n] for n in sorted(frames)] for name, frames in sorted(videos.items())}


def video_frames(path: Path, name: str) -> list[ScalabelFrame]:
    """The frames of one video of a label file. Raises `InputError` when it is not in there."""
    videos = read_scalabel(path)
    if name not in videos:
        raise InputError(f"{path} has no video {name}; it has {', '.join(videos) or 'none'}")
    return videos[name]


def numbered(frames: Sequence[ScalabelFrame]) -> dict[str, int]:
    """A number for each identity of a video: its own where all are numbers, else 1 and on.

    Those of more than 15 digits are names: a double, as tables have them, no longer counts there.
    """
    names = sorted({identity for frame in frames for identity in frame.ids})
    own = [int(name) for name in names if re.fullmatch("[0-9]{1,15}", name)]
    if len(set(own)) < len(names):  # so too if there is a `7` and a `007`
        own = list(range(1, len(names) + 1))
    return dict(zip(names, own, strict=True))


def label_rows(frames: Sequence[ScalabelFrame]) -> Doubles:
    """Frame (from 1), identity as a number, x1, y1, x2, y2 `[N, 6]` of all labels of a video."""
    identities = numbered(frames)
    rows = [
        (frame.index + 1, identities[identity], *box)
        for frame in frames for identity, box in zip(frame.ids, frame.xyxy, strict=True)
    ]  # fmt: skip
    return np.array(rows, dtype=np.float64).reshape(-1, 6)


def category(name: str) -> str:
    """A category by its name of today; `person` is the pedestrian of early files, and COCO's."""
    return _OLD_NAMES.get(name, name)


def find_videos(
    root: Path, split: str | None = None, on_error: ErrorHandler = raise_error
) -> list[Video]:
    """Videos of a split, of all splits when none is given, in order of name.

    `root` is the folder of `images/track` and `labels/box_track_20` or the one around it; the
    images or the labels alone will do, and so will one label file. Label files of a whole split
    are read, with `on_error` as in `read_scalabel`, and for a video that is in two splits. Raises
    `InputError` when there is nothing.
    """
    if not root.exists():
        raise InputError(f"{root} does not exist; give the folder that holds the data set")
    places = [
        (root / base / _IMAGES, [root / base / name for name in _LABEL_FOLDERS]) for base in _BASES
    ]
    for image_place, label_places in (*places, (root, [root])):
        folders = [f for part in _parts(image_place, split) for f in subfolders(part)]
        images = dict[str, Path]()
        for folder in filter(image_names, folders):
            _refuse_twice(folder.name, images.get(folder.name), folder, on_error)
            images[folder.name] = folder
        labels: dict[str, tuple[Path, int | None]] = {}
        for place in label_places:
            labels |= _labels(place, split, on_error)
        if images or labels:
            return [
                Video(name, images.get(name), *labels.get(name, (None, None)))
                for name in sorted({*images, *labels})
            ]
    part = split or "SPLIT"
    raise InputError(f"no video of bdd100k in {root}: wanted images/track/{part}/VIDEO or "
                     f"labels/box_track_20/{part}/VIDEO.json")


def is_root(root: Path) -> bool:
    """Whether a folder has the layout of BDD100K tracking."""
    places = (_IMAGES, *_LABEL_FOLDERS)
    return any((root / base / place).is_dir() for base in _BASES for place in places)


def _labels(
    place: Path, split: str | None, on_error: ErrorHandler
) -> dict[str, tuple[Path, int | None]]:
    """Label file of each video and its labelled frames; None for a file of its own, unopened."""
    paths = [place] if place.is_file() else []
    paths += [file for part in _parts(place, split) for file in sorted(part.glob("*.json"))]
    names = (f"{split}.json", f"box_track_{split}.json")
    paths += [place / name for name in names if (place / name).is_file()]
    found: dict[str, tuple[Path, int | None]] = {}
    for file in paths:
        if file == place or file.stem.removeprefix("box_track_") in ("train", "val", "test"):
            videos = read_scalabel(file, on_error)
            found |= {name: (file, len(frames)) for name, frames in videos.items()}
        elif not file.stem.endswith("_cocofmt"):
            other = found.get(file.stem, (None, 0))[0]
            if other and other.stem == file.stem:  # not the file of a whole split
                _refuse_twice(file.stem, other, file, on_error)
            found[file.stem] = file, None
    return found


def _refuse_twice(name: str, other: Path | None, path: Path, on_error: ErrorHandler) -> None:
    if other:
        on_error(InputError(f"{name} is there twice, {other} and {path}; give one split"))


def _parts(place: Path, split: str | None) -> list[Path]:
    """The folders of a split at `place`, which may be one itself."""
    if split is None:
        return [place, *subfolders(place)]
    return [place] if place.name == split else [place / split]


def _frames(path: Path, on_error: ErrorHandler) -> Iterator[ScalabelFrame]:
    try:
        data = files.read_json(path)
        entries = data.get("frames") if isinstance(data, dict) else data
        if not isinstance(entries, list):
            raise InputError(f'{path} is not a label file: wanted a list of frames, or "frames"')
    except InputError as error:
        on_error(error)
        return
    for position, entry in enumerate(entries):
        try:
            yield _frame(entry)
        except (ValueError, OverflowError) as error:  # an InputError too: a name that leads away
            name = entry.get("name") if isinstance(entry, dict) else None
            named = isinstance(name, str) and name.isprintable() and name
            on_error(InputError(f"{path}, frame {named or position}: {error}"))


def _frame(entry: Any) -> ScalabelFrame:
    """Raises `ValueError` for what is missing or wrong."""
    name = files.safe_path(files.identity(entry, "name"), "the name")
    stem, _, number = PurePosixPath(name).stem.rpartition("-")
    video = entry.get("videoName") or entry.get("video_name") or stem
    if not video:
        raise ValueError("videoName is missing")
    labels = files.checked(entry.get("labels") or [], "labels", list)
    labels = [label for label in labels if not _without_box(label)]
    ids = tuple(files.identity(label, "id") for label in labels)
    if double := {one for one in ids if ids.count(one) > 1}:
        raise ValueError(f"id {min(double)} is there twice")
    categories = tuple(files.field(label, "category", str) for label in labels)
    video = files.safe_name(files.checked(video, "videoName", str), "videoName")
    index = entry.get("frameIndex", entry.get("index"))
    if index is None and number.isascii() and number.isdecimal():
        index = int(number) - 1  # of its name, from 1
    if type(index) is not int or not 0 <= index < FRAMES.value:
        raise ValueError(f"frameIndex is {files.shown(index)}, not a whole number from 0")
    return ScalabelFrame(
        name=name, video=video, index=index,
        xyxy=np.array([_box(label) for label in labels], dtype=np.float64).reshape(-1, 4),
        categories=tuple(map(category, categories)),
        ids=ids,
        ignored=_flags(labels, "ignored") | np.isin(categories, list(IGNORED_CATEGORIES)),
        crowd=_flags(labels, "crowd"),
        scores=np.array([_score(label) for label in labels], dtype=np.float64),
    )  # fmt: skip


def _without_box(label: Any) -> bool:
    """Whether it is a label of another task: lanes, masks, boxes in space."""
    other = ("poly2d", "rle", "box3d", "graph")
    return isinstance(label, dict) and not label.get("box2d") and any(map(label.get, other))


def _box(label: Mapping[str, Any]) -> list[float]:
    box = files.field(label, "box2d", dict)
    what = f"the box2d of id {label['id']}"
    if missing := [key for key in _CORNERS if key not in box]:
        raise ValueError(f"{what} has no {', '.join(missing)}")
    return files.numbers([box[key] for key in _CORNERS], what)


def _flags(labels: Sequence[Mapping[str, Any]], name: str) -> Flags:
    every = (files.checked(label.get("attributes") or {}, "attributes", dict) for label in labels)
    marks = (of.get(name, of.get(name.capitalize())) for of in every)
    return np.array([files.flag(mark, name) for mark in marks], dtype=bool)


def _score(label: Mapping[str, Any]) -> float:
    score = label.get("score")
    return math.nan if score is None else files.numbers([score], "score")[0]
