"""A page of a short made-up video, and its parts in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import supervision as sv

from helpers.browser import until
from helpers.people import vector
from tfsasm.tracking.appearance.tracker import AppearanceTracker
from tfsasm.tracking.report import ReportFile
from tfsasm.tracking.results import MotFile
from tfsasm.video.source import Frame
from tfsasm.video.writer import VideoWriter

FRAMES, RATE, WIDTH, HEIGHT = 150, 10, 320, 160
COLORS = [(60, 60, 220), (60, 200, 60), (220, 120, 40)]


def scene(number: int) -> tuple[Frame, sv.Detections]:
    """A frame with its number in squares below, white for 1, and its people: 0 stays, 1 is away for
    a while, 2 ends in frame 60, and 3 begins in 64 beside that place."""
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for bit in range(8):
        image[140:, 20 * bit : 20 * bit + 20] = 255 * (number >> bit & 1)
    lefts = {0: 20 + number / 2}
    if not 40 < number < 60:
        lefts[1] = 120.0
    if number <= 60 or number >= 64:
        lefts[2 if number <= 60 else 3] = 200.0 if number <= 60 else 260.0
    for person, left in lefts.items():
        color = COLORS[min(person, 2)]
        cv2.rectangle(image, (int(left), 30), (int(left) + 40, 130), color, -1)
    rng = np.random.default_rng(number)
    views = [vector(person) + rng.normal(0, 0.02, 8) for person in lefts]
    found = sv.Detections(
        xyxy=np.array([[left, 30, left + 40, 130] for left in lefts.values()]),
        confidence=np.full(len(lefts), 0.9), class_id=np.zeros(len(lefts), int),
        data={"embedding": np.array(views, np.float32)},
    )  # fmt: skip
    return Frame(image, number, f"v.mp4#{number}", (number - 1) / RATE), found


def write_results(folder: Path) -> None:
    """The plain video, the one with boxes, the page and MOT text, all named `v`."""
    tracker = AppearanceTracker()
    plain, drawn = folder / "v.mp4", folder / "v.tracked.mp4"
    with (
        VideoWriter(plain, RATE) as video, VideoWriter(drawn, RATE) as annotated,
        MotFile(folder / "v.mot.txt") as mot,
        ReportFile(folder / "v.report.html", title="v.mp4", video=drawn, source=plain, rate=RATE,
                   tracker=tracker) as report,
    ):  # fmt: skip
        for number in range(1, FRAMES + 1):
            frame, found = scene(number)
            tracks = tracker.update(found)
            for file in (mot, report):
                file.write(frame, tracks)
            video.write(frame.image, frame.time)
            annotated.write(255 - frame.image, frame.time)


def ready(page: Any) -> Any:
    """The page, once it knows what it plays."""
    until(page, "playing !== null || stage.classList.contains('bare')")
    return page


def plays_h264(page: Any) -> bool:
    """Whether this browser can."""
    return page.evaluate("video.canPlayType('video/mp4; codecs=\"avc1.42E01E\"') !== ''")


def painted(page: Any) -> bool:
    """Whether there is anything on the canvas over the video."""
    return page.evaluate(
        "boxes.getContext('2d').getImageData(0, 0, boxes.width, boxes.height).data.some((v) => v)"
    )


def ids(page: Any) -> list[int]:
    """The identities in the list."""
    return page.eval_on_selector_all("#list [data-id]", "all => all.map((b) => +b.dataset.id)")
