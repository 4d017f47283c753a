"""The pictures of README and documents: `python docs/pictures/make.py`.

It tracks the clip in the package, draws it (people.webp: at a third of its size, every third
frame), and takes a picture of its page (page.webp: Playwright and Chromium). The clip is
Demo_MultiPerson of pose2sim (NOTICE).
"""

import io
import shutil
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import supervision as sv
from PIL import Image
from playwright.sync_api import sync_playwright

import tfsasm
from tfsasm.tracking.report import ReportFile
from tfsasm.video.annotate import Annotator
from tfsasm.video.writer import resized

SCALE, STRIDE = 3, 3
HERE = Path(__file__).parent


def page_picture(page: Path) -> Image.Image:
    """An identity chosen, its memory, the video and the timeline."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        tab = browser.new_page(viewport={"width": 1180, "height": 712})
        tab.goto(f"{page.as_uri()}#2,88")
        tab.wait_for_timeout(2000)  # the video is there
        picture = tab.screenshot()
        browser.close()
    return Image.open(io.BytesIO(picture)).convert("RGB")


def tell(path: Path) -> None:
    """Say what was written."""
    print(f"wrote {path}, {path.stat().st_size / 1e3:.0f} kB")


with TemporaryDirectory() as folder:
    clip = Path(shutil.copy(str(files("tfsasm") / "clips" / "people.mp4"), folder))
    page = Path(folder) / "people.report.html"
    tracker = tfsasm.AppearanceTracker(tfsasm.embedder("hist"))
    annotator, pictures = Annotator(trail=20), []
    with ReportFile(page, title=clip.name, source=clip, rate=60, tracker=tracker) as report:
        for frame, tracks in tracker.track(clip, "yolox-nano"):
            report.write(frame, tracks)
            height, width = frame.image.shape[:2]
            small = resized(frame.image, width // SCALE, height // SCALE)
            drawn = annotator.annotate(
                small, sv.Detections(xyxy=tracks.xyxy / SCALE, tracker_id=tracks.tracker_id)
            )
            if frame.number % STRIDE == 1:
                pictures.append(Image.fromarray(drawn[90:520, :, ::-1]))  # no ceiling, no mats
    page_picture(page).save(HERE / "page.webp", quality=82, method=6)
pictures[0].save(
    HERE / "people.webp", save_all=True, append_images=pictures[1:], duration=50 * STRIDE // 2,
    loop=0, quality=60, method=6,
)
tell(HERE / "page.webp")
tell(HERE / "people.webp")
