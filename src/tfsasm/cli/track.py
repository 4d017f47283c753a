"""The options of commands that take one video."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import supervision as sv
import torch
from rich.console import Console

from tfsasm.cli.chosen import Chosen, choose_for_video
from tfsasm.cli.options import DetectorOptions, Following, OptionalCount, OptionalFile, Watched
from tfsasm.cli.progress import progress
from tfsasm.detection import yolox
from tfsasm.detection.detectors import Detector, default_settings, detector
from tfsasm.detection.stored import open_detections
from tfsasm.errors import InputError, TruncatedInput
from tfsasm.files import check_output
from tfsasm.tracking.config import preset
from tfsasm.tracking.results import JsonFile, MotFile, rows
from tfsasm.video.annotate import Annotator
from tfsasm.video.prefetch import BackgroundCalls
from tfsasm.video.source import Frame, Source, open_video
from tfsasm.video.writer import VideoWriter


@dataclass(frozen=True, kw_only=True)
class Track(Following, DetectorOptions, Watched):
    """Follow people through a video, a folder of images, a camera or a stream.

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
    """Frames whose pictures are encoded together; for files, not for live sources."""
    threads: OptionalCount = None
    """Threads of each of the parts that work side by side: detector, encoder, tracker, video. By
    default half of the cores with a small network, all with a large one."""
    quiet: bool = False
    """No progress bar."""

OK, TRUNCATED, INTERRUPTED = 0, 3, 130

_DRAWN_LATE = 4  # frames that wait at most to be drawn and encoded


@dataclass
class Summary:
    """What a run saw."""

    frames: int = 0
    identities: set[int] = field(default_factory=set)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    code: int = OK

    def lines(self, job: Track) -> Iterator[str]:
        """What to print at the end."""
        rate = self.frames / self.seconds if self.seconds else 0.0
        people = len(self.identities)
        yield f"{self.frames} frames, {people} identities, {rate:.1f} frames per second"
        for name in ("output", "mot_output", "json_output"):
            if getattr(job, name) and (self.frames or name != "output"):  # no frames, no video
                yield f"wrote {getattr(job, name)}"
        yield from self.notes


def run(job: Track, console: Console, errors: Console) -> int:
    """`tfsasm track`: one source through the tracker, results as they come."""
    _check_outputs(job)
    with ExitStack() as stack:
        source = stack.enter_context(open_video(
            job.source, start=job.start, end=job.end, stride=job.stride,
            order=preset(job.preset).order,
        ))  # fmt: skip
        proposals = proposals_of(job)
        chosen = choose_for_video(job)
        write = _open_outputs(job, source, chosen, stack)
        bar = stack.enter_context(progress(errors, "{task.fields[rate]}", quiet=job.quiet))
        task = bar.add_task("tracking", total=source.count, rate="")
        summary = _follow(
            chosen.follow(source, proposals), write,
            lambda rate: bar.update(task, advance=1, rate=rate),
        )  # fmt: skip
    summary.notes += proposals.report()
    for line in summary.lines(job):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    return summary.code


def _follow(
    tracked: Iterator[tuple[Frame, sv.Detections]],
    write: Callable[[Frame, sv.Detections], None], bar: Callable[[str], None],
) -> Summary:
    """Track to the end, to the damage or to Ctrl-C; what was done until then counts."""
    summary, began = Summary(), time.monotonic()
    try:
        for frame, tracks in tracked:
            write(frame, tracks)
            summary.frames += 1
            summary.identities.update(row.id for row in rows(tracks))
            rate = summary.frames / (time.monotonic() - began)
            bar(f"{rate:5.1f} fps {len(tracks):3} tracks")
    except TruncatedInput as cut:
        summary.code = TRUNCATED
        summary.notes.append(f"cut short: {cut}")
    except KeyboardInterrupt:
        summary.code = INTERRUPTED
        summary.notes.append("stopped; the files hold what was done so far")
    summary.seconds = time.monotonic() - began
    return summary


def _check_outputs(job: Track) -> None:
    """Refuse before any work what could not be done after it."""
    if job.threads is not None and job.threads < 1:
        raise InputError(f"--threads {job.threads} is not at least 1")
    if job.batch_encode < 1:
        raise InputError(f"--batch-encode {job.batch_encode} is not at least 1")
    outputs = [path for path in (job.output, job.mot_output, job.json_output) if path]
    if not outputs:
        raise InputError("nothing to write: give --output, --mot-output or --json-output")
    places = [path.resolve() for path in outputs]
    if len(set(places)) < len(places):
        raise InputError("two outputs have the same name; give each its own")
    inputs = (job.source, job.weights, job.detections, job.detector_weights)
    for given in (str(given) for given in inputs if given is not None):
        if Path(given).exists() and Path(given).resolve() in places:
            raise InputError(f"{given} is an input; write the output elsewhere")
    if job.output:
        VideoWriter(job.output, None, overwrite=job.overwrite)  # only looks: no frame, no file
    for path in (job.mot_output, job.json_output):
        if path:
            check_output(path, overwrite=job.overwrite)


def proposals_of(job: Track) -> Detector:
    """Stored detections or a live detector, whichever was asked for."""
    if (job.detections is None) == (job.detector is None):
        raise InputError(
            "say where the boxes come from: --detections FILE or --detector yolox-nano"
        )
    if job.detections is not None:
        return open_detections(
            job.detections, source_name=str(Path(job.source).resolve()),
            skip_bad=job.skip_bad_detections,
        )  # fmt: skip
    name = str(job.detector)
    changes = job.detector_set
    if name in yolox.NAMES:  # it works beside the tracker, and leaves it a core
        changes = (f"threads={job.threads or max(1, torch.get_num_threads() // 2)}", *changes)
    # The devices of another runtime have names of their own.
    device = job.device if job.runtime == "torch" or job.device == "cpu" else "auto"
    settings = default_settings(
        name, score_threshold=job.detector_score, device=device, changes=changes
    )
    return detector(name, job.detector_weights, settings)


def _open_outputs(
    job: Track, source: Source, chosen: Chosen, stack: ExitStack
) -> Callable[[Frame, sv.Detections], None]:
    """One function that writes a frame to every output that was asked for."""
    sinks: list[Callable[[Frame, sv.Detections], None]] = []
    if job.mot_output:
        file = MotFile(
            job.mot_output, first_id=chosen.first_id, scores=chosen.scores,
            overwrite=job.overwrite,
        )  # fmt: skip
        sinks.append(stack.enter_context(file).write)
    if job.json_output:
        about = {"source": job.source, "fps": source.fps, **chosen.about}
        sinks.append(
            stack.enter_context(JsonFile(job.json_output, about, overwrite=job.overwrite)).write
        )
    if job.output:
        movie = stack.enter_context(
            VideoWriter(job.output, source.rate, overwrite=job.overwrite)
        )
        annotator = Annotator()

        def draw(frame: Frame, tracks: sv.Detections) -> None:
            movie.write(annotator.annotate(frame.image, tracks), frame.time)

        sinks.append(stack.enter_context(BackgroundCalls(draw, _DRAWN_LATE)))

    def write(frame: Frame, tracks: sv.Detections) -> None:
        for sink in sinks:
            sink(frame, tracks)

    return write
