"""`tfsasm detect`: find people in a video or a data set, and store the boxes for later runs."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console

from tfsasm.cli import FAILED, INTERRUPTED, OK, TRUNCATED
from tfsasm.cli.options import Dataset, EngineOptions, OptionalFolder, Settings, make_engine
from tfsasm.cli.progress import event_progress, print_lines, progress
from tfsasm.errors import InputError
from tfsasm.experiments.pool import Event, Finished, Work, run_sequences
from tfsasm.files import check_folder, check_output, sha256

if TYPE_CHECKING:
    from tfsasm.detection.detectors import Detector
    from tfsasm.detection.run import Found, Video


@dataclass(frozen=True, kw_only=True)
class Options(EngineOptions):
    """Find people in a video or a data set, and store the boxes for later runs.

    A run that was stopped or killed continues when it is given again: OUTPUT.partial, beside the
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
    root: OptionalFolder = None
    """Folder of the data set, or of one of its splits."""
    split: str | None = None
    """Its subfolder, such as train, val or test; by default all."""
    sequences: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = ()
    """Only these."""
    detector_weights: Path | None = None
    """File of a YOLOX: .onnx, or a PyTorch checkpoint (.pth, .pth.tar) as of ByteTrack's."""
    detector_set: Settings = ()
    """Single settings of the detector, as NAME=VALUE."""
    classes: Annotated[tuple[str, ...], tyro.conf.arg(metavar="CLASS")] = ()
    """Only boxes of these, by the detector's own names (of its file, or COCO's: person car) or for
    YOLOX by number; by default people."""
    score: float = 0.1
    """Boxes below this score are left out. MOTRv2's own det_db begins at 0.05."""
    overwrite: bool = False
    """Replace output that exists, and the partial file of another run."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ..., or auto."""
    workers: int | None = None
    """Videos at a time, each by a process. By default one, and with --engine ray as many as the
    cluster has room for. A run of several goes on with whole videos."""
    quiet: bool = False
    """No progress bar."""


def run(
    options: Options, console: Console, errors: Console, *, detector: Detector | None = None
) -> int:
    """Detect, or continue what was begun, and write the boxes when all is done.

    `detector` finds the boxes instead of what the options name. Raises `InputError` before any
    work for what cannot be read or written.
    """
    from tfsasm.detection import detectors
    from tfsasm.detection.run import Journal, detect, write_found

    videos, output, weights = _videos(options), options.output, options.detector_weights
    _check_output(options, videos)
    settings = detectors.default_settings(
        options.detector, score_threshold=options.score, device=options.device,
        changes=options.detector_set, classes=options.classes,
    )  # fmt: skip
    about = {
        "detector": options.detector,
        "weights": sha256(weights) if weights and weights.is_file() else weights and str(weights),
        "settings": asdict(settings) | {"device": ""},
        "sources": [str(video.source.resolve()) for video in videos],
    }
    engine = make_engine(options, (weights,))
    place = output.with_name(f"{output.name}.partial")
    stopped = f"stopped; {place} holds what is done, and the same command continues it"
    report = list[str]()
    if engine.workers == 1:
        detector = detector or detectors.detector(options.detector, weights, settings)
        with progress(errors, quiet=options.quiet) as bar:
            total = sum(video.length or 0 for video in videos)
            task = bar.add_task("detecting", total=total or None)

            def step(name: str, frames: int, length: int | None) -> None:
                bar.update(task, description=f"detecting {name}", advance=frames)
                if length:
                    bar.update(task, total=length)

            try:
                outcome = detect(
                    videos, detector, output, place, about, overwrite=options.overwrite, step=step
                )
            except KeyboardInterrupt:
                print_lines(errors, stopped)
                return INTERRUPTED
        report = detector.report()
    else:
        make = partial(_make_work, options.detector, weights, settings, videos, detector)
        journal = Journal(place, about, overwrite=options.overwrite, whole=True)
        lengths = {one.name: one.length for one in videos if one.name not in journal.finished}
        with journal, event_progress(errors, lengths, "videos", quiet=options.quiet) as show:

            def note(event: Event) -> None:
                show(event)
                if isinstance(event, Finished):
                    found, notes = event.value
                    for record in found.records:
                        journal.add(record)
                    journal.finish(event.name, found.notes)
                    found.records.clear()  # the run would keep them all
                    report.extend(note for note in notes if note not in report)

            sizes = {name: length or 0 for name, length in lengths.items()}
            run = run_sequences(list(lengths), make, sizes, engine, note)
            print_lines(console, *(f"failed: {name}: {why}" for name, why in run.failures.items()))
            if run.interrupted or run.failures:
                print_lines(errors, stopped)
                return INTERRUPTED if run.interrupted else FAILED
            outcome = write_found(journal, output, videos, overwrite=options.overwrite)
        journal.remove()
    print_lines(console, *outcome.notes, *report,
                f"wrote {outcome.boxes:,} boxes of {outcome.frames:,} frames: {output}")
    return TRUNCATED if outcome.truncated else OK


def _make_work(
    name: str, weights: Path | None, settings: Any, videos: Sequence[Video],
    detector: Detector | None,
) -> Work:
    """What detects in one of the videos."""
    from tfsasm.detection import detectors
    from tfsasm.detection.run import detect_whole

    made = detector or detectors.detector(name, weights, settings)
    by_name = {one.name: one for one in videos}

    def work(video: str) -> Generator[int, None, tuple[Found, list[str]]]:
        found = yield from detect_whole(by_name[video], made)
        return found, made.report()

    return work


def _videos(options: Options) -> list[Video]:
    """The videos of the options. Raises `InputError` for what is not there."""
    from tfsasm.datasets.sequences import sequences
    from tfsasm.detection.run import data_set_videos, single_video

    if (options.source is None) == (options.dataset is None):
        raise InputError("give what to detect in: --source VIDEO, or --dataset NAME --root DIR")
    if options.source is not None:
        return [single_video(Path(options.source))]
    if options.root is None:
        raise InputError(f"give the folder of {options.dataset}: --root DIR")
    return data_set_videos(
        sequences(str(options.dataset), options.root, options.split, options.sequences)
    )


def _check_output(options: Options, videos: list[Video]) -> None:
    """Refuse before any work what could not be written after it."""
    output, suffix = options.output, options.output.suffix.lower()
    if suffix not in ("", ".txt", ".json"):
        raise InputError(f"{output}: give a .json, a .txt or a folder")
    if suffix:
        check_output(output, overwrite=options.overwrite)
    if suffix == ".txt" and options.dataset:
        raise InputError(f"{output} can hold one sequence; give a folder, or a .json")
    if not suffix:
        if output.is_file():
            raise InputError(f"{output} is a file; give a folder, a .json or a .txt")
        check_folder(output)
        for video in videos:
            check_output(output / f"{video.name}.txt", overwrite=options.overwrite)
