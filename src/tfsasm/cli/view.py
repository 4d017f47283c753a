"""`tfsasm view`: the page of a result in the browser, served on this machine alone."""

import os
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from tfsasm.cli.progress import print_lines
from tfsasm.errors import InputError, first_few
from tfsasm.files import check_output, write_text

PAGE = ".report.html"

RESULTS = (".tracked.mp4", ".mot.txt", ".coco.json", ".cvat.xml")  # more than a suffix


@dataclass(frozen=True, kw_only=True)
class Options:
    """Look at a result in the browser: its page, with videos of any length and errors marked.

    It listens on 127.0.0.1 and serves nothing but that page and its videos.

    Example: tfsasm view video.mp4
    """

    result: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RESULT")]
    """NAME.report.html, anything beside it that is named so (the video), or its folder; or a result
    in MOT text, with the --source that was tracked."""
    source: Path | None = None
    """The video that was tracked, where the page does not know it."""
    truth: Path | None = None
    """Ground truth in MOT text (gt.txt): false positives, misses and identity switches appear on
    the timeline, and scores."""
    dataset: Literal["dancetrack", "mot15", "mot16", "mot17", "mot20", "sportsmot", "mot"] = "mot"
    """The benchmark whose rules decide which ground truth counts."""
    output: Path | None = None
    """Write the page into this file, and serve nothing."""
    overwrite: bool = False
    """Replace it if it exists."""
    port: int | None = None
    """By default 8421, or any that is free."""
    no_browser: bool = False
    """Only print the address."""


def run(options: Options, console: Console, errors: Console) -> None:
    """Write the page, or serve it until Ctrl-C."""
    from tfsasm.tracking.report import address_beside, page, read_page, videos_of
    from tfsasm.tracking.serving.page import PageServer

    if options.output:
        check_output(options.output, overwrite=options.overwrite)
    place = _find(options.result)
    data = read_page(place) if place.suffix == ".html" else _of_rows(options, place)
    if options.truth:
        data["truth"] = _errors(options.truth, options, data)
    if options.source and not options.source.exists():
        raise InputError(f"--source {options.source} does not exist")
    videos = videos_of(data, place.parent)
    if options.source and options.source.is_file():
        plain = [entry for _, entry in videos if not entry["drawn"]]
        start = plain[0]["start"] if plain else 0
        videos.insert(0, (options.source, {"drawn": False, "start": start}))
    if options.output:
        data["videos"] = [
            entry | {"src": address_beside(path, options.output)} for path, entry in videos
        ]
        write_text(options.output, page(data))
        print_lines(console, f"wrote {options.output}")
        return
    names = {f"video-{number}{path.suffix}": path for number, (path, _) in enumerate(videos, 1)}
    data["videos"] = [
        entry | {"src": name} for name, (_, entry) in zip(names, videos, strict=True)
    ]
    with PageServer(page(data), names, options.port) as server:
        print_lines(console, server.address, *(f"plays {path}" for path in names.values()),
                    "Ctrl-C ends it")  # fmt: skip
        if not options.no_browser:
            webbrowser.open(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print_lines(console, "ended")


def _find(result: Path) -> Path:
    """The page of a result, or the result itself if that is MOT text without a page."""
    if result.is_dir():
        beside = Path(f"{os.path.abspath(result)}{PAGE}")  # of a folder of images
        pages = sorted(result.glob(f"*{PAGE}")) or [path for path in [beside] if path.is_file()]
        if len(pages) != 1:
            names = first_few([path.name for path in pages]) or "none"
            raise InputError(f"{result} has no single page (NAME{PAGE}); there are: {names}")
        return pages[0]
    if result.suffix == ".html":
        return result
    known = next((end for end in RESULTS if result.name.endswith(end)), result.suffix)
    beside = result.with_name(result.name.removesuffix(known) + PAGE)
    if beside.is_file():
        return beside
    if result.suffix == ".txt":
        return result
    raise InputError(f"there is no page {beside}; make it with tfsasm track, or give the page")


def _of_rows(options: Options, path: Path) -> dict[str, Any]:
    """The data of a page about a result in MOT text."""
    import numpy as np
    import supervision as sv

    from tfsasm.boxes import ltwh_to_xyxy
    from tfsasm.evaluation.protocols import trajectories
    from tfsasm.evaluation.trajectories import check, last_frame, rows_by_frame
    from tfsasm.motchallenge import read_tracks
    from tfsasm.tracking.report import Report
    from tfsasm.video.decoder import uneven_times
    from tfsasm.video.source import VideoSource, open_video

    table = read_tracks(path, lax=True)
    tracks = trajectories(table)
    check(tracks, last_frame(tracks), str(path))
    if options.source is None:
        raise InputError(f"there is no page beside {path}; give the video that was tracked as "
                         "--source, or the page")  # fmt: skip
    with open_video(options.source) as source:
        rate, size, count = source.fps, source.size or (0, 0), source.count or 0
        report = Report(path.stem, size, rate, aspect=float(source.aspect))
    times = uneven_times(options.source) if isinstance(source, VideoSource) else []
    total = max(len(times) or count, last_frame(tracks), 1)
    clock = times if len(times) == total else [None] * total
    shift = int((table.identity == 0).any())  # identities of a page count from 1
    by_frame, none = rows_by_frame(table.frame), np.zeros(0, np.int64)
    for number, time in enumerate(clock, start=1):
        rows = by_frame.get(number, none)
        report.add(number, time, sv.Detections(
            xyxy=ltwh_to_xyxy(table.ltwh[rows]), confidence=np.clip(table.confidence[rows], 0, 1),
            tracker_id=table.identity[rows] + shift,
        ))  # fmt: skip
    return report.data([])


def _errors(truth_file: Path, options: Options, data: dict[str, Any]) -> dict[str, Any]:
    """Errors and scores of the result in a page, over the frames that were tracked.

    The boxes of a page are as a result file has them, to a tenth of a pixel.
    """
    import numpy as np

    from tfsasm.evaluation.errors import tracking_errors
    from tfsasm.evaluation.metrics import score_sequence
    from tfsasm.evaluation.protocols import PROTOCOLS, apply_protocol
    from tfsasm.evaluation.trajectories import check, last_frame
    from tfsasm.motchallenge import TrackRows, read_tracks

    given = read_tracks(truth_file, lax=True)
    given = given[np.isin(given.frame, data["numbers"])]
    entries = data["tracks"]
    frames = np.array([frame for one in entries for frame in one["frames"]], dtype=np.int64)
    ids = np.array([one["id"] for one in entries for _ in one["frames"]], dtype=np.int64)
    ltwh = np.concatenate([np.zeros(0), *(one["boxes"] for one in entries)]).reshape(-1, 4) / 10
    one = np.ones(len(ids))
    truth, tracks = apply_protocol(
        PROTOCOLS[options.dataset], given, TrackRows(frames, ids, ltwh, one, -one, -one),
        options.result.stem,
    )  # fmt: skip
    check(truth, last_frame(truth), str(truth_file))
    scores = score_sequence(truth, tracks, data["numbers"][-1]).to_json()
    shown = ("HOTA", "DetA", "AssA", "IDF1", "MOTA", "IDSW", "FP", "FN")
    errors = tracking_errors(truth, tracks).to_json()
    return {"scores": {name: scores[name] for name in shown}, **errors}
