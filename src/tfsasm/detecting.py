"""`tfsasm detect`: a detector over a video or a data set, and its boxes kept for later runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tfsasm import jobs
from tfsasm.data.sequences import Sequence, sequences
from tfsasm.detect import ProposalSource, default_settings, detector
from tfsasm.detect.det_db import components, split_key, write_det_db
from tfsasm.detect.journal import Found, Journal
from tfsasm.errors import InputError, TruncatedInput
from tfsasm.files import atomic_path, check_folder, check_output
from tfsasm.pipeline import ahead
from tfsasm.proposals import Proposals
from tfsasm.video import Frame, open_source

OK, TRUNCATED, INTERRUPTED = 0, 3, 130

_OFFICIAL = {
    "dancetrack": "DanceTrack", "mot15": "MOT15", "mot16": "MOT16", "mot17": "MOT17",
    "mot20": "MOT20", "sportsmot": "SportsMOT", "bdd100k": "BDD100K",
}  # fmt: skip
_AHEAD = 4  # frames decoded in advance
_CUT = "cut short: "


@dataclass(frozen=True)
class Part:
    """A video to go through."""

    name: str
    source: Path
    folder: str | None
    """What keys of its frames begin with; None: the place of the frame itself."""
    length: int | None
    """Frames, where that is known."""


def run_detection(job: jobs.Detect, console: Console, errors: Console) -> int:
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


def parts_of(job: jobs.Detect) -> list[Part]:
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


def folder_of(sequence: Sequence) -> str:
    """What the keys of a sequence begin with: `DanceTrack/train/dancetrack0001/img1`.

    Data set, folder around the sequence and name, wherever on this machine they lie.
    """
    place = sequence.source.resolve() if sequence.source else Path()
    inner = "img1" if place.name == "img1" else ""
    above = (place.parent if inner else place).parent
    whole = _OFFICIAL.get(sequence.dataset, above.parent.name)
    return "/".join(filter(None, (whole, above.name, sequence.name, inner)))


def check_outputs(job: jobs.Detect, parts: list[Part]) -> None:
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


def as_lines(proposals: Proposals, width: int, height: int) -> list[str]:
    """`"left,top,width,height,score\\n"` in pixels: hundredths, scores in ten-thousandths."""
    boxes = proposals.boxes.double().numpy() * np.array([width, height, width, height])
    sizes = boxes[:, 2:].clip(min=0.01)  # no box of nothing
    rows = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, sizes], axis=1).tolist()
    return [
        f"{left:.2f},{top:.2f},{w:.2f},{h:.2f},{score:.4f}\n"
        for (left, top, w, h), score in zip(rows, proposals.scores.tolist(), strict=True)
    ]


def key_of(part: Part, frame: Frame) -> str:
    """The name of a frame in a det_db: its path with the suffix `.txt`.

    Of a video, which has no paths, one is made of its name and the number.
    """
    if re.search(r"#\d+$", frame.name):
        return f"{part.folder or part.name}/img1/{frame.number:08d}.txt"
    prefix, stem = split_key(frame.name)
    return "/".join([*components(prefix if part.folder is None else part.folder), f"{stem}.txt"])


def write(journal: Journal, output: Path, parts: list[Part]) -> tuple[int, int]:
    """Write all that was found, as the suffix says; returns the numbers of frames and boxes."""
    count = [0, 0]

    def counted() -> Iterator[Found]:
        for found in journal.frames():
            count[0] += 1
            count[1] += len(found.lines)
            yield found

    if output.suffix.lower() == ".json":
        write_det_db(output, ((found.key, found.lines) for found in counted()))
    elif output.suffix:
        _write_mot(output, counted())
    else:
        empty = dict.fromkeys(part.name for part in parts)
        for name, of_name in groupby(counted(), lambda found: found.sequence):
            _write_mot(output / f"{name}.txt", of_name)
            empty.pop(name)
        for name in empty:
            _write_mot(output / f"{name}.txt", iter(()))
    return count[0], count[1]


def _write_mot(path: Path, frames: Iterator[Found]) -> None:
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for found in frames:
            file.writelines(f"{found.number},-1,{line.strip()},-1,-1,-1\n" for line in found.lines)


def _single(source: Path) -> Part:
    if not source.exists():
        raise InputError(f"{source} does not exist; give a video or a folder of images. What is "
                         "live is for tfsasm track")
    names = [part for part in source.resolve().parts if part != "img1"]
    return Part(source.stem if source.is_file() else names[-1], source, None, None)


def _detect_all(
    parts: list[Part], find: ProposalSource, journal: Journal, errors: Console, *, quiet: bool
) -> None:
    lengths = [part.length or 0 for part in parts]
    with _progress(errors, sum(lengths), quiet=quiet) as step:
        for part in parts:
            if part.name in journal.finished:
                step(part.name, part.length or 0, None)
                continue
            first = journal.begun[1] if journal.begun and journal.begun[0] == part.name else 1
            journal.finish(part.name, _detect(part, first, find, journal, step))


def _detect(
    part: Part, first: int, find: ProposalSource, journal: Journal,
    step: Callable[[str, int, int | None], None],
) -> list[str]:
    """Look at one video from frame `first` on; returns what is to be told of it."""
    notes = []
    with open_source(part.source, start=first) as source:
        whole = None if part.length or source.count is None else source.count + first - 1
        step(part.name, first - 1, whole)
        try:
            with closing(ahead(source, _AHEAD)) as frames:
                for frame in frames:
                    height, width = frame.image.shape[:2]
                    lines = as_lines(find(frame), width, height)
                    journal.add(Found(part.name, frame.number, key_of(part, frame), lines))
                    step(part.name, 1, None)
        except TruncatedInput as cut:
            notes.append(f"{_CUT}{cut}")
        return [*source.problems, *notes]


@contextmanager
def _progress(
    errors: Console, total: int, *, quiet: bool
) -> Iterator[Callable[[str, int, int | None], None]]:
    """A function to tell it which video is looked at, how many frames were, how many there are."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())
    with Progress(*columns, console=errors, disable=quiet) as bar:
        task = bar.add_task("detecting", total=total or None)

        def step(name: str, frames: int, whole: int | None) -> None:
            bar.update(task, description=f"detecting {name}", advance=frames)
            if whole:
                bar.update(task, total=whole)

        yield step


def _digest(path: Path | None) -> str | None:
    """What tells one file of weights from another."""
    if path is None:
        return None
    if not path.is_file():
        return str(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
