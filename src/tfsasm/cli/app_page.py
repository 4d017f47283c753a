"""The page of `tfsasm app`, made with Gradio, and the videos that its visitors track."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import quote

import gradio as gr
import numpy as np
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse

from tfsasm.cli import track
from tfsasm.cli.track_one import Tracked, check, load_job, places, steps
from tfsasm.detection.live import COCO
from tfsasm.errors import TfsasmError
from tfsasm.files import check_folder
from tfsasm.tracking.serving.connections import local_only
from tfsasm.video.annotate import Annotator
from tfsasm.video.source import open_video
from tfsasm.video.window import WindowClosed
from tfsasm.video.writer import resized

_PREVIEW = 0.5  # seconds between two previews of the video that is being tracked

_LARGEST = 960  # pixels of the longer side of a preview

# What is shown, and the name it goes by.
_DETECTORS = [
    ("yolox-nano (quick)", "yolox-nano"),
    ("yolox-s (better; downloads 36 MB)", "yolox-s"),
    ("yolox-x (best, slow; 380 MB)", "yolox-x"),
]
_TRACKERS = [
    ("appearance (people in everyday videos)", "appearance"),
    ("query (MOTRv2 with the sparse memory)", "query"),
]
_FORMATS = [("MOT text", "mot"), ("JSON", "json"), ("CSV", "csv"), ("COCO", "coco"),
            ("CVAT", "cvat")]  # fmt: skip

_WELCOME = """<ol>
<li>Drop a video on the left: MP4, AVI, MOV, MKV, a GIF ...</li>
<li>Press <b>Track</b>. The frames appear here as they are tracked.</li>
<li>Look at the result: the video with numbered boxes, a timeline of identities, and a list of
likely mistakes. Download it as video, MOT text, JSON, CSV, COCO or CVAT.</li>
</ol>"""

_RESULT = """<p><a href="ADDRESS" target="_blank">Open the page in a tab of its own</a></p>
<iframe class="result" title="The result" src="ADDRESS"></iframe>"""

Shown = tuple[str, np.ndarray | None, str, list[str]]
"""A line, a picture RGB `[H, W, 3]`, a page, files."""


def web_app(runs: Runs, *, max_upload: int = 2000, local: bool = True) -> FastAPI:
    """The page, and the files of results below /results/; `max_upload` in MB.

    A `local` one answers this computer's own pages and programs alone.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(runs.shared)  # all of it can be had by its address
    server = FastAPI(openapi_url=None)
    if local:
        server.add_middleware(local_only)

    @server.get("/results/{run}/{name}")
    def result(run: str, name: str) -> FileResponse:
        """A file of a result; the parts of a video that are asked for (HTTP ranges)."""
        for path in runs.files.get(run, ()):
            if path.name == name:
                return FileResponse(path)
        raise HTTPException(404)

    return gr.mount_gradio_app(
        server, _page(runs), "/", max_file_size=max_upload * 2**20, show_error=True,
        theme=gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        css_paths=[Path(__file__).with_name("app.css")], footer_links=[],
    )  # fmt: skip


@dataclass
class Runs:
    """The videos that were tracked since the app began, and those that are; kept in `folder`."""

    folder: Path
    files: dict[str, list[Path]] = field(default_factory=dict)
    """The results of each run, by its name, which nobody can guess."""
    stops: dict[str, Event] = field(default_factory=dict)
    """How to stop the run of a visitor."""

    @property
    def shared(self) -> Path:
        """What Gradio gives to whoever knows a name in it: uploads, and links to results."""
        return self.folder / "uploads"

    def track(
        self, visitor: str, video: str | None, *, detector: str, classes: list[str], tracker: str,
        formats: Any,
    ) -> Iterator[Shown]:
        """Track a video, and give what is to be seen as it goes on.

        Raises `gradio.Error` with the words of the error for a video that cannot be tracked.
        """
        if video is None:
            raise _error("Drop a video first.")
        run = secrets.token_urlsafe(12)
        own = _beside(Path(video), check_folder(self.folder / run))
        stop = self.stops[visitor] = Event()
        try:
            options = track.Options(
                source=(str(own),), detector=detector, tracker=tracker, classes=tuple(classes),
                save=("video", "report", *formats), quiet=True,
            )  # fmt: skip
            lines = yield from _tracked(track.with_defaults(options), stop)
        except TfsasmError as error:
            raise _error(str(error).replace(str(own), own.name)) from None
        finally:
            self.stops.pop(visitor, None)
        files = sorted(path for path in own.parent.iterdir() if path.is_file())
        self.files[run] = files
        pages = [path.name for path in files if path.name.endswith(".report.html")]
        page = _RESULT.replace("ADDRESS", f"/results/{run}/{quote(pages[0])}") if pages else ""
        shared = check_folder(self.shared / run)
        results = [str(_beside(path, shared)) for path in files if path != own]
        yield "  \n".join(lines), None, page, results

    def stop(self, visitor: str) -> None:
        """End the run of a visitor; what was done until then counts."""
        if visitor in self.stops:
            self.stops[visitor].set()


