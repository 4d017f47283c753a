"""Where the MOT family keeps its sequences: folders of `img1`, `gt/gt.txt` and `det/det.txt`.

DanceTrack, MOT15, MOT17, MOT20 and SportsMOT differ in what stands around such folders, and only
that is distinguished here. A root may be the data set, what holds it, or one of its splits.
"""

import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from PIL import ExifTags, Image

from tfsasm.errors import InputError
from tfsasm.files import read_text, safe_name
from tfsasm.video.images import image_names as images_in
from tfsasm.video.images import is_hidden

log = logging.getLogger(__name__)

PublicDetector = Literal["DPM", "FRCNN", "SDP"]
"""Whose detections a folder of MOT17 holds. Images and truth are the same in all three."""

FOLDERS = {
    "dancetrack": ("dancetrack",),
    "mot15": ("mot15", "2dmot2015"),
    "mot16": ("mot16",),
    "mot17": ("mot17",),
    "mot20": ("mot20",),
    "sportsmot": ("sportsmot", "sportsmot_publish"),
    "mot": (),
}
"""Names that the data sets' own folders go by, in lower case."""

NAMES = {
    "mot15": re.compile(r"(ADL-Rundle|AVG-TownCentre|ETH-|KITTI-\d|PETS09-S2L|TUD-|Venice-)\S*"),
    "mot16": re.compile(r"MOT16-\d\d(-\S+)?"),
    "mot17": re.compile(r"MOT17-\d\d(-\S+)?"),
    "mot20": re.compile(r"MOT20-\d\d(-\S+)?"),
    "dancetrack": re.compile(r"dancetrack\d{4}"),
    "sportsmot": re.compile(r"v_\S{11}_c\d{3}"),
}
"""What their sequences are called."""

_INSIDE = ("", "dataset", "images")  # SportsMOT has `dataset`, the training tools `images`

_MOT17 = re.compile(r"(MOT1[67]-\d\d)-(DPM|FRCNN|SDP)")

_PREFERRED = ("FRCNN", "SDP", "DPM")


def is_sequence(folder: Path) -> bool:
    """Whether a folder looks like one MOT sequence, however much of it is there."""
    parts = ("seqinfo.ini", "img1", "gt/gt.txt", "det/det.txt")
    return any((folder / part).exists() for part in parts)


def image_names(folder: Path) -> list[str]:
    """Names of the images in a folder, sorted as strings; none when it is no folder."""
    return sorted(images_in(folder, "natural")) if folder.is_dir() else []


def image_size(path: Path) -> tuple[int, int] | None:
    """Width and height of an upright image by the header of its file; None when it is not one."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            width, height = image.size
            lies = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
            return (height, width) if lies else (width, height)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def sequence_folders(
    dataset: str, root: Path, split: str | None = None, public: PublicDetector | None = None
) -> list[Path]:
    """Folders of the sequences of a split, of all splits when none is given, in order of name.

    Of MOT17's three folders per video one remains: the one with the detections of `public`, or
    whichever is there. Raises `InputError` when `root` holds no such split, saying what it holds.
    """
    found = all_folders(dataset, root, split)
    if dataset != "mot17":
        return found
    videos: dict[str, list[Path]] = {}
    for folder in found:
        videos.setdefault(video_name(folder.name), []).append(folder)
    return [_choose(video, folders, public) for video, folders in videos.items()]


def all_folders(dataset: str, root: Path, split: str | None = None) -> list[Path]:
    """The same with all of MOT17's folders."""
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give the one that holds the data set")
    bases = list(_bases(dataset, root))
    found = _listed(bases, split) if dataset == "sportsmot" else []
    if not found:
        found = next(filter(None, (_of_split(base, split) for base in bases)), [])
    if not found:
        raise InputError(_nothing(dataset, root, bases, split))
    return sorted(found, key=lambda folder: folder.name)


def dataset_of(name: str) -> str | None:
    """The data set whose sequences have names such as `name`; None for any other."""
    return next((dataset for dataset, form in NAMES.items() if form.fullmatch(name)), None)


def guess_dataset(folder: Path) -> str:
    """Whose sequence a folder is, by its name or those of the folders around it; else `mot`."""
    if name := dataset_of(folder.name):
        return name
    for part in reversed(folder.resolve().parts):
        for dataset, names in FOLDERS.items():
            if part.lower() in names:
                return dataset
    return "mot"


