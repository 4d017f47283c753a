"""One video of `tfsasm track`, from its first frame to its last, and what writes its results."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import supervision as sv
from rich.console import Console

from tfsasm.cli import INTERRUPTED, OK, TRUNCATED
from tfsasm.cli.options import at_least, spec_of
from tfsasm.cli.progress import progress, tracked_line
from tfsasm.detection.detectors import Detector, NoDetector, default_settings, detector
from tfsasm.detection.stored import open_detections
from tfsasm.detection.yolox import NAMES
from tfsasm.errors import InputError, TruncatedInput
from tfsasm.files import TRACKED, check_distinct, check_output
from tfsasm.processes import check_threads
from tfsasm.runtime.exported import read_manifest
from tfsasm.tracking.appearance.embedders import default_name, embedder
from tfsasm.tracking.appearance.tracker import AppearanceTracker
from tfsasm.tracking.baselines import ClassicTracker
from tfsasm.tracking.config import TrackerConfig, preset
from tfsasm.tracking.named import QuerySpec
from tfsasm.tracking.query import QueryTracker
from tfsasm.tracking.report import ReportFile
from tfsasm.tracking.results import (
    CocoFile,
    CsvFile,
    CvatFile,
    FiftyOneFile,
    JsonFile,
    MotFile,
    ResultFile,
)
from tfsasm.tracking.run import threads_of_a_part, track_video
from tfsasm.tracking.streams import Together
from tfsasm.video.addresses import public_address
from tfsasm.video.annotate import Annotator
from tfsasm.video.prefetch import background_calls
from tfsasm.video.source import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Frame, Source, open_video
from tfsasm.video.torchcodec import Opener, opener
from tfsasm.video.window import Window, WindowClosed
from tfsasm.video.writer import VideoWriter

if TYPE_CHECKING:
    from tfsasm.cli.track import Kind, Options

AnyTracker = QueryTracker | AppearanceTracker | ClassicTracker

Write = Callable[[Frame, sv.Detections], object]

SUFFIXES: dict[Kind, str] = {
    "video": f"{TRACKED}.mp4", "images": TRACKED, "mot": ".mot.txt", "json": ".json", "csv": ".csv",
    "report": ".report.html", "coco": ".coco.json", "cvat": ".cvat.xml",
    "fiftyone": ".fiftyone.json",
}  # fmt: skip
"""What the file of a kind is called after the name of its video."""

JOURNAL = "track.partial"
"""The name of what says, beside the results of many videos, which are done."""

_OF_FILES = {*VIDEO_SUFFIXES, *IMAGE_SUFFIXES, ".txt", ".json", ".csv", ".html", ".xml"}
"""Suffixes of an output that is no folder."""

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)")  # of fsspec

_DRAWN_LATE = 4  # frames that wait at most to be drawn and encoded


@dataclass(frozen=True)
class Job:
    """What tracks videos as the options say."""

    options: Options
    tracker: AnyTracker
    detector: Detector
    about: dict[str, Any]
    """What the JSON says of them."""
    together: Together | None = None
    """What encodes the frames with those of other videos."""


@dataclass(frozen=True)
class Step:
    """A frame that is tracked and written."""

    frames: int
    """So far."""
    length: int | None
    """Frames of the video, where that is known."""
    seen: tuple[Frame, sv.Detections] | None = None
    """The frame and its tracks; None before the first."""


@dataclass(frozen=True)
class Tracked:
    """What came of a video."""

    code: int
    """As the command would exit."""
    lines: tuple[str, ...]
    """What to print."""
    report: tuple[str, ...] = ()
    """What its detector has to say, of all its videos so far."""


def places(options: Options, source: str) -> dict[Kind, Path]:
    """The files of the results of a source: those named, and those of `save` in the folder.

    `output` may be the annotated video alone; without it results go beside the source. A file that
    is named is all that is written, unless a folder is given, too.
    """
    output = options.output
    files: dict[Kind, Path] = {}
    if options.mot_output:
        files["mot"] = options.mot_output
    if options.json_output:
        files["json"] = options.json_output
    if output and output.suffix.lower() in _OF_FILES and not output.is_dir():
        files["video"] = output
    if files and (output is None or "video" in files):
        return files
    path = Path(source)
    folder = output or (path.parent if path.exists() else Path())
    if path.exists():
        path = Path(os.path.abspath(path))  # a link has the name that it is given by
        path = path.parent if path.name == "img1" else path
        name = path.stem if path.is_file() else path.name
    else:
        address = public_address(source).partition("?")[0]
        name = f"camera-{source}" if source.isdecimal() else urlsplit(address).path.split("/")[-1]
        name = re.sub(r"[^\w.-]+", "-", name) or "stream"
    return {kind: folder / f"{name}{SUFFIXES[kind]}" for kind in options.save} | files


def without_results(sources: Sequence[str]) -> list[str]:
    """Without what earlier runs have left beside the others: a shell names it for `clips/*`."""
    left = {os.path.join(source, "..", JOURNAL) for source in sources}
    for name in (stem for source in sources for stem in (source, os.path.splitext(source)[0])):
        left |= {name + suffix for suffix in SUFFIXES.values()}
    known = {*map(os.path.normpath, left)}
    return [source for source in sources if os.path.normpath(source) not in known]


def address_of(output: Path | None) -> str | None:
    """The address that an output is, of which a path has kept one slash; None for a folder."""
    if output is None or not (found := _ADDRESS.fullmatch(output.as_posix())):
        return None
    scheme, rest = found.groups()
    return f"{scheme}://{'/' if scheme in ('file', 'local') else ''}{rest}"


def as_written(kind: Kind, path: Path) -> str:
    """What `VideoWriter` is to write."""
    return f"{path}/" if kind == "images" else str(path)


def check(options: Options, sources: Sequence[str], kept: Sequence[dict[Kind, Path]]) -> None:
    """Refuse before any work what could not be done after it."""
    from tfsasm.video.window import check_display

    opener_of(options)
    at_least(options, 1, "batch_encode", "streams")
    check_threads(options.threads, "--threads")
    at_least(options, 0, "reconnect")
    if not sources:
        raise InputError("give a video: tfsasm track video.mp4")
    if options.detections is not None and len(sources) > 1:
        raise InputError(f"--detections are of one video, and there are {len(sources)}")
    if options.show:
        check_display()
    elif not any(kept):
        raise InputError(f"nothing to write: --save takes {', '.join(SUFFIXES)}")
    everything = [path for files in kept for path in files.values()]
    named = {options.output, options.mot_output, options.json_output}.intersection(everything)
    if len(sources) > 1 and named:
        raise InputError(f"{named.pop()} is one file, and there are {len(sources)} videos; give a "
                         "folder as --output, and --save what to write")  # fmt: skip
    if len(sources) > 1 and len(set(everything)) < len(everything):
        raise InputError("two of the videos have the same name, so the same results; track them "
                         "one by one, with an --output of its own each")  # fmt: skip
    if options.save != type(options).save and (lost := {*options.save}.difference(*kept)):
        raise InputError(f"nowhere to --save {', '.join(sorted(lost))}: what is named by file is "
                         "all that is written, unless --output is a folder")  # fmt: skip
    inputs = (*sources, options.weights, options.detections, options.detector_weights,
              options.embedder_weights)  # fmt: skip
    check_distinct(everything, inputs)
    for files in kept:
        for kind, path in files.items():
            if kind in ("video", "images"):
                VideoWriter(as_written(kind, path), None, overwrite=options.overwrite)  # not yet
            else:
                check_output(path, overwrite=options.overwrite)


def load_job(options: Options, sources: Sequence[str], given: Detector | None = None) -> Job:
    """The tracker and the detector of the options, unless one is `given`."""
    finder = given or _open_detector(options, sources)
    spec = spec_of(options)
    about: dict[str, Any]
    if isinstance(spec, QuerySpec):
        about = {"runtime": options.runtime, "weights": options.weights or "tiny",
                 "preset": options.preset}  # fmt: skip
        tracker: AnyTracker = _query_tracker(options, spec.config)
    else:
        embed, about = None, {"tracker": options.tracker}
        if options.tracker == "appearance":
            embed = embedder(options.embedder, options.embedder_weights, options.embedder_set)
            about = {"embedder": options.embedder or default_name(options.embedder_weights)}
        tracker = spec.make(None, embed)
        _limit_threads(options.threads or 1)  # its tables are small
    return Job(options, tracker, finder, about | {"method": spec.parameters()})


def _open_detector(options: Options, sources: Sequence[str]) -> Detector:
    """Stored detections or a live detector, whichever is given."""
    if options.detections is not None:
        return open_detections(
            options.detections, source_name=str(Path(sources[0]).resolve()),
            skip_bad=options.skip_bad_detections, classes=options.classes,
        )  # fmt: skip
    if options.detector is None:
        return NoDetector()
    changes = options.detector_set
    if options.detector in NAMES:  # it works beside the tracker, and leaves it a core
        changes = (f"threads={options.threads or max(1, cores() // 2)}", *changes)
    # The devices of another runtime have names of their own.
    given = options.runtime == "torch" or options.device == "cpu"
    settings = default_settings(
        options.detector, score_threshold=options.detector_score, changes=changes,
        classes=options.classes, device=options.device if given else "auto",
    )  # fmt: skip
    return detector(options.detector, options.detector_weights, settings)


def _query_tracker(options: Options, config: TrackerConfig) -> QueryTracker:
    from tfsasm.tracking.load import load

    weights, threads = options.weights or "tiny", options.threads
    in_pytorch = options.runtime == "torch"
    if not in_pytorch and threads is None:
        threads = threads_of_a_part(read_manifest(Path(weights)).parameters, cores())
    tracker = load(
        weights, config, runtime=options.runtime, device=options.device,
        short_side=options.short_side, max_side=options.max_side, precision=options.precision,
        exact=in_pytorch and preset(options.preset).exact and options.precision == "auto",
        threads=threads or 1,
    )  # fmt: skip
    _limit_threads(threads or threads_of_a_part(tracker.network.parameters, cores()))
    return tracker


def cores() -> int:
    """Those that PyTorch would use, where it is loaded."""
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch else os.cpu_count() or 1


def _limit_threads(threads: int) -> None:
    """PyTorch's threads, where it is loaded: by a network, a detector or an embedder."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)


