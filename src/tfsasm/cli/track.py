"""`tfsasm track`: one video through a tracker, results as they come."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
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
    """One source through the tracker, results as they come.

    `detector` finds the boxes instead of what the options name.
    """
    from tfsasm.tracking.config import preset
    from tfsasm.tracking.run import track_video
    from tfsasm.video.source import open_video

    _check(options)
    released = preset(options.preset)
    with ExitStack() as stack:
        source = stack.enter_context(open_video(
            options.source, start=options.start, end=options.end, stride=options.stride,
            order=released.order,
        ))  # fmt: skip
        detector = detector or _open_detector(options)
        tracker, about = _make_tracker(options)
        write = _open_outputs(options, source, about, stack)
        bar = stack.enter_context(progress(errors, "{task.fields[rate]}", quiet=options.quiet))
        task = bar.add_task("tracking", total=source.count, rate="")
        tracked = track_video(tracker, source, detector, batch=options.batch_encode)
        summary = _track(tracked, write, lambda rate: bar.update(task, advance=1, rate=rate))
    print_lines(console, *summary.lines(options), *detector.report())
    return summary.code


@dataclass
class Summary:
    """What came of a run."""

    frames: int = 0
    identities: set[int] = field(default_factory=set)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    code: int = OK

    def lines(self, options: Options) -> Iterator[str]:
        """What to print at the end."""
        rate = self.frames / self.seconds if self.seconds else 0.0
        count = len(self.identities)
        yield f"{self.frames} frames, {count} identities, {rate:.1f} frames per second"
        for name in ("output", "mot_output", "json_output"):
            path = getattr(options, name)
            if path and (self.frames or name != "output"):  # no frames, no video
                yield f"wrote {path}"
        yield from self.notes


def _track(
    tracked: Iterator[tuple[Frame, sv.Detections]], write: Write, advance: Callable[[str], None]
) -> Summary:
    """Track to the end, to the damage or to Ctrl-C; what was done until then counts."""
    from tfsasm.tracking.results import rows

    summary, began = Summary(), time.monotonic()
    try:
        for frame, tracks in tracked:
            summary.frames += 1  # first, for Ctrl-C may come while the frame is written
            summary.identities.update(row.id for row in rows(tracks))
            write(frame, tracks)
            rate = summary.frames / (time.monotonic() - began)
            advance(f"{rate:5.1f} fps {len(tracks):3} tracks")
    except TruncatedInput as cut:
        summary.code = TRUNCATED
        summary.notes.append(f"cut short: {cut}")
    except KeyboardInterrupt:
        summary.code = INTERRUPTED
        summary.notes.append("stopped; the files hold what was done so far")
    summary.seconds = time.monotonic() - began
    return summary


def _check(options: Options) -> None:
    """Refuse before any work what could not be done after it."""
    from tfsasm.video.writer import VideoWriter

    refuse_foreign_options(options)
    if options.threads is not None and options.threads < 1:
        raise InputError(f"--threads {options.threads} is not at least 1")
    if options.batch_encode < 1:
        raise InputError(f"--batch-encode {options.batch_encode} is not at least 1")
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
    if (options.detections is None) == (options.detector is None):
        raise InputError(
            "give where the boxes come from: --detections FILE or --detector yolox-nano"
        )
    if options.detections is not None:
        from tfsasm.detection.stored import open_detections

        return open_detections(
            options.detections, source_name=str(Path(options.source).resolve()),
            skip_bad=options.skip_bad_detections,
        )  # fmt: skip
    from tfsasm.detection.detectors import default_settings, detector
    from tfsasm.detection.yolox import NAMES

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
    from tfsasm.runtime.manifest import MANIFEST, read_manifest
    from tfsasm.tracking.config import preset
    from tfsasm.tracking.load import load
    from tfsasm.tracking.run import threads_of_a_part

    exact, threads, folder = False, options.threads, Path(options.weights)
    exported, runtime = (folder / MANIFEST).is_file(), options.runtime
    if runtime == "torch" and exported:
        raise InputError(f"{folder} is an export; add --runtime onnx, or openvino")
    if runtime == "torch":
        exact = preset(options.preset).exact and options.precision == "auto"
    elif options.precision != "auto":
        raise InputError("an export has its own precision; leave --precision out")
    elif not exported:
        raise InputError(
            f"--runtime {runtime} takes the folder that tfsasm export made, and {folder} "
            f"is none: tfsasm export --format {runtime} --weights {folder} --output DIR"
        )
    else:
        threads = threads or threads_of_a_part(read_manifest(folder).parameters, _cores())
    tracker = load(
        options.weights, query_config(options), runtime=runtime, device=options.device,
        short_side=options.short_side, max_side=options.max_side, precision=options.precision,
        exact=exact, threads=threads or 1,
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
) -> Write:
    """One function that writes a frame to every output."""
    from tfsasm.tracking.config import preset
    from tfsasm.tracking.results import JsonFile, MotFile
    from tfsasm.video.annotate import Annotator
    from tfsasm.video.prefetch import BackgroundCalls
    from tfsasm.video.writer import VideoWriter

    method, overwrite = preset(options.preset), options.overwrite
    writers: list[Write] = []
    if options.mot_output:
        mot = MotFile(
            options.mot_output, first_id=method.first_id, scores=method.scores,
            overwrite=overwrite,
        )  # fmt: skip
        writers.append(stack.enter_context(mot).write)
    if options.json_output:
        about = {"source": options.source, "fps": source.fps, **about}
        json = JsonFile(options.json_output, about, overwrite=overwrite)
        writers.append(stack.enter_context(json).write)
    if options.output:
        video = stack.enter_context(VideoWriter(options.output, source.rate, overwrite=overwrite))
        annotator = Annotator()

        def draw(frame: Frame, tracks: sv.Detections) -> None:
            video.write(annotator.annotate(frame.image, tracks), frame.time)

        writers.append(stack.enter_context(BackgroundCalls(draw, _DRAWN_LATE)))

    def write(frame: Frame, tracks: sv.Detections) -> None:
        for each in writers:
            each(frame, tracks)

    return write