def listed_names(root: Path, split: str) -> list[str] | None:
    """What SportsMOT's `splits_txt/SPLIT.txt` names; None when there is no such list."""
    for base in _bases("sportsmot", root):
        for place in (base, base.parent):
            path = place / "splits_txt" / f"{split}.txt"
            if path.is_file():
                return [safe_name(name, f"the name in {path}") for name in read_text(path).split()]
    return None


def copies(folder: Path, dataset: str) -> list[Path]:
    """The folder, then the others of a MOT17 video: same images, same truth, other detections."""
    match = _MOT17.fullmatch(folder.name) if dataset == "mot17" else None
    others = [folder.with_name(f"{match[1]}-{name}") for name in _PREFERRED] if match else []
    return [folder, *(other for other in others if other != folder and other.is_dir())]


def image_folder(folder: Path, dataset: str, name: str) -> Path | None:
    """Where the images of a sequence are: in its subfolder `name` or in `img1`, or a copy's."""
    places = (copy / part for copy in copies(folder, dataset) for part in (name, "img1"))
    return next((place for place in places if image_names(place)), None)


def video_name(name: str) -> str:
    """The name of a sequence without the suffix of its public detections."""
    return match[1] if (match := _MOT17.fullmatch(name)) else name


def subfolders(folder: Path) -> list[Path]:
    """Folders in a folder, in order of name, without hidden ones and the system's.

    None when it is no folder.
    """
    if not folder.is_dir():
        return []
    shown = (child for child in folder.iterdir() if not is_hidden(child.name) and child.is_dir())
    return sorted(shown, key=lambda child: child.name)


def _bases(dataset: str, root: Path) -> Iterator[Path]:
    """Where the splits may be, nearest first."""
    named = [child for child in subfolders(root) if child.name.lower() in FOLDERS[dataset]]
    for place in (root, *named):
        yield from (place / inside for inside in _INSIDE if (place / inside).is_dir())


def _of_split(base: Path, split: str | None) -> list[Path]:
    direct = _sequences_in(base)
    if direct and split in (None, base.name):
        return direct
    # DanceTrack's archives are called train1 and train2.
    parts = [base / f"{split}{part}" for part in ("", "1", "2")] if split else subfolders(base)
    return [folder for part in parts for folder in _sequences_in(part)]


def _listed(bases: list[Path], split: str | None) -> list[Path]:
    """SportsMOT: the sequences that a list names, from any folder; a sport is a list too."""
    names = None if split is None else listed_names(bases[0], split)
    if names is None:
        return []
    there = {folder.name: folder for base in bases for folder in _of_split(base, None)}
    if missing := [name for name in names if name not in there]:
        lost = f"{len(missing)} sequence(s) that are not there, the first: {missing[0]}"
        log.warning("splits_txt/%s.txt names %s", split, lost)
    return [there[name] for name in names if name in there]


def _sequences_in(folder: Path) -> list[Path]:
    if is_sequence(folder):
        return [folder]
    return [child for child in subfolders(folder) if is_sequence(child)]


def _choose(video: str, folders: list[Path], public: PublicDetector | None) -> Path:
    by_suffix = {folder.name.removeprefix(f"{video}-"): folder for folder in folders}
    for suffix in (public,) if public else _PREFERRED:
        if suffix in by_suffix:
            return by_suffix[suffix]
    if public is None:
        return folders[0]
    there = ", ".join(folder.name for folder in folders)
    raise InputError(f"{video} has no detections of {public}; there is {there}")


def _nothing(dataset: str, root: Path, bases: list[Path], split: str | None) -> str:
    wanted = f"{root}/{split}/NAME" if split else f"{root}/NAME or {root}/SPLIT/NAME"
    children = [child for base in bases for child in subfolders(base)]
    if split and any(map(is_sequence, bases)):
        return f"{root} is one sequence; leave the split away"
    if split and any(map(is_sequence, children)):
        return f"{root} holds sequences, but no split {split!r}; leave the split away"
    splits = sorted({child.name for child in children if _sequences_in(child)})
    there = f"; there is {', '.join(splits)}" if splits else ""
    return (
        f"no sequence of {dataset} in {root}: wanted folders such as {wanted}, with img1, "
        f"gt/gt.txt or seqinfo.ini in them{there}"
    )
