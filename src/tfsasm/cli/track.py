"""`tfsasm track`: one video through a tracker, results as they come."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from tfsasm.cli import INTERRUPTED, OK, TRUNCATED
from tfsasm.cli.options import (
    DetectorOptions,
    OptionalCount,
    OptionalFile,
    SourceOptions,
    TrackerOptions,
    appearance_config,
    query_config,
    refuse_foreign_options,
)
from tfsasm.cli.progress import print_lines, progress
from tfsasm.errors import InputError, TruncatedInput
from tfsasm.files import check_distinct, check_outputs

if TYPE_CHECKING:
    import supervision as sv

    from tfsasm.detection.detectors import Detector
    from tfsasm.tracking.run import Tracker
    from tfsasm.video.source import Frame, Source

    Write = Callable[[Frame, sv.Detections], None]

_DRAWN_LATE = 4  # frames that wait at most to be drawn and encoded


@dataclass(frozen=True, kw_only=True)
class Options(TrackerOptions, DetectorOptions, SourceOptions):
    """Track people through a video, a folder of images, a camera or a stream.

    Example: tfsasm track --source video.mp4 --detector yolox-nano --output out.mp4
    """

    weights: str = "tiny"
    """The network: `tiny` (in the package), a .safetensors file, a published .pth file, or with
    --runtime onnx or openvino the folder that `tfsasm export` made."""
    runtime: Literal["torch", "onnx", "openvino"] = "torch"
    """What computes the network: PyTorch, or onnxruntime or OpenVINO from an export."""
    output: OptionalFile = None
    """Annotated video (.mp4, .mkv, .mov, .avi), or a folder for single images."""
    mot_output: OptionalFile = None
    """Results as MOTChallenge text."""
    json_output: OptionalFile = None
    """Results as JSON."""
    start: int = 1
    """First frame, counted from 1."""
    end: OptionalCount = None
    """Last frame, included."""
    stride: int = 1
    """Take every STRIDE-th frame."""
    skip_bad_detections: bool = False
    """Leave out detection lines that cannot be used, and count them."""
    overwrite: bool = False
    """Replace output files that exist."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ..., or auto; with --runtime a device that it knows."""
    batch_encode: int = 1
    """Frames that are encoded together; for files, not for live sources."""
    threads: OptionalCount = None
    """Threads of each of the parts that work side by side: detector, encoder, tracker, video. By
    default half of the cores with a small network, all with a large one."""
    quiet: bool = False
    """No progress bar."""


def run(
    options: Options, console: Console, errors: Console, *, detector: Detector | None = None
) -> int:
    """Track to the end, to the damage or to Ctrl-C; what was done until then counts.

    `detector` finds the boxes instead of what the options name.
    """
    from tfsasm.tracking.config import preset
    from tfsasm.tracking.results import rows
    from tfsasm.tracking.run import track_video
    from tfsasm.video.source import open_video

    _check(options)
    frames, identities, code, notes = 0, set[int](), OK, list[str]()
    with ExitStack() as stack:
        source = stack.enter_context(open_video(
            options.source, start=options.start, end=options.end, stride=options.stride,
            order=preset(options.preset).order,
        ))  # fmt: skip
        detector = detector or _open_detector(options)
        tracker, about = _make_tracker(options)
        outputs = _open_outputs(options, source, about, stack)
        bar = stack.enter_context(progress(errors, "{task.fields[rate]}", quiet=options.quiet))
        task = bar.add_task("tracking", total=source.count, rate="")
        began = time.perf_counter()
        try:
            for frame, tracks in track_video(tracker, source, detector, batch=options.batch_encode):
                frames += 1  # first, for Ctrl-C may come while the frame is written
                identities.update(row.id for row in rows(tracks))
                for write in outputs:
                    write(frame, tracks)
                rate = frames / (time.perf_counter() - began)
                bar.update(task, advance=1, rate=f"{rate:5.1f} fps {len(tracks):3} tracks")
        except TruncatedInput as cut:
            code, notes = TRUNCATED, [f"cut short: {cut}"]
        except KeyboardInterrupt:
            code, notes = INTERRUPTED, ["stopped; the files hold what was done so far"]
        rate = frames / (time.perf_counter() - began)
    written = (options.output if frames else None, options.mot_output, options.json_output)
    print_lines(
        console, f"{frames} frames, {len(identities)} identities, {rate:.1f} frames per second",
        *(f"wrote {path}" for path in written if path), *notes, *detector.report(),
    )  # fmt: skip
    return code


