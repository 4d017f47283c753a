"""The sequences of a data set, whatever its layout: what is there of each, and where.

Nothing is decoded here. A sequence may lack its images, its truth or its detections; what
needs them reports that.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tfsasm.datasets import mot_folders
from tfsasm.datasets.bdd100k import HEIGHT, RATE, WIDTH, find_videos
from tfsasm.errors import InputError
from tfsasm.motchallenge import SeqInfo, read_detections, read_seqinfo, read_tracks
from tfsasm.video.images import frame_numbers

T = TypeVar("T")

log = logging.getLogger(__name__)

DATASETS = (*mot_folders.FOLDERS, "bdd100k")
"""Names of the data sets that consist of sequences."""


@dataclass(frozen=True)
class Sequence:
    """One video of a data set, as far as it is there."""

    name: str
    """Unique in its data set; the stem of result files."""
    dataset: str
    """One of `DATASETS`; `mot` is any folder of MOT sequence folders."""
    length: int
    """Frames."""
    width: int | None
    """Pixels."""
    height: int | None
    rate: float | None
    """Frames per second."""
    source: Path | None
    """Folder of images or a video; None where only annotations are."""
    truth: Path | None
    """Ground-truth file."""
    detections: Path | None
    """Detections that lie with it (`det/det.txt`)."""


def sequences(
    dataset: str, root: Path | str, split: str | None = None, names: tuple[str, ...] = (), *,
    public: mot_folders.PublicDetector | None = None,
) -> list[Sequence]:
    """The sequences of a split, in order of name; of all splits when none is given.

    `root` is the data set's folder, the folder around it, or that of one split. `names` chooses
    some; MOT17 names may leave the detector's suffix away. `public` chooses among MOT17's three
    copies, whose detections differ. Raises `InputError` for a data set, split or name that is not
    there, a name that is there twice, and a `seqinfo.ini` that cannot be used.
    """
    if dataset not in DATASETS:
        raise InputError(f"no data set {dataset!r}; there are {', '.join(DATASETS)}")
    if dataset == "bdd100k":
        videos = {video.name: video for video in find_videos(Path(root), split)}
        return [
            Sequence(
                video.name, dataset, video.length, WIDTH, HEIGHT, RATE, video.images, video.labels,
                detections=None,
            )
            for video in _chosen(videos, names)
        ]  # fmt: skip
    folders: dict[str, Path] = {}
    for folder in mot_folders.sequence_folders(dataset, Path(root), split, public):
        if other := folders.get(folder.name):
            raise InputError(f"{folder.name} is there twice, {other} and {folder}; give one split")
        folders[folder.name] = folder
    return [read_sequence(folder, dataset) for folder in _chosen(folders, names)]


def read_sequence(folder: Path, dataset: str = "mot") -> Sequence:
    """One MOT sequence folder.

    Without a `seqinfo.ini` that says so its length is the last image's number, or else the last
    frame that has a box; that is logged. Raises `InputError` when its length cannot be known, and
    for a `seqinfo.ini` that cannot be used.
    """
    info_file = folder / "seqinfo.ini"
    info = read_seqinfo(info_file) if info_file.is_file() else SeqInfo()
    source = mot_folders.image_folder(folder, dataset, info.images)
    truth, detections = (
        path if path.is_file() else None
        for path in (folder / "gt" / "gt.txt", folder / "det" / "det.txt")
    )
    length = info.length or _guess_length(folder, source, truth, detections)
    width, height = info.width, info.height
    if not (width and height):
        first = source and source / mot_folders.image_names(source)[0]
        width, height = (first and mot_folders.image_size(first)) or (None, None)
    rate = None if info.rate is None else float(info.rate)
    return Sequence(folder.name, dataset, length, width, height, rate, source, truth, detections)


def find_detections(given: Path | None, sequence: Sequence) -> Path:
    """Stored detections of a sequence: those beside it, or in `given`, a file or a folder.

    A folder holds `NAME.txt`, `NAME/det.txt`, `NAME/det/det.txt` or `NAME.json`; for MOT17 also
    under the name without the public detector's. A file may also be one inside the folder of each
    sequence. Raises `InputError` when there are none.
    """
    if given is None:
        if sequence.detections is None:
            raise InputError(
                f"{sequence.name} has no det/det.txt beside it; give where the boxes come from: "
                "--detections DIR or --detector yolox-nano"
            )
        return sequence.detections
    if not given.exists():
        for beside in (sequence.truth, sequence.detections):
            if beside and (inside := beside.parent.parent / given).is_file():
                return inside
        raise InputError(
            f"{given} does not exist, neither by itself nor in the folder of {sequence.name}; give "
            "a det_db JSON, a folder of detections, or a file that is in every sequence"
        )
    if not given.is_dir():
        return given
    forms = ("{}.txt", "{}/det.txt", "{}/det/det.txt", "{}.json")
    names = dict.fromkeys((sequence.name, mot_folders.video_name(sequence.name)))
    tried = [given / form.format(name) for name in names for form in forms]
    if found := next((path for path in tried if path.is_file()), None):
        return found
    raise InputError(f"no detections of {sequence.name} in {given}: wanted {sequence.name}.txt")


def _chosen(there: dict[str, T], names: tuple[str, ...]) -> list[T]:
    """Those of `names` that are there, or all without `names`. Raises `InputError` for another."""
    if not names:
        return list(there.values())
    chosen = [name for name in there if name in names or mot_folders.video_name(name) in names]
    known = {*chosen, *map(mot_folders.video_name, chosen)}
    if missing := [name for name in names if name not in known]:
        raise InputError(f"no sequence {', '.join(missing)}; there is {', '.join(there)}")
    return [there[name] for name in chosen]


def _guess_length(
    folder: Path, source: Path | None, truth: Path | None, detections: Path | None
) -> int:
    """Frames of a sequence that does not declare them."""
    if source:
        length = max(frame_numbers(mot_folders.image_names(source)))
        origin = f"that of {source.name}"
    else:
        numbers = read_tracks(truth).frame.tolist() if truth else []
        numbers += list(read_detections(detections)) if detections else []
        length, origin = max(numbers, default=0), "the last frame with a box"
    if not length:
        raise InputError(
            f"the length of {folder} is unknown: it has no images, no boxes, and no seqinfo.ini "
            "with a line such as seqLength=600"
        )
    log.warning("%s declares no length in a seqinfo.ini; it is %s, %d", folder, origin, length)
    return length
