"""`tfsasm track`: videos through a tracker, results as they come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console

from tfsasm.cli import INTERRUPTED, OK
from tfsasm.cli.options import (
    DetectorOptions,
    EngineOptions,
    TrackerOptions,
    make_engine,
    with_tracker,
)
from tfsasm.cli.progress import print_lines
from tfsasm.errors import InputError, first_few

if TYPE_CHECKING:
    from tfsasm.detection.detectors import Detector

Kind = Literal["video", "images", "mot", "json", "csv", "report", "coco", "cvat", "fiftyone"]

USUAL: tuple[Kind, ...] = ("video", "mot", "json", "report")


@dataclass(frozen=True, kw_only=True)
class Options(TrackerOptions, DetectorOptions, EngineOptions):
    """Track people through videos, folders of images, a camera or a stream.

    The tracker is reset for each video, and one that fails does not stop the others. A run over
    several that was stopped or killed resumes when it is given again: track.partial beside the
    results holds what is done.

    Example: tfsasm track video.mp4
    """

    source: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="VIDEO")]]
    """Video file, folder of images, camera index (0) or rtsp/http address; several of them, a
    folder of videos or of MOT sequences, or a pattern ("clips/*.mp4")."""
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
    mot_output: Path | None = None
    """MOTChallenge text in this file; what is named by file is all that is written."""
    json_output: Path | None = None
    """JSON in this file."""
    overwrite: bool = False
    """Replace output files that exist."""
    quiet: bool = False
    """No progress bar."""
    detections: Path | None = None
    """Stored detections: a MOT det.txt, a det_db JSON, or a folder of YOLO's text files (labels/,
    as Ultralytics saves them)."""
    start: int = 1
    """First frame, counted from 1."""
    end: int | None = None
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
    workers: int | None = None
    """Videos that are tracked at a time, each by a process with its share of the threads. By
    default one, and with --engine ray as many as the cluster has room for."""
    threads: int | None = None
    """Threads of each of the parts that work side by side: detector, encoder, tracker, video. By
    default half of the cores with a small network, all with a large one."""


def run(
    options: Options, console: Console, errors: Console, *, detector: Detector | None = None
) -> int:
    """Each source through the tracker, results as they come.

    `detector` finds the boxes instead of what the options name.
    """
    from tfsasm.video.source import find_sources

    sources = find_sources(options.source)  # a name that is wrong is answered at once
    options = with_defaults(options, detector)
    from tfsasm.cli.track_one import address_of, check, load_job, places, track_one, without_results

    found, sources = sources, without_results(sources)
    if left := [source for source in found if source not in sources]:
        print_lines(errors, f"left out, as results of an earlier run: {first_few(left)}")
    if options.dry_run:
        from tfsasm.cli.estimate import estimate

        return estimate(options, sources, console, detector)
    together = len(sources) > 1 or options.engine == "ray"
    if address_of(options.output) or (together and not options.show):
        from tfsasm.cli.track_many import track_many

        return track_many(options, sources, console, errors, detector)
    make_engine(options)
    kept = [places(options, source) for source in sources]
    check(options, sources, kept)
    job, code = load_job(options, sources, detector), OK
    for source, files in zip(sources, kept, strict=True):
        one = track_one(job, source, files, errors)
        print_lines(console, *one.lines)
        code = code or one.code
        if one.code == INTERRUPTED:
            break
    print_lines(console, *job.detector.report())
    return code


def with_defaults(options: Options, detector: Detector | None = None) -> Options:
    """With the tracker that the other options ask for, and a detector."""
    options, finds_objects = with_tracker(options)
    if options.streams > 1:
        _check_streams(options)
    if options.detections is not None and options.detector is not None:
        raise InputError("--detections and --detector both say where the boxes come from; give one")
    if options.detections is not None and options.classes and not options.detections.is_dir():
        raise InputError("--classes choose what a --detector finds, or of a folder of YOLO's text "
                         "files; other --detections are taken whole")  # fmt: skip
    if options.detections is None and options.detector is None and detector is None:
        if options.detector_weights is not None:
            raise InputError("--detector-weights needs the name of its --detector, as yolox-x")
        if not finds_objects:
            options = replace(options, detector="yolox-nano")
    return options


def _check_streams(options: Options) -> None:
    """Raises `InputError` for what several streams do not go with."""
    if options.runtime != "torch":
        raise InputError(
            "--streams encode frames together, and an export encodes one at a time; give --workers "
            "for several processes, or --runtime torch"
        )
    others = {
        "--workers": options.count() > 1, "--engine ray": options.engine == "ray",
        "--batch-encode": options.batch_encode > 1, "--show": options.show,
        "--dry-run": options.dry_run,
    }  # fmt: skip
    if given := [name for name, is_given in others.items() if is_given]:
        raise InputError(f"--streams and {given[0]} do not go together; leave one of them out")
