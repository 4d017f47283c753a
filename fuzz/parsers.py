"""Hostile files, made by libFuzzer (atheris): `python fuzz/parsers.py TARGET [options]`.

A target reads what the fuzzer makes. It may be refused with an `InputError` or a `WeightsError`.
Any other exception is a crash, and so is a line that is neither a box nor reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import html.parser
import json
import logging
import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import atheris

PACKAGES = [f"tfsasm.{name}" for name in (
    "motchallenge", "files", "limits", "detection", "datasets", "runtime.exported", "video",
    "tracking.report", "tracking.postprocess", "experiments.results",
)]  # fmt: skip

with atheris.instrument_imports(include=PACKAGES):
    import numpy as np

    from tfsasm import motchallenge
    from tfsasm.datasets import bdd100k, crowdhuman
    from tfsasm.detection import coco, det_db
    from tfsasm.detection.formats import Reading
    from tfsasm.detection.run import Journal
    from tfsasm.detection.stored import open_detections
    from tfsasm.errors import InputError, TruncatedInput, WeightsError
    from tfsasm.evaluation.result_files import RECORD
    from tfsasm.experiments.results import claim
    from tfsasm.runtime.exported import MANIFEST, read_manifest
    from tfsasm.runtime.sessions import onnx_session
    from tfsasm.tracking import postprocess
    from tfsasm.tracking.appearance.tracker import AppearanceTracker
    from tfsasm.tracking.report import page, read_page, videos_of
    from tfsasm.video.source import open_video

MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
FILE = Path(tempfile.mkdtemp(dir=MEMORY)) / "input"
FRAME = SimpleNamespace(image=np.zeros((8, 8, 3), np.uint8), number=1, name="s/img1/1.jpg")


def lines_of(data: bytes) -> int:
    """Lines that are not blank."""
    text = data.decode("utf-8-sig")
    return sum(1 for line in re.split("\r\n|\r|\n", text) if line.strip())


def refusal(path: Path) -> str:
    """The message of strict reading, empty where it succeeds."""
    try:
        motchallenge.read_detections(path)
    except InputError as error:
        return str(error)
    return ""


def detections(path: Path) -> None:
    """MOT `det.txt`: every line is a box or is counted, and strict reading names the first."""
    found = motchallenge.read_detections(path, skip_bad=True)
    boxes = sum(map(len, found.values()))
    assert boxes + found.skipped.count == lines_of(path.read_bytes())
    assert refusal(path) == found.skipped.first


def tracks(path: Path) -> None:
    """Result and ground-truth files: all lines or none."""
    assert len(motchallenge.read_tracks(path)) == lines_of(path.read_bytes())


def database(path: Path) -> None:
    """det_db JSON: every line of every key is a box or is counted."""
    lines = sum(len(of_key) for _, of_key in det_db.read_entries(path))
    found = det_db.read_det_db(path)
    skipped = sum(bad.count for bad in found.skipped.values())
    assert len(found.boxes) + skipped == lines
    with contextlib.suppress(InputError):
        open_detections(path, source_name="s/img1")(FRAME)


def results(path: Path) -> None:
    """COCO results."""
    for frame in coco.read_coco(path, Reading(skip_bad=True), None):
        assert len(frame.boxes) == len(frame.lines)


def images(path: Path) -> None:
    """COCO's table of images: as many keys as ids."""
    table = coco.CocoImages(path)
    assert len(set(table.keys.values())) == len(table.keys)


def seqinfo(path: Path) -> None:
    """`seqinfo.ini`: what it declares makes sense, and its folder is one name."""
    info = motchallenge.read_seqinfo(path)
    assert info.rate is None or info.rate > 0
    assert Path(info.images).name == info.images


def scalabel(path: Path) -> None:
    """BDD100K: every frame is read or counted, and finite."""
    bad: list[InputError] = []
    for frames in bdd100k.read_scalabel(path, bad.append).values():
        for frame in frames:
            assert "/" not in frame.video
            assert np.isfinite(frame.xyxy).all()


def odgt(path: Path) -> None:
    """CrowdHuman: every line is an image or is reported."""
    bad: list[InputError] = []
    found = list(crowdhuman.read_odgt(path, bad.append))
    assert all("/" not in image.name and np.isfinite(image.ltwh).all() for image in found)


def manifest(path: Path) -> None:
    """The record of an export: tables of the sizes that it says."""
    os.replace(path, path.with_name(MANIFEST))
    read = read_manifest(path.parent)
    assert read.learned_boxes.shape == (len(read.learned_content), 4)


def journal(path: Path) -> None:
    """The record of a run of `tfsasm detect`, which goes on before its first damaged line."""
    with Journal(path, {"a": 1}) as record:
        whole = dict(record.finished), list(record.frames(record.finished))
    with Journal(path, {"a": 1}) as record:
        assert (dict(record.finished), list(record.frames(record.finished))) == whole


def corrected(path: Path) -> None:
    """Corrections made by hand: boxes keep an identity, or lose it."""
    tracked = path.with_name("tracked.txt")
    tracked.write_text("".join(f"{f},{i},9,9,9,9,1,-1,-1,-1\n" for f in (1, 2, 3) for i in (1, 2)))
    text, before, after = postprocess.corrected_text(tracked, postprocess.read_corrections(path))
    assert len(text.splitlines()) <= 6
    assert 0 <= after <= before + len(json.loads(path.read_bytes())["corrections"])


def record(path: Path) -> None:
    """The record of `evaluate`: only what is there is done, and the same settings go on."""
    folder = path.with_name("results")
    folder.mkdir(exist_ok=True)
    os.replace(path, folder / RECORD)
    assert claim(folder, {"a": 1}, ["x"]) == set()


