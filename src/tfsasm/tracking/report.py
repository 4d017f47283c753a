"""A page about one video's identities: one HTML file that works from disk, beside the video.

It has all boxes, a timeline with a row per identity, what to review, and what the
memory holds of each identity, with pictures.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import cv2
import numpy as np
import supervision as sv

from tfsasm.errors import InputError
from tfsasm.files import checked, field, numbers, parsed, read_text, shown
from tfsasm.limits import FRAMES
from tfsasm.tables import Image
from tfsasm.tracking.history import History, Match, Remembers
from tfsasm.tracking.results import UNKNOWN, ResultFile, rows
from tfsasm.tracking.review import Identity, review_items
from tfsasm.video.annotate import identity_color
from tfsasm.video.source import VIDEO_SUFFIXES, Frame
from tfsasm.video.writer import resized

FORMAT = 3  # of the data in a page

USUAL_RATE = 25.0

OFTEN = 5  # matches a second that are kept, besides those that are not sure

HEIGHT, WIDTH = 96, 72  # of a picture, pixels at most

QUALITY = 72  # of JPEG

MOST = 3_000_000  # bytes of all pictures of a page

SCRIPTS = (
    "model", "edits", "save", "player", "timeline", "lists", "inspector", "faults", "main",
)  # fmt: skip
"""Of the page, in their order; they share their names."""


class Pictures:
    """Crops of views that may be stored, and pictures of those that were.

    When all pictures are more than `most` bytes, every second one of the identity that has most is
    given up, the newest never, so that the bound holds for any video.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most, self._bytes = most, 0
        self._crops: dict[int, tuple[int, Image]] = {}  # the frame, and what was seen there
        self._kept: dict[int, dict[int, bytes]] = {}

    def see(self, identity: int, frame: int, image: Image, xyxy: np.ndarray) -> None:
        """Keep what is inside a box `[4]` of pixels, until the identity is seen better."""
        height, width = image.shape[:2]
        left, top, right, bottom = np.clip(xyxy, 0, [width, height, width, height])
        crop = image[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))]
        if crop.size:
            scale = min(1.0, HEIGHT / crop.shape[0], WIDTH / crop.shape[1])
            size = [max(1, round(length * scale)) for length in crop.shape[1::-1]]
            self._crops[identity] = frame, resized(crop, *size)
        else:
            self._crops.pop(identity, None)

    def keep(self, identity: int, frame: int) -> None:
        """Make a picture of the view that was seen in that frame, if that was kept."""
        seen, crop = self._crops.pop(identity, (None, None))
        if crop is None or seen != frame:
            return
        _, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        self._kept.setdefault(identity, {})[frame] = data.tobytes()
        self._bytes += len(data)
        while self._bytes > self._most:
            largest = max(self._kept.values(), key=len)
            given_up = [*largest][-2::-2]
            if not given_up:
                return
            self._bytes -= sum(len(largest.pop(frame)) for frame in given_up)

    def of(self, identity: int) -> Iterator[tuple[int, str]]:
        """Frames of the views that have a picture, and the picture as base64 of JPEG."""
        for frame, data in self._kept.get(identity, {}).items():
            yield frame, base64.b64encode(data).decode("ascii")


class Report:
    """What is known of a video's identities, frame by frame; `tracker` is that of the tracks.

    `size` is width and height of the frames, `aspect` that of their pixels, `rate` in frames per
    second.
    """

    def __init__(
        self, title: str, size: tuple[int, int] = (0, 0), rate: float | None = None,
        tracker: Remembers | None = None, aspect: float = 1.0,
    ) -> None:
        self.title, self.size, self._rate = title, size, rate or USUAL_RATE
        self._aspect = aspect
        self._history = None if tracker is None else History(tracker)
        self._pictures = Pictures()
        self._numbers: list[int] = []
        self._times: list[float | None] = []
        self._identities: dict[int, Identity] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, number: int, time: float | None, tracks: sv.Detections) -> None:
        """One more frame: its number, its time in seconds, and what was tracked in it."""
        self._numbers.append(number)
        self._times.append(time)
        for row in rows(tracks):
            x1, y1, x2, y2 = (round(10 * value) for value in row.xyxy)
            identity = self._identities.setdefault(row.id, Identity())
            identity.frames.append(number)
            identity.boxes += (x1, y1, x2 - x1, y2 - y1)
            identity.scores.append(round(100 * row.score))
            identity.name = identity.name if row.kind == UNKNOWN else row.kind

    def remember(self, frame: Frame, tracks: sv.Detections) -> None:
        """What the tracker's memory did with the frame that was just added."""
        if self._history is None:
            return
        stored = self._history.update(frame.number)
        for row in rows(tracks):
            past = self._history[row.id]
            now = row.id in stored and past.views[-1].seen == frame.number
            if now or past.candidate == frame.number:
                self._pictures.see(row.id, frame.number, frame.image, np.array(row.xyxy))
            if past.match is not None and past.match.frame == frame.number:
                self._note(self._identities[row.id], past.match)
        for identity in stored:
            if (seen := self._history[identity].views[-1].seen) is not None:
                self._pictures.keep(identity, seen)

    def _note(self, one: Identity, match: Match) -> None:
        """Keep a match, unless it is like the one before."""
        unsure = match.sure is not None and match.sure < 0.9
        if unsure or not one.matches or match.frame - one.matches[-5] >= self._rate / OFTEN:
            one.matches += (
                match.frame, round(1000 * match.distance), match.second or 0,
                round(1000 * (match.second_distance or 0)),
                -1 if match.sure is None else int(100 * match.sure),
            )  # fmt: skip

    def data(self, videos: Sequence[tuple[str, bool]]) -> dict[str, Any]:
        """What the page holds. `videos` are addresses, each with whether boxes are drawn in it."""
        first = self._times[0]
        times = [
            1000 * (index / self._rate if time is None or first is None else time - first)
            for index, time in enumerate(self._times)
        ]
        return {
            "format": FORMAT, "title": self.title, "size": self.size,
            "aspect": round(self._aspect, 4), "rate": self._rate,
            "videos": [
                {"src": address, "drawn": drawn, "start": 0 if drawn else round(first or 0, 3)}
                for address, drawn in videos
            ],
            "beside": self._history is not None and self._history.beside,
            "numbers": self._numbers, "times": [round(time) for time in times],
            "tracks": [self._track(number) for number in sorted(self._identities)],
            "review": [item._asdict() for item in review_items(self._identities, self._rate)],
        }  # fmt: skip

    def _track(self, number: int) -> dict[str, Any]:
        one = self._identities[number]
        views = [] if self._history is None else self._history[number].views
        pictures = dict(self._pictures.of(number))
        return {
            "id": number, "color": identity_color(number).as_hex(), "name": one.name,
            "frames": one.frames, "boxes": one.boxes, "scores": one.scores, "matches": one.matches,
            "views": [
                [view.seen, view.stored, view.why, round(100 * view.covered), view.dropped,
                 pictures.get(view.seen or 0)]
                for view in views
            ],
        }  # fmt: skip


