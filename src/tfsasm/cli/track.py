"""`tfsasm track`: one video through a tracker, results as they come."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console

from tfsasm.cli import INTERRUPTED, OK, TRUNCATED
from tfsasm.cli.options import (
    DetectorOptions,
    OptionalCount,
    OptionalFile,
    SourceOptions,
    TrackerOptions,
    appearance_config,
    chosen_tracker,
    query_config,
    refuse_foreign_options,
)
from tfsasm.cli.progress import print_lines, progress
from tfsasm.cli.saving import SUFFIXES, USUAL, Kind, as_written, places
from tfsasm.errors import InputError, TruncatedInput
from tfsasm.files import check_distinct, check_output

if TYPE_CHECKING:
    import supervision as sv

    from tfsasm.detection.detectors import Detector
    from tfsasm.tracking.appearance.tracker import AppearanceTracker
    from tfsasm.tracking.query import QueryTracker
    from tfsasm.video.source import Frame, Source

    AnyTracker = QueryTracker | AppearanceTracker

    Write = Callable[[Frame, sv.Detections], None]

_DRAWN_LATE = 4  # frames that wait at most to be drawn and encoded


@dataclass(frozen=True, kw_only=True)
class Options(TrackerOptions, DetectorOptions, SourceOptions):
    """Track people through videos, folders of images, a camera or a stream.

    Example: tfsasm track video.mp4
    """

    output: Annotated[Path | None, tyro.conf.arg(metavar="DIR|FILE")] = None
    """Folder of the results, by default that of the video; or a name that ends in .mp4, .mkv, .mov
    or .avi for the annotated video alone."""
    classes: Annotated[tuple[str, ...], tyro.conf.arg(metavar="CLASS")] = ()
    """Only boxes of these, by the detector's own names (of its file, or COCO's: person car) or for
    YOLOX by number; by default people. Several are named on labels and in results; in MOT text
    they are the eighth column, counted from 1."""
    save: Annotated[tuple[Kind, ...], tyro.conf.arg(metavar="KIND")] = USUAL
    """What goes there: video (NAME.tracked.mp4), images (NAME.tracked/), mot (NAME.mot.txt), json
    (NAME.json), csv (NAME.csv, the columns of supervision), report (NAME.report.html, a page with a
    timeline of identities), coco (NAME.coco.json, COCO for videos), cvat (NAME.cvat.xml, for "CVAT
    for video 1.1"), fiftyone (NAME.fiftyone.json, its video labels)."""
    mot_output: OptionalFile = None
    """MOTChallenge text in this file; what is named by file is all that is written."""
    json_output: OptionalFile = None
    """JSON in this file."""
    overwrite: bool = False
    """Replace output files that exist."""
    quiet: bool = False
    """No progress bar."""
    start: int = 1
    """First frame, counted from 1."""
    end: OptionalCount = None
    """Last frame, included."""
    stride: int = 1
    """Take every STRIDE-th frame."""
    show: bool = False
    """A window with the tracks as they come; q, Escape or closing it ends the video."""
    reconnect: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 0
    """For so long a network stream whose connection is lost is opened again."""
    weights: str = ""
    """The network: `tiny` (in the package; by default), a .safetensors file, a published .pth file,
    or with --runtime onnx or openvino the folder that `tfsasm export` made."""
    runtime: Literal["torch", "onnx", "openvino"] = "torch"
    """What computes the network: PyTorch, or onnxruntime or OpenVINO from an export."""
    skip_bad_detections: bool = False
    """Leave out detection lines that cannot be used, and count them."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ..., or auto; with --runtime a device that it knows."""
    batch_encode: int = 1
    """Frames that are encoded together; for files, not for live sources."""
    threads: OptionalCount = None
    """Threads of each of the parts that work side by side: detector, encoder, tracker, video. By
    default half of the cores with a small network, all with a large one."""


def run(
    options: Options, console: Console, errors: Console, *, detector: Detector | None = None,
    watch: Write | None = None,
) -> int:
    """Each source through the tracker, results as they come.

    `detector` finds the boxes instead of what the options name. `watch` is called with each frame
    and its tracks, and ends the video by raising `WindowClosed`.
    """
    from tfsasm.video.decoder import public_address
    from tfsasm.video.find import find_sources

    options = _with_defaults(options, detector)
    sources = find_sources(options.source)
    kept = [
        places(source, options.save, options.output, {
            "mot": options.mot_output, "json": options.json_output,
        })
        for source in sources
    ]  # fmt: skip
    _check(options, sources, kept)
    detector = detector or _open_detector(options, sources)
    tracker, about = _make_tracker(options)
    code = OK
    for source, files in zip(sources, kept, strict=True):
        tracker.reset()
        ended, lines = _track_one(options, source, files, tracker, detector, about, errors, watch)
        label = f"{public_address(source)}: " if len(sources) > 1 else ""
        print_lines(console, label + lines[0], *lines[1:])
        code = code or ended
        if ended == INTERRUPTED:
            break
    print_lines(console, *detector.report())
    return code


def _with_defaults(options: Options, detector: Detector | None) -> Options:
    """With the tracker that the other options ask for, and a detector."""
    options = replace(options, tracker=chosen_tracker(options))
    if options.detections is not None and options.detector is not None:
        raise InputError("--detections and --detector both say where the boxes come from; give one")
    if options.detections is not None and options.classes:
        raise InputError("--classes choose what a --detector finds; --detections are taken whole")
    if options.detections is None and options.detector is None and detector is None:
        if options.detector_weights is not None:
            raise InputError("--detector-weights needs the name of its --detector, as yolox-x")
        if options.preset != "motr":
            options = replace(options, detector="yolox-nano")
    return options


def _track_one(
    options: Options, text: str, files: Mapping[Kind, Path], tracker: AnyTracker,
    detector: Detector, about: dict[str, Any], errors: Console, watch: Write | None,
) -> tuple[int, list[str]]:
    """Track to the end, to the damage or to Ctrl-C; what was done until then counts.

    Returns the exit code and what to print.
    """
    import numpy as np

    from tfsasm.tracking.config import preset
    from tfsasm.tracking.run import track_video
    from tfsasm.video.source import open_video
    from tfsasm.video.window import WindowClosed

    frames, identities, code, notes = 0, set[int](), OK, list[str]()
    with ExitStack() as stack:
        source = stack.enter_context(open_video(
            text, start=options.start, end=options.end, stride=options.stride,
            order=preset(options.preset).order, reconnect=options.reconnect,
        ))  # fmt: skip
        outputs = _open_outputs(options, text, source, files, tracker, detector, about, stack)
        outputs += [watch] if watch else []
        bar = stack.enter_context(progress(errors, "{task.fields[rate]}", quiet=options.quiet))
        task = bar.add_task("tracking", total=source.count, rate="")
        began = time.perf_counter()
        try:
            for frame, tracks in track_video(tracker, source, detector, batch=options.batch_encode):
                frames += 1  # first, for Ctrl-C may come while the frame is written
                identities.update(np.asarray(tracks.tracker_id).tolist())
                for write in outputs:
                    write(frame, tracks)
                rate = frames / (time.perf_counter() - began)
                bar.update(task, advance=1, rate=f"{rate:5.1f} fps {len(tracks):3} tracks")
        except TruncatedInput as cut:
            code, notes = TRUNCATED, [f"cut short: {cut}"]
        except WindowClosed:
            notes = ["stopped; the files hold what was done so far"]
        except KeyboardInterrupt:
            code, notes = INTERRUPTED, ["stopped; the files hold what was done so far"]
        rate = frames / (time.perf_counter() - began)
    if frames and not identities:
        hint = "try --detector yolox-s, or --detector-score 0.05"
        if options.detections is not None:
            hint = f"is {options.detections} of this video?"
        notes.append(f"nobody was tracked; {hint}")
    written = [path for kind, path in files.items() if frames or kind not in ("video", "images")]
    return code, [
        f"{frames} frames, {len(identities)} identities, {rate:.1f} frames per second",
        *(f"wrote {path}" for path in written), *notes,
    ]  # fmt: skip


def _check(options: Options, sources: list[str], kept: list[dict[Kind, Path]]) -> None:
    """Refuse before any work what could not be done after it."""
    from tfsasm.video.window import check_display
    from tfsasm.video.writer import VideoWriter

    refuse_foreign_options(options)
    for name in ("threads", "batch_encode"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} {value} is not at least 1")
    if not sources:
        raise InputError("give a video: tfsasm track video.mp4")
    if options.detections is not None and len(sources) > 1:
        raise InputError(f"--detections are of one video, and there are {len(sources)}")
    if options.show:
        check_display()
    elif not any(kept):
        raise InputError(f"nothing to write: --save takes {', '.join(SUFFIXES)}")
    everything = [path for files in kept for path in files.values()]
    if len(sources) > 1 and len(set(everything)) < len(everything):
        raise InputError("two of the videos have the same name, so the same results; track them "
                         "one by one, with an --output of its own each")  # fmt: skip
    inputs = (*sources, options.weights, options.detections, options.detector_weights)
    check_distinct(everything, inputs)
    for files in kept:
        for kind, path in files.items():
            if kind in ("video", "images"):
                VideoWriter(as_written(kind, path), None, overwrite=options.overwrite)  # not yet
            else:
                check_output(path, overwrite=options.overwrite)


def _open_detector(options: Options, sources: Sequence[str]) -> Detector:
    """Stored detections or a live detector, whichever is given."""
    from tfsasm.detection.detectors import NoDetector, default_settings, detector
    from tfsasm.detection.stored import open_detections
    from tfsasm.detection.yolox import NAMES

    if options.detector is None and options.detections is None:
        return NoDetector()
    if options.detections is not None:
        return open_detections(
            options.detections, source_name=str(Path(sources[0]).resolve()),
            skip_bad=options.skip_bad_detections,
        )  # fmt: skip
    name, changes = str(options.detector), options.detector_set
    if name in NAMES:  # it works beside the tracker, and leaves it a core
        changes = (f"threads={options.threads or max(1, _cores() // 2)}", *changes)
    # The devices of another runtime have names of their own.
    given = options.runtime == "torch" or options.device == "cpu"
    settings = default_settings(
        name, score_threshold=options.detector_score, changes=changes, classes=options.classes,
        device=options.device if given else "auto",
    )  # fmt: skip
    return detector(name, options.detector_weights, settings)


def _make_tracker(options: Options) -> tuple[AnyTracker, dict[str, Any]]:
    """The tracker of the options, with its share of the threads, and its part of the JSON."""
    if options.tracker == "appearance":
        from tfsasm.tracking.appearance.embedders import default_name, embedder
        from tfsasm.tracking.appearance.tracker import AppearanceTracker

        config = appearance_config(options)
        embed = embedder(options.embedder, options.embedder_weights, options.embedder_set)
        tracker = AppearanceTracker(embed, config)
        _limit_threads(options.threads or 1)  # its tables are small
        name = options.embedder or default_name(options.embedder_weights)
        return tracker, {"embedder": name, "method": asdict(config)}
    about = {
        "runtime": options.runtime, "weights": options.weights or "tiny", "preset": options.preset,
        "method": asdict(query_config(options)),
    }  # fmt: skip
    return _query_tracker(options), about


def _query_tracker(options: Options) -> QueryTracker:
    from tfsasm.runtime.manifest import read_manifest
    from tfsasm.tracking.config import preset
    from tfsasm.tracking.load import load
    from tfsasm.tracking.run import threads_of_a_part

    weights, threads = options.weights or "tiny", options.threads
    in_pytorch = options.runtime == "torch"
    if not in_pytorch and threads is None:
        threads = threads_of_a_part(read_manifest(Path(weights)).parameters, _cores())
    tracker = load(
        weights, query_config(options), runtime=options.runtime, device=options.device,
        short_side=options.short_side, max_side=options.max_side, precision=options.precision,
        exact=in_pytorch and preset(options.preset).exact and options.precision == "auto",
        threads=threads or 1,
    )  # fmt: skip
    if not tracker.network.proposals and (options.detections or options.detector):
        raise InputError("a MOTR finds objects itself; leave --detector and --detections out")
    _limit_threads(threads or threads_of_a_part(tracker.network.parameters, _cores()))
    return tracker


def _cores() -> int:
    """Those that PyTorch would use, where it is loaded."""
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch else os.cpu_count() or 1


def _limit_threads(threads: int) -> None:
    """PyTorch's threads, where it is loaded: by a network, a detector or an embedder."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)


def _open_outputs(
    options: Options, text: str, source: Source, files: Mapping[Kind, Path],
    tracker: AnyTracker, detector: Detector, about: dict[str, Any], stack: ExitStack,
) -> list[Write]:
    """What writes a frame, a function for each of the outputs; `stack` closes them."""
    from tfsasm.tracking.annotations import CocoFile, CvatFile, FiftyOneFile
    from tfsasm.tracking.config import preset
    from tfsasm.tracking.report import ReportFile
    from tfsasm.tracking.results import CsvFile, JsonFile, MotFile
    from tfsasm.video.annotate import Annotator
    from tfsasm.video.prefetch import BackgroundCalls
    from tfsasm.video.window import Window
    from tfsasm.video.writer import VideoWriter

    method, overwrite = preset(options.preset), options.overwrite
    for_tools = {"coco": CocoFile, "cvat": CvatFile, "fiftyone": FiftyOneFile}
    several = len(getattr(detector, "class_names", {})) > 1  # else its name says nothing
    writers: list[Write] = []

    def draw_into(video: VideoWriter) -> Write:
        annotator = Annotator(names=several)

        def draw(frame: Frame, tracks: sv.Detections) -> None:
            video.write(annotator.annotate(frame.image, tracks), frame.time)

        return stack.enter_context(BackgroundCalls(draw, _DRAWN_LATE))

    for kind, path in files.items():
        if kind == "mot":
            mot = MotFile(
                path, first_id=method.first_id, scores=method.scores, classes=several,
                overwrite=overwrite,
            )  # fmt: skip
            writers.append(stack.enter_context(mot).write)
        elif kind == "json":
            facts = {"source": source.label, "fps": source.fps, **about}
            writers.append(stack.enter_context(JsonFile(path, facts, overwrite=overwrite)).write)
        elif kind == "report":
            report = ReportFile(
                path, title=Path(source.label).name or source.label, video=files.get("video"),
                rate=source.fps, source=Path(text) if Path(text).is_file() else None,
                aspect=float(source.aspect), tracker=tracker, overwrite=overwrite,
            )  # fmt: skip
            writers.append(stack.enter_context(report).write)
        elif kind == "csv":
            writers.append(stack.enter_context(CsvFile(path, overwrite=overwrite)).write)
        elif kind in for_tools:
            file = for_tools[kind](path, source.label, overwrite=overwrite)
            writers.append(stack.enter_context(file).write)
        else:
            video = VideoWriter(
                as_written(kind, path), source.rate, sound=source.sound, aspect=source.aspect,
                overwrite=overwrite,
            )  # fmt: skip
            writers.append(draw_into(stack.enter_context(video)))

    if options.show:
        window, drawn = stack.enter_context(Window(source.label)), Annotator(names=several)
        writers.append(lambda frame, tracks: window.show(drawn.annotate(frame.image, tracks)))
    return writers