def run(path: Path) -> None:
    """The record of `train`, which `--config` takes again."""
    from tfsasm.training.runs import read_run

    read_run(path)


@functools.cache
def readers() -> Any:
    """What reads checkpoints, which is slow to import, and to watch if it is all of PyTorch."""
    from torch._weights_only_unpickler import Unpickler

    Unpickler.load = atheris.instrument_func(Unpickler.load)
    with atheris.instrument_imports(include=["tfsasm.motrv2.weights", "tfsasm.pytorch"]):
        from tfsasm.detection import yolox_torch
        from tfsasm.motrv2 import deformable_detr, weights
    return SimpleNamespace(
        read=weights.read_checkpoint, recognise=(deformable_detr.recognise, yolox_torch.recognise)
    )


def tensors(path: Path) -> None:
    """A file of weights: tensors by name, and what network that is."""
    state, _ = readers().read(path)
    for recognise in readers().recognise:
        with contextlib.suppress(WeightsError):
            recognise(state, path)


def pickled(path: Path) -> None:
    """The pickle in a PyTorch file, which has two storages of 64 bytes."""
    contents = {"data.pkl": path.read_bytes(), "byteorder": b"little", "version": b"3\n",
                "data/0": bytes(64), "data/1": bytes(64)}  # fmt: skip
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(f"archive/{name}", content)
    tensors(path)


def onnx(path: Path) -> None:
    """A graph: a session, or a refusal."""
    onnx_session(path, user="the fuzzer", mend="make it again")


class Scripts(html.parser.HTMLParser):
    """The texts of a page's scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inside, self.texts = False, list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.inside = tag == "script"
        self.texts += [""] * self.inside

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.texts[-1] += data


def report(path: Path) -> None:
    """The data of a page: whatever a name holds, it ends no script and is read as it was."""
    data = {"title": path.read_bytes().decode("utf-8", "replace"), "tracks": []}
    usual, made = (Scripts(page(given)).texts for given in ({"title": ""}, data))
    assert len(made) == len(usual)
    assert data in [json.loads(text) for text in made if text.startswith("{")]


def shown(path: Path) -> None:
    """The data of a page that is looked at again: boxes in the frames that it has."""
    data = path.read_bytes().decode("utf-8", "replace")
    path.write_text(f'<script type="application/json" id="data">{data}</script>')
    read = read_page(path)
    assert {frame for one in read["tracks"] for frame in one["frames"]} <= set(read["numbers"])
    assert all(video.is_file() for video, _ in videos_of(read, path.parent))


def frames(path: Path) -> None:
    """Bytes as a video or an image: frames of one kind, until the end or the damage."""
    with contextlib.suppress(TruncatedInput), open_video(path) as source:
        for _, frame in zip(range(20), source, strict=False):
            assert frame.image.dtype == np.uint8
            assert frame.image.ndim == 3


@functools.cache
def service() -> Any:
    """The HTTP interface of a hub whose streams cannot be opened."""
    with atheris.instrument_imports(include=["tfsasm.tracking.serving"]):
        from tfsasm.tracking.serving.app import make_app
        from tfsasm.tracking.serving.hub import Hub

    def refuse(address: str) -> NoReturn:
        raise InputError("nobody answers")

    hub = Hub(lambda: lambda frame: [], AppearanceTracker, workers=1, most=4, open=refuse)
    return make_app(hub)


LOOP = asyncio.new_event_loop()


def http(path: Path) -> None:
    """A request (`METHOD /path?query`, headers, a blank line, the body): answered, never a 500."""
    head, _, body = path.read_bytes().partition(b"\n\n")
    first, *lines = head.split(b"\n")
    method, _, target = first.partition(b" ")
    place, _, query = target.partition(b"?")
    given = [line.partition(b":") for line in lines]
    headers = [(name.lower(), value.strip()) for name, _, value in given if name.lower() != b"host"]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http",
        "method": method.decode("latin-1"), "path": place.decode("utf-8", "replace"),
        "raw_path": place, "root_path": "", "query_string": query,
        "headers": [(b"host", b"localhost"), *headers],
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])
    answers: list[Any] = []

    async def receive() -> Any:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        answers.append(message)

    LOOP.run_until_complete(asyncio.wait_for(service()(scope, receive, send), 60))
    assert answers[0]["status"] < 500, answers[0]


TARGETS: dict[str, tuple[Callable[[Path], None], str]] = {
    "detections": (detections, ".txt"), "tracks": (tracks, ".txt"),
    "database": (database, ".json"), "results": (results, ".json"), "images": (images, ".json"),
    "seqinfo": (seqinfo, ".ini"), "scalabel": (scalabel, ".json"), "odgt": (odgt, ".odgt"),
    "manifest": (manifest, ".json"), "journal": (journal, ".partial"), "report": (report, ".txt"),
    "http": (http, ".txt"), "corrections": (corrected, ".json"), "record": (record, ".json"),
    "run": (run, ".json"), "pickle": (pickled, ".pth"), "checkpoint": (tensors, ".pth"),
    "page": (shown, ".html"), "safetensors": (tensors, ".safetensors"), "onnx": (onnx, ".onnx"),
    "video": (frames, ".mp4"), "jpeg": (frames, ".jpg"), "png": (frames, ".png"),
}  # fmt: skip
"""Each with the suffix of its files."""


def main() -> None:
    """The first argument names the target; the others are libFuzzer's."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python {sys.argv[0]} {'|'.join(TARGETS)} [libFuzzer options] [corpus]")
    name = sys.argv.pop(1)
    target, suffix = TARGETS[name]
    path = FILE.with_suffix(suffix)
    logging.disable()

    def read(data: bytes) -> None:
        path.write_bytes(data)
        with contextlib.suppress(InputError, WeightsError):
            target(path)

    atheris.Setup(sys.argv, read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