def track_one(job: Job, text: str, files: Mapping[Kind, Path], errors: Console) -> Tracked:
    """Track a video with a progress bar. See `steps`."""
    began = time.perf_counter()
    with (
        closing(steps(job, text, files)) as video,
        progress(errors, "{task.fields[rate]}", quiet=job.options.quiet) as bar,
    ):
        task = bar.add_task("tracking", total=None, rate="")
        step = next(video)
        while not isinstance(step, Tracked):
            try:
                rate = f"{step.frames / (time.perf_counter() - began):5.1f} fps"
                bar.update(task, completed=step.frames, total=step.length,
                           rate=f"{rate} {len(step.seen[1]) if step.seen else 0:3} tracks")
                step = next(video)
            except KeyboardInterrupt as stop:  # while the bar is drawn
                step = video.throw(stop)
        return step


def steps(job: Job, text: str, files: Mapping[Kind, Path]) -> Generator[Step | Tracked, None, None]:
    """Track to the end, to the damage or to Ctrl-C; what was done until then counts.

    The last thing it yields is what came of it, when all files are in place. Raises `InputError`.
    """
    options = job.options
    frames, identities, code, notes = 0, set[int](), OK, list[str]()
    with ExitStack() as stack:
        source = stack.enter_context(open_video(
            text, start=options.start, end=options.end, stride=options.stride,
            order=preset(options.preset).order, reconnect=options.reconnect,
            decode=opener_of(options),
        ))  # fmt: skip
        outputs = _open_outputs(job, text, source, files, stack)
        yield Step(0, source.count)
        began = time.perf_counter()
        try:
            for frame, tracks in track_video(
                job.together.tracker() if job.together else job.tracker, source, job.detector,
                batch=options.batch_encode, together=job.together,
            ):  # fmt: skip
                frames += 1  # first, for Ctrl-C may come while the frame is written
                identities.update(np.asarray(tracks.tracker_id).tolist())
                for write in outputs:
                    write(frame, tracks)
                yield Step(frames, source.count, (frame, tracks))
        except TruncatedInput as cut:
            code, notes = TRUNCATED, [f"cut short: {cut}"]
        except (WindowClosed, KeyboardInterrupt) as stop:
            code = OK if isinstance(stop, WindowClosed) else INTERRUPTED
            notes = ["stopped; the files hold what was done so far"]
        rate = frames / (time.perf_counter() - began)
    if frames and not identities:
        hint = "try --detector yolox-s, or --detector-score 0.05"
        if options.detections is not None:
            hint = f"is {options.detections} of this video?"
        notes.append(f"nothing was tracked; {hint}")
    written = [path for kind, path in files.items() if frames or kind not in ("video", "images")]
    yield Tracked(code, (
        tracked_line(frames, len(identities), rate),
        *(f"wrote {path}" for path in written), *notes,
    ))  # fmt: skip