def _error(words: str) -> gr.Error:
    return gr.Error(words, duration=None, print_exception=False)


def _beside(file: Path, folder: Path) -> Path:
    """The same file in another folder."""
    own = folder / file.name
    try:
        os.link(file, own)
    except OSError:  # a file system without links
        shutil.copyfile(file, own)
    return own


def _tracked(options: track.Options, stop: Event) -> Generator[Shown, None, list[str]]:
    """Track; now and then a line on how far it is, and the frame with its tracks.

    Returns what there is to say in the end.
    """
    [source] = options.source
    with open_video(source) as opened:  # what is no video is answered before a detector is there
        total = f" of {opened.count}" if opened.count else ""
    files = places(options, source)
    check(options, [source], [files])
    job = load_job(options, [source])
    began, shown = time.perf_counter(), 0.0
    with closing(steps(job, source, files)) as video:
        step = next(video)
        while not isinstance(step, Tracked):
            now = time.perf_counter()
            if step.seen and now - shown > _PREVIEW:
                frame, tracks = step.seen
                yield (
                    f"frame {frame.number}{total}: {len(tracks)} tracks, "
                    f"{frame.number / (now - began):.0f} frames per second",
                    _small(Annotator(trail=0).annotate(frame.image, tracks)), "", [],
                )  # fmt: skip
                shown = now
            stopped = step.seen and stop.is_set()
            step = video.throw(WindowClosed()) if stopped else next(video)
    return [line for line in (*step.lines, *job.detector.report()) if not line.startswith("wrote ")]


def _small(image: np.ndarray) -> np.ndarray:
    """A BGR image as RGB, its longer side at most `_LARGEST`."""
    scale = min(1.0, _LARGEST / max(image.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return resized(image, width, height)[..., ::-1]


def _page(runs: Runs) -> gr.Blocks:
    """Drop a video, choose, watch, look, download."""
    with gr.Blocks(title="tfsasm", analytics_enabled=False, fill_width=True) as page:
        gr.Markdown("# Track people through a video\nEach keeps one number, from the first frame "
                    "to the last. Nothing leaves this machine.")  # fmt: skip
        with gr.Row():
            with gr.Column(scale=1, min_width=320):
                video = gr.File(label="Video", file_types=["video", ".gif"], height=160)
                with gr.Accordion("Options", open=False):
                    tracker = gr.Radio(_TRACKERS, value="appearance", label="Tracker")
                    detector = gr.Dropdown(_DETECTORS, value="yolox-nano", label="Detector")
                    classes = gr.Dropdown(
                        list(COCO), value=["person"], multiselect=True, label="Classes"
                    )
                    formats = gr.CheckboxGroup(
                        _FORMATS, value=["mot", "json"],
                        label="Results, beside the annotated video and the page",
                    )  # fmt: skip
                start = gr.Button("Track", variant="primary")
                stop = gr.Button("Stop")
                line = gr.Markdown(elem_id="line")
                files = gr.Files(
                    label="Results to download", interactive=False, visible=False, elem_id="results"
                )  # fmt: skip
            with gr.Column(scale=3):
                picture = gr.Image(
                    label="The frame that is being tracked", interactive=False, visible=False
                )
                result = gr.HTML(_WELCOME)

        def begin(
            request: gr.Request, video: str | None, tracker: str, detector: str,
            classes: list[str], formats: list[str],
        ) -> Iterator[tuple[Any, ...]]:
            for words, image, html, paths in runs.track(
                str(request.session_hash), video, tracker=tracker, detector=detector,
                classes=classes, formats=formats,
            ):  # fmt: skip
                yield (
                    words, gr.update(value=image, visible=image is not None), html,
                    gr.update(value=paths, visible=bool(paths)),
                )  # fmt: skip

        def end(request: gr.Request) -> None:
            runs.stop(str(request.session_hash))

        start.click(
            begin, [video, tracker, detector, classes, formats], [line, picture, result, files],
            concurrency_limit=1, api_visibility="private",
        )  # fmt: skip
        stop.click(end, concurrency_limit=None, queue=False, api_visibility="private")
        page.unload(end)
    return page
