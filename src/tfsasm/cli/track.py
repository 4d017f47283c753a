"""`tfsasm track`: one video through a tracker, results as they come."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import tyro
from rich.console import Console

from tfsasm.cli import INTERRUPTED, OK
from tfsasm.cli.options import (
    DetectorOptions,
    EngineOptions,
    OptionalCount,
    OptionalFile,
    SourceOptions,
    TrackerOptions,
    make_engine,
    query_config,
    refuse_foreign_options,
    spec_of,
    with_own_preset,
    with_tracker,
)
from tfsasm.cli.progress import print_lines
from tfsasm.cli.remote import address_of, upload
from tfsasm.cli.saving import SUFFIXES, USUAL, Kind, as_written, places
from tfsasm.cli.track_many import check_streams, journal_of, track_many
from tfsasm.cli.track_one import Tracked, opener_of, steps, track_one
from tfsasm.errors import InputError
from tfsasm.experiments.pool import Streams, Work, with_threads
from tfsasm.files import check_distinct, check_output, write_json
from tfsasm.tracking.config import preset
from tfsasm.video.addresses import public_address

if TYPE_CHECKING:
    from tfsasm.cli.track_many import Videos
    from tfsasm.cli.track_one import AnyTracker, Write
    from tfsasm.detection.detectors import Detector
    from tfsasm.tracking.query import QueryTracker
    from tfsasm.tracking.streams import Together


@dataclass(frozen=True, kw_only=True)
class Options(TrackerOptions, DetectorOptions, SourceOptions, EngineOptions):
    """Track people through videos, folders of images, a camera or a stream.

    The tracker is reset for each video, and one that fails does not stop the others. A run over
    several that was stopped or killed resumes when it is given again: track.partial beside the
    results holds what is done.

    Example: tfsasm track video.mp4
    """

    output: Annotated[Path | None, tyro.conf.arg(metavar="DIR|FILE")] = None
    """Folder of the results, by default that of the video; a name that ends in .mp4, .mkv, .mov or
    .avi for the annotated video alone; or an address of fsspec, s3://BUCKET/FOLDER or gs://... (pip
    install "tfsasm[remote]")."""
    classes: Annotated[tuple[str, ...], tyro.conf.arg(metavar="CLASS")] = ()
    """Only boxes of these, by the detector's own names (of its file, or COCO's: person car) or for
    YOLOX by number; by default people. Several are named on labels and in results; in MOT text
    they are the eighth column, counted from 1."""
    dry_run: bool = False
    """Write nothing, and say how many frames and hours there are, how long a worker takes and what
    1,000 hours of such video cost, by the rate of the first frames; --json-output has it as JSON.
    """
    price_per_hour: Annotated[float | None, tyro.conf.arg(metavar="PRICE")] = None
    """What an hour of a worker costs, for --dry-run."""
    save: Annotated[tuple[Kind, ...], tyro.conf.arg(metavar="KIND")] = USUAL
    """What to write: video (NAME.tracked.mp4), images (NAME.tracked/), mot (NAME.mot.txt), json
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
    """The network: `tiny` (by default) or `nano` (both in the package), a .safetensors file, a
    published .pth file, or with --runtime onnx or openvino the folder that `tfsasm export` made."""
    runtime: Literal["torch", "onnx", "openvino"] = "torch"
    """What computes the network: PyTorch, or onnxruntime or OpenVINO from an export."""
    skip_bad_detections: bool = False
    """Leave out detection lines that cannot be used, and count them."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ..., or auto; with --runtime a device that it knows."""
    decoder: Literal["auto", "pyav", "torchcodec"] = "auto"
    """What decodes video files: PyAV, or torchcodec, on a GPU by NVDEC (pip install torchcodec).
    auto: torchcodec where it is installed, --device is an NVIDIA GPU, and frames come out alike."""
    batch_encode: int = 1
    """Frames that are encoded together; for files, not for live sources."""
    streams: int = 1
    """Videos of this process at a time, whose frames are encoded together, each with its own
    tracker: for a GPU that one video does not fill."""
    workers: OptionalCount = None
    """Videos that are tracked at a time, each by a process with its share of the threads. By
    default one, and with --engine ray as many as the cluster has room for."""
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
    from tfsasm.video.source import find_sources

    options = _with_defaults(options, detector)
    check_streams(options)
    sources = find_sources(options.source)
    if options.dry_run:
        return _estimate(options, sources, console, detector)
    if address_of(options.output):
        return _run_remote(options, sources, console, errors, detector)
    kept = [
        places(source, options.save, options.output, {
            "mot": options.mot_output, "json": options.json_output,
        })
        for source in sources
    ]  # fmt: skip
    if watch is None and not options.show and (len(sources) > 1 or options.engine == "ray"):
        return _run_many(options, sources, kept, console, errors, detector)
    make_engine(options)
    _check(options, sources, kept)
    tracker, detector, about = _loaded(options, sources, detector)
    code = OK
    for source, files in zip(sources, kept, strict=True):
        tracker.reset()
        one = track_one(options, source, files, tracker, detector, about, errors, watch)
        print_lines(console, *one.lines)
        code = code or one.code
        if one.code == INTERRUPTED:
            break
    print_lines(console, *detector.report())
    return code


