"""`tfsasm show`: a result file drawn on its frames, beside the truth, with the mistakes marked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import supervision as sv
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tfsasm import jobs
from tfsasm.evaluate.clear import mistakes
from tfsasm.evaluate.protocols import PROTOCOLS, apply, trajectories
from tfsasm.evaluate.trajectories import Trajectories, check, last_frame, rows_by_frame
from tfsasm.mot import TrackTable, read_tracks
from tfsasm.render import Annotator, VideoWriter, side_by_side
from tfsasm.video import Frame, open_source

FALSE, MISSED, SWITCHED = (60, 60, 255), (0, 190, 255), (255, 80, 255)  # BGR
SHOWN_FOR = 12  # frames that a switch stays marked, since one frame passes unseen
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FAR = 30_000  # OpenCV draws with 16-bit pixels
_COLUMNS = (TextColumn("drawing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


@dataclass(frozen=True)
class Mark:
    """Something to point at: a box `ltwh` `[4]` in pixels, in a colour (BGR) and with a word."""

    ltwh: NDArray[np.float64]
    color: tuple[int, int, int]
    word: str


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


class Judgement:
    """What is right and wrong in a frame, and how often that was so until then.

    Ask for each frame in turn.
    """

    def __init__(self, truth: Trajectories, tracks: Trajectories) -> None:
        self._truth, self._tracks = truth, tracks
        self._found = mistakes(truth, tracks)
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


def run_show(job: jobs.Show, console: Console, errors: Console) -> None:
    """Draw the source, or what of it was asked for, into a video or a folder of images."""
    table = read_tracks(job.results)
    tracks = trajectories(table)
    check(tracks, last_frame(tracks), str(job.results))
    scores = table.confidence if (table.confidence != 1).any() else None
    boxes = Boxes(tracks, scores, trail=job.trail)
    paint = _beside_truth(job.gt, job, table, boxes) if job.gt else boxes.draw
    with (
        open_source(job.source, start=job.start, end=job.end) as source,
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
    gt: Path, job: jobs.Show, table: TrackTable, boxes: Boxes
) -> Callable[[Frame], np.ndarray]:
    """What draws the result on the left and the truth on the right, with counts above."""
    truth, judged = apply(PROTOCOLS[job.dataset], read_tracks(gt), table, job.results.stem)
    check(truth, last_frame(truth), str(gt))
    people = Boxes(truth, trail=job.trail)
    judge = Judgement(truth, judged)

    def paint(frame: Frame) -> np.ndarray:
        left = marked(boxes.draw(frame), judge.of_tracks(frame.number))
        right = marked(people.draw(frame), judge.of_truth(frame.number))
        titles = (
            f"result: {judge.false} false, {judge.switches} switched",
            f"truth: {judge.missed} missed, frame {frame.number}",
        )
        return side_by_side(left, right, titles)

    return paint


def marked(image: np.ndarray, marks: list[Mark]) -> np.ndarray:
    """The image (uint8 BGR `[H, W, 3]`), drawn upon: a frame around each mark and its word."""
    height, width = image.shape[:2]
    thick = max(2, round(min(height, width) / 250))
    scale = max(0.4, min(height, width) / 1400)
    for one in marks:
        left, top, w, h = np.clip(one.ltwh, -_FAR, _FAR).round().astype(int).tolist()
        low, high = (left - thick, top - thick), (left + w + thick, top + h + thick)
        cv2.rectangle(image, low, high, (0, 0, 0), thick + 2)  # sets it off from tracks' colours
        cv2.rectangle(image, low, high, one.color, thick)
        (wide, tall), _ = cv2.getTextSize(one.word, _FONT, scale, 1)
        x = min(max(low[0], 0), width - wide)
        y = min(max(high[1], 0), height - tall - 6)  # below the box, or as low as there is room
        cv2.rectangle(image, (x, y), (x + wide, y + tall + 6), one.color, -1)
        cv2.putText(image, one.word, (x, y + tall + 3), _FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return image