def _check(options: Options) -> None:
    """Refuse before any work what could not be done after it."""
    from tfsasm.video.writer import VideoWriter

    refuse_foreign_options(options)
    for name in ("threads", "batch_encode"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} {value} is not at least 1")
    texts = (options.mot_output, options.json_output)
    if not any((options.output, *texts)):
        raise InputError("nothing to write: give --output, --mot-output or --json-output")
    inputs = (options.source, options.weights, options.detections, options.detector_weights)
    check_distinct((options.output, *texts), inputs)
    if options.output:
        VideoWriter(options.output, None, overwrite=options.overwrite)  # writes nothing yet
    check_outputs(texts, overwrite=options.overwrite)


def _open_detector(options: Options) -> Detector:
    """Stored detections or a live detector, whichever is given."""
    from tfsasm.detection.detectors import default_settings, detector
    from tfsasm.detection.stored import open_detections
    from tfsasm.detection.yolox import NAMES

    if (options.detections is None) == (options.detector is None):
        raise InputError(
            "give where the boxes come from: --detections FILE or --detector yolox-nano"
        )
    if options.detections is not None:
        return open_detections(
            options.detections, source_name=str(Path(options.source).resolve()),
            skip_bad=options.skip_bad_detections,
        )  # fmt: skip
    name, changes = str(options.detector), options.detector_set
    if name in NAMES:  # it works beside the tracker, and leaves it a core
        changes = (f"threads={options.threads or max(1, _cores() // 2)}", *changes)
    # The devices of another runtime have names of their own.
    given = options.runtime == "torch" or options.device == "cpu"
    settings = default_settings(
        name, score_threshold=options.detector_score, changes=changes,
        device=options.device if given else "auto",
    )  # fmt: skip
    return detector(name, options.detector_weights, settings)


def _make_tracker(options: Options) -> tuple[Tracker, dict[str, Any]]:
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
        "runtime": options.runtime, "weights": options.weights, "preset": options.preset,
        "method": asdict(query_config(options)),
    }  # fmt: skip
    return _query_tracker(options), about


def _query_tracker(options: Options) -> Tracker:
    from tfsasm.runtime.manifest import read_manifest
    from tfsasm.tracking.config import preset
    from tfsasm.tracking.load import load
    from tfsasm.tracking.run import threads_of_a_part

    in_pytorch, threads = options.runtime == "torch", options.threads
    if not in_pytorch and threads is None:
        threads = threads_of_a_part(read_manifest(Path(options.weights)).parameters, _cores())
    tracker = load(
        options.weights, query_config(options), runtime=options.runtime, device=options.device,
        short_side=options.short_side, max_side=options.max_side, precision=options.precision,
        exact=in_pytorch and preset(options.preset).exact and options.precision == "auto",
        threads=threads or 1,
    )  # fmt: skip
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
    options: Options, source: Source, about: dict[str, Any], stack: ExitStack
) -> list[Write]:
    """What writes a frame, a function for each of the outputs; `stack` closes them."""
    from tfsasm.tracking.config import preset
    from tfsasm.tracking.results import JsonFile, MotFile
    from tfsasm.video.annotate import Annotator
    from tfsasm.video.prefetch import BackgroundCalls
    from tfsasm.video.writer import VideoWriter

    method, overwrite = preset(options.preset), options.overwrite
    writers: list[Write] = []
    if path := options.mot_output:
        mot = MotFile(path, first_id=method.first_id, scores=method.scores, overwrite=overwrite)
        writers.append(stack.enter_context(mot).write)
    if path := options.json_output:
        about = {"source": options.source, "fps": source.fps, **about}
        writers.append(stack.enter_context(JsonFile(path, about, overwrite=overwrite)).write)
    if path := options.output:
        video = stack.enter_context(VideoWriter(path, source.rate, overwrite=overwrite))
        annotator = Annotator()

        def draw(frame: Frame, tracks: sv.Detections) -> None:
            video.write(annotator.annotate(frame.image, tracks), frame.time)

        writers.append(stack.enter_context(BackgroundCalls(draw, _DRAWN_LATE)))
    return writers
