"""The options of commands that take one video."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import supervision as sv
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tfsasm.cli.options import OptionalCount, OptionalFile
from tfsasm.evaluation.errors import tracking_errors
from tfsasm.evaluation.protocols import PROTOCOLS, apply_protocol, trajectories
from tfsasm.evaluation.trajectories import Trajectories, check, last_frame, rows_by_frame
from tfsasm.motchallenge import TrackRows, read_tracks
from tfsasm.video.annotate import FALSE, MISSED, SWITCHED, Annotator, Mark, marked, side_by_side
from tfsasm.video.source import Frame, open_video
from tfsasm.video.writer import VideoWriter


@dataclass(frozen=True)
class Show:
    """Draw a result file on its frames, beside the ground truth and with the mistakes marked.

    Example: tfsasm show --results results/synthetic-7-0000.txt --source clips/synthetic-7-0000
    --gt clips/synthetic-7-0000/gt/gt.txt --output shown.mp4
    """

    results: Path
    """Result file in MOT text."""
    source: str
    """Video file or folder of images that was tracked."""
    output: Path
    """Annotated video (.mp4, .mkv, .mov, .avi), or a folder for single images."""
    gt: OptionalFile = None
    """Ground truth to show on the right; then false boxes, misses and switched identities are
    marked."""
    dataset: Literal["dancetrack", "mot15", "mot16", "mot17", "mot20", "sportsmot", "mot"] = "mot"
    """Whose rules say which ground truth counts."""
    start: int = 1
    """First frame, counted from 1."""
    end: OptionalCount = None
    """Last frame, included."""
    trail: int = 30
    """Frames for which a track's path stays visible; 0 for none."""
    overwrite: bool = False
    """Replace output that exists."""
    quiet: bool = False
    """No progress bar."""

SHOWN_FOR = 12  # frames that a switch stays marked, since one frame passes unseen

_COLUMNS = (TextColumn("drawing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


class Boxes:
    """The boxes of one side, drawn on the frames in turn. `scores` `[N]` are shown if given."""

    def __init__(
        self, table: Trajectories, scores: NDArray[np.float64] | None = None, *, trail: int
    ) -> None:
        self._table, self._scores = table, scores
        self._rows = rows_by_frame(table.frames)
        self._annotator = Annotator(trail=trail)

    def draw(self, frame: Frame) -> np.ndarray:
        """A copy of the frame with the boxes of its number."""
        rows = self._rows.get(frame.number, np.zeros(0, dtype=np.int64))
        ltwh = self._table.ltwh[rows]
        found = sv.Detections(
            xyxy=np.hstack([ltwh[:, :2], ltwh[:, :2] + ltwh[:, 2:]]).astype(np.float32),
            tracker_id=self._table.ids[rows],
            confidence=None if self._scores is None else self._scores[rows],
        )
        return self._annotator.annotate(frame.image, found)


class FrameErrors:
    """What is right and wrong in a frame, and how often that was so until then.

    Ask for each frame in turn.
    """

    def __init__(self, truth: Trajectories, tracks: Trajectories) -> None:
        self._truth, self._tracks = truth, tracks
        self._found = tracking_errors(truth, tracks)
        self._people, self._boxes = rows_by_frame(truth.frames), rows_by_frame(tracks.frames)
        self._taken: dict[int, tuple[int, int]] = {}  # track -> when it took over, and from whom
        self.false = self.missed = self.switches = 0

    def of_tracks(self, number: int) -> list[Mark]:
        """False boxes of a frame, and tracks that lately took a person over."""
        marks = []
        for row in self._boxes.get(number, ()):
            track = int(self._tracks.ids[row])
            if self._found.switched[row]:
                self._taken[track] = number, int(self._found.before[row])
                self.switches += 1
            since, before = self._taken.get(track, (number - SHOWN_FOR, -1))
            if self._found.false[row]:
                self.false += 1
                marks.append(Mark(self._tracks.ltwh[row], FALSE, "false"))
            elif number - since < SHOWN_FOR:
                marks.append(Mark(self._tracks.ltwh[row], SWITCHED, f"was #{before}"))
        return marks

    def of_truth(self, number: int) -> list[Mark]:
        """People of a frame whom nothing covers."""
        rows = [row for row in self._people.get(number, ()) if self._found.missed[row]]
        self.missed += len(rows)
        return [Mark(self._truth.ltwh[row], MISSED, "missed") for row in rows]


def run_show(job: Show, console: Console, errors: Console) -> None:
    """Draw the source, or what of it was asked for, into a video or a folder of images."""
    table = read_tracks(job.results)
    tracks = trajectories(table)
    check(tracks, last_frame(tracks), str(job.results))
    scores = table.confidence if (table.confidence != 1).any() else None
    boxes = Boxes(tracks, scores, trail=job.trail)
    paint = _beside_truth(job.gt, job, table, boxes) if job.gt else boxes.draw
    with (
        open_video(job.source, start=job.start, end=job.end) as source,
        VideoWriter(job.output, source.rate, overwrite=job.overwrite) as movie,
        Progress(*_COLUMNS, console=errors, disable=job.quiet) as bar,
    ):
        task, number = bar.add_task("", total=source.count), 0
        for frame in source:
            movie.write(paint(frame), frame.time)
            number = frame.number
            bar.update(task, advance=1)
    told = [f"wrote {job.output}: {movie.frames} frames"]
    if job.end is None and (after := int((tracks.frames > number).sum())):
        told.append(f"{job.results} has {after} boxes after the last frame, {number}, up to frame "
                    f"{last_frame(tracks)}; are these its frames?")  # fmt: skip
    for line in told:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _beside_truth(
    gt: Path, job: Show, table: TrackRows, boxes: Boxes
) -> Callable[[Frame], np.ndarray]:
    """What draws the result on the left and the truth on the right, with counts above."""
    truth, judged = apply_protocol(PROTOCOLS[job.dataset], read_tracks(gt), table, job.results.stem)
    check(truth, last_frame(truth), str(gt))
    people = Boxes(truth, trail=job.trail)
    judge = FrameErrors(truth, judged)

    def paint(frame: Frame) -> np.ndarray:
        left = marked(boxes.draw(frame), judge.of_tracks(frame.number))
        right = marked(people.draw(frame), judge.of_truth(frame.number))
        titles = (
            f"result: {judge.false} false, {judge.switches} switched",
            f"truth: {judge.missed} missed, frame {frame.number}",
        )
        return side_by_side(left, right, titles)

    return paint


def run(job: Show, console: Console, errors: Console) -> int:
    """`tfsasm show`."""
    run_show(job, console, errors)
    return 0