def _estimate(
    options: Options, sources: list[str], console: Console, detector: Detector | None
) -> int:
    """Say what the videos will take, after a measurement on the first."""
    from tfsasm.cli.estimate import Estimate, lengths_of, measured

    make_engine(options)
    if options.json_output:
        check_output(options.json_output, overwrite=options.overwrite)
    lengths = lengths_of(options, sources)
    with TemporaryDirectory() as folder:
        files = places(lengths.first, options.save, Path(folder), {})
        _check(options, [lengths.first], [files])
        share = options.cpus_per_worker if options.engine == "ray" else _cores() // options.count()
        loaded = with_threads(max(1, share), lambda: _loaded(options, sources, detector))
        with closing(steps(options, lengths.first, files, *loaded)) as video:
            found = Estimate(lengths, *measured(video), options.price_per_hour)
    print_lines(console, *found.lines())
    if options.json_output:
        write_json(options.json_output, found.to_json())
    return OK


def _run_remote(
    options: Options, sources: list[str], console: Console, errors: Console,
    detector: Detector | None,
) -> int:
    """Videos whose results go to an address of fsspec, each when it is whole."""
    if options.show or options.mot_output or options.json_output or "images" in options.save:
        raise InputError(
            "an address as --output takes the files of --save alone, without images or --show"
        )
    with TemporaryDirectory() as folder:
        kept = [places(source, options.save, Path(folder), {}) for source in sources]
        return _run_many(options, sources, kept, console, errors, detector)


def _run_many(
    options: Options, sources: list[str], kept: list[dict[Kind, Path]], console: Console,
    errors: Console, detector: Detector | None,
) -> int:
    """Several videos by an engine; a run that was stopped goes on."""
    weights = Path(options.weights) if options.weights else None
    engine = make_engine(options, (weights, options.detector_weights, options.embedder_weights))
    if options.streams > 1:
        engine = Streams(options.streams)
    writing = replace(options, overwrite=True)  # what a lost worker has left, too
    before = journal_of(kept).exists()  # then what is there is what it made, or is refused
    _check(writing if before else options, sources, kept)
    videos = {
        public_address(source): (source, files)
        for source, files in zip(sources, kept, strict=True)
    }
    make = partial(_make_work, writing, weights, videos, detector)
    return track_many(options, videos, make, engine, console, errors)


def _make_work(
    options: Options, weights: Path | None, videos: Videos, detector: Detector | None
) -> Work:
    """What tracks one of the videos; `weights` are those of the options, wherever they are."""
    here = replace(options, weights=str(weights or ""))
    tracker, detector, about = _loaded(here, [source for source, _ in videos.values()], detector)
    if weights:
        about["weights"] = options.weights
    together = None
    if options.streams > 1:
        from tfsasm.tracking.streams import Together

        together = Together(cast("QueryTracker", tracker))
    return partial(_track_named, options, videos, tracker, detector, about, together)


def _track_named(
    options: Options, videos: Videos, tracker: AnyTracker, detector: Detector,
    about: dict[str, Any], together: Together | None, name: str,
) -> Generator[int, None, Tracked]:
    if together:
        tracker = together.tracker()
    tracker.reset()
    source, files = videos[name]
    with ExitStack() as stack:
        if address := address_of(options.output):
            folder = stack.enter_context(TemporaryDirectory())
            files = {kind: Path(folder, path.name) for kind, path in files.items()}
        video = stack.enter_context(
            closing(steps(options, source, files, tracker, detector, about, together=together))
        )
        for step in video:
            if not isinstance(step, Tracked):
                yield step.frames
                continue
            lines = step.lines
            if address and step.code != INTERRUPTED:
                upload(files.values(), address)
                lines = tuple(line.replace(folder, public_address(address)) for line in lines)
            return replace(step, lines=lines, report=tuple(detector.report()))
    raise RuntimeError(f"{name} has no end")


def _with_defaults(options: Options, detector: Detector | None) -> Options:
    """With the tracker that the other options ask for, and a detector."""
    options, finds_objects = with_own_preset(with_tracker(options))
    if options.detections is not None and options.detector is not None:
        raise InputError("--detections and --detector both say where the boxes come from; give one")
    if options.detections is not None and options.classes:
        raise InputError("--classes choose what a --detector finds; --detections are taken whole")
    if options.detections is None and options.detector is None and detector is None:
        if options.detector_weights is not None:
            raise InputError("--detector-weights needs the name of its --detector, as yolox-x")
        if not finds_objects:
            options = replace(options, detector="yolox-nano")
    return options


def _check(options: Options, sources: list[str], kept: list[dict[Kind, Path]]) -> None:
    """Refuse before any work what could not be done after it."""
    from tfsasm.video.window import check_display
    from tfsasm.video.writer import VideoWriter

    refuse_foreign_options(options)
    opener_of(options)
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


def _loaded(
    options: Options, sources: Sequence[str], detector: Detector | None
) -> tuple[AnyTracker, Detector, dict[str, Any]]:
    """The tracker, the detector and what the JSON says of them."""
    detector = detector or _open_detector(options, sources)
    if options.tracker == "query":
        method = asdict(query_config(options))
        return _query_tracker(options), detector, {
            "runtime": options.runtime, "weights": options.weights or "tiny",
            "preset": options.preset, "method": method,
        }  # fmt: skip
    from tfsasm.tracking.appearance.embedders import default_name, embedder

    spec, embed, about = spec_of(options), None, {"tracker": options.tracker}
    if options.tracker == "appearance":
        embed = embedder(options.embedder, options.embedder_weights, options.embedder_set)
        about = {"embedder": options.embedder or default_name(options.embedder_weights)}
    tracker = spec.make(None, embed)
    _limit_threads(options.threads or 1)  # its tables are small
    return tracker, detector, about | {"method": spec.parameters()}


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


def _query_tracker(options: Options) -> QueryTracker:
    from tfsasm.runtime.manifest import read_manifest
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
        raise InputError("this network (MOTR or CO-MOT) finds objects itself; leave --detector and "
                         "--detections out")  # fmt: skip
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
