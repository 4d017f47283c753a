"""One video of `tfsasm track`, from its first frame to its last, and what writes its results."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tfsasm.cli import INTERRUPTED, OK, TRUNCATED
from tfsasm.cli.progress import progress, tracked_line
from tfsasm.cli.saving import Kind, as_written
from tfsasm.errors import TruncatedInput
from tfsasm.tracking.config import preset

if TYPE_CHECKING:
    import supervision as sv

    from tfsasm.cli.track import Options
    from tfsasm.detection.detectors import Detector
    from tfsasm.tracking.appearance.tracker import AppearanceTracker
    from tfsasm.tracking.baselines import ClassicTracker
    from tfsasm.tracking.query import QueryTracker
    from tfsasm.tracking.streams import Together
    from tfsasm.video.source import Frame, Source
    from tfsasm.video.torchcodec import Opener

    AnyTracker = QueryTracker | AppearanceTracker | ClassicTracker

    Write = Callable[[Frame, sv.Detections], None]

_DRAWN_LATE = 4  # frames that wait at most to be drawn and encoded


@dataclass(frozen=True)
class Step:
    """A frame that is tracked and written."""

    frames: int
    """So far."""
    tracks: int
    length: int | None
    """Frames of the video, where that is known."""


@dataclass(frozen=True)
class Tracked:
    """What came of a video."""

    code: int
    """As the command would exit."""
    lines: tuple[str, ...]
    """What to print."""
    report: tuple[str, ...] = ()
    """What its detector has to say, of all its videos so far."""


def track_one(
    options: Options, text: str, files: Mapping[Kind, Path], tracker: AnyTracker,
    detector: Detector, about: dict[str, Any], errors: Console, watch: Write | None,
) -> Tracked:
    """Track a video with a progress bar. See `steps`."""
    began = time.perf_counter()
    with (
        closing(steps(options, text, files, tracker, detector, about, watch)) as video,
        progress(errors, "{task.fields[rate]}", quiet=options.quiet) as bar,
    ):
        task = bar.add_task("tracking", total=None, rate="")
        step = next(video)
        while not isinstance(step, Tracked):
            try:
                rate = f"{step.frames / (time.perf_counter() - began):5.1f} fps"
                bar.update(task, completed=step.frames, total=step.length,
                           rate=f"{rate} {step.tracks:3} tracks")
                step = next(video)
            except KeyboardInterrupt as stop:  # while the bar is drawn
                step = video.throw(stop)
        return step


def steps(
    options: Options, text: str, files: Mapping[Kind, Path], tracker: AnyTracker,
    detector: Detector, about: dict[str, Any], watch: Write | None = None, *,
    together: Together | None = None,
) -> Generator[Step | Tracked, None, None]:
    """Track to the end, to the damage or to Ctrl-C; what was done until then counts.

    Frames are encoded with those of other videos by `together`.
    The last thing it yields is what came of it, when all files are in place. Raises `InputError`.
    """
    import numpy as np

    from tfsasm.tracking.run import track_video
    from tfsasm.video.source import open_video
    from tfsasm.video.window import WindowClosed

    frames, identities, code, notes = 0, set[int](), OK, list[str]()
    with ExitStack() as stack:
        source = stack.enter_context(open_video(
            text, start=options.start, end=options.end, stride=options.stride,
            order=preset(options.preset).order, reconnect=options.reconnect,
            decode=opener_of(options),
        ))  # fmt: skip
        outputs = open_outputs(options, text, source, files, tracker, detector, about, stack)
        outputs += [watch] if watch else []
        yield Step(0, 0, source.count)
        began = time.perf_counter()
        try:
            for frame, tracks in track_video(
                tracker, source, detector, batch=options.batch_encode, together=together
            ):
                frames += 1  # first, for Ctrl-C may come while the frame is written
                identities.update(np.asarray(tracks.tracker_id).tolist())
                for write in outputs:
                    write(frame, tracks)
                yield Step(frames, len(tracks), source.count)
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
        notes.append(f"nothing was tracked; {hint}")
    written = [path for kind, path in files.items() if frames or kind not in ("video", "images")]
    yield Tracked(code, (
        tracked_line(frames, len(identities), rate),
        *(f"wrote {path}" for path in written), *notes,
    ))  # fmt: skip


def opener_of(options: Options) -> Opener:
    """What opens the video files. Raises `InputError`."""
    from tfsasm.video.torchcodec import opener

    device = options.device if options.runtime == "torch" else "cpu"  # others have their own names
    return opener(options.decoder, device)


def open_outputs(
    options: Options, text: str, source: Source, files: Mapping[Kind, Path],
    tracker: AnyTracker, detector: Detector, about: dict[str, Any], stack: ExitStack,
) -> list[Write]:
    """What writes a frame, a function for each of the outputs; `stack` closes them."""
    from tfsasm.tracking.annotations import CocoFile, CvatFile, FiftyOneFile
    from tfsasm.tracking.baselines import ClassicTracker
    from tfsasm.tracking.report import ReportFile
    from tfsasm.tracking.results import CsvFile, JsonFile, MotFile
    from tfsasm.video.annotate import Annotator
    from tfsasm.video.prefetch import background_calls
    from tfsasm.video.window import Window
    from tfsasm.video.writer import VideoWriter

    method, overwrite = preset(options.preset), options.overwrite
    for_tools = {"coco": CocoFile, "cvat": CvatFile, "fiftyone": FiftyOneFile}
    names = getattr(tracker, "class_names", {}) or getattr(detector, "class_names", {})
    several = len(names) > 1  # else its name says nothing
    writers: list[Write] = []

    def draw_into(video: VideoWriter) -> Write:
        annotator = Annotator(names=several)

        def draw(frame: Frame, tracks: sv.Detections) -> None:
            video.write(annotator.annotate(frame.image, tracks), frame.time)

        return stack.enter_context(background_calls(draw, _DRAWN_LATE))

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
                tracker=None if isinstance(tracker, ClassicTracker) else tracker,
                aspect=float(source.aspect), overwrite=overwrite,
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