class ReportFile(ResultFile):
    """Collects tracks frame by frame, and is the page when the `with` block ends.

    `video` has the boxes drawn, `source` is the plain one; the page plays the plain one where the
    browser can, both by their place beside the page; `aspect` is that of their pixels. `tracker` is
    that of the tracks, whose memory is then shown; its frames are to be written as they come.
    Raises `InputError` when the page cannot be written.
    """

    may_be_empty = False

    def __init__(
        self, path: Path | str, *, title: str, video: Path | None = None,
        source: Path | None = None, rate: float | None = None, aspect: float = 1.0,
        tracker: Remembers | None = None, overwrite: bool = False,
    ) -> None:
        super().__init__(path, overwrite=overwrite)
        self._report = Report(title, rate=rate, tracker=tracker, aspect=aspect)
        self._videos = [(file, drawn) for file, drawn in ((source, False), (video, True)) if file]

    def part(self, frame: Frame, tracks: sv.Detections) -> str:
        """Nothing yet: the page is written whole."""
        if not len(self._report):  # of several sizes: annotated videos have the first one's, too
            self._report.size = (frame.image.shape[1], frame.image.shape[0])
        self._report.add(frame.number, frame.time, tracks)
        self._report.remember(frame, tracks)
        return ""

    def end(self) -> str:
        """The page."""
        beside = [(address_beside(file, self.path), drawn) for file, drawn in self._videos]
        videos = [(address, drawn) for address, drawn in beside if address]
        return page(self._report.data(videos)) if len(self._report) else ""


def address_beside(path: Path, page: Path) -> str | None:
    """The address of a file in a page, None if none leads there (another drive)."""
    try:
        relative = os.path.relpath(os.path.realpath(path), os.path.realpath(page.parent))
    except ValueError:
        return None
    return quote(os.fsencode(relative.replace(os.sep, "/")))


def page(data: dict[str, Any]) -> str:
    """The page with its data, in which nothing can become HTML."""
    folder = files("tfsasm.tracking") / "page"
    html, style = ((folder / name).read_text("utf-8") for name in ("page.html", "style.css"))
    script = "\n".join((folder / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    for mark, part in (("__STYLE__", style), ("__SCRIPT__", script), ("__DATA__", text)):
        html = html.replace(mark, part, 1)
    return html


def read_page(path: Path) -> dict[str, Any]:
    """The data of a page. Raises `InputError` for what is none, or of another version."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', read_text(path))
    try:
        data = parsed(found[1]) if found else None
    except ValueError as error:
        raise InputError(f"{path}: the data of this page is damaged: {error}") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} is no page that tfsasm track has written (NAME.report.html)")
    if data.get("format") != FORMAT:
        raise InputError(f"{path} is of another version of tfsasm; track the video again")
    try:
        _check(data)
    except ValueError as error:
        raise InputError(f"{path}: the data of this page is damaged: {error}") from error
    return data


def _check(data: dict[str, Any]) -> None:
    """That a page has what is asked of it here; raises `ValueError`. Its scripts see to the rest.
    """
    frames = [checked(number, "a frame", int) for number in field(data, "numbers", list)]
    if not frames or frames[0] < 1 or any(a >= b for a, b in itertools.pairwise(frames)):
        raise ValueError("numbers are not those of frames, in order, from 1 on")
    FRAMES.check(frames[-1], "it")
    known = set(frames)
    for video in field(data, "videos", list):
        field(video, "src", str)
        field(video, "drawn", bool)
        numbers([video.get("start")], "start")
    for track in field(data, "tracks", list):
        identity, where = field(track, "id", int), field(track, "frames", list)
        if not 0 < identity < 2**53:
            raise ValueError(f"{shown(identity)} is no identity")
        if not known.issuperset(checked(number, "a frame", int) for number in where):
            raise ValueError(f"identity {identity} is in frames that were not tracked")
        if len(numbers(field(track, "boxes", list), "boxes")) != 4 * len(where):
            raise ValueError(f"identity {identity} has not a box in each of its frames")


def videos_of(data: dict[str, Any], folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The videos of a page in `folder` that are there, each with its entry.

    Only files that are named as videos are: a page may come from anywhere.
    """
    found = [(folder / unquote(entry["src"]), entry) for entry in data["videos"]]
    return [(path, entry) for path, entry in found
            if path.suffix.lower() in VIDEO_SUFFIXES and os.path.isfile(path)]  # fmt: skip
