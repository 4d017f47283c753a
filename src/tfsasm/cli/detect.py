"""The options of `tfsasm detect` and `tfsasm detections`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from tfsasm.cli.options import Dataset, OptionalFile, OptionalName, Settings
from tfsasm.datasets.sequences import sequences
from tfsasm.detection.detectors import default_settings, detector
from tfsasm.detection.run import (
    _CUT,
    Journal,
    Part,
    _detect_all,
    _digest,
    _single,
    folder_of,
    write,
)
from tfsasm.errors import InputError
from tfsasm.files import check_folder, check_output


@dataclass(frozen=True)
class Detect:
    """Find people in a video or a data set, and store the boxes for later runs.

    A run that was stopped or killed goes on when it is given again: OUTPUT.partial, beside the
    output, holds what is done.

    Example: tfsasm detect --source video.mp4 --detector yolox-nano --output det.txt
    """

    detector: Annotated[str, tyro.conf.arg(metavar="NAME")]
    """yolox-nano, -tiny, -s, -m, -l or -x, or a Hugging Face model; see `tfsasm track --help`."""
    output: Path
    """.txt (MOT text) or .json (det_db, the format of MOTRv2); for a data set .json, or a folder
    for a NAME.txt per sequence."""
    source: Annotated[str | None, tyro.conf.arg(metavar="SOURCE")] = None
    """Video file or folder of images."""
    dataset: Annotated[Dataset | None, tyro.conf.arg(metavar="NAME")] = None
    """dancetrack, mot15, mot16, mot17, mot20, sportsmot, bdd100k, or mot for any MOT folders."""
    root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the data set, or of one of its splits."""
    split: OptionalName = None
    """Its subfolder, such as train, val or test; by default all."""
    sequences: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = ()
    """Only these."""
    detector_weights: OptionalFile = None
    """File of a YOLOX: .onnx, or a PyTorch checkpoint (.pth, .pth.tar) as of ByteTrack's."""
    detector_set: Settings = ()
    """Single settings of the detector, as NAME=VALUE."""
    score: float = 0.1
    """Boxes below this score are left out. MOTRv2's own det_db begins at 0.05."""
    overwrite: bool = False
    """Replace output that exists, and the partial file of another run."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ..., or auto."""
    quiet: bool = False
    """No progress bar."""

OK, TRUNCATED, INTERRUPTED = 0, 3, 130


def run_detection(job: Detect, console: Console, errors: Console) -> int:
    """Detect, or go on with what was begun, and write the boxes when all is done.

    Raises `InputError` before any work for what cannot be read or written.
    """
    parts = parts_of(job)
    check_outputs(job, parts)
    settings = default_settings(
        job.detector, score_threshold=job.score, device=job.device, changes=job.detector_set
    )
    about = {
        "detector": job.detector, "weights": _digest(job.detector_weights),
        "settings": asdict(settings) | {"device": ""},
        "sources": [str(part.source.resolve()) for part in parts],
    }  # fmt: skip
    find = detector(job.detector, job.detector_weights, settings)
    partial = job.output.with_name(f"{job.output.name}.partial")
    try:
        with Journal(partial, about, overwrite=job.overwrite) as journal:
            _detect_all(parts, find, journal, errors, quiet=job.quiet)
            frames, boxes = write(journal, job.output, parts)
    except KeyboardInterrupt:
        errors.print(f"stopped; {partial} holds what is done, and the same command goes on",
                     soft_wrap=True, highlight=False, markup=False)
        return INTERRUPTED
    partial.unlink()
    notes = [note for told in journal.finished.values() for note in told]
    for line in (*notes, *find.report(), f"wrote {boxes:,} boxes of {frames:,} frames: "
                                         f"{job.output}"):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    return TRUNCATED if any(_CUT in note for note in notes) else OK


def parts_of(job: Detect) -> list[Part]:
    """The videos that were asked for. Raises `InputError` for what is not there."""
    if (job.source is None) == (job.dataset is None):
        raise InputError("say what to look at: --source VIDEO, or --dataset NAME --root DIR")
    if job.source is not None:
        return [_single(Path(job.source))]
    if job.root is None:
        raise InputError(f"say where {job.dataset} is: --root DIR")
    chosen = sequences(str(job.dataset), job.root, job.split, job.sequences)
    if blind := [sequence.name for sequence in chosen if sequence.source is None]:
        raise InputError(f"{len(blind)} sequence(s) have no images: {', '.join(blind[:5])}; add "
                         "them, or choose others with --sequences")
    return [
        Part(sequence.name, sequence.source, folder_of(sequence), sequence.length)
        for sequence in chosen if sequence.source is not None
    ]  # fmt: skip


def check_outputs(job: Detect, parts: list[Part]) -> None:
    """Refuse before any work what could not be written after it."""
    output, suffix = job.output, job.output.suffix.lower()
    if suffix not in ("", ".txt", ".json"):
        raise InputError(f"{output}: give a .json, a .txt or a folder")
    if suffix:
        check_output(output, overwrite=job.overwrite)
    if suffix == ".txt" and job.dataset:
        raise InputError(f"{output} can hold one sequence; give a folder, or a .json")
    if not suffix:
        if output.is_file():
            raise InputError(f"{output} is a file; give a folder, a .json or a .txt")
        check_folder(output)
        for part in parts:
            check_output(output / f"{part.name}.txt", overwrite=job.overwrite)


def run(job: Detect, console: Console, errors: Console) -> int:
    """`tfsasm detect`."""
    return run_detection(job, console, errors)
