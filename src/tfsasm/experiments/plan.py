"""What an experiment needs: sequences, detections and trackers, checked before any work."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfsasm.datasets.sequences import Sequence as DatasetSequence
from tfsasm.datasets.sequences import find_detections
from tfsasm.detection.detectors import Detector
from tfsasm.errors import InputError, first_few
from tfsasm.evaluation.result_files import Files, result_file
from tfsasm.files import check_folder
from tfsasm.motchallenge import read_detections
from tfsasm.tracking.config import PRESETS, Preset

if TYPE_CHECKING:
    from tfsasm.runtime.network import Network
    from tfsasm.tracking.appearance.embedders import Embedder
    from tfsasm.tracking.named import TrackerSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """One sequence: its images, and its detections unless a detector finds them."""

    sequence: DatasetSequence
    source: Path | None
    """Its images; None when they are not used."""
    detections: Path | None
    first: int = 1
    """The number of its first frame in the file of detections."""


@dataclass(frozen=True)
class Experiment:
    """All that a process needs to run trackers over any of the sequences; it can be pickled."""

    tasks: Mapping[str, Task]
    """By the name of the sequence."""
    trackers: Mapping[str, TrackerSpec]
    """By label."""
    folders: Mapping[str, Path]
    """Where the result files of each tracker go."""
    network: Callable[[], Network]
    """Loads that of all query trackers."""
    embedder: Callable[[], Embedder | None]
    """Loads that of all appearance trackers."""
    detector: Callable[[], Detector] | None = None
    """Loads a live one; None for stored detections."""
    min_score: float = -float("inf")
    """Detections below this score are left out."""
    skip_bad: bool = False
    """Leave out lines of detections that cannot be used."""
    comparison: bool = False
    """The seconds of each tracker count, so networks are warmed up and nothing is computed ahead;
    trackers without a network take stored detections as they are, not normalised by the image as
    `track_video` gives them; and a sequence of another length than expected fails."""
    form: Preset = PRESETS["default"]
    """How the images of a folder are ordered, and the first identity and scores in result files."""
    categories: bool = False
    """Whether result files hold the class of each track, as BDD100K counts them."""
    todo: Mapping[str, Sequence[str]] | None = None
    """Of each sequence that is not done, the labels of the trackers that have no result of it yet;
    None for all of all."""

    def files(self) -> dict[str, dict[str, Files]]:
        """By tracker, the files from which each sequence with ground truth is scored."""
        return {
            label: {
                name: Files(truth, result_file(folder, name), task.sequence.length)
                for name, task in self.tasks.items() if (truth := task.sequence.truth)
            }
            for label, folder in self.folders.items()
        }  # fmt: skip


def make_tasks(
    sequences: Sequence[DatasetSequence], *, detections: Path | None, source: Path | None,
    live: bool = False, images: bool = True, second_half: bool = False,
) -> dict[str, Task]:
    """The tasks of some sequences. Raises `InputError` for detections that are missing.

    `source` replaces the images of a single one. `live` tasks need no detections, and without
    `images` none are used. `second_half` are sequences whose detections are of whole videos. Boxes
    of frames that a sequence does not have are warned of.
    """
    if source is not None and len(sequences) != 1:
        raise InputError(
            f"--source is for one sequence, and there are {len(sequences)}; choose it by "
            "--sequences NAME"
        )
    if detections and detections.is_file() and detections.suffix == ".txt" and len(sequences) > 1:
        raise InputError(
            f"{detections} is of one sequence, and there are {len(sequences)}; give a folder of "
            "NAME.txt files or a det_db JSON, or choose one by --sequences"
        )
    tasks = {}
    for sequence in sequences:
        boxes = None if live else find_detections(detections, sequence)
        first = _second_half(boxes, sequence) if boxes and second_half else 1
        if boxes and not second_half:
            _warn_of_frames_beyond(boxes, sequence)
        tasks[sequence.name] = Task(
            sequence, (source or sequence.source) if images else None, boxes, first
        )
    return tasks


def without_images(
    trackers: Mapping[str, TrackerSpec], sequences: Sequence[DatasetSequence],
    source: Path | None, *, images: bool = True,
) -> tuple[dict[str, TrackerSpec], dict[str, str]]:
    """The trackers that can run on all sequences, and why the others cannot.

    Raises `InputError` where none can.
    """
    lacking = [one.name for one in sequences if one.source is None and source is None]
    if images and not lacking:
        return dict(trackers), {}
    why = f"there are none of {first_few(lacking)}" if images else "--no-images withholds them"
    skipped = {
        label: f"it needs images: {why}" for label, spec in trackers.items() if spec.needs_images
    }
    if len(skipped) == len(trackers):
        raise InputError(f"no tracker can run: {', '.join(skipped)}: it needs images: {why}")
    return {label: spec for label, spec in trackers.items() if label not in skipped}, skipped


def make_folders(place: Path, labels: Sequence[str], *, overwrite: bool) -> dict[str, Path]:
    """A folder for each tracker's result files. Raises `InputError` for files that are there."""
    folders = {label: place / re.sub(r"[^\w.,=-]", "_", label) for label in labels}
    if len(set(folders.values())) < len(folders):
        raise InputError(f"two trackers would share a folder: {', '.join(labels)}")
    for folder in folders.values():
        check_folder(folder)
        if not overwrite and any(folder.glob("*.txt")):
            raise InputError(f"{folder} has results; give another --output or --overwrite")
    return folders


def _warn_of_frames_beyond(boxes: Path, sequence: DatasetSequence) -> None:
    """Say it when boxes go on after the last frame: then those before are perhaps other frames."""
    if boxes.suffix.lower() == ".json":  # found by name, not by number
        return
    try:
        last = max(read_detections(boxes, skip_bad=True), default=0)
    except InputError:  # the sequence fails on its own, and the others go on
        return
    if last > sequence.length:
        log.warning(
            "%s has boxes up to frame %d, and %s has %d frames. If they are of the whole video and "
            "this is its second half, give --second-half; else the scores mean little",
            boxes, last, sequence.name, sequence.length,
        )  # fmt: skip


def _second_half(boxes: Path, sequence: DatasetSequence) -> int:
    """The frame of a whole video that is frame 1 of its second half, as ByteTrack's tools cut it.

    Of n frames the second half has those after frame n // 2 + 1. The length of the whole is the
    number of the last frame that has a box.
    """
    if boxes.suffix.lower() == ".json":
        raise InputError(f"--second-half takes MOT text, not {boxes}")
    frames = max(read_detections(boxes), default=0)
    cut = frames // 2 + 1
    if frames - cut != sequence.length:
        raise InputError(
            f"{boxes} ends with frame {frames}, so its second half has {max(frames - cut, 0)} "
            f"frames; {sequence.name} has {sequence.length}"
        )
    return cut + 1