def opener_of(options: Options) -> Opener:
    """What opens the video files. Raises `InputError`."""
    device = options.device if options.runtime == "torch" else "cpu"  # others have their own names
    return opener(options.decoder, device)


def _open_outputs(
    job: Job, text: str, source: Source, files: Mapping[Kind, Path], stack: ExitStack
) -> list[Write]:
    """What writes a frame, a function for each of the outputs; `stack` closes them."""
    tracker, overwrite = job.tracker, job.options.overwrite
    method, label = preset(job.options.preset), source.label
    names = getattr(tracker, "class_names", {}) or getattr(job.detector, "class_names", {})
    several = len(names) > 1  # else its name says nothing
    result_files: dict[Kind, Callable[..., ResultFile]] = {
        "mot": partial(MotFile, first_id=method.first_id, scores=method.scores, classes=several),
        "json": partial(JsonFile, about={"source": label, "fps": source.fps, **job.about}),
        "csv": CsvFile,
        "report": partial(
            ReportFile, title=Path(label).name or label, video=files.get("video"),
            rate=source.fps, source=Path(text) if Path(text).is_file() else None,
            tracker=None if isinstance(tracker, ClassicTracker) else tracker,
            aspect=float(source.aspect),
        ),
        "coco": partial(CocoFile, source=label),
        "cvat": partial(CvatFile, source=label, length=source.length),
        "fiftyone": partial(FiftyOneFile, source=label),
    }  # fmt: skip

    def drawing(show: Callable[[np.ndarray, float | None], object]) -> Write:
        annotator = Annotator(names=several)
        return lambda frame, tracks: show(annotator.annotate(frame.image, tracks), frame.time)

    writers: list[Write] = []
    for kind, path in files.items():
        if kind in ("video", "images"):
            video = stack.enter_context(VideoWriter(
                as_written(kind, path), source.rate, sound=source.sound, aspect=source.aspect,
                overwrite=overwrite,
            ))  # fmt: skip
            draw = background_calls(drawing(video.write), _DRAWN_LATE)
            writers.append(stack.enter_context(draw))
        else:
            file = result_files[kind](path, overwrite=overwrite)
            writers.append(stack.enter_context(file).write)
    if job.options.show:
        window = stack.enter_context(Window(label))
        writers.append(drawing(lambda image, _: window.show(image)))
    return writers
