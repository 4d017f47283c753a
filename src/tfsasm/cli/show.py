"""`tfsasm show`: a result file drawn on its frames, beside the ground truth if there is one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from tfsasm.cli.progress import print_lines, progress
from tfsasm.files import check_distinct


@dataclass(frozen=True, kw_only=True)
class Options:
    """Draw a result file on its frames, beside the ground truth and with the errors marked.

    Example: tfsasm show --results results/synthetic-7-0000.txt --source clips/synthetic-7-0000
    --gt clips/synthetic-7-0000/gt/gt.txt --output shown.mp4
    """

    results: Path
    """Result file in MOT text."""
    source: str
    """Video file or folder of images that was tracked."""
    output: Path
    """Annotated video (.mp4, .mkv, .mov, .avi), or a folder for single images."""
    gt: Path | None = None
    """Ground truth to show on the right; then false positives, misses and identity switches are
    marked."""
    dataset: Literal["dancetrack", "mot15", "mot16", "mot17", "mot20", "sportsmot", "mot"] = "mot"
    """The benchmark whose rules decide which ground truth counts."""
    start: int = 1
    """First frame, counted from 1."""
    end: int | None = None
    """Last frame, included."""
    trail: int = 30
    """Frames for which a track's trail stays visible; 0 for none."""
    overwrite: bool = False
    """Replace output that exists."""
    quiet: bool = False
    """No progress bar."""


def run(options: Options, console: Console, errors: Console) -> None:
    """Draw the frames of the source into a video or a folder of images."""
    import numpy as np
    import supervision as sv

    from tfsasm.boxes import ltwh_to_xyxy
    from tfsasm.evaluation.errors import tracking_errors
    from tfsasm.evaluation.protocols import PROTOCOLS, apply_protocol, trajectories
    from tfsasm.evaluation.trajectories import Trajectories, check, last_frame
    from tfsasm.motchallenge import read_tracks
    from tfsasm.video import annotate
    from tfsasm.video.addresses import local_name
    from tfsasm.video.annotate import Annotator, Mark, draw_marks
    from tfsasm.video.source import Frame, open_video
    from tfsasm.video.writer import VideoWriter

    def drawing(
        table: Trajectories, scores: np.ndarray | None = None
    ) -> Callable[[Frame], np.ndarray]:
        """What draws the boxes of a table on copies of the frames, with `scores` `[N]` if given."""
        annotator = Annotator(trail=options.trail)

        def draw(frame: Frame) -> np.ndarray:
            rows = np.flatnonzero(table.frames == frame.number)
            return annotator.annotate(frame.image, sv.Detections(
                xyxy=ltwh_to_xyxy(table.ltwh[rows]).astype(np.float32), tracker_id=table.ids[rows],
                confidence=None if scores is None else scores[rows],
            ))  # fmt: skip

        return draw

    check_distinct([options.output], [local_name(options.source), options.results, options.gt])
    table = read_tracks(options.results, lax=True)
    tracks = trajectories(table)
    check(tracks, last_frame(tracks), str(options.results))
    draw = draw_result = drawing(
        tracks, table.confidence if (table.confidence != 1).any() else None
    )
    if options.gt is not None:
        truth, judged = apply_protocol(
            PROTOCOLS[options.dataset], read_tracks(options.gt, lax=True), table,
            options.results.stem,
        )  # fmt: skip
        check(truth, last_frame(truth), str(options.gt))
        draw_truth, by_frame = drawing(truth), tracking_errors(truth, judged)

        def draw_both(frame: Frame) -> np.ndarray:
            found = by_frame.of_frame(frame.number, options.start)
            wrong = [
                Mark(ltwh, annotate.FALSE_POSITIVE, "false") if before is None
                else Mark(ltwh, annotate.IDENTITY_SWITCH, f"was #{before}")
                for ltwh, before in found.tracks
            ]
            missed = [Mark(ltwh, annotate.MISS, "missed") for ltwh in found.misses]
            return annotate.side_by_side(
                draw_marks(draw_result(frame), wrong),
                draw_marks(draw_truth(frame), missed),
                (f"result: {found.all_false_positives} false positives, "
                 f"{found.all_switches} identity switches",
                 f"ground truth: {found.all_misses} misses, frame {frame.number}"),
            )  # fmt: skip

        draw = draw_both
    with (
        open_video(options.source, start=options.start, end=options.end) as source,
        VideoWriter(
            options.output, source.rate, sound=source.sound, aspect=source.aspect,
            overwrite=options.overwrite,
        ) as movie,
        progress(errors, quiet=options.quiet) as bar,
    ):
        task, number = bar.add_task("drawing", total=source.count), 0
        for frame in source:
            movie.write(draw(frame), frame.time)
            number = frame.number
            bar.advance(task)
    print_lines(console, f"wrote {options.output}: {movie.frames} frames")
    if options.end is None and (after := int((tracks.frames > number).sum())):
        print_lines(
            console, f"{options.results} has {after} boxes after the last frame, {number}, up to "
            f"frame {last_frame(tracks)}; are these its frames?",
        )  # fmt: skip
